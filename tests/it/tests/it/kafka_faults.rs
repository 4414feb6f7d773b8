//! What befalls a log in Apache Kafka while jobs work and players post: brokers that are killed, leaders that move, members
//! that come and go, a disk that is full, records and topics that are gone. Nothing acknowledged is lost, nothing counts
//! twice; and what cannot go on says what to do and changes nothing.

use std::time::Instant;

use marquee_jobs::PLAYBACK_TOPIC;
use marquee_test_servers::{KafkaCluster, kafka_is_here};

use crate::child::DEADLINE;
use crate::players::{Players, Sent};
use crate::roles::{Deployment, PARTITIONS, Role};

/// Exit codes of `marquee`.
const UNAVAILABLE: i32 = 4;
const DAMAGED: i32 = 5;

/// Posts between two faults: some epochs of each shard.
const SOME: u64 = 100;

/// What Kafka and the events of a test need, and little more (bytes).
const SMALL_DISK_BYTES: u64 = 64 << 20;

/// One process with jobs on all partitions, and a collector.
fn start_both(deployment: &Deployment) -> (Role, Role) {
    let mut jobs = deployment.start("jobs", "jobs");
    jobs.wait_for_all_partitions();
    (jobs, deployment.start("collector", "collector"))
}

#[test]
fn a_killed_broker_comes_back() {
    if !kafka_is_here("kafka_faults::a_killed_broker_comes_back") {
        return;
    }
    let cluster = KafkaCluster::start(1);
    let deployment = Deployment::new(&cluster);
    let (jobs, mut collector) = start_both(&deployment);
    let players = Players::start(&collector.address(), 11);
    for _ in 0..2 {
        players.acknowledged(SOME);
        cluster.kill(1);
        cluster.restart(1);
    }
    players.acknowledged(SOME);
    let sent = players.finish();
    deployment.check(collector, vec![jobs], &sent);
}

#[test]
fn killed_and_moved_leaders() {
    if !kafka_is_here("kafka_faults::killed_and_moved_leaders") {
        return;
    }
    let cluster = KafkaCluster::start(3);
    let deployment = Deployment::new(&cluster);
    let (jobs, mut collector) = start_both(&deployment);
    let players = Players::start(&collector.address(), 12);
    players.acknowledged(SOME);
    // Each leads some partition.
    cluster.kill(1);
    players.acknowledged(SOME);
    cluster.restart(1);
    cluster.move_leaders(PLAYBACK_TOPIC, PARTITIONS, &[2, 3, 1]);
    let started = Instant::now();
    while cluster.leaders(PLAYBACK_TOPIC) != [2; PARTITIONS as usize] {
        assert!(started.elapsed() < DEADLINE, "the leaders do not move");
    }
    // And now this one leads all of them.
    cluster.kill(2);
    players.acknowledged(SOME);
    cluster.restart(2);
    players.acknowledged(SOME);
    let sent = players.finish();
    assert_eq!(sent.refused_events, 0, "two of three brokers were there all the time");
    deployment.check(collector, vec![jobs], &sent);
}

#[test]
fn members_come_and_go() {
    if !kafka_is_here("kafka_faults::members_come_and_go") {
        return;
    }
    let cluster = KafkaCluster::start(1);
    let deployment = Deployment::new(&cluster);
    let (first, mut collector) = start_both(&deployment);
    let players = Players::start(&collector.address(), 13);
    players.acknowledged(SOME);
    let start = |name| {
        let mut role = deployment.start(name, "jobs");
        role.wait_for_a_share();
        players.acknowledged(SOME);
        role
    };
    let (second, third) = (start("second"), start("third"));
    // What it had read and not decided is read again by the others.
    second.kill();
    players.acknowledged(SOME);
    // A new member while the killed one is still believed to be there.
    let fourth = start("fourth");
    third.stop();
    players.acknowledged(SOME);
    first.kill();
    fourth.kill();
    let mut last = start("last");
    let sent = players.finish();
    assert_eq!(sent.refused_events, 0, "the log is well");
    last.wait_for_all_partitions();
    deployment.check(collector, vec![last], &sent);
}

#[test]
fn a_full_disk_refuses_events_and_loses_none() {
    let test = "kafka_faults::a_full_disk_refuses_events_and_loses_none";
    if !kafka_is_here(test) {
        return;
    }
    let Some(cluster) = KafkaCluster::start_on_small_disk(test, SMALL_DISK_BYTES) else { return };
    let deployment = Deployment::new(&cluster);
    let mut jobs = deployment.start("jobs", "jobs");
    jobs.wait_for_all_partitions();
    // Soon, so that the test need not wait for a refusal.
    let impatient = [("MARQUEE_LOG__KAFKA__PATIENCE_MS", "3000")];
    let mut collector = deployment.start_with("collector", "collector", &impatient);
    let players = Players::start(&collector.address(), 14);
    players.acknowledged(SOME);
    cluster.fill_disk();
    players.refused(4);
    let said = cluster.said(1);
    assert!(said.contains("No space left on device"), "it is the disk: {said}");
    // A broker that cannot write stops by itself; at the latest it does so now.
    cluster.kill(1);
    cluster.free_disk();
    cluster.restart(1);
    players.acknowledged(SOME);
    let sent = players.finish();
    assert!(sent.refused_events > 0);
    deployment.check(collector, vec![jobs], &sent);
}

/// Starts jobs that must end with this sentence and change nothing.
fn check_halt(deployment: &Deployment, name: &str, exit_code: i32, sentences: &[&str]) {
    let before = deployment.stored();
    let mut jobs = deployment.start(name, "jobs");
    check_end(&mut jobs, exit_code, sentences);
    assert_eq!(deployment.stored(), before, "nothing is changed");
}

fn check_end(role: &mut Role, exit_code: i32, sentences: &[&str]) {
    let status = role.end();
    let said = role.said();
    for sentence in sentences {
        assert!(said.contains(sentence), "no {sentence:?} in: {said}");
    }
    assert_eq!(status.code(), Some(exit_code), "{said}");
}

#[test]
fn expired_offsets_halt_the_jobs() {
    if !kafka_is_here("kafka_faults::expired_offsets_halt_the_jobs") {
        return;
    }
    let cluster = KafkaCluster::start(1);
    let deployment = Deployment::new(&cluster);
    let (jobs, mut collector) = start_both(&deployment);
    let address = collector.address();
    let sent = post_some(&address, 15);
    deployment.wait_for_sessions(sent.events);
    jobs.stop();
    // Acknowledged, and gone before anybody reads it.
    post_some(&address, 16);
    cluster.expire(PLAYBACK_TOPIC, PARTITIONS);
    check_halt(&deployment, "after", DAMAGED, &["has expired, the log starts at", "restore the log from a copy"]);
}

#[test]
fn a_deleted_topic_halts_the_jobs() {
    if !kafka_is_here("kafka_faults::a_deleted_topic_halts_the_jobs") {
        return;
    }
    let cluster = KafkaCluster::start(1);
    let deployment = Deployment::new(&cluster);
    let (mut jobs, mut collector) = start_both(&deployment);
    let address = collector.address();
    let sent = post_some(&address, 17);
    deployment.wait_for_sessions(sent.events);
    let before = deployment.stored();
    cluster.delete_topic(PLAYBACK_TOPIC);
    check_end(&mut jobs, DAMAGED, &["the log has no topic `playback`", "restore"]);
    assert_eq!(deployment.stored(), before, "nothing is changed");
    let players = Players::start(&address, 18);
    players.refused(1);
    collector.kill();

    // While they are stopped: made anew by anybody, it would have other records under the offsets of the manifests.
    check_halt(
        &deployment,
        "again",
        DAMAGED,
        &["the log has no topic `playback`", "restore the topic, or begin with a new home"],
    );
    let mut other = deployment.start("other", "collector");
    check_end(&mut other, UNAVAILABLE, &["the log has no topic `playback`", "restore"]);
    assert!(!cluster.topics().iter().any(|topic| topic == PLAYBACK_TOPIC), "nobody makes it anew");
    // By an operator.
    cluster.make_topic(PLAYBACK_TOPIC, PARTITIONS);
    check_halt(&deployment, "anew", DAMAGED, &["lies beyond the log's end", "restore it from a copy"]);
}

/// As with a whole topic: what was read from it cannot be read from another one.
#[test]
fn a_deleted_generation_halts_the_jobs() {
    if !kafka_is_here("kafka_faults::a_deleted_generation_halts_the_jobs") {
        return;
    }
    let cluster = KafkaCluster::start(1);
    let deployment = Deployment::new(&cluster);
    let (jobs, mut collector) = start_both(&deployment);
    let address = collector.address();
    deployment.grow(2 * PARTITIONS);
    jobs.stop();
    let jobs = deployment.start("heirs", "jobs");
    let sent = post_some(&address, 19);
    deployment.wait_for_sessions(sent.events);
    jobs.stop();
    collector.kill();
    cluster.delete_topic("playback.2");
    check_halt(&deployment, "after", DAMAGED, &["the log has no topic `playback/11`", "restore the topic"]);
}

fn post_some(address: &str, seed: u64) -> Sent {
    let players = Players::start(address, seed);
    players.acknowledged(SOME);
    players.finish()
}
