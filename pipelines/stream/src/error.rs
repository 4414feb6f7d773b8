//! Why a shard or the committer stopped.

use marquee_events::ErrorKind;
use marquee_lake::LakeError;

use crate::LogError;

/// An error of the runtime, named after the operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The log does not take what an epoch publishes.
    #[error("shard {shard} cannot publish to topic `{topic}`")]
    Publish {
        /// `job/topic/partition`.
        shard: String,
        /// Where to.
        topic: String,
        /// The cause.
        source: LogError,
    },
    /// The log failed.
    #[error("shard {shard} cannot read the log")]
    Log {
        /// `job/topic/partition`.
        shard: String,
        /// The cause.
        #[source]
        source: LogError,
    },
    /// Nobody says which partitions are this process's.
    #[error("cannot learn which partitions this process works on; restart it when the group can be reached")]
    Membership {
        /// The cause.
        #[source]
        source: LogError,
    },
    /// The lake failed.
    #[error("shard {shard} cannot write to the lake")]
    Lake {
        /// `job/topic/partition`.
        shard: String,
        /// The cause.
        #[source]
        source: LakeError,
    },
    /// The store of manifests and snapshots failed.
    #[error("cannot {operation} {path}")]
    Store {
        /// What was being done.
        operation: &'static str,
        /// The object.
        path: String,
        /// The cause.
        #[source]
        source: object_store::Error,
    },
    /// A manifest or a snapshot is not what was written.
    #[error("{path} is damaged: {problem}; restore it from a copy of the home, nothing was changed")]
    Damaged {
        /// The object.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Another process owns the shard now.
    #[error("epoch {epoch} of shard {shard} was decided by another process")]
    Fenced {
        /// `job/topic/partition`.
        shard: String,
        /// The epoch.
        epoch: u64,
    },
    /// An epoch took so long that vacuum could take its files for orphans.
    #[error("epoch {epoch} of shard {shard} took longer than {limit_ms} ms: stopped before it could do harm")]
    TooSlow {
        /// `job/topic/partition`.
        shard: String,
        /// The epoch.
        epoch: u64,
        /// The limit.
        limit_ms: i64,
    },
    /// The job's code failed.
    #[error("job {job} failed: {problem}")]
    Job {
        /// The job.
        job: &'static str,
        /// What went wrong.
        problem: String,
    },
    /// A thread of the runtime is gone.
    #[error("a thread of the runtime ended unexpectedly: {0}")]
    Thread(String),
}

impl StreamError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            // A shard that has read from a topic cannot go on with another one of that name.
            StreamError::Damaged { .. } | StreamError::Log { source: LogError::UnknownTopic(_), .. } => {
                ErrorKind::Damaged
            }
            StreamError::Log { source, .. }
            | StreamError::Publish { source, .. }
            | StreamError::Membership { source } => source.kind(),
            StreamError::Lake { source, .. } => source.kind(),
            StreamError::Store { .. } | StreamError::TooSlow { .. } => ErrorKind::Unavailable,
            StreamError::Fenced { .. } => ErrorKind::Conflict,
            StreamError::Job { .. } | StreamError::Thread(_) => ErrorKind::Internal,
        }
    }
}
