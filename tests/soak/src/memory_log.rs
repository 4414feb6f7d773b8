//! A log in memory that keeps the contract of [`PartitionLog`].

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use marquee_stream::{LogError, NewRecord, PartitionLog, Position, Record, Route, TopicSpec, partition_of};

/// The log. Everything is durable as soon as it is there.
#[derive(Debug, Default)]
pub struct MemoryLog {
    topics: Mutex<BTreeMap<String, Topic>>,
    appended: Condvar,
}

#[derive(Debug)]
struct Topic {
    retention_ms: i64,
    partitions: Vec<Partition>,
    ledger: HashSet<String>,
    is_sealed: bool,
}

#[derive(Debug, Clone, Default)]
struct Partition {
    start: u64,
    records: Vec<Record>,
}

impl Partition {
    fn bounds(&self) -> Range<u64> {
        self.start..self.start + self.records.len() as u64
    }
}

impl MemoryLog {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Topic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that a partition holds.
    pub fn records(&self, topic: &str, partition: u32) -> Vec<Record> {
        self.lock().get(topic).map(|t| t.partitions[partition as usize].records.clone()).unwrap_or_default()
    }
}

impl Topic {
    fn partition(&self, topic: &str, partition: u32) -> Result<&Partition, LogError> {
        self.partitions.get(partition as usize).ok_or_else(|| unknown(topic))
    }

    fn append(&mut self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        let count = self.partitions.len() as u32;
        let partition = |record: &NewRecord| match &record.route {
            Route::Key(key) => partition_of(key, count),
            Route::Partition(partition) => *partition,
        };
        if records.iter().any(|record| partition(record) >= count) {
            return Err(unknown(topic));
        }
        if self.is_sealed {
            return Err(LogError::Sealed(topic.to_owned()));
        }
        let append = |record: NewRecord| {
            let partition = partition(&record);
            let into = &mut self.partitions[partition as usize];
            let offset = into.bounds().end;
            into.records.push(Record { offset, header: record.header, payload: record.payload });
            Position { partition, offset }
        };
        Ok(records.into_iter().map(append).collect())
    }
}

fn unknown(topic: &str) -> LogError {
    LogError::UnknownTopic(topic.to_owned())
}

#[async_trait]
impl PartitionLog for MemoryLog {
    fn ensure_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        let mut topics = self.lock();
        let partitions = vec![Partition::default(); spec.partitions as usize];
        let new = Topic { retention_ms: spec.retention_ms, partitions, ledger: HashSet::new(), is_sealed: false };
        let topic = topics.entry(spec.name.clone()).or_insert(new);
        topic.retention_ms = spec.retention_ms;
        let found = topic.partitions.len() as u32;
        if found == spec.partitions {
            return Ok(());
        }
        Err(LogError::Mismatch { topic: spec.name.clone(), asked: spec.partitions, found })
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.lock().get(topic).map(|topic| topic.partitions.len() as u32).ok_or_else(|| unknown(topic))
    }

    fn seal(&self, topic: &str) -> Result<(), LogError> {
        self.lock().get_mut(topic).ok_or_else(|| unknown(topic))?.is_sealed = true;
        Ok(())
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        let appended = self.lock().get_mut(topic).ok_or_else(|| unknown(topic))?.append(topic, records);
        self.appended.notify_all();
        appended
    }

    async fn append_once(
        &self,
        topic: &str,
        ledger_key: &str,
        records: Vec<NewRecord>,
    ) -> Result<Option<Vec<Position>>, LogError> {
        let mut topics = self.lock();
        let entry = topics.get_mut(topic).ok_or_else(|| unknown(topic))?;
        if entry.ledger.contains(ledger_key) {
            return Ok(None);
        }
        let appended = entry.append(topic, records)?;
        entry.ledger.insert(ledger_key.to_owned());
        drop(topics);
        self.appended.notify_all();
        Ok(Some(appended))
    }

    fn ledger_contains(&self, topic: &str, ledger_key: &str) -> Result<bool, LogError> {
        Ok(self.lock().get(topic).ok_or_else(|| unknown(topic))?.ledger.contains(ledger_key))
    }

    fn read(&self, topic: &str, partition: u32, from: u64, max_bytes: usize) -> Result<Vec<Record>, LogError> {
        let topics = self.lock();
        let found = topics.get(topic).ok_or_else(|| unknown(topic))?.partition(topic, partition)?;
        let bounds = found.bounds();
        if from < bounds.start {
            return Err(LogError::OffsetExpired {
                topic: topic.to_owned(),
                partition,
                offset: from,
                start: bounds.start,
            });
        }
        if from > bounds.end {
            return Err(LogError::BeyondEnd { topic: topic.to_owned(), partition, offset: from, end: bounds.end });
        }
        let mut bytes = 0;
        let fits = |record: &&Record| {
            let before = bytes;
            bytes += record.payload.len();
            before == 0 || before <= max_bytes
        };
        Ok(found.records[(from - bounds.start) as usize..].iter().take_while(fits).cloned().collect())
    }

    fn bounds(&self, topic: &str, partition: u32) -> Result<Range<u64>, LogError> {
        Ok(self.lock().get(topic).ok_or_else(|| unknown(topic))?.partition(topic, partition)?.bounds())
    }

    fn wait(&self, topic: &str, partition: u32, offset: u64, timeout: Duration) -> Result<bool, LogError> {
        let deadline = Instant::now() + timeout;
        let mut topics = self.lock();
        loop {
            let found = topics.get(topic).ok_or_else(|| unknown(topic))?.partition(topic, partition)?;
            let left = deadline.saturating_duration_since(Instant::now());
            if found.bounds().end > offset || left.is_zero() {
                return Ok(found.bounds().end > offset);
            }
            topics = self.appended.wait_timeout(topics, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn enforce_retention(&self, now_ms: i64) -> Result<u64, LogError> {
        let mut dropped = 0;
        for topic in self.lock().values_mut() {
            for partition in &mut topic.partitions {
                let is_old =
                    |record: &&Record| now_ms.saturating_sub(record.header.received_at_ms) > topic.retention_ms;
                let old = partition.records.iter().take_while(is_old).count();
                partition.records.drain(..old);
                partition.start += old as u64;
                dropped += old as u64;
            }
        }
        Ok(dropped)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn it_keeps_the_contract() {
        let log: Arc<dyn PartitionLog> = Arc::new(MemoryLog::default());
        marquee_stream::contract::check_partition_log(&|| log.clone());
    }
}
