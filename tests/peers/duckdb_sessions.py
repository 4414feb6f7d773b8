"""DuckDB's part, in a process of its own: the sessions of a file of events as one query, the floor of a batch engine.

usage: duckdb_sessions.py INPUT_FILE OUTPUT.parquet

Prints what it has used, as JSON. No windows: in the input no two events of a session are further apart than the gap, so
a group is a session, which spares DuckDB the sort.
"""

import json
import os
import sys
import time

import duckdb

import process_tree

THREADS = 2

# The columns that are needed: DuckDB skips the rest.
EVENT = (
    "STRUCT(event_time_ms BIGINT, play_requested STRUCT(autoplay BOOLEAN), first_frame STRUCT(nothing VARCHAR),"
    " rebuffer_start STRUCT(nothing VARCHAR), heartbeat STRUCT(dropped_frames BIGINT))"
)

QUERY = f"""
    COPY (
        SELECT
            session_id,
            count(*) AS event_count,
            min(event.event_time_ms) AS started_at_ms,
            max(event.event_time_ms) AS ended_at_ms,
            min(event.event_time_ms) FILTER (event.first_frame IS NOT NULL)
                - min(event.event_time_ms) FILTER (event.play_requested IS NOT NULL) AS startup_ms,
            count(*) FILTER (event.rebuffer_start IS NOT NULL) AS rebuffer_count,
            CAST(coalesce(sum(event.heartbeat.dropped_frames), 0) AS BIGINT) AS dropped_frames
        FROM (
            SELECT context.session_id AS session_id, events[1] AS event
            FROM read_json(
                getvariable('input'),
                format = 'newline_delimited',
                columns = {{context: 'STRUCT(session_id VARCHAR)', events: '{EVENT}[]'}}
            )
        )
        GROUP BY session_id
    ) TO (getvariable('output')) (FORMAT parquet, COMPRESSION zstd)
"""


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print("usage: duckdb_sessions.py INPUT_FILE OUTPUT.parquet", file=sys.stderr)
        return 2
    connection = duckdb.connect(config={"threads": THREADS, "preserve_insertion_order": False})
    for name, value in zip(("input", "output"), arguments, strict=True):
        connection.execute(f"SET VARIABLE {name} = ?", [value])
    started, cpu_before_s = time.monotonic(), time.process_time()
    connection.execute(QUERY)
    report = {
        "wall_s": time.monotonic() - started,
        "cpu_s": time.process_time() - cpu_before_s,
        "peak_memory_bytes": process_tree.peak_memory_bytes(os.getpid()),
    }
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
