//! Topics that grow while sessions are open: nothing is lost, nothing counts twice, and a session that was open across the
//! growth is one. On the embedded log, killed at every step, and on Kafka under load.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use marquee_events::proto::ViewEventBatch;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;

use crate::child::{self, Up};
use crate::oracle;
use crate::order::session;
use crate::players::Players;
use crate::recompute::{DAY_MS, HOUR_MS, Story, check_same, outcome, recompute, report};
use crate::roles::{Deployment, PARTITIONS};
use crate::site::{Place, Site};

const SIGKILL: i32 = 9;

/// A kill that does not come within this time never comes.
const KILL_DEADLINE: Duration = Duration::from_secs(40);

/// The fail points that only these tests kill at.
pub const KILLED: &[&str] = &["grow-sealed", "grow-made", "fork-before-end", "fork-after-end"];

fn start(home: &Path, environment: &[(&str, &str)]) -> Up {
    let settings = [("MARQUEE_LOG__PARTITIONS", "2")];
    Up::start(home, &settings.into_iter().chain(environment.iter().copied()).collect::<Vec<_>>()).expect("up starts")
}

fn grow(home: &Path, arguments: &[&str], kill_at: Option<&str>) -> Output {
    let mut command = child::marquee(home);
    command.args(["log", "grow"]).args(arguments).envs(kill_at.map(|point| ("KILL_AT", point)));
    command.output().expect("the binary starts")
}

fn grow_to(home: &Path, partitions: &str) -> Value {
    let output = grow(home, &["playback", "--partitions", partitions, "--json"], None);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The batches of a story, some neighbours in time swapped; in the end somebody plays a day later in each of eight
/// partitions, so that the watermarks pass all that came before.
fn batches(story: &Story, seed: u64) -> Vec<ViewEventBatch> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut timed = story.batches.clone();
    for at in 1..timed.len() {
        if timed[at].0 - timed[at - 1].0 < HOUR_MS && rng.random_bool(0.3) {
            timed.swap(at - 1, at);
        }
    }
    let far = |index: usize| {
        let (mut kinds, mut gaps) = ([25; 10], [1_000; 10]);
        (kinds[9], gaps[0]) = (10, 4 * DAY_MS);
        session(1_000 + index, &kinds, &gaps)
    };
    timed.into_iter().map(|(_, batch)| batch).chain((0..60).map(far)).collect()
}

fn post(up: &mut Up, batches: &[ViewEventBatch]) {
    for batch in batches {
        assert!(up.post(batch));
    }
}

/// What it is when it never grows.
fn undisturbed(folder: &Path, batches: &[ViewEventBatch]) -> [Vec<Value>; 3] {
    let home = folder.join("undisturbed");
    let mut up = start(&home, &[]);
    post(&mut up, batches);
    assert!(up.drained("playback"));
    up.stop();
    outcome(&home)
}

fn check(home: &Path, expected: &[Vec<Value>; 3], generations: &[u32]) {
    check_same(&outcome(home), expected);
    let log_events = child::log_events(home, "playback");
    oracle::recompute_grown(&home.join("lake"), "playback", log_events, generations);
}

#[test]
fn a_topic_grows_twice_in_the_middle_of_sessions() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    let batches = batches(&Story::new(21), 21);
    let expected = undisturbed(folder.path(), &batches);
    let [first, second, third] = [0, 1, 2].map(|part| {
        let at = |part: usize| batches.len() * part / 3;
        &batches[at(part)..at(part + 1)]
    });

    let mut up = start(&home, &[]);
    post(&mut up, first);
    // Stopped with epochs that are not in the lake yet, or not even decided.
    up.stop();
    let open = child::number(&home, "SELECT count(*) FROM sessions WHERE NOT is_final");
    assert!(open > 5, "{open} sessions are open");
    let report = grow_to(&home, "4");
    assert_eq!((report["generation"].as_u64(), report["first_partition"].as_u64()), (Some(2), Some(2)), "{report}");
    assert_eq!(grow_to(&home, "4")["is_new"].as_bool(), Some(false), "it has grown");
    let mut up = start(&home, &[]);
    let running = grow(&home, &["playback", "--partitions", "8"], None);
    assert_eq!(running.status.code(), Some(4), "{}", String::from_utf8_lossy(&running.stderr));
    post(&mut up, second);
    drop(up); // killed
    grow_to(&home, "8");
    let mut up = start(&home, &[]);
    post(&mut up, third);
    assert!(up.drained("playback"));
    up.stop();
    check(&home, &expected, &[2, 4, 8]);
    let partitions = child::number(&home, "SELECT count(DISTINCT partition) FROM events");
    assert_eq!(partitions, 14, "each of them had some");
    // A session has bronze in partitions of two generations, and is one.
    let across = "SELECT count(*) FROM (SELECT session_id FROM events GROUP BY session_id, player_instance \
                  HAVING count(DISTINCT partition) > 1)";
    assert!(child::number(&home, across) > 5, "sessions were open across the growth");
    start(&home, &[]).stop();
    check(&home, &expected, &[2, 4, 8]);
}

#[test]
fn what_cannot_grow_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    let refused = |arguments: &[&str], exit_code: i32, words: &str| {
        let output = grow(&home, arguments, None);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(exit_code) && stderr.contains(words), "{arguments:?}: {stderr}");
    };
    refused(&["playback", "--partitions", "4"], 2, "there is no log");
    start(&home, &[]).stop();
    refused(&["playback", "--partitions", "3"], 3, "has 2 partitions and grows to a multiple");
    refused(&["playback", "--partitions", "1"], 3, "has 2 partitions and grows to a multiple");
    refused(&["interactions", "--partitions", "4"], 3, "cannot be split");
    refused(&["qoe-live", "--partitions", "2"], 3, "cannot grow");
    refused(&["nothing", "--partitions", "4"], 3, "there is no such topic");
    start(&home, &[]).stop(); // nothing was changed
}

/// Each step of a growth is interrupted once, the parents' last epochs and the heirs' first ones, too.
#[test]
fn killed_at_every_step() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    let batches = batches(&Story::new(22), 22);
    let expected = undisturbed(folder.path(), &batches);
    let (first, second) = batches.split_at(batches.len() / 2);
    let mut up = start(&home, &[]);
    post(&mut up, first);
    drop(up);
    for point in ["grow-sealed:1", "grow-made:1"] {
        let output = grow(&home, &["playback", "--partitions", "4"], Some(point));
        assert_eq!(output.status.signal(), Some(SIGKILL), "{point}: {}", String::from_utf8_lossy(&output.stderr));
        if point == "grow-sealed:1" {
            // Nobody has finished it: what is sent is refused, and the jobs go on.
            let up = start(&home, &[]);
            assert!(!up.post(&second[0]), "the topic has ended");
            up.stop();
        }
    }
    assert_eq!(grow_to(&home, "4")["is_new"].as_bool(), Some(false), "all of it was done");
    let points = [
        "fork-before-end:1",
        "fork-after-end:1",
        "recovery-restored:1",
        "snapshot-before-write:1",
        "manifest-before-create:2",
        "manifest-after-create:1",
        "commit-before-tables:1",
        "commit-between-tables:2",
        "recovery-rolled-forward:1",
        "manifest-after-create:2",
    ];
    let mut second = second.iter();
    for point in points {
        let settings = [("MARQUEE_LOG__PARTITIONS", "2"), ("KILL_AT", point)];
        let status = match Up::start(&home, &settings) {
            Err(status) => status,
            Ok(mut up) => {
                // What it does by itself, or with a few more events.
                for batch in second.by_ref().take(2) {
                    while !up.post(batch) && up.ended(Duration::from_millis(20)).is_none() {}
                }
                up.ended(KILL_DEADLINE).unwrap_or_else(|| panic!("{point} was never reached"))
            }
        };
        assert_eq!(status.signal(), Some(SIGKILL), "{point}: {status}");
    }
    let mut up = start(&home, &[]);
    post(&mut up, &batches[batches.len() / 2..]);
    assert!(up.drained("playback"));
    up.stop();
    let log_events = child::log_events(&home, "playback");
    oracle::recompute_grown(&home.join("lake"), "playback", log_events, &[2, 4]);
    let [sessions, minutes, bronze] = outcome(&home);
    let without_copies = |rows: &[Value]| -> Vec<Value> {
        let mut rows = rows.to_vec();
        for row in &mut rows {
            row["copies"] = Value::Null;
        }
        rows
    };
    // What a killed collector had taken was sent again.
    check_same(
        &[without_copies(&sessions), minutes, bronze],
        &[without_copies(&expected[0]), expected[1].clone(), expected[2].clone()],
    );
}

/// Two processes with jobs and a collector that know nothing of it, while players post. Others that know both generations
/// come, and only then those of before go.
#[test]
fn a_topic_in_kafka_grows_under_load() {
    let Some(site) = Site::new(Place::Kafka, "growth::a_topic_in_kafka_grows_under_load") else { return };
    let deployment = Deployment::at(site);
    let mut first = deployment.start("first", "jobs");
    first.wait_for_all_partitions();
    let mut second = deployment.start("second", "jobs");
    second.wait_for_a_share();
    let mut collector = deployment.start("collector", "collector");
    let players = Players::start(&collector.address(), 31);
    players.acknowledged(200);
    deployment.grow(2 * PARTITIONS);
    players.acknowledged(200);
    let mut third = deployment.start("third", "jobs");
    third.wait_for_a_share();
    players.acknowledged(100);
    deployment.grow(2 * PARTITIONS); // again: nothing changes
    first.stop();
    let mut fourth = deployment.start("fourth", "jobs");
    fourth.wait_for_a_share();
    second.kill();
    players.acknowledged(100);
    let sent = players.finish();
    third.stop();
    fourth.wait_for_partitions(4 * PARTITIONS);
    deployment.check_grown(collector, vec![fourth], &sent, &[PARTITIONS, 2 * PARTITIONS]);
}

/// Events of sessions from before the growth that come days late, before it and after it, are folded into them: by a
/// recompute that is asked once, after it, and, in another home, once before it, too.
#[test]
fn late_events_of_before_are_recomputed_after() {
    let folder = tempfile::tempdir().expect("a folder");
    let story = Story::new(7);
    let (timely, late) = story.timely_and_late();
    let fars = &batches(&story, 7)[story.batches.len()..];
    let in_time: Vec<ViewEventBatch> = story.in_time().into_iter().chain(fars).cloned().collect();
    let expected = undisturbed(folder.path(), &in_time);
    let some = |batches: &[&ViewEventBatch]| batches.iter().map(|batch| (*batch).clone()).collect::<Vec<_>>();
    for recomputes_before in [false, true] {
        let home = folder.path().join(format!("home-{recomputes_before}"));
        let (early, rest) = late.split_at(late.len() / 3);
        let mut up = start(&home, &[]);
        post(&mut up, &some(&timely));
        post(&mut up, &some(early));
        assert!(up.drained("playback"));
        up.stop();
        if recomputes_before {
            let report = report(&home, &[]);
            assert!(report["late_events"].as_u64() > Some(0), "{report}");
        }
        grow_to(&home, "4");
        if !recomputes_before {
            // Nobody has gone on from the old shards: they can be recomputed as they are.
            assert!(recompute(&home, &["--shard", "0/2"]).status().expect("the binary starts").success());
        }
        let mut up = start(&home, &[]);
        post(&mut up, &some(rest));
        post(&mut up, fars);
        assert!(up.drained("playback"));
        let uncounted = child::number(&home, "SELECT count(*) FROM late_events")
            - child::number(&home, "SELECT count(*) FROM recomputed_events");
        assert!(uncounted > 50, "{uncounted}");
        let beside = report(&home, &[]);
        assert_eq!(beside["late_events"].as_u64(), Some(uncounted), "{beside}");
        up.stop();
        assert_eq!(report(&home, &[])["sessions"].as_u64(), Some(0), "asking again changes nothing");
        check(&home, &expected, &[2, 4]);
        start(&home, &[]).stop();
        check(&home, &expected, &[2, 4]);
    }
}

/// An import that is under way: chunks of before are not taken again, and its end closes the sessions of all of them.
#[test]
fn an_import_goes_on_across_a_growth() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    let chunks: Vec<Vec<ViewEventBatch>> = (0..3)
        .map(|chunk| {
            // Every session has a part in each chunk.
            let part = |index| {
                let whole = session(index, &[25; 12], &[1_000; 12]);
                let events = whole.events[4 * chunk..4 * chunk + 4].to_vec();
                ViewEventBatch { events, ..whole }
            };
            (0..30).map(part).collect()
        })
        .collect();
    let mut up = start(&home, &[]);
    up.post_chunk("films", 0, &chunks[0]);
    up.post_chunk("films", 1, &chunks[1]);
    assert!(up.drained("playback-import"));
    up.stop();
    let output = grow(&home, &["playback-import", "--partitions", "6"], None);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut up = start(&home, &[]);
    up.post_chunk("films", 1, &chunks[1]);
    up.post_chunk("films", 2, &chunks[2]);
    up.finish_import("films", 3);
    up.finish_import("films", 3);
    assert!(up.drained("playback-import"));
    up.stop();
    let log_events = child::log_events(&home, "playback-import");
    assert_eq!(log_events, 30 * 12, "no chunk was taken twice");
    let found = oracle::recompute_grown(&home.join("lake"), "playback-import", log_events, &[2, 6]);
    assert_eq!(found["sessions"].as_u64(), Some(30));
    let closed = "SELECT count(*) FROM sessions WHERE is_final AND event_count = 12 AND close_reason = 'end_of_input'";
    assert_eq!(child::number(&home, closed), 30);
}
