//! SIGKILL at every fail point of a real process, on the 1st, 2nd and 7th pass, then a restart: nothing lost, nothing
//! twice, and every session as DuckDB recomputes it from bronze. Recovery is killed, too. Once with everything in a home,
//! once more (`kafka::`) with the log in Kafka, and (`bucket::`) with lake and state in a bucket.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use marquee_events::proto::ViewEventBatch;
use marquee_events::{Clock as _, SystemClock};
use marquee_sources::{BenchPlan, generate_bench};
use rand::{SeedableRng as _, rngs::StdRng};

use crate::child::Up;
use crate::disorder::disorder;
use crate::oracle;
use crate::site::{Place, Site};

/// A kill that does not come within this time never comes.
const KILL_DEADLINE: Duration = Duration::from_secs(40);

const SIGKILL: i32 = 9;

/// What the players send: whole sessions in small batches, neighbours swapped, a tenth of them twice.
struct Workload {
    batches: Vec<ViewEventBatch>,
    next: usize,
    /// Keys of acknowledged or possibly stored events.
    sent: BTreeSet<(String, u64)>,
}

impl Workload {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let now_ms = SystemClock::default().now_ms();
        let mut batches: Vec<_> =
            generate_bench(BenchPlan { events_per_batch: 5, ..BenchPlan::new(1_200, now_ms - 3_600_000, seed) })
                .map(|batch| ViewEventBatch { sent_at_ms: 0, ..batch })
                .collect();
        disorder(&mut batches, &mut rng);
        Self { batches, next: 0, sent: BTreeSet::new() }
    }

    /// Posts the next batch until it is acknowledged; false when the process is gone. With nothing left to send, it
    /// repeats old batches: retries are part of life.
    fn post_next(&mut self, up: &Up, repeat: bool) -> bool {
        if self.next >= self.batches.len() && !repeat {
            return false;
        }
        let batch = &self.batches[self.next % self.batches.len()];
        let session = batch.context.as_ref().map(|c| c.session_id.clone()).unwrap_or_default();
        self.sent.extend(batch.events.iter().map(|event| (session.clone(), event.sequence)));
        let acknowledged = up.post(batch);
        self.next += usize::from(acknowledged);
        acknowledged
    }
}

/// Starts a process that will kill itself at `kill_at`, feeds it until it has, and fails when it does not or ends in
/// any other way.
fn run_until_killed(site: &Site, workload: &mut Workload, kill_at: &str) {
    let status = match site.up(&[("KILL_AT", kill_at)]) {
        Err(status) => status,
        Ok(mut up) => feed_until_ended(&mut up, workload, kill_at),
    };
    assert_eq!(status.signal(), Some(SIGKILL), "{kill_at}: {status}");
}

fn feed_until_ended(up: &mut Up, workload: &mut Workload, what: &str) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = up.ended(Duration::from_millis(8)) {
            return status;
        }
        workload.post_next(up, true);
        assert!(started.elapsed() < KILL_DEADLINE, "{what} was never reached");
    }
}

/// Runs what is left without a fault, stops gracefully and checks everything.
fn finish_and_check(site: &Site, workload: &mut Workload, environment: &[(&str, &str)]) {
    let mut up = site.up(environment).unwrap_or_else(|status| panic!("up starts: {status}"));
    while workload.post_next(&up, false) {}
    assert!(workload.next >= workload.batches.len(), "every batch is acknowledged in the end");
    assert!(up.drained("playback"), "the process lives");
    up.stop();
    let found = oracle::recompute(&site.lake(), "playback", site.log_events("playback"));
    assert_eq!(found["sessions"].as_u64(), Some(60));
    let distinct = "SELECT count(*) FROM (SELECT DISTINCT session_id, player_instance, sequence FROM events)";
    assert_eq!(site.number(distinct), workload.sent.len() as u64);
    assert_eq!(site.number("SELECT sum(event_count) FROM sessions"), workload.sent.len() as u64);
    assert!(site.number("SELECT count(*) FROM events") > workload.sent.len() as u64, "duplicates are kept");
}

fn kill_on_passes(place: Place, name: &str, passes: &[u32]) {
    let Some(site) = Site::new(place, &format!("{name} with {place:?}")) else { return };
    let mut workload = Workload::new(passes.len() as u64 + name.len() as u64);
    for pass in passes {
        run_until_killed(&site, &mut workload, &format!("{name}:{pass}"));
    }
    finish_and_check(&site, &mut workload, &[]);
}

/// Rolling forward needs an undone epoch, so each of its kills follows another.
fn kill_while_rolling_forward(place: Place) {
    let Some(site) = Site::new(place, &format!("recovery-rolled-forward with {place:?}")) else { return };
    let mut workload = Workload::new(99);
    for pass in [1, 2, 7] {
        run_until_killed(&site, &mut workload, &format!("manifest-after-create:{pass}"));
        run_until_killed(&site, &mut workload, "recovery-rolled-forward:1");
    }
    finish_and_check(&site, &mut workload, &[]);
}

/// A create or a commit that landed and whose answer was lost is recognised.
fn lose_replies(place: Place) {
    for points in ["manifest-reply-lost=5*return", "delta-commit-reply-lost=5*return"] {
        let Some(site) = Site::new(place, &format!("{points} with {place:?}")) else { return };
        finish_and_check(&site, &mut Workload::new(7), &[("FAILPOINTS", points)]);
    }
}

macro_rules! kill {
    ($place:ident: $($test:ident: $point:literal,)*) => {
        $(#[test]
        fn $test() {
            kill_on_passes(Place::$place, $point, &[1, 2, 7]);
        })*

        #[test]
        fn recovery_rolled_forward() {
            kill_while_rolling_forward(Place::$place);
        }

        #[test]
        fn lost_replies_are_resolved() {
            lose_replies(Place::$place);
        }
    };
}

macro_rules! kills {
    (
        embedded_log: { $($log_test:ident: $log_point:literal,)* }
        local_disk: { $($disk_test:ident: $disk_point:literal,)* }
        everywhere: { $($test:ident: $point:literal,)* }
    ) => {
        kill! { Home: $($log_test: $log_point,)* $($disk_test: $disk_point,)* $($test: $point,)* }

        mod kafka {
            use super::*;
            kill! { Kafka: $($disk_test: $disk_point,)* $($test: $point,)* }
        }

        mod bucket {
            use super::*;
            kill! { Bucket: $($test: $point,)* }
        }

        const KILLED: &[&str] = &[$($log_point,)* $($disk_point,)* $($point,)*];
    };
}

kills! {
    embedded_log: {
        log_before_commit: "log-before-commit",
        log_after_commit_before_ack: "log-after-commit-before-ack",
    }
    local_disk: {
        store_before_sync: "store-before-sync",
    }
    everywhere: {
        shard_after_poll: "shard-after-poll",
        parquet_before_write: "parquet-before-write",
        parquet_after_write: "parquet-after-write",
        snapshot_before_write: "snapshot-before-write",
        manifest_before_create: "manifest-before-create",
        manifest_after_create: "manifest-after-create",
        commit_before_tables: "commit-before-tables",
        delta_before_commit: "delta-before-commit",
        delta_after_commit: "delta-after-commit",
        commit_between_tables: "commit-between-tables",
        commit_before_publish: "commit-before-publish",
        commit_before_done: "commit-before-done",
        commit_after_done: "commit-after-done",
        recovery_start: "recovery-start",
        recovery_restored: "recovery-restored",
    }
}

/// A full disk stops the process with one sentence; with room again it goes on where it was.
#[test]
fn a_full_disk_halts_and_loses_nothing() {
    let site = Site::new(Place::Home, "a full disk").expect("it needs no server");
    let mut workload = Workload::new(13);
    let mut up = site.up(&[("FAILPOINTS", "store-before-sync=200*off->return")]).expect("up starts");
    let status = feed_until_ended(&mut up, &mut workload, "a full disk");
    assert_eq!(status.code(), Some(4), "a dependency is unavailable");
    drop(up);
    finish_and_check(&site, &mut workload, &[]);
}

/// Every fail point of the sources is in a test: a new one without a test fails here.
#[test]
fn every_fail_point_is_tested() {
    let elsewhere = ["manifest-reply-lost", "delta-commit-reply-lost", "recovery-rolled-forward", "online-read"];
    let mut tested: BTreeSet<&str> = KILLED.iter().copied().collect();
    tested.extend(elsewhere);
    // By log-kafka's own tests, against a broker.
    tested.extend(["kafka-ledger-claimed", "kafka-ledger-half-sent", "kafka-ledger-sent", "kafka-ledger-done"]);
    tested.extend(crate::features::KILLED);
    tested.extend(crate::recompute::KILLED);
    tested.extend(crate::growth::KILLED);
    let mut found = BTreeSet::new();
    for file in crate::tidy::rust_files() {
        if file.starts_with(oracle::root().join("tests")) {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a source file");
        for rest in text.split("fail_point!(\"").skip(1) {
            found.insert(rest.split('"').next().unwrap_or_default().to_owned());
        }
    }
    assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), tested);
}
