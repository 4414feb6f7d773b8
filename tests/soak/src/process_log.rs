//! The log as a process sees it: reads return as much as the dice say, and the live topic may be full.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use marquee_jobs::LIVE_TOPIC;
use marquee_stream::{LogError, NewRecord, PartitionLog, Position, Record, TopicSpec};

use crate::faults::Faults;
use crate::memory_log::MemoryLog;

/// The log.
pub struct ProcessLog {
    pub(crate) inner: Arc<MemoryLog>,
    pub(crate) faults: Faults,
}

#[async_trait]
impl PartitionLog for ProcessLog {
    fn ensure_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        self.inner.ensure_topic(spec)
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.inner.partitions(topic)
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        if topic == LIVE_TOPIC && self.faults.happens(self.faults.rates().log_full) {
            return Err(LogError::Full { waiting_bytes: 1 });
        }
        self.inner.append(topic, records).await
    }

    async fn append_once(
        &self,
        topic: &str,
        ledger_key: &str,
        records: Vec<NewRecord>,
    ) -> Result<Option<Vec<Position>>, LogError> {
        self.inner.append_once(topic, ledger_key, records).await
    }

    fn ledger_contains(&self, topic: &str, ledger_key: &str) -> Result<bool, LogError> {
        self.inner.ledger_contains(topic, ledger_key)
    }

    fn read(&self, topic: &str, partition: u32, from: u64, max_bytes: usize) -> Result<Vec<Record>, LogError> {
        let max_bytes = if self.faults.happens(0.5) { self.faults.below(4_000) } else { max_bytes };
        self.inner.read(topic, partition, from, max_bytes)
    }

    fn bounds(&self, topic: &str, partition: u32) -> Result<Range<u64>, LogError> {
        self.inner.bounds(topic, partition)
    }

    fn wait(&self, topic: &str, partition: u32, offset: u64, timeout: Duration) -> Result<bool, LogError> {
        self.inner.wait(topic, partition, offset, timeout)
    }

    fn enforce_retention(&self, now_ms: i64) -> Result<u64, LogError> {
        self.inner.enforce_retention(now_ms)
    }
}
