//! What a shard keeps of itself from epoch to epoch. What grows with the sessions is in segments: those of the state
//! (`state_log.rs`) and those of closed sessions (`closed_index.rs`).

use marquee_stream::{ShardId, StreamError};
use serde::{Deserialize, Serialize};

use super::closed_index::ClosedIndex;
use super::known_values::KnownValues;
use super::state_log::StateLog;

/// As written: borrowed.
#[derive(Serialize)]
pub(crate) struct SnapshotRef<'a> {
    pub(crate) epoch: u64,
    pub(crate) latest_event_ms: Option<i64>,
    pub(crate) state: &'a StateLog,
    pub(crate) closed: &'a ClosedIndex,
    pub(crate) known_values: &'a KnownValues,
}

/// As read.
#[derive(Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) epoch: u64,
    pub(crate) latest_event_ms: Option<i64>,
    pub(crate) state: StateLog,
    pub(crate) closed: ClosedIndex,
    pub(crate) known_values: KnownValues,
}

impl SnapshotRef<'_> {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("plain data can be encoded")
    }
}

impl Snapshot {
    /// # Errors
    /// [`StreamError::Damaged`] when it is none.
    pub(crate) fn from_bytes(bytes: &[u8], shard: &ShardId) -> Result<Self, StreamError> {
        postcard::from_bytes(bytes).map_err(|e| StreamError::Damaged {
            path: format!("the snapshot of shard {shard}"),
            problem: e.to_string(),
        })
    }
}
