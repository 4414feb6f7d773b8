//! A log in memory whose appends can be held up, and a log that fails.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use marquee_stream::{
    LogError, NewRecord, PartitionLog, Position, Record, Route, TopicSpec, TraceParent, partition_of,
};
use tokio::sync::Semaphore;

use crate::Progress;

/// A log in memory.
pub(super) struct MemoryLog {
    topics: Mutex<Topics>,
    /// Every append takes one permit before it stores anything.
    gate: Semaphore,
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Topics {
    partitions: HashMap<String, Vec<Vec<Record>>>,
    ledger: HashSet<(String, String)>,
    /// Of each append that had one.
    traces: Vec<TraceParent>,
}

impl MemoryLog {
    pub(super) fn new(topics: &[(&str, usize)]) -> Self {
        let partitions =
            topics.iter().map(|&(topic, partitions)| (topic.to_owned(), vec![Vec::new(); partitions])).collect();
        let topics = Mutex::new(Topics { partitions, ..Topics::default() });
        Self { topics, gate: Semaphore::new(Semaphore::MAX_PERMITS), waiting: AtomicUsize::new(0) }
    }

    /// From now on appends wait.
    pub(super) fn hold(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Lets everything go on that waits now or will.
    pub(super) fn release(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS);
    }

    /// How many appends have begun and not ended.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Every record of a topic with its partition.
    pub(super) fn records(&self, topic: &str) -> Vec<(usize, Record)> {
        let topics = self.topics.lock().unwrap();
        let partitions = topics.partitions[topic].iter().enumerate();
        partitions.flat_map(|(partition, records)| records.iter().map(move |r| (partition, r.clone()))).collect()
    }

    /// The traces of all appends that had one.
    pub(super) fn traces(&self) -> Vec<TraceParent> {
        self.topics.lock().unwrap().traces.clone()
    }

    async fn pass_gate(&self) {
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(&self.waiting);
        let _permit = self.gate.acquire().await.unwrap();
    }
}

impl Topics {
    fn topic(&mut self, topic: &str) -> Result<&mut Vec<Vec<Record>>, LogError> {
        self.partitions.get_mut(topic).ok_or_else(|| LogError::UnknownTopic(topic.to_owned()))
    }

    fn store(&mut self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        let partitions = self.topic(topic)?;
        let mut positions = Vec::new();
        for NewRecord { route, header, payload } in records {
            let partition = match route {
                Route::Key(key) => partition_of(&key, partitions.len() as u32),
                Route::Partition(partition) => partition,
            };
            let stored = &mut partitions[partition as usize];
            let offset = stored.len() as u64;
            stored.push(Record { offset, header, payload });
            positions.push(Position { partition, offset });
        }
        Ok(positions)
    }
}

#[async_trait]
impl PartitionLog for MemoryLog {
    fn ensure_topic(&self, _: &TopicSpec) -> Result<(), LogError> {
        unimplemented!("the collector makes no topics")
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        Ok(self.topics.lock().unwrap().topic(topic)?.len() as u32)
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        self.pass_gate().await;
        self.topics.lock().unwrap().store(topic, records)
    }

    async fn append_traced(
        &self,
        topic: &str,
        records: Vec<NewRecord>,
        trace_parent: TraceParent,
    ) -> Result<Vec<Position>, LogError> {
        self.topics.lock().unwrap().traces.push(trace_parent);
        self.append(topic, records).await
    }

    async fn append_once(
        &self,
        topic: &str,
        ledger_key: &str,
        records: Vec<NewRecord>,
    ) -> Result<Option<Vec<Position>>, LogError> {
        self.pass_gate().await;
        let mut topics = self.topics.lock().unwrap();
        if !topics.ledger.insert((topic.to_owned(), ledger_key.to_owned())) {
            return Ok(None);
        }
        topics.store(topic, records).map(Some)
    }

    fn ledger_contains(&self, topic: &str, ledger_key: &str) -> Result<bool, LogError> {
        Ok(self.topics.lock().unwrap().ledger.contains(&(topic.to_owned(), ledger_key.to_owned())))
    }

    fn read(&self, _: &str, _: u32, _: u64, _: usize) -> Result<Vec<Record>, LogError> {
        unimplemented!("the collector reads no records")
    }

    fn bounds(&self, topic: &str, partition: u32) -> Result<Range<u64>, LogError> {
        Ok(0..self.topics.lock().unwrap().topic(topic)?[partition as usize].len() as u64)
    }

    fn wait(&self, _: &str, _: u32, _: u64, _: Duration) -> Result<bool, LogError> {
        unimplemented!("the collector does not wait for records")
    }

    fn enforce_retention(&self, _: i64) -> Result<u64, LogError> {
        unimplemented!("the collector drops no records")
    }
}

/// A log of two partitions that fails in one way, whatever is asked of it.
pub(super) struct FailingLog(pub(super) fn() -> LogError);

#[async_trait]
impl PartitionLog for FailingLog {
    fn ensure_topic(&self, _: &TopicSpec) -> Result<(), LogError> {
        Err((self.0)())
    }

    fn partitions(&self, _: &str) -> Result<u32, LogError> {
        Ok(2) // the collector would not start otherwise
    }

    async fn append(&self, _: &str, _: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        Err((self.0)())
    }

    async fn append_once(&self, _: &str, _: &str, _: Vec<NewRecord>) -> Result<Option<Vec<Position>>, LogError> {
        Err((self.0)())
    }

    fn ledger_contains(&self, _: &str, _: &str) -> Result<bool, LogError> {
        Err((self.0)())
    }

    fn read(&self, _: &str, _: u32, _: u64, _: usize) -> Result<Vec<Record>, LogError> {
        Err((self.0)())
    }

    fn bounds(&self, _: &str, _: u32) -> Result<Range<u64>, LogError> {
        Err((self.0)())
    }

    fn wait(&self, _: &str, _: u32, _: u64, _: Duration) -> Result<bool, LogError> {
        Err((self.0)())
    }

    fn enforce_retention(&self, _: i64) -> Result<u64, LogError> {
        Err((self.0)())
    }
}

/// The lake has nothing of `playback`, and no job reads anything else.
pub(super) struct FixedProgress;

impl Progress for FixedProgress {
    fn committed(&self, topic: &str) -> Option<Vec<u64>> {
        (topic == "playback").then(|| vec![0; 4])
    }
}
