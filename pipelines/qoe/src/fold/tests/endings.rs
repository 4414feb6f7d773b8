//! Ends, errors and outcomes.

use super::*;

#[test]
fn outcomes() {
    let outcome = |events: &[(i64, P<'static>)], closed| fold(events).0.outcome(closed);
    assert_eq!(outcome(&[(0, REQUEST)], false), Outcome::Pending);
    assert_eq!(outcome(&[(0, REQUEST)], true), Outcome::ExitBeforeStart);
    assert_eq!(outcome(&[(0, REQUEST), (1, error("x", true, false))], true), Outcome::StartFailure);
    assert_eq!(outcome(&[(0, REQUEST), (1, P::FirstFrame)], false), Outcome::Played);
    assert_eq!(outcome(&[(0, HEARTBEAT)], true), Outcome::Unknown);
    let names = ["played", "start_failure", "exit_before_start", "playback_failure", "pending", "unknown"];
    let all = [
        Outcome::Played,
        Outcome::StartFailure,
        Outcome::ExitBeforeStart,
        Outcome::PlaybackFailure,
        Outcome::Pending,
        Outcome::Unknown,
    ];
    assert_eq!(all.map(Outcome::name), names);
}

#[test]
fn error_then_recovery() {
    let (session, minutes) = check(
        &[
            (0, REQUEST),
            (1, P::FirstFrame),
            (2, error("first", false, false)),
            (3, error("second", false, true)),
            (9, end()),
        ],
        [1, 8, 0, 0, 0, 0, 0],
    );
    let shown = session.error.clone().expect("the first one is shown");
    assert_eq!((shown.code.as_str(), shown.fatal, shown.business), ("first", false, false));
    assert_eq!((session.error_count, session.outcome(true)), (2, Outcome::Played));
    assert_eq!(minutes.total(Measure::PlaybackFailures) + minutes.total(Measure::StartFailures), 0);
}

#[test]
fn errors_before_and_after_the_first_frame() {
    // Before: counted in the minute of the request.
    let (session, minutes) = check(&[(50, REQUEST), (70, error("hard", true, false))], [20, 0, 0, 0, 0, 0, 0]);
    assert_eq!((session.outcome(true), session.error_count), (Outcome::StartFailure, 0));
    assert_eq!((minutes.at(0, Measure::StartFailures), minutes.total(Measure::PlaybackFailures)), (1, 0));
    // After: in the minute of the error; the first fatal one decides, and ends the session.
    let (session, minutes) = check(
        &[
            (50, REQUEST),
            (51, P::FirstFrame),
            (52, error("soft", false, false)),
            (70, error("hard", true, false)),
            (71, error("later", true, true)),
            (80, HEARTBEAT),
        ],
        [1, 19, 0, 0, 0, 0, 0],
    );
    assert_eq!(session.error.as_ref().map(|e| e.code.as_str()), Some("hard"));
    assert_eq!((session.outcome(true), session.event_count), (Outcome::PlaybackFailure, 6));
    assert_eq!((minutes.at(1, Measure::PlaybackFailures), minutes.total(Measure::PlaybackFailures)), (1, 1));
    assert_eq!(minutes.total(Measure::StartFailures) + minutes.total(Measure::PlaybackFailuresBusiness), 0);
}

#[test]
fn technical_and_business_errors() {
    let measures = [
        Measure::StartFailures,
        Measure::StartFailuresBusiness,
        Measure::PlaybackFailures,
        Measure::PlaybackFailuresBusiness,
    ];
    for (started, business, expected) in [
        (false, false, [1, 0, 0, 0]),
        (false, true, [0, 1, 0, 0]),
        (true, false, [0, 0, 1, 0]),
        (true, true, [0, 0, 0, 1]),
    ] {
        let first_frame = if started { P::FirstFrame } else { HEARTBEAT };
        let (session, minutes) = fold(&[(0, REQUEST), (1, first_frame), (2, error("E", true, business))]);
        assert_eq!(measures.map(|measure| minutes.total(measure)), expected);
        assert_eq!(session.error.map(|e| (e.fatal, e.business)), Some((true, business)));
    }
}

#[test]
fn missing_end() {
    let (mut session, mut minutes) =
        check(&[(0, REQUEST), (1, P::FirstFrame), (11, HEARTBEAT)], [1, 10, 0, 0, 0, 0, 0]);
    assert!(!session.has_ended());
    session.close(&mut minutes);
    assert_eq!((session.outcome(true), session.end_reason.clone()), (Outcome::Played, None));
    assert_eq!(session.duration_ms(State::Playing), 10_000, "nothing is assumed after the last event");
    assert_eq!(minutes.total(Measure::EndedPlays), 1);
}

#[test]
fn nothing_counts_after_the_end() {
    for last in [end(), error("E", true, false), state(S::Quit)] {
        let (session, minutes) = fold(&[
            (0, REQUEST),
            (1, P::FirstFrame),
            (9, last.clone()),
            (10, P::RebufferStart),
            (20, P::RebufferEnd),
            (21, error("late", true, false)),
            (22, rendition("late", 1, 1, 1)),
            (30, P::SessionEnd { reason: "late".into() }),
        ]);
        assert!(session.has_ended());
        assert_eq!((session.duration_ms(State::Playing), session.rebuffer_count), (8000, 0), "{last:?}");
        assert_eq!((session.event_count, session.last_time_ms), (8, 30_000));
        assert_eq!(minutes.total(Measure::PlaybackFailures), i64::from(session.error.is_some()));
        assert_ne!(session.end_reason.as_deref(), Some("late"));
    }
}

#[test]
fn who_asks_a_failed_player_gets_a_start_failure() {
    let failed = |business| error("hard", true, business);
    for (request, autoplay) in
        [(REQUEST, false), (P::PlayRequested { autoplay: true }, true), (state(S::Starting), false)]
    {
        for (business, measure) in [(false, Measure::StartFailures), (true, Measure::StartFailuresBusiness)] {
            let events = [(0, HEARTBEAT), (59, failed(business)), (61, request.clone()), (62, request.clone())];
            let (mut session, mut minutes) = fold(&events);
            assert_eq!((session.outcome(false), session.autoplay), (Outcome::StartFailure, autoplay));
            assert_eq!((session.requested_at_ms, session.event_count), (Some(61_000), 4));
            session.close(&mut minutes);
            for measure in [Measure::Attempts, measure] {
                assert_eq!((minutes.at(1, measure), minutes.total(measure)), (1, 1), "{request:?}");
            }
            assert_eq!(minutes.total(Measure::ExitsBeforeStart) + session.duration_ms(State::Startup), 0);
        }
    }
    // Who asked before has one attempt; after an end nobody asks, and a frame needs a session of its own.
    let attempts = |events: &[(i64, P<'static>)]| fold(events).1.total(Measure::Attempts);
    assert_eq!(attempts(&[(0, REQUEST), (1, failed(false)), (2, REQUEST)]), 1);
    assert_eq!(attempts(&[(0, error("soft", false, false)), (1, end()), (2, REQUEST)]), 0);
    assert_eq!(attempts(&[(0, P::FirstFrame), (1, failed(false)), (2, REQUEST)]), 0);
    assert_eq!(attempts(&[(0, failed(false)), (1, state(S::Preloading)), (2, HEARTBEAT)]), 0);
}

#[test]
fn closing_and_reopening_counts_once() {
    let (mut session, mut minutes) = fold(&[(30, REQUEST), (31, end())]);
    for _ in 0..2 {
        session.close(&mut minutes);
        session.close(&mut minutes);
        assert_eq!(minutes.total(Measure::ExitsBeforeStart), 1);
        session.reopen(&mut minutes);
        session.reopen(&mut minutes);
        assert_eq!((minutes.total(Measure::ExitsBeforeStart), minutes.total(Measure::QuickExits)), (0, 0));
    }
    // An exit that turns out to be a play after all.
    let (mut session, mut minutes) = fold(&[(30, REQUEST)]);
    session.close(&mut minutes);
    session.reopen(&mut minutes);
    session.apply(40_000, None, &P::FirstFrame, &mut minutes);
    session.close(&mut minutes);
    assert_eq!((minutes.total(Measure::ExitsBeforeStart), minutes.total(Measure::EndedPlays)), (0, 1));
    assert_eq!(session.outcome(true), Outcome::Played);
    // A failure is no exit and, before the first frame, no play.
    let (mut session, mut minutes) = fold(&[(30, REQUEST), (31, error("E", true, false))]);
    session.close(&mut minutes);
    assert_eq!((minutes.total(Measure::ExitsBeforeStart), minutes.total(Measure::EndedPlays)), (0, 0));
    // A failure after it is a play that has ended.
    let (mut session, mut minutes) = fold(&[(30, REQUEST), (31, P::FirstFrame), (32, error("E", true, false))]);
    session.close(&mut minutes);
    assert_eq!(minutes.total(Measure::EndedPlays), 1);
}

#[test]
fn the_code_of_a_fatal_error_may_come_after_it() {
    let failed =
        |code: &'static str| P::PlayerState { state: Some(S::Failed), code: code.into(), bitrate_bps: 0, buffer_ms: 0 };
    let code = |events: &[P<'static>]| {
        let events: Vec<(i64, P<'static>)> = [REQUEST].iter().chain(events).cloned().map(|p| (0, p)).collect();
        fold(&events).0.error.map(|e| (e.code.to_string(), e.fatal))
    };
    let shown = |code: &str| Some((code.to_owned(), true));
    assert_eq!(code(&[failed(""), HEARTBEAT, error("late", false, false)]), shown("late"));
    assert_eq!(code(&[failed(""), failed("late"), failed("later")]), shown("late"));
    assert_eq!(code(&[failed("first"), error("late", true, false)]), shown("first"));
    assert_eq!(code(&[error("", false, false), end(), error("late", false, false)]), Some((String::new(), false)));
    assert_eq!(code(&[end(), error("late", true, false)]), None);
}

#[test]
fn a_session_that_has_ended_is_in_no_state() {
    let (session, _) = fold(&[(0, REQUEST), (1, P::FirstFrame), (2, end())]);
    assert_eq!((session.state(), session.has_ended()), (None, true));
}
