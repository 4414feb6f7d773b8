"""Tests of the edge rules (docs/qoe.md, section 2) in fold.sql and sessions.sql, by their numbers there. Rule 16 is in
test_inference.py, what media time is weighted by in test_media.py; rules 21 and 25 are in test_recompute.py too."""

import pytest

from folding import FATAL, SOFT, START, fold, fold_rows
from lake_builder import ORIGIN_MS, bronze
from test_states import state

FRAME_AT_ONCE = [(0, "play_requested"), (0, "first_frame")]


def test_worked_example():
    folded = fold(
        (0, "play_requested"),
        (2, "first_frame"),
        (22, "rebuffer_start"),
        (27, "rebuffer_end"),
        (47, "seek_start"),
        (50, "seek_end"),
        (60, "pause"),
        (70, "resume"),
        (80, "session_end", {"detail": "ended"}),
    )
    assert folded.seconds() == {"startup_waiting": 2, "playing": 60, "rebuffer": 5, "seek_waiting": 3, "paused": 10}
    assert folded.get("startup_ms first_picture_ms rebuffer_count seek_count") == (2000, 2000, 1, 1)
    assert folded.get("pause_count inferred_count exit_after_ms") == (1, 0, None)
    assert folded.get("outcome end_reason media_ms") == ("played", "ended", 60_000)
    assert folded.minutes("concurrent%") == 13


# Rules 1, 3 and 4: what one stall is.


def test_a_pause_inside_a_stall_starts_no_second_stall():
    pause = [(6, "pause"), (8, "resume")]
    folded = fold(*FRAME_AT_ONCE, (5, "rebuffer_start"), *pause, (9, "rebuffer_end"), (10, "session_end"))
    assert (folded.seconds(), folded["rebuffer_count"]) == ({"playing": 6, "rebuffer": 2, "paused": 2}, 1)


def test_a_stall_that_begins_in_a_pause_counts_when_it_shows():
    stall = [(55, "rebuffer_start"), (65, "resume"), (70, "rebuffer_end")]
    folded = fold(*START, (50, "pause"), *stall, (71, "heartbeat"))
    assert folded.seconds() == {"startup_waiting": 1, "playing": 50, "rebuffer": 5, "paused": 15}
    (shown,) = folded.connection.execute("SELECT time_ms FROM stalls").fetchall()
    assert shown == (ORIGIN_MS + 65_000,)


def test_a_stall_that_never_shows_is_none():
    folded = fold(*START, (5, "pause"), (6, "rebuffer_start"), (7, "rebuffer_end"), (9, "resume"))
    assert folded["rebuffer_count"] == 0


def test_a_second_rebuffer_start_starts_no_second_stall():
    folded = fold(*START, (5, "rebuffer_start"), (6, "rebuffer_start"), (8, "rebuffer_end"), (9, "heartbeat"))
    assert folded.get("rebuffer_count rebuffer_ms") == (1, 3000)


def test_a_stall_of_no_length_is_a_stall():
    folded = fold(*FRAME_AT_ONCE, (1, "rebuffer_start"), (1, "rebuffer_end"), (2, "session_end"))
    assert (folded.seconds(), folded["rebuffer_count"]) == ({"playing": 2}, 1)


def test_waiting_after_a_seek_is_not_rebuffering_but_later_waiting_is():
    folded = fold(
        *START,
        (5, "seek_start"),
        (5, "rebuffer_start"),
        (8, "rebuffer_end"),
        (9, "seek_end"),
        (10, "rebuffer_start"),
        (12, "rebuffer_end"),
        (13, "session_end"),
    )
    assert folded.seconds() == {"startup_waiting": 1, "playing": 6, "seek_waiting": 4, "rebuffer": 2}
    assert folded["rebuffer_count"] == 1


def test_a_seek_ends_a_stall():
    folded = fold(*START, (5, "rebuffer_start"), (7, "seek_start"), (9, "seek_end"), (10, "session_end"))
    assert folded.seconds() == {"startup_waiting": 1, "playing": 5, "rebuffer": 2, "seek_waiting": 2}
    assert folded["rebuffer_count"] == 1


# Rule 2: startup and its interruptions.


@pytest.mark.parametrize(
    "interruption",
    [
        ("pause",),
        ("seek_start",),
        ("background",),
        ("error", SOFT),
        state("paused"),
        state("seeking"),
    ],
)
def test_an_interrupted_startup_has_no_startup_time(interruption):
    folded = fold((0, "play_requested"), (1, *interruption), (3, "first_frame"))
    assert folded.get("startup_ms first_picture_ms outcome") == (None, None, "played")
    assert (folded.minutes("starts"), folded.minutes("startups"), folded.minutes("first_pictures")) == (1, 0, 0)


def test_a_silence_interrupts_a_startup():
    folded = fold((0, "play_requested"), (301, "first_frame"), (302, "heartbeat"))
    assert folded.seconds() == {"playing": 1}
    assert folded.get("startup_ms silent_ms outcome") == (None, 301_000, "played")


def test_what_was_over_before_the_play_request_interrupts_nothing():
    folded = fold(
        (0, "pause"),
        (1, "resume"),
        (1, "background"),
        (1, "error", SOFT),
        (2, "foreground"),
        (2, "play_requested"),
        (5, "first_frame"),
    )
    assert folded.get("startup_ms paused_ms error_count") == (3000, 1000, 1)


@pytest.mark.parametrize(
    ("before", "after"), [("pause", "resume"), ("seek_start", "seek_end"), ("background", "foreground")]
)
def test_what_the_play_request_finds_interrupts_it_too(before, after):
    folded = fold((0, before), (1, "play_requested"), (2, after), (4, "first_frame"))
    assert folded["startup_ms"] is None


def test_rebuffering_before_the_first_frame_is_startup():
    folded = fold((0, "play_requested"), (1, "rebuffer_start"), (3, "first_frame"), (4, "session_end"))
    assert folded.seconds() == {"startup_waiting": 3, "playing": 1}
    assert folded.get("startup_ms rebuffer_count") == (3000, 0)


def test_a_play_request_after_the_first_frame_is_an_attempt_and_a_start():
    folded = fold((0, "first_frame"), (1, "play_requested"), (5, "heartbeat"))
    assert folded.get("startup_ms first_picture_ms outcome playing_ms") == (None, None, "played", 5000)
    assert (folded.minutes("attempts"), folded.minutes("starts"), folded.minutes("startups")) == (1, 1, 0)


# Rules 5 to 8: ads.


def test_ads_before_the_content_are_not_startup():
    folded = fold((0, "play_requested"), (1, "ad_start"), (6, "ad_end"), (8, "first_frame"), (9, "session_end"))
    assert folded.seconds() == {"startup_waiting": 3, "playing": 1, "ad": 5}
    assert folded.get("startup_ms first_picture_ms ad_count") == (3000, 1000, 1)
    assert (folded.minutes("first_pictures"), folded.minutes("first_picture_ms")) == (1, 1000)


def test_what_comes_after_the_first_ad_interrupts_the_startup_but_not_the_first_picture():
    pause = [(2, "pause"), (3, "resume")]
    folded = fold((0, "play_requested"), (1, "ad_start"), *pause, (6, "ad_end"), (8, "first_frame"))
    assert folded.get("startup_ms first_picture_ms") == (None, 1000)


def test_an_ad_without_a_frame_of_content_is_a_first_picture():
    folded = fold((0, "play_requested"), (1.5, "ad_start"), (2, "session_end"))
    assert folded.get("startup_ms first_picture_ms outcome exit_after_ms") == (None, 1500, "exit_before_start", 2000)


def test_an_ad_before_the_play_request_leaves_no_first_picture():
    folded = fold((0, "ad_start"), (1, "ad_end"), (2, "play_requested"), (5, "first_frame"))
    assert folded.get("startup_ms first_picture_ms ad_ms") == (3000, None, 1000)


def test_a_break_is_ad_between_its_ads_and_its_waiting_is_no_stall_of_the_content():
    folded = fold(
        *START,
        (10, "ad_break_start"),
        (11, "ad_start"),
        (16, "ad_end"),
        (17, "rebuffer_start"),
        (19, "rebuffer_end"),
        (20, "ad_start"),
        (25, "ad_break_end"),
        (30, "session_end"),
    )
    # In the break of 15 s 2 s are waiting.
    assert folded.seconds() == {"startup_waiting": 1, "playing": 9 + 5, "ad": 13, "ad_rebuffer": 2}
    assert folded.get("ad_count rebuffer_count ad_rebuffer_count media_ms") == (2, 0, 1, 14_000)


def test_rebuffering_in_an_ad_is_apart_and_ads_end_stalls():
    folded = fold(
        *START,
        (5, "rebuffer_start"),
        (7, "ad_start"),
        (8, "rebuffer_start"),
        (9, "pause"),
        (10, "resume"),
        (11, "ad_end"),
        (12, "heartbeat"),
    )
    content = {"startup_waiting": 1, "playing": 4 + 1, "rebuffer": 2}
    assert folded.seconds() == {**content, "ad": 1, "ad_rebuffer": 2, "paused": 1}
    assert folded.get("rebuffer_count ad_rebuffer_count") == (1, 1)
    assert (folded.minutes("ad_rebuffer_ms"), folded.minutes("ad_rebuffer_count")) == (2000, 1)


def test_ads_after_the_content_are_not_playing():
    folded = fold(*START, (5, "ad_start"), (9, "ad_end"), (9, "session_end"))
    assert (folded.seconds(), folded["media_ms"]) == ({"startup_waiting": 1, "playing": 4, "ad": 4}, 4000)
    # :05 belongs to the ad.
    assert folded.minutes("concurrent%") == 0


# Rule 9: the background.


def test_background_time_is_apart_by_the_state_beneath():
    folded = fold(
        (0, "background"),
        (1, "play_requested"),
        (3, "first_frame"),
        (6, "rebuffer_start"),
        (10, "rebuffer_end"),
        (10, "seek_start"),
        (15, "seek_end"),
        (15, "pause"),
        (21, "resume"),
        (21, "ad_start"),
        (28, "ad_end"),
        (28, "foreground"),
        (30, "session_end"),
    )
    # The second before the play request is nothing.
    assert folded.seconds() == {"playing": 2, "background": 27}
    beneath = "background_startup_waiting_ms background_playing_ms background_rebuffer_ms background_seek_waiting_ms"
    assert folded.get(beneath) == (2000, 3000, 4000, 5000)
    assert [folded.minutes(measure) for measure in beneath.split()] == [2000, 3000, 4000, 5000]
    assert folded.get("startup_ms startup_waiting_ms media_ms") == (None, 0, 5000)
    assert folded.get("rebuffer_count background_rebuffer_count") == (0, 1)


def test_a_stall_is_counted_where_it_shows_first():
    folded = fold(
        *START,
        (2, "rebuffer_start"),
        (3, "background"),
        (4, "rebuffer_end"),
        (5, "rebuffer_start"),
        (6, "foreground"),
        (8, "rebuffer_end"),
    )
    assert folded.get("rebuffer_count background_rebuffer_count") == (1, 1)
    assert folded.get("rebuffer_ms background_rebuffer_ms") == (1000 + 2000, 1000 + 1000)


def test_nobody_is_concurrent_in_the_background():
    assert fold(*FRAME_AT_ONCE, (2, "background"), (12, "foreground"), (16, "heartbeat")).minutes("concurrent%") == 2


# Rules 10, 12 to 15 and 19: how it began and how it came out.


def test_a_title_that_starts_by_itself_says_so():
    folded = fold((0, "play_requested", {"autoplay": True}), (1, "first_frame"))
    assert (folded["autoplay"], folded.minutes("resolved_autoplays"), folded.minutes("attempts")) == (True, 1, 1)
    assert (fold(*START)["autoplay"], fold(*START).minutes("resolved_autoplays")) == (False, 0)


@pytest.mark.parametrize(
    ("events", "final", "counted"),
    [
        ([], False, []),
        ([], True, [(0, 1)]),
        ([(61, "session_end")], False, []),
        ([(61, "session_end")], True, [(0, 1)]),
        ([(61, "first_frame")], False, [(0, 1)]),
        ([(61, "error", FATAL)], False, [(0, 1)]),
        ([(61, "error", {**FATAL, "business": True})], False, [(0, 1)]),
        ([(61, "first_frame"), (62, "error", FATAL)], True, [(0, 1)]),
    ],
)
def test_an_attempt_of_a_title_that_starts_by_itself_counts_once_its_outcome_is_known(events, final, counted):
    folded = fold((0, "play_requested", {"autoplay": True}), *events, final=final)
    assert folded.by_minute("resolved_autoplays") == counted


def test_only_the_event_that_asked_says_whether_it_started_by_itself():
    assert not fold(*START, (2, "play_requested", {"autoplay": True}))["autoplay"]


@pytest.mark.parametrize(
    ("events", "final", "outcome"),
    [
        ([(0, "play_requested")], False, "pending"),
        ([(0, "play_requested")], True, "exit_before_start"),
        ([(0, "play_requested"), (1, "error", FATAL)], True, "start_failure"),
        ([*START, (2, "error", FATAL)], True, "playback_failure"),
        (START, False, "played"),
        (START, True, "played"),
        ([(0, "heartbeat")], True, "unknown"),
        ([(0, "first_frame"), (5, "heartbeat")], True, "unknown"),
    ],
)
def test_outcomes(events, final, outcome):
    folded = fold(*events, final=final)
    assert folded["outcome"] == outcome
    assert folded.minutes("exits_before_start") == (outcome == "exit_before_start")
    assert folded.minutes("ended_plays") == (final and outcome in ("played", "playback_failure"))
    assert folded.minutes("attempts") == (outcome != "unknown")


FAILS = (1, "error", FATAL)


@pytest.mark.parametrize(
    ("events", "outcome", "attempts"),
    [
        ([FAILS, (61, "play_requested"), (62, "play_requested")], "start_failure", [(1, 1)]),
        ([FAILS, (61, "player_state", {"player_state": "starting"})], "start_failure", [(1, 1)]),
        ([FAILS, (2, "session_end"), (61, "play_requested")], "start_failure", [(1, 1)]),
        ([(0, "play_requested"), FAILS, (61, "play_requested")], "start_failure", [(0, 1)]),
        ([(1, "session_end"), (2, "error", FATAL), (61, "play_requested")], "unknown", []),
        ([(0, "first_frame"), FAILS, (61, "play_requested")], "unknown", []),
        ([FAILS, (61, "player_state", {"player_state": "playing"})], "unknown", []),
    ],
)
def test_who_asks_a_failed_player_gets_a_start_failure(events, outcome, attempts):
    folded = fold(*events)
    assert folded["outcome"] == outcome
    assert folded.by_minute("attempts") == attempts
    assert folded.by_minute("start_failures") == attempts
    assert folded["startup_ms"] is None


def test_an_error_that_is_not_fatal_ends_nothing():
    folded = fold(*START, (2, "error", SOFT), (63, "error", {**SOFT, "detail": "later"}), (64, "heartbeat"))
    assert folded.get("outcome error_code error_fatal error_count") == ("played", "soft", False, 2)
    assert folded.get("playing_ms startup_ms") == (63_000, 1000)
    assert folded.minutes("error_count") == 2


def test_the_first_fatal_error_is_shown_and_ends_the_session():
    folded = fold(
        *START,
        (2, "error", SOFT),
        (3, "error", FATAL),
        (4, "error", {**FATAL, "detail": "later"}),
        (5, "error", SOFT),
        (9, "heartbeat", {"dropped_frames": 7}),
    )
    assert folded.seconds() == {"startup_waiting": 1, "playing": 2}
    assert folded.get("error_code error_fatal error_business error_count") == ("hard", True, False, 1)
    assert folded.get("event_count dropped_frames ended_ms") == (7, 0, ORIGIN_MS + 9000)
    assert folded.minutes("playback_failures") == 1


WITHOUT_CODE = {**FATAL, "detail": ""}


@pytest.mark.parametrize(
    ("later", "code"),
    [
        ([("error", {**SOFT, "detail": "E1"})], "E1"),
        ([("error", {**FATAL, "detail": "E1"})], "E1"),
        ([state("failed", detail="E1")], "E1"),
        ([state("playing", detail="E1")], "E1"),
        ([("error", {**SOFT, "detail": ""}), state("quit"), ("error", {**SOFT, "detail": "E2"})], "E2"),
        ([("error", {**SOFT, "detail": "E1"}), ("error", {**SOFT, "detail": "E2"})], "E1"),
        # Only errors and states have codes: these are a reason and the id of an ad.
        ([("session_end", {"detail": "closed"}), ("ad_start", {"detail": "ad"})], ""),
    ],
)
@pytest.mark.parametrize("failure", [("error", WITHOUT_CODE), state("failed", detail=""), state("failed")])
def test_a_fatal_error_without_a_code_takes_the_next_one(failure, later, code):
    folded = fold(*START, (2, *failure), *((3 + at, *event) for at, event in enumerate(later)))
    assert (folded["error_code"] or "", folded["error_fatal"], folded["error_count"]) == (code, True, 0)


@pytest.mark.parametrize(
    "events",
    [
        [(2, "error", {**SOFT, "detail": "before"}), (3, "error", WITHOUT_CODE)],
        [(2, "error", {**SOFT, "detail": ""}), (3, "error", {**SOFT, "detail": "later"})],
        [(2, "error", {**SOFT, "detail": ""}), (3, "session_end"), (4, "error", {**SOFT, "detail": "later"})],
    ],
    ids=["a code before it", "not fatal", "not fatal, ended"],
)
def test_no_other_error_takes_another_ones_code(events):
    assert fold(*START, *events)["error_code"] in ("", None)


def test_business_errors_are_counted_apart():
    rights = {"detail": "rights", "fatal": True, "business": True}
    start, playback = fold((0, "play_requested"), (1, "error", rights)), fold(*START, (2, "error", rights))
    assert (start["outcome"], start["error_business"]) == ("start_failure", True)
    assert (start.minutes("start_failures"), start.minutes("start_failures_business")) == (0, 1)
    assert (playback.minutes("playback_failures"), playback.minutes("playback_failures_business")) == (0, 1)


@pytest.mark.parametrize(
    ("end", "after_ms", "is_quick"),
    [
        ((0.999, "session_end"), 999, True),
        ((1, "session_end"), 1000, False),
        ((0.5, *state("quit")), 500, True),
        ((4, *state("ended")), 4000, False),
        ((-1, "session_end"), 0, True),
        ((0.5, "heartbeat"), None, False),
    ],
)
def test_an_exit_before_the_start_says_when_if_the_player_did(end, after_ms, is_quick):
    folded = fold((0, "play_requested"), end)
    assert folded.get("outcome exit_after_ms") == ("exit_before_start", after_ms)
    assert (folded.minutes("exits_before_start"), folded.minutes("quick_exits")) == (1, is_quick)


@pytest.mark.parametrize(
    "before", [[], [(0.1, "first_frame")], [(0.1, "error", FATAL)]], ids=["open", "frame", "error"]
)
def test_only_an_exit_before_the_start_has_its_time(before):
    is_open = not before
    folded = fold((0, "play_requested"), *before, (0.5, "session_end"), final=not is_open)
    assert (folded["exit_after_ms"], folded.minutes("quick_exits")) == (None, 0)


def test_a_missing_play_request_leaves_the_outcome_unknown():
    folded = fold((0, "first_frame"), (5, "rebuffer_start"), (7, "error", FATAL))
    assert folded.seconds() == {"playing": 5, "rebuffer": 2}
    assert folded.get("outcome error_code startup_ms") == ("unknown", "hard", None)
    assert [folded.minutes(measure) for measure in ("attempts", "starts", "playback_failures")] == [0, 0, 0]


# Rules 18, 20, 22, 23, 27: silence and clocks.


def test_nothing_is_assumed_after_the_last_event():
    folded = fold(*START, (5, "rebuffer_start"))
    assert folded.seconds() == {"startup_waiting": 1, "playing": 4}
    assert folded.get("rebuffer_count end_reason") == (1, None)


def test_a_silence_is_nothing_and_a_pause_may_last_longer():
    folded = fold(*START, (400, "heartbeat"), (401, "pause"), (1001, "resume"))
    assert folded.seconds() == {"startup_waiting": 1, "playing": 1, "paused": 600}
    assert folded["silent_ms"] == 399_000


def test_a_silence_of_exactly_the_gap_is_none():
    folded = fold(*START, (301, "pause"), (2101, "resume"), (2101, "session_end"))
    assert folded.seconds() == {"startup_waiting": 1, "playing": 300, "paused": 1800}
    assert folded["silent_ms"] == 0


def test_lost_heartbeats_change_no_duration_but_end_concurrency():
    heartbeats = [(at, "heartbeat") for at in range(11, 61, 10)]
    assert fold(*START, *heartbeats, (61, "session_end")).seconds() == fold(*START, (61, "session_end")).seconds()
    assert fold(*START, *heartbeats, (61, "session_end")).minutes("concurrent%") == 12  # :05 … 1:00
    assert fold(*START, (61, "session_end")).minutes("concurrent%") == 6  # :05 … :30


def test_time_that_steps_back_counts_as_zero_and_goes_on_from_there():
    folded = fold((0, "play_requested"), (10, "first_frame"), (5, "heartbeat"), (12, "heartbeat"))
    assert folded.seconds() == {"startup_waiting": 10, "playing": 7}
    assert folded.get("ended_ms media_ms") == (ORIGIN_MS + 12_000, 7000)


def test_a_session_ends_at_its_latest_time():
    folded = fold(*FRAME_AT_ONCE, (10, "heartbeat"), (4, "heartbeat"), (6, "session_end"))
    assert (folded.seconds(), folded["ended_ms"]) == ({"playing": 12}, ORIGIN_MS + 10_000)


def test_a_clock_that_steps_forward_by_less_than_the_gap_is_waiting():
    folded = fold(*START, (2, "rebuffer_start"), (300, "rebuffer_end"), (650, "heartbeat"))
    assert folded.seconds() == {"startup_waiting": 1, "playing": 1, "rebuffer": 298}
    assert folded["silent_ms"] == 350_000


def test_concurrency_ends_after_five_minutes_of_one_stall():
    heartbeats = [(at, "heartbeat") for at in range(20, 401, 20)]
    folded = fold(*FRAME_AT_ONCE, (2, "rebuffer_start"), *heartbeats)
    assert folded.minutes("concurrent%") == 61  # :00 playing, then :05 … 5:00
    assert folded["rebuffer_ms"] == 398_000


# Rules 28 to 31.


def test_a_session_of_no_length_has_durations_of_zero():
    folded = fold(*FRAME_AT_ONCE)
    assert (folded.seconds(), folded["startup_ms"]) == ({}, 0)
    assert folded.get("media_ms avg_bitrate_kbps avg_height_px") == (0, None, None)


def test_durations_are_split_at_the_minute_and_at_midnight():
    # The origin is a midnight: 20 s before it is the last minute of a day.
    folded = fold((-20, "play_requested"), (-10, "first_frame"), (70, "session_end"))
    assert folded.by_minute("playing_ms") == [(-1, 10_000), (0, 60_000), (1, 10_000)]
    assert folded["started_ms"] == ORIGIN_MS - 20_000


def test_daylight_saving_changes_nothing():
    # 2024-03-31T01:00:00Z, when clocks in Central Europe go from 02:00 to 03:00.
    change = (1_711_846_800_000 - ORIGIN_MS) / 1000
    folded = fold((change - 2, "play_requested"), (change - 1, "first_frame"), (change + 9, "session_end"))
    assert folded.seconds() == {"startup_waiting": 1, "playing": 10}


def test_nothing_counts_after_the_end_but_the_number_of_events():
    replay = [(11, "play_requested", {"autoplay": True}), (12, "first_frame"), (13, "pause"), (14, "seek_start")]
    more = [(15, "rendition", {"representation_id": "2"}), (16, "ad_start"), (17, *state("failed")), (18, "heartbeat")]
    rendition = (1, "rendition", {"representation_id": "1"})
    folded = fold((0, "play_requested"), rendition, (10, "session_end", {"detail": "quit"}), *replay, *more)
    assert folded.seconds() == {"startup_waiting": 10}
    assert folded.get("outcome exit_after_ms end_reason autoplay") == ("exit_before_start", 10_000, "quit", False)
    assert folded.get("pause_count seek_count ad_count rendition_switch_count event_count") == (0, 0, 0, 0, 11)


# Copies, late events, order (rule 21).


def test_the_least_event_id_wins_and_then_the_first_one():
    rows = bronze(START)
    copies = [
        {**rows[1], "offset": 7, "event_id": "e0", "type": "heartbeat"},
        {**rows[1], "offset": 6, "event_id": "e0", "type": "session_end"},
    ]
    folded = fold_rows(rows + copies)
    assert folded.get("outcome event_count duplicates conflicts") == ("exit_before_start", 2, 1, 1)


def test_no_event_id_is_the_least():
    rows = bronze(START)
    folded = fold_rows([*rows, {**rows[1], "offset": 5, "event_id": None, "type": "heartbeat"}])
    assert folded.get("outcome conflicts") == ("exit_before_start", 1)


def test_late_events_are_left_out_and_the_state_before_them_lasts():
    rows = bronze([*START, (5, "rebuffer_start"), (8, "rebuffer_end"), (9, "session_end")])
    folded = fold_rows(rows, late=rows[2:4])
    assert folded.get("playing_ms rebuffer_ms event_count lost_events") == (8000, 0, 3, 2)


def test_a_sequence_that_the_player_did_not_count_leaves_no_hole():
    rows = bronze([*START, (5, *state("stalled"))])
    rows[2]["sequence"] = 2**32 + 7
    assert fold_rows(rows).get("event_count lost_events rebuffer_count") == (3, 0, 1)
    rows[1]["sequence"] = 4
    assert fold_rows(rows)["lost_events"] == 3


def test_the_order_is_that_of_the_sequence_and_the_context_that_of_its_first_event():
    rows = bronze([*START, (5, "pause"), (8, "session_end")], country="DE", codec="avc1")
    rows[0].update(country="FR", codec="av01")
    for offset, row in enumerate(reversed(rows)):
        row["offset"] = offset
    folded = fold_rows(rows)
    assert folded.seconds() == {"startup_waiting": 1, "playing": 4, "paused": 3}
    assert folded.get("country codec") == ("FR", "av01")
