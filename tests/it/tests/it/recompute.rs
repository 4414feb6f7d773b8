//! `marquee lake recompute`: what came two days late ends in the same numbers as if it had come in time; killed at any
//! point, run twice, in parts and beside running services.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use marquee_events::proto::{ViewEvent, ViewEventBatch};
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;

use crate::child::{self, Up};
use crate::oracle;
use crate::order::{SESSION_COLUMNS, START_MS, session};

pub(crate) const HOUR_MS: i64 = 60 * 60 * 1000;
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;

/// The days of the hour that comes late: it begins at 22:13.
const DAYS: [&str; 4] = ["--from", "2023-11-14", "--to", "2023-11-14"];

/// What players did in some hours, cut into batches, each with the time at which it should have come.
pub(crate) struct Story {
    pub(crate) batches: Vec<(i64, ViewEventBatch)>,
}

impl Story {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut batches = Vec::new();
        for index in 0..40 {
            // Most are in the hour; some begin before it or end after it, some of them days later.
            let events = rng.random_range(4..24);
            let kinds: Vec<u8> = (0..events).map(|_| rng.random()).collect();
            let mut gaps: Vec<i64> = (0..events).map(|_| rng.random_range(0..120_000)).collect();
            gaps[0] = rng.random_range(0..HOUR_MS);
            if index % 8 == 7 {
                gaps[events / 2] += rng.random_range(DAY_MS..2 * DAY_MS);
            }
            let whole = session(index, &kinds, &gaps);
            let mut events = whole.events.clone();
            while !events.is_empty() {
                // A batch tells of what happened lately.
                let first_ms = events[0].event_time_ms;
                let lately = events.iter().take_while(|event| event.event_time_ms < first_ms + HOUR_MS).count();
                let length = rng.random_range(1..=lately.min(6));
                let mut piece = ViewEventBatch { events: events.drain(..length).collect(), ..whole.clone() };
                let at_ms = piece.events[0].event_time_ms;
                if rng.random_bool(0.1) {
                    batches.push((at_ms, piece.clone()));
                }
                if rng.random_bool(0.1) {
                    // Another id for a sequence, which may win or lose.
                    let copies = piece.events.iter().map(|event| ViewEvent {
                        event_id: if rng.random_bool(0.5) { "a".into() } else { "z".into() },
                        ..event.clone()
                    });
                    batches.push((at_ms, ViewEventBatch { events: copies.collect(), ..piece.clone() }));
                }
                piece.events.shuffle(&mut rng);
                batches.push((at_ms, piece));
            }
        }
        // Others go on for three days, in every partition.
        for index in 0..60 {
            let kinds = [0, 1, 25, 25, 10];
            let gaps = [rng.random_range(2 * DAY_MS..3 * DAY_MS), 500, 10_000, 10_000, 1_000];
            let whole = session(100 + index, &kinds, &gaps);
            batches.push((whole.events[0].event_time_ms, whole));
        }
        batches.sort_by_key(|(at_ms, _)| *at_ms);
        Self { batches }
    }

    /// Whether a batch is of the hour and comes two days late: all of some sessions, half of the others.
    fn is_late(at_ms: i64, batch: &ViewEventBatch) -> bool {
        let player = batch.context.clone().unwrap_or_default().player_instance;
        at_ms < START_MS + 2 * HOUR_MS && (player.ends_with(['0', '5']) || batch.events.len().is_multiple_of(2))
    }

    pub(crate) fn in_time(&self) -> Vec<&ViewEventBatch> {
        self.batches.iter().map(|(_, batch)| batch).collect()
    }

    /// Those that come in time, and those that come after them.
    pub(crate) fn timely_and_late(&self) -> (Vec<&ViewEventBatch>, Vec<&ViewEventBatch>) {
        let (late, timely): (Vec<_>, Vec<_>) = self.batches.iter().partition(|(at_ms, b)| Self::is_late(*at_ms, b));
        (timely.into_iter().map(|(_, batch)| batch).collect(), late.into_iter().map(|(_, batch)| batch).collect())
    }
}

fn post(up: &mut Up, batches: &[&ViewEventBatch]) {
    for batch in batches {
        assert!(up.post(batch));
    }
    assert!(up.drained("playback"));
}

fn start(home: &Path) -> Up {
    Up::start(home, &[("MARQUEE_LOG__PARTITIONS", "2")]).expect("up starts")
}

/// What must not depend on how it came: sessions, minutes, bronze.
pub(crate) fn outcome(home: &Path) -> [Vec<Value>; 3] {
    let columns = SESSION_COLUMNS.join(", ");
    let measures: Vec<String> =
        marquee_qoe::Measure::NAMES.iter().map(|name| format!("sum({name}) AS {name}")).collect();
    let filled: Vec<String> = marquee_qoe::Measure::NAMES.iter().map(|name| format!("{name} <> 0")).collect();
    let dimensions = marquee_jobs::dimension_names().join(", ");
    [
        format!(
            "SELECT session_id, player_instance, duplicates + conflicts AS copies, {columns} FROM sessions \
             ORDER BY session_id, player_instance"
        ),
        format!(
            "SELECT * FROM (SELECT minute, cube_name, {dimensions}, {} FROM qoe_minutes \
             GROUP BY minute, cube_name, {dimensions}) WHERE {} ORDER BY minute, cube_name, {dimensions}",
            measures.join(", "),
            filled.join(" OR ")
        ),
        "SELECT DISTINCT session_id, player_instance, sequence, type, event_time, event_id FROM events \
         ORDER BY session_id, player_instance, sequence, event_id"
            .to_owned(),
    ]
    .map(|query| child::sql(home, &query))
}

pub(crate) fn check_same(found: &[Vec<Value>; 3], expected: &[Vec<Value>; 3]) {
    for (found, expected) in found.iter().zip(expected) {
        let only_found = found.iter().find(|row| !expected.contains(row));
        let only_expected = expected.iter().find(|row| !found.contains(row));
        assert_eq!((only_found, only_expected, found.len()), (None, None, expected.len()));
    }
}

fn check_with_oracle(home: &Path) {
    let log_events = child::log_events(home, "playback");
    oracle::recompute(&home.join("lake"), "playback", log_events);
}

/// The command; services beside it have epochs as short as it is told.
pub(crate) fn recompute(home: &Path, arguments: &[&str]) -> Command {
    let mut command = child::marquee(home);
    command.args(["lake", "recompute"]).args(DAYS).args(arguments);
    command.env("MARQUEE_JOBS__EPOCH_INTERVAL_MS", "150");
    command
}

pub(crate) fn report(home: &Path, arguments: &[&str]) -> Value {
    let output = recompute(home, arguments).arg("--json").output().expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn recompute_killed_at(home: &Path, kill_at: &str) -> Output {
    recompute(home, &[]).env("KILL_AT", kill_at).output().expect("the binary starts")
}

/// A stopped home with late events, and what it should be.
struct Late {
    folder: tempfile::TempDir,
    expected: [Vec<Value>; 3],
}

/// Made once for the tests that run at the same time, removed with the last of them.
fn late_home() -> Arc<Late> {
    static LATE: Mutex<Weak<Late>> = Mutex::new(Weak::new());
    let mut known = LATE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(late) = known.upgrade() {
        return late;
    }
    let story = Story::new(7);
    let folder = tempfile::tempdir().expect("a folder");
    let (in_time, home) = (folder.path().join("in-time"), folder.path().join("home"));
    let mut up = start(&in_time);
    post(&mut up, &story.in_time());
    up.stop();
    assert_eq!(child::number(&in_time, "SELECT count(*) FROM late_events"), 0);
    let expected = outcome(&in_time);
    let mut up = start(&home);
    let (timely, late) = story.timely_and_late();
    post(&mut up, &timely);
    post(&mut up, &late);
    up.stop();
    let late = Arc::new(Late { folder, expected });
    *known = Arc::downgrade(&late);
    late
}

/// A copy of the home, to be changed.
fn copy(late: &Late, to: &Path) -> PathBuf {
    let home = to.join("home");
    let mut folders = vec![(late.folder.path().join("home"), home.clone())];
    while let Some((from, to)) = folders.pop() {
        std::fs::create_dir_all(&to).expect("a folder");
        for entry in std::fs::read_dir(&from).expect("a folder") {
            let entry = entry.expect("an entry");
            let target = to.join(entry.file_name());
            if entry.file_type().expect("a type").is_dir() {
                folders.push((entry.path(), target));
            } else {
                std::fs::copy(entry.path(), target).expect("a copy");
            }
        }
    }
    home
}

#[test]
fn an_hour_that_comes_two_days_late_ends_in_the_same_numbers() {
    let folder = tempfile::tempdir().expect("a folder");
    let late_home = late_home();
    let home = copy(&late_home, folder.path());
    check_with_oracle(&home);
    assert!(outcome(&home) != late_home.expected, "it matters");
    let late = child::number(&home, "SELECT count(*) FROM late_events");
    let sessions =
        child::number(&home, "SELECT count(*) FROM (SELECT DISTINCT session_id, player_instance FROM late_events)");
    let refused = child::run(&home, &["lake", "recompute", "--from", "2023-11-14", "--to", "2023-11-17"]);
    assert_eq!(refused.status.code(), Some(3));
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(message.contains("2023-11-17 is not over") && message.contains("nothing was changed"), "{message}");
    let done = report(&home, &[]);
    assert_eq!((done["sessions"].as_u64(), done["late_events"].as_u64()), (Some(sessions), Some(late)), "{done}");
    check_same(&outcome(&home), &late_home.expected);
    check_with_oracle(&home);
    let files = child::stdout(&home, &["lake", "tables", "--json"]);
    let again = report(&home, &[]);
    assert_eq!((again["sessions"].as_u64(), again["epochs"].as_u64()), (Some(0), Some(0)), "{again}");
    assert_eq!(child::stdout(&home, &["lake", "tables", "--json"]), files, "nothing changes");
    // The shard goes on from there.
    let up = start(&home);
    up.stop();
    check_with_oracle(&home);
}

#[test]
fn parts_make_the_whole_in_any_order_and_at_the_same_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let late_home = late_home();
    let home = copy(&late_home, folder.path());
    let late = child::number(&home, "SELECT count(*) FROM late_events");
    let run = |part: &'static str| {
        let home = home.clone();
        std::thread::spawn(move || report(&home, &["--shard", part]))
    };
    // One part alone, then the others and all of it at the same time.
    let first = run("2/3").join().expect("a report");
    let threads = ["0/3", "1/3", "0/1"].map(run);
    let reports = threads.map(|thread| thread.join().expect("a report"));
    let folded = |report: &Value| report["late_events"].as_u64().expect("a number");
    assert!(folded(&first) > 0 && folded(&first) < late, "{first}");
    assert_eq!(folded(&first) + reports.iter().map(folded).sum::<u64>(), late);
    check_same(&outcome(&home), &late_home.expected);
    check_with_oracle(&home);
}

/// Kills it at each of these points and passes, one after the other, and lets it finish. Whether each is reached is up to
/// `must`: behind a decision there may be nothing left to do.
fn killed_at(home: &Path, points: &[&str], must: bool) {
    for point in points {
        let output = recompute_killed_at(home, point);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let is_done = !must && output.status.success();
        assert!(output.status.signal() == Some(9) || is_done, "{point} {}: {stderr}", output.status);
    }
}

fn finish_and_check(home: &Path, late_home: &Late) {
    report(home, &[]);
    check_same(&outcome(home), &late_home.expected);
    check_with_oracle(home);
}

#[test]
fn killed_before_the_decision() {
    let folder = tempfile::tempdir().expect("a folder");
    let late_home = late_home();
    let home = copy(&late_home, folder.path());
    let points = ["parquet-before-write", "store-before-sync", "parquet-after-write"];
    let passes = |pass: u32| points.map(|point| format!("{point}:{pass}"));
    let points: Vec<String> = passes(1).into_iter().chain(passes(2)).collect();
    killed_at(&home, &points.iter().map(String::as_str).collect::<Vec<_>>(), true);
    killed_at(&home, &["repair-before-write:1", "snapshot-before-write:1", "manifest-before-create:1"], true);
    // These are passed once an epoch: the first shard's is decided then.
    killed_at(&home, &["snapshot-before-write:2", "manifest-before-create:2", "repair-before-write:2"], false);
    finish_and_check(&home, &late_home);
}

/// An epoch that was decided and not committed is rolled forward: by the next recompute, killed there, too, and by
/// services.
#[test]
fn killed_after_the_decision() {
    for services in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let late_home = late_home();
        let home = copy(&late_home, folder.path());
        killed_at(&home, &["manifest-after-create:1", "commit-before-tables:1", "delta-before-commit:1"], true);
        killed_at(&home, &["delta-after-commit:1", "commit-between-tables:1", "repair-rolled-forward:1"], true);
        if services {
            start(&home).stop();
        } else {
            killed_at(&home, &["commit-between-tables:2", "repair-committed:1", "manifest-after-create:1"], false);
        }
        finish_and_check(&home, &late_home);
    }
}

/// The fail points that only these tests kill at.
pub const KILLED: &[&str] = &["repair-before-write", "repair-committed", "repair-rolled-forward"];

/// Services that take events in, and decide epochs all the time, lose some to it and nothing else; late events that come
/// in between are folded by the next call, and so are those of sessions that were folded before.
#[test]
fn beside_running_services() {
    let late_home = late_home();
    let story = Story::new(7);
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    let (timely, late) = story.timely_and_late();
    let mut up = start(&home);
    let (before, after) = timely.split_at(timely.len() - 40);
    post(&mut up, before);
    let (first, rest) = late.split_at(late.len() / 2);
    post(&mut up, first);
    std::thread::scope(|scope| {
        let recomputing = scope.spawn(|| (0..3).map(|_| report(&home, &[])).collect::<Vec<_>>());
        for batch in after.iter().chain(rest) {
            assert!(up.post(batch));
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        recomputing.join().expect("reports");
    });
    assert!(up.drained("playback"));
    report(&home, &[]);
    up.stop();
    check_same(&outcome(&home), &late_home.expected);
    check_with_oracle(&home);
    assert_eq!(
        child::number(&home, "SELECT count(*) FROM late_events"),
        child::number(&home, "SELECT count(*) FROM recomputed_events")
    );
}
