//! A seeded simulator of the streaming runtime: some processes on one log, one store and one lake, on one thread, in an
//! order that a seed decides.
//!
//! The processes run the code of production ([`marquee_stream::SteppedRuntime`]) with the real job `playback`. What a
//! seed decides: the input (`input.rs`), which process does which step next, when time passes, which partitions move to
//! which process and who hears of it when, which process crashes, pauses or goes on as a zombie, and which requests to
//! the store and the lake get lost, land late or lose their replies (`faults.rs`). In the end everything is healed and
//! drained, and what must hold is checked (`checks.rs`), against a run over the same log in which nothing happened.
//!
//! A failure prints its seed: `MARQUEE_SOAK_SEED=… cargo test -p marquee-soak --test soak -- --nocapture` repeats it.

mod checks;
mod faults;
mod faulty_lake;
mod faulty_store;
mod group;
mod input;
#[allow(dead_code, missing_docs, reason = "other tests use other parts of it")]
#[path = "../../it/tests/it/memory_lake.rs"]
mod memory_lake;
mod memory_log;
mod process_log;
mod world;

pub use faults::{Faults, Rates};
pub use faulty_lake::FaultyLake;
pub use faulty_store::FaultyStore;
pub use group::Group;
pub use memory_lake::{MemoryLake, text_rows};
pub use memory_log::MemoryLog;
pub use world::{Report, run};
