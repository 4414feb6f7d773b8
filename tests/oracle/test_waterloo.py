"""Tests of waterloo.py on a dataset of two sessions, expected values worked out by hand."""

import json

import pytest

import waterloo

LOG_COLUMNS = "representation_index,rebuffering_duration,video_bitrate,chunk_duration"
LOGS = {
    # Stalls of 1.5004 s and 0.25 s; representations 6 → 7 → 7 → 6.
    "0001.csv": ["6,2.0006,1000,4", "7,1.5004,2000,4", "7,0.0,3000,4", "6,0.25,4000.5,2"],
    "0002.csv": ["3,0.0,500.25,4"],
}
RIGHT = [
    {
        "session_id": "waterloo-0001",
        "startup_ms": 2001,
        "rebuffer_count": 2,
        "rebuffer_ms": 1750,
        "media_ms": 14_000,
        "avg_bitrate_kbps": (4000 + 8000 + 12_000 + 8001) / 14,
        "rendition_switch_count": 2,
    },
    {
        "session_id": "waterloo-0002",
        "startup_ms": 0,
        "rebuffer_count": 0,
        "rebuffer_ms": 0,
        "media_ms": 4000,
        "avg_bitrate_kbps": 500.25,
        "rendition_switch_count": 0,
    },
]


@pytest.fixture
def run(tmp_path, capsys):
    """Runs the command line on rows; returns the exit code and the report."""
    logs_dir = tmp_path / "streaming_logs"
    logs_dir.mkdir()
    for name, rows in LOGS.items():
        (logs_dir / name).write_text("\n".join([LOG_COLUMNS, *rows]))
    (tmp_path / "sessions.csv").write_text("\n".join(["streaming_log,mos", *(f"{name},50" for name in LOGS)]))

    def run_on(rows):
        sessions_json = tmp_path / "sessions.json"
        sessions_json.write_text(json.dumps(rows))
        code = waterloo.main([str(tmp_path), str(sessions_json)])
        return code, json.loads(capsys.readouterr().out)

    return run_on


def test_right_rows_pass_in_any_order(run):
    assert run(RIGHT[::-1]) == (0, {"sessions": 2, "mismatches": 0, "first": []})


def test_an_average_may_differ_by_what_the_wire_rounds(run):
    assert run([{**RIGHT[0], "avg_bitrate_kbps": RIGHT[0]["avg_bitrate_kbps"] * (1 + 9e-7)}, RIGHT[1]])[0] == 0


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("startup_ms", 2000),
        ("startup_ms", None),
        ("rebuffer_count", 1),
        ("rebuffer_ms", 1751),
        ("media_ms", 12_000),
        ("avg_bitrate_kbps", 2285.8),
        ("avg_bitrate_kbps", "2285.785714"),
        ("rendition_switch_count", 3),
    ],
)
def test_a_wrong_column_is_named(run, column, value):
    code, report = run([{**RIGHT[0], column: value}, RIGHT[1]])
    assert (code, report["mismatches"]) == (1, 1)
    assert report["first"] == [
        {"session_id": "waterloo-0001", "columns": {column: {"expected": RIGHT[0][column], "actual": value}}}
    ]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (RIGHT[:1], "missing"),
        ([*RIGHT, {**RIGHT[0], "session_id": "waterloo-0003"}], "not in the dataset"),
        ([*RIGHT, RIGHT[0]], "more than one row"),
    ],
)
def test_missing_and_extra_rows_are_found(run, rows, problem):
    code, report = run(rows)
    assert (code, [mismatch["problem"] for mismatch in report["first"]]) == (1, [problem])


def test_what_cannot_be_read_is_said(tmp_path, capsys):
    assert waterloo.main([str(tmp_path), "none.json"]) == 2
    assert "sessions.csv" in capsys.readouterr().err
    assert waterloo.main([]) == 2
