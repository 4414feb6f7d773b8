//! Brokers that die and leaders that move, under load.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use marquee_events::ErrorKind;
use marquee_log_kafka::{KafkaLog, KafkaMembership, KafkaOptions, MembershipOptions};
use marquee_stream::{LogError, Membership as _, PartitionLog as _};
use marquee_test_servers::{KafkaCluster, kafka_is_here};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::metadata::MetadataPartition;
use tokio::runtime::Runtime;

use crate::setup::{DEADLINE, open, options, read_all, record, spec, texts, three_nodes, wait_until};

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
    wait_until("the leaders have moved", || {
        let metadata = asking.fetch_metadata(Some(topic), DEADLINE).unwrap();
        let mut leaders = metadata.topics()[0].partitions().iter().map(MetadataPartition::leader);
        leaders.all(|id| id == leader as i32)
    });
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

#[test]
fn a_cluster_that_is_away_is_named_and_found_again() {
    if !kafka_is_here("a_cluster_that_is_away_is_named_and_found_again") {
        return;
    }
    let cluster = KafkaCluster::start(1);
    let impatient = KafkaOptions { patience: Duration::from_secs(2), ..options(&cluster) };
    let log = open(impatient.clone());
    let topic = "faults-away";
    log.ensure_topic(&spec(topic, 1)).unwrap();
    let group = MembershipOptions::new("faults-away-group", vec![topic.to_owned()]);
    let group = MembershipOptions { session_timeout: Duration::from_secs(2), ..group };
    let member = KafkaMembership::join(&impatient, &group).unwrap();
    let append = |text: &str| Runtime::new().unwrap().block_on(log.append(topic, vec![record(0, text.to_owned())]));
    append("before").unwrap();
    assert_eq!(texts(&read_all(&log, topic, 0).unwrap()), ["before"]);
    let has_all = |member: &KafkaMembership| member.assignment().is_ok_and(|a| a.partitions.len() == 1);
    wait_until("it has the partition", || has_all(&member));

    cluster.kill(1);
    let check = |what: &str, error: LogError| {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{what}: {error:?}");
    };
    let started = Instant::now();
    check("an append", append("during").unwrap_err());
    check("a read", log.read(topic, 0, 1, 1000).unwrap_err());
    check("a wait", log.wait(topic, 0, 1, Duration::from_secs(20)).unwrap_err());
    assert!(started.elapsed() < DEADLINE / 2, "it took {:?}", started.elapsed());
    wait_until("the member says that nobody is there", || member.assignment().is_err());
    check("a member", member.assignment().unwrap_err());

    cluster.restart(1);
    append("after").unwrap();
    let records = read_all(&log, topic, 0).unwrap();
    // What was not acknowledged may be there.
    assert!([&["before", "after"][..], &["before", "during", "after"]].contains(&texts(&records).as_slice()));
    wait_until("it has the partition again", || has_all(&member));
}
