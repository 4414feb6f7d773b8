//! One test a rule of the module's table, each with the durations a person would work out by hand.

use std::collections::BTreeMap;

use marquee_events::PayloadView as P;

use super::*;
use crate::minutes::Retract;

#[derive(Default, Debug, PartialEq)]
struct Minutes(BTreeMap<(i64, usize), i64>, BTreeMap<(i64, i32), i64>);

impl MinuteSink for Minutes {
    fn add(&mut self, minute: i64, measure: usize, value: i64) {
        *self.0.entry((minute, measure)).or_default() += value;
    }
    fn add_startup_bucket(&mut self, minute: i64, bucket: i32, count: i64) {
        *self.1.entry((minute, bucket)).or_default() += count;
    }
}

impl Minutes {
    fn total(&self, measure: Measure) -> i64 {
        self.0.iter().filter(|((_, m), _)| *m == measure as usize).map(|(_, v)| v).sum()
    }
}

/// Folds events given as (seconds, payload); the minutes must add up to the session, whatever the events are.
fn fold(events: &[(i64, P<'_>)]) -> (SessionFold, Minutes) {
    let mut session = SessionFold::default();
    let mut minutes = Minutes::default();
    for (at_s, payload) in events {
        session.apply(at_s * 1000, None, payload, &mut minutes);
    }
    for state in [
        State::Startup,
        State::Playing,
        State::Rebuffering,
        State::SeekWaiting,
        State::Paused,
        State::Ad,
        State::Background,
    ] {
        assert_eq!(minutes.total(state.measure()), session.duration_ms(state), "{state:?}");
    }
    assert_eq!(minutes.total(Measure::MediaMs), session.media_ms);
    assert_eq!(minutes.total(Measure::RebufferCount), i64::from(session.rebuffer_count));
    (session, minutes)
}

/// Expects (startup, playing, rebuffering, seek waiting, paused, ad, background) in seconds.
fn check(events: &[(i64, P<'_>)], expect_s: [i64; 7]) -> (SessionFold, Minutes) {
    let (session, minutes) = fold(events);
    assert_eq!(session.durations_ms.map(|ms| ms / 1000), expect_s);
    (session, minutes)
}

const HEARTBEAT: P<'static> = P::Heartbeat { buffer_ms: 0, throughput_bps: 0, dropped_frames: 0 };

fn end() -> P<'static> {
    P::SessionEnd { reason: "ended".into() }
}

fn fatal(code: &'static str) -> P<'static> {
    P::Error { code: code.into(), fatal: true, business: false }
}

fn rendition(id: &'static str, bitrate_bps: u64) -> P<'static> {
    P::Rendition {
        representation_id: id.into(),
        bitrate_bps,
        width: 640,
        height: 360,
        codec: "".into(),
        cdn: "".into(),
    }
}

/// The worked example: startup 2 s, play 60 s, stall 5 s, seek wait 3 s, pause 10 s.
#[test]
fn worked_example() {
    let (session, minutes) = check(
        &[
            (0, P::PlayRequested),
            (2, P::FirstFrame),
            (22, P::RebufferStart),
            (27, P::RebufferEnd),
            (47, P::SeekStart),
            (50, P::SeekEnd),
            (60, P::Pause),
            (70, P::Resume),
            (80, end()),
        ],
        [2, 60, 5, 3, 10, 0, 0],
    );
    assert_eq!(session.startup_ms, Some(2000));
    assert_eq!((session.rebuffer_count, session.seek_count), (1, 1));
    assert_eq!(session.outcome(true), Outcome::Played);
    assert_eq!(minutes.total(Measure::Attempts), 1);
    // Every 5 s from :05 to :75, but not while paused at :60 and :65.
    assert_eq!((0..12).map(|i| minutes.total_slot(i)).sum::<i64>(), 13);
}

impl Minutes {
    fn total_slot(&self, slot: usize) -> i64 {
        self.0.iter().filter(|((_, m), _)| *m == Measure::Concurrent00 as usize + slot).map(|(_, v)| v).sum()
    }
}

#[test]
fn pause_inside_a_stall_starts_no_second_stall() {
    let (session, _) = check(
        &[
            (0, P::PlayRequested),
            (0, P::FirstFrame),
            (5, P::RebufferStart),
            (6, P::Pause),
            (8, P::Resume),
            (9, P::RebufferEnd),
            (10, end()),
        ],
        [0, 6, 2, 0, 2, 0, 0],
    );
    assert_eq!(session.rebuffer_count, 1);
}

#[test]
fn waiting_while_seeking_is_not_rebuffering() {
    let (session, _) = check(
        &[
            (0, P::PlayRequested),
            (1, P::FirstFrame),
            (5, P::SeekStart),
            (5, P::RebufferStart),
            (8, P::RebufferEnd),
            (9, P::SeekEnd),
            (10, end()),
        ],
        [1, 5, 0, 4, 0, 0, 0],
    );
    assert_eq!(session.rebuffer_count, 0);
}

#[test]
fn a_seek_ends_a_stall() {
    let (session, _) = check(
        &[
            (0, P::PlayRequested),
            (1, P::FirstFrame),
            (5, P::RebufferStart),
            (7, P::SeekStart),
            (9, P::SeekEnd),
            (10, end()),
        ],
        [1, 5, 2, 2, 0, 0, 0],
    );
    assert_eq!(session.rebuffer_count, 1);
}

#[test]
fn rebuffering_before_the_first_frame_is_startup() {
    let (session, _) =
        check(&[(0, P::PlayRequested), (1, P::RebufferStart), (3, P::FirstFrame), (4, end())], [3, 1, 0, 0, 0, 0, 0]);
    assert_eq!((session.startup_ms, session.rebuffer_count), (Some(3000), 0));
}

#[test]
fn a_stall_of_no_length_is_a_stall() {
    let (session, _) = check(
        &[(0, P::PlayRequested), (0, P::FirstFrame), (1, P::RebufferStart), (1, P::RebufferEnd), (2, end())],
        [0, 2, 0, 0, 0, 0, 0],
    );
    assert_eq!(session.rebuffer_count, 1);
}

#[test]
fn an_interrupted_startup_has_no_startup_time() {
    for interruption in
        [P::Pause, P::SeekStart, P::Background, P::Error { code: "E".into(), fatal: false, business: false }]
    {
        let (session, minutes) = fold(&[(0, P::PlayRequested), (1, interruption.clone()), (3, P::FirstFrame)]);
        assert_eq!(session.startup_ms, None, "{interruption:?}");
        assert_eq!((minutes.total(Measure::Starts), minutes.total(Measure::Startups)), (1, 0));
    }
}

#[test]
fn a_pre_roll_ad_is_not_startup() {
    let (session, _) = check(
        &[(0, P::PlayRequested), (1, P::AdStart { ad_id: "a".into() }), (6, P::AdEnd), (8, P::FirstFrame), (9, end())],
        [3, 1, 0, 0, 0, 5, 0],
    );
    assert_eq!(session.startup_ms, Some(3000));
}

#[test]
fn outcomes() {
    let outcome = |events: &[(i64, P<'_>)], closed| fold(events).0.outcome(closed);
    assert_eq!(outcome(&[(0, P::PlayRequested)], false), Outcome::Pending);
    assert_eq!(outcome(&[(0, P::PlayRequested)], true), Outcome::ExitBeforeStart);
    assert_eq!(outcome(&[(0, P::PlayRequested), (1, fatal("x"))], true), Outcome::StartFailure);
    assert_eq!(outcome(&[(0, P::PlayRequested), (1, P::FirstFrame), (2, fatal("x"))], true), Outcome::PlaybackFailure);
    assert_eq!(outcome(&[(0, P::PlayRequested), (1, P::FirstFrame)], false), Outcome::Played);
    assert_eq!(outcome(&[(0, HEARTBEAT)], true), Outcome::Unknown);
}

#[test]
fn the_first_fatal_error_is_shown_and_ends_the_session() {
    let (session, minutes) = check(
        &[
            (0, P::PlayRequested),
            (1, P::FirstFrame),
            (2, P::Error { code: "soft".into(), fatal: false, business: false }),
            (3, fatal("hard")),
            (4, fatal("later")),
            (9, HEARTBEAT),
        ],
        [1, 2, 0, 0, 0, 0, 0],
    );
    assert_eq!(session.error.map(|e| e.code).as_deref(), Some("hard"));
    assert_eq!(minutes.total(Measure::PlaybackFailures), 1);
    assert_eq!(session.event_count, 6);
}

#[test]
fn closing_and_reopening_counts_an_exit_once() {
    let (mut session, mut minutes) = fold(&[(30, P::PlayRequested)]);
    session.close(&mut minutes);
    session.close(&mut minutes);
    assert_eq!(minutes.total(Measure::ExitsBeforeStart), 1);
    session.reopen(&mut minutes);
    session.apply(40_000, None, &P::FirstFrame, &mut minutes);
    session.close(&mut minutes);
    assert_eq!(minutes.total(Measure::ExitsBeforeStart), 0);
    assert_eq!(session.outcome(true), Outcome::Played);
}

#[test]
fn silence_longer_than_the_gap_is_nothing_and_a_pause_may_last_longer() {
    let (session, _) = check(
        &[(0, P::PlayRequested), (1, P::FirstFrame), (400, HEARTBEAT), (401, P::Pause), (1001, P::Resume)],
        [1, 1, 0, 0, 600, 0, 0],
    );
    assert_eq!(session.silent_ms, 399_000);
}

#[test]
fn time_that_steps_back_counts_as_zero() {
    let (session, _) =
        check(&[(0, P::PlayRequested), (10, P::FirstFrame), (5, HEARTBEAT), (12, HEARTBEAT)], [10, 2, 0, 0, 0, 0, 0]);
    assert_eq!(session.last_time_ms, 12_000);
}

#[test]
fn a_new_bitrate_of_the_same_representation_is_no_switch_and_weighs_by_media_time() {
    let mut session = SessionFold::default();
    let mut minutes = Minutes::default();
    let events: [(i64, i64, P<'_>); 6] = [
        (0, 0, P::PlayRequested),
        (0, 0, rendition("6", 1_000_000)),
        (0, 0, P::FirstFrame),
        (4000, 4000, rendition("6", 2_000_000)),
        (8000, 8000, rendition("7", 4_000_000)),
        (10_000, 16_000, end()), // two seconds at double speed, then a jump: at most 4 × real time counts
    ];
    for (time_ms, media_ms, payload) in &events {
        session.apply(*time_ms, Some(*media_ms), payload, &mut minutes);
    }
    assert_eq!(session.rendition_switch_count, 1);
    assert_eq!(session.media_ms, 16_000);
    let expected = (1_000.0 * 4.0 + 2_000.0 * 4.0 + 4_000.0 * 8.0) / 16.0;
    assert!((session.avg_bitrate_kbps().unwrap_or_default() - expected).abs() < 1e-9);
    assert_eq!(session.avg_height_px(), Some(360.0));
}

#[test]
fn a_session_over_a_minute_boundary_is_split_at_it() {
    let (_, minutes) = fold(&[(0, P::PlayRequested), (50, P::FirstFrame), (70, end())]);
    assert_eq!(minutes.0[&(0, Measure::PlayingMs as usize)], 10_000);
    assert_eq!(minutes.0[&(1, Measure::PlayingMs as usize)], 10_000);
}

#[test]
fn a_retraction_leaves_nothing() {
    let events = [(0, P::PlayRequested), (2, P::FirstFrame), (70, P::RebufferStart), (75, P::RebufferEnd), (90, end())];
    let (_, mut minutes) = fold(&events);
    let mut again = SessionFold::default();
    for (at_s, payload) in &events {
        again.apply(at_s * 1000, None, payload, &mut Retract(&mut minutes));
    }
    assert!(minutes.0.values().all(|v| *v == 0));
    assert!(minutes.1.values().all(|v| *v == 0));
}

#[test]
fn concurrency_ends_after_thirty_seconds_of_silence() {
    let (_, minutes) = fold(&[(0, P::PlayRequested), (1, P::FirstFrame), (61, HEARTBEAT)]);
    assert_eq!((0..12).map(|i| minutes.total_slot(i)).sum::<i64>(), 6); // :05 … :30
}
