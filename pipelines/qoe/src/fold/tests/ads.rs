//! Ads before, inside and after the content.

use super::*;

#[test]
fn ad_before_the_content() {
    let (session, minutes) =
        check(&[(0, REQUEST), (1, ad_start()), (6, P::AdEnd), (8, P::FirstFrame), (9, end())], [3, 1, 0, 0, 0, 5, 0]);
    assert_eq!((session.startup_ms, session.first_picture_ms, session.ad_count), (Some(3000), Some(1000), 1));
    assert_eq!((minutes.total(Measure::FirstPictures), minutes.total(Measure::Startups)), (1, 1));
    // An interruption after the first picture takes away the content's startup only.
    let (session, _) = fold(&[(0, REQUEST), (1, ad_start()), (3, P::Pause), (4, P::Resume), (8, P::FirstFrame)]);
    assert_eq!((session.startup_ms, session.first_picture_ms), (None, Some(1000)));
    // One before it takes away both; a second ad is no first picture.
    let (session, _) = fold(&[(0, REQUEST), (1, P::SeekStart), (2, ad_start()), (3, P::FirstFrame)]);
    assert_eq!((session.startup_ms, session.first_picture_ms), (None, None));
    let (session, _) = fold(&[(0, REQUEST), (1, ad_start()), (2, P::AdEnd), (4, ad_start())]);
    assert_eq!((session.first_picture_ms, session.ad_count), (Some(1000), 2));
    // A picture before the request leaves none to wait for.
    let (session, _) = fold(&[(0, ad_start()), (1, REQUEST), (2, P::AdEnd), (4, P::FirstFrame)]);
    assert_eq!((session.startup_ms, session.first_picture_ms), (Some(2000), None));
    // Nobody asked: there is no time to count from.
    assert_eq!(fold(&[(0, ad_start()), (1, P::AdEnd)]).0.first_picture_ms, None);
}

#[test]
fn an_ad_without_a_play_request_is_ad_time() {
    check(&[(0, ad_start()), (5, P::AdEnd), (7, P::FirstFrame), (8, end())], [0, 1, 0, 0, 0, 5, 0]);
}

#[test]
fn ad_break_inside_the_content() {
    let (session, _) = check(
        &[
            (0, REQUEST),
            (1, P::FirstFrame),
            (10, P::AdBreakStart),
            (12, ad_start()),
            (20, P::AdEnd),
            (23, ad_start()), // three seconds between the ads
            (30, P::AdEnd),
            (31, P::AdBreakEnd),
            (40, end()),
        ],
        [1, 18, 0, 0, 0, 21, 0],
    );
    assert_eq!((session.ad_count, session.rebuffer_count), (2, 0));
    assert_eq!(session.media_ms, 18_000);
}

#[test]
fn the_end_of_a_break_ends_its_ads() {
    let events =
        [(0, REQUEST), (0, P::FirstFrame), (1, P::AdBreakStart), (2, ad_start()), (5, P::AdBreakEnd), (6, end())];
    check(&events, [0, 2, 0, 0, 0, 4, 0]);
}

#[test]
fn ad_rebuffering_is_apart() {
    let (session, minutes) = check(
        &[
            (0, REQUEST),
            (0, P::FirstFrame),
            (5, ad_start()),
            (6, P::RebufferStart),
            (9, P::RebufferEnd),
            (10, P::AdEnd),
            (12, P::RebufferStart),
            (13, P::RebufferEnd),
            (14, end()),
        ],
        [0, 8, 1, 0, 0, 2, 3],
    );
    assert_eq!((session.rebuffer_count, session.ad_rebuffer_count), (1, 1));
    assert_eq!(minutes.concurrent_at_s(), [0, 10], "ads have no concurrent viewers of the content");
    // Before the content, too, where rebuffering of the content would be startup.
    let (session, _) = check(
        &[(0, REQUEST), (1, ad_start()), (2, P::RebufferStart), (4, P::RebufferEnd), (5, P::AdEnd), (6, P::FirstFrame)],
        [2, 0, 0, 0, 0, 2, 2],
    );
    assert_eq!((session.rebuffer_count, session.ad_rebuffer_count), (0, 1));
}

#[test]
fn entering_and_leaving_ads_ends_a_stall() {
    // A stall of the content does not go on inside the ad …
    let (session, _) = check(
        &[(0, REQUEST), (0, P::FirstFrame), (2, P::RebufferStart), (4, ad_start()), (8, P::AdEnd), (9, end())],
        [0, 3, 2, 0, 0, 4, 0],
    );
    assert_eq!((session.rebuffer_count, session.ad_rebuffer_count), (1, 0));
    for opening in [P::AdBreakStart, ad_start()] {
        let (session, _) = fold(&[(0, REQUEST), (0, P::FirstFrame), (2, P::RebufferStart), (4, opening), (5, end())]);
        assert_eq!((session.duration_ms(State::Ad), session.duration_ms(State::AdRebuffering)), (1000, 0));
    }
    // … nor one of the ad inside the content, whichever end is reported.
    for end_of_ad in [P::AdEnd, P::AdBreakEnd] {
        let (session, _) = check(
            &[(0, REQUEST), (0, P::FirstFrame), (2, ad_start()), (3, P::RebufferStart), (5, end_of_ad), (9, end())],
            [0, 6, 0, 0, 0, 1, 2],
        );
        assert_eq!((session.rebuffer_count, session.ad_rebuffer_count), (0, 1));
    }
    // From ad to ad of a break it goes on.
    check(
        &[
            (0, REQUEST),
            (0, P::FirstFrame),
            (1, P::AdBreakStart),
            (2, ad_start()),
            (3, P::RebufferStart),
            (4, P::AdEnd),
            (5, ad_start()),
            (6, P::RebufferEnd),
            (7, P::AdBreakEnd),
        ],
        [0, 1, 0, 0, 0, 3, 3],
    );
    // An end without its start leaves a stall of the content alone.
    for stray in [P::AdEnd, P::AdBreakEnd] {
        let events = [(0, REQUEST), (0, P::FirstFrame), (2, P::RebufferStart), (4, stray), (6, P::RebufferEnd)];
        check(&events, [0, 2, 4, 0, 0, 0, 0]);
    }
}

#[test]
fn a_seek_inside_an_ad_is_seek_waiting_and_before_the_content_ad() {
    let events = [(0, REQUEST), (0, P::FirstFrame), (1, ad_start()), (2, P::SeekStart), (5, P::SeekEnd), (6, P::AdEnd)];
    check(&events, [0, 1, 0, 3, 0, 2, 0]);
    check(&[(0, REQUEST), (1, ad_start()), (2, P::SeekStart), (5, P::SeekEnd), (6, P::AdEnd)], [1, 0, 0, 0, 0, 5, 0]);
}

#[test]
fn ad_after_the_content() {
    let (session, _) = check(
        &[(0, REQUEST), (0, P::FirstFrame), (50, ad_start()), (60, P::AdEnd), (60, end())],
        [0, 50, 0, 0, 0, 10, 0],
    );
    assert_eq!((session.media_ms, session.outcome(true)), (50_000, Outcome::Played));
}
