//! The port to whoever says which partitions this process works on: all of them in one process, a share of them where
//! several processes split a topic. Membership is advice, not a lock: two processes may believe for a while that a
//! partition is theirs, and the manifest decides which of them was right.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::LogError;

/// The partitions of this process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assignment {
    /// Grows with every change, from 1; 0 while nothing has been assigned yet.
    pub generation: u64,
    /// (topic, partition).
    pub partitions: BTreeSet<(String, u32)>,
}

/// Says which partitions this process works on. Object-safe; methods may block and are called from threads.
pub trait Membership: Send + Sync + 'static {
    /// What is assigned now. Does not wait.
    ///
    /// # Errors
    /// When this process has left the group for good, or the group cannot be reached.
    fn assignment(&self) -> Result<Assignment, LogError>;

    /// Blocks until the generation is another one than `generation` or the time is over; whether it is another one.
    ///
    /// # Errors
    /// As [`assignment`](Self::assignment).
    fn wait(&self, generation: u64, timeout: Duration) -> Result<bool, LogError>;

    /// Tells that this process works on no partition any more that is not in the assignment of `generation`: its epochs
    /// are finished or abandoned. Until then a new owner may be kept waiting, but not for ever.
    fn released(&self, generation: u64);
}
