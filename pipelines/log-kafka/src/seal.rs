//! Ending a topic. Brokers refuse what is larger than the topic's `max.message.bytes`, at the leader and before anything is
//! appended, from whomever it comes; so a topic whose limit is below the smallest record of Marquee's takes no more. A
//! higher `min.insync.replicas` would not do: Kafka 4 takes it for no more than there are replicas.
//!
//! A broker learns of a setting some time after the cluster has taken it, and an end that is asked for is that of what
//! all replicas have. Therefore, in each partition: a seal that is too large is tried until it is refused, then a small
//! one is appended, and it has to stay the last record. All before it is there for good then.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use marquee_stream::{LogError, RecordType};
use rdkafka::message::OwnedHeaders;

use crate::cluster::{Cluster, Topic, block_on};
use crate::error::{Patience, unavailable};
use crate::header::SEAL_KEY;
use crate::producer::{Outgoing, Producer};
use crate::read;

/// The setting of a topic that has ended. A seal takes 61 bytes for its batch and 13 for itself; the headers of any other
/// record alone have more than 80, and as a batch they do not compress below that.
pub(crate) const SEALED_MAX_MESSAGE_BYTES: usize = 80;

/// Nothing may follow a seal for so long: a broker's thread that found a record small enough just before the setting
/// changed has appended it by then.
const SETTLE: Duration = Duration::from_secs(1);

/// Ends a topic; its ends are final.
pub(crate) fn seal(cluster: &Cluster, producer: &Producer, topic: &Topic) -> Result<(), LogError> {
    let operation = "ending a topic";
    cluster.change_setting(operation, &topic.name, "max.message.bytes", &SEALED_MAX_MESSAGE_BYTES.to_string())?;
    let mut patience = Patience::new(cluster.options.patience);
    for partition in 0..topic.partitions.len() as u32 {
        while send(producer, topic, partition, too_large())? {
            if !patience.pause() {
                return Err(unavailable(operation, "a broker has not heard that it takes no more records"));
            }
        }
    }
    topic.is_sealed.store(true, Ordering::Release);
    loop {
        for partition in 0..topic.partitions.len() as u32 {
            if !ends_with_seal(cluster, topic, partition)? && !send(producer, topic, partition, Bytes::new())? {
                return Err(unavailable(operation, "a broker does not take its last record"));
            }
        }
        std::thread::sleep(SETTLE);
        let mut is_final = true;
        for partition in 0..topic.partitions.len() as u32 {
            is_final &= ends_with_seal(cluster, topic, partition)?;
        }
        if is_final {
            return Ok(());
        }
        if !patience.pause() {
            return Err(unavailable(operation, "records go on to come"));
        }
    }
}

/// Appends a seal; `false` when it was refused as too large.
fn send(producer: &Producer, topic: &Topic, partition: u32, payload: Bytes) -> Result<bool, LogError> {
    let seal = Outgoing { partition, key: Some(SEAL_KEY), headers: OwnedHeaders::new(), payload };
    match block_on(producer.send(&topic.name, vec![seal])) {
        Ok(_) => Ok(true),
        Err(LogError::Sealed(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What no compression makes small.
fn too_large() -> Bytes {
    Bytes::from((0..=u8::MAX).collect::<Vec<u8>>())
}

fn ends_with_seal(cluster: &Cluster, topic: &Topic, partition: u32) -> Result<bool, LogError> {
    let bounds = cluster.bounds(topic, partition)?;
    if bounds.is_empty() {
        return Ok(false);
    }
    let records = read::read(cluster, &topic.name, partition, bounds.end - 1, 1)?;
    Ok(records.last().is_some_and(|last| last.offset + 1 == bounds.end && last.header.record_type == RecordType::Seal))
}
