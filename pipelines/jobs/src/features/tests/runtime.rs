//! Through the runtime, with a durable log, a lake in memory and a restart in the middle.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use marquee_definitions::{FeatureFold, OnlineStore};
use marquee_events::ManualClock;
use marquee_lake::tables;
use marquee_log_embedded::{EmbeddedLog, EmbeddedLogOptions};
use marquee_stream::{Job, NewRecord, PartitionLog, Record, Route, Runtime, RuntimeEnv, RuntimeSettings, TopicSpec};
use object_store::memory::InMemory;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use super::memory_lake::{shared, text_rows};
use super::parity::batches;
use super::{FixedGenres, MemoryStore, NOW_MS, record, replay};
use crate::{Features, FeaturesMode, INTERACTIONS_TOPIC};

const PARTITIONS: u32 = 2;

fn read(log: &dyn PartitionLog, partition: u32) -> Vec<Record> {
    log.read(INTERACTIONS_TOPIC, partition, 0, usize::MAX).expect("the log answers")
}

#[test]
fn a_restart_changes_nothing_that_is_served_or_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let log: Arc<dyn PartitionLog> =
        Arc::new(EmbeddedLog::open(folder.path(), EmbeddedLogOptions::default()).expect("a log"));
    let topic = TopicSpec { name: INTERACTIONS_TOPIC.into(), partitions: PARTITIONS, retention_ms: i64::MAX };
    log.ensure_topic(&topic).expect("a topic");
    let (lake, store) = (shared(), Arc::new(MemoryStore::default()));
    let mut env = RuntimeEnv {
        log: log.clone(),
        lake: lake.clone(),
        store: Arc::new(InMemory::new()),
        state_root: "state".into(),
        clock: Arc::new(ManualClock::new(NOW_MS)),
        handle: runtime.handle().clone(),
        writer_id: "first".into(),
    };
    // A clock that stands still never ends an epoch by time; an interval of 0 makes every look at the log one.
    let settings =
        RuntimeSettings { epoch_interval_ms: 0, live_interval_ms: i64::MAX, live_topic: None, write_threads: 1 };
    let start = |env: &RuntimeEnv, store: &Arc<MemoryStore>| {
        let job: Arc<dyn Job> = Arc::new(Features::new(FeaturesMode::Live, store.clone(), Arc::new(FixedGenres)));
        Runtime::start(env, &settings, &[(job, INTERACTIONS_TOPIC.to_owned())]).expect("the job starts")
    };
    let strategy = proptest::collection::vec(batches(), 12);
    let batches = strategy.new_tree(&mut TestRunner::deterministic()).expect("a value").current().concat();
    let mut jobs = start(&env, &store);
    let middle = batches.len() / 2;
    for (number, batch) in batches.iter().enumerate() {
        if number == middle {
            jobs.stop().expect("a graceful stop");
            env.writer_id = "second".into();
            // The store was lost: what it held comes back from the snapshots.
            store.profiles.lock().unwrap().clear();
            store.titles.lock().unwrap().clear();
            jobs = start(&env, &store);
        }
        let Record { header, payload, .. } = record(0, NOW_MS, batch);
        let profile_id = batch.context.clone().expect("a context").profile_id;
        let record = NewRecord { route: Route::Key(profile_id.into()), header, payload };
        runtime.block_on(log.append(INTERACTIONS_TOPIC, vec![record])).expect("the log takes it");
    }
    assert!(jobs.drain(log.as_ref(), Duration::from_secs(60)).expect("the log answers"), "the job is stuck");
    jobs.stop().expect("a graceful stop");

    let mut interactions = 0;
    let mut whole = FeatureFold::default();
    for partition in 0..PARTITIONS {
        let records = read(log.as_ref(), partition);
        interactions += records.iter().map(|record| record.header.event_count as usize).sum::<usize>();
        let expected = replay(FeaturesMode::Live, &records);
        assert_eq!(store.part(&format!("features/{INTERACTIONS_TOPIC}/{partition}")), expected);
        whole.profiles.extend(expected.profiles);
        for (title_id, state) in expected.titles {
            whole.titles.entry(title_id).or_default().merge(&state);
        }
    }
    assert_eq!(store.titles().expect("the store is open"), whole.titles.into_iter().collect::<Vec<_>>());
    assert!(whole.profiles.len() == 3 && interactions > 100, "{interactions} interactions");

    let keys = text_rows(&lake.rows(&tables::INTERACTION_EVENTS), &["partition", "offset", "index"]);
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), interactions);
    assert_eq!(keys.len(), interactions);
    let silver = ["profile_id", "interaction_id", "partition", "sequence"];
    let silver =
        [text_rows(&lake.rows(&tables::INTERACTIONS), &silver), text_rows(&lake.rows(&tables::IMPRESSIONS), &silver)]
            .concat();
    let bronze = text_rows(&lake.rows(&tables::INTERACTION_EVENTS), &["is_duplicate"]);
    assert_eq!(silver.len(), bronze.iter().filter(|row| row[0] == "false").count());
    let with_id = silver.iter().filter(|row| !row[1].is_empty());
    let ids: Vec<_> = with_id.map(|row| (&row[0], &row[1])).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id is in silver once");
    assert!(ids.len() < bronze.len(), "some came again");
    let epochs = text_rows(&lake.rows(&tables::EPOCHS), &["partition", "epoch"]);
    assert!(epochs.len() > 4, "several epochs: {epochs:?}");
}
