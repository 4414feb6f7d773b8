//! The clusters, and what every test does with them.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use marquee_log_kafka::{KafkaLog, KafkaOptions};
use marquee_stream::{LogError, NewRecord, PartitionLog as _, Record, RecordHeader, RecordType, Route, TopicSpec};
use marquee_test_servers::{KafkaCluster, kafka_is_here};

/// No test waits longer than this for something that has to happen.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A week, as it should be.
pub const RETENTION_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// Short, since a test waits for it; long enough for a busy machine.
pub const LEASE: Duration = Duration::from_secs(3);

/// The cluster of one node; `None` where tests cannot start Kafka, and then that is said.
pub fn one_node(test: &str) -> Option<&'static KafkaCluster> {
    static CLUSTER: OnceLock<KafkaCluster> = OnceLock::new();
    kafka_is_here(test).then(|| CLUSTER.get_or_init(|| KafkaCluster::start(1)))
}

/// The cluster of three nodes; `None` where tests cannot start Kafka.
pub fn three_nodes(test: &str) -> Option<&'static KafkaCluster> {
    static CLUSTER: OnceLock<KafkaCluster> = OnceLock::new();
    kafka_is_here(test).then(|| CLUSTER.get_or_init(|| KafkaCluster::start(3)))
}

/// Options for a cluster of so few nodes.
pub fn options(cluster: &KafkaCluster) -> KafkaOptions {
    let nodes = *cluster.ids().end();
    KafkaOptions {
        replication_factor: nodes.min(3),
        min_insync_replicas: nodes.min(2),
        patience: Duration::from_secs(30),
        ledger_lease: LEASE,
        ..KafkaOptions::new(cluster.bootstrap_servers())
    }
}

pub fn open(options: KafkaOptions) -> KafkaLog {
    KafkaLog::open(options).unwrap()
}

pub fn spec(name: &str, partitions: u32) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions, retention_ms: RETENTION_MS }
}

pub fn record(partition: u32, payload: impl Into<Bytes>) -> NewRecord {
    let header = RecordHeader { record_type: RecordType::Job, received_at_ms: 1_700_000_000_000, event_count: 1 };
    NewRecord { route: Route::Partition(partition), header, payload: payload.into() }
}

pub fn texts(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| std::str::from_utf8(&record.payload).unwrap()).collect()
}

/// Everything that a partition has now.
pub fn read_all(log: &KafkaLog, topic: &str, partition: u32) -> Result<Vec<Record>, LogError> {
    let bounds = log.bounds(topic, partition)?;
    let mut records = Vec::new();
    let mut next = bounds.start;
    while next < bounds.end {
        records.extend(log.read(topic, partition, next, 1 << 20)?);
        next = records.last().map_or(next, |record: &Record| record.offset + 1);
    }
    Ok(records)
}

/// Waits for something that has to happen.
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < until, "not so: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
