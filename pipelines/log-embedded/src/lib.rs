//! The partition log of a single machine: [`EmbeddedLog`] keeps topics in a folder, over `fjall`, and answers an append
//! when its records are on disk.
//!
//! One writer thread groups all appends that wait into one batch and one fsync ([`EmbeddedLog`] → `writer`); readers
//! never see a record before that. Each partition is a row of segments, each a keyspace of its own, because fjall
//! cannot delete a range: retention drops whole keyspaces. Before changing what is stored, read `record` and `meta`.

mod keeper;
mod meta;
mod record;
mod recovery;
mod storage;
mod storage_error;
mod topic;
mod writer;

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use marquee_stream::{LogError, NewRecord, PartitionLog, Position, Record, Route, TopicSpec, partition_of};
use tokio::sync::{mpsc, oneshot};

use crate::keeper::Job;
use crate::meta::{Seal, SegmentId, TopicMeta};
use crate::storage::Storage;
use crate::storage_error::{Cause, from_fjall, from_io};
use crate::topic::{Partition, Segment, Tail, Topic, lock};
use crate::writer::{Append, Encoded, Unflushed, Waiting, Writer};

/// Bytes that may wait to become durable: a third of a second of writing at 200 MB/s. More would only add latency and
/// memory; it is better to tell the players to come back.
pub const DEFAULT_MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// A segment's size before the next one begins. Retention drops whole segments, so a partition keeps up to this much
/// more than it has to; smaller ones cost a keyspace (some milliseconds and files) more often.
pub const DEFAULT_SEGMENT_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Appends that may wait, however small they are: the queue's own memory stays below 2 MiB.
const MAX_WAITING_APPENDS: usize = 16 * 1024;

/// fjall takes keys of up to 64 KiB; ledger keys are a hash and a chunk number.
const MAX_LEDGER_KEY_BYTES: usize = 4 * 1024;

/// Partitions of all topics together. Opening would wait forever for fjall's queue of 1000 flushes if more had records
/// in its journals.
const MAX_PARTITIONS: usize = 512;

/// As long as a file name may be; fjall's keys could hold more.
const MAX_TOPIC_NAME_BYTES: usize = 255;

/// The most one append may hold whatever the options say: fjall takes values below 4 GiB.
const MAX_APPEND_BYTES: usize = 1024 * 1024 * 1024;

/// How an [`EmbeddedLog`] is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbeddedLogOptions {
    /// An append that would make more bytes than this wait to become durable is refused with [`LogError::Full`];
    /// one that is larger by itself is always refused.
    pub max_waiting_bytes: usize,
    /// A segment gets no more records from this size on.
    pub segment_max_bytes: u64,
}

impl Default for EmbeddedLogOptions {
    fn default() -> Self {
        Self { max_waiting_bytes: DEFAULT_MAX_WAITING_BYTES, segment_max_bytes: DEFAULT_SEGMENT_MAX_BYTES }
    }
}

/// A [`PartitionLog`] in a folder of this machine. One process at a time may have it open. Dropping it waits for what
/// was appended.
pub struct EmbeddedLog {
    topics: RwLock<HashMap<String, Arc<Topic>>>,
    /// Held while a topic is created or retention is enforced.
    changing: Mutex<()>,
    max_waiting_bytes: usize,
    waiting: Arc<Waiting>,
    /// `None` only while the log is being dropped.
    appends: Option<mpsc::Sender<Append>>,
    threads: Vec<JoinHandle<()>>,
    storage: Arc<Storage>,
}

impl EmbeddedLog {
    /// Opens the log in `dir` and checks it; creates an empty one when there is none. Records that were acknowledged
    /// before a crash are there, records that were not may be.
    ///
    /// # Errors
    /// [`LogError::InUse`] when another process has it open, [`LogError::Damaged`] when stored bytes are missing or
    /// not what was written, [`LogError::Storage`] when the file system refuses.
    pub fn open(dir: &Path, options: EmbeddedLogOptions) -> Result<Self, LogError> {
        let storage = Arc::new(Storage::open(dir)?);
        let topics = recovery::recover_topics(&storage)?;
        let topics: HashMap<_, _> = topics.into_iter().map(|topic| (topic.name.clone(), Arc::new(topic))).collect();

        let waiting = Arc::<Waiting>::default();
        let (appends, queue) = mpsc::channel(MAX_WAITING_APPENDS);
        let (keeper, jobs) = std::sync::mpsc::channel();
        // What the journals held is in memory now; the writer counts only what it writes.
        let recovered = topics.values().flat_map(|topic| &topic.partitions).flat_map(Partition::keyspaces);
        for keyspace in recovered.chain([storage.ledger.clone(), storage.meta.clone()]) {
            keeper.send(Job::Flush(keyspace)).expect("the receiver is in this function");
        }
        let writer = Writer {
            storage: Arc::clone(&storage),
            waiting: Arc::clone(&waiting),
            keeper,
            segment_max_bytes: options.segment_max_bytes,
            unflushed: Unflushed::default(),
        };
        let kept = Arc::clone(&storage);
        let threads = vec![
            spawn("log-writer", move || writer.run(queue))?,
            spawn("log-keeper", move || keeper::run(&kept, &jobs))?,
        ];
        let max_waiting_bytes = options.max_waiting_bytes.min(MAX_APPEND_BYTES);
        let changing = Mutex::new(());
        Ok(Self {
            topics: RwLock::new(topics),
            changing,
            max_waiting_bytes,
            waiting,
            appends: Some(appends),
            threads,
            storage,
        })
    }

    /// How many segments a partition has.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`].
    pub fn segments(&self, topic: &str, partition: u32) -> Result<usize, LogError> {
        Ok(partition_in(&*self.topic(topic)?, partition)?.segment_count())
    }

    fn topic(&self, name: &str) -> Result<Arc<Topic>, LogError> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(name).cloned().ok_or_else(|| LogError::UnknownTopic(name.to_owned()))
    }

    fn create_topic(&self, spec: &TopicSpec) -> Result<Topic, LogError> {
        let operation = "creating a topic";
        if spec.partitions == 0 || !(1..=MAX_TOPIC_NAME_BYTES).contains(&spec.name.len()) {
            let why = format!(
                "topic `{}` needs at least 1 partition and a name of 1 to {MAX_TOPIC_NAME_BYTES} bytes",
                spec.name
            );
            return Err(LogError::Storage { operation, source: Box::new(Cause(why.into())) });
        }
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        let id = topics.values().map(|topic| topic.id + 1).max().unwrap_or(0);
        let partitions = topics.values().map(|topic| topic.partitions.len()).sum::<usize>() + spec.partitions as usize;
        drop(topics);
        if partitions > MAX_PARTITIONS {
            let why = format!(
                "with topic `{}` it would have {partitions} partitions, {MAX_PARTITIONS} is its most",
                spec.name
            );
            return Err(LogError::Storage { operation, source: Box::new(Cause(why.into())) });
        }
        let partitions = (0..spec.partitions)
            .map(|partition| {
                let id = SegmentId { topic_id: id, partition, number: 0 };
                let tail = Tail::at_start_of(id, self.storage.create_segment(id)?, 0);
                Ok(Partition::new(VecDeque::new(), tail, None))
            })
            .collect::<Result<_, LogError>>()?;
        // Last, so that a topic that is there has all its segments.
        let meta = TopicMeta { id, partitions: spec.partitions, retention_ms: spec.retention_ms, is_sealed: false };
        self.store_topic(&spec.name, meta)?;
        let retention_ms = spec.retention_ms.into();
        Ok(Topic { name: spec.name.clone(), id, retention_ms, is_sealed: false.into(), partitions })
    }

    fn store_topic(&self, name: &str, topic: TopicMeta) -> Result<(), LogError> {
        let mut batch = self.storage.durable_batch(1);
        batch.insert(&self.storage.meta, TopicMeta::key(name), topic.encode());
        batch.commit().map_err(|error| from_fjall("storing a topic", error))
    }

    /// Drops the oldest segments of a partition; the number of records in them. It is decided and stored at once and
    /// done afterwards: after a crash the log is opened with all of them gone.
    fn drop_oldest(&self, partition: &Partition, segments: Vec<(Segment, Seal)>) -> Result<u64, LogError> {
        let Some((Segment { id: newest, .. }, _)) = segments.last() else { return Ok(0) };
        let mut batch = self.storage.durable_batch(segments.len() + 1);
        let first_kept = newest.number + 1;
        let key = meta::first_kept_key(newest.topic_id, newest.partition);
        batch.insert(&self.storage.meta, key, first_kept.to_be_bytes());
        for (segment, _) in &segments {
            batch.remove(&self.storage.meta, segment.id.seal_key());
        }
        batch.commit().map_err(|error| from_fjall("storing which segments are dropped", error))?;
        let mut records = 0;
        for (segment, seal) in segments {
            // Forgotten when it is gone, so that the next call goes on where this one failed.
            self.storage.drop_segment(segment.keyspace)?;
            partition.forget_oldest();
            records += seal.end - seal.first;
        }
        Ok(records)
    }

    async fn enqueue(
        &self,
        topic: &str,
        ledger_key: Option<&str>,
        records: Vec<NewRecord>,
    ) -> Result<Option<Vec<Position>>, LogError> {
        let topic = self.topic(topic)?;
        let ledger_key = ledger_key.map(|key| stored_ledger_key(&topic, key)).transpose()?;
        if records.is_empty() && ledger_key.is_none() {
            return Ok(Some(Vec::new()));
        }
        let size_bytes = records.iter().map(|record| record.payload.len() + record::OVERHEAD_BYTES).sum();
        let reserved = Reserved::new(&self.waiting, size_bytes, self.max_waiting_bytes)?;
        let records = records.iter().map(|record| encode(&topic, record)).collect::<Result<_, _>>()?;
        let (reply, answer) = oneshot::channel();
        let appends = self.appends.as_ref().expect("only drop takes the sender");
        match appends.try_send(Append { topic, ledger_key, records, seals: false, size_bytes, reply }) {
            Ok(()) => reserved.hand_over(),
            Err(mpsc::error::TrySendError::Full(_)) => return Err(reserved.full()),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(self.waiting.stopped()),
        }
        answer.await.unwrap_or_else(|_| Err(self.waiting.stopped()))
    }
}

#[async_trait]
impl PartitionLog for EmbeddedLog {
    fn ensure_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        let _changing = lock(&self.changing);
        let Ok(topic) = self.topic(&spec.name) else {
            let topic = Arc::new(self.create_topic(spec)?);
            self.topics.write().unwrap_or_else(PoisonError::into_inner).insert(spec.name.clone(), topic);
            return Ok(());
        };
        let partitions = topic.partitions.len() as u32;
        if partitions != spec.partitions {
            return Err(LogError::Mismatch { topic: topic.name.clone(), asked: spec.partitions, found: partitions });
        }
        if topic.retention_ms.load(Ordering::Relaxed) != spec.retention_ms {
            let is_sealed = topic.is_sealed.load(Ordering::Acquire);
            let meta = TopicMeta { id: topic.id, partitions, retention_ms: spec.retention_ms, is_sealed };
            self.store_topic(&topic.name, meta)?;
            topic.retention_ms.store(spec.retention_ms, Ordering::Relaxed);
        }
        Ok(())
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        Ok(self.topic(topic)?.partitions.len() as u32)
    }

    /// Goes through the writer, like what was appended before.
    fn seal(&self, topic: &str) -> Result<(), LogError> {
        let _changing = lock(&self.changing);
        let topic = self.topic(topic)?;
        if topic.is_sealed.load(Ordering::Acquire) {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        let append = Append { topic, ledger_key: None, records: Vec::new(), seals: true, size_bytes: 0, reply };
        let appends = self.appends.as_ref().expect("only drop takes the sender");
        appends.blocking_send(append).map_err(|_| self.waiting.stopped())?;
        answer.blocking_recv().unwrap_or_else(|_| Err(self.waiting.stopped())).map(drop)
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        let positions = self.enqueue(topic, None, records).await?;
        Ok(positions.expect("only an append with a ledger key can be there already"))
    }

    async fn append_once(
        &self,
        topic: &str,
        ledger_key: &str,
        records: Vec<NewRecord>,
    ) -> Result<Option<Vec<Position>>, LogError> {
        self.enqueue(topic, Some(ledger_key), records).await
    }

    fn ledger_contains(&self, topic: &str, ledger_key: &str) -> Result<bool, LogError> {
        let topic = self.topic(topic)?;
        let key = stored_ledger_key(&topic, ledger_key)?;
        // fjall shows a batch to readers after its fsync, so what is seen here is durable.
        self.storage.ledger.contains_key(key).map_err(|error| from_fjall("reading the ledger", error))
    }

    fn read(&self, topic: &str, partition: u32, from: u64, max_bytes: usize) -> Result<Vec<Record>, LogError> {
        let open = self.topic(topic)?;
        let part = partition_in(&open, partition)?;
        let Range { start, end } = part.bounds();
        let expired = |start| LogError::OffsetExpired { topic: topic.to_owned(), partition, offset: from, start };
        if from < start {
            return Err(expired(start));
        }
        if from > end {
            return Err(LogError::BeyondEnd { topic: topic.to_owned(), partition, offset: from, end });
        }
        let damaged = |offset: u64, what: &str| {
            LogError::Damaged(format!("the record at offset {offset} {what} in {topic}/{partition}"))
        };
        let mut records = Vec::new();
        let mut payload_bytes = 0;
        let mut offset = from;
        while offset < end {
            let Some(segment) = part.segment_of(offset) else {
                // Retention was quicker.
                return if records.is_empty() { Err(expired(part.start())) } else { Ok(records) };
            };
            let segment_from = offset;
            for entry in segment.range(record::key(offset)..record::key(end)) {
                let (key, value) = entry.into_inner().map_err(|error| from_fjall("reading records", error))?;
                if record::offset(&key) != Some(offset) {
                    return Err(damaged(offset, "is missing"));
                }
                let record = record::decode(offset, value).map_err(|what| damaged(offset, what))?;
                payload_bytes += record.payload.len();
                if payload_bytes > max_bytes && !records.is_empty() {
                    return Ok(records);
                }
                records.push(record);
                offset += 1;
            }
            if offset == segment_from {
                return Err(damaged(offset, "is missing"));
            }
        }
        Ok(records)
    }

    fn bounds(&self, topic: &str, partition: u32) -> Result<Range<u64>, LogError> {
        Ok(partition_in(&*self.topic(topic)?, partition)?.bounds())
    }

    fn wait(&self, topic: &str, partition: u32, offset: u64, timeout: Duration) -> Result<bool, LogError> {
        Ok(partition_in(&*self.topic(topic)?, partition)?.wait(offset, timeout))
    }

    fn enforce_retention(&self, now_ms: i64) -> Result<u64, LogError> {
        let _changing = lock(&self.changing);
        let topics: Vec<_> = self.topics.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let mut dropped = 0;
        for topic in topics {
            let oldest_kept_ms = now_ms.saturating_sub(topic.retention_ms.load(Ordering::Relaxed));
            for partition in &topic.partitions {
                let expired = partition.oldest_while(|seal| seal.newest_received_at_ms < oldest_kept_ms);
                dropped += self.drop_oldest(partition, expired)?;
            }
        }
        Ok(dropped)
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        // The writer ends when it has answered all appends, the keeper when the writer has gone.
        drop(self.appends.take());
        for thread in self.threads.drain(..) {
            // A panic of theirs was reported to the callers and on stderr when it happened.
            thread.join().ok();
        }
    }
}

/// Bytes counted as waiting; given back when dropped, unless the writer has taken them over.
struct Reserved<'a> {
    waiting: &'a Waiting,
    size_bytes: usize,
}

impl<'a> Reserved<'a> {
    fn new(waiting: &'a Waiting, size_bytes: usize, max_waiting_bytes: usize) -> Result<Self, LogError> {
        let fits = |waiting_bytes: usize| waiting_bytes.checked_add(size_bytes).filter(|sum| *sum <= max_waiting_bytes);
        match waiting.size_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(Self { waiting, size_bytes }),
            Err(waiting_bytes) => Err(LogError::Full { waiting_bytes }),
        }
    }

    fn hand_over(self) {
        std::mem::forget(self);
    }

    fn full(self) -> LogError {
        LogError::Full { waiting_bytes: self.waiting.size_bytes.load(Ordering::Relaxed) - self.size_bytes }
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.waiting.size_bytes.fetch_sub(self.size_bytes, Ordering::Relaxed);
    }
}

fn partition_in(topic: &Topic, partition: u32) -> Result<&Partition, LogError> {
    topic
        .partitions
        .get(partition as usize)
        .ok_or_else(|| LogError::UnknownTopic(format!("{}/{partition}", topic.name)))
}

fn encode(topic: &Topic, record: &NewRecord) -> Result<Encoded, LogError> {
    let partition = match &record.route {
        Route::Key(key) => partition_of(key, topic.partitions.len() as u32),
        Route::Partition(partition) => *partition,
    };
    partition_in(topic, partition)?;
    let value = record::encode(&record.header, &record.payload);
    Ok(Encoded { partition, received_at_ms: record.header.received_at_ms, value })
}

fn stored_ledger_key(topic: &Topic, ledger_key: &str) -> Result<Vec<u8>, LogError> {
    if ledger_key.len() > MAX_LEDGER_KEY_BYTES {
        let why = format!("it has {} bytes, at most {MAX_LEDGER_KEY_BYTES} are taken", ledger_key.len());
        return Err(LogError::Storage { operation: "using a ledger key", source: Box::new(Cause(why.into())) });
    }
    Ok([topic.id.to_be_bytes().as_slice(), ledger_key.as_bytes()].concat())
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, LogError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(|error| from_io("starting its threads", error))
}
