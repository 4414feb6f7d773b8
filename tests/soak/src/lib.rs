//! A seeded simulator of the streaming runtime: some processes on one log, one store and one lake, on one thread, in an
//! order that a seed decides.
//!
//! The processes run the code of production ([`marquee_stream::SteppedRuntime`]) with the real job `playback`. What a
//! seed decides: the input (`input.rs`), which process does which step next, when time passes, which partitions move to
//! which process and who hears of it when, which process crashes, pauses or goes on as a zombie, and which requests to
//! the store and the lake get lost, land late or lose their replies (`faults.rs`). In some worlds somebody recomputes
//! late events beside the owners, loses epochs to them, meets another recompute and is killed (`recompute.rs`). In the
//! end everything is healed and drained, and what must hold is checked (`checks.rs`), against a run over the same log in
//! which nothing happened, but for one recompute at its end.
//!
//! That the checks can fail was tried by breaking the protocol on purpose; seeds from 0 on until one failed:
//!
//! | broken | noticed within |
//! |---|---|
//! | the lake takes an epoch without looking at `prev` | 4 seeds |
//! | a create that fails counts as won, nothing is read back | 26 |
//! | whoever finds a manifest takes it for its own | 42 |
//! | a manifest replaces what is there | 40 |
//! | recovery does not roll forward | 7 |
//! | the state of the newest epoch, an offset before it · after it | 3 · 4 |
//! | the watermark is restored ahead of the offsets · not at all | 4 · 3 |
//! | an epoch is marked done (published) before its tables have it | 7 |
//! | an epoch that was lost goes on as if it were won | 39 |
//! | a fenced shard keeps its state | 40 |
//! | a shard that comes back takes its former life's manifest for its own | 52 |
//! | the next epoch is frozen before the last one is decided | 2 |
//! | `prev` is not carried past an epoch without rows | 2 |
//! | the committer takes an error for success · leaves out a table | 9 · 2 |
//! | a shard that was taken away goes on | 3 (stuck) |
//! | a listing shows what a power cut can take · what one's own create left is not listed before it is acted on | 851 · 994 |
//! | a recompute: takes a lost epoch for won · adds no minutes · goes beyond the records it stands on · drops `prev` | 2 · 1 · 1 · 1 |
//! | what it folded: not stored with a session · with a closed one · left out by a later re-fold | 13 · 1 · 1 |
//! | a recomputed session: not marked where it is kept · nowhere marked · not kept · without the epochs of its late events | 21 · 2 · 1 · 1 |
//! | index segments are not written | 1 |
//! | final live deltas are not told · a stop leaves out what was read last | 4 · 3 |
//!
//! Not noticed in 550 seeds: progress that goes back and a recovery whose snapshot is removed, which have tests of their
//! own in `tests/shared.rs`. No errors, since the manifest decides and anybody may roll forward: a manifest of one's own
//! that is taken for lost, and partitions that are given back before their shards are gone. Nor, since no shard forgets
//! a session in a world of some days (`recompute_order` has such): sessions that a recompute leaves alone and does not
//! put back, and what the lake said of them before another recompute.
//!
//! A failure prints its seed: `MARQUEE_SOAK_SEED=… cargo test -p marquee-soak --test soak -- --nocapture` repeats it.

mod checks;
#[path = "../../it/tests/it/every_payload.rs"]
mod every_payload;
mod faults;
mod faulty_lake;
mod faulty_store;
mod group;
mod input;
#[allow(dead_code, missing_docs, reason = "other tests use other parts of it")]
#[path = "../../it/tests/it/memory_lake.rs"]
mod memory_lake;
mod memory_log;
#[path = "../../it/tests/it/memory_recompute.rs"]
mod memory_recompute;
mod plan;
mod process_log;
mod recompute;
mod report;
mod world;

pub use faults::{Faults, Rates};
pub use faulty_lake::FaultyLake;
pub use faulty_store::FaultyStore;
pub use group::Group;
pub use memory_lake::{MemoryLake, text_rows};
pub use memory_log::MemoryLog;
pub use report::Report;
pub use world::run;
