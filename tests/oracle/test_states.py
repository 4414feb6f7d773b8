"""Tests of the states (docs/qoe.md, section 1) in fold.sql: hand-made events with what a person works out. Run with
`python -m pytest tests/oracle` in an environment of requirements-dev.txt."""

import pytest

from folding import START, fold

PLAYING = [*START, (2, "heartbeat")]


def state(name, **columns):
    """A player state, for use in an event as `(at, *state(…))`."""
    return "player_state", {"player_state": name, **columns}


def state_after(*events):
    """The state of the 10 s after the last of these events; None when it is none."""
    (until, *_) = events[-1]
    folded = fold(*events, (until + 10, "heartbeat"))
    lasting = folded.connection.execute(
        f"SELECT state, length_ms FROM recomputed_intervals WHERE to_sequence = {len(events)}"
    ).fetchall()
    assert [length_ms for _, length_ms in lasting] in ([], [10_000])
    return lasting[0][0] if lasting else None


# The table of states, row by row: the flags of a row, with flags of later rows that it outranks.

REQUEST = (0, "play_requested")
FRAME = (1, "first_frame")
SEEK = (2, "seek_start")
STALL = (2, "rebuffer_start")
AD = (2, "ad_start")


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([REQUEST, FRAME, (2, "pause"), (3, "session_end")], None),
        ([REQUEST, FRAME, (3, "pause")], "paused"),
        ([REQUEST, FRAME, SEEK, (3, "pause")], "paused"),
        ([REQUEST, FRAME, STALL, (3, "pause")], "paused"),
        ([REQUEST, FRAME, AD, (3, "pause")], "paused"),
        ([(3, "pause")], "paused"),
        ([REQUEST, AD, (3, "rebuffer_start")], "ad_rebuffer"),
        ([AD, (3, "rebuffer_start")], "ad_rebuffer"),
        ([REQUEST, AD], "ad"),
        ([AD], "ad"),
        ([REQUEST, AD, (3, "seek_start")], "ad"),
        ([REQUEST], "startup_waiting"),
        ([REQUEST, SEEK], "startup_waiting"),
        ([REQUEST, STALL], "startup_waiting"),
        ([SEEK], None),
        ([(0, "heartbeat")], None),
        ([REQUEST, FRAME, AD, (3, "seek_start")], "seek_waiting"),
        ([REQUEST, FRAME, AD, (3, "rebuffer_start")], "ad_rebuffer"),
        ([REQUEST, FRAME, AD], "ad"),
        ([REQUEST, FRAME, STALL], "rebuffer"),
        ([REQUEST, FRAME], "playing"),
        ([FRAME], "playing"),
    ],
)
def test_the_first_row_that_applies_is_the_state(events, expected):
    assert state_after(*events) == expected


# Every event, by the state in which it leaves a session.


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([*START, (2, "rebuffer_start"), (3, "rebuffer_end")], "playing"),
        ([*START, (2, "rebuffer_end")], "playing"),
        ([*START, (2, "pause"), (3, "resume")], "playing"),
        ([*START, (2, "seek_start"), (3, "rebuffer_start"), (4, "seek_end")], "playing"),
        ([*START, (2, "rebuffer_start"), (3, "seek_start"), (4, "seek_end")], "playing"),
        # A break is an ad from its start to its end, with and without an ad in it.
        ([*START, (2, "ad_break_start")], "ad"),
        ([*START, (2, "ad_break_start"), (3, "ad_start"), (4, "ad_end")], "ad"),
        ([*START, (2, "ad_break_start"), (3, "ad_start"), (4, "ad_break_end")], "playing"),
        ([*START, (2, "ad_start"), (3, "ad_end")], "playing"),
        # Rebuffering ends where an ad opens and where ads end, not between the ads of a break.
        ([*START, (2, "rebuffer_start"), (3, "ad_start")], "ad"),
        ([*START, (2, "rebuffer_start"), (3, "ad_break_start")], "ad"),
        ([*START, (2, "ad_break_start"), (3, "rebuffer_start"), (4, "ad_start")], "ad_rebuffer"),
        ([*START, (2, "ad_start"), (3, "rebuffer_start"), (4, "ad_break_start")], "ad_rebuffer"),
        ([*START, (2, "ad_break_start"), (2, "ad_start"), (3, "rebuffer_start"), (4, "ad_end")], "ad_rebuffer"),
        ([*START, (2, "ad_start"), (3, "rebuffer_start"), (4, "ad_end")], "playing"),
        ([*START, (2, "ad_break_start"), (3, "rebuffer_start"), (4, "ad_break_end")], "playing"),
        # An end of what never began leaves a stall alone, and so does a second end.
        ([*START, (2, "rebuffer_start"), (3, "ad_end")], "rebuffer"),
        ([*START, (2, "rebuffer_start"), (3, "ad_break_end")], "rebuffer"),
        ([*START, (2, "ad_start"), (3, "ad_end"), (4, "rebuffer_start"), (5, "ad_end")], "rebuffer"),
        ([*START, (2, "ad_start"), (3, "ad_break_end"), (4, "rebuffer_start"), (5, "ad_end")], "rebuffer"),
        ([*START, (2, "ad_start"), (3, "ad_end"), (4, "rebuffer_start"), (5, "ad_break_end")], "rebuffer"),
        ([*START, (2, "ad_break_start"), (3, "rebuffer_start"), (4, "ad_end")], "ad_rebuffer"),
        # Before the first frame only waiting in an ad is remembered.
        ([REQUEST, (1, "rebuffer_start"), (2, "first_frame")], "playing"),
        ([REQUEST, (1, "ad_start"), (2, "rebuffer_start"), (3, "first_frame")], "ad_rebuffer"),
        # Player states.
        ([(0, *state("preloading"))], None),
        ([*START, (2, "pause"), (3, *state("preloading"))], "paused"),
        ([(0, *state("starting"))], "startup_waiting"),
        ([(0, *state("starting")), (1, *state("playing"))], "playing"),
        ([(0, *state("playing"))], "playing"),
        ([AD, (3, *state("playing")), (4, "ad_end")], None),
        ([REQUEST, AD, (3, *state("playing")), (4, "ad_end")], "startup_waiting"),
        ([(0, *state("rebuffering"))], None),
        ([AD, (3, *state("rebuffering"))], "ad_rebuffer"),
        ([AD, (3, *state("rebuffering")), (4, "ad_end")], None),
        ([*START, (2, "pause"), (3, *state("playing"))], "playing"),
        ([*START, (2, "seek_start"), (3, *state("playing"))], "playing"),
        ([*START, (2, "rebuffer_start"), (3, *state("playing"))], "playing"),
        ([*START, (2, "ad_start"), (3, "rebuffer_start"), (4, *state("playing"))], "ad"),
        ([*START, (2, *state("seeking"))], "seek_waiting"),
        ([*START, (2, "rebuffer_start"), (3, *state("seeking")), (4, "seek_end")], "playing"),
        ([*START, (2, "pause"), (3, *state("seeking"))], "paused"),
        ([*START, (2, *state("rebuffering"))], "rebuffer"),
        ([REQUEST, (2, *state("rebuffering")), (3, "first_frame")], "playing"),
        ([REQUEST, (1, "ad_start"), (2, *state("rebuffering"))], "ad_rebuffer"),
        ([*START, (2, "seek_start"), (3, *state("rebuffering")), (4, "seek_end")], "playing"),
        ([*START, (2, "pause"), (3, *state("rebuffering"))], "rebuffer"),
        ([*START, (2, "pause"), (3, "seek_start"), (4, *state("rebuffering"))], "seek_waiting"),
        ([*START, (2, *state("paused"))], "paused"),
        ([*START, (2, "rebuffer_start"), (3, *state("paused")), (4, "resume")], "playing"),
        ([*START, (2, "seek_start"), (3, *state("paused")), (4, "resume")], "playing"),
        ([*START, (2, *state("stalled"))], "playing"),
        ([*START, (2, *state("ended"))], None),
        ([*START, (2, *state("quit"))], None),
        ([*START, (2, *state("failed"))], None),
        ([*START, (2, "error", {"fatal": True})], None),
        ([*START, (2, "error", {"fatal": False})], "playing"),
    ],
)
def test_an_event_leaves_the_session_in_a_state(events, expected):
    assert state_after(*events) == expected


# What player states add to counts, startup and outcome.


def test_playing_after_starting_is_the_first_frame_with_its_startup_time():
    folded = fold((0, *state("starting")), (2, *state("playing")), (5, *state("ended")))
    assert folded.seconds() == {"startup_waiting": 2, "playing": 3}
    assert folded.get("startup_ms first_picture_ms outcome end_reason") == (2000, 2000, "played", "ended")


def test_playing_out_of_nothing_is_an_attempt_and_a_start_without_startup_time():
    folded = fold((0, *state("preloading")), (70, *state("playing")), (75, *state("quit")))
    assert folded.seconds() == {"playing": 5}
    assert folded.get("startup_ms first_picture_ms outcome end_reason") == (None, None, "played", "quit")
    in_second_minute = {
        measure: folded.minutes(measure) for measure in ("attempts", "starts", "startups", "first_pictures")
    }
    assert in_second_minute == {"attempts": 1, "starts": 1, "startups": 0, "first_pictures": 0}
    assert folded["request_ms"] - folded["started_ms"] == 70_000


def test_playing_after_a_frame_that_nobody_asked_for_is_the_attempt():
    folded = fold((0, "first_frame"), (4, *state("playing")), (6, "heartbeat"))
    assert (folded.seconds(), folded["outcome"]) == ({"playing": 6}, "played")
    assert (folded.minutes("attempts"), folded.minutes("starts"), folded["startup_ms"]) == (1, 1, None)


def test_playing_inside_an_ad_is_no_first_frame():
    folded = fold(
        (0, *state("starting")),
        (1, "ad_start"),
        (1, *state("playing")),
        (3, *state("rebuffering")),
        (4, *state("playing")),
        (6, "ad_end"),
        (8, *state("playing")),
        (9, *state("ended")),
    )
    assert folded.seconds() == {"startup_waiting": 1 + 2, "ad": 2 + 2, "ad_rebuffer": 1, "playing": 1}
    assert folded.get("startup_ms first_picture_ms rebuffer_count ad_rebuffer_count") == (3000, 1000, 0, 1)


def test_playing_inside_an_ad_asks_for_nothing():
    folded = fold((0, "ad_start"), (1, *state("playing")), (3, *state("quit")))
    assert (folded["outcome"], folded.minutes("attempts"), folded.seconds()) == ("unknown", 0, {"ad": 3})


def test_a_player_that_first_says_rebuffering_has_asked_for_nothing():
    folded = fold(
        (50, *state("rebuffering")),
        (63, *state("playing")),
        (65, *state("rebuffering")),
        (66, *state("playing")),
        (67, *state("ended")),
    )
    assert folded.seconds() == {"playing": 3, "rebuffer": 1}
    assert folded.get("startup_ms first_picture_ms rebuffer_count outcome") == (None, None, 1, "played")
    assert folded.by_minute("attempts") == folded.by_minute("starts") == [(1, 1)]
    assert fold((0, *state("rebuffering")), (1, *state("quit")))["outcome"] == "unknown"


def test_player_states_count_what_they_set():
    folded = fold(
        *START,
        (2, *state("paused")),
        (3, *state("paused")),
        (4, "pause"),
        (5, *state("playing")),
        (6, *state("seeking")),
        (7, *state("seeking")),
        (8, "seek_start"),
        (9, *state("playing")),
        (10, *state("paused")),
    )
    # What goes on is not begun once more, but a player that says seek start has begun to seek.
    assert folded.get("pause_count seek_count") == (2, 2)
    assert folded.seconds() == {"startup_waiting": 1, "playing": 1 + 1 + 1, "paused": 3, "seek_waiting": 3}
    assert folded.minutes("seek_count") == 2


def test_a_failed_state_is_a_technical_failure_with_its_code():
    folded = fold(*START, (2, *state("failed", detail="E7", business=True)), (9, "heartbeat"))
    assert folded.get("outcome error_code error_fatal error_business") == ("playback_failure", "E7", True, False)
    assert (folded.seconds(), folded.minutes("playback_failures")) == ({"startup_waiting": 1, "playing": 1}, 1)
    assert (folded["end_reason"], folded["error_count"]) == (None, 0)


def test_a_stall_report_counts_a_stall_of_no_length():
    folded = fold(*START, (2, *state("stalled")), (3, *state("stalled")), (4, "background"), (5, *state("stalled")))
    assert folded.get("rebuffer_count background_rebuffer_count rebuffer_ms") == (2, 1, 0)
    assert (folded.minutes("rebuffer_count"), folded.minutes("background_rebuffer_count")) == (2, 1)


@pytest.mark.parametrize(
    "before",
    [
        [(0, "play_requested")],
        [*START, (2, "seek_start")],
        [*START, (2, "pause")],
        [*START, (2, "ad_start")],
        [*START, (2, "session_end")],
    ],
    ids=["startup", "seek", "pause", "ad", "end"],
)
def test_a_stall_report_outside_playing_counts_nothing(before):
    folded = fold(*before, (3, *state("stalled")), (4, "heartbeat"))
    assert folded.get("rebuffer_count background_rebuffer_count ad_rebuffer_count") == (0, 0, 0)
