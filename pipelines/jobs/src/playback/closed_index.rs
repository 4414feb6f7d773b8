//! Which sessions are closed, so that a late event finds its session again: the last two hours in memory, older ones in
//! immutable segments with a Bloom filter each. A filter's false alarm costs a look-up and nothing else. Filters are
//! segments of their own, which a restart reads; what is in memory is part of the state's segments.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use marquee_stream::{ShardIo, StreamError};
use serde::{Deserialize, Serialize};

use super::epochs::Epochs;
use super::state_log::{read_segments, segment_name};

/// Closed sessions stay in memory for this long after their last event (ms of event time).
const IN_MEMORY_MS: i64 = 2 * 60 * 60 * 1000;

/// Closed sessions are forgotten this long after their last event (ms of event time): a laptop that wakes up after a
/// long weekend still continues its session. Less than the 7 days for which manifests are kept.
pub(crate) const RETENTION_MS: i64 = 6 * 24 * 60 * 60 * 1000;

/// A segment holds about this much event time (ms): some hundred segments in all, not one an epoch.
const SEGMENT_SPAN_MS: i64 = 30 * 60 * 1000;

/// An import has no event time to go by: a segment is cut when so many sessions are in memory.
const IMPORT_SEGMENT_SESSIONS: usize = 50_000;

/// 20 bits and 14 probes a key: about 7 false alarms in 100,000 a segment, so 2 % over all of them.
const BLOOM_BITS_PER_KEY: usize = 20;
const BLOOM_PROBES: u32 = 14;

/// What a late event needs to know about its session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClosedSession {
    pub(crate) revision: u64,
    pub(crate) next_sequence: u64,
    pub(crate) last_time_ms: i64,
    pub(crate) clock_shift_ms: i64,
    pub(crate) late_events: u64,
    pub(crate) bronze_epochs: Epochs,
    /// As [`Session::recomputed_to`](super::session::Session::recomputed_to).
    pub(crate) recomputed_to: u64,
}

/// The same as bytes, with what is asked of it without unpacking: a quarter of the memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PackedClosed(Box<[u8]>);

/// Last event time, first epoch.
const HEAD_BYTES: usize = 8 + 8;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Segment {
    name: String,
    newest_ms: i64,
    oldest_epoch: u64,
    /// The segment with the filter.
    bloom_name: String,
    #[serde(skip)]
    bloom: Vec<u64>,
}

/// The index of a shard.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ClosedIndex {
    #[serde(skip)]
    pub(crate) recent: HashMap<u128, PackedClosed>,
    /// No session of `recent` has its last event before this (ms since the epoch).
    #[serde(skip)]
    oldest_ms: Option<i64>,
    /// Keys that came to `recent` or left it in this epoch.
    #[serde(skip)]
    pub(crate) changed: Vec<u128>,
    segments: Vec<Segment>,
}

impl PackedClosed {
    fn new(session: &ClosedSession) -> Self {
        let mut bytes = Vec::with_capacity(2 * HEAD_BYTES);
        bytes.extend_from_slice(&session.last_time_ms.to_le_bytes());
        bytes.extend_from_slice(&session.bronze_epochs.first().unwrap_or_default().to_le_bytes());
        Self(postcard::to_extend(session, bytes).expect("plain data can be encoded").into())
    }

    /// As [`as_bytes`](Self::as_bytes) gave them; `None` when they are of no session.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let packed = (bytes.len() >= HEAD_BYTES).then(|| Self(bytes.into()))?;
        packed.try_unpack().ok().map(|_| packed)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn try_unpack(&self) -> postcard::Result<ClosedSession> {
        postcard::from_bytes(&self.0[HEAD_BYTES..])
    }

    pub(crate) fn unpack(&self) -> ClosedSession {
        self.try_unpack().expect("bytes that a session was packed to")
    }

    fn last_time_ms(&self) -> i64 {
        i64::from_le_bytes(self.0[..8].try_into().expect("the head"))
    }

    pub(crate) fn first_epoch(&self) -> Option<u64> {
        Some(u64::from_le_bytes(self.0[8..HEAD_BYTES].try_into().expect("the head"))).filter(|epoch| *epoch != 0)
    }
}

impl ClosedIndex {
    /// Reads the filters.
    ///
    /// # Errors
    /// When one cannot be read or is damaged.
    pub(crate) fn restore(&mut self, recent: HashMap<u128, PackedClosed>, io: &ShardIo) -> Result<(), StreamError> {
        self.oldest_ms = recent.values().map(PackedClosed::last_time_ms).min();
        self.recent = recent;
        let names: Vec<String> = self.segments.iter().map(|segment| segment.bloom_name.clone()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for (segment, bytes) in self.segments.iter_mut().zip(read_segments(&names, io)?) {
            segment.bloom = postcard::from_bytes(&bytes).map_err(|e| damaged(&segment.bloom_name, &e))?;
        }
        Ok(())
    }

    pub(crate) fn insert(&mut self, key: u128, session: &ClosedSession) {
        self.changed.push(key);
        let oldest_ms = self.oldest_ms.get_or_insert(session.last_time_ms);
        *oldest_ms = session.last_time_ms.min(*oldest_ms);
        self.recent.insert(key, PackedClosed::new(session));
    }

    /// Whether the session may be closed: certain when it is not.
    pub(crate) fn may_contain(&self, key: u128) -> bool {
        self.recent.contains_key(&key) || self.segments.iter().any(|s| bloom_contains(&s.bloom, key))
    }

    /// The clock shift of a closed session that is in memory.
    pub(crate) fn clock_shift_ms(&self, key: u128) -> Option<i64> {
        self.recent.get(&key).map(|session| session.unpack().clock_shift_ms)
    }

    /// Takes a session out of memory, or reads it from the newest segment that has it.
    pub(crate) fn take(&mut self, key: u128, io: &ShardIo) -> Result<Option<ClosedSession>, StreamError> {
        if let Some(session) = self.recent.remove(&key) {
            self.changed.push(key);
            return Ok(Some(session.unpack()));
        }
        for segment in self.segments.iter().rev().filter(|s| bloom_contains(&s.bloom, key)) {
            let read = read_segments(&[segment.name.as_str()], io)?;
            let sessions: BTreeMap<u128, ClosedSession> =
                postcard::from_bytes(&read.concat()).map_err(|e| damaged(&segment.name, &e))?;
            if let Some(session) = sessions.get(&key) {
                return Ok(Some(session.clone()));
            }
        }
        Ok(None)
    }

    /// Moves what is old enough into a new segment, if it is enough for one, and forgets segments past the retention.
    /// Without a watermark (an import) everything moves and nothing is forgotten. What there is to write.
    pub(crate) fn age(&mut self, epoch: u64, watermark_ms: Option<i64>) -> Vec<(String, Vec<u8>)> {
        if let Some(watermark_ms) = watermark_ms {
            self.segments.retain(|segment| segment.newest_ms >= watermark_ms - RETENTION_MS);
        }
        let is_due = match watermark_ms {
            Some(watermark_ms) => self.has_older(watermark_ms - IN_MEMORY_MS - SEGMENT_SPAN_MS),
            None => self.recent.len() >= IMPORT_SEGMENT_SESSIONS,
        };
        if !is_due {
            return Vec::new();
        }
        let is_old = |session: &PackedClosed| {
            watermark_ms.is_none_or(|watermark_ms| session.last_time_ms() < watermark_ms - IN_MEMORY_MS)
        };
        let old = self.recent.extract_if(|_, session| is_old(session));
        let old: BTreeMap<u128, ClosedSession> = old.map(|(key, session)| (key, session.unpack())).collect();
        self.oldest_ms = self.recent.values().map(PackedClosed::last_time_ms).min();
        // Not forgotten before an older segment, which may have a former state of a session of this one.
        let newest_ms = old.values().map(|session| session.last_time_ms).max().expect("one is due");
        let newest_ms = self.segments.last().map_or(newest_ms, |last| newest_ms.max(last.newest_ms));
        let oldest_epoch = old.values().filter_map(|session| session.bronze_epochs.first()).min();
        let bytes = postcard::to_stdvec(&old).expect("plain data can be encoded");
        let bloom = bloom_of(old.keys().copied());
        let bloom_bytes = postcard::to_stdvec(&bloom).expect("plain data can be encoded");
        let (name, bloom_name) = (segment_name(epoch, &bytes), segment_name(epoch, &bloom_bytes));
        self.changed.extend(old.into_keys());
        self.segments.push(Segment {
            name: name.clone(),
            newest_ms,
            oldest_epoch: oldest_epoch.unwrap_or(epoch),
            bloom_name: bloom_name.clone(),
            bloom,
        });
        vec![(name, bytes), (bloom_name, bloom_bytes)]
    }

    /// Whether a session of `recent` had its last event before this.
    fn has_older(&mut self, than_ms: i64) -> bool {
        if self.oldest_ms.is_some_and(|oldest_ms| oldest_ms < than_ms) {
            // It may have been taken out since.
            self.oldest_ms = self.recent.values().map(PackedClosed::last_time_ms).min();
        }
        self.oldest_ms.is_some_and(|oldest_ms| oldest_ms < than_ms)
    }

    /// The first epoch that holds rows of a session of the segments.
    pub(crate) fn oldest_epoch(&self) -> Option<u64> {
        self.segments.iter().map(|segment| segment.oldest_epoch).min()
    }

    pub(crate) fn segment_names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().flat_map(|segment| [segment.name.as_str(), segment.bloom_name.as_str()])
    }
}

fn damaged(name: &str, problem: &postcard::Error) -> StreamError {
    StreamError::Damaged { path: name.to_owned(), problem: problem.to_string() }
}

fn bloom_of(keys: impl ExactSizeIterator<Item = u128>) -> Vec<u64> {
    let mut bloom = vec![0_u64; (keys.len() * BLOOM_BITS_PER_KEY).div_ceil(64).max(1)];
    for key in keys {
        for bit in bloom_bits(key, bloom.len()) {
            bloom[bit / 64] |= 1 << (bit % 64);
        }
    }
    bloom
}

fn bloom_contains(bloom: &[u64], key: u128) -> bool {
    bloom_bits(key, bloom.len()).all(|bit| bloom[bit / 64] >> (bit % 64) & 1 == 1)
}

/// Double hashing over the two halves of the key, which is a hash already (Kirsch and Mitzenmacher, 2006).
fn bloom_bits(key: u128, words: usize) -> impl Iterator<Item = usize> {
    let (first, second) = (key as u64, (key >> 64) as u64 | 1);
    (0..u64::from(BLOOM_PROBES))
        .map(move |i| (first.wrapping_add(i.wrapping_mul(second)) % (words as u64 * 64)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_misses_nothing_and_raises_few_false_alarms() {
        let hash = |i: u64| xxhash_rust::xxh3::xxh3_128(&i.to_be_bytes());
        let keys: Vec<u128> = (0..10_000).map(hash).collect();
        let bloom = bloom_of(keys.iter().copied());
        assert!(keys.iter().all(|key| bloom_contains(&bloom, *key)));
        let alarms = (10_000..20_000).filter(|i| bloom_contains(&bloom, hash(*i))).count();
        assert!(alarms < 200, "{alarms} in 10,000");
    }

    #[test]
    fn old_sessions_move_out_and_are_forgotten_in_the_end() {
        let mut index = ClosedIndex::default();
        let session = |last_time_ms| {
            let mut bronze_epochs = Epochs::default();
            bronze_epochs.push(1);
            ClosedSession {
                revision: 1,
                next_sequence: 2,
                last_time_ms,
                clock_shift_ms: 0,
                late_events: 0,
                bronze_epochs,
                recomputed_to: 0,
            }
        };
        index.insert(7, &session(0));
        index.insert(8, &session(SEGMENT_SPAN_MS + 2));
        assert!(index.age(2, Some(IN_MEMORY_MS + 1)).is_empty(), "not enough for a segment");
        index.changed.clear();
        let written = index.age(3, Some(IN_MEMORY_MS + SEGMENT_SPAN_MS + 1));
        assert!(written.len() == 2 && written.iter().all(|(name, _)| name.starts_with("000000000003-")));
        assert!(written.iter().map(|(name, _)| name.as_str()).eq(index.segment_names()), "one session is old");
        assert_eq!((index.recent.len(), index.oldest_epoch(), &index.changed[..]), (1, Some(1), &[7][..]));
        assert!(index.may_contain(7) && index.may_contain(8));
        index.age(4, Some(RETENTION_MS + 1));
        assert!(index.segment_names().all(|name| written.iter().all(|(old, _)| old != name)));
        // A session that a recompute puts into a segment of its own, far behind the others.
        let mut index = ClosedIndex::default();
        index.insert(7, &session(SEGMENT_SPAN_MS));
        let watermark_ms = IN_MEMORY_MS + 2 * SEGMENT_SPAN_MS + 1;
        assert!(!index.age(1, Some(watermark_ms)).is_empty(), "one session is old");
        index.insert(7, &session(0));
        assert!(!index.age(2, Some(watermark_ms)).is_empty(), "one session is old");
        index.age(3, Some(RETENTION_MS + 1));
        assert_eq!(index.segments.len(), 2, "what is newer outlives what is older");
    }
}
