"""Independent oracle of `marquee import waterloo`: the session rows, worked out from the dataset's raw CSV files.

usage: waterloo.py DATA_DIR SESSIONS_JSON

DATA_DIR is the folder `waterloo-sqoe4` (sessions.csv, streaming_logs/). SESSIONS_JSON is a file with a JSON array of
objects with `session_id`, `startup_ms`, `rebuffer_count`, `rebuffer_ms`, `media_ms`, `avg_bitrate_kbps` and
`rendition_switch_count`, as `marquee lake sql … --format json` prints them.

Row 0 of a streaming log is the initial buffering, every later row a chunk and the stall before it. Prints one line,
`{"sessions": N, "mismatches": M, "first": […]}`. Exit code 0: all sessions agree; 1: some do not, are missing, come
twice or are not in the dataset; 2: an input cannot be read.
"""

import csv
import json
import math
import sys
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from pathlib import Path

# The wire carries whole bit/s.
BITRATE_TOLERANCE = 1e-6

MISMATCHES_SHOWN = 5


class UnreadableInput(Exception):
    """An input file is missing or not what it should be."""


def to_ms(seconds: str) -> int:
    """Seconds as written, exactly, to the nearest millisecond."""
    return int((Decimal(seconds) * 1000).quantize(Decimal(1), ROUND_HALF_UP))


def expected_session(chunks: list[dict[str, str]]) -> dict[str, int | float]:
    """The session's row by the rows of its streaming log."""
    waits = [chunk["rebuffering_duration"] for chunk in chunks]
    stalls_ms = [to_ms(wait) for wait in waits[1:] if Decimal(wait) > 0]
    durations = [Decimal(chunk["chunk_duration"]) for chunk in chunks]
    bitrates = [Decimal(chunk["video_bitrate"]) for chunk in chunks]
    kilobits = sum(bitrate * duration for bitrate, duration in zip(bitrates, durations, strict=True))
    representations = [chunk["representation_index"] for chunk in chunks]
    return {
        "startup_ms": to_ms(waits[0]),
        "rebuffer_count": len(stalls_ms),
        "rebuffer_ms": sum(stalls_ms),
        "media_ms": sum(to_ms(chunk["chunk_duration"]) for chunk in chunks),
        "avg_bitrate_kbps": float(kilobits / sum(durations)),
        "rendition_switch_count": sum(a != b for a, b in pairwise(representations)),
    }


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise UnreadableInput(f"{path} has no rows")
    return rows


def expected_sessions(data_dir: Path) -> dict[str, dict[str, int | float]]:
    """Session id to expected row, for every streaming log that sessions.csv lists."""
    logs = [row["streaming_log"] for row in read_csv(data_dir / "sessions.csv")]
    return {f"waterloo-{Path(log).stem}": expected_session(read_csv(data_dir / "streaming_logs" / log)) for log in logs}


def is_equal(column: str, expected: int | float, actual: object) -> bool:
    if isinstance(actual, bool) or not isinstance(actual, (int, float)):
        return False
    if column == "avg_bitrate_kbps":
        return math.isclose(expected, actual, rel_tol=BITRATE_TOLERANCE)
    return expected == actual


def differences(expected: dict[str, int | float], actual: dict[str, object]) -> dict[str, dict[str, object]]:
    """The columns that differ, each with both values."""
    return {
        column: {"expected": value, "actual": actual.get(column)}
        for column, value in expected.items()
        if not is_equal(column, value, actual.get(column))
    }


def compare(
    expected: dict[str, dict[str, int | float]], actual_rows: list[dict[str, object]]
) -> list[dict[str, object]]:
    """One entry for each session that is wrong, missing, twice there or not in the dataset."""
    mismatches: list[dict[str, object]] = []
    seen: set[object] = set()
    for row in actual_rows:
        session_id = row.get("session_id")
        if session_id in seen:
            mismatches.append({"session_id": session_id, "problem": "more than one row"})
        elif session_id not in expected:
            mismatches.append({"session_id": session_id, "problem": "not in the dataset"})
        elif columns := differences(expected[session_id], row):
            mismatches.append({"session_id": session_id, "columns": columns})
        seen.add(session_id)
    mismatches += [{"session_id": id, "problem": "missing"} for id in expected if id not in seen]
    return mismatches


def read_actual(path: Path) -> list[dict[str, object]]:
    rows = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UnreadableInput(f"{path} is not a JSON array of objects")
    return rows


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print("usage: waterloo.py DATA_DIR SESSIONS_JSON", file=sys.stderr)
        return 2
    data_dir, sessions_json = map(Path, arguments)
    try:
        expected = expected_sessions(data_dir)
        actual = read_actual(sessions_json)
    except (OSError, ValueError, KeyError, ArithmeticError, UnreadableInput) as problem:
        print(f"waterloo.py: cannot read the input: {type(problem).__name__}: {problem}", file=sys.stderr)
        return 2
    mismatches = compare(expected, actual)
    first = mismatches[:MISMATCHES_SHOWN]
    print(json.dumps({"sessions": len(expected), "mismatches": len(mismatches), "first": first}))
    return 1 if mismatches else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
