//! Reading and waiting. A broker is asked for a partition's bounds only where a reader moves, and at the end once a second:
//! in between, what this process has appended, read or asked tells where the end is.

use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use marquee_stream::{LogError, Record, RecordHeader};
use rdkafka::Message as _;
use rdkafka::message::BorrowedMessage;

use crate::cluster::{Cluster, Partition, Topic};
use crate::error::{Patience, unavailable};
use crate::header;
use crate::readers::{Found, Lent, Reader};

/// How long "nothing is there" is believed without asking. A consumer that has lost its broker says nothing.
const END_BELIEVED: Duration = Duration::from_secs(1);

/// How long a read waits for a record that is there, before it asks whether it still is.
const FIRST_RECORD: Duration = Duration::from_secs(2);

/// How long a read that has records waits for another one that is there.
const NEXT_RECORD: Duration = Duration::from_secs(1);

/// How often a wait for an offset beyond the end asks for the end.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Records of one read, however small they are.
const MAX_READ_RECORDS: usize = 64 * 1024;

/// What came of an attempt to read.
enum Attempt {
    Records(Vec<Record>),
    /// The reader lost its place; the next attempt asks where the partition begins and ends.
    Lost,
    /// The next record had this offset instead.
    Gap(u64),
}

/// See [`PartitionLog::read`](marquee_stream::PartitionLog::read).
pub(crate) fn read(
    cluster: &Cluster,
    topic: &str,
    partition: u32,
    from: u64,
    max_bytes: usize,
) -> Result<Vec<Record>, LogError> {
    let topic = cluster.topic(topic)?;
    let place = Place { cluster, topic: &topic, number: partition, partition: topic.partition(partition)? };
    let mut patience = Patience::new(cluster.options.patience);
    let mut gaps = 0;
    loop {
        match place.try_read(from, max_bytes)? {
            Attempt::Records(records) => return Ok(records),
            // Retention may have dropped the record meanwhile, or an old consumer may be confused: once more.
            Attempt::Gap(found) => {
                gaps += 1;
                if gaps > 1 {
                    return Err(LogError::Damaged(format!(
                        "offset {from} of {}/{partition} is missing, offset {found} follows: the topic was compacted, or \
                         somebody else writes to it in transactions",
                        topic.name
                    )));
                }
            }
            Attempt::Lost => {}
        }
        if !patience.pause() {
            return Err(unavailable("reading records", "no broker sends them; check that the partition has a leader"));
        }
    }
}

/// See [`PartitionLog::wait`](marquee_stream::PartitionLog::wait).
pub(crate) fn wait(
    cluster: &Cluster,
    topic: &str,
    partition: u32,
    offset: u64,
    timeout: Duration,
) -> Result<bool, LogError> {
    let until = Instant::now() + timeout;
    let topic = cluster.topic(topic)?;
    let place = Place { cluster, topic: &topic, number: partition, partition: topic.partition(partition)? };
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if place.try_wait(offset, left)? {
            return Ok(true);
        }
        if until <= Instant::now() {
            return Ok(false);
        }
    }
}

/// A partition and where to ask about it.
struct Place<'a> {
    cluster: &'a Cluster,
    topic: &'a Topic,
    number: u32,
    partition: &'a Partition,
}

impl Place<'_> {
    fn try_read(&self, from: u64, max_bytes: usize) -> Result<Attempt, LogError> {
        let mut lent = self.partition.readers.lend(from);
        if lent.reader.as_ref().is_none_or(|reader| reader.place != from) {
            let bounds = self.bounds_around(from)?;
            self.move_reader(&mut lent, from)?;
            if from == bounds.end {
                return Ok(Attempt::Records(Vec::new()));
            }
        }
        let reader = lent.reader.as_mut().expect("it was placed above");
        let attempt = self.read_on(reader, max_bytes);
        let is_at_its_place = matches!(&attempt, Ok((Attempt::Records(_), true)));
        if !is_at_its_place {
            lent.reader = None;
        }
        attempt.map(|(attempt, _)| attempt)
    }

    /// Reads from a reader at its place; also whether it is at its place afterwards.
    fn read_on(&self, reader: &mut Reader, max_bytes: usize) -> Result<(Attempt, bool), LogError> {
        if reader.ahead.is_none() && reader.place >= self.partition.known_end() && !self.look(reader, Duration::ZERO)? {
            if reader.end_seen.is_some_and(|seen| seen.elapsed() < END_BELIEVED) {
                return Ok((Attempt::Records(Vec::new()), true));
            }
            let bounds = self.bounds_around(reader.place)?;
            reader.end_seen = Some(Instant::now());
            if bounds.end == reader.place {
                return Ok((Attempt::Records(Vec::new()), true));
            }
        }
        let mut batch = Batch::default();
        if let Some(record) = reader.ahead.take() {
            batch.add(record.offset, record.header, &record.payload);
            reader.place += 1;
        }
        while batch.payloads.len() <= max_bytes && batch.entries.len() < MAX_READ_RECORDS {
            let timeout = match (reader.place < self.partition.known_end(), batch.entries.is_empty()) {
                (false, _) => Duration::ZERO,
                (true, true) => FIRST_RECORD,
                (true, false) => NEXT_RECORD,
            };
            match reader.next(timeout)? {
                Found::Message(message) => {
                    let offset = offset_of(&message);
                    let header = header::decode(&message);
                    if batch.entries.is_empty() && offset != reader.place {
                        return Ok((Attempt::Gap(offset), false));
                    }
                    if batch.entries.is_empty() || (offset == reader.place && header.is_ok()) {
                        batch.add(offset, header?, message.payload().unwrap_or_default());
                    } else {
                        // What comes before is fine; the next read meets this.
                        return Ok((Attempt::Records(batch.into_records()), false));
                    }
                    drop(message);
                    reader.place = offset + 1;
                    self.partition.heard_of_end(reader.place);
                }
                Found::End => reader.end_seen = Some(Instant::now()),
                Found::Nothing | Found::OutOfRange if batch.entries.is_empty() => return Ok((Attempt::Lost, false)),
                Found::Nothing => break,
                Found::OutOfRange => return Ok((Attempt::Records(batch.into_records()), false)),
                Found::UnknownTopic => {
                    self.cluster.check_topic(self.topic)?;
                    return Ok((Attempt::Lost, false));
                }
            }
        }
        Ok((Attempt::Records(batch.into_records()), true))
    }

    /// Whether the reader finds a record at its place within the time; the record stays for the next read.
    fn look(&self, reader: &mut Reader, timeout: Duration) -> Result<bool, LogError> {
        let record = match reader.next(timeout)? {
            Found::Message(message) => {
                let (offset, header) = (offset_of(&message), header::decode(&message)?);
                let payload = Bytes::copy_from_slice(message.payload().unwrap_or_default());
                (offset == reader.place).then_some(Record { offset, header, payload })
            }
            Found::End => {
                reader.end_seen = Some(Instant::now());
                return Ok(false);
            }
            Found::Nothing => return Ok(false),
            Found::OutOfRange => None,
            Found::UnknownTopic => {
                self.cluster.check_topic(self.topic)?;
                None
            }
        };
        if let Some(record) = record {
            self.partition.heard_of_end(record.offset + 1);
            reader.ahead = Some(record);
            return Ok(true);
        }
        let place = reader.place;
        self.bounds_around(place)?;
        reader.move_to(place)?;
        Ok(false)
    }

    /// Waits for a while, at most `timeout`; whether the record is there.
    fn try_wait(&self, offset: u64, timeout: Duration) -> Result<bool, LogError> {
        if offset < self.partition.known_end() {
            return Ok(true);
        }
        let mut lent = self.partition.readers.lend(offset);
        let is_there = lent.reader.as_ref().is_some_and(|reader| reader.place == offset);
        if !is_there {
            let bounds = self.cluster.bounds(self.topic, self.number)?;
            if offset != bounds.end || timeout.is_zero() {
                drop(lent);
                if offset > bounds.end {
                    std::thread::sleep(timeout.min(LOOK_AGAIN));
                }
                return Ok(offset < bounds.end);
            }
            self.move_reader(&mut lent, offset)?;
        }
        let reader = lent.reader.as_mut().expect("it was placed above");
        if reader.ahead.is_some() {
            return Ok(true);
        }
        match self.look(reader, timeout.min(END_BELIEVED)) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(error) => {
                lent.reader = None;
                return Err(error);
            }
        }
        if reader.end_seen.is_some_and(|seen| seen.elapsed() < END_BELIEVED) {
            return Ok(false);
        }
        let bounds = self.cluster.bounds(self.topic, self.number)?;
        reader.end_seen = Some(Instant::now());
        Ok(offset < bounds.end)
    }

    fn move_reader(&self, lent: &mut Lent<'_>, place: u64) -> Result<(), LogError> {
        match &mut lent.reader {
            Some(reader) => reader.move_to(place),
            none => {
                *none = Some(Reader::start(&self.cluster.options, &self.topic.name, self.number, place)?);
                Ok(())
            }
        }
    }

    /// The bounds, if the offset is within them or at their end.
    fn bounds_around(&self, offset: u64) -> Result<Range<u64>, LogError> {
        let bounds = self.cluster.bounds(self.topic, self.number)?;
        let (topic, partition) = (self.topic.name.clone(), self.number);
        if offset < bounds.start {
            return Err(LogError::OffsetExpired { topic, partition, offset, start: bounds.start });
        }
        if offset > bounds.end {
            return Err(LogError::BeyondEnd { topic, partition, offset, end: bounds.end });
        }
        Ok(bounds)
    }
}

fn offset_of(message: &BorrowedMessage<'_>) -> u64 {
    message.offset().max(0) as u64
}

/// Records of one read; their payloads lie in one piece of memory.
#[derive(Default)]
struct Batch {
    payloads: Vec<u8>,
    /// Offset, header, and where the payload ends.
    entries: Vec<(u64, RecordHeader, usize)>,
}

impl Batch {
    fn add(&mut self, offset: u64, header: RecordHeader, payload: &[u8]) {
        self.payloads.extend_from_slice(payload);
        self.entries.push((offset, header, self.payloads.len()));
    }

    fn into_records(self) -> Vec<Record> {
        let payloads = Bytes::from(self.payloads);
        let mut start = 0;
        let record = |(offset, header, end)| {
            let payload = payloads.slice(start..end);
            start = end;
            Record { offset, header, payload }
        };
        self.entries.into_iter().map(record).collect()
    }
}
