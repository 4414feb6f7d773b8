//! Any delay, beyond the horizon, too, ends in the same result once late events are recomputed: with recomputes at any
//! time between the shards' own epochs, of some sessions or of all, and sessions that go on after they were recomputed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray as _;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use marquee_events::ContentType;
use marquee_events::proto::{Context, ViewEvent, ViewEventBatch};
use marquee_jobs::playback::{LateBatch, Left};
use marquee_jobs::{LIVE_TOPIC, LiveRecord, LiveView, PLAYBACK_TOPIC, Playback, PlaybackMode, dimension_bounds};
use marquee_lake::tables;
use marquee_qoe::Measure;
use marquee_stream::{
    Decision, Job as _, NewRecord, RecordHeader, RecordType, Route, RuntimeEnv, ShardId, ShardRepair,
};
use object_store::memory::InMemory;
use proptest::prelude::*;
use prost::Message as _;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::live;
use crate::memory_lake::{MemoryLake, shared, text_rows};
use crate::memory_recompute::{fold, late_sessions, number, repair_env};
use crate::order::{START_MS, Step, lake_after, outcome, session};

const HOUR_MS: i64 = 60 * 60 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Recomputes every shard: all sessions with late events, or those that a seed picks. What was left alone.
pub(crate) fn recompute(env: &RuntimeEnv, lake: &MemoryLake, step: usize, some: Option<u64>) -> Left {
    let job = Playback::new(PlaybackMode::Live);
    let repair_env = repair_env(env, format!("recompute-{step}"));
    let mut rng = StdRng::seed_from_u64(some.unwrap_or_default());
    let mut left = Left::default();
    for partition in 0..env.log.partitions(PLAYBACK_TOPIC).expect("a topic") {
        let id = ShardId { job: job.name(), topic: PLAYBACK_TOPIC.to_owned(), partition };
        let mut repair = ShardRepair::new(&repair_env, id.clone(), &job);
        let Some(as_of) = repair.newest().expect("it is whole") else { continue };
        let mut sessions = late_sessions(lake, partition);
        sessions.retain(|_| some.is_none() || rng.random_bool(0.5));
        for sessions in sessions.chunks(3) {
            let mut batch = LateBatch::new(sessions.to_vec(), as_of.manifest.next_offset);
            loop {
                let newest = repair.newest().expect("it is whole").expect("it was there");
                let done = fold(&job, &id, lake, &repair, &newest, &mut batch).expect("rows are read");
                let won = done.frozen.is_none_or(|frozen| {
                    repair.decide(&newest.manifest, frozen).expect("it is written") == Decision::Won
                });
                if won {
                    left += done.left;
                    break;
                }
            }
        }
    }
    left
}

/// Cuts sessions into batches and delivers them in any order, with epochs, restarts and recomputes in between.
fn schedule(sessions: &[ViewEventBatch], seed: u64) -> Vec<Step> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut pieces = Vec::new();
    for session in sessions {
        let mut events = session.events.clone();
        while !events.is_empty() {
            let length = rng.random_range(1..=events.len().min(5));
            let piece = ViewEventBatch { events: events.drain(..length).collect(), ..session.clone() };
            // Late by nothing, by hours or by days.
            let delay_ms = *[0, 0, 3 * HOUR_MS, 2 * DAY_MS, 9 * DAY_MS].choose(&mut rng).expect("there are delays");
            let at_ms = piece.events.last().map_or(0, |event| event.event_time_ms) + delay_ms;
            pieces.extend((0..rng.random_range(1..=2)).map(|_| (at_ms, piece.clone())));
        }
    }
    pieces.shuffle(&mut rng);
    pieces.sort_by_key(|(at_ms, _)| *at_ms);
    let mut steps = Vec::new();
    for (_, piece) in pieces {
        steps.push(Step::Append(vec![piece]));
        match rng.random_range(0..12) {
            0..=3 => steps.push(Step::Epoch),
            4 => steps.push(Step::Restart),
            5 => steps.push(Step::Recompute(None, Left::default())),
            6 => steps.push(Step::Recompute(Some(rng.random()), Left::default())),
            7 => steps.extend([Step::Epoch, Step::Recompute(Some(rng.random()), Left::default())]),
            _ => {}
        }
    }
    steps
}

/// Sessions of less than the six days after which a shard forgets one, within two weeks, and at their end one in every partition, so that all others are over.
fn sessions() -> impl Strategy<Value = Vec<ViewEventBatch>> {
    let gap = prop_oneof![12 => 0_i64..20_000, 2 => 250_000_i64..500_000, 1 => 0..8 * HOUR_MS];
    let events = prop::collection::vec((any::<u8>(), gap), 3..16);
    let start = 0..10 * DAY_MS;
    prop::collection::vec((start, events), 2..7).prop_map(|sessions| {
        sessions
            .into_iter()
            .enumerate()
            .map(|(index, (start_ms, events))| {
                let (kinds, mut gaps): (Vec<u8>, Vec<i64>) = events.into_iter().unzip();
                gaps[0] += start_ms;
                session(index, &kinds, &gaps)
            })
            .collect()
    })
}

fn last_sessions() -> Step {
    let gaps = [30 * DAY_MS, 1_000];
    Step::Append((10..20).map(|index| session(2 * index, &[0, 1], &gaps)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_delay_gives_the_same_result(sessions in sessions(), seed in any::<u64>()) {
        let mut in_order: Vec<Step> = sessions.iter().map(|session| Step::Append(vec![session.clone()])).collect();
        in_order.push(last_sessions());
        let expected = outcome(&lake_after(PlaybackMode::Import, &in_order));
        let mut mixed = schedule(&sessions, seed);
        mixed.extend([Step::Epoch, last_sessions(), Step::Epoch, Step::Recompute(None, Left::default())]);
        prop_assert_eq!(&outcome(&lake_after(PlaybackMode::Live, &mixed)), &expected);
    }
}

/// An event `after_ms` after the start of all.
fn event(player: &str, sequence: u64, after_ms: i64) -> ViewEventBatch {
    let whole = session(0, &[0, 25], &[after_ms, 0]);
    let context = Context { player_instance: player.into(), ..whole.context.clone().unwrap_or_default() };
    let event = ViewEvent { sequence, event_id: format!("{player}{sequence}{after_ms}"), ..whole.events[0].clone() };
    ViewEventBatch { context: Some(context), events: vec![event], ..whole }
}

/// The newest revisions: (player, events, revision).
fn newest(steps: &[Step]) -> Vec<(String, u64, u64)> {
    let lake = lake_after(PlaybackMode::Live, steps);
    let columns = ["player_instance", "epoch", "revision", "event_count"];
    let mut newest = BTreeMap::new();
    for row in text_rows(&lake.rows(&tables::SESSION_REVISIONS), &columns) {
        let found = (number(&row[1]), number(&row[2]), number(&row[3]));
        let known = newest.entry(row[0].clone()).or_insert(found);
        *known = found.max(*known);
    }
    newest.into_iter().map(|(player, (_, revision, events))| (player, events, revision)).collect()
}

/// Of a session that was forgotten and has started again nobody knows which of the two a late event belongs to.
#[test]
fn a_session_that_has_started_again_is_left_alone() {
    let far = |days: i64| Step::Append(vec![event("far", days as u64, days * DAY_MS)]);
    let mut steps = vec![
        Step::Append(vec![event("twice", 0, 0), event("once", 0, 0)]),
        far(3), // closes them, and they move out of memory
        Step::Epoch,
        far(10), // they are forgotten
        Step::Epoch,
        Step::Append(vec![event("twice", 0, 10 * DAY_MS), event("twice", 1, 10 * DAY_MS + 1_000)]),
        Step::Epoch,
        Step::Append(vec![event("twice", 2, 2_000), event("once", 1, 1_000), event("never", 4, 2_000)]),
        Step::Epoch,
        Step::Recompute(None, Left { started_again: 1, ..Left::default() }),
    ];
    // Forgotten or never there in time, they are folded from the tables alone, and again when more comes.
    let once_and_never = |found: &[(String, u64, u64)], late: u64| {
        let of = |player: &str| found.iter().find(|(name, ..)| name == player).map(|(_, events, _)| *events);
        assert_eq!((of("twice"), of("once"), of("never")), (Some(2), Some(1 + late), Some(late)));
        let revisions = found.iter().find(|(name, ..)| name == "never").map(|(.., revision)| *revision);
        assert_eq!(revisions, Some(late), "one for each recompute that changed it");
    };
    once_and_never(&newest(&steps), 1);
    steps.extend([
        Step::Append(vec![event("once", 2, 3_000), event("never", 5, 3_000)]),
        Step::Epoch,
        Step::Recompute(None, Left { started_again: 1, ..Left::default() }),
        Step::Recompute(None, Left { started_again: 1, ..Left::default() }),
    ]);
    once_and_never(&newest(&steps), 2);
}

/// Which values were `other` on a day that the shard has forgotten cannot be known once a dimension was full.
#[test]
fn a_session_of_a_crowded_forgotten_day_is_left_alone() {
    let (_, bound) = dimension_bounds().into_iter().find(|(name, _)| *name == "protocol").expect("a dimension");
    let of_protocol = |number: usize, sequence: u64| {
        let mut batch = event(&format!("p{number}"), sequence, 1_000 * sequence as i64);
        batch.context.get_or_insert_default().protocol = format!("protocol {number}");
        batch
    };
    let far = |days: i64| Step::Append(vec![event("far", days as u64, days * DAY_MS)]);
    for (values, crowded_day) in [(bound - 1, 0), (bound, 1)] {
        let steps = [
            Step::Append((0..values).map(|number| of_protocol(number, 0)).collect()),
            far(3),
            Step::Epoch,
            far(12),
            Step::Epoch,
            Step::Append(vec![of_protocol(7, 1)]),
            Step::Epoch,
            Step::Recompute(None, Left { crowded_day, ..Left::default() }),
        ];
        let found = newest(&steps);
        let (_, events, _) = found.iter().find(|(player, ..)| player == "p7").expect("a session");
        assert_eq!(*events, 2 - crowded_day);
    }
}

/// Owners that lose an epoch to a recompute have told of it already: the live view is right nevertheless.
#[test]
fn the_live_view_beside_a_recompute_equals_the_minutes() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let (log, lake) = (live::log(folder.path()), shared());
    let env = live::env(&log, lake.clone(), &runtime, Arc::new(InMemory::new()), "owner");
    let jobs = live::start(&env, true);
    let append = |batches: &[ViewEventBatch]| {
        let records = batches.iter().map(|batch| NewRecord {
            route: Route::Key(batch.context.clone().unwrap_or_default().session_id.into_bytes().into()),
            header: RecordHeader {
                record_type: RecordType::ViewEvents(ContentType::Protobuf),
                received_at_ms: START_MS + 30 * DAY_MS,
                event_count: batch.events.len() as u32,
            },
            payload: batch.encode_to_vec().into(),
        });
        runtime.block_on(log.append(PLAYBACK_TOPIC, records.collect())).expect("the log takes it");
    };
    let drain = || assert!(jobs.drain(log.as_ref(), Duration::from_secs(60)).expect("the log answers"));
    let at = |index: usize, after_ms: i64| session(index, &[0, 1, 25, 25, 25], &[after_ms, 500, 9_000, 9_000, 9_000]);
    append(&(0..12).map(|index| at(index, 3 * DAY_MS)).collect::<Vec<_>>());
    drain();
    append(&(20..40).map(|index| at(index, 0)).collect::<Vec<_>>());
    drain();
    for round in 0..8 {
        // Told, not yet decided: the recompute decides first, or the owners do.
        append(&(40..50).map(|index| at(10 * index + round, 3 * DAY_MS)).collect::<Vec<_>>());
        std::thread::sleep(Duration::from_millis(40 + 10 * round as u64));
        recompute(&RuntimeEnv { writer_id: "r".into(), ..env.clone() }, &lake, round, Some(round as u64));
    }
    drain();
    jobs.stop().expect("a graceful stop");
    assert!(!lake.rows(&tables::RECOMPUTED_EVENTS).is_empty());
    let mut view = LiveView::default();
    for record in log.read(LIVE_TOPIC, 0, 0, usize::MAX).expect("the live topic") {
        view.apply(LiveRecord::from_bytes(&record.payload).expect("a live record"));
    }
    let recent = (START_MS + 2 * DAY_MS) / 60_000;
    let mut live: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for ((_, minute), measures) in view.sum(|_, _| u64::MAX, |cell| cell.minute >= recent) {
        add(live.entry(minute).or_insert_with(|| vec![0; Measure::COUNT]), &measures.values);
    }
    let mut minutes: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for batch in lake.rows(&tables::QOE_MINUTES) {
        let column = |name: &str| batch.column(tables::QOE_MINUTES.index_of(name));
        let of_minute = column("minute").as_primitive::<TimestampMicrosecondType>();
        for row in 0..batch.num_rows() {
            let values = Measure::NAMES.map(|name| column(name).as_primitive::<Int64Type>().value(row));
            add(minutes.entry(of_minute.value(row) / 60_000_000).or_insert_with(|| vec![0; Measure::COUNT]), &values);
        }
    }
    minutes.retain(|minute, values| *minute >= recent && values.iter().any(|value| *value != 0));
    assert_eq!(live, minutes);
}

fn add(sums: &mut [i64], values: &[i64]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}
