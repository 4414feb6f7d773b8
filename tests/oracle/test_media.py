"""Tests of media time and what is weighted by it: playheads, playback rate, renditions, heartbeats' bitrates, viewport
(docs/qoe.md, rules 11, 24, 26 and section 3)."""

import pytest

from folding import START, fold
from test_states import state

FRAME_AT_ONCE = [(0, "play_requested"), (0, "first_frame")]


def rendition(at, name, bitrate_bps=0, width_px=0, height_px=0, **columns):
    sizes = {"bitrate_bps": bitrate_bps, "width_px": width_px, "height_px": height_px}
    return at, "rendition", {"representation_id": name, **sizes, **columns}


def viewport(at, width_px, height_px):
    return at, "viewport", {"width_px": width_px, "height_px": height_px}


def test_renditions_weigh_by_media_time():
    folded = fold(
        (0, "play_requested", {"media_time_ms": 0}),
        rendition(0, "6", 1_000_000, height_px=360, media_time_ms=0),
        (0, "first_frame", {"media_time_ms": 0}),
        rendition(4, "6", 2_000_000, height_px=360, media_time_ms=4000),
        rendition(8, "7", 4_000_000, height_px=720, media_time_ms=8000),
        (10, "session_end", {"media_time_ms": 20_000}),
        rendition(11, "9", 9_000_000, height_px=720, media_time_ms=21_000),
    )
    # 4 s at 1 Mbit/s, 4 s at 2, then a jump of 12 s in 2 s, of which 4 × 2 s at 4 Mbit/s count.
    assert folded.get("rendition_switch_count media_ms bitrate_media_ms") == (1, 16_000, 16_000)
    assert folded["avg_bitrate_kbps"] == pytest.approx(2750, rel=1e-12)
    assert folded["bitrate_bit_ms"] == 44_000_000_000
    assert folded.get("height_media_ms height_px_ms avg_height_px") == (16_000, 8_640_000, 540)
    assert (folded.minutes("height_media_ms"), folded.minutes("height_px_ms")) == (16_000, 8_640_000)


def test_media_time_that_goes_back_counts_as_zero_and_a_missing_one_as_real_time():
    folded = fold(
        (0, "play_requested"),
        (0, "first_frame", {"media_time_ms": 9000}),
        (2, "heartbeat", {"media_time_ms": 1000}),
        (5, "heartbeat"),
    )
    assert folded.get("media_ms avg_bitrate_kbps") == (3000, None)


def test_a_jump_to_the_live_edge_is_not_played():
    now_ms = 1_704_067_200_000
    folded = fold(
        (0, "play_requested"),
        (0, "first_frame", {"media_time_ms": now_ms}),
        (3, "heartbeat", {"media_time_ms": now_ms + 3000}),
        (4, "heartbeat", {"media_time_ms": now_ms + 3_603_000}),
    )
    assert folded["media_ms"] == 3000 + 4 * 1000


def test_media_advances_in_the_background_too():
    folded = fold(*FRAME_AT_ONCE, rendition(0, "1", 1000), (2, "background"), (5, "pause"), (9, "foreground"))
    assert folded.get("media_ms bitrate_bit_ms background_ms") == (5000, 5_000_000, 7000)


# Rule 24: the playback rate.


def test_media_time_without_playheads_goes_at_the_rate():
    folded = fold(
        *FRAME_AT_ONCE,
        (2, "playback_rate", {"rate_per_mille": 1500}),
        (5.001, "playback_rate", {"rate_per_mille": 500}),
        (9.002, "session_end"),
    )
    # 2000 + ⌊3001 × 1.5⌋ + ⌊4001 × 0.5⌋
    assert folded.get("media_ms playing_ms") == (2000 + 4501 + 2000, 9002)


@pytest.mark.parametrize(
    ("rate_per_mille", "playhead_ms", "media_ms"),
    [(2000, 1500, 1500), (500, 1500, 1500), (2000, 99_000, 4000), (6500, 99_000, 6500), (6500, 5000, 5000)],
)
def test_media_time_with_playheads_is_bounded_by_the_rate(rate_per_mille, playhead_ms, media_ms):
    folded = fold(
        *FRAME_AT_ONCE,
        (1, "playback_rate", {"rate_per_mille": rate_per_mille, "media_time_ms": 0}),
        (2, "heartbeat", {"media_time_ms": playhead_ms}),
    )
    assert folded["media_ms"] == 1000 + media_ms


def test_a_rate_from_before_the_first_frame_counts():
    folded = fold((0, "playback_rate", {"rate_per_mille": 2000}), *START, (3, "heartbeat"))
    assert folded.get("media_ms startup_ms") == (4000, 1000)


# Rule 26, and bitrates of heartbeats and states.


def test_what_is_unknown_of_a_rendition_is_in_no_average():
    folded = fold(
        *FRAME_AT_ONCE,
        rendition(3, "1", height_px=720),
        rendition(7, "2", 2000),
        rendition(12, "2", 4000),
        (20, "session_end"),
    )
    assert folded.get("media_ms bitrate_media_ms height_media_ms") == (20_000, 5000 + 8000, 4000)
    assert folded.get("bitrate_bit_ms height_px_ms") == (5000 * 2000 + 8000 * 4000, 4000 * 720)
    # A new bitrate under one representation id is no switch.
    assert folded["rendition_switch_count"] == 1


def test_a_heartbeats_bitrate_takes_the_size_away_until_the_next_rendition():
    folded = fold(
        *FRAME_AT_ONCE,
        viewport(0, 1920, 1080),
        rendition(0, "1", 1000, 960, 540),
        (1, "heartbeat", {"bitrate_bps": 1000}),
        (3, "heartbeat", {"bitrate_bps": 5000}),
        (6, "heartbeat", {"bitrate_bps": 0}),
        (10, "heartbeat", {"bitrate_bps": 1000}),
        rendition(15, "1", 1000, 960, 540),
        (21, "session_end"),
    )
    # 3 s of the rendition, 7 s at 5000 bit/s, 5 s at 1000 bit/s of unknown size, 6 s of the rendition again.
    assert folded.get("bitrate_media_ms bitrate_bit_ms") == (21_000, (3 + 5 + 6) * 1_000_000 + 7 * 5_000_000)
    assert folded.get("height_media_ms upscale_media_ms rendition_switch_count") == (9000, 9000, 0)


def test_a_player_state_sets_the_bitrate_too():
    folded = fold(
        (0, *state("starting", bitrate_bps=1000)),
        (1, *state("playing", bitrate_bps=3000)),
        (3, *state("playing")),
        (4, "pause", {"bitrate_bps": 9000}),
    )
    assert folded.get("bitrate_media_ms bitrate_bit_ms") == (3000, 9_000_000)


# Upscale.


@pytest.mark.parametrize(
    ("picture", "box", "per_mille"),
    [
        ((960, 540), (1920, 1080), 1000),
        ((1920, 1080), (1920, 1080), 0),
        ((1920, 1080), (960, 540), 0),
        # The picture is fitted: the lesser factor counts, 1000 ÷ 960 here, 1.0416….
        ((960, 540), (1000, 2000), 41),
        ((960, 540), (4000, 810), 500),
        ((960, 540), (4000, 500), 0),
    ],
)
def test_the_upscale_fits_the_picture_into_the_viewport(picture, box, per_mille):
    folded = fold(*FRAME_AT_ONCE, viewport(0, *box), rendition(0, "1", 1000, *picture), (10, "session_end"))
    assert folded.get("upscale_media_ms upscale_per_mille_ms") == (10_000, 10_000 * per_mille)
    assert folded["max_upscale_per_mille"] == per_mille
    assert folded.minutes("upscale_per_mille_ms") == 10_000 * per_mille


def test_the_upscale_weighs_by_media_time_and_the_largest_is_one_that_played():
    folded = fold(
        *START,
        viewport(2, 1920, 1080),
        rendition(2, "1", 1000, 960, 540),
        viewport(6, 1440, 810),
        (8, "pause"),
        viewport(8, 9600, 5400),
        (9, "resume"),
        viewport(9, 1440, 810),
        (10, "session_end"),
    )
    # 4 s at 2×, then 2 s and 1 s at 1.5×; at 10× nothing was played.
    assert folded.get("upscale_media_ms upscale_per_mille_ms max_upscale_per_mille") == (7000, 5_500_000, 1000)


@pytest.mark.parametrize(
    ("picture", "box"),
    [((960, 0), (1920, 1080)), ((0, 540), (1920, 1080)), ((960, 540), (0, 0)), ((960, 540), (1920, 0))],
)
def test_an_unknown_size_has_no_upscale(picture, box):
    shown = [viewport(0, 99, 99), viewport(0, *box), rendition(0, "1", 1000, *picture)]
    folded = fold(*FRAME_AT_ONCE, *shown, (5, "heartbeat"))
    assert folded.get("upscale_media_ms upscale_per_mille_ms max_upscale_per_mille") == (0, 0, 0)
