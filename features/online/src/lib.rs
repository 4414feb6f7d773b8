//! The online store on a single machine: [`EmbeddedOnlineStore`] over `fjall`, and [`MemoryOnlineStore`] for tests and
//! for measuring without a disk. Both pass [`contract`]. Before changing what is stored, read `codec`.

mod codec;
pub mod contract;
mod embedded;
mod embedded_error;
mod memory;

pub use embedded::EmbeddedOnlineStore;
pub use memory::MemoryOnlineStore;
