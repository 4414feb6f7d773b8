//! Clocks that step, midnight, daylight-saving, sessions of no length.

use super::*;

#[test]
fn clock_steps_back() {
    let (session, _) = check(
        &[(100, REQUEST), (110, P::FirstFrame), (50, HEARTBEAT), (57, HEARTBEAT), (120, end())],
        [10, 70, 0, 0, 0, 0, 0],
    );
    assert_eq!((session.started_at_ms, session.last_time_ms), (100_000, 120_000));
    // The latest time stands, for the gap is counted from there.
    assert_eq!(fold(&[(10, REQUEST), (5, HEARTBEAT)]).0.last_time_ms, 10_000);
}

#[test]
fn clock_steps_forward() {
    // By an hour: silence. By less than the gap it cannot be told from playing.
    let (session, _) =
        check(&[(0, REQUEST), (1, P::FirstFrame), (3601, HEARTBEAT), (3606, end())], [1, 5, 0, 0, 0, 0, 0]);
    assert_eq!(session.silent_ms, 3_600_000);
    check(&[(0, REQUEST), (1, P::FirstFrame), (201, HEARTBEAT)], [1, 200, 0, 0, 0, 0, 0]);
}

#[test]
fn a_session_of_no_length() {
    let (session, minutes) = check(&[(7, REQUEST), (7, P::FirstFrame), (7, end())], [0; 7]);
    assert_eq!((session.startup_ms, session.media_ms, session.avg_bitrate_kbps()), (Some(0), 0, None));
    assert_eq!((session.started_at_ms, session.last_time_ms), (7000, 7000));
    assert!(minutes.concurrent_at_s().is_empty());
    assert_eq!(session.outcome(true), Outcome::Played);
}

/// Folds three minutes of playing from half a minute before `boundary_ms` on.
fn across(boundary_ms: i64) -> (SessionFold, Minutes) {
    let mut session = SessionFold::default();
    let mut minutes = Minutes::default();
    let start_ms = boundary_ms - 30_000;
    for (after_ms, payload) in [(0, REQUEST), (0, P::FirstFrame), (90_000, HEARTBEAT), (180_000, end())] {
        session.apply(start_ms + after_ms, None, &payload, &mut minutes);
    }
    assert_adds_up(&session, &minutes);
    assert_eq!((session.duration_ms(State::Playing), session.started_at_ms), (180_000, start_ms));
    (session, minutes)
}

#[test]
fn across_midnight() {
    const MIDNIGHT_MS: i64 = 1_772_323_200_000; // 2026-03-01T00:00Z
    let (_, minutes) = across(MIDNIGHT_MS);
    let midnight = MIDNIGHT_MS / MINUTE_MS;
    let playing: Vec<i64> = (-1..3).map(|minute| minutes.at(midnight + minute, Measure::PlayingMs)).collect();
    assert_eq!(playing, [30_000, 60_000, 60_000, 30_000]);
}

#[test]
fn across_a_daylight_saving_change() {
    // 2026-03-29T01:00Z: 02:00 becomes 03:00 in Berlin. 2026-10-25T01:00Z: 03:00 becomes 02:00.
    for change_ms in [1_774_746_000_000, 1_792_890_000_000] {
        let (session, minutes) = across(change_ms);
        assert_eq!(session.last_time_ms - session.started_at_ms, 180_000);
        assert_eq!(minutes.at(change_ms / MINUTE_MS, Measure::PlayingMs), 60_000);
    }
}

#[test]
fn minutes_before_the_epoch_are_whole_too() {
    let (_, minutes) = fold(&[(-70, REQUEST), (-70, P::FirstFrame), (-10, end())]);
    assert_eq!((minutes.at(-2, Measure::PlayingMs), minutes.at(-1, Measure::PlayingMs)), (10_000, 50_000));
    assert_eq!(minutes.concurrent_at_s(), [-70, -65, -60, -55, -50, -45]);
}

#[test]
fn a_slot_counts_who_plays_at_its_start() {
    let slots = |from_ms: i64, to_ms: i64| {
        let mut session = SessionFold::default();
        let mut minutes = Minutes::default();
        for (time_ms, payload) in [(from_ms, REQUEST), (from_ms, P::FirstFrame), (to_ms, end())] {
            session.apply(time_ms, None, &payload, &mut minutes);
        }
        minutes.concurrent_at_s()
    };
    assert_eq!(slots(0, 5000), [0]);
    assert_eq!(slots(1, 5000), [0; 0]);
    assert_eq!(slots(1, 5001), [5]);
    assert_eq!(slots(4999, 10_001), [5, 10]);
}
