//! Any permutation, duplication, chunking and delay within the horizon gives the same result: through the runtime, with
//! random epochs, watermarks and restarts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use marquee_events::proto::{Context, ViewEvent, ViewEventBatch};
use marquee_events::{ContentType, ManualClock};
use marquee_jobs::playback::Left;
use marquee_jobs::{LIVE_TOPIC, PLAYBACK_TOPIC, Playback, PlaybackMode};
use marquee_lake::tables;
use marquee_log_embedded::{EmbeddedLog, EmbeddedLogOptions};
use marquee_stream::{
    NewRecord, PartitionLog, RecordHeader, RecordType, Route, Runtime, RuntimeEnv, RuntimeSettings, TopicSpec,
};
use object_store::memory::InMemory;
use proptest::prelude::*;
use prost::Message as _;

use crate::every_payload::{context, payload};
use crate::memory_lake::{MemoryLake, shared, text_rows};

pub(crate) const START_MS: i64 = 1_700_000_000_000;
const PARTITIONS: u32 = 2;

/// What the engine makes of some input.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    sessions: BTreeMap<Vec<String>, Vec<String>>,
    minutes: BTreeMap<Vec<String>, Vec<i64>>,
    bronze: std::collections::BTreeSet<Vec<String>>,
}

pub(crate) const SESSION_COLUMNS: &[&str] = &[
    "title_id",
    "country",
    "started_at",
    "ended_at",
    "startup_ms",
    "first_picture_ms",
    "exit_after_ms",
    "autoplay",
    "startup_waiting_ms",
    "playing_ms",
    "rebuffer_ms",
    "seek_waiting_ms",
    "paused_ms",
    "ad_ms",
    "ad_rebuffer_ms",
    "background_ms",
    "background_playing_ms",
    "silent_ms",
    "media_ms",
    "rebuffer_count",
    "background_rebuffer_count",
    "ad_rebuffer_count",
    "seek_count",
    "pause_count",
    "ad_count",
    "error_count",
    "inferred_count",
    "upscale_per_mille_ms",
    "max_upscale_per_mille",
    "rendition_switch_count",
    "avg_bitrate_kbps",
    "avg_height_px",
    "event_count",
    "lost_events",
    "outcome",
    "error_code",
    "end_reason",
    "is_final",
];

pub(crate) fn outcome(lake: &MemoryLake) -> Outcome {
    let mut sessions: BTreeMap<Vec<String>, (u64, Vec<String>)> = BTreeMap::new();
    let columns = [&["session_id", "player_instance", "revision"], SESSION_COLUMNS].concat();
    for row in text_rows(&lake.rows(&tables::SESSION_REVISIONS), &columns) {
        let revision: u64 = row[2].parse().expect("a number");
        let newest = sessions.entry(row[..2].to_vec()).or_default();
        assert_ne!(newest.0, revision, "a revision is written once");
        if newest.0 < revision {
            *newest = (revision, row[3..].to_vec());
        }
    }
    let dimensions = [&["minute", "cube_name"], &marquee_jobs::dimension_names()[..]].concat();
    let mut minutes: BTreeMap<Vec<String>, Vec<i64>> = BTreeMap::new();
    let columns = [&dimensions[..], &marquee_qoe::Measure::NAMES[..]].concat();
    for row in text_rows(&lake.rows(&tables::QOE_MINUTES), &columns) {
        let sums =
            minutes.entry(row[..dimensions.len()].to_vec()).or_insert_with(|| vec![0; marquee_qoe::Measure::COUNT]);
        for (sum, value) in sums.iter_mut().zip(&row[dimensions.len()..]) {
            *sum += value.parse::<i64>().expect("a number");
        }
    }
    minutes.retain(|_, sums| sums.iter().any(|sum| *sum != 0));
    let bronze = ["session_id", "player_instance", "sequence", "type", "event_time", "event_id", "bitrate_bps"];
    Outcome {
        sessions: sessions.into_iter().map(|(key, (_, row))| (key, row)).collect(),
        minutes,
        bronze: text_rows(&lake.rows(&tables::EVENTS), &bronze).into_iter().collect(),
    }
}

/// A step of a schedule.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Append these together: a shard reads all of its own at once.
    Append(Vec<ViewEventBatch>),
    /// Wait until all is in the lake: an epoch ends here.
    Epoch,
    /// Stop gracefully and start again from the manifests.
    Restart,
    /// Fold the late events of some sessions, or of all; what has to be left alone.
    Recompute(Option<u64>, Left),
}

fn play(mode: PlaybackMode, steps: &[Step]) -> Outcome {
    outcome(&lake_after(mode, steps))
}

/// The lake once the steps are played and the input has ended.
pub(crate) fn lake_after(mode: PlaybackMode, steps: &[Step]) -> Arc<MemoryLake> {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let log: Arc<dyn PartitionLog> =
        Arc::new(EmbeddedLog::open(folder.path(), EmbeddedLogOptions::default()).expect("a log"));
    for (name, partitions) in [(PLAYBACK_TOPIC, PARTITIONS), (LIVE_TOPIC, 1)] {
        let topic = TopicSpec { name: name.into(), partitions, retention_ms: i64::MAX };
        log.ensure_topic(&topic).expect("a topic");
    }
    let lake = shared();
    let clock = Arc::new(ManualClock::new(START_MS + 5_000_000_000));
    let mut env = RuntimeEnv {
        log: log.clone(),
        lake: lake.clone(),
        store: Arc::new(InMemory::new()),
        state_root: "state".into(),
        clock: clock.clone(),
        handle: runtime.handle().clone(),
        writer_id: "0".into(),
    };
    // A clock that stands still never ends an epoch by time; an interval of 0 makes every look at the log one.
    let settings =
        RuntimeSettings { epoch_interval_ms: 0, live_interval_ms: i64::MAX, live_topic: None, write_threads: 1 };
    let start = |env: &RuntimeEnv| {
        let job: Arc<dyn marquee_stream::Job> = Arc::new(Playback::new(mode));
        Runtime::start(env, &settings, &[(job, PLAYBACK_TOPIC.to_owned())]).expect("the jobs start")
    };
    let mut jobs = start(&env);
    let drain = |jobs: &Runtime| {
        assert!(jobs.drain(log.as_ref(), Duration::from_secs(60)).expect("the log answers"), "the jobs are stuck");
    };
    let append = |records: Vec<NewRecord>| {
        runtime.block_on(log.append(PLAYBACK_TOPIC, records)).expect("the log takes it");
    };
    let header =
        |record_type, event_count| RecordHeader { record_type, received_at_ms: START_MS + 4_000_000_000, event_count };
    let record = |batch: &ViewEventBatch| NewRecord {
        route: Route::Key(batch.context.clone().unwrap_or_default().session_id.into_bytes().into()),
        header: header(RecordType::ViewEvents(ContentType::Protobuf), batch.events.len() as u32),
        payload: batch.encode_to_vec().into(),
    };
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Append(batches) => append(batches.iter().map(record).collect()),
            Step::Epoch => drain(&jobs),
            Step::Restart => {
                jobs.stop().expect("a graceful stop");
                env.writer_id = number.to_string();
                jobs = start(&env);
            }
            Step::Recompute(some, left) => {
                assert_eq!(crate::recompute_order::recompute(&env, &lake, number, *some), *left);
            }
        }
    }
    let end = |partition| NewRecord {
        route: Route::Partition(partition),
        header: header(RecordType::EndOfInput, 0),
        payload: Vec::new().into(),
    };
    append((0..PARTITIONS).map(end).collect());
    drain(&jobs);
    jobs.stop().expect("a graceful stop");
    lake
}

/// A session of a kind's payloads with the given pauses (ms) between them.
pub(crate) fn session(index: usize, kinds: &[u8], gaps_ms: &[i64]) -> ViewEventBatch {
    let mut at_ms = START_MS + index as i64 * 7_000;
    let mut media_ms = 0;
    let events = kinds.iter().zip(gaps_ms).enumerate().map(|(sequence, (kind, gap_ms))| {
        at_ms += gap_ms;
        media_ms += gap_ms / 2;
        ViewEvent {
            event_id: format!("e{sequence}"),
            sequence: sequence as u64,
            event_time_ms: at_ms,
            media_time_ms: (kind % 3 > 0).then_some(media_ms),
            payload: Some(payload(if sequence == 0 { 0 } else { *kind }, sequence)),
        }
    });
    let context = Some(context(index));
    ViewEventBatch { context, sent_at_ms: 0, events: events.collect(), ..Default::default() }
}

fn sessions() -> impl Strategy<Value = Vec<ViewEventBatch>> {
    // Mostly seconds; sometimes more than the session gap, so that sessions close and open again.
    let gap = prop_oneof![12 => 0_i64..20_000, 1 => 250_000_i64..500_000];
    let events = prop::collection::vec((any::<u8>(), gap), 3..16);
    prop::collection::vec(events, 2..6).prop_map(|sessions| {
        let build = |(index, events): (usize, Vec<(u8, i64)>)| {
            let (kinds, gaps): (Vec<u8>, Vec<i64>) = events.into_iter().unzip();
            session(index, &kinds, &gaps)
        };
        sessions.into_iter().enumerate().map(build).collect()
    })
}

/// Cuts sessions into small batches, mixes, repeats and delays them, with epochs and restarts in between.
fn schedule(sessions: &[ViewEventBatch], seed: u64) -> Vec<Step> {
    use rand::seq::SliceRandom as _;
    use rand::{Rng as _, SeedableRng as _};
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    let mut pieces = Vec::new();
    for session in sessions {
        let mut events = session.events.clone();
        if rng.random_bool(0.7) {
            events.shuffle(&mut rng);
        }
        while !events.is_empty() {
            let length = rng.random_range(1..=events.len().min(5));
            let piece = ViewEventBatch { events: events.drain(..length).collect(), ..session.clone() };
            pieces.extend((0..rng.random_range(1..=2)).map(|_| piece.clone()));
        }
    }
    pieces.shuffle(&mut rng);
    let mut steps = Vec::new();
    for piece in pieces {
        steps.push(Step::Append(vec![piece]));
        match rng.random_range(0..10) {
            0..=2 => steps.push(Step::Epoch),
            3 => steps.push(Step::Restart),
            _ => {}
        }
    }
    steps
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_gives_the_same_result(sessions in sessions(), seed in any::<u64>()) {
        let in_order: Vec<Step> = sessions.iter().map(|session| Step::Append(vec![session.clone()])).collect();
        let expected = play(PlaybackMode::Import, &in_order);
        let mixed = schedule(&sessions, seed);
        prop_assert_eq!(&play(PlaybackMode::Import, &mixed), &expected);
        prop_assert_eq!(&play(PlaybackMode::Live, &mixed), &expected);
    }
}

/// A session that was forgotten starts again with the same key, while another one of the same id is folded anew from the
/// epoch of the forgotten life.
#[test]
fn a_forgotten_session_does_not_find_its_former_life() {
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    let piece = |player: &str, events: &[(u64, &str, i64)]| {
        let context = Context { session_id: "s".into(), player_instance: player.into(), ..Default::default() };
        let events = events.iter().map(|(sequence, event_id, after_ms)| ViewEvent {
            event_id: (*event_id).into(),
            sequence: *sequence,
            event_time_ms: START_MS + after_ms,
            media_time_ms: None,
            payload: Some(payload(u8::from(*sequence > 0), 0)),
        });
        ViewEventBatch { context: Some(context), sent_at_ms: 0, events: events.collect(), ..Default::default() }
    };
    let steps = [
        Step::Append(vec![
            piece("a", &[(0, "old", 0), (1, "old", 1_000), (2, "old", 2_000)]),
            piece("b", &[(0, "b", 0)]),
        ]),
        Step::Epoch,
        Step::Append(vec![piece("b", &[(1, "b", 3 * DAY_MS)])]), // closes a, which moves out of memory
        Step::Epoch,
        Step::Append(vec![piece("c", &[(0, "c", 7 * DAY_MS)])]), // closes b; a is forgotten
        Step::Epoch,
        Step::Append(vec![
            piece("b", &[(2, "b", 7 * DAY_MS + 1_000)]), // late: b is folded anew from the first epoch on
            piece("a", &[(0, "new", 7 * DAY_MS), (1, "new", 7 * DAY_MS + 1_000)]),
            piece("a", &[(0, "newer", 7 * DAY_MS)]), // a second id for a folded sequence: a is folded anew, too
        ]),
    ];
    let lake = lake_after(PlaybackMode::Live, &steps);
    let columns = ["player_instance", "epoch", "started_at", "event_count", "conflicts"];
    let mut rows = text_rows(&lake.rows(&tables::SESSION_REVISIONS), &columns);
    rows.sort_by_key(|row| row[1].parse::<u64>().expect("a number"));
    let last = |player: &str| rows.iter().rfind(|row| row[0] == player).expect("a row of the player")[2..].to_vec();
    assert_eq!(last("b"), ["2023-11-14T22:13:20Z", "3", "0"]);
    assert_eq!(last("a"), ["2023-11-21T22:13:20Z", "2", "1"]);
}
