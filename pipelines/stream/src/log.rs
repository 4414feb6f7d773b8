//! The port to the partitioned log. Adapters live in crates of their own; one contract suite runs against each.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use marquee_events::{ContentType, ErrorKind};

use crate::{Generations, TraceParent};

/// A topic, as it is created once. It has so many partitions for as long as it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Lower-case words joined by dashes; a later generation of a topic that has grown adds a dot and its number.
    pub name: String,
    /// At least 1.
    pub partitions: u32,
    /// Records older than this may be dropped (ms since they were received).
    pub retention_ms: i64,
}

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordType {
    /// A batch of one player's view events in this format.
    ViewEvents(ContentType),
    /// A batch of one profile's interactions in this format.
    Interactions(ContentType),
    /// No more input will come to this partition: every session closes. Imports end with one in each partition.
    EndOfInput,
    /// A shard's uncommitted minute deltas.
    LiveDeltas,
    /// A record that a job sent (job-specific encoding).
    Job,
    /// The last record of a topic that takes no more, in logs that need one. It says nothing.
    Seal,
}

/// The numbers of view events and of interactions lie this far apart.
const INTERACTIONS_FROM: u8 = 32;

impl RecordType {
    /// The number in a record's header.
    pub fn number(self) -> u8 {
        match self {
            RecordType::ViewEvents(content_type) => content_type as u8,
            RecordType::Interactions(content_type) => INTERACTIONS_FROM + content_type as u8,
            RecordType::EndOfInput => 64,
            RecordType::LiveDeltas => 65,
            RecordType::Job => 66,
            RecordType::Seal => 67,
        }
    }

    /// The type with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            64 => Some(RecordType::EndOfInput),
            65 => Some(RecordType::LiveDeltas),
            66 => Some(RecordType::Job),
            67 => Some(RecordType::Seal),
            // CMCD tells of playback alone.
            33.. => ContentType::from_number(number - INTERACTIONS_FROM)
                .filter(|content_type| *content_type != ContentType::Cmcd)
                .map(RecordType::Interactions),
            other => ContentType::from_number(other).map(RecordType::ViewEvents),
        }
    }
}

/// What a record's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// What the payload is.
    pub record_type: RecordType,
    /// The collector's clock when the request arrived (ms since the epoch).
    pub received_at_ms: i64,
    /// How many events the payload holds; a payload that cannot be decoded later still counts as so many.
    pub event_count: u32,
}

/// Where a new record goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// To the partition of this key, see [`partition_of`].
    Key(Bytes),
    /// To this partition.
    Partition(u32),
}

/// A record to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Where it goes.
    pub route: Route,
    /// Its header.
    pub header: RecordHeader,
    /// Its bytes.
    pub payload: Bytes,
}

/// Where a record landed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// From 0.
    pub partition: u32,
    /// From 0, without gaps.
    pub offset: u64,
}

/// A record as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its offset.
    pub offset: u64,
    /// Its header.
    pub header: RecordHeader,
    /// Its bytes.
    pub payload: Bytes,
}

/// The partition of a key: xxh3-64 modulo the number of partitions. Part of the contract between collector and jobs:
/// all records of a session are in one partition.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (xxhash_rust::xxh3::xxh3_64(key) % u64::from(partitions)) as u32
}

/// A durable, partitioned, append-only log. Object-safe; methods without `async` may block and are called from
/// threads, never from an async task.
#[async_trait]
pub trait PartitionLog: Send + Sync + 'static {
    /// Creates the topic unless it is there.
    ///
    /// # Errors
    /// [`LogError::Mismatch`] when it is there with another number of partitions.
    fn ensure_topic(&self, spec: &TopicSpec) -> Result<(), LogError>;

    /// The number of partitions of a topic.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`].
    fn partitions(&self, topic: &str) -> Result<u32, LogError>;

    /// The generations of a topic that has grown. By itself a log knows topics of one generation.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`].
    fn generations(&self, topic: &str) -> Result<Generations, LogError> {
        Ok(Generations::one(self.partitions(topic)?))
    }

    /// Ends a topic: once this has returned, no append to it succeeds, by whomever, and its ends never change again. What
    /// is in it can be read as before. A topic that has ended stays so.
    ///
    /// # Errors
    /// [`LogError::Refused`] by a log whose topics do not end; otherwise the failure, and then it may have ended or not.
    fn seal(&self, topic: &str) -> Result<(), LogError> {
        let source = format!("topic `{topic}` is in a log whose topics do not end").into();
        Err(LogError::Refused { operation: "ending a topic", source })
    }

    /// Appends records and returns where they landed **once they are durable**: after a power cut they are there.
    /// After an error each record of the call may or may not be there.
    ///
    /// # Errors
    /// [`LogError::Full`] when too much is waiting to become durable, [`LogError::Sealed`] when the topic has ended (nothing
    /// was appended, unless an attempt before had no answer); otherwise the failure.
    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError>;

    /// As [`append`](Self::append); the records are told whose work they belong to, where the log has a place for it. By
    /// itself it has none.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    async fn append_traced(
        &self,
        topic: &str,
        records: Vec<NewRecord>,
        _trace_parent: TraceParent,
    ) -> Result<Vec<Position>, LogError> {
        self.append(topic, records).await
    }

    /// As [`append`](Self::append), but at most once for each `ledger_key` in a topic: the key is stored atomically
    /// with the records, or, where the log has no such write, after them. Then a crash may leave some of them, and the next
    /// call with the key, which has to bring the same records, appends the others. `None` when the key was there
    /// already, and then nothing is appended.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    async fn append_once(
        &self,
        topic: &str,
        ledger_key: &str,
        records: Vec<NewRecord>,
    ) -> Result<Option<Vec<Position>>, LogError>;

    /// Whether [`append_once`](Self::append_once) has stored this key.
    ///
    /// # Errors
    /// When the log cannot be read.
    fn ledger_contains(&self, topic: &str, ledger_key: &str) -> Result<bool, LogError>;

    /// Reads durable records from `from` on, in order, until `max_bytes` of payload are exceeded (at least one record
    /// when there is one). Empty at the end of the log. Does not wait.
    ///
    /// # Errors
    /// [`LogError::OffsetExpired`] below the first kept offset, [`LogError::BeyondEnd`] above the end.
    fn read(&self, topic: &str, partition: u32, from: u64, max_bytes: usize) -> Result<Vec<Record>, LogError>;

    /// First kept offset and the offset that the next durable record will get.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`], or when the log cannot be read.
    fn bounds(&self, topic: &str, partition: u32) -> Result<Range<u64>, LogError>;

    /// Blocks until a durable record at `offset` exists or the time is over; whether it exists.
    ///
    /// # Errors
    /// As [`bounds`](Self::bounds).
    fn wait(&self, topic: &str, partition: u32, offset: u64, timeout: Duration) -> Result<bool, LogError>;

    /// Drops whole segments of records older than their topic's retention; the number of records dropped, 0 where the log
    /// drops them by itself.
    ///
    /// # Errors
    /// When the log cannot be changed.
    fn enforce_retention(&self, now_ms: i64) -> Result<u64, LogError>;
}

/// Why the log could not do it.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No such topic: not made yet, or deleted.
    #[error(
        "the log has no topic `{0}`: processes with jobs make those that never were; restore one that was deleted, or begin \
         with a new home"
    )]
    UnknownTopic(String),
    /// A topic is there, but not as asked.
    #[error(
        "topic `{topic}` has {found} partitions, the settings ask for {asked}: the count is fixed when a topic is made; set \
         log.partitions to {found}, and add partitions with `marquee log grow`"
    )]
    Mismatch {
        /// The topic.
        topic: String,
        /// What the settings ask for.
        asked: u32,
        /// What is there.
        found: u32,
    },
    /// The topic has ended, and there is no later generation of it yet.
    #[error(
        "topic `{0}` takes no more records, and there is none after it yet: it is being grown; if nobody does any more, run \
         `marquee log grow` again"
    )]
    Sealed(String),
    /// Too much is waiting to become durable.
    #[error("the log is full: {waiting_bytes} bytes wait to become durable")]
    Full {
        /// Bytes that wait.
        waiting_bytes: usize,
    },
    /// The offset was dropped by retention.
    #[error(
        "offset {offset} of {topic}/{partition} has expired, the log starts at {start}: restore the log from a copy, and \
         raise the topic's retention before it happens again"
    )]
    OffsetExpired {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// What was asked for.
        offset: u64,
        /// What there is.
        start: u64,
    },
    /// The offset lies beyond the end: the log lost records, or belongs to another lake.
    #[error(
        "offset {offset} of {topic}/{partition} lies beyond the log's end {end}: this log is not the one that the lake was \
         written from; start with that one, or restore it from a copy"
    )]
    BeyondEnd {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// What was asked for.
        offset: u64,
        /// What there is.
        end: u64,
    },
    /// Stored bytes are not what was written.
    #[error("the log is damaged: {0}")]
    Damaged(String),
    /// Another process has the log open.
    #[error("the log in {0} is in use by another process")]
    InUse(String),
    /// Asked like this it is refused, and asking again does not help: rights, sizes, settings.
    #[error("the log refuses {operation}")]
    Refused {
        /// What was being done.
        operation: &'static str,
        /// The cause, with what to do.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The storage below failed.
    #[error("log storage failed while {operation}")]
    Storage {
        /// What was being done.
        operation: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl LogError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            LogError::Mismatch { .. } | LogError::Refused { .. } => ErrorKind::Invalid,
            LogError::UnknownTopic(_)
            | LogError::Sealed(_)
            | LogError::Full { .. }
            | LogError::InUse(_)
            | LogError::Storage { .. } => ErrorKind::Unavailable,
            LogError::OffsetExpired { .. } | LogError::BeyondEnd { .. } | LogError::Damaged(_) => ErrorKind::Damaged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_types_have_numbers_of_their_own_for_ever() {
        let known: Vec<(u8, RecordType)> =
            (0..=u8::MAX).filter_map(|number| Some((number, RecordType::from_number(number)?))).collect();
        let expected = [
            (1, RecordType::ViewEvents(ContentType::Json)),
            (2, RecordType::ViewEvents(ContentType::Protobuf)),
            (3, RecordType::ViewEvents(ContentType::Cmcd)),
            (33, RecordType::Interactions(ContentType::Json)),
            (34, RecordType::Interactions(ContentType::Protobuf)),
            (64, RecordType::EndOfInput),
            (65, RecordType::LiveDeltas),
            (66, RecordType::Job),
            (67, RecordType::Seal),
        ];
        assert_eq!(known, expected);
        assert!(known.iter().all(|(number, record_type)| record_type.number() == *number));
    }
}
