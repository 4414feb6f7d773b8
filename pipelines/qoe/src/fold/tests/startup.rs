//! Startup, exits and failures before the first frame, and what is missing.

use super::*;

#[test]
fn seek_during_startup() {
    let (session, minutes) = check(
        &[(0, REQUEST), (1, P::SeekStart), (3, P::SeekEnd), (4, P::FirstFrame), (5, end())],
        [4, 1, 0, 0, 0, 0, 0],
    );
    assert_eq!((session.startup_ms, session.first_picture_ms, session.seek_count), (None, None, 1));
    assert_eq!((minutes.total(Measure::Starts), minutes.total(Measure::Startups)), (1, 0));
}

#[test]
fn an_interrupted_startup_has_no_startup_time() {
    for interruption in [P::Pause, P::SeekStart, P::Background, error("E", false, false)] {
        let (session, minutes) = fold(&[(0, REQUEST), (1, interruption.clone()), (3, P::FirstFrame)]);
        assert_eq!(session.startup_ms, None, "{interruption:?}");
        assert_eq!((minutes.total(Measure::Starts), minutes.total(Measure::Startups)), (1, 0));
    }
    // A silence longer than the gap is one, too; one as long as the gap is not.
    assert_eq!(fold(&[(0, REQUEST), (301, P::FirstFrame)]).0.startup_ms, None);
    assert_eq!(fold(&[(0, REQUEST), (300, P::FirstFrame)]).0.startup_ms, Some(300_000));
}

#[test]
fn what_happens_before_the_play_request_interrupts_nothing() {
    let (session, _) = check(
        &[
            (0, P::Background),
            (3, P::Foreground),
            (4, P::SeekStart),
            (5, P::SeekEnd),
            (10, REQUEST),
            (12, P::FirstFrame),
            (13, end()),
        ],
        [2, 1, 0, 0, 0, 0, 0],
    );
    assert_eq!((session.startup_ms, session.background_total_ms()), (Some(2000), 0));
}

#[test]
fn what_is_in_force_at_the_play_request_interrupts_it() {
    for before in [P::Background, P::Pause, P::SeekStart] {
        let (session, _) = fold(&[(0, before.clone()), (1, REQUEST), (2, P::FirstFrame)]);
        assert_eq!((session.startup_ms, session.first_picture_ms), (None, None), "{before:?}");
    }
}

#[test]
fn rebuffering_before_the_first_frame_is_startup() {
    let (session, _) =
        check(&[(0, REQUEST), (1, P::RebufferStart), (3, P::FirstFrame), (4, end())], [3, 1, 0, 0, 0, 0, 0]);
    assert_eq!((session.startup_ms, session.rebuffer_count), (Some(3000), 0));
}

#[test]
fn startup_is_counted_in_the_minute_of_the_request() {
    let (_, minutes) = fold(&[(59, REQUEST), (62, P::FirstFrame), (63, HEARTBEAT)]);
    for measure in [Measure::Attempts, Measure::Starts, Measure::Startups, Measure::FirstPictures] {
        assert_eq!((minutes.at(0, measure), minutes.at(1, measure)), (1, 0), "{measure:?}");
    }
    assert_eq!((minutes.at(0, Measure::StartupMs), minutes.at(0, Measure::StartupWaitingMs)), (3000, 1000));
    assert_eq!(minutes.buckets, BTreeMap::from([((0, startup_bucket(3000)), 1)]));
}

use crate::startup_buckets::startup_bucket;

#[test]
fn a_second_play_request_or_first_frame_changes_nothing() {
    let (session, minutes) = check(
        &[(0, REQUEST), (1, P::PlayRequested { autoplay: true }), (2, P::FirstFrame), (4, P::FirstFrame), (5, end())],
        [2, 3, 0, 0, 0, 0, 0],
    );
    assert_eq!((session.requested_at_ms, session.startup_ms, session.autoplay), (Some(0), Some(2000), false));
    assert_eq!(minutes.total(Measure::ResolvedAutoplays), 0);
}

#[test]
fn a_play_request_after_the_first_frame_is_an_attempt_without_startup_time() {
    let (session, minutes) = check(&[(0, P::FirstFrame), (2, REQUEST), (3, end())], [0, 3, 0, 0, 0, 0, 0]);
    assert_eq!((session.startup_ms, session.outcome(true)), (None, Outcome::Played));
    assert_eq!((minutes.total(Measure::Attempts), minutes.total(Measure::Starts)), (1, 1));
}

#[test]
fn autoplay_to_the_next_title() {
    let (session, minutes) =
        check(&[(0, P::PlayRequested { autoplay: true }), (1, P::FirstFrame), (9, end())], [1, 8, 0, 0, 0, 0, 0]);
    assert!(session.autoplay);
    assert_eq!((minutes.total(Measure::Attempts), minutes.total(Measure::ResolvedAutoplays)), (1, 1));
    assert_eq!(session.startup_ms, Some(1000));
    // It is counted when its outcome is known, whichever it is.
    let autoplay = P::PlayRequested { autoplay: true };
    let (mut session, mut minutes) = fold(&[(0, autoplay.clone())]);
    assert_eq!(minutes.total(Measure::ResolvedAutoplays), 0);
    session.close(&mut minutes);
    assert_eq!(minutes.total(Measure::ResolvedAutoplays), 1);
    session.reopen(&mut minutes);
    assert_eq!(minutes.total(Measure::ResolvedAutoplays), 0);
    for resolving in [vec![(0, autoplay.clone()), (1, error("E", true, true))], vec![(0, P::FirstFrame), (1, autoplay)]]
    {
        assert_eq!(fold(&resolving).1.total(Measure::ResolvedAutoplays), 1);
    }
}

#[test]
fn exit_before_start_under_and_over_one_second() {
    let exit = |events: &[(i64, P<'static>)], at_ms: i64| {
        let mut session = SessionFold::default();
        let mut minutes = Minutes::default();
        for (time_ms, payload) in events {
            session.apply(*time_ms, None, payload, &mut minutes);
        }
        session.apply(at_ms, None, &end(), &mut minutes);
        session.close(&mut minutes);
        assert_eq!(session.outcome(true), Outcome::ExitBeforeStart);
        assert_eq!(minutes.total(Measure::ExitsBeforeStart), 1);
        (session.exit_after_ms, minutes.total(Measure::QuickExits))
    };
    assert_eq!(exit(&[(5000, REQUEST)], 5999), (Some(999), 1));
    assert_eq!(exit(&[(5000, REQUEST)], 6000), (Some(1000), 0));
    assert_eq!(exit(&[(5000, REQUEST)], 4000), (Some(0), 1)); // the clock stepped back
    // Nobody said when the viewer left: it is no quick exit.
    let (mut session, mut minutes) = fold(&[(0, REQUEST)]);
    session.close(&mut minutes);
    assert_eq!((session.exit_after_ms, minutes.total(Measure::QuickExits)), (None, 0));
    assert_eq!(minutes.total(Measure::ExitsBeforeStart), 1);
    // Only a session that never started has left before its start.
    assert_eq!(fold(&[(0, REQUEST), (0, P::FirstFrame), (0, end())]).0.exit_after_ms, None);
    assert_eq!(fold(&[(0, HEARTBEAT), (0, end())]).0.exit_after_ms, None);
}

#[test]
fn missing_first_frame() {
    let (mut session, mut minutes) = check(
        &[
            At::from((0, 0, REQUEST)),
            At::from((2, 0, HEARTBEAT)),
            At::from((12, 10, HEARTBEAT)), // it played for these ten seconds
            At::from((22, 20, end())),
        ],
        [2, 20, 0, 0, 0, 0, 0],
    );
    assert_eq!((session.startup_ms, session.first_picture_ms, session.inferred_count), (None, None, 1));
    session.close(&mut minutes);
    assert_eq!(session.outcome(true), Outcome::Played);
    assert_eq!((minutes.total(Measure::Starts), minutes.total(Measure::EndedPlays)), (1, 1));
    assert_eq!(minutes.total(Measure::Startups), 0);
}

#[test]
fn missing_play_request() {
    let (mut session, mut minutes) =
        check(&[(0, P::FirstFrame), (4, P::RebufferStart), (6, P::RebufferEnd), (9, end())], [0, 7, 2, 0, 0, 0, 0]);
    session.close(&mut minutes);
    assert_eq!((session.outcome(true), session.startup_ms, session.rebuffer_count), (Outcome::Unknown, None, 1));
    assert_eq!((minutes.total(Measure::Attempts), minutes.total(Measure::EndedPlays)), (0, 0));
    // Neither does a failure count that nobody had asked for.
    let (_, minutes) = fold(&[(0, P::FirstFrame), (1, error("E", true, false))]);
    assert_eq!(minutes.total(Measure::PlaybackFailures), 0);
}

#[test]
fn a_missing_request_and_first_frame_leave_what_was_played() {
    let (session, _) = check(
        &[At::from((0, 50, HEARTBEAT)), At::from((10, 60, HEARTBEAT)), At::from((15, 65, end()))],
        [0, 15, 0, 0, 0, 0, 0],
    );
    assert_eq!((session.outcome(true), session.inferred_count), (Outcome::Unknown, 1));
}
