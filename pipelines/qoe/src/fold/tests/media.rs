//! Media time and what is averaged over it.

use super::*;

#[test]
fn playback_rate() {
    // Without playheads the rate says how much was played, and durations stay real time.
    let (session, _) = check(
        &[
            (0, REQUEST),
            (0, P::FirstFrame),
            (10, P::PlaybackRate { rate_per_mille: 1500 }),
            (20, P::PlaybackRate { rate_per_mille: 0 }),
            (25, P::PlaybackRate { rate_per_mille: 1000 }),
            (30, end()),
        ],
        [0, 30, 0, 0, 0, 0, 0],
    );
    assert_eq!(session.media_ms, 10_000 + 15_000 + 5000);
    // With them the playhead says it, up to four times real time, or the rate when that is higher.
    let played = |rate_per_mille: u32, playhead_s: i64| {
        let start = [At::from((0, 100, REQUEST)), At::from((0, 100, P::FirstFrame))];
        let rest = [At::from((0, 100, P::PlaybackRate { rate_per_mille })), At::from((10, playhead_s, end()))];
        fold(&[start, rest].concat()).0.media_ms / 1000
    };
    assert_eq!([played(1000, 110), played(2000, 115), played(1000, 200), played(1000, 90)], [10, 15, 40, 0]);
    assert_eq!([played(8000, 175), played(8000, 300)], [75, 80]);
}

#[test]
fn live() {
    // The playhead is wall-clock time; after a pause of five minutes it jumps to the live edge.
    let base_s = 1_790_000_000;
    let (session, _) = check(
        &[
            At::from((0, base_s, REQUEST)),
            At::from((1, base_s, P::FirstFrame)),
            At::from((11, base_s + 10, P::Pause)),
            At::from((311, base_s + 10, P::Resume)),
            At::from((312, base_s + 311, HEARTBEAT)),
            At::from((322, base_s + 321, end())),
        ],
        [1, 21, 0, 0, 300, 0, 0],
    );
    assert_eq!(session.media_ms, 10_000 + 4000 + 10_000, "the jump is not played but for four times its second");
}

#[test]
fn media_time_counts_in_the_minute_in_which_its_interval_began() {
    let (_, minutes) = fold(&[(0, REQUEST), (50, P::FirstFrame), (70, end())]);
    assert_eq!((minutes.at(0, Measure::MediaMs), minutes.at(1, Measure::MediaMs)), (20_000, 0));
}

#[test]
fn a_new_bitrate_of_the_same_representation_is_no_switch_and_weighs_by_media_time() {
    let (session, _) = fold(&[
        At::from((0, 0, REQUEST)),
        At::from((0, 0, rendition("6", 1_000_000, 640, 360))),
        At::from((0, 0, P::FirstFrame)),
        At::from((4, 4, rendition("6", 2_000_000, 640, 360))),
        At::from((8, 8, rendition("7", 4_000_000, 1280, 720))),
        At::from((10, 16, end())),
    ]);
    assert_eq!((session.rendition_switch_count, session.media_ms), (1, 16_000));
    let expected = (1_000.0 * 4.0 + 2_000.0 * 4.0 + 4_000.0 * 8.0) / 16.0;
    assert!((session.avg_bitrate_kbps().unwrap_or_default() - expected).abs() < 1e-9);
    assert_eq!(session.avg_height_px(), Some(540.0));
}

#[test]
fn a_rendition_of_unknown_size() {
    let (session, _) = fold(&[
        (0, REQUEST),
        (0, P::FirstFrame),
        (0, P::Viewport { width: 1280, height: 720 }),
        (0, rendition("a", 1_000_000, 640, 360)),
        (10, rendition("b", 3_000_000, 0, 0)),
        (20, rendition("c", 0, 1280, 720)),
        (25, end()),
    ]);
    assert_eq!((session.media_ms, session.rendition_switch_count), (25_000, 2));
    assert_eq!((session.bitrate_media_ms, session.avg_bitrate_kbps()), (20_000, Some(2000.0)));
    assert_eq!((session.height_media_ms, session.height_px_ms), (15_000, 360 * 10_000 + 720 * 5000));
    assert_eq!((session.upscale_media_ms, session.upscale_per_mille_ms), (15_000, 1000 * 10_000));
    assert_eq!(session.max_upscale_per_mille, 1000);
}

#[test]
fn upscale_fits_the_picture_into_the_viewport() {
    let upscale = |viewport: (u32, u32), picture: (u32, u32)| {
        let (session, _) = fold(&[
            (0, REQUEST),
            (0, P::FirstFrame),
            (0, P::Viewport { width: viewport.0, height: viewport.1 }),
            (0, rendition("a", 1, picture.0, picture.1)),
            (1, end()),
        ]);
        (session.upscale_media_ms > 0).then_some(session.max_upscale_per_mille)
    };
    assert_eq!(upscale((1920, 1080), (1280, 720)), Some(500));
    assert_eq!(upscale((1920, 720), (1280, 720)), Some(0), "bars at the sides");
    assert_eq!(upscale((1280, 1080), (1280, 720)), Some(0), "bars above and below");
    assert_eq!(upscale((640, 360), (1280, 720)), Some(0), "a smaller picture is none");
    assert_eq!(upscale((1000, 1000), (3, 3)), Some(332_333));
    for (viewport, picture) in [((0, 720), (1, 1)), ((720, 0), (1, 1)), ((1, 1), (0, 720)), ((1, 1), (720, 0))] {
        assert_eq!(upscale(viewport, picture), None);
    }
    assert_eq!(upscale((u32::MAX, u32::MAX), (1, 1)), Some(u32::MAX), "cut, not wrapped");
}

#[test]
fn only_an_upscale_that_was_watched_is_the_largest() {
    let (session, _) = fold(&[
        (0, REQUEST),
        (0, P::FirstFrame),
        (0, P::Viewport { width: 1920, height: 1080 }),
        (0, rendition("low", 1, 192, 108)),
        (0, rendition("mid", 1, 960, 540)),
        (5, rendition("high", 1, 1920, 1080)),
        (9, P::Pause),
        (9, rendition("low", 1, 192, 108)),
        (20, end()),
    ]);
    assert_eq!((session.max_upscale_per_mille, session.upscale_per_mille_ms), (1000, 5_000_000));
}

#[test]
fn a_bitrate_without_its_rendition_leaves_the_size_unknown() {
    let heartbeat = |bitrate_bps| P::Heartbeat { buffer_ms: 0, throughput_bps: 0, dropped_frames: 2, bitrate_bps };
    let (session, _) = fold(&[
        (0, REQUEST),
        (0, P::FirstFrame),
        (0, rendition("a", 1_000_000, 640, 360)),
        (5, heartbeat(1_000_000)), // the same: the size stays
        (10, heartbeat(0)),        // not said
        (15, heartbeat(2_000_000)),
        (20, rendition("a", 2_000_000, 640, 360)),
        (22, end()),
    ]);
    assert_eq!((session.height_media_ms, session.bitrate_media_ms), (17_000, 22_000));
    assert_eq!(session.bitrate_bit_ms, 1_000_000 * 15_000 + 2_000_000 * 7000);
    assert_eq!((session.rendition_switch_count, session.dropped_frames), (0, 6));
}
