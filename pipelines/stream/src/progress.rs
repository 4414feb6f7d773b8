//! How far each shard has come, for waiting, monitoring and the live view.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::{LatencyHistogram, ShardId, StreamError};

/// One shard's progress. Everything only grows.
#[derive(Debug)]
pub struct ShardProgress {
    /// The shard.
    pub shard: ShardId,
    pub(crate) read_offset: AtomicU64,
    pub(crate) committed_offset: AtomicU64,
    pub(crate) done_epoch: AtomicU64,
    pub(crate) decided_epoch: AtomicU64,
    pub(crate) watermark_ms: AtomicI64,
}

impl ShardProgress {
    pub(crate) fn new(shard: ShardId) -> Self {
        Self {
            shard,
            read_offset: AtomicU64::new(0),
            committed_offset: AtomicU64::new(0),
            done_epoch: AtomicU64::new(0),
            decided_epoch: AtomicU64::new(0),
            watermark_ms: AtomicI64::new(i64::MIN),
        }
    }

    /// First offset that was not read yet.
    pub fn read_offset(&self) -> u64 {
        self.read_offset.load(Ordering::Acquire)
    }

    /// First offset that is not in the lake yet.
    pub fn committed_offset(&self) -> u64 {
        self.committed_offset.load(Ordering::Acquire)
    }

    /// The last epoch that is in the lake.
    pub fn done_epoch(&self) -> u64 {
        self.done_epoch.load(Ordering::Acquire)
    }

    /// Event time that has passed at the last epoch (ms since the epoch).
    pub fn watermark_ms(&self) -> Option<i64> {
        Some(self.watermark_ms.load(Ordering::Acquire)).filter(|ms| *ms != i64::MIN)
    }
}

/// The progress of every shard of a runtime, and the first failure.
#[derive(Debug, Default)]
pub struct RuntimeProgress {
    shards: Vec<Arc<ShardProgress>>,
    /// Time from a record's arrival at the collector to its visibility in the live deltas.
    pub freshness: LatencyHistogram,
    failure: Mutex<Option<StreamError>>,
    changed: Condvar,
}

impl RuntimeProgress {
    pub(crate) fn new(shards: Vec<Arc<ShardProgress>>) -> Self {
        Self { shards, ..Default::default() }
    }

    /// Every shard.
    pub fn shards(&self) -> &[Arc<ShardProgress>] {
        &self.shards
    }

    /// First offsets that are not in the lake yet, by partition; `None` for a topic without job.
    pub fn committed(&self, topic: &str) -> Option<Vec<u64>> {
        let mut shards: Vec<_> = self.shards.iter().filter(|s| s.shard.topic == topic).collect();
        shards.sort_by_key(|s| s.shard.partition);
        (!shards.is_empty()).then(|| shards.iter().map(|s| s.committed_offset()).collect())
    }

    /// Whether a thread has failed.
    pub fn has_failed(&self) -> bool {
        self.failure.lock().expect("no thread panics while it holds this lock").is_some()
    }

    pub(crate) fn fail(&self, error: StreamError) {
        let mut failure = self.failure.lock().expect("no thread panics while it holds this lock");
        failure.get_or_insert(error);
        drop(failure);
        self.changed.notify_all();
    }

    pub(crate) fn take_failure(&self) -> Option<StreamError> {
        self.failure.lock().expect("no thread panics while it holds this lock").take()
    }

    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Blocks until `condition` holds, a thread has failed or the time is over; whether the condition holds.
    pub fn wait_until(&self, timeout: Duration, mut condition: impl FnMut(&Self) -> bool) -> bool {
        let deadline = Instant::now() + timeout;
        let mut guard = self.failure.lock().expect("no thread panics while it holds this lock");
        loop {
            if condition(self) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || guard.is_some() {
                return false;
            }
            // Woken by commits; the short limit covers offsets that only reading moves.
            let (next, _) = self
                .changed
                .wait_timeout(guard, left.min(Duration::from_millis(20)))
                .expect("no thread panics while it holds this lock");
            guard = next;
        }
    }
}
