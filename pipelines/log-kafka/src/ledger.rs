//! Appending once for each ledger key, without Kafka's transactions. The ledger of a topic is a compacted topic beside it,
//! `<topic>-ledger`, with one partition, which puts everything that is said about a key in one order:
//!
//! 1. **claim**: a claimant says that it is going to append the key's records, and where the topic's partitions ended
//!    before it looked at the ledger;
//! 2. it reads the ledger up to its own claim. The first claim holds the key; a later one holds it when, by the broker's
//!    clock, it was written at least a lease after the holder's last one. Everybody who reads the ledger decides the same;
//! 3. who is not the holder waits for `done` or for the lease, and claims again;
//! 4. the holder, if others have claimed before, reads the topic from the earliest claim's offsets on for records with
//!    the key in their headers, and claims once more, so that its lease is fresh;
//! 5. it appends the records that are missing. None is sent later than three quarters of a lease after its last claim;
//! 6. **done**.
//!
//! It holds against a crash between any two of these lines and within 5, against lost answers, and against any number of
//! processes with the same key at the same time, as long as the brokers' clocks agree to a quarter of a lease. It does not
//! hold against a process that stands still (stopped, its machine suspended) for more than a quarter of a lease between 4
//! and the sending of what 5 has queued, while another one takes the key over: both append, and the records are in the log
//! twice. Kafka could refuse the late ones only within transactions. The cost is bounded: bronze has such events twice,
//! every fold counts them once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use marquee_stream::{LogError, NewRecord, Position};
use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, OwnedHeaders, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::cluster::{CleanUp, Cluster, Topic};
use crate::error::{Patience, unavailable};
use crate::header::{Extra, ledger_mark, place};
use crate::outgoing;
use crate::producer::{Outgoing, Producer};
use crate::readers::{Found, Reader};

/// How often the ledger is looked at while somebody else holds a key.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The most that one look for a record lasts before the bounds are asked for again.
const NEXT_RECORD: Duration = Duration::from_secs(2);

/// What a record of the ledger says about its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
enum Entry {
    /// Somebody is going to append.
    Claim {
        /// One call of `append_once`: a UUID.
        claimant: String,
        /// How long the claim holds (ms by the broker's clock).
        lease_ms: i64,
        /// Where the topic's partitions ended before any record that the ledger did not tell of.
        starts: Vec<u64>,
    },
    /// All records are there.
    Done,
}

/// What the ledger says about a key, so far.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Claimed(Claims),
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Claims {
    holder: String,
    /// Offset of the claim with which the holder began to hold.
    since: u64,
    /// Time of the holder's last claim (ms, broker's clock).
    held_at_ms: i64,
    lease_ms: i64,
    /// Time of anybody's last claim.
    last_at_ms: i64,
    /// The least of all claims.
    starts: Vec<u64>,
    /// Whether more than one has claimed.
    contested: bool,
}

impl Claims {
    fn first(claimant: String, offset: u64, at_ms: i64, lease_ms: i64, starts: Vec<u64>) -> Self {
        let (held_at_ms, last_at_ms) = (at_ms, at_ms);
        Self { holder: claimant, since: offset, held_at_ms, lease_ms, last_at_ms, starts, contested: false }
    }

    fn add(&mut self, claimant: String, offset: u64, at_ms: i64, lease_ms: i64, starts: &[u64]) {
        self.last_at_ms = at_ms;
        self.starts = least(&self.starts, starts);
        self.contested |= claimant != self.holder;
        if claimant == self.holder {
            (self.held_at_ms, self.lease_ms) = (at_ms, lease_ms);
        } else if at_ms - self.held_at_ms >= self.lease_ms {
            (self.holder, self.since, self.held_at_ms, self.lease_ms) = (claimant, offset, at_ms, lease_ms);
        }
    }
}

fn least(a: &[u64], b: &[u64]) -> Vec<u64> {
    a.iter().zip(b).map(|(a, b)| *a.min(b)).collect()
}

/// The ledger of one topic.
pub(crate) struct Ledger {
    topic: Arc<Topic>,
    read: Mutex<Read>,
    /// Keys that calls of this process work on now.
    busy: Mutex<HashSet<String>>,
    freed: Condvar,
}

#[derive(Default)]
struct Read {
    reader: Option<Reader>,
    next: u64,
    keys: HashMap<String, Key>,
}

/// What a call works with.
pub(crate) struct Once<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) producer: &'a Producer,
    pub(crate) ledger: &'a Ledger,
    pub(crate) topic: &'a Topic,
    pub(crate) key: &'a str,
    pub(crate) handle: &'a Handle,
}

/// What came of a claim.
enum Claimed {
    Done,
    Mine(Claims),
    Other { wait: Duration },
}

impl Ledger {
    /// The name of a topic's ledger.
    pub(crate) fn name(topic: &str) -> String {
        format!("{topic}-ledger")
    }

    /// Opens a topic's ledger and makes it where there is none.
    pub(crate) fn ensure(cluster: &Cluster, topic: &str) -> Result<Self, LogError> {
        Ok(Self::of(cluster.ensure_topic(&Self::name(topic), 1, CleanUp::Compact)?))
    }

    /// Opens a topic's ledger; `None` where there is none.
    pub(crate) fn open(cluster: &Cluster, topic: &str) -> Result<Option<Self>, LogError> {
        match cluster.topic(&Self::name(topic)) {
            Ok(topic) => Ok(Some(Self::of(topic))),
            Err(LogError::UnknownTopic(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn of(topic: Arc<Topic>) -> Self {
        Self { topic, read: Mutex::default(), busy: Mutex::default(), freed: Condvar::new() }
    }

    /// Whether the key's records are in the topic, as of now.
    pub(crate) fn contains(&self, cluster: &Cluster, key: &str) -> Result<bool, LogError> {
        Ok(self.look(cluster, key)? == Some(Key::Done))
    }

    /// What the ledger says about a key now.
    fn look(&self, cluster: &Cluster, key: &str) -> Result<Option<Key>, LogError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let mut patience = Patience::new(cluster.options.patience);
        loop {
            let bounds = cluster.bounds(&self.topic, 0)?;
            let outcome = read.to(bounds.end, bounds.start, cluster, &self.topic);
            if !matches!(outcome, Ok(true)) {
                read.reader = None;
            }
            if outcome? {
                return Ok(read.keys.get(key).cloned());
            }
            if !patience.pause() {
                return Err(unavailable("reading the ledger", "no broker has sent its records"));
            }
        }
    }

    /// Waits until no other call of this process works on the key.
    fn turn(&self, key: &str) -> Turn<'_> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        while !busy.insert(key.to_owned()) {
            busy = self.freed.wait(busy).unwrap_or_else(PoisonError::into_inner);
        }
        Turn { ledger: self, key: key.to_owned() }
    }
}

struct Turn<'a> {
    ledger: &'a Ledger,
    key: String,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.ledger.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        self.ledger.freed.notify_all();
    }
}

impl Read {
    /// Reads up to `end`; `false` when the reader has to be started anew.
    fn to(&mut self, end: u64, start: u64, cluster: &Cluster, topic: &Topic) -> Result<bool, LogError> {
        while self.next < end {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                none => {
                    self.next = self.next.max(start);
                    none.insert(Reader::start(&cluster.options, &topic.name, 0, self.next)?)
                }
            };
            // The last record of a partition is never compacted away, so the end is reached by a record.
            match reader.next(NEXT_RECORD)? {
                Found::Message(message) => {
                    apply(&mut self.keys, &message)?;
                    self.next = message.offset().max(0) as u64 + 1;
                }
                Found::End => {}
                Found::Nothing | Found::OutOfRange | Found::UnknownTopic => return Ok(false),
            }
            reader.place = self.next;
        }
        Ok(true)
    }
}

fn apply(keys: &mut HashMap<String, Key>, message: &BorrowedMessage<'_>) -> Result<(), LogError> {
    let strange = |what| LogError::Damaged(format!("the record at {} {what}", place(message)));
    let key = message.key().and_then(|key| std::str::from_utf8(key).ok());
    let key = key.ok_or_else(|| strange("has no ledger key"))?;
    let entry = serde_json::from_slice(message.payload().unwrap_or_default());
    let entry = entry.map_err(|_| strange("is not one of a ledger; nobody else may write to this topic"))?;
    let Timestamp::LogAppendTime(at_ms) = message.timestamp() else {
        return Err(strange("has a writer's time: set message.timestamp.type of the topic to LogAppendTime"));
    };
    let offset = message.offset().max(0) as u64;
    match (keys.get_mut(key), entry) {
        (Some(Key::Done), _) => {}
        (_, Entry::Done) => {
            keys.insert(key.to_owned(), Key::Done);
        }
        (Some(Key::Claimed(claims)), Entry::Claim { claimant, lease_ms, starts }) => {
            claims.add(claimant, offset, at_ms, lease_ms, &starts);
        }
        (None, Entry::Claim { claimant, lease_ms, starts }) => {
            let claims = Claims::first(claimant, offset, at_ms, lease_ms, starts);
            keys.insert(key.to_owned(), Key::Claimed(claims));
        }
    }
    Ok(())
}

impl Once<'_> {
    /// Appends the records unless the key is done. Blocks.
    pub(crate) fn append(&self, records: &[NewRecord]) -> Result<Option<Vec<Position>>, LogError> {
        let _turn = self.ledger.turn(self.key);
        let lease = self.cluster.options.ledger_lease;
        let claimant = Uuid::new_v4().to_string();
        let mut patience = Patience::new(self.cluster.options.patience + 2 * lease);
        // The holding in which the topic was searched, and what was found.
        let mut searched: Option<(u64, BTreeMap<usize, Position>)> = None;
        loop {
            let asked = Instant::now();
            let claims = match self.claim(&claimant)? {
                Claimed::Done => return Ok(None),
                Claimed::Mine(claims) => claims,
                Claimed::Other { wait } => {
                    if self.wait_for_done(wait)? {
                        return Ok(None);
                    }
                    continue;
                }
            };
            fail::fail_point!("kafka-ledger-claimed", |_| Err(stopped_by_fail_point()));
            let found = match &searched {
                _ if !claims.contested => BTreeMap::new(),
                Some((since, found)) if *since == claims.since => found.clone(),
                _ => {
                    searched = Some((claims.since, self.search(&claims.starts)?));
                    continue;
                }
            };
            if asked.elapsed() >= lease / 4 {
                if !patience.pause() {
                    return Err(unavailable(
                        "appending records once",
                        "the brokers are too slow for the ledger's lease",
                    ));
                }
                continue;
            }
            return self.finish(records, found).map(Some);
        }
    }

    /// As the holder: appends what was not found, and says that all is done.
    fn finish(&self, records: &[NewRecord], found: BTreeMap<usize, Position>) -> Result<Vec<Position>, LogError> {
        let missing: Vec<usize> = (0..records.len()).filter(|index| !found.contains_key(index)).collect();
        let send = |indices: &[usize]| {
            let marked = |index: &usize| {
                let extra = Extra { ledger: Some((self.key, *index)), ..Extra::default() };
                outgoing(self.topic, &records[*index], extra)
            };
            let outgoing = indices.iter().map(marked).collect::<Result<Vec<_>, _>>()?;
            self.handle.block_on(self.producer.send(&self.topic.name, outgoing))
        };
        fail::fail_point!("kafka-ledger-half-sent", |_| {
            send(&missing[..missing.len() / 2])?;
            Err(stopped_by_fail_point())
        });
        let sent = send(&missing)?;
        fail::fail_point!("kafka-ledger-sent", |_| Err(stopped_by_fail_point()));
        self.write(&Entry::Done)?;
        fail::fail_point!("kafka-ledger-done", |_| Err(stopped_by_fail_point()));
        let mut positions = found;
        positions.extend(missing.into_iter().zip(sent));
        Ok(positions.into_values().take(records.len()).collect())
    }

    fn claim(&self, claimant: &str) -> Result<Claimed, LogError> {
        // Before the ledger is read: what it does not tell of lies behind these.
        let ends = (0..self.topic.partitions.len() as u32).map(|partition| self.cluster.bounds(self.topic, partition));
        let ends = ends.map(|bounds| Ok(bounds?.end)).collect::<Result<Vec<u64>, LogError>>()?;
        let starts = match self.look()? {
            Some(Key::Done) => return Ok(Claimed::Done),
            Some(Key::Claimed(claims)) => least(&claims.starts, &ends),
            None => ends,
        };
        let lease_ms = self.cluster.options.ledger_lease.as_millis() as i64;
        self.write(&Entry::Claim { claimant: claimant.to_owned(), lease_ms, starts })?;
        match self.look()? {
            Some(Key::Claimed(claims)) if claims.holder == claimant => Ok(Claimed::Mine(claims)),
            Some(Key::Claimed(claims)) => {
                let wait_ms = claims.held_at_ms + claims.lease_ms - claims.last_at_ms;
                Ok(Claimed::Other { wait: Duration::from_millis(wait_ms.max(0) as u64) })
            }
            Some(Key::Done) => Ok(Claimed::Done),
            None => Err(LogError::Damaged(format!("the ledger {} lost a record", self.ledger.topic.name))),
        }
    }

    /// Waits until the key is done or the time is over; whether it is done.
    fn wait_for_done(&self, time: Duration) -> Result<bool, LogError> {
        let until = Instant::now() + time;
        loop {
            if self.look()? == Some(Key::Done) {
                return Ok(true);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            std::thread::sleep(left.min(LOOK_AGAIN));
        }
    }

    fn look(&self) -> Result<Option<Key>, LogError> {
        self.ledger.look(self.cluster, self.key)
    }

    fn write(&self, entry: &Entry) -> Result<(), LogError> {
        let payload = serde_json::to_vec(entry).expect("an entry can be written as JSON");
        let headers = OwnedHeaders::new();
        let key = Some(self.key.as_bytes());
        let record = Outgoing { partition: 0, key, headers, payload: payload.into() };
        self.handle.block_on(self.producer.send(&self.ledger.topic.name, vec![record])).map(drop)
    }

    /// The records of this key from these offsets on, by their index.
    fn search(&self, starts: &[u64]) -> Result<BTreeMap<usize, Position>, LogError> {
        let mut found = BTreeMap::new();
        for (partition, start) in (0..).zip(starts) {
            let bounds = self.cluster.bounds(self.topic, partition)?;
            if *start < bounds.start {
                let topic = self.topic.name.clone();
                return Err(LogError::OffsetExpired { topic, partition, offset: *start, start: bounds.start });
            }
            if *start >= bounds.end {
                continue;
            }
            let mut patience = Patience::new(self.cluster.options.patience);
            let mut reader = Reader::start(&self.cluster.options, &self.topic.name, partition, *start)?;
            while reader.place < bounds.end {
                let next = match reader.next(NEXT_RECORD)? {
                    Found::Message(message) => {
                        let offset = message.offset().max(0) as u64;
                        if let Some((_, index)) = ledger_mark(&message).filter(|(key, _)| *key == self.key.as_bytes()) {
                            found.entry(index).or_insert(Position { partition, offset });
                        }
                        Some(offset + 1)
                    }
                    Found::End | Found::Nothing | Found::OutOfRange => None,
                    Found::UnknownTopic => return Err(LogError::UnknownTopic(self.topic.name.clone())),
                };
                match next {
                    Some(next) => reader.place = next,
                    None if patience.pause() => {}
                    None => return Err(unavailable("searching for records of a ledger key", "no broker sends them")),
                }
            }
        }
        Ok(found)
    }
}

/// What a fail point returns; a build without them returns it nowhere.
#[cfg_attr(
    not(test),
    allow(dead_code, reason = "fail points are a feature of another crate, which nobody can ask for")
)]
fn stopped_by_fail_point() -> LogError {
    unavailable("appending records once", "a fail point stopped it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(of: &[(u8, i64)]) -> Claims {
        const LEASE_MS: i64 = 1000;
        let mut read = (10..).zip(of).map(|(offset, (claimant, at_ms))| (offset, claimant.to_string(), *at_ms));
        let (offset, claimant, at_ms) = read.next().unwrap();
        let mut claims = Claims::first(claimant, offset, at_ms, LEASE_MS, vec![offset, 5]);
        for (offset, claimant, at_ms) in read {
            claims.add(claimant, offset, at_ms, LEASE_MS, &[offset, 3]);
        }
        claims
    }

    #[test]
    fn the_first_claim_holds_until_its_lease_is_over() {
        let check = |of: &[(u8, i64)], holder: u8, since: u64, contested: bool| {
            let claims = claims(of);
            assert_eq!(
                (claims.holder, claims.since, claims.contested),
                (holder.to_string(), since, contested),
                "{of:?}"
            );
        };
        check(&[(1, 0)], 1, 10, false);
        check(&[(1, 0), (1, 900)], 1, 10, false);
        check(&[(1, 0), (2, 999)], 1, 10, true);
        check(&[(1, 0), (2, 1000)], 2, 11, true);
        // A claim of the holder's makes its lease fresh, also where another one has claimed in between.
        check(&[(1, 0), (2, 500), (1, 600), (2, 1599)], 1, 10, true);
        check(&[(1, 0), (2, 500), (1, 600), (2, 1600)], 2, 13, true);
        // Who lost the key and gets it back holds it anew.
        check(&[(1, 0), (2, 1000), (1, 2000)], 1, 12, true);
    }

    #[test]
    fn the_earliest_offsets_count() {
        assert_eq!(claims(&[(1, 0), (2, 1), (3, 2)]).starts, [10, 3]);
    }
}
