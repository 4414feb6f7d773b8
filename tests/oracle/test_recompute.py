"""Tests of recompute.py: hand-made events with the durations that a person works out, and lakes in which one thing is
wrong. Run with `python -m pytest tests/oracle` in an environment of requirements-dev.txt."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

import lake
import recompute
from lake_builder import ORIGIN_MS, bronze, epoch, minute, session, write_lake, write_table

STATES = "startup_waiting_ms playing_ms rebuffer_ms seek_waiting_ms paused_ms ad_ms background_ms".split()

START = [(0, "play_requested"), (1, "first_frame")]
FATAL = {"detail": "hard", "fatal": True, "business": False}
SOFT = {"detail": "soft", "fatal": False, "business": False}


@pytest.fixture
def folded(tmp_path):
    """Folds rows of `events`; returns the only session and the connection."""

    def fold(rows, final=True, late=()):
        sessions = [session(is_final=final)]
        write_lake(
            tmp_path,
            {"events": rows, "late_events": late, "session_revisions": sessions, "epochs": [epoch(1, 1, 1, 1)]},
        )
        connection = lake.load(tmp_path)
        recompute.recompute(connection)
        (only,) = recompute.rows_as_dicts(connection, "SELECT * FROM recomputed_sessions")
        return only, connection

    return fold


def seconds(row):
    return [row[state] / 1000 for state in STATES]


def minute_total(connection, measure):
    return recompute.count(
        connection,
        "SELECT coalesce(sum(value), 0) FROM recomputed_minutes JOIN cells USING (cell)"
        f" WHERE cube_name = 'title' AND measure LIKE '{measure}'",
    )


# The rules, one by one. Expected: startup, playing, rebuffering, seek waiting, paused, ad, background in seconds.

WORKED_EXAMPLE = [
    (0, "play_requested"),
    (2, "first_frame"),
    (22, "rebuffer_start"),
    (27, "rebuffer_end"),
    (47, "seek_start"),
    (50, "seek_end"),
    (60, "pause"),
    (70, "resume"),
    (80, "session_end", {"detail": "ended"}),
]


def test_worked_example(folded):
    row, connection = folded(bronze(WORKED_EXAMPLE))
    assert seconds(row) == [2, 60, 5, 3, 10, 0, 0]
    assert (row["startup_ms"], row["rebuffer_count"], row["seek_count"]) == (2000, 1, 1)
    assert (row["outcome"], row["end_reason"], row["media_ms"]) == ("played", "ended", 60_000)
    assert minute_total(connection, "concurrent%") == 13


def test_a_pause_inside_a_stall_starts_no_second_stall(folded):
    row, _ = folded(
        bronze(
            [
                (0, "play_requested"),
                (0, "first_frame"),
                (5, "rebuffer_start"),
                (6, "pause"),
                (8, "resume"),
                (9, "rebuffer_end"),
                (10, "session_end"),
            ]
        )
    )
    assert seconds(row) == [0, 6, 2, 0, 2, 0, 0]
    assert row["rebuffer_count"] == 1


def test_a_stall_that_begins_in_a_pause_counts_when_it_shows(folded):
    row, connection = folded(
        bronze([*START, (50, "pause"), (55, "rebuffer_start"), (65, "resume"), (70, "rebuffer_end"), (71, "heartbeat")])
    )
    assert seconds(row) == [1, 50, 5, 0, 15, 0, 0]
    (counted,) = recompute.rows_as_dicts(connection, "SELECT time_ms FROM stalls")
    assert counted["time_ms"] == ORIGIN_MS + 65_000


def test_a_stall_that_never_shows_is_none(folded):
    row, _ = folded(bronze([*START, (5, "pause"), (6, "rebuffer_start"), (7, "rebuffer_end"), (9, "resume")]))
    assert row["rebuffer_count"] == 0


def test_a_second_rebuffer_start_starts_no_second_stall(folded):
    row, _ = folded(
        bronze([*START, (5, "rebuffer_start"), (6, "rebuffer_start"), (8, "rebuffer_end"), (9, "heartbeat")])
    )
    assert (row["rebuffer_count"], row["rebuffer_ms"]) == (1, 3000)


def test_waiting_while_seeking_is_not_rebuffering(folded):
    row, _ = folded(
        bronze(
            [
                *START,
                (5, "seek_start"),
                (5, "rebuffer_start"),
                (8, "rebuffer_end"),
                (9, "seek_end"),
                (10, "session_end"),
            ]
        )
    )
    assert seconds(row) == [1, 5, 0, 4, 0, 0, 0]
    assert row["rebuffer_count"] == 0


def test_a_seek_ends_a_stall(folded):
    row, _ = folded(
        bronze([*START, (5, "rebuffer_start"), (7, "seek_start"), (9, "seek_end"), (10, "session_end")])
    )
    assert seconds(row) == [1, 5, 2, 2, 0, 0, 0]
    assert row["rebuffer_count"] == 1


def test_rebuffering_before_the_first_frame_is_startup(folded):
    row, _ = folded(bronze([(0, "play_requested"), (1, "rebuffer_start"), (3, "first_frame"), (4, "session_end")]))
    assert seconds(row) == [3, 1, 0, 0, 0, 0, 0]
    assert (row["startup_ms"], row["rebuffer_count"]) == (3000, 0)


def test_a_stall_of_no_length_is_a_stall(folded):
    row, _ = folded(
        bronze(
            [
                (0, "play_requested"),
                (0, "first_frame"),
                (1, "rebuffer_start"),
                (1, "rebuffer_end"),
                (2, "session_end"),
            ]
        )
    )
    assert seconds(row) == [0, 2, 0, 0, 0, 0, 0]
    assert row["rebuffer_count"] == 1


@pytest.mark.parametrize("interruption", [("pause",), ("seek_start",), ("background",), ("error", SOFT)])
def test_an_interrupted_startup_has_no_startup_time(folded, interruption):
    row, connection = folded(bronze([(0, "play_requested"), (1, *interruption), (3, "first_frame")]))
    assert row["startup_ms"] is None
    assert (minute_total(connection, "starts"), minute_total(connection, "startups")) == (1, 0)


def test_a_silence_interrupts_a_startup(folded):
    row, _ = folded(bronze([(0, "play_requested"), (301, "first_frame"), (302, "heartbeat")]))
    assert seconds(row) == [0, 1, 0, 0, 0, 0, 0]
    assert (row["startup_ms"], row["silent_ms"], row["outcome"]) == (None, 301_000, "played")


def test_a_pause_before_the_play_request_interrupts_nothing(folded):
    row, _ = folded(bronze([(0, "pause"), (1, "resume"), (2, "play_requested"), (5, "first_frame")]))
    assert (row["startup_ms"], row["paused_ms"]) == (3000, 1000)


def test_a_play_request_after_the_first_frame_starts_nothing(folded):
    row, connection = folded(bronze([(0, "first_frame"), (1, "play_requested"), (5, "heartbeat")]))
    assert (row["startup_ms"], row["outcome"], row["playing_ms"]) == (None, "played", 5000)
    assert (minute_total(connection, "attempts"), minute_total(connection, "starts")) == (1, 0)


def test_a_pre_roll_ad_is_not_startup(folded):
    row, _ = folded(
        bronze([(0, "play_requested"), (1, "ad_start"), (6, "ad_end"), (8, "first_frame"), (9, "session_end")])
    )
    assert seconds(row) == [3, 1, 0, 0, 0, 5, 0]
    assert row["startup_ms"] == 3000


@pytest.mark.parametrize(
    ("events", "final", "outcome"),
    [
        ([(0, "play_requested")], False, "pending"),
        ([(0, "play_requested")], True, "exit_before_start"),
        ([(0, "play_requested"), (1, "error", FATAL)], True, "start_failure"),
        ([*START, (2, "error", FATAL)], True, "playback_failure"),
        (START, False, "played"),
        ([(0, "heartbeat")], True, "unknown"),
    ],
)
def test_outcomes(folded, events, final, outcome):
    row, connection = folded(bronze(events), final)
    assert row["outcome"] == outcome
    assert minute_total(connection, "exits_before_start") == (outcome == "exit_before_start")


def test_the_first_fatal_error_is_shown_and_ends_the_session(folded):
    row, connection = folded(
        bronze(
            [
                *START,
                (2, "error", SOFT),
                (3, "error", FATAL),
                (4, "error", {**FATAL, "detail": "later"}),
                (9, "heartbeat", {"dropped_frames": 7}),
            ]
        )
    )
    assert seconds(row) == [1, 2, 0, 0, 0, 0, 0]
    assert (row["error_code"], row["error_fatal"], row["error_business"]) == ("hard", True, False)
    assert (row["event_count"], row["dropped_frames"], row["ended_ms"]) == (6, 0, ORIGIN_MS + 9000)
    assert minute_total(connection, "playback_failures") == 1


def test_without_a_fatal_error_the_first_one_is_shown(folded):
    row, _ = folded(bronze([*START, (2, "error", SOFT), (3, "error", {**SOFT, "detail": "later"})]))
    assert (row["error_code"], row["error_fatal"]) == ("soft", False)


def test_a_silence_is_nothing_and_a_pause_may_last_longer(folded):
    row, _ = folded(bronze([*START, (400, "heartbeat"), (401, "pause"), (1001, "resume")]))
    assert seconds(row) == [1, 1, 0, 0, 600, 0, 0]
    assert row["silent_ms"] == 399_000


def test_a_silence_of_exactly_the_gap_is_none(folded):
    row, _ = folded(bronze([*START, (301, "pause"), (2101, "resume"), (2101, "session_end")]))
    assert seconds(row) == [1, 300, 0, 0, 1800, 0, 0]
    assert row["silent_ms"] == 0


def test_time_that_steps_back_counts_as_zero(folded):
    row, _ = folded(bronze([(0, "play_requested"), (10, "first_frame"), (5, "heartbeat"), (12, "heartbeat")]))
    assert seconds(row) == [10, 2, 0, 0, 0, 0, 0]
    assert row["ended_ms"] == ORIGIN_MS + 12_000


def rendition(representation, bitrate_bps, media_time_ms):
    columns = {"representation_id": representation, "bitrate_bps": bitrate_bps, "height_px": 360}
    return {**columns, "media_time_ms": media_time_ms}


def test_renditions_weigh_by_media_time(folded):
    row, _ = folded(
        bronze(
            [
                (0, "play_requested", {"media_time_ms": 0}),
                (0, "rendition", rendition("6", 1_000_000, 0)),
                (0, "first_frame", {"media_time_ms": 0}),
                (4, "rendition", rendition("6", 2_000_000, 4000)),
                (8, "rendition", rendition("7", 4_000_000, 8000)),
                (10, "session_end", {"media_time_ms": 20_000}),
                (11, "rendition", rendition("9", 9_000_000, 21_000)),
            ]
        )
    )
    # 4 s at 1 Mbit/s, 4 s at 2, then a jump of 12 s in 2 s, of which 4 × 2 s at 4 Mbit/s count.
    assert (row["rendition_switch_count"], row["media_ms"]) == (1, 16_000)
    assert row["avg_bitrate_kbps"] == pytest.approx(2750, rel=1e-12)
    assert (row["bitrate_bit_ms"], row["avg_height_px"]) == (44_000_000_000, 360)


def test_media_time_that_goes_back_counts_as_zero_and_a_missing_one_as_real_time(folded):
    row, _ = folded(
        bronze(
            [
                (0, "play_requested"),
                (0, "first_frame", {"media_time_ms": 9000}),
                (2, "heartbeat", {"media_time_ms": 1000}),
                (5, "heartbeat"),
            ]
        )
    )
    assert (row["media_ms"], row["avg_bitrate_kbps"]) == (3000, None)


def test_a_background_outranks_a_pause(folded):
    row, _ = folded(bronze([*START, (2, "pause"), (3, "background"), (6, "foreground"), (7, "resume")]))
    assert seconds(row) == [1, 1, 0, 0, 2, 0, 3]


def test_durations_are_split_at_the_minute(folded):
    _, connection = folded(bronze([(0, "play_requested"), (50, "first_frame"), (70, "session_end")]))
    rows = recompute.rows_as_dicts(
        connection, "SELECT minute, value FROM duration_parts WHERE measure = 'playing_ms' ORDER BY minute"
    )
    assert [(row["minute"] - ORIGIN_MS // 60_000, row["value"]) for row in rows] == [(0, 10_000), (1, 10_000)]


def test_concurrency_ends_after_thirty_seconds_of_silence(folded):
    _, connection = folded(bronze([*START, (61, "heartbeat")]))
    assert minute_total(connection, "concurrent%") == 6  # :05 … :30


def test_concurrency_ends_after_five_minutes_of_one_stall(folded):
    heartbeats = [(at, "heartbeat") for at in range(20, 401, 20)]
    _, connection = folded(bronze([(0, "play_requested"), (0, "first_frame"), (2, "rebuffer_start"), *heartbeats]))
    assert minute_total(connection, "concurrent%") == 61  # :00 playing, then :05 … 5:00


# Copies, late events, order.


def test_the_least_event_id_wins_and_then_the_first_one(folded):
    rows = bronze(START)
    copies = [
        {**rows[1], "offset": 7, "event_id": "e0", "type": "heartbeat"},
        {**rows[1], "offset": 6, "event_id": "e0", "type": "session_end"},
    ]
    row, _ = folded(rows + copies)
    assert (row["outcome"], row["event_count"]) == ("exit_before_start", 2)
    assert (row["duplicates"], row["conflicts"]) == (1, 1)


def test_no_event_id_is_the_least(folded):
    rows = bronze(START)
    row, _ = folded([*rows, {**rows[1], "offset": 5, "event_id": None, "type": "heartbeat"}])
    assert (row["outcome"], row["conflicts"]) == ("exit_before_start", 1)


def test_late_events_are_left_out(folded):
    rows = bronze(WORKED_EXAMPLE)
    row, _ = folded(rows, late=[rows[2], rows[3]])
    assert (row["rebuffer_ms"], row["event_count"], row["lost_events"]) == (0, 7, 2)


def test_the_order_is_that_of_the_sequence_and_the_context_that_of_its_first_event(folded):
    rows = bronze(WORKED_EXAMPLE, country="DE")
    rows[0]["country"] = "FR"
    for offset, row in enumerate(reversed(rows)):
        row["offset"] = offset
    row, _ = folded(rows)
    assert seconds(row) == [2, 60, 5, 3, 10, 0, 0]
    assert row["country"] == "FR"


# Whole lakes through the command line.


def whole_lake():
    """The worked example with every table that follows from it, worked out by hand; one event was sent twice."""
    context = {"title_id": "film", "country": "DE", "device_type": "tv", "cdn": "c1", "protocol": "hls"}
    events = bronze(WORKED_EXAMPLE, **context)
    first_minute = {
        **dict.fromkeys("attempts startups starts rebuffer_count seek_count".split(), 1),
        **{"startup_ms": 2000, "startup_waiting_ms": 2000, "playing_ms": 50_000, "rebuffer_ms": 5000},
        **{"seek_waiting_ms": 3000, "media_ms": 50_000, "startup_buckets": [764, 1]},
        **{f"concurrent_{second:02}": 1 for second in range(5, 60, 5)},
    }
    second_minute = {
        **{"paused_ms": 10_000, "playing_ms": 10_000, "media_ms": 10_000},
        **{"concurrent_10": 1, "concurrent_15": 1},
    }
    audience = {name: value for name, value in context.items() if name != "title_id"}
    title = {name: context[name] for name in ("title_id", "country", "device_type")}
    return {
        "events": [*events, {**events[4], "offset": 9}],
        "dead_letters": [
            {"topic": "playback", "partition": 0, "offset": 10, "index": -1, "event_count": 1, "received_at": ORIGIN_MS}
        ],
        "session_revisions": [
            session(**context, is_final=False, started_at=0, ended_at=60),
            session(
                **context,
                revision=2,
                started_at=0,
                ended_at=80,
                startup_ms=2000,
                startup_waiting_ms=2000,
                playing_ms=60_000,
                rebuffer_ms=5000,
                seek_waiting_ms=3000,
                paused_ms=10_000,
                media_ms=60_000,
                rebuffer_count=1,
                seek_count=1,
                event_count=9,
                duplicates=1,
                end_reason="ended",
            ),
        ],
        "qoe_minutes": [
            # What the first revision said of the second minute is taken back by the second one.
            minute(1, "title", **title, paused_ms=7),
            minute(1, "title", **title, paused_ms=-7),
            *(minute(0, cube_name, **dims, **first_minute) for cube_name, dims in (("audience", audience), ("title", title))),
            *(minute(1, cube_name, **dims, **second_minute) for cube_name, dims in (("audience", audience), ("title", title))),
        ],
        "epochs": [epoch(1, 6, 6, 6), epoch(3, 11, 5, 4, 1)],
    }


def run(lake_dir, *arguments):
    """Exit code, report (None without one) and error output of the command line."""
    script = Path(recompute.__file__)
    done = subprocess.run(
        [sys.executable, str(script), str(lake_dir), *arguments], capture_output=True, text=True, check=False
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def test_a_right_lake_passes(tmp_path):
    lake_dir = tmp_path / "a lake"
    write_lake(lake_dir, whole_lake())
    code, report, _ = run(lake_dir, "--log-events", "11")
    assert (code, report["sessions"], report["mismatches"], report["first"]) == (0, 1, 0, [])
    assert all(report["invariants"].values())
    assert report["notes"]["epochs_skipped"] == 1


def change(table, place, **columns):
    def apply(tables):
        tables[table][place].update(columns)

    return apply


def remove(table, place):
    def apply(tables):
        del tables[table][place]

    return apply


def add(table, place, **columns):
    """Adds a copy of a row with other columns."""

    def apply(tables):
        tables[table].append({**copy.deepcopy(tables[table][place]), **columns})

    return apply


@pytest.mark.parametrize(
    "columns",
    [
        {"playing_ms": 59_999},
        {"startup_ms": None},
        {"rebuffer_count": 2},
        {"ended_at": ORIGIN_MS + 80_001},
        {"title_id": "other"},
        {"outcome": "pending"},
        {"avg_bitrate_kbps": 0.0},
        {"error_code": "E"},
        {"error_fatal": False},
        {"lost_events": 1},
    ],
)
def test_a_tampered_session_is_found(tmp_path, columns):
    tables = whole_lake()
    tables["session_revisions"][1].update(columns)
    write_lake(tmp_path, tables)
    code, report, _ = run(tmp_path)
    assert (code, report["mismatches"]) == (1, 1)
    (column,) = columns
    shown = {"ended_at": "ended_ms"}.get(column, column)
    assert list(report["first"][0]["columns"]) == [shown]


@pytest.mark.parametrize(
    ("sessions", "problem"),
    [
        ([*whole_lake()["session_revisions"], session("other")], "no timely event in bronze"),
        ([], "no row in session_revisions"),
    ],
    ids=["extra", "missing"],
)
def test_extra_and_missing_sessions_are_found(tmp_path, sessions, problem):
    write_lake(tmp_path, {**whole_lake(), "session_revisions": sessions})
    code, report, _ = run(tmp_path)
    assert (code, report["mismatches"], report["first"][0]["problem"]) == (1, 1, problem)


@pytest.mark.parametrize(
    ("tamper", "invariant"),
    [
        (add("events", 4), "bronze_keys_distinct"),
        (add("dead_letters", 0), "dead_letter_keys_distinct"),
        (change("dead_letters", 0, offset=3), "no_event_is_also_a_dead_letter"),
        (change("events", 9, is_late=True), "late_marks_are_the_late_events"),
        (add("events", 4, offset=10, partition=1), "a_session_is_in_one_partition"),
        (add("session_revisions", 1), "revision_keys_distinct"),
        (change("session_revisions", 1, event_count=8), "every_event_is_counted_or_late"),
        (change("session_revisions", 1, duplicates=0), "copies_are_counted"),
        (change("epochs", 1, epoch=1), "epoch_keys_distinct"),
        (change("epochs", 1, records=4), "epoch_records_reach_next_offset"),
        (change("epochs", 0, events=5), "epoch_events_are_the_bronze_rows"),
        (change("epochs", 1, dead_letters=0), "epoch_dead_letters_are_the_dead_letters"),
        (change("dead_letters", 0, offset=11), "offsets_are_below_next_offset"),
        (change("qoe_minutes", 2, concurrent_30=0), "minute_cells_equal_the_recomputation"),
        (change("qoe_minutes", 2, minute=ORIGIN_MS + 60_000), "minute_cells_equal_the_recomputation"),
        (change("qoe_minutes", 3, country="FR"), "minute_cells_equal_the_recomputation"),
        (change("qoe_minutes", 2, playing_ms=50_001), "minutes_audience_equal_the_sessions"),
        (change("qoe_minutes", 3, startup_buckets=[]), "minutes_title_equal_the_sessions"),
        (remove("qoe_minutes", 0), "minutes_title_equal_the_sessions"),
    ],
)
def test_a_broken_invariant_is_found(tmp_path, tamper, invariant):
    tables = whole_lake()
    tamper(tables)
    write_lake(tmp_path, tables)
    code, report, _ = run(tmp_path)
    assert code == 1
    assert not report["invariants"][invariant]
    assert report["violations"][invariant] > 0


def test_a_late_event_that_is_not_in_bronze_is_found(tmp_path):
    tables = whole_lake()
    tables["late_events"] = [{**tables["events"][0], "offset": 99}]
    write_lake(tmp_path, tables)
    code, report, _ = run(tmp_path)
    found = {"late_events_are_in_bronze": 1, "late_marks_are_the_late_events": 1}
    assert (code, report["violations"]) == (1, found)


def test_a_late_copy_of_a_counted_event_is_no_lost_event(tmp_path):
    tables = whole_lake()
    tables["events"][9]["is_late"] = True
    tables["late_events"] = [tables["events"][9]]
    tables["session_revisions"][1]["duplicates"] = 0
    write_lake(tmp_path, tables)
    assert run(tmp_path)[0] == 0


def test_a_lost_log_event_is_found(tmp_path):
    write_lake(tmp_path, whole_lake())
    code, report, _ = run(tmp_path, "--log-events", "12")
    assert (code, report["violations"]) == (1, {"every_log_event_is_in_bronze_or_dead": 1})


def test_wrong_partition_values_are_found(tmp_path):
    tables = whole_lake()
    write_lake(tmp_path, tables)
    connection = lake.load(tmp_path)
    recompute.recompute(connection)
    connection.execute("UPDATE events SET partition_value = '2023-12-31' WHERE sequence = 0")
    assert recompute.report(connection, None)["violations"] == {"partition_values_are_the_dates": 1}


def test_topics_are_apart(tmp_path):
    tables = whole_lake()
    imported = copy.deepcopy(tables)
    for name, rows in imported.items():
        tables[name] += [{**row, "topic": "playback-import", "session_id": "i"} for row in rows]
    write_lake(tmp_path, tables)
    assert run(tmp_path)[1]["sessions"] == 2
    tables["session_revisions"][1]["playing_ms"] = 0
    write_table(tmp_path, "session_revisions", tables["session_revisions"])
    assert run(tmp_path)[0] == 1
    assert run(tmp_path, "--topic", "playback")[0] == 1
    assert run(tmp_path, "--topic", "playback-import", "--log-events", "11")[0] == 0


def test_tables_of_what_never_happened_may_be_absent(tmp_path):
    tables = whole_lake()
    tables["dead_letters"] = []
    tables["epochs"] = [epoch(1, 10, 10, 10)]
    for name, rows in tables.items():
        if rows:
            write_table(tmp_path, name, rows)
    assert run(tmp_path)[0] == 0


def test_what_cannot_be_read_is_said(tmp_path):
    def complaint(lake_dir, *arguments):
        code, report, error = run(lake_dir, *arguments)
        assert (code, report) == (2, None)
        return error

    assert "there is no lake at" in complaint(tmp_path / "nowhere")
    assert "there is no table events" in complaint(tmp_path)
    write_lake(tmp_path, {})
    assert "holds no epoch yet" in complaint(tmp_path)
    write_lake(tmp_path, whole_lake())
    assert "holds no epoch for topic other" in complaint(tmp_path, "--topic", "other")
