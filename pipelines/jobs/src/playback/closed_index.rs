//! Which sessions are closed, so that a late event finds its session again: the last two hours in memory, older ones in
//! immutable segments with a Bloom filter each. A filter's false alarm costs a look-up and nothing else.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use marquee_stream::{ShardIo, StreamError};
use serde::{Deserialize, Serialize};

use super::HORIZON_MS;

/// Closed sessions stay in memory for this long after their last event (ms of event time).
const IN_MEMORY_MS: i64 = 2 * 60 * 60 * 1000;

/// 10 bits and 7 probes a key: about 1 % false alarms.
const BLOOM_BITS_PER_KEY: usize = 10;
const BLOOM_PROBES: u32 = 7;

/// What a late event needs to know about its session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClosedSession {
    pub(crate) revision: u64,
    pub(crate) next_sequence: u64,
    pub(crate) last_time_ms: i64,
    pub(crate) clock_shift_ms: i64,
    pub(crate) late_events: u64,
    pub(crate) bronze_epochs: Vec<u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Segment {
    name: String,
    newest_ms: i64,
    bloom: Vec<u64>,
}

/// The index of a shard.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ClosedIndex {
    recent: HashMap<u128, ClosedSession>,
    segments: Vec<Segment>,
}

impl ClosedIndex {
    pub(crate) fn insert(&mut self, key: u128, session: ClosedSession) {
        self.recent.insert(key, session);
    }

    /// Whether the session may be closed: certain when it is not.
    pub(crate) fn may_contain(&self, key: u128) -> bool {
        self.recent.contains_key(&key) || self.segments.iter().any(|s| bloom_contains(&s.bloom, key))
    }

    /// The clock shift of a closed session that is in memory.
    pub(crate) fn clock_shift_ms(&self, key: u128) -> Option<i64> {
        self.recent.get(&key).map(|session| session.clock_shift_ms)
    }

    /// Takes a session out of memory, or reads it from the newest segment that has it.
    pub(crate) fn take(&mut self, key: u128, io: &ShardIo) -> Result<Option<ClosedSession>, StreamError> {
        if let Some(session) = self.recent.remove(&key) {
            return Ok(Some(session));
        }
        for segment in self.segments.iter().rev().filter(|s| bloom_contains(&s.bloom, key)) {
            let bytes = io.read_segment(&segment.name)?;
            let sessions: BTreeMap<u128, ClosedSession> = postcard::from_bytes(&bytes)
                .map_err(|e| StreamError::Damaged { path: segment.name.clone(), problem: e.to_string() })?;
            if let Some(session) = sessions.get(&key) {
                return Ok(Some(session.clone()));
            }
        }
        Ok(None)
    }

    /// Moves what is old enough into a new segment and forgets segments past the horizon. Without a watermark (an
    /// import) everything moves and nothing is forgotten.
    pub(crate) fn age(&mut self, epoch: u64, watermark_ms: Option<i64>) -> Option<(String, Vec<u8>)> {
        if let Some(watermark_ms) = watermark_ms {
            self.segments.retain(|segment| segment.newest_ms >= watermark_ms - HORIZON_MS);
        }
        let is_old = |session: &ClosedSession| {
            watermark_ms.is_none_or(|watermark_ms| session.last_time_ms < watermark_ms - IN_MEMORY_MS)
        };
        let old: BTreeMap<u128, ClosedSession> = self.recent.extract_if(|_, session| is_old(session)).collect();
        let newest_ms = old.values().map(|session| session.last_time_ms).max()?;
        let name = format!("{epoch:012}");
        let bytes = postcard::to_stdvec(&old).expect("plain data can be encoded");
        self.segments.push(Segment { name: name.clone(), newest_ms, bloom: bloom_of(old.keys().copied()) });
        Some((name, bytes))
    }

    pub(crate) fn segment_names(&self) -> Vec<String> {
        self.segments.iter().map(|segment| segment.name.clone()).collect()
    }
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
    fn old_sessions_move_out_and_segments_end_with_the_horizon() {
        let mut index = ClosedIndex::default();
        let session = |last_time_ms| ClosedSession {
            revision: 1,
            next_sequence: 2,
            last_time_ms,
            clock_shift_ms: 0,
            late_events: 0,
            bronze_epochs: vec![1],
        };
        index.insert(7, session(0));
        index.insert(8, session(IN_MEMORY_MS));
        let (name, _) = index.age(3, Some(IN_MEMORY_MS + 1)).expect("one session is old");
        assert_eq!((name.as_str(), index.recent.len()), ("000000000003", 1));
        assert!(index.may_contain(7) && index.may_contain(8));
        index.age(4, Some(HORIZON_MS + 1));
        assert!(!index.segment_names().contains(&name));
    }
}
