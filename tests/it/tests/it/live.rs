//! Live numbers equal the historical ones, and two writers never count twice.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use marquee_events::{ContentType, SystemClock};
use marquee_jobs::{
    CellDimensions, LIVE_TOPIC, LiveRecord, LiveView, PLAYBACK_TOPIC, Playback, PlaybackMode, dimension_names,
};
use marquee_lake::{EpochCommit, tables};
use marquee_lake_delta::{DeltaLake, LakeOptions};
use marquee_log_embedded::{EmbeddedLog, EmbeddedLogOptions};
use marquee_qoe::Measure;
use marquee_sources::{BenchPlan, generate_bench};
use marquee_stream::{
    Job, LogError, NewRecord, PartitionLog, Position, Record, RecordHeader, RecordType, Route, Runtime, RuntimeEnv,
    RuntimeSettings, TopicSpec,
};
use object_store::memory::InMemory;
use prost::Message as _;

use crate::memory_lake::{shared, text_rows};

const START_MS: i64 = 1_700_000_000_000;
pub(crate) const PARTITIONS: u32 = 3;

pub(crate) fn log(folder: &std::path::Path) -> Arc<dyn PartitionLog> {
    let log = EmbeddedLog::open(folder, EmbeddedLogOptions::default()).expect("a log");
    for (name, partitions) in [(PLAYBACK_TOPIC, PARTITIONS), (LIVE_TOPIC, 1)] {
        log.ensure_topic(&TopicSpec { name: name.into(), partitions, retention_ms: i64::MAX }).expect("a topic");
    }
    Arc::new(log)
}

pub(crate) fn env(
    log: &Arc<dyn PartitionLog>,
    lake: Arc<dyn EpochCommit>,
    runtime: &tokio::runtime::Runtime,
    store: Arc<InMemory>,
    writer_id: &str,
) -> RuntimeEnv {
    RuntimeEnv {
        log: log.clone(),
        lake,
        store,
        state_root: "state".into(),
        clock: Arc::new(SystemClock::default()),
        handle: runtime.handle().clone(),
        writer_id: writer_id.into(),
    }
}

pub(crate) fn start(env: &RuntimeEnv, live: bool) -> Runtime {
    let settings = RuntimeSettings {
        epoch_interval_ms: 120,
        live_interval_ms: 30,
        live_topic: live.then(|| LIVE_TOPIC.to_owned()),
        write_threads: 2,
    };
    let job: Arc<dyn Job> = Arc::new(Playback::new(PlaybackMode::Live));
    Runtime::start(env, &settings, &[(job, PLAYBACK_TOPIC.to_owned())]).expect("the jobs start")
}

fn append_some(runtime: &tokio::runtime::Runtime, log: &dyn PartitionLog, events: u64, pause: Duration) {
    for batch in generate_bench(BenchPlan { events_per_batch: 7, ..BenchPlan::new(events, START_MS, 3) }) {
        let header = RecordHeader {
            record_type: RecordType::ViewEvents(ContentType::Protobuf),
            received_at_ms: batch.sent_at_ms,
            event_count: batch.events.len() as u32,
        };
        let key = batch.context.clone().unwrap_or_default().session_id.into_bytes();
        let record = NewRecord { route: Route::Key(key.into()), header, payload: batch.encode_to_vec().into() };
        runtime.block_on(log.append(PLAYBACK_TOPIC, vec![record])).expect("the log takes it");
        std::thread::sleep(pause);
    }
}

#[test]
fn live_deltas_at_an_epoch_vector_equal_sql() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let log = log(&folder.path().join("log"));
    let lake_folder = folder.path().join("lake");
    let open = DeltaLake::open(&lake_folder, Arc::new(SystemClock::default()), LakeOptions::default());
    let lake = Arc::new(runtime.block_on(open).expect("a lake"));
    let jobs = start(&env(&log, lake.clone(), &runtime, Arc::new(InMemory::new()), "a"), true);
    append_some(&runtime, log.as_ref(), 4_000, Duration::from_micros(500));
    assert!(jobs.drain(log.as_ref(), Duration::from_secs(60)).expect("the log answers"));
    jobs.stop().expect("a graceful stop");

    let mut view = LiveView::default();
    let mut unfinished = 0;
    for record in log.read(LIVE_TOPIC, 0, 0, usize::MAX).expect("the live topic") {
        let record = LiveRecord::from_bytes(&record.payload).expect("a live record");
        unfinished += usize::from(!record.is_final);
        view.apply(record);
    }
    assert!(unfinished > 3, "deltas are published before their epoch ends");
    let epochs = runtime
        .block_on(lake.sql("SELECT partition, epoch FROM epochs ORDER BY epoch, partition"))
        .expect("the epochs");
    let all: Vec<(u32, u64)> = text_rows(&epochs.1, &["partition", "epoch"])
        .iter()
        .map(|row| (row[0].parse().expect("a number"), row[1].parse().expect("a number")))
        .collect();
    assert!(all.len() >= 6, "several epochs: {all:?}");
    // Every prefix of the epochs in their order is a vector that a reader could have pinned.
    for length in [1, all.len() / 3, all.len() / 2, all.len()] {
        let mut vector = vec![0_u64; PARTITIONS as usize];
        for (partition, epoch) in &all[..length] {
            vector[*partition as usize] = *epoch;
        }
        let live = view.sum(|_, partition| vector[partition as usize], |_| true);
        assert_eq!(values(&live), sql_sums(&runtime, &lake, &vector), "at {vector:?}");
        assert!(!live.is_empty());
    }
}

/// The embedded log, too full for the final record of an epoch when it comes first, and for that of epoch 1 once more.
struct FullLog {
    log: Arc<dyn PartitionLog>,
    /// By (partition, epoch).
    refusals: Mutex<HashMap<(u32, u64), u32>>,
}

#[async_trait]
impl PartitionLog for FullLog {
    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        let live = records.first().filter(|_| topic == LIVE_TOPIC);
        if let Some(live) = live.and_then(|record| LiveRecord::from_bytes(&record.payload)).filter(|l| l.is_final) {
            let mut refusals = self.refusals.lock().expect("no test panics while it holds this lock");
            let refused = refusals.entry((live.partition, live.epoch)).or_default();
            if *refused < if live.epoch == 1 { 2 } else { 1 } {
                *refused += 1;
                return Err(LogError::Full { waiting_bytes: 1 });
            }
        }
        self.log.append(topic, records).await
    }

    async fn append_once(
        &self,
        topic: &str,
        ledger_key: &str,
        records: Vec<NewRecord>,
    ) -> Result<Option<Vec<Position>>, LogError> {
        self.log.append_once(topic, ledger_key, records).await
    }

    fn ensure_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        self.log.ensure_topic(spec)
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.log.partitions(topic)
    }

    fn ledger_contains(&self, topic: &str, ledger_key: &str) -> Result<bool, LogError> {
        self.log.ledger_contains(topic, ledger_key)
    }

    fn read(&self, topic: &str, partition: u32, from: u64, max_bytes: usize) -> Result<Vec<Record>, LogError> {
        self.log.read(topic, partition, from, max_bytes)
    }

    fn bounds(&self, topic: &str, partition: u32) -> Result<Range<u64>, LogError> {
        self.log.bounds(topic, partition)
    }

    fn wait(&self, topic: &str, partition: u32, offset: u64, timeout: Duration) -> Result<bool, LogError> {
        self.log.wait(topic, partition, offset, timeout)
    }

    fn enforce_retention(&self, now_ms: i64) -> Result<u64, LogError> {
        self.log.enforce_retention(now_ms)
    }
}

/// A reader that keeps uncommitted deltas of an epoch for its last ones would be wrong for ever.
#[test]
fn final_deltas_reach_the_live_topic_in_order_though_the_log_was_full() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let full = Arc::new(FullLog { log: log(folder.path()), refusals: Mutex::default() });
    let log: Arc<dyn PartitionLog> = full.clone();
    let lake = shared();
    let jobs = start(&env(&log, lake.clone(), &runtime, Arc::new(InMemory::new()), "a"), true);
    append_some(&runtime, log.as_ref(), 2_000, Duration::from_millis(4));
    assert!(jobs.drain(log.as_ref(), Duration::from_secs(60)).expect("the log answers"));
    jobs.stop().expect("a graceful stop");

    let mut told: BTreeMap<u32, Vec<(u64, bool)>> = BTreeMap::new();
    for record in log.read(LIVE_TOPIC, 0, 0, usize::MAX).expect("the live topic") {
        let record = LiveRecord::from_bytes(&record.payload).expect("a live record");
        told.entry(record.partition).or_default().push((record.epoch, record.is_final));
    }
    let epochs = text_rows(&lake.rows(&tables::EPOCHS), &["partition", "epoch"]);
    assert!(epochs.len() >= 2 * PARTITIONS as usize, "several epochs: {epochs:?}");
    for row in &epochs {
        let (partition, epoch): (u32, u64) = (row[0].parse().expect("a number"), row[1].parse().expect("a number"));
        let finals = told[&partition].iter().filter(|told| **told == (epoch, true)).count();
        assert_eq!(finals, 1, "epoch {epoch} of partition {partition}: {:?}", told[&partition]);
    }
    assert!(told.values().all(|told| told.is_sorted()), "nothing comes after its epoch's end: {told:?}");
    let refusals = full.refusals.lock().expect("no test panics while it holds this lock");
    assert!((0..PARTITIONS).all(|partition| refusals[&(partition, 1)] == 2), "{refusals:?}");
}

type Sums = BTreeMap<(String, String), Vec<i64>>;

fn values(live: &BTreeMap<(CellDimensions, i64), marquee_qoe::Measures>) -> Sums {
    let key = |(cell, minute): &(CellDimensions, i64)| (cell_text(cell), (minute * 60).to_string());
    live.iter().map(|(cell, measures)| (key(cell), measures.values.clone())).collect()
}

fn cell_text(cell: &CellDimensions) -> String {
    let values = dimension_names().map(|name| cell.value(name).unwrap_or_default());
    format!("{} {}", cell.cube.name(), values.join(" "))
}

fn sql_sums(runtime: &tokio::runtime::Runtime, lake: &DeltaLake, vector: &[u64]) -> Sums {
    let up_to: Vec<String> =
        vector.iter().enumerate().map(|(p, epoch)| format!("(partition = {p} AND epoch <= {epoch})")).collect();
    let sums: Vec<String> = Measure::NAMES.iter().map(|name| format!("sum({name}) AS {name}")).collect();
    let dimensions = dimension_names().join(", ");
    let query = format!(
        "SELECT cube_name, {dimensions}, CAST(date_part('epoch', minute) AS BIGINT) AS second, {} FROM qoe_minutes \
         WHERE {} GROUP BY cube_name, {dimensions}, minute",
        sums.join(", "),
        up_to.join(" OR ")
    );
    let (_, rows) = runtime.block_on(lake.sql(&query)).expect("the minutes");
    let names = [&["cube_name"], &dimension_names()[..], &["second"]].concat();
    let columns = [&names[..], &Measure::NAMES[..]].concat();
    text_rows(&rows, &columns)
        .into_iter()
        .map(|mut row| {
            let numbers: Vec<i64> =
                row.split_off(names.len()).iter().map(|value| value.parse().expect("a number")).collect();
            let second = row.pop().expect("the last name");
            ((row.join(" "), second), numbers)
        })
        .filter(|(_, numbers)| numbers.iter().any(|value| *value != 0))
        .collect()
}

#[test]
fn two_writers_on_one_shard_never_count_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let log = log(folder.path());
    let (lake, store) = (shared(), Arc::new(InMemory::new()));
    let one = start(&env(&log, lake.clone(), &runtime, store.clone(), "one"), false);
    let two = start(&env(&log, lake.clone(), &runtime, store, "two"), false);
    append_some(&runtime, log.as_ref(), 3_000, Duration::from_millis(2));
    for jobs in [&one, &two] {
        assert!(jobs.drain(log.as_ref(), Duration::from_secs(60)).expect("the log answers"), "both keep up");
    }
    one.stop().expect("a graceful stop");
    two.stop().expect("a graceful stop");
    let keys = text_rows(&lake.rows(&tables::EVENTS), &["partition", "offset", "index"]);
    let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!((keys.len(), distinct.len()), (3_000, 3_000));
    let epochs = text_rows(&lake.rows(&tables::EPOCHS), &["partition", "epoch"]);
    let distinct: std::collections::BTreeSet<_> = epochs.iter().collect();
    assert_eq!(epochs.len(), distinct.len());
}

/// Ten thousand bad events in one small request must not become ten thousand copies of it.
#[test]
fn a_record_of_bad_events_is_kept_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let log = log(folder.path());
    let lake = shared();
    let event = marquee_events::proto::ViewEvent { event_time_ms: START_MS, ..Default::default() };
    let context = marquee_events::proto::Context { session_id: "s".into(), ..Default::default() };
    let batch = marquee_events::proto::ViewEventBatch {
        context: Some(context),
        sent_at_ms: 0,
        events: vec![event; marquee_events::MAX_EVENTS_PER_BATCH],
        ..Default::default()
    };
    let payload = batch.encode_to_vec();
    let length = payload.len();
    let header = RecordHeader {
        record_type: RecordType::ViewEvents(ContentType::Protobuf),
        received_at_ms: START_MS,
        event_count: batch.events.len() as u32,
    };
    let record = NewRecord { route: Route::Partition(0), header, payload: payload.into() };
    let jobs = start(&env(&log, lake.clone(), &runtime, Arc::new(InMemory::new()), "one"), false);
    runtime.block_on(log.append(PLAYBACK_TOPIC, vec![record])).expect("the log takes it");
    assert!(jobs.drain(log.as_ref(), Duration::from_secs(60)).expect("the log answers"));
    jobs.stop().expect("a graceful stop");
    let letters = text_rows(&lake.rows(&tables::DEAD_LETTERS), &["index", "reason", "bytes"]);
    assert_eq!(letters.len(), marquee_events::MAX_EVENTS_PER_BATCH);
    assert!(letters.iter().all(|letter| letter[1] == "unknown_payload"));
    let hex_digits: usize = letters.iter().map(|letter| letter[2].len()).sum();
    assert_eq!(hex_digits, 2 * length, "the bytes are there, once");
    assert!(lake.rows(&tables::EVENTS).is_empty());
}
