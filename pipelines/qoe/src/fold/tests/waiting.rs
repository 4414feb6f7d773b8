//! Pauses, stalls and seeks inside each other, and the ends of them that are missing.

use super::*;

/// A session that plays from second 0.
fn playing<'a>(rest: &[(i64, P<'a>)]) -> Vec<(i64, P<'a>)> {
    [(0, REQUEST), (0, P::FirstFrame)].into_iter().chain(rest.iter().cloned()).collect()
}

#[test]
fn pause_inside_a_rebuffer() {
    let (session, minutes) = check(
        &playing(&[(5, P::RebufferStart), (6, P::Pause), (8, P::Resume), (9, P::RebufferEnd), (10, end())]),
        [0, 6, 2, 0, 2, 0, 0],
    );
    assert_eq!((session.rebuffer_count, session.pause_count), (1, 1));
    assert_eq!(minutes.concurrent_at_s(), [0, 5]);
}

#[test]
fn a_rebuffer_inside_a_pause_is_a_stall_once_it_is_waited_for() {
    let events = playing(&[(5, P::Pause), (6, P::RebufferStart), (8, P::RebufferEnd), (9, P::Resume), (10, end())]);
    assert_eq!(check(&events, [0, 6, 0, 0, 4, 0, 0]).0.rebuffer_count, 0);
    let events = playing(&[(5, P::Pause), (6, P::RebufferStart), (8, P::Resume), (9, P::RebufferEnd), (10, end())]);
    assert_eq!(check(&events, [0, 6, 1, 0, 3, 0, 0]).0.rebuffer_count, 1);
}

#[test]
fn a_pause_said_twice_is_one() {
    let (session, _) = check(&playing(&[(1, P::Pause), (2, P::Pause), (3, P::Resume)]), [0, 1, 0, 0, 2, 0, 0]);
    assert_eq!(session.pause_count, 1);
}

#[test]
fn a_rebuffer_start_said_twice_is_one() {
    let events = playing(&[(1, P::RebufferStart), (2, P::RebufferStart), (3, P::RebufferEnd), (4, end())]);
    assert_eq!(check(&events, [0, 2, 2, 0, 0, 0, 0]).0.rebuffer_count, 1);
}

#[test]
fn rebuffer_after_a_seek() {
    // Waiting while seeking is seek waiting, as hls.js reports it …
    let events =
        playing(&[(5, P::SeekStart), (5, P::RebufferStart), (8, P::RebufferEnd), (9, P::SeekEnd), (10, end())]);
    assert_eq!(check(&events, [0, 6, 0, 4, 0, 0, 0]).0.rebuffer_count, 0);
    // … and what starts after the seek has ended is a stall.
    let events =
        playing(&[(5, P::SeekStart), (6, P::SeekEnd), (7, P::RebufferStart), (9, P::RebufferEnd), (10, end())]);
    let (session, minutes) = check(&events, [0, 7, 2, 1, 0, 0, 0]);
    assert_eq!((session.rebuffer_count, session.seek_count), (1, 1));
    assert_eq!(minutes.concurrent_at_s(), [0], "nobody watches while seeking at :05");
}

#[test]
fn a_seek_ends_a_stall() {
    let events = playing(&[(5, P::RebufferStart), (7, P::SeekStart), (9, P::SeekEnd), (10, end())]);
    assert_eq!(check(&events, [0, 6, 2, 2, 0, 0, 0]).0.rebuffer_count, 1);
}

#[test]
fn a_seek_while_paused_is_paused() {
    let events = playing(&[(1, P::Pause), (2, P::SeekStart), (4, P::SeekEnd), (5, P::Resume), (6, end())]);
    assert_eq!(check(&events, [0, 2, 0, 0, 4, 0, 0]).0.seek_count, 1);
}

#[test]
fn a_stall_of_no_length_is_a_stall() {
    let events = playing(&[(1, P::RebufferStart), (1, P::RebufferEnd), (2, end())]);
    assert_eq!(check(&events, [0, 2, 0, 0, 0, 0, 0]).0.rebuffer_count, 1);
}

#[test]
fn a_rebuffer_that_never_ends() {
    // Heartbeats whose playhead stands still keep the stall alive: it lasts until the last of them.
    let mut still =
        vec![At::from((0, 0, REQUEST)), At::from((0, 0, P::FirstFrame)), At::from((1, 1, P::RebufferStart))];
    still.extend((1..=40).map(|n| At::from((1 + n * 10, 1, HEARTBEAT))));
    let (session, minutes) = check(&still, [0, 1, 400, 0, 0, 0, 0]);
    assert_eq!((session.rebuffer_count, session.inferred_count), (1, 0));
    // Its viewer leaves concurrency after five minutes of it: the stall began at :01, so :300 is the last slot.
    assert_eq!(minutes.concurrent_at_s().last(), Some(&300));
    // A playhead that moves says that the end is missing: from the earlier of the two heartbeats on it played.
    let (session, _) = check(
        &[
            At::from((0, 0, REQUEST)),
            At::from((0, 0, P::FirstFrame)),
            At::from((4, 4, P::RebufferStart)),
            At::from((10, 4, HEARTBEAT)),
            At::from((20, 14, HEARTBEAT)),
            At::from((30, 24, HEARTBEAT)),
            At::from((31, 25, end())),
        ],
        [0, 25, 6, 0, 0, 0, 0],
    );
    assert_eq!((session.rebuffer_count, session.inferred_count), (1, 1));
}

/// Heartbeats at `length_ms` from each other whose playheads are `advance_ms` apart, after `before`: is playing inferred?
fn infers(before: &[P<'static>], length_ms: i64, advance_ms: i64) -> bool {
    let mut session = SessionFold::default();
    let mut minutes = Minutes::default();
    for payload in before {
        session.apply(0, Some(0), payload, &mut minutes);
    }
    session.apply(0, Some(7000), &HEARTBEAT, &mut minutes);
    session.apply(length_ms, Some(7000 + advance_ms), &HEARTBEAT, &mut minutes);
    assert_adds_up(&session, &minutes);
    assert_eq!(session.state(), if session.inferred_count > 0 { Some(State::Playing) } else { session.state() });
    session.inferred_count == 1
}

#[test]
fn playing_is_inferred_from_a_playhead_at_playing_speed() {
    let stalled = [REQUEST, P::FirstFrame, P::RebufferStart];
    assert!(infers(&stalled, 10_000, 10_000));
    assert!(infers(&stalled, 10_000, 5000) && !infers(&stalled, 10_000, 4999));
    assert!(infers(&stalled, 10_000, 40_000) && !infers(&stalled, 10_000, 40_001));
    assert!(infers(&stalled, 1000, 1000) && !infers(&stalled, 999, 999));
    assert!(infers(&stalled, 300_000, 300_000) && !infers(&stalled, 300_001, 300_001));
    assert!(infers(&[REQUEST, P::FirstFrame, P::Pause], 1_800_000, 1_800_000));
    assert!(infers(&[REQUEST, P::FirstFrame, P::SeekStart], 10_000, 10_000));
    assert!(infers(&[REQUEST], 10_000, 10_000));
    assert!(!infers(&[REQUEST, P::FirstFrame], 10_000, 10_000), "it plays already");
    assert!(!infers(&[REQUEST, ad_start()], 10_000, 10_000), "an ad has a playhead of its own");
    assert!(!infers(&[REQUEST, P::AdBreakStart], 10_000, 10_000));
    assert!(!infers(&[REQUEST, P::FirstFrame, end()], 10_000, 10_000), "it is over");
}

#[test]
fn playing_is_inferred_between_heartbeats_only() {
    let start = [At::from((0, 0, REQUEST)), At::from((0, 0, P::FirstFrame)), At::from((4, 4, P::RebufferStart))];
    // A seek moves the playhead, too; so does any event between.
    for between in [P::Foreground, P::RebufferStart] {
        let mut events = start.to_vec();
        events.extend([At::from((5, 4, HEARTBEAT)), At::from((10, 9, between)), At::from((15, 14, HEARTBEAT))]);
        assert_eq!(fold(&events).0.inferred_count, 0);
    }
    // And a heartbeat without a playhead shows nothing.
    for playheads in [(Some(4), None), (None, Some(14))] {
        let mut events = start.to_vec();
        events.extend([At(5, playheads.0, HEARTBEAT), At(15, playheads.1, HEARTBEAT)]);
        assert_eq!(fold(&events).0.inferred_count, 0);
    }
}

#[test]
fn lost_heartbeats() {
    // One heartbeat a minute instead of six: the durations are the same, concurrency ends after 30 s of silence.
    let (session, minutes) = check(&playing(&[(60, HEARTBEAT), (70, end())]), [0, 70, 0, 0, 0, 0, 0]);
    assert_eq!(minutes.concurrent_at_s(), [0, 5, 10, 15, 20, 25, 60, 65]);
    assert_eq!(session.silent_ms, 0);
    // A silence as long as the gap is a state, a longer one is none; a pause may last longer.
    assert_eq!(check(&playing(&[(300, HEARTBEAT)]), [0, 300, 0, 0, 0, 0, 0]).0.silent_ms, 0);
    assert_eq!(check(&playing(&[(301, HEARTBEAT)]), [0; 7]).0.silent_ms, 301_000);
    let events = playing(&[(1, P::Pause), (1801, P::Resume), (1802, end())]);
    assert_eq!(check(&events, [0, 2, 0, 0, 1800, 0, 0]).0.silent_ms, 0);
    assert_eq!(fold(&playing(&[(1, P::Pause), (1802, P::Resume)])).0.silent_ms, 1_801_000);
}

#[test]
fn the_gap_is_longer_while_paused() {
    assert_eq!(fold(&playing(&[])).0.gap_ms(), SESSION_GAP_MS);
    assert_eq!(fold(&playing(&[(1, P::Pause)])).0.gap_ms(), PAUSED_GAP_MS);
}
