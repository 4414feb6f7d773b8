"""Tests of recompute.py through its command line: a lake worked out by hand, and lakes in which one thing is wrong.
What the fold does with events is in test_states.py, test_edge_rules.py, test_inference.py and test_media.py."""

import copy
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lake
import recompute
from lake_builder import ORIGIN_MS, bronze, epoch, minute, session, write_lake, write_table

# Startup 2 s, 60 s played, a stall of 5 s, 3 s of waiting after a seek, a pause of 10 s.
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

CONTEXT = {name: f"a {name}" for name in lake.CONTEXT_COLUMNS}

CUBES = {
    "audience": "country device_type cdn protocol app_version",
    "title": "series_id title_id country device_type",
    "network": "country isp asn cdn edge",
    "place": "country region city",
    "player": "device_type os player player_version app_version",
    "delivery": "protocol codec drm stream_type cdn",
    "plan": "plan experiment_arm country device_type",
}


def in_every_cube(index, **measures):
    """Rows of `qoe_minutes` for one minute of the session."""
    return [
        minute(index, cube_name, **{name: CONTEXT[name] for name in names.split()}, **measures)
        for cube_name, names in CUBES.items()
    ]


def whole_lake():
    """The worked example with every table that follows from it, worked out by hand; one event was sent twice."""
    events = bronze(WORKED_EXAMPLE, **CONTEXT)
    vector = {
        **dict.fromkeys("startup_ms first_picture_ms startup_waiting_ms".split(), 2000),
        **{"playing_ms": 60_000, "rebuffer_ms": 5000, "seek_waiting_ms": 3000, "paused_ms": 10_000, "media_ms": 60_000},
        **dict.fromkeys("rebuffer_count seek_count pause_count duplicates".split(), 1),
    }
    first_minute = {
        **dict.fromkeys("attempts startups first_pictures starts ended_plays rebuffer_count seek_count".split(), 1),
        **dict.fromkeys("startup_ms first_picture_ms startup_waiting_ms".split(), 2000),
        **{"playing_ms": 50_000, "rebuffer_ms": 5000, "seek_waiting_ms": 3000, "media_ms": 50_000},
        # 1.01^763 < 2000 ≤ 1.01^764
        "startup_buckets": [764, 1],
        **{f"concurrent_{second:02}": 1 for second in range(5, 60, 5)},
    }
    second_minute = {
        **{"paused_ms": 10_000, "playing_ms": 10_000, "media_ms": 10_000},
        **{"concurrent_10": 1, "concurrent_15": 1},
    }
    return {
        "events": [*events, {**events[4], "offset": 9}],
        "dead_letters": [
            {"topic": "playback", "partition": 0, "offset": 10, "index": -1, "event_count": 1, "received_at": ORIGIN_MS}
        ],
        "late_events": [],
        "recomputed_events": [],
        "session_revisions": [
            session(**CONTEXT, is_final=False, started_at=0, ended_at=60),
            session(**CONTEXT, **vector, revision=2, started_at=0, ended_at=80, event_count=9, end_reason="ended"),
        ],
        "qoe_minutes": [
            *in_every_cube(0, **first_minute),
            *in_every_cube(1, **second_minute),
            # What the first revision said of the second minute is taken back by the second one.
            minute(1, "place", country="a country", paused_ms=7),
            minute(1, "place", country="a country", paused_ms=-7),
        ],
        "epochs": [epoch(1, 6, 6, 6), epoch(3, 11, 5, 4, 1)],
    }


def of_cube(cube_name):
    """Where the cube's row of the first minute is."""
    return list(CUBES).index(cube_name)


@pytest.fixture(scope="session")
def right_lake(tmp_path_factory):
    lake_dir = tmp_path_factory.mktemp("right") / "a lake"
    write_lake(lake_dir, whole_lake())
    return lake_dir


@pytest.fixture
def tampered(right_lake, tmp_path):
    """Writes the right lake with a change to its rows; gives its folder."""

    def write(tamper):
        lake_dir = tmp_path / "tampered"
        shutil.copytree(right_lake, lake_dir)
        tables = whole_lake()
        tamper(tables)
        for name, rows in tables.items():
            if rows != whole_lake()[name]:
                write_table(lake_dir, name, rows)
        return lake_dir

    return write


@pytest.fixture
def run(capsys):
    """Runs the command line; gives the exit code, the report (None without one) and the error output."""

    def run_on(lake_dir, *arguments):
        code = recompute.main([str(lake_dir), *arguments])
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if printed.out else None, printed.err

    return run_on


def test_a_right_lake_passes(right_lake):
    script = Path(recompute.__file__)
    command = [sys.executable, str(script), str(right_lake), "--log-events", "11"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert (done.returncode, report["sessions"], report["mismatches"], report["first"]) == (0, 1, 0, [])
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
        {"ad_rebuffer_ms": 1},
        {"background_playing_ms": 1},
        {"startup_ms": None},
        {"first_picture_ms": 1999},
        {"exit_after_ms": 80_000},
        {"autoplay": True},
        {"rebuffer_count": 2},
        {"inferred_count": 1},
        {"max_upscale_per_mille": 1},
        {"ended_at": ORIGIN_MS + 80_001},
        {"title_id": "other"},
        {"stream_type": "live"},
        {"outcome": "pending"},
        {"avg_bitrate_kbps": 0.0},
        {"error_code": "E"},
        {"error_fatal": False},
        {"lost_events": 1},
    ],
)
def test_a_tampered_session_is_found(tampered, run, columns):
    code, report, _ = run(tampered(change("session_revisions", 1, **columns)))
    assert (code, report["mismatches"]) == (1, 1)
    (column,) = columns
    shown = {"ended_at": "ended_ms"}.get(column, column)
    assert list(report["first"][0]["columns"]) == [shown]


@pytest.mark.parametrize(
    ("tamper", "problem"),
    [
        (add("session_revisions", 1, session_id="other"), "no timely event in bronze"),
        (lambda tables: tables["session_revisions"].clear(), "no row in session_revisions"),
    ],
    ids=["extra", "missing"],
)
def test_extra_and_missing_sessions_are_found(tampered, run, tamper, problem):
    code, report, _ = run(tampered(tamper))
    assert (code, report["mismatches"], report["first"][0]["problem"]) == (1, 1, problem)


@pytest.mark.parametrize(
    ("tamper", "invariant"),
    [
        (add("events", 4), "bronze_keys_distinct"),
        (add("dead_letters", 0), "dead_letter_keys_distinct"),
        (change("dead_letters", 0, offset=3), "no_event_is_also_a_dead_letter"),
        (change("events", 9, is_late=True), "late_marks_are_the_late_events"),
        (add("events", 4, offset=10, partition=1), "a_session_is_in_one_partition_of_a_generation"),
        (add("session_revisions", 1), "revision_keys_distinct"),
        (change("session_revisions", 1, event_count=8), "every_event_is_counted_or_late"),
        (change("session_revisions", 1, duplicates=0), "copies_are_counted"),
        (change("epochs", 1, epoch=1), "epoch_keys_distinct"),
        (change("epochs", 1, records=4), "epoch_records_reach_next_offset"),
        (change("epochs", 0, events=5), "epoch_events_are_the_bronze_rows"),
        (change("epochs", 1, dead_letters=0), "epoch_dead_letters_are_the_dead_letters"),
        (change("dead_letters", 0, offset=11), "offsets_are_below_next_offset"),
        (change("qoe_minutes", of_cube("plan"), concurrent_30=0), "minute_cells_equal_the_recomputation"),
        (change("qoe_minutes", of_cube("place"), minute=ORIGIN_MS + 60_000), "minute_cells_equal_the_recomputation"),
        (change("qoe_minutes", of_cube("title"), country="FR"), "minute_cells_equal_the_recomputation"),
        (change("qoe_minutes", of_cube("title"), os="a os"), "minute_cells_equal_the_recomputation"),
        (change("qoe_minutes", of_cube("network"), asn=None), "minute_cells_equal_the_recomputation"),
        (change("qoe_minutes", of_cube("audience"), playing_ms=50_001), "minutes_of_each_cube_equal_the_sessions"),
        (change("qoe_minutes", of_cube("title"), startup_buckets=[]), "minutes_of_each_cube_equal_the_sessions"),
        (change("qoe_minutes", of_cube("player"), ended_plays=0), "minutes_of_each_cube_equal_the_sessions"),
        (remove("qoe_minutes", of_cube("delivery")), "minutes_of_each_cube_equal_the_sessions"),
        (
            change("qoe_minutes", of_cube("network"), startup_buckets=[762, 1]),
            "startup_percentiles_are_one_percent_above_at_most",
        ),
        (
            change("qoe_minutes", of_cube("title"), country="FR"),
            "startup_percentiles_are_one_percent_above_at_most",
        ),
        (remove("qoe_minutes", -1), "minutes_of_each_cube_equal_the_sessions"),
    ],
)
def test_a_broken_invariant_is_found(tampered, run, tamper, invariant):
    code, report, _ = run(tampered(tamper))
    assert code == 1
    assert not report["invariants"][invariant]
    assert report["violations"][invariant] > 0


def test_a_late_event_that_is_not_in_bronze_is_found(tampered, run):
    def tamper(tables):
        tables["late_events"] = [{**tables["events"][0], "offset": 99}]

    code, report, _ = run(tampered(tamper))
    found = {"late_events_are_in_bronze": 1, "late_marks_are_the_late_events": 1}
    assert (code, report["violations"]) == (1, found)


def test_a_late_copy_of_a_counted_event_is_no_lost_event(tampered, run):
    def tamper(tables):
        tables["events"][9]["is_late"] = True
        tables["late_events"] = [tables["events"][9]]
        tables["session_revisions"][1]["duplicates"] = 0

    assert run(tampered(tamper))[0] == 0


def late_and_recomputed(tables):
    """The copy came past the horizon and was folded by a recompute."""
    tables["events"][9]["is_late"] = True
    tables["late_events"] = [tables["events"][9]]
    tables["recomputed_events"] = [{**tables["events"][9], "epoch": 3}]


def test_a_recomputed_event_is_counted(tampered, run):
    assert run(tampered(late_and_recomputed))[0] == 0


@pytest.mark.parametrize(
    ("columns", "invariant"),
    [
        ({"offset": 98}, "recomputed_events_are_late_events"),
        ({"sequence": 5}, "recomputed_events_are_late_events"),
        ({}, "recomputed_event_keys_distinct"),
    ],
)
def test_a_wrong_recomputed_event_is_found(tampered, run, columns, invariant):
    def tamper(tables):
        late_and_recomputed(tables)
        tables["recomputed_events"].append({**tables["recomputed_events"][0], **columns})

    code, report, _ = run(tampered(tamper))
    assert (code, report["invariants"][invariant]) == (1, False)


def test_a_lost_log_event_is_found(right_lake, run):
    code, report, _ = run(right_lake, "--log-events", "12")
    assert (code, report["violations"]) == (1, {"every_log_event_is_in_bronze_or_dead": 1})


def test_wrong_partition_values_are_found(right_lake):
    connection = lake.load(right_lake)
    recompute.recompute_sessions(connection)
    recompute.recompute_minutes(connection)
    connection.execute("UPDATE events SET partition_value = '2023-12-31' WHERE sequence = 0")
    assert recompute.report(connection, None)["violations"] == {"partition_values_are_the_dates": 1}


def test_two_players_with_one_session_id_are_two_sessions(tampered, run):
    def tamper(tables):
        tables["events"][8]["player_instance"] = "2"

    code, report, _ = run(tampered(tamper))
    problems = [mismatch.get("problem") for mismatch in report["first"][:2]]
    assert (code, report["sessions"], problems) == (1, 2, [None, "no row in session_revisions"])


def test_topics_are_apart(tmp_path, run):
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


def test_tables_of_what_never_happened_may_be_absent(tmp_path, run):
    tables = whole_lake()
    tables["dead_letters"] = []
    tables["epochs"] = [epoch(1, 10, 10, 10)]
    for name, rows in tables.items():
        if rows:
            write_table(tmp_path, name, rows)
    assert run(tmp_path)[0] == 0


def test_what_cannot_be_read_is_said(right_lake, tmp_path, run):
    def complaint(lake_dir, *arguments):
        code, report, error = run(lake_dir, *arguments)
        assert (code, report) == (2, None)
        return error

    assert "there is no lake at" in complaint(tmp_path / "nowhere")
    assert "there is no table events" in complaint(tmp_path)
    write_lake(tmp_path, {})
    assert "holds no epoch yet" in complaint(tmp_path)
    assert "holds no epoch for topic other" in complaint(right_lake, "--topic", "other")
    assert "qoe_cta_2066.csv" in complaint(right_lake, "--views", str(tmp_path))
