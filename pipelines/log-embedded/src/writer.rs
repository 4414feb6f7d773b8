//! The one thread that writes records: it takes all appends that wait, writes them as one batch with one fsync, and
//! only then shows them to readers and answers their callers (group commit).
//!
//! After a failed write nobody knows what is on disk, so the writer never writes again until the log is opened anew
//! (Rebello et al., *Can applications recover from fsync failures?*, USENIX ATC 2020).

use std::collections::HashSet;
use std::error::Error as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc as sync_mpsc;
use std::sync::{Arc, OnceLock};

use fjall::{Keyspace, OwnedWriteBatch, Slice};
use marquee_stream::{LogError, Position};
use tokio::sync::{mpsc, oneshot};

use crate::keeper::Job;
use crate::meta::{Seal, SegmentId, TopicMeta};
use crate::record;
use crate::storage::Storage;
use crate::storage_error::{Cause, from_fjall};
use crate::topic::{Segment, Tail, Topic, lock};

/// A group is closed at this size. One fsync is cheap for it, and no append waits for more than about 20 ms of
/// other people's bytes (at 200 MB/s).
const MAX_GROUP_BYTES: usize = 4 * 1024 * 1024;

/// A segment's records are flushed from memory at this size: one sequential write, and small enough that it does not
/// hold up the journal's fsync beside it for long.
const FLUSH_BYTES: u64 = 16 * 1024 * 1024;

/// Records that may be unflushed in all segments together, before the largest is flushed. It bounds memory and the time
/// to open; and it lets evenly filled partitions take turns instead of all reaching [`FLUSH_BYTES`] at once.
const MAX_UNFLUSHED_BYTES: u64 = 64 * 1024 * 1024;

/// After so many bytes a segment is flushed however few of them are its own: a journal (fjall begins one after 64 MB)
/// is deleted when all of its records are in tables. It bounds their disk space, and with it the time to open (100 to
/// 200 MB/s on two busy cores).
const MAX_UNFLUSHED_AGE_BYTES: u64 = 128 * 1024 * 1024;

/// As [`FLUSH_BYTES`], for the ledger's keys, of which each takes about 100 bytes in memory.
const LEDGER_FLUSH_KEYS: usize = 40_000;

/// An append on its way to the writer.
pub(crate) struct Append {
    pub(crate) topic: Arc<Topic>,
    /// Topic id and key, when it is to be done at most once.
    pub(crate) ledger_key: Option<Vec<u8>>,
    pub(crate) records: Vec<Encoded>,
    /// The topic takes no records after these.
    pub(crate) seals: bool,
    /// What it counts for against the bytes that may wait.
    pub(crate) size_bytes: usize,
    /// `Ok(None)`: the ledger key was there.
    pub(crate) reply: oneshot::Sender<Outcome>,
}

/// What came of an append.
pub(crate) type Outcome = Result<Option<Vec<Position>>, LogError>;

/// A record as it will be stored.
pub(crate) struct Encoded {
    pub(crate) partition: u32,
    pub(crate) received_at_ms: i64,
    pub(crate) value: Slice,
}

/// What the writer and its callers share.
#[derive(Default)]
pub(crate) struct Waiting {
    /// Bytes that callers have handed over and that are not durable yet.
    pub(crate) size_bytes: AtomicUsize,
    /// Why the writer stopped, once it has.
    pub(crate) failure: OnceLock<Cause>,
}

impl Waiting {
    /// The error of every append since the writer stopped.
    pub(crate) fn stopped(&self) -> LogError {
        let cause = self.failure.get().cloned().unwrap_or_else(|| Cause("the writer thread has ended".into()));
        LogError::Storage {
            operation: "appending: a write has failed, restart this process to go on from what is durable",
            source: Box::new(cause),
        }
    }
}

/// The writer thread's own state.
pub(crate) struct Writer {
    pub(crate) storage: Arc<Storage>,
    pub(crate) waiting: Arc<Waiting>,
    pub(crate) keeper: sync_mpsc::Sender<Job>,
    pub(crate) segment_max_bytes: u64,
    pub(crate) unflushed: Unflushed,
}

/// What is in memory and journals only.
#[derive(Default)]
pub(crate) struct Unflushed {
    /// Bytes written since the log was opened.
    written_bytes: u64,
    /// Partitions whose newest segment is not flushed, and `written_bytes` when that began.
    partitions: Vec<(PartitionRef, u64)>,
    ledger_keys: usize,
    /// `written_bytes` when ledger and topic list were flushed last.
    others_flushed_at: u64,
}

type PartitionRef = (Arc<Topic>, u32);

impl Writer {
    /// Writes until the log is dropped.
    pub(crate) fn run(mut self, mut appends: mpsc::Receiver<Append>) {
        while let Some(first) = appends.blocking_recv() {
            let mut size_bytes = first.size_bytes;
            let mut group = vec![first];
            while size_bytes < MAX_GROUP_BYTES
                && let Ok(append) = appends.try_recv()
            {
                size_bytes += append.size_bytes;
                group.push(append);
            }
            self.write(group, size_bytes);
        }
    }

    fn write(&mut self, group: Vec<Append>, size_bytes: usize) {
        let outcome = match self.waiting.failure.get() {
            Some(_) => None,
            None => self.commit(&group).inspect_err(|error| self.stop(error)).ok(),
        };
        self.waiting.size_bytes.fetch_sub(size_bytes, Ordering::Relaxed);
        // A caller that no longer waits has dropped its receiver; there is nobody to tell.
        match outcome {
            Some(outcome) => group.into_iter().zip(outcome).for_each(|(append, outcome)| {
                append.reply.send(outcome).ok();
            }),
            None => group.into_iter().for_each(|append| {
                append.reply.send(Err(self.waiting.stopped())).ok();
            }),
        }
    }

    fn stop(&self, error: &LogError) {
        let cause = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
        tracing::error!(%cause, "the log takes no more records until it is opened again");
        // Only this thread sets it.
        self.waiting.failure.set(Cause(cause.into())).ok();
    }

    /// Makes a group durable and visible; for each of its appends where the records are, or that the topic has ended.
    fn commit(&mut self, group: &[Append]) -> Result<Vec<Outcome>, LogError> {
        let records = group.iter().map(|append| append.records.len() + 1).sum();
        let mut pending =
            Pending { batch: self.storage.durable_batch(records), touched: Vec::new(), rolled: Vec::new() };
        let mut ledger_keys = HashSet::new();
        let mut outcome: Vec<Outcome> = Vec::with_capacity(group.len());
        let mut sealed: Vec<&Arc<Topic>> = Vec::new();
        for append in group {
            let topic = &append.topic;
            if append.seals {
                self.seal(&mut pending, topic);
                sealed.push(topic);
            } else if topic.is_sealed.load(Ordering::Acquire) || sealed.iter().any(|sealed| sealed.id == topic.id) {
                outcome.push(Err(LogError::Sealed(topic.name.clone())));
                continue;
            }
            if let Some(ledger_key) = &append.ledger_key {
                if ledger_keys.contains(ledger_key) || self.is_in_ledger(ledger_key)? {
                    outcome.push(Ok(None));
                    continue;
                }
                ledger_keys.insert(ledger_key);
                pending.batch.insert(&self.storage.ledger, ledger_key.as_slice(), Slice::empty());
            }
            let positions = append.records.iter().map(|record| self.place(&mut pending, &append.topic, record));
            outcome.push(Ok(Some(positions.collect())));
        }

        fail::fail_point!("log-before-commit", |cause| Err(injected(cause)));
        pending.batch.commit().map_err(|error| from_fjall("writing records", error))?;
        fail::fail_point!("log-after-commit-before-ack", |cause| Err(injected(cause)));

        for topic in sealed {
            topic.is_sealed.store(true, Ordering::Release);
        }
        for Rolled { topic, full, seal, next } in pending.rolled {
            topic.partitions[next.id.partition as usize].roll(seal, next);
            self.tell_keeper(Job::Flush(full));
        }
        for (topic, number) in &pending.touched {
            let partition = &topic.partitions[*number as usize];
            let end = lock(&partition.tail).next_offset;
            partition.publish(end);
        }
        self.unflushed.ledger_keys += ledger_keys.len();
        self.unflushed.written_bytes += group.iter().map(|append| append.size_bytes as u64).sum::<u64>();
        self.flush_some(pending.touched);
        Ok(outcome)
    }

    /// Tells the keeper to flush what has become too much or too old.
    fn flush_some(&mut self, touched: Vec<PartitionRef>) {
        let now = self.unflushed.written_bytes;
        let others_are_old = now - self.unflushed.others_flushed_at >= MAX_UNFLUSHED_AGE_BYTES;
        if others_are_old || self.unflushed.ledger_keys >= LEDGER_FLUSH_KEYS {
            self.unflushed.ledger_keys = 0;
            self.unflushed.others_flushed_at = now;
            self.tell_keeper(Job::Flush(self.storage.ledger.clone()));
            self.tell_keeper(Job::Flush(self.storage.meta.clone()));
        }
        for partition in touched {
            if !self.unflushed.partitions.iter().any(|(other, _)| is_same(other, &partition)) {
                self.unflushed.partitions.push((partition, now));
            }
        }
        while let Some(index) = self.too_much(now) {
            let ((topic, number), _) = self.unflushed.partitions.swap_remove(index);
            let mut tail = lock(&topic.partitions[number as usize].tail);
            tail.unflushed_bytes = 0;
            self.tell_keeper(Job::Flush(tail.keyspace.clone()));
        }
    }

    /// Which of the unflushed partitions is to be flushed.
    fn too_much(&self, now: u64) -> Option<usize> {
        let (mut total, mut largest, mut largest_index) = (0, 0, None);
        for (index, ((topic, number), since)) in self.unflushed.partitions.iter().enumerate() {
            if now - since >= MAX_UNFLUSHED_AGE_BYTES {
                return Some(index);
            }
            let size_bytes = lock(&topic.partitions[*number as usize].tail).unflushed_bytes;
            total += size_bytes;
            if size_bytes > largest {
                (largest, largest_index) = (size_bytes, Some(index));
            }
        }
        largest_index.filter(|_| largest >= FLUSH_BYTES || total >= MAX_UNFLUSHED_BYTES)
    }

    fn is_in_ledger(&self, ledger_key: &[u8]) -> Result<bool, LogError> {
        self.storage.ledger.contains_key(ledger_key).map_err(|error| from_fjall("reading the ledger", error))
    }

    /// Adds to the batch that the topic has ended.
    fn seal(&self, pending: &mut Pending, topic: &Topic) {
        let meta = TopicMeta {
            id: topic.id,
            partitions: topic.partitions.len() as u32,
            retention_ms: topic.retention_ms.load(Ordering::Relaxed),
            is_sealed: true,
        };
        pending.batch.insert(&self.storage.meta, TopicMeta::key(&topic.name), meta.encode());
    }

    /// Adds a record to the batch at the next offset of its partition.
    fn place(&self, pending: &mut Pending, topic: &Arc<Topic>, record: &Encoded) -> Position {
        let partition = &topic.partitions[record.partition as usize];
        let mut tail = lock(&partition.tail);
        if tail.segment_bytes >= self.segment_max_bytes
            && let Some(keyspace) = lock(&partition.prepared).take()
        {
            let seal = tail.seal();
            pending.batch.insert(&self.storage.meta, tail.id.seal_key(), seal.encode());
            let id = SegmentId { number: tail.id.number + 1, ..tail.id };
            let next = Segment { id, first: seal.end, keyspace: keyspace.clone(), seal: None };
            let full = std::mem::replace(&mut *tail, Tail::at_start_of(id, keyspace, seal.end)).keyspace;
            pending.rolled.push(Rolled { topic: Arc::clone(topic), full, seal, next });
        }
        let offset = tail.next_offset;
        pending.batch.insert(&tail.keyspace, record::key(offset), record.value.clone());
        tail.next_offset += 1;
        let size_bytes = (record.value.len() + size_of::<u64>()) as u64;
        tail.segment_bytes += size_bytes;
        tail.unflushed_bytes += size_bytes;
        tail.newest_received_at_ms = tail.newest_received_at_ms.max(record.received_at_ms);
        // Half-way, so that the next segment is there when this one is full; a segment that outgrows its size because
        // the keeper is late does no harm.
        if tail.segment_bytes >= self.segment_max_bytes / 2 && !tail.next_requested {
            tail.next_requested = true;
            let next = SegmentId { number: tail.id.number + 1, ..tail.id };
            self.tell_keeper(Job::Prepare(next, Arc::clone(topic)));
        }
        let touched = (Arc::clone(topic), record.partition);
        if !pending.touched.iter().any(|other| is_same(other, &touched)) {
            pending.touched.push(touched);
        }
        Position { partition: record.partition, offset }
    }

    fn tell_keeper(&self, job: Job) {
        // The keeper ends after the writer, unless it panicked: then segments grow, and nothing is lost.
        if self.keeper.send(job).is_err() {
            tracing::error!("the log's segment keeper has ended, segments grow beyond their size");
        }
    }
}

/// A group before its commit.
struct Pending {
    batch: OwnedWriteBatch,
    touched: Vec<PartitionRef>,
    rolled: Vec<Rolled>,
}

/// A partition that goes on in its next segment.
struct Rolled {
    topic: Arc<Topic>,
    full: Keyspace,
    seal: Seal,
    next: Segment,
}

fn is_same(a: &PartitionRef, b: &PartitionRef) -> bool {
    (a.0.id, a.1) == (b.0.id, b.1)
}

/// What a fail point with `return` makes of a write.
#[allow(dead_code, reason = "used where fail points are compiled in")]
fn injected(cause: Option<String>) -> LogError {
    let cause = Cause(cause.unwrap_or_else(|| "a fail point".to_owned()).into());
    LogError::Storage { operation: "writing records", source: Box::new(cause) }
}
