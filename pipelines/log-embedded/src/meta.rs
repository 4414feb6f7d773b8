//! The keyspace that says which topics there are and what each sealed segment holds. A disk format, like `record`.
//!
//! | key | value |
//! |---|---|
//! | `t`, topic name | topic id u32, partitions u32, retention in ms i64, and one byte more (1) once it is sealed |
//! | `s`, topic id u32, partition u32, segment u64 | first offset u64, end offset u64, newest `received_at_ms` i64 |
//! | `k`, topic id u32, partition u32 | first kept segment u64; none yet: 0 |
//!
//! All numbers are big-endian. A seal is written in the batch that holds the first record of the next segment. The
//! first kept segment moves, and the seals before it go, before the segments are dropped: a segment that is missing
//! without that is damage.

use fjall::{Keyspace, Slice};
use marquee_stream::LogError;

use crate::storage_error::from_fjall;

/// What is stored about a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopicMeta {
    pub(crate) id: u32,
    pub(crate) partitions: u32,
    pub(crate) retention_ms: i64,
    /// It takes no more records.
    pub(crate) is_sealed: bool,
}

/// Which segment: they are numbered from 0 in each partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SegmentId {
    pub(crate) topic_id: u32,
    pub(crate) partition: u32,
    pub(crate) number: u64,
}

/// What is known about a segment that gets no more records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) newest_received_at_ms: i64,
}

impl SegmentId {
    /// The name of the segment's keyspace.
    pub(crate) fn keyspace_name(self) -> String {
        format!("segment.{}.{}.{}", self.topic_id, self.partition, self.number)
    }

    /// The segment whose keyspace has this name; `None` for the other keyspaces.
    pub(crate) fn from_keyspace_name(name: &str) -> Option<Self> {
        let mut numbers = name.strip_prefix("segment.")?.split('.');
        let id = Self {
            topic_id: numbers.next()?.parse().ok()?,
            partition: numbers.next()?.parse().ok()?,
            number: numbers.next()?.parse().ok()?,
        };
        numbers.next().is_none().then_some(id)
    }

    /// The key of the segment's seal.
    pub(crate) fn seal_key(self) -> Vec<u8> {
        let mut key = vec![b's'];
        key.extend(self.topic_id.to_be_bytes());
        key.extend(self.partition.to_be_bytes());
        key.extend(self.number.to_be_bytes());
        key
    }

    fn from_seal_key(key: &[u8]) -> Option<Self> {
        let mut numbers = Numbers(key.strip_prefix(b"s")?);
        let id = Self {
            topic_id: u32::from_be_bytes(numbers.next()?),
            partition: u32::from_be_bytes(numbers.next()?),
            number: u64::from_be_bytes(numbers.next()?),
        };
        numbers.0.is_empty().then_some(id)
    }
}

impl Seal {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut value = Vec::with_capacity(24);
        value.extend(self.first.to_be_bytes());
        value.extend(self.end.to_be_bytes());
        value.extend(self.newest_received_at_ms.to_be_bytes());
        value
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let mut numbers = Numbers(value);
        let seal = Self {
            first: u64::from_be_bytes(numbers.next()?),
            end: u64::from_be_bytes(numbers.next()?),
            newest_received_at_ms: i64::from_be_bytes(numbers.next()?),
        };
        (numbers.0.is_empty() && seal.first < seal.end).then_some(seal)
    }
}

impl TopicMeta {
    /// The key of a topic.
    pub(crate) fn key(name: &str) -> Vec<u8> {
        [b"t", name.as_bytes()].concat()
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        let mut value = Vec::with_capacity(16);
        value.extend(self.id.to_be_bytes());
        value.extend(self.partitions.to_be_bytes());
        value.extend(self.retention_ms.to_be_bytes());
        // Builds that do not know of it take such a topic for damaged, and append nothing.
        value.extend(self.is_sealed.then_some(1_u8));
        value
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let mut numbers = Numbers(value);
        let topic = Self {
            id: u32::from_be_bytes(numbers.next()?),
            partitions: u32::from_be_bytes(numbers.next()?),
            retention_ms: i64::from_be_bytes(numbers.next()?),
            is_sealed: numbers.0 == [1],
        };
        ((numbers.0.is_empty() || topic.is_sealed) && topic.partitions > 0).then_some(topic)
    }
}

/// All topics, by name.
pub(crate) fn topics(meta: &Keyspace) -> Result<Vec<(String, TopicMeta)>, LogError> {
    entries(meta, b"t", |key, value| {
        let name = std::str::from_utf8(key.strip_prefix(b"t")?).ok()?;
        Some((name.to_owned(), TopicMeta::decode(value)?))
    })
}

/// All seals, in the order of segments.
pub(crate) fn seals(meta: &Keyspace) -> Result<Vec<(SegmentId, Seal)>, LogError> {
    entries(meta, b"s", |key, value| Some((SegmentId::from_seal_key(key)?, Seal::decode(value)?)))
}

/// The key of a partition's first kept segment.
pub(crate) fn first_kept_key(topic_id: u32, partition: u32) -> Vec<u8> {
    let mut key = vec![b'k'];
    key.extend(topic_id.to_be_bytes());
    key.extend(partition.to_be_bytes());
    key
}

/// The first kept segment of each partition that has lost some to retention.
pub(crate) fn first_kept(meta: &Keyspace) -> Result<Vec<SegmentId>, LogError> {
    entries(meta, b"k", |key, value| {
        let mut numbers = Numbers(key.strip_prefix(b"k")?);
        let topic_id = u32::from_be_bytes(numbers.next()?);
        let partition = u32::from_be_bytes(numbers.next()?);
        let number = u64::from_be_bytes(value.try_into().ok()?);
        numbers.0.is_empty().then_some(SegmentId { topic_id, partition, number })
    })
}

fn entries<T>(meta: &Keyspace, prefix: &[u8], decode: impl Fn(&[u8], &[u8]) -> Option<T>) -> Result<Vec<T>, LogError> {
    meta.prefix(prefix)
        .map(|entry| {
            let (key, value): (Slice, Slice) =
                entry.into_inner().map_err(|error| from_fjall("reading the list of topics and segments", error))?;
            decode(&key, &value)
                .ok_or_else(|| LogError::Damaged(format!("the entry {key:?} in the list of topics is not valid")))
        })
        .collect()
}

/// Takes fixed numbers of bytes off the front.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn next<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (number, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_the_round_trip() {
        let id = SegmentId { topic_id: 3, partition: 5, number: u64::MAX };
        assert_eq!(SegmentId::from_keyspace_name(&id.keyspace_name()), Some(id));
        assert_eq!(SegmentId::from_seal_key(&id.seal_key()), Some(id));
        assert_eq!(SegmentId::from_keyspace_name("segment.1.2"), None);
        assert_eq!(SegmentId::from_keyspace_name("meta"), None);
        let seal = Seal { first: 1, end: 9, newest_received_at_ms: -1 };
        assert_eq!(Seal::decode(&seal.encode()), Some(seal));
        for is_sealed in [false, true] {
            let topic = TopicMeta { id: 1, partitions: 8, retention_ms: i64::MAX, is_sealed };
            assert_eq!(TopicMeta::decode(&topic.encode()), Some(topic));
            assert_eq!(TopicMeta::decode(&topic.encode()[2..]), None);
            assert_eq!(TopicMeta::decode(&[&topic.encode()[..], &[2]].concat()), None);
        }
    }
}
