//! How far each shard has come, for waiting, monitoring and the live view.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::time::{Duration, Instant};

use crate::{LatencyHistogram, LogError, PartitionLog, ShardId, StreamError};

/// One shard's progress. Everything only grows, but for what was read: a fenced shard reads again from the newest epoch.
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

/// The progress of every shard of a runtime, and the first failure. Shards come and go with the partitions of this
/// process.
#[derive(Debug, Default)]
pub struct RuntimeProgress {
    shards: RwLock<Vec<Arc<ShardProgress>>>,
    /// The topics of the jobs and their partitions, those of other processes included.
    partitions: BTreeMap<String, u32>,
    /// Whether it is known which partitions are this process's, and their shards are here.
    is_assigned: AtomicBool,
    /// Time from a record's arrival at the collector to its visibility in the live deltas.
    pub freshness: LatencyHistogram,
    failure: Mutex<Option<StreamError>>,
    changed: Condvar,
}

impl RuntimeProgress {
    pub(crate) fn new(partitions: BTreeMap<String, u32>) -> Self {
        Self { partitions, ..Default::default() }
    }

    /// The shards that are at work in this process now.
    pub fn shards(&self) -> Vec<Arc<ShardProgress>> {
        self.shards.read().expect("no thread panics while it holds this lock").clone()
    }

    /// Replaces the shards.
    pub(crate) fn set_shards(&self, shards: Vec<Arc<ShardProgress>>) {
        *self.shards.write().expect("no thread panics while it holds this lock") = shards;
        self.changed.notify_all();
    }

    pub(crate) fn set_assigned(&self) {
        self.is_assigned.store(true, Ordering::Release);
        self.changed.notify_all();
    }

    /// First offsets that are not in the lake yet, by partition; `None` for a topic without job. A partition of another
    /// process has 0: nothing is known of it here.
    pub fn committed(&self, topic: &str) -> Option<Vec<u64>> {
        let partitions = *self.partitions.get(topic)?;
        let shards = self.shards();
        let committed = |partition| {
            let of_partition = shards.iter().filter(|s| s.shard.topic == topic && s.shard.partition == partition);
            of_partition.map(|s| s.committed_offset()).min().unwrap_or(0)
        };
        Some((0..partitions).map(committed).collect())
    }

    /// The end of every partition in the log now.
    pub(crate) fn log_ends(&self, log: &dyn PartitionLog) -> Result<BTreeMap<(String, u32), u64>, LogError> {
        let mut ends = BTreeMap::new();
        for (topic, partitions) in &self.partitions {
            for partition in 0..*partitions {
                ends.insert((topic.clone(), partition), log.bounds(topic, partition)?.end);
            }
        }
        Ok(ends)
    }

    /// Whether this process's shards, as they are now, have taken everything before these offsets into the lake.
    pub(crate) fn has_committed(&self, ends: &BTreeMap<(String, u32), u64>) -> bool {
        let end = |s: &ShardProgress| ends.get(&(s.shard.topic.clone(), s.shard.partition)).copied().unwrap_or(0);
        self.is_assigned.load(Ordering::Acquire) && self.shards().iter().all(|s| s.committed_offset() >= end(s))
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
