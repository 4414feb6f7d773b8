//! One role a process on a log in Apache Kafka: two processes with jobs share the partitions, one is killed, the other
//! takes over, and every event counts once.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use marquee_events::proto::ViewEventBatch;
use marquee_events::{Clock as _, SystemClock};
use marquee_sources::{BenchPlan, generate_bench};
use marquee_test_servers::{KafkaCluster, kafka_is_here};
use prost::Message as _;

use crate::child::{self, DEADLINE};
use crate::oracle;

const PARTITIONS: usize = 4;
const EVENTS: u64 = 4_000;
const SESSIONS: u64 = 200;

/// A process with one role.
struct Role {
    child: Child,
    stderr: PathBuf,
}

impl Role {
    fn start(home: &Path, cluster: &KafkaCluster, name: &str, role: &str) -> Self {
        let stderr = home.parent().expect("a home lies in a folder").join(name);
        let mut command: Command = child::marquee(home);
        command
            .arg(role)
            .env("MARQUEE_LOG__ADAPTER", "kafka")
            .env("MARQUEE_LOG__KAFKA__BOOTSTRAP_SERVERS", cluster.bootstrap_servers())
            .env("MARQUEE_LOG__KAFKA__REPLICATION_FACTOR", "1")
            .env("MARQUEE_LOG__KAFKA__MIN_INSYNC_REPLICAS", "1")
            .env("MARQUEE_LOG__PARTITIONS", PARTITIONS.to_string())
            .env("MARQUEE_JOBS__EPOCH_INTERVAL_MS", "300")
            .stdout(Stdio::null())
            .stderr(File::create(&stderr).expect("a file"));
        Self { child: command.spawn().expect("the binary starts"), stderr }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.stderr).expect("a file")
    }

    /// Waits until `found` sees what it looks for in what the process has said.
    fn wait_for<T>(&mut self, what: &str, found: impl Fn(&str) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            let said = self.said();
            if let Some(found) = found(&said) {
                return found;
            }
            let ended = self.child.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "the process ended ({ended:?}) before it said {what}: {said}");
            assert!(started.elapsed() < DEADLINE, "it never said {what}: {said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// How many partitions it works on now.
    fn partitions(said: &str) -> usize {
        let last = said.lines().rev().find_map(|line| line.strip_prefix("partitions ")).unwrap_or_default();
        last.split_whitespace().filter(|word| word.contains('/')).count()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn post(address: &str, batches: &[ViewEventBatch]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client = reqwest::Client::new();
    for batch in batches {
        let status = runtime.block_on(async {
            let request = client.post(format!("{address}/v1/events")).header("content-type", "application/x-protobuf");
            request.body(batch.encode_to_vec()).send().await.expect("an answer").status().as_u16()
        });
        assert_eq!(status, 202);
    }
}

fn wait_for_sessions(home: &Path, events: u64) {
    let started = Instant::now();
    while child::number(home, "SELECT sum(event_count) FROM sessions WHERE is_final") < events {
        assert!(started.elapsed() < DEADLINE, "the sessions do not come into the lake");
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn a_killed_process_is_taken_over_and_every_event_counts_once() {
    if !kafka_is_here("cluster::a_killed_process_is_taken_over_and_every_event_counts_once") {
        return;
    }
    let cluster = KafkaCluster::start(1);
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    let mut first = Role::start(&home, &cluster, "first", "jobs");
    first.wait_for("all partitions", |said| (Role::partitions(said) == 2 * PARTITIONS).then_some(()));
    let mut second = Role::start(&home, &cluster, "second", "jobs");
    second.wait_for("a share of the partitions", |said| (Role::partitions(said) > 0).then_some(()));
    let mut collector = Role::start(&home, &cluster, "collector", "collector");
    let address = collector.wait_for("its address", |said| {
        let line = said.lines().find_map(|line| line.strip_prefix("collector"))?;
        line.split_whitespace().next().map(str::to_owned)
    });
    let start_ms = SystemClock::default().now_ms() - 3_600_000;
    let batches: Vec<ViewEventBatch> =
        generate_bench(BenchPlan { sessions: SESSIONS, events_per_batch: 5, ..BenchPlan::new(EVENTS, start_ms, 7) })
            .map(|batch| ViewEventBatch { sent_at_ms: 0, ..batch })
            .collect();
    let (before, after) = batches.split_at(batches.len() / 2);
    post(&address, before);
    // Killed in the middle of its epochs: half of what was posted may be in none.
    first.child.kill().expect("it lives");
    first.child.wait().expect("it can be waited for");
    post(&address, after);
    second.wait_for("all partitions", |said| (Role::partitions(said) == 2 * PARTITIONS).then_some(()));
    wait_for_sessions(&home, EVENTS);
    let found = oracle::recompute(&home.join("lake"), "playback", EVENTS);
    assert_eq!(found["sessions"].as_u64(), Some(SESSIONS));
    assert_eq!(child::number(&home, "SELECT count(*) FROM events"), EVENTS, "nothing twice");
    assert_eq!(child::number(&home, "SELECT sum(event_count) FROM sessions WHERE is_final"), EVENTS);
}
