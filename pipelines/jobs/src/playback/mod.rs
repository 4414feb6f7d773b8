//! Job `playback`: decodes once, writes bronze, dead letters, session revisions and minute deltas in the same epoch.
//!
//! One instance reads players' events (clock correction, a horizon for late data, sessions closed by silence), another
//! reads imports (times as they are, sessions closed by the end of the input). `shard.rs` has the order of things.

mod bronze;
mod closed_index;
mod columns;
mod contexts;
mod cube_list;
mod cubes;
mod epochs;
mod known_values;
mod late;
mod refold;
mod remembered;
mod rules;
mod session;
mod session_rows;
mod sessions;
mod shard;
mod snapshot;
mod state_log;
mod timers;
mod turns;

use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use marquee_lake::{TableSpec, tables};
use marquee_stream::{Job, Kept, ShardId, ShardState, StreamError};

pub use cube_list::{Cube, OTHER, dimension_names};
pub use cubes::CellDimensions;
pub use shard::recompute::{EpochOffsets, History, LateBatch, LateSession, Left, Recomputed, WrittenSession};

use sessions::MAX_UNPACKED;
use shard::PlaybackShard;

/// Each dimension with how many of its values a shard tells apart in a day.
pub fn dimension_bounds() -> [(&'static str, usize); cube_list::DIMENSIONS.len()] {
    cube_list::DIMENSIONS
}

/// Events older than the watermark by more than this go to `late_events` (ms).
pub const HORIZON_MS: i64 = 24 * 60 * 60 * 1000;

/// The watermark trails the latest event time by this (ms).
pub const WATERMARK_DELAY_MS: i64 = 30_000;

pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What kind of input an instance reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaybackMode {
    /// Players, now.
    Live,
    /// Imported sessions of any time.
    Import,
}

/// The job.
#[derive(Debug)]
pub struct Playback {
    mode: PlaybackMode,
    max_unpacked: usize,
}

impl Playback {
    /// An instance of the job.
    pub fn new(mode: PlaybackMode) -> Self {
        Self { mode, max_unpacked: MAX_UNPACKED }
    }

    /// A shard of it with more open sessions than this keeps those as bytes that nothing happens to.
    #[must_use]
    pub fn with_max_unpacked(self, max_unpacked: usize) -> Self {
        Self { max_unpacked, ..self }
    }
}

impl Job for Playback {
    fn name(&self) -> &'static str {
        "playback"
    }

    fn describe(&self) -> String {
        let (decode, until, late) = match self.mode {
            PlaybackMode::Live => ("decode, correct clocks", "timers", "\n     -> late_events (24 h horizon)"),
            PlaybackMode::Import => ("decode", "until end of input", ""),
        };
        format!(
            "playback: {decode}\n  -> events (bronze, every row)\n  -> dead_letters\n  \
             -> fold by (session_id, player_instance): reorder, holes, {until}\n     \
             -> session_revisions\n     -> qoe_minutes, qoe-live{late}"
        )
    }

    fn snapshot_version(&self) -> u32 {
        6
    }

    fn replay_table(&self) -> &'static TableSpec {
        &tables::EVENTS
    }

    fn start_shard(&self, shard: &ShardId, kept: Option<Kept<'_>>) -> Result<Box<dyn ShardState>, StreamError> {
        Ok(Box::new(PlaybackShard::start(self.mode, self.max_unpacked, shard, kept)?))
    }
}

/// UTC date of an instant (ms since the epoch) as `YYYY-MM-DD`; instants that no calendar has fall on its edges.
pub(crate) fn date_of(ms: i64) -> String {
    let instant = chrono::DateTime::from_timestamp_millis(ms).unwrap_or(chrono::DateTime::UNIX_EPOCH);
    instant.format("%Y-%m-%d").to_string()
}

/// A UTC timestamp column of instants in ms since the epoch.
pub(crate) fn timestamps(ms: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    let micros = ms.map(|ms| ms.map(|ms| ms.saturating_mul(1000)));
    Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}
