"""Independent oracle of the playback job: sessions and minutes, recomputed from bronze in DuckDB.

usage: recompute.py LAKE_DIR [--topic T] [--log-events N] [--generations N,M] [--views VIEWS_DIR]

Folds table `events` into sessions (fold.sql, sessions.sql) and compares them with the latest revisions in
`session_revisions`; works out `qoe_minutes` cell by cell (minutes.sql); checks what must hold of the tables among each
other (invariants.py); with what the views `qoe_…` say in VIEWS_DIR, compares that with what each definition makes of the
recomputed sessions and minutes (definitions.py). It reads each table's current version and expects every event to be folded: the input must have
ended, or the watermark have passed every hole, and the job have written the rows of open sessions (as it does when it
stops).

Prints one line: `sessions` recomputed, `mismatches` (sessions that differ, are missing or should not be there),
`invariants` by name, `violations` of those that do not hold, `view_rows` and `view_mismatches` (rows and cubes of views that
differ), `notes` (never a failure), `first` (some of what differs).
NULL and the empty text both mean unknown and are equal; averages may differ by 1e-9, everything else by nothing.
Exit code 0: all agrees; 1: something does not; 2: the lake is missing, empty or cannot be read.
"""

import argparse
import json
import sys
from pathlib import Path

import duckdb

import definitions
from invariants import INVARIANTS, LOG_EVENTS, NOTES
from lake import CONTEXT_COLUMNS, SESSION_NUMBERS, UnreadableLake, load, rows_as_dicts

# How copies split into duplicates and conflicts depends on their order of arrival: invariants.py compares the sums.
EXACT_COLUMNS = [
    *"started_ms ended_ms autoplay startup_ms first_picture_ms exit_after_ms error_fatal error_business".split(),
    *(name for name in SESSION_NUMBERS if name not in ("duplicates", "conflicts")),
]
TEXT_COLUMNS = [*CONTEXT_COLUMNS, "outcome", "error_code", "end_reason"]
AVERAGE_COLUMNS = ["avg_bitrate_kbps", "avg_height_px"]
COMPARED_COLUMNS = EXACT_COLUMNS + TEXT_COLUMNS + AVERAGE_COLUMNS

AVERAGE_TOLERANCE = 1e-9

SHOWN_OF_EACH_KIND = 5

# Columns of `session_revisions` that are instants there and milliseconds here.
INSTANTS = {"started_ms": "epoch_ms(actual.started_at)", "ended_ms": "epoch_ms(actual.ended_at)"}


def run_script(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    connection.execute((Path(__file__).parent / name).read_text(encoding="utf-8"))


def recompute_sessions(connection: duckdb.DuckDBPyConnection) -> None:
    """Adds the recomputed sessions to a loaded lake."""
    run_script(connection, "fold.sql")
    run_script(connection, "sessions.sql")


def recompute_minutes(connection: duckdb.DuckDBPyConnection) -> None:
    """Adds the recomputed minutes to a lake with recomputed sessions."""
    run_script(connection, "minutes.sql")


def _difference(column: str) -> str:
    """SQL that is true where the column differs between aliases `expected` and `actual`."""
    expected, actual = f"expected.{column}", INSTANTS.get(column, f"actual.{column}")
    if column in TEXT_COLUMNS:
        return f"coalesce({expected}, '') <> coalesce({actual}, '')"
    if column in AVERAGE_COLUMNS:
        tolerated = f"{AVERAGE_TOLERANCE} * greatest(abs({expected}), abs({actual}))"
        return f"coalesce(abs({expected} - {actual}) > {tolerated}, {expected} IS DISTINCT FROM {actual})"
    return f"{expected} IS DISTINCT FROM {actual}"


def compare_sessions(connection: duckdb.DuckDBPyConnection) -> None:
    """Adds table `session_mismatches`: one row for each session that is wrong, missing or not in bronze."""
    values = ", ".join(
        f"expected.{column} AS expected_{column}, {INSTANTS.get(column, f'actual.{column}')} AS actual_{column}"
        for column in COMPARED_COLUMNS
    )
    differing = ", ".join(f"CASE WHEN {_difference(column)} THEN '{column}' END" for column in COMPARED_COLUMNS)
    connection.execute(
        f"""
        CREATE TEMP TABLE session_mismatches AS
        SELECT
            topic, session_id, player_instance,
            expected.session IS NULL AS is_extra,
            actual.revision IS NULL AS is_missing,
            list_filter([{differing}], lambda name: name IS NOT NULL) AS differing,
            {values}
        FROM recomputed_sessions AS expected
        FULL JOIN latest_sessions AS actual USING (topic, session_id, player_instance)
        WHERE is_extra OR is_missing OR len(differing) > 0
        ORDER BY topic, session_id, player_instance
        """
    )


def load_partitions(connection: duckdb.DuckDBPyConnection, generations: str | None) -> None:
    """Adds table `partitions`: of each its generation, its number in it, how many there are, and its parent."""
    connection.execute(
        'CREATE TEMP TABLE partitions ("partition" INT, generation INT, number INT, partition_count INT, parent INT)'
    )
    if generations is None:
        connection.execute(
            'INSERT INTO partitions SELECT DISTINCT "partition", 1, "partition", 1, NULL'
            ' FROM (SELECT "partition" FROM epochs UNION SELECT "partition" FROM events)'
        )
        return
    first, parents = 0, []
    for generation, size in enumerate(map(int, generations.split(",")), start=1):
        for number in range(size):
            parent = parents[number % len(parents)] if parents else None
            connection.execute(
                "INSERT INTO partitions VALUES (?, ?, ?, ?, ?)", [first + number, generation, number, size, parent]
            )
        parents = list(range(first, first + size))
        first += size


def describe_session_mismatch(row: dict[str, object]) -> dict[str, object]:
    key = {name: row[name] for name in ("topic", "session_id", "player_instance")}
    if row["is_missing"]:
        return {**key, "problem": "no row in session_revisions"}
    if row["is_extra"]:
        return {**key, "problem": "no timely event in bronze"}
    columns = {
        column: {"expected": row[f"expected_{column}"], "actual": row[f"actual_{column}"]}
        for column in row["differing"]
    }
    return {**key, "columns": columns}


def count(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    (value,) = connection.execute(sql).fetchone()
    return int(value)


def count_violations(connection: duckdb.DuckDBPyConnection, log_events: int | None) -> dict[str, int]:
    violations = {name: count(connection, sql) for name, sql in INVARIANTS.items()}
    if log_events is not None:
        violations["every_log_event_is_in_bronze_or_dead"] = abs(count(connection, LOG_EVENTS) - log_events)
    return violations


def report(
    connection: duckdb.DuckDBPyConnection,
    log_events: int | None,
    views_dir: Path | None = None,
    generations: str | None = None,
) -> dict[str, object]:
    """What is printed, of a lake with its recomputed tables."""
    load_partitions(connection, generations)
    compare_sessions(connection)
    violations = count_violations(connection, log_events)
    view_rows, wrong_views = definitions.compare(connection, views_dir) if views_dir else ({}, [])
    shown = f"LIMIT {SHOWN_OF_EACH_KIND}"
    return {
        "sessions": count(connection, "SELECT count(*) FROM recomputed_sessions"),
        "mismatches": count(connection, "SELECT count(*) FROM session_mismatches"),
        "invariants": {name: found == 0 for name, found in violations.items()},
        "violations": {name: found for name, found in violations.items() if found},
        "view_rows": view_rows,
        "view_mismatches": len(wrong_views),
        "notes": {name: count(connection, sql) for name, sql in NOTES.items()},
        "first": [
            *map(describe_session_mismatch, rows_as_dicts(connection, f"SELECT * FROM session_mismatches {shown}")),
            *rows_as_dicts(connection, f"SELECT * FROM minute_mismatches {shown}"),
            *rows_as_dicts(connection, f"SELECT * FROM total_mismatches {shown}"),
            *wrong_views[:SHOWN_OF_EACH_KIND],
        ],
    }


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="recompute.py", description=__doc__.splitlines()[0])
    parser.add_argument("lake_dir", type=Path, metavar="LAKE_DIR")
    parser.add_argument("--topic", help="only this topic (default: every topic, each on its own)")
    parser.add_argument("--log-events", type=int, metavar="N", help="events in the log, all compared topics together")
    parser.add_argument(
        "--generations", metavar="N,M", help="partitions of each generation of a topic that has grown, the oldest first"
    )
    parser.add_argument("--views", type=Path, metavar="VIEWS_DIR", help="VIEW.csv for each view of the definitions")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = parse_arguments(arguments)
    try:
        connection = load(options.lake_dir, options.topic)
    except UnreadableLake as problem:
        print(f"recompute.py: {problem}", file=sys.stderr)
        return 2
    recompute_sessions(connection)
    recompute_minutes(connection)
    try:
        result = report(connection, options.log_events, options.views, options.generations)
    except duckdb.IOException as problem:
        print(f"recompute.py: {problem}", file=sys.stderr)
        return 2
    print(json.dumps(result))
    agrees = result["mismatches"] == result["view_mismatches"] == 0 and all(result["invariants"].values())
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
