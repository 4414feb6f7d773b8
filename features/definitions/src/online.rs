//! The port to the online store: the features as they are now, for serving. It is a copy: recovery of the features job
//! overwrites it from the job's restored state. One contract suite runs against every adapter.
//!
//! A profile may have interactions in several topics (its imported history, and what it does now), and a title in every
//! shard: a store keeps **the part of each shard** and reads the sum of the parts, in the order of the shards' names.

use marquee_events::ErrorKind;

use crate::{ProfileState, TitleState};

/// What a shard has changed.
#[derive(Debug, Default)]
pub struct OnlineBatch {
    /// Which shard, `job/topic/partition`: parts are kept apart by it.
    pub shard: String,
    /// Profiles and this shard's part of their state.
    pub profiles: Vec<(String, ProfileState)>,
    /// Titles and this shard's part of their state.
    pub titles: Vec<(String, TitleState)>,
}

/// The online store. Object-safe; methods may block.
pub trait OnlineStore: Send + Sync + 'static {
    /// Replaces the shard's parts of what the batch names, all or nothing for readers of one profile.
    ///
    /// # Errors
    /// When the store does not answer.
    fn write(&self, batch: &OnlineBatch) -> Result<(), OnlineError>;

    /// The state of a profile: the parts of all shards, put together by [`ProfileState::merge`].
    ///
    /// # Errors
    /// When the store does not answer or what it holds cannot be read.
    fn profile(&self, profile_id: &str) -> Result<Option<ProfileState>, OnlineError>;

    /// Every title with the sum of all shards' parts, in the order of their ids.
    ///
    /// # Errors
    /// As [`profile`](Self::profile).
    fn titles(&self) -> Result<Vec<(String, TitleState)>, OnlineError>;

    /// Grows with every write: a reader that keeps a copy of the titles looks at it first.
    fn version(&self) -> u64;
}

/// Why the online store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum OnlineError {
    /// What is stored is not what was written.
    #[error("the online store is damaged at `{key}`: {problem}")]
    Damaged {
        /// The key.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// The store is closed or failed.
    #[error("the online store failed while {operation}")]
    Storage {
        /// What was being done.
        operation: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl OnlineError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            OnlineError::Damaged { .. } => ErrorKind::Damaged,
            OnlineError::Storage { .. } => ErrorKind::Unavailable,
        }
    }
}
