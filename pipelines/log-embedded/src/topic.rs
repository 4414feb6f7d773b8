//! What is known of a topic while the log is open: the durable end of each partition, its segments, and the writer's
//! place in it.
//!
//! Only the writer moves `end`, after the records below it are on disk; readers never look past it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use fjall::Keyspace;

use crate::meta::{Seal, SegmentId};

/// An open topic.
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: u32,
    pub(crate) retention_ms: AtomicI64,
    /// Set by the writer alone.
    pub(crate) is_sealed: AtomicBool,
    pub(crate) partitions: Vec<Partition>,
}

/// An open partition.
pub(crate) struct Partition {
    /// The offset after the last durable record.
    end: Mutex<u64>,
    grew: Condvar,
    /// Oldest first, without gaps, never empty. All but the last are sealed.
    segments: RwLock<VecDeque<Segment>>,
    /// The next segment, made before it is needed.
    pub(crate) prepared: Mutex<Option<Keyspace>>,
    /// Locked by the writer, and by the keeper when it could not make a segment.
    pub(crate) tail: Mutex<Tail>,
}

/// A segment as readers and retention see it.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    pub(crate) first: u64,
    pub(crate) keyspace: Keyspace,
    /// `None` for the active segment.
    pub(crate) seal: Option<Seal>,
}

/// Where the writer is in a partition. Ahead of `end` while a group is being written.
pub(crate) struct Tail {
    pub(crate) id: SegmentId,
    pub(crate) keyspace: Keyspace,
    pub(crate) first: u64,
    pub(crate) next_offset: u64,
    pub(crate) segment_bytes: u64,
    /// Those of them that the keeper was not told to flush.
    pub(crate) unflushed_bytes: u64,
    pub(crate) newest_received_at_ms: i64,
    /// Whether the next segment is there or being made.
    pub(crate) next_requested: bool,
}

impl Tail {
    /// The place before the first record of a segment.
    pub(crate) fn at_start_of(id: SegmentId, keyspace: Keyspace, first: u64) -> Self {
        Self {
            id,
            keyspace,
            first,
            next_offset: first,
            segment_bytes: 0,
            unflushed_bytes: 0,
            newest_received_at_ms: i64::MIN,
            next_requested: false,
        }
    }

    /// What there is to say about the segment when it ends here.
    pub(crate) fn seal(&self) -> Seal {
        Seal { first: self.first, end: self.next_offset, newest_received_at_ms: self.newest_received_at_ms }
    }
}

impl Partition {
    /// A partition with these sealed segments before the one that `tail` is in.
    pub(crate) fn new(mut sealed: VecDeque<Segment>, mut tail: Tail, prepared: Option<Keyspace>) -> Self {
        sealed.push_back(Segment { id: tail.id, first: tail.first, keyspace: tail.keyspace.clone(), seal: None });
        tail.next_requested = prepared.is_some();
        Self {
            end: Mutex::new(tail.next_offset),
            grew: Condvar::new(),
            segments: RwLock::new(sealed),
            prepared: Mutex::new(prepared),
            tail: Mutex::new(tail),
        }
    }

    /// First kept offset and durable end.
    pub(crate) fn bounds(&self) -> Range<u64> {
        // The start first: both only grow, and the start never beyond the end.
        let start = self.start();
        start..*lock(&self.end)
    }

    /// First kept offset.
    pub(crate) fn start(&self) -> u64 {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.front().expect("a partition always has its active segment").first
    }

    /// How many segments there are; at least 1.
    pub(crate) fn segment_count(&self) -> usize {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The keyspace of the segment that `offset` belongs to; `None` below the first kept offset.
    pub(crate) fn segment_of(&self, offset: u64) -> Option<Keyspace> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let after = segments.partition_point(|segment| segment.first <= offset);
        Some(segments.get(after.checked_sub(1)?)?.keyspace.clone())
    }

    /// Seals the active segment and makes `next` the active one. Before [`publish`](Self::publish).
    pub(crate) fn roll(&self, seal: Seal, next: Segment) {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        segments.back_mut().expect("a partition always has its active segment").seal = Some(seal);
        segments.push_back(next);
    }

    /// The oldest segments that are sealed, that readers could read all of, and for which `expired` holds.
    pub(crate) fn oldest_while(&self, expired: impl Fn(&Seal) -> bool) -> Vec<(Segment, Seal)> {
        let end = *lock(&self.end);
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments
            .iter()
            .map_while(|segment| Some((segment, segment.seal?)))
            .take_while(|(_, seal)| seal.end <= end && expired(seal))
            .map(|(segment, seal)| (segment.clone(), seal))
            .collect()
    }

    /// Forgets the oldest segment, which [`oldest_while`](Self::oldest_while) has returned.
    pub(crate) fn forget_oldest(&self) {
        self.segments.write().unwrap_or_else(PoisonError::into_inner).pop_front();
    }

    /// The keyspaces of all segments.
    pub(crate) fn keyspaces(&self) -> Vec<Keyspace> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.iter().map(|segment| segment.keyspace.clone()).collect()
    }

    /// Lets readers see everything below `end`, which is durable.
    pub(crate) fn publish(&self, end: u64) {
        *lock(&self.end) = end;
        self.grew.notify_all();
    }

    /// Blocks until the durable end lies beyond `offset` or the time is over; whether it does.
    pub(crate) fn wait(&self, offset: u64, timeout: Duration) -> bool {
        let end = lock(&self.end);
        let (end, _) =
            self.grew.wait_timeout_while(end, timeout, |end| *end <= offset).unwrap_or_else(PoisonError::into_inner);
        *end > offset
    }
}

/// Locks; a thread that panicked while it held one of these locks has left no half-made change behind.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
