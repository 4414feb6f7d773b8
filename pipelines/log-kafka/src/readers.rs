//! The consumers of one partition: each is assigned to an explicit offset and knows its place. Most partitions are read by
//! one thread, so one consumer follows it; a second one serves somebody who reads elsewhere without taking it away.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use marquee_stream::{LogError, Record};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message as _, Offset, TopicPartitionList};

use crate::error::{from_code, from_kafka, is_transient, is_unknown_topic};
use crate::options::KafkaOptions;

/// Consumers of one partition: each has threads, connections and a prefetch of its own.
const MAX_READERS: usize = 2;

/// A consumer that nobody used for so long goes, with its prefetch.
const IDLE: Duration = Duration::from_secs(60);

/// The consumers of one partition that nobody uses now.
#[derive(Default)]
pub(crate) struct Readers {
    state: Mutex<State>,
    given_back: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Reader>,
    in_use: usize,
}

impl Readers {
    /// Closes readers that nobody has used for long.
    pub(crate) fn close_idle(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.idle.retain(|reader| reader.used.elapsed() < IDLE);
    }

    /// Lends a reader, best one that is at `place`: `None` means that a new one may be made. Blocks while all are lent.
    pub(crate) fn lend(&self, place: u64) -> Lent<'_> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let there = state.idle.iter().position(|reader| reader.place == place);
            // The one that was used least recently is first.
            let other = (state.idle.len() + state.in_use >= MAX_READERS && !state.idle.is_empty()).then_some(0);
            if let Some(index) = there.or(other) {
                state.in_use += 1;
                return Lent { readers: self, reader: Some(state.idle.remove(index)) };
            }
            if state.in_use < MAX_READERS {
                state.in_use += 1;
                return Lent { readers: self, reader: None };
            }
            state = self.given_back.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A reader for as long as somebody uses it; without one, the right to make one.
pub(crate) struct Lent<'a> {
    readers: &'a Readers,
    pub(crate) reader: Option<Reader>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut state = self.readers.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.in_use -= 1;
        if let Some(mut reader) = self.reader.take() {
            reader.used = Instant::now();
            state.idle.push(reader);
        }
        drop(state);
        self.readers.given_back.notify_one();
    }
}

/// A consumer of one partition.
pub(crate) struct Reader {
    consumer: BaseConsumer,
    topic: String,
    partition: u32,
    /// The offset that it reads next, after `ahead`.
    pub(crate) place: u64,
    /// The record at `place`, if a wait has seen it.
    pub(crate) ahead: Option<Record>,
    /// When a broker last said that nothing is at `place`.
    pub(crate) end_seen: Option<Instant>,
    used: Instant,
}

/// What a reader finds.
pub(crate) enum Found<'a> {
    /// A message.
    Message(BorrowedMessage<'a>),
    /// The end of the partition, for now.
    End,
    /// Nothing within the time.
    Nothing,
    /// The offset is not there: expired, or beyond the end.
    OutOfRange,
    /// The topic or the partition is not there.
    UnknownTopic,
}

impl Reader {
    /// A reader at an offset that is there.
    pub(crate) fn start(options: &KafkaOptions, topic: &str, partition: u32, place: u64) -> Result<Self, LogError> {
        let consumer = options.reading().create().map_err(|error| from_kafka("reading records", &error))?;
        let mut reader = Self {
            consumer,
            topic: topic.to_owned(),
            partition,
            place,
            ahead: None,
            end_seen: None,
            used: Instant::now(),
        };
        reader.move_to(place)?;
        Ok(reader)
    }

    /// Moves to an offset that is there; what was fetched ahead is dropped.
    pub(crate) fn move_to(&mut self, place: u64) -> Result<(), LogError> {
        let moved = |error| from_kafka("moving to an offset", &error);
        let mut there = TopicPartitionList::with_capacity(1);
        let offset = Offset::Offset(place as i64);
        there.add_partition_offset(&self.topic, self.partition as i32, offset).map_err(moved)?;
        self.consumer.assign(&there).map_err(moved)?;
        (self.place, self.ahead, self.end_seen) = (place, None, None);
        Ok(())
    }

    /// The next thing, within the time. Whatever passes by itself is waited for.
    ///
    /// # Errors
    /// What does not pass.
    pub(crate) fn next(&self, timeout: Duration) -> Result<Found<'_>, LogError> {
        let until = Instant::now() + timeout;
        loop {
            match self.consumer.poll(until.saturating_duration_since(Instant::now())) {
                None => return Ok(Found::Nothing),
                // What was under way when the reader moved on.
                Some(Ok(message)) if (message.offset().max(0) as u64) < self.place => {}
                Some(Ok(message)) => return Ok(Found::Message(message)),
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(Found::End),
                Some(Err(error)) => {
                    match error.rdkafka_error_code() {
                        Some(Code::OffsetOutOfRange | Code::AutoOffsetReset) => return Ok(Found::OutOfRange),
                        Some(Code::LogTruncation) => {
                            return Err(LogError::Damaged(format!(
                                "{}/{} has lost acknowledged records before offset {}: a replica that lacked them became \
                                 the leader; restore the topic, or the lake to an epoch before the loss",
                                self.topic, self.partition, self.place
                            )));
                        }
                        Some(code) if is_unknown_topic(code) => return Ok(Found::UnknownTopic),
                        // The group that is never joined has its own troubles.
                        Some(code) if is_transient(code) || code == Code::PollExceeded => {
                            tracing::debug!(%error, topic = self.topic, partition = self.partition, "reading goes on");
                        }
                        Some(code) => return Err(from_code("reading records", code)),
                        None => return Err(from_kafka("reading records", &error)),
                    }
                }
            }
        }
    }
}
