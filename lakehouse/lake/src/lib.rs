//! The lake's contracts: what tables there are, what views stand over them, how an epoch gets in, and the durable local
//! store that everything on disk goes through. The Delta adapter lives in `marquee-lake-delta`.

mod durable;
mod epoch_commit;
mod error;
mod table;
pub mod tables;
pub mod views;

pub use durable::DurableLocalStore;
pub use epoch_commit::{DataFile, EpochCommit, ShardEpoch};
pub use error::LakeError;
pub use table::{Column, ColumnKind, TableSpec};
