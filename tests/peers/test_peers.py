"""Tests of what the comparison does by itself: dealing the input, reading what engines leave, comparing, telling. The
engines are not started."""

import json

import duckdb
import pytest

import input_file
import outputs
import peers
import report
from lake_builder import ORIGIN_MS, epoch, session, write_table

EPOCH_COLUMNS = {"topic": "VARCHAR", "epoch": "BIGINT"}
REVISION_COLUMNS = {**outputs._REVISIONS["session_revisions"], "topic": "VARCHAR"}

# session_id, event_count, started_at_ms, ended_at_ms, startup_ms, rebuffer_count, dropped_frames
ROWS = [("a", 20, 1_000, 9_000, 800, 1, 7), ("b", 3, 2_000, 4_000, None, 0, 0), ("c", 5, 2_000, 4_000, 900, 2, 1)]


def line(number):
    return json.dumps({"context": {"session_id": "s"}, "events": [{"event_time_ms": number, "heartbeat": {}}]}) + "\n"


@pytest.fixture
def written(tmp_path):
    """Writes rows as an engine's output; returns its path."""

    def write(name, rows):
        path = tmp_path / f"{name}.parquet"
        declared = ", ".join(f"{column} {kind}" for column, kind in outputs.TYPES.items())
        connection = duckdb.connect()
        connection.execute(f"CREATE TABLE sessions ({declared})")
        connection.executemany(f"INSERT INTO sessions VALUES ({', '.join('?' * len(outputs.COLUMNS))})", rows)
        connection.execute(f"COPY sessions TO '{path}' (FORMAT parquet)")
        return path

    return write


def rows_of(path):
    return duckdb.connect().execute(f"SELECT {', '.join(outputs.COLUMNS)} FROM '{path}' ORDER BY ALL").fetchall()


def test_lines_are_dealt_in_turns(tmp_path, monkeypatch):
    monkeypatch.setattr(input_file, "WARM_UP_EVENTS", 5)
    file = tmp_path / "events.jsonl"
    file.write_text("".join(map(line, range(50))))
    given = input_file.prepare(file, tmp_path)
    assert (given.events, given.bytes) == (50, file.stat().st_size)
    parts = [(given.parts / f"part-{part}.jsonl").read_text() for part in range(2)]
    assert parts == ["".join(map(line, range(part, 50, 2))) for part in range(2)]
    assert [len((given.warm_up / f"part-{part}.jsonl").read_text().splitlines()) for part in range(2)] == [3, 2]


@pytest.mark.parametrize(
    "text",
    ["", line(1) + "{}\n", '{"events":[{"event_time_ms":1},{"event_time_ms":2}]}\n'],
    ids=["no event", "a record without events", "a record of two events"],
)
def test_an_input_that_the_queries_would_read_differently_is_refused(tmp_path, text):
    file = tmp_path / "events.jsonl"
    file.write_text(text)
    with pytest.raises(input_file.UnusableInput, match="events.jsonl"):
        input_file.prepare(file, tmp_path)


def test_the_newest_revision_of_each_session_is_read(tmp_path, written):
    def revision(session_id, number, epoch_number, **columns):
        row = session(session_id, revision=number, startup_ms=800, ended_at=9, **columns)
        return {**row, "epoch": epoch_number}

    lake_dir = tmp_path / "lake"
    rows = [revision("a", 2, 1, event_count=4), revision("a", 1, 2, event_count=5), revision("a", 2, 2, event_count=6)]
    columns = {"session_revisions": REVISION_COLUMNS, "epochs": EPOCH_COLUMNS}
    write_table(lake_dir, "session_revisions", [*rows, revision("b", 1, 1, event_count=1)], columns)
    write_table(lake_dir, "epochs", [epoch(1, 1, 1, 1)], columns)
    outputs.of_marquee(lake_dir, tmp_path / "out.parquet")
    times = (ORIGIN_MS, ORIGIN_MS + 9_000, 800, 0, 0)
    assert rows_of(tmp_path / "out.parquet") == [("a", 6, *times), ("b", 1, *times)]


def test_files_in_progress_are_not_read(tmp_path):
    row = dict(zip(outputs.COLUMNS, ROWS[1], strict=True))
    (tmp_path / "part-0").write_text(json.dumps(row) + "\n")
    (tmp_path / ".part-1.inprogress").write_text(json.dumps({**row, "session_id": "c"}) + "\n")
    outputs.of_flink(tmp_path, tmp_path / "out.parquet")
    assert rows_of(tmp_path / "out.parquet") == [ROWS[1]]


@pytest.mark.parametrize("read", [outputs.of_marquee, outputs.of_flink])
def test_nothing_written_is_an_error(tmp_path, read):
    with pytest.raises(outputs.UnreadableOutput):
        read(tmp_path / "nowhere", tmp_path / "out.parquet")


def test_equal_outputs_pass_in_any_order(written):
    first = written("one", ROWS)
    peers.check("Two", written("two", reversed(ROWS)), ("One", first), 28)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([ROWS[0], ROWS[1]], ["Two counts 23 events of 28", "session c: only One has it"]),
        ([*ROWS[:2], (*ROWS[2][:6], 2)], ["session c: dropped_frames is 2 by Two and 1 by One"]),
        ([ROWS[0], (*ROWS[1][:4], 0, 0, 0), ROWS[2]], ["session b: startup_ms is 0 by Two and None by One"]),
        ([*ROWS[:2], ("c", 2, *ROWS[2][2:]), ("c", 3, *ROWS[2][2:])], ["Two has 4 rows of 3 sessions"]),
        ([*ROWS, ("d", 0, *ROWS[2][2:])], ["session d: only Two has it"]),
    ],
    ids=["a session lost", "one value", "zero for unknown", "a session in two rows", "a session made up"],
)
def test_what_differs_is_named(written, rows, said):
    with pytest.raises(peers.OutputsDiffer) as problem:
        peers.check("Two", written("two", rows), ("One", written("one", ROWS)), 28)
    for line_said in said:
        assert line_said in str(problem.value)


def test_many_differences_are_counted(written):
    one = [(f"s{number}", 1, 0, 0, None, 0, 0) for number in range(9)]
    two = [(*row[:5], 1, 0) for row in one]
    found = outputs.differences("Two", written("two", two), "One", written("one", one))
    assert len(found) == outputs.SHOWN + 1
    assert found[-1] == "… 9 sessions differ"


def test_the_quietest_run_is_told():
    def run(wall_s, cpu_s, others_cpu_s=0.0):
        return report.Run(wall_s, cpu_s, 10_000_000, wall_s + 1, cpu_s + 1, others_cpu_s)

    runs = {"marquee": [run(3.0, 4.0), run(2.0, 4.0)], "flink": [run(8.0, 16.0, 9.0)], "duckdb": [run(1.0, 2.0)]}
    titles = {"marquee": "Marquee", "flink": "Flink", "duckdb": "DuckDB"}
    found = report.of_all({"sessions": 5}, titles, 1_000, runs)
    assert (found["engines"]["marquee"]["events_per_s"], found["engines"]["marquee"]["events_per_cpu_s"]) == (500, 250)
    assert [run["wall_s"] for run in found["engines"]["marquee"]["runs"]] == [3.0, 2.0]
    assert found["marquee_to"]["flink"] == {"events_per_s": 4.0, "events_per_cpu_s": 4.0}
    assert found["marquee_to"]["duckdb"] == {"events_per_s": 0.5, "events_per_cpu_s": 0.5}
    json.dumps(found)
    text = report.as_text(found, 2)
    assert "Marquee / Flink: 4.00 by events per CPU second, 4.00 by events per second" in text
    assert "not quiet: beside Flink, others used 50% of the CPUs" in text
    assert "beside DuckDB" not in text
