//! What the fuzz targets share: properties of decoded batches, shards of the jobs to throw records at, and the inputs
//! to begin with. A target is a few lines in `fuzz_targets/`; what one finds becomes a test of the crate that was
//! wrong.

mod batches;
mod features;
#[allow(dead_code, reason = "the tests of the runtime use more of it")]
#[path = "../../../tests/it/tests/it/memory_lake.rs"]
mod memory_lake;
mod playback;
mod records;
mod seeds;
mod shards;

pub use batches::{check_batch, check_error, check_interactions};
pub use features::check_features;
pub use playback::check_playback;
pub use seeds::write_seeds;
