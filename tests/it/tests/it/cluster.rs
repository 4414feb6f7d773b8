//! Two processes with jobs share the partitions of a log in Apache Kafka, one is killed, the other takes over, and every
//! event counts once. On one home, and on homes of their own with lake and state in a bucket.

use crate::players::Players;
use crate::roles::Deployment;
use crate::site::{Place, Site};

#[test]
fn a_killed_process_is_taken_over_and_every_event_counts_once() {
    kill_one_of_two(Place::Kafka, ["home"; 3]);
}

#[test]
fn processes_with_homes_of_their_own_share_a_bucket() {
    kill_one_of_two(Place::KafkaAndBucket, ["one", "two", "three"]);
}

fn kill_one_of_two(place: Place, homes: [&str; 3]) {
    let Some(site) = Site::new(place, &format!("a killed process with {place:?}")) else { return };
    let deployment = Deployment::at(site);
    let mut first = deployment.start_in(homes[0], "first", "jobs", &[]);
    first.wait_for_all_partitions();
    let mut second = deployment.start_in(homes[1], "second", "jobs", &[]);
    second.wait_for_a_share();
    let mut collector = deployment.start_in(homes[2], "collector", "collector", &[]);
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
