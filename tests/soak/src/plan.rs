//! What may happen in the world of a seed.

use marquee_jobs::{Playback, PlaybackMode};
use rand::Rng as _;
use rand::rngs::SmallRng;

/// What may happen in a world; each seed has a share of it, so that no kind of fault hides another.
#[expect(clippy::struct_excessive_bools, reason = "each is a kind of trouble that a world has or has not")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) processes: usize,
    pub(crate) partitions: u32,
    pub(crate) epoch_interval_ms: i64,
    pub(crate) crashes: bool,
    pub(crate) power_cuts: bool,
    pub(crate) rebalances: bool,
    pub(crate) zombies: bool,
    pub(crate) faults: bool,
    pub(crate) late_writes: bool,
    pub(crate) log_full: bool,
    pub(crate) slow_parts: bool,
    pub(crate) recomputes: bool,
    /// Every session is packed that nothing happens to, as if there were many.
    pub(crate) packs: bool,
}

impl Plan {
    pub(crate) fn of(seed: u64, dice: &mut SmallRng) -> Self {
        Self {
            processes: dice.random_range(1..=4),
            partitions: dice.random_range(1..=4),
            epoch_interval_ms: [0, 700, 5_000, 30_000][dice.random_range(0..4)],
            crashes: dice.random_bool(0.7),
            power_cuts: dice.random_bool(0.3),
            rebalances: dice.random_bool(0.7),
            zombies: dice.random_bool(0.4),
            faults: dice.random_bool(0.5),
            late_writes: dice.random_bool(0.4),
            log_full: dice.random_bool(0.2),
            slow_parts: dice.random_bool(0.5),
            recomputes: dice.random_bool(0.4),
            packs: seed.is_multiple_of(2),
        }
    }

    /// The job that the processes run.
    pub(crate) fn job(&self) -> Playback {
        let job = Playback::new(PlaybackMode::Live);
        if self.packs { job.with_max_unpacked(0) } else { job }
    }

    /// Whether the live topic must hold the last word on every epoch. It does not when two shards are at work on one
    /// partition at the same time, nor when a shard goes while the topic is full (ARCHITECTURE.md, Limits).
    pub(crate) fn keeps_live_exact(&self) -> bool {
        if self.recomputes {
            return false; // each is a second writer
        }
        // A shard whose hand-over takes too long is abandoned while its last epoch may still be decided.
        let overlaps = self.late_writes || (self.processes > 1 && (self.zombies || self.rebalances));
        let shards_go = self.crashes || self.power_cuts || self.faults;
        !(overlaps || self.log_full && shards_go)
    }
}
