//! Appending once: crashes at each step, and several processes with one key.

use std::collections::BTreeSet;
use std::time::Instant;

use marquee_log_kafka::{KafkaLog, KafkaOptions};
use marquee_stream::{LogError, NewRecord, PartitionLog as _, Position};
use tokio::runtime::Runtime;

use crate::child::{Process, words_for_child};
use crate::setup::{one_node, open, options, read_all, record, spec, texts};

const PARTITIONS: u32 = 2;
const RECORDS: u32 = 20;

/// The records of a key: half in each partition.
fn records(key: &str) -> Vec<NewRecord> {
    (0..RECORDS).map(|number| record(number % PARTITIONS, format!("{key} {number}"))).collect()
}

fn append_once(log: &KafkaLog, topic: &str, key: &str) -> Result<Option<Vec<Position>>, LogError> {
    Runtime::new().unwrap().block_on(log.append_once(topic, key, records(key)))
}

/// The child's part: one attempt.
fn attempt(words: &[String]) {
    let [servers, topic, key] = words else { panic!("{words:?}") };
    let _scenario = fail::FailScenario::setup();
    let cluster = KafkaOptions { replication_factor: 1, min_insync_replicas: 1, ..KafkaOptions::new(servers) };
    let log = open(KafkaOptions { ledger_lease: crate::setup::LEASE, ..cluster });
    let said = match append_once(&log, topic, key) {
        Ok(Some(_)) => "appended".to_owned(),
        Ok(None) => "was there".to_owned(),
        Err(error) => format!("failed: {error:?}"),
    };
    println!("\noutcome: {said}");
    // As a crash would end it.
    std::process::exit(0);
}

/// Each of the key's records is in the topic once, at the position that the append returned.
fn check_once(log: &KafkaLog, topic: &str, key: &str, positions: Option<&[Position]>) {
    let mut all = Vec::new();
    for partition in 0..PARTITIONS {
        for record in read_all(log, topic, partition).unwrap() {
            let text = texts(std::slice::from_ref(&record))[0].to_owned();
            all.push((text, Position { partition, offset: record.offset }));
        }
    }
    all.retain(|(text, _)| text.split(' ').next() == Some(key));
    let distinct: BTreeSet<&str> = all.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!((all.len(), distinct.len()), (RECORDS as usize, RECORDS as usize), "{key}: {all:?}");
    for (number, position) in positions.into_iter().flatten().enumerate() {
        assert!(all.contains(&(format!("{key} {number}"), *position)), "{key} {number} is not at {position:?}");
    }
}

#[test]
fn a_crash_at_any_step_leaves_each_record_once() {
    let name = "ledger::a_crash_at_any_step_leaves_each_record_once";
    if let Some(words) = words_for_child() {
        return attempt(&words);
    }
    let Some(cluster) = one_node(name) else { return };
    let log = open(options(cluster));
    let topic = "ledger-crash";
    log.ensure_topic(&spec(topic, PARTITIONS)).unwrap();
    let servers = cluster.bootstrap_servers();
    // Whether the retry appends, or finds all done.
    let steps = [("claimed", true), ("half-sent", true), ("sent", true), ("done", false)];
    let children = steps.map(|(step, _)| {
        let fail_points = format!("kafka-ledger-{step}=return");
        Process::start(name, &[&servers, topic, step], &fail_points)
    });
    for ((step, appends), child) in steps.into_iter().zip(&children) {
        assert!(child.line("outcome:").starts_with("failed"), "{step}");
        assert_eq!(log.ledger_contains(topic, step).unwrap(), !appends, "{step}");
    }
    std::thread::scope(|scope| {
        for (step, appends) in steps {
            let log = &log;
            scope.spawn(move || {
                let positions = append_once(log, topic, step).unwrap();
                assert_eq!(positions.is_some(), appends, "{step}");
                check_once(log, topic, step, positions.as_deref());
                assert!(log.ledger_contains(topic, step).unwrap());
                assert_eq!(append_once(log, topic, step).unwrap(), None, "{step}");
                check_once(log, topic, step, None);
            });
        }
    });
}

#[test]
fn processes_with_one_key_append_once() {
    let name = "ledger::processes_with_one_key_append_once";
    if let Some(words) = words_for_child() {
        return attempt(&words);
    }
    let Some(cluster) = one_node(name) else { return };
    let log = open(options(cluster));
    let topic = "ledger-race";
    log.ensure_topic(&spec(topic, PARTITIONS)).unwrap();
    let servers = cluster.bootstrap_servers();
    let children: Vec<_> = (0..4).map(|_| Process::start(name, &[&servers, topic, "key"], "")).collect();
    let outcomes: Vec<String> = children.iter().map(|child| child.line("outcome:")).collect();
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "appended").count(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "was there").count(), 3, "{outcomes:?}");
    check_once(&log, topic, "key", None);
}

#[test]
fn a_holder_that_stands_still_sends_nothing_once_it_is_taken_over() {
    let name = "ledger::a_holder_that_stands_still_sends_nothing_once_it_is_taken_over";
    if let Some(words) = words_for_child() {
        return attempt(&words);
    }
    let Some(cluster) = one_node(name) else { return };
    let log = open(options(cluster));
    let topic = "ledger-pause";
    log.ensure_topic(&spec(topic, PARTITIONS)).unwrap();
    let servers = cluster.bootstrap_servers();
    // It sleeps between its claim and its records, for longer than its lease.
    let sleep = format!("kafka-ledger-claimed=1*sleep({})", 2 * crate::setup::LEASE.as_millis());
    let child = Process::start(name, &[&servers, topic, "key"], &sleep);
    let ledger = format!("{topic}-ledger");
    let until = Instant::now() + crate::setup::DEADLINE;
    while !log.bounds(&ledger, 0).is_ok_and(|bounds| bounds.end > 0) {
        assert!(Instant::now() < until, "the child does not claim");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let positions = append_once(&log, topic, "key").unwrap();
    assert!(positions.is_some(), "the key is taken over");
    assert_eq!(child.line("outcome:"), "was there", "the first holder finds that it is done");
    check_once(&log, topic, "key", positions.as_deref());
}
