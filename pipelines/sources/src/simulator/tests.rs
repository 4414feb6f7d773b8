//! The truth against an independent fold of what a collector received, and plans against their promises.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use marquee_events::{
    CLOCK_TOLERANCE_MS, Clock, ContentType, ErrorKind, FUTURE_LIMIT_MS, ManualClock, PayloadKind, SystemClock,
};
use proptest::prelude::*;
use prost::Message as _;
use tokio::sync::watch;

use super::{Outcome, SessionCounts, SessionPlan, SessionTruth, SimulatorSettings, Truth, plan_session, simulate};
use crate::SourceError;
use crate::fake_collector::{self, Seen, seen};

/// Many of everything that is rare.
fn eventful(seed: u64, sessions: u64) -> SimulatorSettings {
    let mut settings = SimulatorSettings::once(seed);
    settings.sessions = sessions;
    let b = &mut settings.behaviour;
    (b.start_failure, b.exit_before_start, b.interrupted_startup) = (0.15, 0.15, 0.3);
    (b.playback_failure, b.vanish) = (0.2, 0.4);
    (b.rebuffer, b.seek, b.pause, b.ad, b.background) = (0.15, 0.15, 0.15, 0.1, 0.1);
    let f = &mut settings.faults;
    (f.wrong_clock, f.late, f.duplicated, f.reordered) = (0.3, 0.1, 0.2, 0.2);
    (f.lost, f.future_time, f.unknown_payload) = (0.3, 0.1, 0.1);
    settings
}

/// The rules of the fold, by flags and priorities; written without a look at the player.
fn fold(events: &[Seen]) -> SessionCounts {
    let mut counts = SessionCounts::default();
    let (mut ended, mut background, mut paused, mut ad, mut seeking, mut stalled) =
        (false, false, false, false, false, false);
    let (mut first_frame, mut interrupted, mut fatal_before, mut fatal_after) = (false, false, false, false);
    let mut representation: Option<String> = None;
    for (index, event) in events.iter().enumerate() {
        match event.kind.unwrap() {
            PayloadKind::FirstFrame => {
                first_frame = true;
                counts.startup_ms = (!interrupted).then_some(counts.startup_state_ms);
            }
            PayloadKind::RebufferStart => {
                stalled = true;
                counts.rebuffer_count += 1;
            }
            PayloadKind::RebufferEnd => stalled = false,
            PayloadKind::Pause => paused = true,
            PayloadKind::Resume => paused = false,
            PayloadKind::SeekStart => seeking = true,
            PayloadKind::SeekEnd => seeking = false,
            PayloadKind::AdStart => ad = true,
            PayloadKind::AdEnd => ad = false,
            PayloadKind::Background => background = true,
            PayloadKind::Foreground => background = false,
            PayloadKind::SessionEnd => ended = true,
            PayloadKind::Error if event.fatal => {
                ended = true;
                if first_frame { fatal_after = true } else { fatal_before = true }
            }
            PayloadKind::Rendition => {
                let switched = representation.is_some() && representation != event.representation_id;
                counts.rendition_switch_count += u64::from(switched);
                representation.clone_from(&event.representation_id);
            }
            PayloadKind::PlayRequested | PayloadKind::Heartbeat | PayloadKind::Error => {}
            other => panic!("the simulator sends no {}", other.name()),
        }
        interrupted |= !first_frame && (background || paused || seeking);
        let Some(next) = events.get(index + 1) else { break };
        let elapsed_ms = next.event_time_ms - event.event_time_ms;
        assert!(elapsed_ms >= 0, "time goes forward in {event:?}");
        if ended {
        } else if background {
            counts.background_ms += elapsed_ms;
        } else if paused {
            counts.paused_ms += elapsed_ms;
        } else if !first_frame {
            if ad { counts.ad_ms += elapsed_ms } else { counts.startup_state_ms += elapsed_ms }
        } else if seeking {
            counts.seek_waiting_ms += elapsed_ms;
        } else if ad {
            counts.ad_ms += elapsed_ms;
        } else if stalled {
            counts.rebuffer_ms += elapsed_ms;
        } else {
            counts.playing_ms += elapsed_ms;
        }
    }
    counts.outcome = match (fatal_before, fatal_after, first_frame) {
        (true, ..) => Outcome::StartFailure,
        (_, true, _) => Outcome::PlaybackFailure,
        (.., true) => Outcome::Played,
        _ => Outcome::ExitBeforeStart,
    };
    counts
}

/// Everything that follows from the events that a collector accepted, in any order.
fn recompute(events: &[Seen]) -> Truth {
    let mut truth = Truth { events_sent: events.len() as u64, ..Truth::default() };
    let mut sessions: BTreeMap<(String, String), BTreeMap<u64, Seen>> = BTreeMap::new();
    for event in events {
        if event.event_time_ms > event.sent_at_ms + FUTURE_LIMIT_MS {
            truth.dead_letters.future_time += 1;
        } else if event.kind.is_none() {
            truth.dead_letters.unknown_payload += 1;
        } else {
            let key = (event.session_id.clone(), event.player_instance.clone());
            let known = sessions.entry(key).or_default();
            match known.insert(event.sequence, event.clone()) {
                None => truth.distinct_events += 1,
                Some(first) => {
                    truth.duplicates += 1;
                    assert_eq!((first.event_time_ms, first.kind), (event.event_time_ms, event.kind));
                }
            }
        }
    }
    for ((session_id, player_instance), events) in sessions {
        let events: Vec<Seen> = events.into_values().collect();
        truth.add_session(SessionTruth { session_id, player_instance, counts: fold(&events) });
    }
    truth
}

/// What a collector would have received of a plan delivered without hurry.
fn delivered(plan: &SessionPlan, started_ms: i64) -> Vec<Seen> {
    let mut events = Vec::new();
    for (index, batch) in plan.batches.iter().enumerate() {
        for delivery_ms in &batch.deliveries_ms {
            let wire = plan.wire_batch(index, started_ms, started_ms + delivery_ms);
            events.extend(seen(ContentType::Protobuf, &wire.encode_to_vec()).unwrap());
        }
    }
    events
}

#[test]
fn the_same_seed_plans_the_same_sessions() {
    let settings = eventful(3, 50);
    for index in 0..50 {
        assert_eq!(plan_session(&settings, 5, index), plan_session(&settings, 5, index));
    }
    let mut later = plan_session(&settings, 6, 9);
    let plan = plan_session(&settings, 5, 9);
    assert_ne!(plan.context.session_id, later.context.session_id);
    later.context.session_id.clone_from(&plan.context.session_id);
    assert_eq!(plan, later, "the run's beginning decides the ids alone");
    assert_ne!(plan.events, plan_session(&eventful(4, 50), 5, 9).events);
}

#[test]
fn session_keys_are_distinct_and_some_sessions_have_two_players() {
    let settings = SimulatorSettings::once(1);
    let mut keys = HashSet::new();
    let mut second = 0;
    for index in 0..2_000 {
        let context = plan_session(&settings, 0, index).context;
        assert_eq!(context.session_id.len(), 36);
        second += u64::from(context.player_instance == "1");
        assert!(keys.insert((context.session_id, context.player_instance)));
    }
    assert!((20..150).contains(&second), "{second} of 1000 odd sessions are reloads");
}

#[test]
fn once_holds_everything_and_fits_into_half_a_minute() {
    let settings = SimulatorSettings::once(42);
    let plans: Vec<SessionPlan> = (0..settings.sessions).map(|index| plan_session(&settings, 0, index)).collect();
    let received: Vec<Seen> = plans.iter().flat_map(|plan| delivered(plan, 0)).collect();
    let truth = recompute(&received);
    let outcomes = truth.outcomes;
    assert!(outcomes.played > 150 && outcomes.start_failure > 0, "{outcomes:?}");
    assert!(outcomes.exit_before_start > 0 && outcomes.playback_failure > 0, "{outcomes:?}");
    assert!(truth.duplicates > 0 && truth.dead_letters.future_time > 0 && truth.dead_letters.unknown_payload > 0);
    assert!(truth.rebuffer_ms > 0 && truth.seek_waiting_ms > 0 && truth.paused_ms > 0);
    assert!(truth.ad_ms > 0 && truth.background_ms > 0);
    assert!(plans.iter().any(|plan| plan.clock_offset_ms > 0) && plans.iter().any(|plan| plan.clock_offset_ms < 0));
    assert!(plans.iter().any(|plan| plan.lost_until(i64::MAX) > 0));
    let arrivals_ms = settings.arrival_gap_ms * settings.sessions as f64;
    let longest_ms = plans.iter().flat_map(|plan| &plan.batches).flat_map(|b| &b.deliveries_ms).max().unwrap();
    assert!(arrivals_ms as i64 + longest_ms < 45_000, "{arrivals_ms} + {longest_ms}");
}

proptest! {
    #[test]
    fn the_truth_of_a_plan_is_the_fold_of_its_deliveries(seed: u64, index in 0..1_000_u64) {
        let settings = eventful(seed, 1);
        let plan = plan_session(&settings, 0, index);
        let mut covered = 0;
        for batch in &plan.batches {
            prop_assert_eq!(batch.events.start, covered);
            covered = batch.events.end;
            prop_assert!(batch.deliveries_ms.iter().all(|at_ms| *at_ms >= batch.closes_ms));
            let last = plan.events[batch.events.clone()].last().unwrap();
            prop_assert!(last.at_ms <= batch.closes_ms);
        }
        prop_assert_eq!(covered, plan.events.len());
        prop_assert!(plan.clock_offset_ms == 0 || plan.clock_offset_ms.abs() > CLOCK_TOLERANCE_MS);

        let truth = recompute(&delivered(&plan, 1_000_000_000));
        prop_assert_eq!(&truth.per_session, &[plan.truth()]);
        let doomed = plan.events.iter().filter(|event| event.is_doomed()).count() as u64;
        prop_assert_eq!(truth.dead_letters.total(), doomed);
        let all = truth.distinct_events + doomed + plan.lost_until(i64::MAX);
        prop_assert_eq!(all, plan.events.len() as u64);
    }

    /// A session that is cut off anywhere has the truth of what was ready to be sent.
    #[test]
    fn a_stopped_session_has_the_truth_of_what_was_sent(seed: u64, elapsed_ms in 0..20_000_i64) {
        let mut plan = plan_session(&eventful(seed, 1), 0, 1);
        let truth = plan.truth_until(elapsed_ms);
        plan.batches.retain(|batch| batch.closes_ms <= elapsed_ms);
        let received = recompute(&delivered(&plan, 0));
        prop_assert_eq!(received.per_session, truth.into_iter().collect::<Vec<_>>());
    }
}

/// Compares all that a collector can know with the truth that the simulator told.
pub(crate) fn compare(told: &Truth, received: &[Seen]) {
    let expected = Truth { lost_events: told.lost_events, unsure_attempts: 0, ..recompute(received) };
    assert_eq!(*told, expected);
    assert_eq!(told.events_sent, told.distinct_events + told.duplicates + told.dead_letters.total());
}

/// A demo's clock, forty times as fast as life.
fn fast_clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new(40.0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_tells_the_truth_about_what_the_collector_received() {
    let (address, received) = fake_collector::start().await;
    received.lock().unwrap().refuse = vec![StatusCode::TOO_MANY_REQUESTS; 3];
    let mut settings = eventful(11, 60);
    settings.concurrent_sessions = 40;
    let (_keep, stop) = watch::channel(false);
    let truth = simulate(settings, &address, fast_clock(), stop).await.unwrap();
    let received = received.lock().unwrap();
    compare(&truth, &received.events);
    assert_eq!(truth.sessions, 60);
    assert!(truth.lost_events > 0 && truth.duplicates > 0 && truth.dead_letters.total() > 0);
    assert_eq!(received.formats.len(), 4, "JSON and protobuf, plain and compressed: {:?}", received.formats);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_tells_the_truth_about_what_was_sent() {
    let (address, received) = fake_collector::start().await;
    let mut settings = eventful(12, 0);
    settings.arrival_gap_ms = 50.0;
    let (stopper, stop) = watch::channel(false);
    let run = tokio::spawn({
        let address = address.clone();
        async move { simulate(settings, &address, fast_clock(), stop).await }
    });
    let enough = async {
        while received.lock().unwrap().events.len() < 1_000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), enough).await.expect("a thousand events within a minute");
    stopper.send(true).unwrap();
    let truth = run.await.unwrap().unwrap();
    compare(&truth, &received.lock().unwrap().events);
    assert!(truth.sessions > 10);
}

#[tokio::test]
async fn nothing_happens_while_the_clock_stands_still() {
    let (address, received) = fake_collector::start().await;
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let (stopper, stop) = watch::channel(false);
    let run = tokio::spawn({
        let (address, clock) = (address.clone(), Arc::clone(&clock));
        async move { simulate(SimulatorSettings::once(5), &address, clock, stop).await }
    });
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert!(received.lock().unwrap().events.is_empty());
    stopper.send(true).unwrap();
    assert_eq!(run.await.unwrap().unwrap(), Truth::default());
}

#[tokio::test]
async fn a_refused_request_and_odd_settings_end_the_run() {
    let (address, received) = fake_collector::start().await;
    received.lock().unwrap().refuse = vec![StatusCode::BAD_REQUEST];
    let (_keep, stop) = watch::channel(false);
    let error = simulate(eventful(1, 20), &address, fast_clock(), stop.clone()).await.unwrap_err();
    assert!(matches!(error, SourceError::Refused { status: 400, .. }), "{error:?}");

    let mut settings = SimulatorSettings::once(1);
    settings.faults.late = 1.5;
    let error = simulate(settings, &address, fast_clock(), stop).await.unwrap_err();
    assert_eq!(error.to_string(), "setting `late`: 1.5 is no probability");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}
