"""Tests of rule 16 (docs/qoe.md): two heartbeats in a row whose playhead advances show that the session was playing."""

import pytest

from folding import START, fold, fold_rows
from lake_builder import bronze
from test_states import state


def beat(at, playhead):
    """A heartbeat: seconds, and the playhead in seconds too."""
    return at, "heartbeat", {"media_time_ms": None if playhead is None else round(playhead * 1000)}


def test_a_missing_first_frame_is_inferred_without_a_startup_time():
    folded = fold((0, "play_requested"), beat(10, 0), beat(20, 10), beat(30, 20))
    assert folded.seconds() == {"startup_waiting": 10, "playing": 20}
    assert folded.get("outcome startup_ms first_picture_ms inferred_count") == ("played", None, None, 1)
    assert [folded.minutes(measure) for measure in ("starts", "startups", "first_pictures")] == [1, 0, 0]


def test_an_inferred_first_frame_takes_no_first_picture_from_an_ad():
    folded = fold((0, "play_requested"), (2, "ad_start"), (5, "ad_end"), beat(10, 0), beat(20, 10))
    assert folded.get("startup_ms first_picture_ms inferred_count") == (None, 2000, 1)
    assert folded.seconds() == {"startup_waiting": 2 + 5, "ad": 3, "playing": 10}


def test_a_first_frame_that_was_asked_for_by_nobody_is_inferred_too():
    folded = fold(beat(0, 0), beat(10, 10))
    assert folded.seconds() == {"playing": 10}
    assert folded.get("outcome inferred_count") == ("unknown", 1)


def test_a_first_frame_that_comes_after_the_inferred_one_has_no_startup_time():
    folded = fold((0, "play_requested"), beat(10, 0), beat(20, 10), (21, "first_frame"), (25, "session_end"))
    assert folded.seconds() == {"startup_waiting": 10, "playing": 15}
    assert folded["startup_ms"] is None


@pytest.mark.parametrize(
    ("opening", "named"),
    [
        ("rebuffer_start", "rebuffer"),
        ("pause", "paused"),
        ("seek_start", "seek_waiting"),
    ],
)
def test_a_missing_end_is_inferred_at_the_earlier_heartbeat(opening, named):
    folded = fold(*START, (5, opening), beat(11, 4), beat(21, 4), beat(31, 14), (40, "session_end"))
    assert folded.seconds() == {"startup_waiting": 1, "playing": 4 + 10 + 9, named: 6 + 10}
    assert folded["inferred_count"] == 1


def test_all_flags_end_in_one_inference():
    before = [(0, "play_requested"), (1, "pause"), (2, "seek_start")]
    folded = fold(*before, beat(10, 0), beat(20, 10), (30, "rebuffer_start"), beat(35, 15))
    # Neither the seek nor the pause is left, so the waiting at 30 s is a stall.
    assert folded.seconds() == {"startup_waiting": 1, "paused": 9, "playing": 20, "rebuffer": 5}
    assert folded.get("inferred_count rebuffer_count") == (1, 1)


def test_a_stall_hidden_by_a_pause_never_shows():
    folded = fold(*START, (2, "pause"), (3, "rebuffer_start"), beat(10, 5), beat(20, 15))
    assert folded.seconds() == {"startup_waiting": 1, "playing": 1 + 10, "paused": 8}
    assert folded["rebuffer_count"] == 0


def test_what_comes_after_an_inference_counts_anew():
    folded = fold(
        *START, (5, "rebuffer_start"), beat(10, 4), beat(20, 14), (21, "rebuffer_start"), beat(30, 15), beat(40, 25)
    )
    assert folded.seconds() == {"startup_waiting": 1, "playing": 4 + 11 + 10, "rebuffer": 5 + 9}
    assert folded.get("rebuffer_count inferred_count") == (2, 2)


def test_a_session_that_plays_infers_nothing():
    assert fold(*START, beat(10, 9), beat(20, 19))["inferred_count"] == 0


def test_a_rebuffer_that_never_ends_lasts_while_the_playhead_stands():
    folded = fold(*START, (5, "rebuffer_start"), *(beat(at, 4) for at in range(15, 406, 10)))
    assert folded.seconds() == {"startup_waiting": 1, "playing": 4, "rebuffer": 400}
    assert folded.get("rebuffer_count inferred_count") == (1, 0)


# The bounds, in ms: the time between the heartbeats and the playhead's advance.


@pytest.mark.parametrize(
    ("length_ms", "advance_ms", "is_inferred"),
    [
        (1000, 1000, True),
        (999, 999, False),
        (1000, 500, True),
        (1000, 499, False),
        (1001, 501, True),
        (1001, 500, False),  # half of 1001 is 500.5
        (1000, 4000, True),
        (1000, 4001, False),
        (10_000, -10_000, False),
        (300_000, 300_000, True),
        (300_001, 300_000, False),
    ],
)
def test_only_what_playing_could_have_played_is_inferred(length_ms, advance_ms, is_inferred):
    folded = fold(*START, (2, "rebuffer_start"), beat(10, 100), beat(10 + length_ms / 1000, 100 + advance_ms / 1000))
    assert folded["inferred_count"] == is_inferred


@pytest.mark.parametrize(
    ("between", "playheads"),
    [
        ((), (None, 10)),
        ((), (0, None)),
        (((15, "rendition", {"media_time_ms": 5000}),), (0, 10)),
        (((15, "ad_end"),), (0, 10)),
        (((15, "session_end"),), (0, 10)),
    ],
    ids=["no earlier playhead", "no later playhead", "an event between", "an ad's end between", "the end between"],
)
def test_it_takes_two_heartbeats_in_a_row_with_playheads(between, playheads):
    folded = fold(*START, (5, "rebuffer_start"), beat(10, playheads[0]), *between, beat(20, playheads[1]))
    assert folded["inferred_count"] == 0


@pytest.mark.parametrize("opening", ["ad_start", "ad_break_start"])
def test_nothing_is_inferred_in_an_ad(opening):
    folded = fold(*START, (5, opening), (6, "pause"), beat(10, 0), beat(20, 10))
    assert folded.seconds() == {"startup_waiting": 1, "playing": 4, "ad": 1, "paused": 14}
    assert folded["inferred_count"] == 0


def test_nothing_is_inferred_after_the_end():
    folded = fold((0, "play_requested"), (1, "session_end"), beat(10, 0), beat(20, 10))
    assert folded.get("outcome inferred_count") == ("exit_before_start", 0)


def test_heartbeats_across_lost_events_are_in_a_row():
    rows = bronze([*START, (5, "rebuffer_start"), beat(10, 4), (15, "heartbeat"), beat(20, 14)])
    folded = fold_rows([row for row in rows if row["sequence"] != 4])
    assert folded.get("inferred_count lost_events playing_ms rebuffer_ms") == (1, 1, 4000 + 10_000, 5000)


def test_the_background_hinders_no_inference():
    folded = fold(*START, (5, "background"), (5, "rebuffer_start"), beat(10, 4), beat(20, 14))
    assert folded.get("background_playing_ms background_rebuffer_ms inferred_count") == (10_000, 5000, 1)


# In a pause the gap is 30 min, until an inference has ended the pause.


def test_a_pause_is_seen_to_have_ended_half_an_hour_later():
    folded = fold(*START, (5, "pause"), beat(10, 4), beat(1810, 1804), (1811, "session_end"))
    assert folded.seconds() == {"startup_waiting": 1, "playing": 4 + 1, "paused": 5}
    assert folded.get("inferred_count silent_ms pause_count") == (1, 1_800_000, 1)


def test_after_an_inference_the_gap_is_that_of_playing():
    folded = fold(*START, (5, "pause"), beat(10, 4), beat(20, 14), beat(420, 414), (421, "session_end"))
    assert folded.seconds() == {"startup_waiting": 1, "playing": 4 + 10 + 1, "paused": 5}
    assert folded.get("inferred_count silent_ms") == (1, 400_000)


def test_a_pause_that_was_seen_to_have_ended_lends_no_gap_to_a_later_seek():
    seek = [(21, "seek_start"), beat(22, 14), beat(422, 414)]
    folded = fold(*START, (5, "pause"), beat(10, 4), beat(20, 14), *seek, (423, "session_end"))
    assert folded.seconds() == {"startup_waiting": 1, "playing": 4 + 11, "paused": 5, "seek_waiting": 1 + 1}
    assert folded.get("inferred_count silent_ms") == (1, 400_000)


def test_a_second_pause_has_its_half_hour_again():
    folded = fold(
        *START,
        (5, "pause"),
        beat(10, 4),
        beat(410, 404),
        (411, *state("paused")),
        beat(420, 405),
        beat(820, 805),
        beat(1220, 1205),
    )
    # The last 400 s come after the second pause was seen to have ended.
    assert folded.seconds() == {"startup_waiting": 1, "playing": 4 + 1, "paused": 5 + 9}
    assert folded.get("inferred_count silent_ms pause_count") == (2, 1_200_000, 2)
