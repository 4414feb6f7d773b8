//! Members of a group share partitions, and get those of a member that is gone.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use marquee_log_kafka::{KafkaMembership, KafkaOptions, MembershipOptions};
use marquee_stream::{Assignment, Membership as _, PartitionLog as _};
use marquee_test_servers::KafkaCluster;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::child::{Process, words_for_child};
use crate::setup::{DEADLINE, one_node, open, options, spec};

const PARTITIONS: u32 = 4;

fn member_options(topic: &str) -> MembershipOptions {
    MembershipOptions {
        session_timeout: Duration::from_secs(4),
        release_timeout: Duration::from_secs(8),
        ..MembershipOptions::new(format!("{topic}-group"), vec![topic.to_owned()])
    }
}

fn wait_for(member: &KafkaMembership, what: &str, is_so: impl Fn(&Assignment) -> bool) -> Assignment {
    let until = Instant::now() + DEADLINE;
    loop {
        let assignment = member.assignment().unwrap();
        if is_so(&assignment) {
            return assignment;
        }
        assert!(Instant::now() < until, "{what}: {assignment:?}");
        member.wait(assignment.generation, Duration::from_millis(200)).unwrap();
        // A member that has nothing to finish.
        member.released(member.assignment().unwrap().generation);
    }
}

/// Waits until the cluster's tools would show this offset.
fn wait_for_committed(cluster: &KafkaCluster, topic: &str, in_cluster: &str, partition: u32, offset: i64) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", member_options(topic).group);
    let tool: BaseConsumer = config.create().unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition(in_cluster, partition as i32);
    let until = Instant::now() + DEADLINE;
    loop {
        let committed = tool.committed_offsets(asked.clone(), DEADLINE).unwrap();
        let found = committed.elements()[0].offset();
        if found == Offset::Offset(offset) {
            return;
        }
        assert!(Instant::now() < until, "{found:?} is committed");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn partitions(assignment: &Assignment) -> BTreeSet<u32> {
    assignment.partitions.iter().map(|(_, partition)| *partition).collect()
}

fn all() -> BTreeSet<u32> {
    (0..PARTITIONS).collect()
}

/// The child's part: says what it has, until it is killed.
fn be_a_member(words: &[String]) {
    let [servers, topic] = words else { panic!("{words:?}") };
    let member = KafkaMembership::join(&KafkaOptions::new(servers), &member_options(topic)).unwrap();
    let mut generation = 0;
    loop {
        if member.wait(generation, Duration::from_millis(200)).unwrap() {
            let assignment = member.assignment().unwrap();
            generation = assignment.generation;
            member.released(generation);
            println!("\nassigned: {}", assignment.partitions.len());
        }
    }
}

#[test]
fn members_share_and_inherit() {
    let name = "membership::members_share_and_inherit";
    if let Some(words) = words_for_child() {
        return be_a_member(&words);
    }
    let Some(cluster) = one_node(name) else { return };
    let topic = "members-inherit";
    open(options(cluster)).ensure_topic(&spec(topic, PARTITIONS)).unwrap();
    let servers = cluster.bootstrap_servers();
    let member = KafkaMembership::join(&options(cluster), &member_options(topic)).unwrap();
    assert_eq!(member.assignment().unwrap().generation, 0, "nothing is assigned yet");
    wait_for(&member, "alone", |assignment| partitions(assignment) == all());

    let child = Process::start(name, &[&servers, topic], "");
    wait_for(&member, "shared", |assignment| assignment.partitions.len() == 2);
    while child.line("assigned:") != "2" {}

    // It stands still until the group has given it up; when it goes on, it learns that it has nothing and joins again.
    child.signal("STOP");
    wait_for(&member, "the other stands still", |assignment| partitions(assignment) == all());
    child.signal("CONT");
    while child.line("assigned:") != "0" {}
    wait_for(&member, "the other is back", |assignment| assignment.partitions.len() == 2);
    while child.line("assigned:") != "2" {}

    child.signal("KILL");
    wait_for(&member, "the other is dead", |assignment| partitions(assignment) == all());
}

#[test]
fn a_partition_goes_when_it_is_released() {
    let Some(cluster) = one_node("a_partition_goes_when_it_is_released") else { return };
    let topic = "members-release";
    let options = |cluster| KafkaOptions { topic_prefix: "staging.".to_owned(), ..options(cluster) };
    open(options(cluster)).ensure_topic(&spec(topic, PARTITIONS)).unwrap();
    let first = KafkaMembership::join(&options(cluster), &member_options(topic)).unwrap();
    let before = wait_for(&first, "alone", |assignment| partitions(assignment) == all());
    let second = KafkaMembership::join(&options(cluster), &member_options(topic)).unwrap();

    // The first learns at once what is to go; the second gets it when the first has let it go.
    let until = Instant::now() + DEADLINE;
    while !first.wait(before.generation, Duration::from_secs(1)).unwrap() {
        assert!(Instant::now() < until, "nothing is revoked");
    }
    let kept = first.assignment().unwrap();
    assert_eq!(kept.partitions.len(), 2);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(second.assignment().unwrap().partitions.len(), 0, "they are not released");
    first.released(kept.generation);
    let gone = wait_for(&second, "released", |assignment| assignment.partitions.len() == 2);
    let both: BTreeSet<u32> = partitions(&gone).union(&partitions(&kept)).copied().collect();
    assert_eq!(both, all(), "every partition has one member");

    let partition = *partitions(&gone).first().unwrap();
    second.report_progress(&[(topic.to_owned(), partition, 7)]).unwrap();
    wait_for_committed(cluster, topic, &format!("staging.{topic}"), partition, 7);
    // Who leaves gives back what it has, and nobody waits for a release that nobody will make.
    let started = Instant::now();
    drop(second);
    wait_for(&first, "alone again", |assignment| partitions(assignment) == all());
    assert!(started.elapsed() < member_options(topic).release_timeout, "it took {:?}", started.elapsed());

    // The third waits for no longer than a release may take.
    let third = KafkaMembership::join(&options(cluster), &member_options(topic)).unwrap();
    let shared = |assignment: &Assignment| assignment.partitions.len() == 2;
    let until = Instant::now() + DEADLINE;
    while !shared(&third.assignment().unwrap()) {
        assert!(Instant::now() < until, "a member that releases nothing keeps its partitions");
        std::thread::sleep(Duration::from_millis(50));
    }
}
