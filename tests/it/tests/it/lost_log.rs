//! A log that no longer has what a shard needs next: the shard halts, says what to do and changes nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use marquee_events::{ContentType, ErrorKind, ManualClock};
use marquee_jobs::{PLAYBACK_TOPIC, Playback, PlaybackMode};
use marquee_lake::tables;
use marquee_log_embedded::{EmbeddedLog, EmbeddedLogOptions};
use marquee_stream::{
    NewRecord, PartitionLog, RecordHeader, RecordType, Route, Runtime, RuntimeEnv, RuntimeSettings, StreamError,
    TopicSpec,
};
use object_store::ObjectStore as _;
use object_store::memory::InMemory;

use crate::memory_lake::{MemoryLake, shared};

const START_MS: i64 = 1_700_000_000_000;
const RETENTION_MS: i64 = 60_000;

fn log(folder: &Path) -> Arc<dyn PartitionLog> {
    let options = EmbeddedLogOptions { segment_max_bytes: 1, ..Default::default() };
    let log = EmbeddedLog::open(folder, options).expect("a log");
    let topic = TopicSpec { name: PLAYBACK_TOPIC.into(), partitions: 1, retention_ms: RETENTION_MS };
    log.ensure_topic(&topic).expect("a topic");
    Arc::new(log)
}

/// A shard's surroundings that outlive its log.
struct Surroundings {
    tokio: tokio::runtime::Runtime,
    lake: Arc<MemoryLake>,
    store: Arc<InMemory>,
}

impl Surroundings {
    fn new() -> Self {
        let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        Self { tokio, lake: shared(), store: Arc::new(InMemory::new()) }
    }

    /// Three records of no use to anybody: dead letters.
    fn append_three(&self, log: &dyn PartitionLog) {
        for _ in 0..3 {
            let header = RecordHeader {
                record_type: RecordType::ViewEvents(ContentType::Protobuf),
                received_at_ms: START_MS,
                event_count: 1,
            };
            let record = NewRecord { route: Route::Partition(0), header, payload: vec![0xff].into() };
            self.tokio.block_on(log.append(PLAYBACK_TOPIC, vec![record])).expect("the log takes it");
        }
    }

    fn start(&self, log: &Arc<dyn PartitionLog>) -> Runtime {
        let env = RuntimeEnv {
            log: log.clone(),
            lake: self.lake.clone(),
            store: self.store.clone(),
            state_root: "state".into(),
            clock: Arc::new(ManualClock::new(START_MS)),
            handle: self.tokio.handle().clone(),
            writer_id: "one".into(),
        };
        let settings = RuntimeSettings { epoch_interval_ms: 0, ..Default::default() };
        let job: Arc<dyn marquee_stream::Job> = Arc::new(Playback::new(PlaybackMode::Live));
        Runtime::start(&env, &settings, &[(job, PLAYBACK_TOPIC.to_owned())]).expect("the jobs start")
    }

    /// A shard takes three records into the lake.
    fn run_once(&self, log: &Arc<dyn PartitionLog>) {
        let jobs = self.start(log);
        self.append_three(log.as_ref());
        assert!(jobs.drain(log.as_ref(), Duration::from_secs(60)).expect("the log answers"));
        jobs.stop().expect("a graceful stop");
    }

    /// What a start in front of this log must say.
    fn check_halt(&self, log: &Arc<dyn PartitionLog>, sentence: &str) {
        let before = (self.stored(), self.lake.rows(&tables::EPOCHS));
        let error = self.start(log).stop().expect_err("the shard halts");
        assert_eq!(error.kind(), ErrorKind::Damaged);
        assert_eq!(error.to_string(), "shard playback/playback/0 cannot read the log");
        let StreamError::Log { source, .. } = error else { panic!("{error:?}") };
        assert_eq!(source.to_string(), sentence);
        assert_eq!((self.stored(), self.lake.rows(&tables::EPOCHS)), before, "nothing is changed");
    }

    /// Every manifest, snapshot and mark, by path and size.
    fn stored(&self) -> Vec<(String, u64)> {
        use futures::TryStreamExt as _;
        let objects: Vec<_> = self.tokio.block_on(self.store.list(None).try_collect()).expect("a list");
        let mut stored: Vec<_> = objects.iter().map(|o| (o.location.to_string(), o.size)).collect();
        stored.sort();
        stored
    }
}

#[test]
fn a_shard_whose_offset_has_expired_halts() {
    let folder = tempfile::tempdir().expect("a folder");
    let around = Surroundings::new();
    let log = log(folder.path());
    around.run_once(&log);
    // The log begins new segments beside the writer: how soon an old record goes is its own affair.
    let deadline = Instant::now() + Duration::from_secs(60);
    let start = loop {
        around.append_three(log.as_ref());
        log.enforce_retention(START_MS + RETENTION_MS + 1).expect("the log answers");
        let start = log.bounds(PLAYBACK_TOPIC, 0).expect("the log answers").start;
        if start > 3 {
            break start;
        }
        assert!(Instant::now() < deadline, "the log keeps offset 3");
    };
    around.check_halt(
        &log,
        &format!(
            "offset 3 of playback/0 has expired, the log starts at {start}: restore the log from a copy, and raise the \
             topic's retention before it happens again"
        ),
    );
}

#[test]
fn a_shard_that_is_ahead_of_its_log_halts() {
    let folder = tempfile::tempdir().expect("a folder");
    let around = Surroundings::new();
    around.run_once(&log(&folder.path().join("first")));
    around.check_halt(
        &log(&folder.path().join("second")),
        "offset 3 of playback/0 lies beyond the log's end 0: this log is not the one that the lake was written from; \
         start with that one, or restore it from a copy",
    );
}
