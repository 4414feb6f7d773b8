//! Log, jobs and lake in a temporary folder, as the binary has them; the unit tests use it too. Only the players are
//! missing: whoever uses it appends their batches.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use marquee_dashboards::{LakeQuery, LiveFollower, PartError};
use marquee_events::proto::ViewEventBatch;
use marquee_events::{Clock, ContentType};
use marquee_jobs::{LIVE_TOPIC, LiveRecord, PLAYBACK_TOPIC, Playback, PlaybackMode};
use marquee_lake_delta::{DeltaLake, LakeOptions};
use marquee_log_embedded::{EmbeddedLog, EmbeddedLogOptions};
use marquee_stream::{
    Job, NewRecord, PartitionLog, RecordHeader, RecordType, Route, Runtime, RuntimeEnv, RuntimeSettings, TopicSpec,
};
use object_store::memory::InMemory;
use prost::Message as _;
use tokio::runtime::Handle;

const PARTITIONS: u32 = 2;

/// Nothing here takes a minute.
const PATIENCE: Duration = Duration::from_secs(60);

/// A lake as a part of the dashboards.
pub struct Lake(pub Arc<DeltaLake>);

#[async_trait]
impl LakeQuery for Lake {
    async fn sql(&self, query: &str) -> Result<Vec<RecordBatch>, PartError> {
        let found = self.0.sql(query).await;
        found.map(|(_, rows)| rows).map_err(|error| PartError::new(error.kind(), error.to_string()))
    }
}

/// Everything between a player's batch and the dashboards.
pub struct World {
    pub log: Arc<dyn PartitionLog>,
    pub lake: Arc<DeltaLake>,
    pub follower: Arc<LiveFollower>,
    jobs: Runtime,
    followed: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    following: Option<JoinHandle<()>>,
}

impl World {
    /// Starts everything in `folder`.
    pub async fn start(folder: &Path, clock: Arc<dyn Clock>, epoch_interval_ms: i64) -> Self {
        let log = EmbeddedLog::open(&folder.join("log"), EmbeddedLogOptions::default()).expect("a log");
        for (name, partitions) in [(PLAYBACK_TOPIC, PARTITIONS), (LIVE_TOPIC, 1)] {
            log.ensure_topic(&TopicSpec { name: name.into(), partitions, retention_ms: i64::MAX }).expect("a topic");
        }
        let log: Arc<dyn PartitionLog> = Arc::new(log);
        let lake = DeltaLake::open(&folder.join("lake"), Arc::clone(&clock), LakeOptions::default()).await;
        let lake = Arc::new(lake.expect("a lake"));
        let env = RuntimeEnv {
            log: Arc::clone(&log),
            lake: lake.clone(),
            store: Arc::new(InMemory::new()),
            state_root: "state".into(),
            clock: Arc::clone(&clock),
            handle: Handle::current(),
            writer_id: "fake".to_owned(),
        };
        let settings = RuntimeSettings {
            epoch_interval_ms,
            live_interval_ms: epoch_interval_ms / 4,
            live_topic: Some(LIVE_TOPIC.to_owned()),
            write_threads: 2,
        };
        let job: Arc<dyn Job> = Arc::new(Playback::new(PlaybackMode::Live));
        let jobs = Runtime::start(&env, &settings, &[(job, PLAYBACK_TOPIC.to_owned())]).expect("the jobs start");
        let follower = Arc::new(LiveFollower::new(0));
        let (followed, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let following = {
            let (log, follower, followed, stop) = (log.clone(), follower.clone(), followed.clone(), stop.clone());
            std::thread::spawn(move || follow(log.as_ref(), &follower, clock.as_ref(), &followed, &stop))
        };
        Self { log, lake, follower, jobs, followed, stop, following: Some(following) }
    }

    /// Appends batches, each received when it says that it was sent.
    pub async fn append(&self, batches: &[ViewEventBatch]) {
        let records = batches.iter().map(|batch| {
            let header = RecordHeader {
                record_type: RecordType::ViewEvents(ContentType::Protobuf),
                received_at_ms: batch.sent_at_ms,
                event_count: batch.events.len() as u32,
            };
            let key = batch.context.clone().unwrap_or_default().session_id.into_bytes();
            NewRecord { route: Route::Key(key.into()), header, payload: batch.encode_to_vec().into() }
        });
        for chunk in records.collect::<Vec<_>>().chunks(500) {
            self.log.append(PLAYBACK_TOPIC, chunk.to_vec()).await.expect("the log takes it");
        }
    }

    /// Tells the jobs that nothing more comes: every session is over.
    #[allow(dead_code, reason = "the unit tests, which share this file, need it")]
    pub async fn end_input(&self, now_ms: i64) {
        let header = RecordHeader { record_type: RecordType::EndOfInput, received_at_ms: now_ms, event_count: 0 };
        let end = |partition| NewRecord { route: Route::Partition(partition), header, payload: Vec::new().into() };
        self.log.append(PLAYBACK_TOPIC, (0..PARTITIONS).map(end).collect()).await.expect("the log takes it");
    }

    /// Waits until all that is in the log is in the lake and in the live view.
    pub fn settle(&self) {
        assert!(self.jobs.drain(self.log.as_ref(), PATIENCE).expect("the log answers"), "the lake takes it in");
        let end = self.log.bounds(LIVE_TOPIC, 0).expect("the live topic").end;
        let deadline = Instant::now() + PATIENCE;
        while self.followed.load(Ordering::Acquire) < end {
            assert!(Instant::now() < deadline, "the live view takes it in");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops the jobs and the follower.
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(following) = self.following.take() {
            following.join().expect("the follower does not panic");
        }
        self.jobs.stop().expect("a graceful stop");
    }
}

/// What the binary does too: the topic into the follower.
fn follow(log: &dyn PartitionLog, follower: &LiveFollower, clock: &dyn Clock, followed: &AtomicU64, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        let next = followed.load(Ordering::Acquire);
        log.wait(LIVE_TOPIC, 0, next, Duration::from_millis(100)).expect("the live topic");
        let asked_ms = clock.now_ms();
        let records = log.read(LIVE_TOPIC, 0, next, 1 << 20).expect("the live topic");
        let end = records.last().map_or(next, |record| record.offset + 1);
        follower.take_in(records.iter().filter_map(|record| LiveRecord::from_bytes(&record.payload)), asked_ms);
        followed.store(end, Ordering::Release);
    }
}
