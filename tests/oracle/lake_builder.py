"""Writes tiny lakes for the tests of the oracle: Delta tables with the columns that the oracle reads."""

from pathlib import Path

import duckdb
from deltalake import write_deltalake

from lake import COLUMNS, MEASURES, PARTITIONED_BY, SESSION_NUMBERS

TOPIC = "playback"

# The times of hand-made events count from here: 2024-01-01T00:00:00Z, the start of a minute.
ORIGIN_MS = 1_704_067_200_000

Row = dict[str, object]


def bronze(
    events: list[tuple[float, str] | tuple[float, str, Row]],
    session_id: str = "s",
    first_offset: int = 0,
    **context: object,
) -> list[Row]:
    """Rows of `events`, one record each, of events given as (seconds, type[, other columns])."""
    return [
        {
            "topic": TOPIC,
            "partition": 0,
            "offset": first_offset + sequence,
            "index": 0,
            "session_id": session_id,
            "player_instance": "",
            "sequence": sequence,
            "event_id": f"e{sequence}",
            "type": kind,
            "event_time": ORIGIN_MS + round(seconds * 1000),
            "received_at": ORIGIN_MS,
            "is_late": False,
            **context,
            **(more[0] if more else {}),
        }
        for sequence, (seconds, kind, *more) in enumerate(events)
    ]


def session(session_id: str = "s", **columns: object) -> Row:
    """A row of `session_revisions`: final, nothing measured but what is given. `started_at`, `ended_at` in seconds."""
    instants = {name: ORIGIN_MS + columns.pop(name, 0) * 1000 for name in ("started_at", "ended_at")}
    numbers = dict.fromkeys(SESSION_NUMBERS, 0)
    key = {"topic": TOPIC, "session_id": session_id, "player_instance": "", "revision": 1, "is_final": True}
    unknown = dict.fromkeys(COLUMNS["session_revisions"])
    return {**unknown, **key, **numbers, "autoplay": False, "outcome": "played", **instants, **columns}


def minute(index: int, cube_name: str, **columns: object) -> Row:
    """A row of `qoe_minutes`, `index` minutes after the origin: zero but for what is given."""
    key = {"topic": TOPIC, "partition": 0, "epoch": 1, "minute": ORIGIN_MS + index * 60_000, "cube_name": cube_name}
    return {**key, **dict.fromkeys(MEASURES, 0), "startup_buckets": [], **columns}


def epoch(number: int, next_offset: int, records: int, events: int, dead_letters: int = 0) -> Row:
    """A row of `epochs`."""
    counts = {"next_offset": next_offset, "records": records, "events": events, "dead_letters": dead_letters}
    return {"topic": TOPIC, "partition": 0, "epoch": number, **counts}


def _column(name: str, kind: str) -> str:
    """The column's value out of the row as a list of its values; instants are given in milliseconds."""
    if kind == "TIMESTAMPTZ":
        return f'make_timestamptz(CAST("{name}" AS BIGINT) * 1000) AS "{name}"'
    return f'CAST("{name}" AS {kind}) AS "{name}"'


def _partition_date(table: str) -> str:
    source = {
        "session_revisions": "started_at",
        "qoe_minutes": "minute",
        "late_events": "event_time",
        "recomputed_events": "event_time",
    }
    return f"strftime({source.get(table, 'received_at')}, '%Y-%m-%d') AS {PARTITIONED_BY[table]}"


def _typed_rows(connection: duckdb.DuckDBPyConnection, table: str, types: dict[str, str], rows: list[Row]) -> str:
    """Puts rows into this database; returns SQL that gives them in the table's own types."""
    given = {name: "BIGINT" if kind == "TIMESTAMPTZ" else kind for name, kind in types.items()}
    declared = ", ".join(f'"{name}" {kind}' for name, kind in given.items())
    connection.execute(f"CREATE OR REPLACE TEMP TABLE given_{table} ({declared})")
    if rows:
        places = ", ".join(["({})".format(", ".join("?" * len(types)))] * len(rows))
        connection.execute(f"INSERT INTO given_{table} VALUES {places}", [row.get(n) for row in rows for n in types])
    selected = ", ".join(_column(name, kind) for name, kind in types.items())
    return f"SELECT {selected} FROM given_{table}"


def write_table(lake_dir: Path, table: str, rows: list[Row], columns: dict[str, dict[str, str]] = COLUMNS) -> None:
    """Writes the table anew, with its columns among these."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    partition = PARTITIONED_BY.get(table)
    dated = f"SELECT *, {_partition_date(table)} FROM" if partition else "FROM"
    relation = connection.sql(f"{dated} ({_typed_rows(connection, table, columns[table], rows)})")
    write_deltalake(lake_dir / table, relation, partition_by=[partition] if partition else None, mode="overwrite")


def write_lake(
    lake_dir: Path, tables: dict[str, list[Row]], columns: dict[str, dict[str, str]] = COLUMNS
) -> None:
    """Writes every table that has columns here; those not given are empty."""
    for table in columns:
        write_table(lake_dir, table, tables.get(table, []), columns)


def lake_in_memory(tables: dict[str, list[Row]]) -> duckdb.DuckDBPyConnection:
    """What `lake.load` would give of such a lake, for tests of what the oracle does with it."""
    # Handing a few rows to more than one thread takes longer than folding them.
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("SET TimeZone = 'UTC'")
    for table, types in COLUMNS.items():
        declared = ", ".join(f'"{name}" {kind}' for name, kind in types.items())
        connection.execute(f"CREATE TEMP TABLE {table} ({declared}, partition_value VARCHAR)")
        if table in tables:
            rows = _typed_rows(connection, table, types, tables[table])
            connection.execute(f"INSERT INTO {table} SELECT *, NULL FROM ({rows})")
    return connection
