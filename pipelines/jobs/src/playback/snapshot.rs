//! What a shard keeps of itself from epoch to epoch.

use marquee_stream::{ShardId, StreamError};
use serde::{Deserialize, Serialize};

use super::closed_index::ClosedIndex;
use super::contexts::{Contexts, StoredContexts, StoredContextsRef};
use super::known_values::KnownValues;
use super::session::Session;

/// As written: borrowed.
#[derive(Serialize)]
pub(crate) struct SnapshotRef<'a> {
    pub(crate) epoch: u64,
    pub(crate) latest_event_ms: Option<i64>,
    pub(crate) contexts: StoredContextsRef<'a>,
    pub(crate) sessions: Vec<&'a Session>,
    pub(crate) closed: &'a ClosedIndex,
    pub(crate) known_values: &'a KnownValues,
}

/// As read.
#[derive(Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) epoch: u64,
    pub(crate) latest_event_ms: Option<i64>,
    contexts: StoredContexts,
    pub(crate) sessions: Vec<Session>,
    pub(crate) closed: ClosedIndex,
    pub(crate) known_values: KnownValues,
}

impl SnapshotRef<'_> {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("plain data can be encoded")
    }
}

impl Snapshot {
    /// A snapshot and its contexts.
    ///
    /// # Errors
    /// [`StreamError::Damaged`] when it is none.
    pub(crate) fn from_bytes(bytes: &[u8], shard: &ShardId) -> Result<(Self, Contexts), StreamError> {
        let damaged =
            |problem: String| StreamError::Damaged { path: format!("the snapshot of shard {shard}"), problem };
        let mut snapshot: Self = postcard::from_bytes(bytes).map_err(|e| damaged(e.to_string()))?;
        let contexts = Contexts::restore(&snapshot.contexts);
        let contexts = contexts.ok_or_else(|| damaged("its contexts contradict each other".to_owned()))?;
        let numbers = snapshot.sessions.iter_mut().flat_map(Session::contexts_mut);
        if numbers.into_iter().any(|number| *number as usize >= contexts.len()) {
            return Err(damaged("a session has a context that is not there".to_owned()));
        }
        Ok((snapshot, contexts))
    }
}
