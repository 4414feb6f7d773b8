//! What goes on while nobody sees it.

use super::*;

fn background_s(session: &SessionFold) -> [i64; 7] {
    session.background_ms.map(|ms| ms / 1000)
}

#[test]
fn background_tab() {
    let (session, minutes) = check(
        &[
            (0, REQUEST),
            (1, P::FirstFrame),
            (10, P::Background),
            (14, P::RebufferStart),
            (17, P::RebufferEnd),
            (19, P::SeekStart),
            (20, P::SeekEnd),
            (22, P::Pause),
            (24, P::Foreground),
            (25, P::Resume),
            (30, end()),
        ],
        [1, 14, 0, 0, 1, 0, 0],
    );
    assert_eq!(background_s(&session), [0, 8, 3, 1, 2, 0, 0]);
    assert_eq!(session.background_total_ms(), 14_000);
    let measures = [
        (Measure::BackgroundMs, 14_000),
        (Measure::BackgroundPlayingMs, 8000),
        (Measure::BackgroundRebufferMs, 3000),
        (Measure::BackgroundSeekWaitingMs, 1000),
        (Measure::BackgroundStartupWaitingMs, 0),
        (Measure::PlayingMs, 14_000),
    ];
    for (measure, expected) in measures {
        assert_eq!(minutes.total(measure), expected, "{measure:?}");
    }
    assert_eq!((session.rebuffer_count, session.background_rebuffer_count), (0, 1));
    assert_eq!(session.startup_ms, Some(1000));
    assert_eq!(session.media_ms, 22_000, "what plays unseen is played all the same");
    assert_eq!(minutes.concurrent_at_s(), [5, 25], "at :10 the page has just gone");
}

#[test]
fn a_tab_opened_in_the_background_has_no_startup_time() {
    let (session, minutes) = check(
        &[(0, REQUEST), (1, P::Background), (5, P::FirstFrame), (7, P::Foreground), (9, end())],
        [1, 2, 0, 0, 0, 0, 0],
    );
    assert_eq!(minutes.total(Measure::BackgroundStartupWaitingMs), 4000);
    assert_eq!(background_s(&session), [4, 2, 0, 0, 0, 0, 0]);
    assert_eq!(session.startup_ms, None);
}

#[test]
fn a_tab_in_the_background_before_the_play_request_is_nothing() {
    let (session, _) = check(&[(0, P::Background), (60, P::Foreground), (61, end())], [0; 7]);
    assert_eq!(session.background_total_ms(), 0);
}

#[test]
fn ads_in_the_background_are_background() {
    let (session, _) = check(
        &[
            (0, REQUEST),
            (0, P::FirstFrame),
            (1, P::Background),
            (2, ad_start()),
            (4, P::RebufferStart),
            (5, P::RebufferEnd),
            (6, P::AdEnd),
            (7, end()),
        ],
        [0, 1, 0, 0, 0, 0, 0],
    );
    assert_eq!(background_s(&session), [0, 2, 0, 0, 0, 3, 1]);
    assert_eq!((session.background_rebuffer_count, session.ad_rebuffer_count), (0, 1));
}
