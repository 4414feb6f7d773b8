//! Brokers that die and leaders that move, under load.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use marquee_log_kafka::KafkaLog;
use marquee_stream::PartitionLog as _;
use marquee_test_servers::KafkaCluster;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::metadata::MetadataPartition;
use tokio::runtime::Runtime;

use crate::setup::{DEADLINE, open, options, read_all, record, spec, texts, three_nodes};

const PARTITIONS: u32 = 3;

/// One test at a time disturbs the cluster: with two brokers away nothing can be acknowledged.
static DISTURBING: Mutex<()> = Mutex::new(());

/// Appends to every partition and reads along while `disturb` runs; then every acknowledged record is there once, in
/// order. `disturb` gets a function that waits until so many more appends to each partition were acknowledged.
fn check_under_load(log: &KafkaLog, topic: &str, disturb: impl FnOnce(&dyn Fn(u64))) {
    log.ensure_topic(&spec(topic, PARTITIONS)).unwrap();
    let stop = AtomicBool::new(false);
    let acknowledged: Vec<AtomicU64> = (0..PARTITIONS).map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for partition in 0..PARTITIONS {
            let (stop, acknowledged) = (&stop, &acknowledged[partition as usize]);
            scope.spawn(move || append_along(log, topic, partition, stop, acknowledged));
            scope.spawn(move || read_along(log, topic, partition, stop, acknowledged));
        }
        let more = |appends: u64| {
            let until = Instant::now() + DEADLINE;
            let goals: Vec<u64> = acknowledged.iter().map(|count| count.load(Ordering::Acquire) + appends).collect();
            while acknowledged.iter().zip(&goals).any(|(count, goal)| count.load(Ordering::Acquire) < *goal) {
                assert!(Instant::now() < until, "appends make no progress: {acknowledged:?} of {goals:?}");
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        // A panic in here must not leave the others running for ever.
        let disturbed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| disturb(&more)));
        stop.store(true, Ordering::Release);
        disturbed.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    for (partition, acknowledged) in (0..).zip(&acknowledged) {
        let expected: Vec<String> =
            (0..acknowledged.load(Ordering::Acquire)).map(|number| number.to_string()).collect();
        let read = read_all(log, topic, partition).unwrap();
        assert_eq!(texts(&read), expected, "partition {partition}");
    }
}

fn append_along(log: &KafkaLog, topic: &str, partition: u32, stop: &AtomicBool, acknowledged: &AtomicU64) {
    let runtime = Runtime::new().unwrap();
    while !stop.load(Ordering::Acquire) {
        let next = acknowledged.load(Ordering::Acquire);
        let numbers: Range<u64> = next..next + 5;
        let records = numbers.clone().map(|number| record(partition, number.to_string())).collect();
        let positions = runtime.block_on(log.append(topic, records)).unwrap();
        let offsets: Vec<u64> = positions.iter().map(|position| position.offset).collect();
        assert_eq!(offsets, numbers.clone().collect::<Vec<_>>());
        acknowledged.store(numbers.end, Ordering::Release);
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn read_along(log: &KafkaLog, topic: &str, partition: u32, stop: &AtomicBool, acknowledged: &AtomicU64) {
    let mut next = 0;
    loop {
        let stopping = stop.load(Ordering::Acquire);
        for record in log.read(topic, partition, next, 1 << 20).unwrap() {
            assert_eq!((record.offset, texts(&[record])[0]), (next, next.to_string().as_str()));
            next += 1;
        }
        if stopping && next >= acknowledged.load(Ordering::Acquire) {
            return;
        }
        log.wait(topic, partition, next, Duration::from_millis(50)).unwrap();
    }
}

fn wait_for_leader(cluster: &KafkaCluster, topic: &str, leader: u32) {
    let asking: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap();
    let until = Instant::now() + DEADLINE;
    loop {
        let metadata = asking.fetch_metadata(Some(topic), DEADLINE).unwrap();
        let leaders: Vec<i32> = metadata.topics()[0].partitions().iter().map(MetadataPartition::leader).collect();
        if leaders.iter().all(|id| *id == leader as i32) {
            return;
        }
        assert!(Instant::now() < until, "{leaders:?} lead, {leader} is to");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn killed_brokers_lose_nothing() {
    let Some(cluster) = three_nodes("killed_brokers_lose_nothing") else { return };
    let _disturbing = DISTURBING.lock().unwrap_or_else(PoisonError::into_inner);
    let log = open(options(cluster));
    check_under_load(&log, "faults-killed", |more| {
        more(100);
        // Each leads some partition.
        for id in [1, 2] {
            cluster.kill(id);
            more(200);
            cluster.restart(id);
            more(200);
        }
    });
}

#[test]
fn moving_leaders_lose_nothing() {
    let Some(cluster) = three_nodes("moving_leaders_lose_nothing") else { return };
    let _disturbing = DISTURBING.lock().unwrap_or_else(PoisonError::into_inner);
    let log = open(options(cluster));
    let topic = "faults-moved";
    check_under_load(&log, topic, |more| {
        more(100);
        for replicas in [[1, 2, 3], [2, 3, 1]] {
            cluster.move_leaders(topic, PARTITIONS, &replicas);
            wait_for_leader(cluster, topic, replicas[0]);
            more(100);
        }
    });
}
