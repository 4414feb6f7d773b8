//! Players that report states, as CMCD has them.

use super::*;

/// State reports at their seconds.
fn states(reports: &[(i64, S)]) -> Vec<(i64, P<'static>)> {
    reports.iter().map(|(at_s, reported)| (*at_s, state(*reported))).collect()
}

#[test]
fn a_whole_session_of_states() {
    let reports = [
        (0, S::Preloading),
        (5, S::Starting),
        (7, S::Playing),
        (20, S::Rebuffering),
        (23, S::Playing),
        (30, S::Paused),
        (34, S::Playing),
        (40, S::Seeking),
        (40, S::Rebuffering), // hls.js says so of every seek that waits
        (42, S::Playing),
        (50, S::Ended),
    ];
    let (session, minutes) = check(&states(&reports), [2, 34, 3, 2, 4, 0, 0]);
    assert_eq!((session.startup_ms, session.first_picture_ms), (Some(2000), Some(2000)));
    assert_eq!((session.rebuffer_count, session.seek_count, session.pause_count), (1, 1, 1));
    assert_eq!((session.outcome(true), session.end_reason.as_deref()), (Outcome::Played, Some("ended")));
    assert_eq!((session.requested_at_ms, minutes.total(Measure::Attempts)), (Some(5000), 1));
}

#[test]
fn playing_without_starting_has_no_startup_time() {
    let (session, minutes) = check(&states(&[(3, S::Playing), (9, S::Quit)]), [0, 6, 0, 0, 0, 0, 0]);
    assert_eq!((session.startup_ms, session.requested_at_ms), (None, Some(3000)));
    assert_eq!((session.outcome(true), session.end_reason.as_deref()), (Outcome::Played, Some("quit")));
    assert_eq!((minutes.total(Measure::Attempts), minutes.total(Measure::Starts)), (1, 1));
}

#[test]
fn a_state_ends_the_one_before() {
    check(
        &states(&[(0, S::Playing), (1, S::Paused), (3, S::Rebuffering), (6, S::Playing), (7, S::Ended)]),
        [0, 2, 3, 0, 2, 0, 0],
    );
    check(
        &states(&[(0, S::Playing), (1, S::Rebuffering), (3, S::Paused), (6, S::Playing), (7, S::Ended)]),
        [0, 2, 2, 0, 3, 0, 0],
    );
    // After a seek within a pause the player is paused, and not seeking when it goes on.
    check(
        &states(&[(0, S::Playing), (1, S::Paused), (2, S::Seeking), (4, S::Paused), (6, S::Playing), (7, S::Ended)]),
        [0, 2, 0, 0, 5, 0, 0],
    );
    check(
        &states(&[(0, S::Playing), (1, S::Rebuffering), (2, S::Seeking), (4, S::Playing), (7, S::Ended)]),
        [0, 4, 1, 2, 0, 0, 0],
    );
}

#[test]
fn a_seek_said_twice_is_one() {
    let (session, _) =
        fold(&states(&[(0, S::Playing), (1, S::Seeking), (2, S::Seeking), (3, S::Playing), (4, S::Seeking)]));
    assert_eq!(session.seek_count, 2);
}

#[test]
fn failed_is_a_fatal_technical_error() {
    let (session, minutes) = fold(&states(&[(0, S::Starting), (2, S::Failed), (3, S::Playing)]));
    assert_eq!(session.outcome(true), Outcome::StartFailure);
    let error = session.error.expect("a failure has an error");
    assert_eq!((error.code.as_str(), error.fatal, error.business), ("E1", true, false));
    assert_eq!(minutes.total(Measure::StartFailures), 1);
}

#[test]
fn an_end_before_the_first_frame_is_an_exit() {
    for last in [S::Ended, S::Quit] {
        let (session, _) = fold(&states(&[(0, S::Starting), (4, last)]));
        assert_eq!((session.outcome(true), session.exit_after_ms), (Outcome::ExitBeforeStart, Some(4000)));
    }
}

#[test]
fn a_stall_of_unknown_length_is_counted_where_it_can_be_one() {
    let count = |before: &[P<'static>]| {
        let events: Vec<(i64, P<'static>)> =
            before.iter().cloned().chain([state(S::Stalled)]).map(|p| (0, p)).collect();
        let (session, _) = fold(&events);
        (session.rebuffer_count, session.background_rebuffer_count)
    };
    assert_eq!(count(&[REQUEST, P::FirstFrame]), (1, 0));
    assert_eq!(count(&[REQUEST, P::FirstFrame, P::Background]), (0, 1));
    assert_eq!(count(&[REQUEST, P::FirstFrame, P::RebufferStart]), (2, 0));
    assert_eq!(count(&[REQUEST]), (0, 0));
    assert_eq!(count(&[REQUEST, P::FirstFrame, P::Pause]), (0, 0));
    assert_eq!(count(&[REQUEST, P::FirstFrame, P::SeekStart]), (0, 0));
    assert_eq!(count(&[REQUEST, P::FirstFrame, ad_start()]), (0, 0));
}

#[test]
fn playing_inside_an_ad_is_not_the_content() {
    let (session, _) = check(
        &[
            (0, state(S::Starting)),
            (1, ad_start()),
            (1, state(S::Playing)),
            (3, state(S::Rebuffering)),
            (4, state(S::Playing)),
            (6, P::AdEnd),
            (8, state(S::Playing)),
            (9, state(S::Ended)),
        ],
        [3, 1, 0, 0, 0, 4, 1],
    );
    assert_eq!((session.startup_ms, session.first_picture_ms), (Some(3000), Some(1000)));
    assert_eq!((session.rebuffer_count, session.ad_rebuffer_count), (0, 1));
    assert_eq!(fold(&[(0, ad_start()), (1, state(S::Playing))]).0.requested_at_ms, None);
}

#[test]
fn a_state_report_carries_the_bitrate() {
    let report = |reported, bitrate_bps| P::PlayerState { state: reported, code: "".into(), bitrate_bps, buffer_ms: 0 };
    let (session, _) = fold(&[
        (0, report(Some(S::Starting), 0)),
        (0, report(Some(S::Playing), 800_000)),
        (10, report(None, 1_600_000)), // a state that this version does not know changes none
        (20, end()),
    ]);
    assert_eq!((session.duration_ms(State::Playing), session.avg_bitrate_kbps()), (20_000, Some(1200.0)));
}

#[test]
fn rebuffering_first_is_no_request() {
    let (session, minutes) = fold(&states(&[(1, S::Rebuffering)]));
    assert_eq!((session.requested_at_ms, session.outcome(true)), (None, Outcome::Unknown));
    assert_eq!(minutes.total(Measure::Attempts), 0);
    let reports = [(1, S::Rebuffering), (3, S::Playing), (5, S::Rebuffering), (6, S::Playing), (7, S::Ended)];
    let (session, _) = check(&states(&reports), [0, 3, 1, 0, 0, 0, 0]);
    assert_eq!((session.requested_at_ms, session.startup_ms, session.rebuffer_count), (Some(3000), None, 1));
}
