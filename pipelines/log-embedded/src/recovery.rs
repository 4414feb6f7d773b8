//! What a partition looks like when the log is opened: its segments must follow each other without a gap, and every
//! record of the newest one must be whole. The older ones are compared with their seals by first and last offset.

use std::collections::{BTreeMap, VecDeque};

use fjall::{Guard, Keyspace};
use marquee_stream::LogError;

use crate::meta::{self, Seal, SegmentId, TopicMeta};
use crate::record;
use crate::storage::Storage;
use crate::storage_error::from_fjall;
use crate::topic::{Partition, Segment, Tail, Topic};

const OPERATION: &str = "checking its segments";

/// All topics that are stored. Finishes dropping segments where a crash interrupted it.
///
/// # Errors
/// [`LogError::Damaged`] when records are missing or not what was written, or when the database cannot be read.
pub(crate) fn recover_topics(storage: &Storage) -> Result<Vec<Topic>, LogError> {
    let first_kept: BTreeMap<_, _> =
        meta::first_kept(&storage.meta)?.into_iter().map(|id| ((id.topic_id, id.partition), id.number)).collect();
    let mut segments: BTreeMap<(u32, u32), Vec<SegmentId>> = BTreeMap::new();
    for id in storage.segment_ids() {
        let partition = (id.topic_id, id.partition);
        if first_kept.get(&partition).is_some_and(|first_kept| id.number < *first_kept) {
            storage.drop_segment(storage.open_segment(id)?)?;
        } else {
            segments.entry(partition).or_default().push(id);
        }
    }
    let mut seals: BTreeMap<SegmentId, Seal> = meta::seals(&storage.meta)?.into_iter().collect();
    let topics = meta::topics(&storage.meta)?
        .into_iter()
        .map(|(name, TopicMeta { id, partitions, retention_ms, is_sealed })| {
            let partitions = (0..partitions)
                .map(|number| {
                    let first_kept = first_kept.get(&(id, number)).copied().unwrap_or(0);
                    let ids = segments.remove(&(id, number)).unwrap_or_default();
                    recover_partition(storage, first_kept, &ids, &mut seals)
                        .map_err(|problem| problem.in_partition(&name, number))
                })
                .collect::<Result<_, LogError>>()?;
            Ok(Topic { name, id, retention_ms: retention_ms.into(), is_sealed: is_sealed.into(), partitions })
        })
        .collect::<Result<_, LogError>>()?;
    check_strays(storage, segments.into_values().flatten(), &seals)?;
    Ok(topics)
}

/// Segments without a topic are left by a crash while the topic was made, and then they are empty.
fn check_strays(
    storage: &Storage,
    segments: impl Iterator<Item = SegmentId>,
    seals: &BTreeMap<SegmentId, Seal>,
) -> Result<(), LogError> {
    let damaged = |id: SegmentId, what: &str| {
        LogError::Damaged(format!(
            "segment {} of topic number {}, partition {} {what}",
            id.number, id.topic_id, id.partition
        ))
    };
    if let Some((&id, _)) = seals.first_key_value() {
        return Err(damaged(id, "is missing"));
    }
    for id in segments {
        if !storage.open_segment(id)?.is_empty().map_err(|error| from_fjall(OPERATION, error))? {
            return Err(damaged(id, "holds records, but there is no such topic"));
        }
    }
    Ok(())
}

/// Takes the partition's seals out of `seals`.
fn recover_partition(
    storage: &Storage,
    first_kept: u64,
    ids: &[SegmentId],
    seals: &mut BTreeMap<SegmentId, Seal>,
) -> Result<Partition, Problem> {
    let mut sealed = VecDeque::new();
    let mut expected_first = None;
    for (expected_number, (index, &id)) in (first_kept..).zip(ids.iter().enumerate()) {
        if id.number != expected_number {
            return Err(Problem::Damaged(format!("segment {expected_number} is missing")));
        }
        let keyspace = storage.open_segment(id)?;
        if let Some(seal) = seals.remove(&id) {
            check_sealed(&keyspace, id, seal, expected_first)?;
            expected_first = Some(seal.end);
            sealed.push_back(Segment { id, first: seal.first, keyspace, seal: Some(seal) });
            continue;
        }
        let tail = scan_active(id, keyspace, expected_first)?;
        let prepared = match ids[index + 1..] {
            [] => None,
            [next] if next.number == id.number + 1 => Some(storage.open_segment(next)?),
            _ => return Err(Problem::Damaged(format!("segment {} was never sealed", id.number))),
        };
        if prepared.as_ref().map(first_offset).transpose()?.flatten().is_some() {
            return Err(Problem::Damaged(format!("segment {} was never sealed", id.number)));
        }
        return Ok(Partition::new(sealed, tail, prepared));
    }
    Err(Problem::Damaged("its newest segment is missing".to_owned()))
}

fn check_sealed(keyspace: &Keyspace, id: SegmentId, seal: Seal, expected_first: Option<u64>) -> Result<(), Problem> {
    let last = offset_of(keyspace.last_key_value())?;
    if first_offset(keyspace)? != Some(seal.first) || last != Some(seal.end - 1) {
        return Err(Problem::Damaged(format!(
            "segment {} does not hold the offsets {} to {} that it was sealed with",
            id.number,
            seal.first,
            seal.end - 1
        )));
    }
    match expected_first {
        Some(expected) if expected != seal.first => Err(Problem::gap(expected)),
        _ => Ok(()),
    }
}

/// Reads the newest segment from its first record to its last.
fn scan_active(id: SegmentId, keyspace: Keyspace, expected_first: Option<u64>) -> Result<Tail, Problem> {
    let first = match (expected_first, first_offset(&keyspace)?) {
        (Some(expected), Some(first)) if expected == first => first,
        (Some(expected), _) => return Err(Problem::gap(expected)),
        (None, Some(first)) => first,
        (None, None) if id.number == 0 => 0,
        (None, None) => return Err(Problem::Damaged(format!("segment {} is empty", id.number))),
    };
    let mut tail = Tail::at_start_of(id, keyspace, first);
    for entry in tail.keyspace.iter() {
        let (key, value) = entry.into_inner().map_err(|error| from_fjall(OPERATION, error))?;
        if record::offset(&key) != Some(tail.next_offset) {
            return Err(Problem::gap(tail.next_offset));
        }
        let header = record::decode_header(&value)
            .map_err(|what| Problem::Damaged(format!("the record at offset {} {what}", tail.next_offset)))?;
        tail.next_offset += 1;
        tail.segment_bytes += (key.len() + value.len()) as u64;
        tail.newest_received_at_ms = tail.newest_received_at_ms.max(header.received_at_ms);
    }
    Ok(tail)
}

fn first_offset(keyspace: &Keyspace) -> Result<Option<u64>, Problem> {
    offset_of(keyspace.first_key_value())
}

fn offset_of(entry: Option<Guard>) -> Result<Option<u64>, Problem> {
    let Some(entry) = entry else { return Ok(None) };
    let key = entry.key().map_err(|error| from_fjall(OPERATION, error))?;
    record::offset(&key).map(Some).ok_or_else(|| Problem::Damaged(format!("the key {key:?} is no offset")))
}

/// What is wrong with a partition, before it is known which.
enum Problem {
    Damaged(String),
    Other(LogError),
}

impl Problem {
    fn gap(offset: u64) -> Self {
        Self::Damaged(format!("the record at offset {offset} is missing"))
    }

    fn in_partition(self, topic: &str, partition: u32) -> LogError {
        match self {
            Self::Damaged(what) => LogError::Damaged(format!("{what} in {topic}/{partition}")),
            Self::Other(error) => error,
        }
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        Self::Other(error)
    }
}
