//! Two processes with jobs share the partitions of a log in Apache Kafka, one is killed, the other takes over, and every
//! event counts once.

use marquee_test_servers::{KafkaCluster, kafka_is_here};

use crate::players::Players;
use crate::roles::Deployment;

#[test]
fn a_killed_process_is_taken_over_and_every_event_counts_once() {
    if !kafka_is_here("cluster::a_killed_process_is_taken_over_and_every_event_counts_once") {
        return;
    }
    let cluster = KafkaCluster::start(1);
    let deployment = Deployment::new(&cluster);
    let mut first = deployment.start("first", "jobs");
    first.wait_for_all_partitions();
    let mut second = deployment.start("second", "jobs");
    second.wait_for_a_share();
    let mut collector = deployment.start("collector", "collector");
    let players = Players::start(&collector.address(), 7);
    players.acknowledged(300);
    // Killed in the middle of its epochs: much of what was posted is in none.
    first.kill();
    players.acknowledged(300);
    let sent = players.finish();
    assert_eq!(sent.refused_events, 0, "the log is well");
    second.wait_for_all_partitions();
    deployment.check(collector, vec![second], &sent);
}
