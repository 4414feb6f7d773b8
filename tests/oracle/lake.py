"""Loads what the oracles need of the lake's Delta tables, at their current version, into DuckDB.

Delta's log only says which Parquet files are active and what their partition values are; DuckDB reads the files.
"""

from pathlib import Path
from urllib.parse import unquote

import duckdb
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

MEASURES = (
    "attempts resolved_autoplays startups startup_ms first_pictures first_picture_ms starts start_failures"
    " start_failures_business exits_before_start quick_exits ended_plays playback_failures"
    " playback_failures_business startup_waiting_ms playing_ms rebuffer_ms seek_waiting_ms paused_ms ad_ms"
    " ad_rebuffer_ms background_ms background_startup_waiting_ms background_playing_ms background_rebuffer_ms"
    " background_seek_waiting_ms rebuffer_count background_rebuffer_count ad_rebuffer_count seek_count"
    " rendition_switch_count error_count media_ms bitrate_media_ms bitrate_bit_ms height_media_ms height_px_ms"
    " upscale_media_ms upscale_per_mille_ms"
    " concurrent_00 concurrent_05 concurrent_10 concurrent_15 concurrent_20 concurrent_25 concurrent_30 concurrent_35"
    " concurrent_40 concurrent_45 concurrent_50 concurrent_55"
).split()

DIMENSIONS = (
    "country region city isp asn cdn edge protocol stream_type codec drm device_type os player player_version"
    " app_version plan experiment_arm series_id title_id"
).split()

CONTEXT_COLUMNS = ["profile_id", *DIMENSIONS, "asset_id"]

# The numbers of a session that are never NULL.
SESSION_NUMBERS = (
    "startup_waiting_ms playing_ms rebuffer_ms seek_waiting_ms paused_ms ad_ms ad_rebuffer_ms background_ms"
    " background_startup_waiting_ms background_playing_ms background_rebuffer_ms background_seek_waiting_ms silent_ms"
    " media_ms rebuffer_count background_rebuffer_count ad_rebuffer_count seek_count pause_count ad_count error_count"
    " rendition_switch_count inferred_count bitrate_media_ms bitrate_bit_ms height_media_ms height_px_ms"
    " upscale_media_ms upscale_per_mille_ms max_upscale_per_mille dropped_frames event_count lost_events duplicates"
    " conflicts"
).split()

_POSITION = {"topic": "VARCHAR", "partition": "INTEGER", "offset": "BIGINT", "index": "INTEGER"}
_SESSION_KEY = {"session_id": "VARCHAR", "player_instance": "VARCHAR"}
_CONTEXT = dict.fromkeys(CONTEXT_COLUMNS, "VARCHAR")

# Table to the columns that are loaded, with their types.
COLUMNS: dict[str, dict[str, str]] = {
    "events": {
        **_POSITION,
        **_SESSION_KEY,
        "sequence": "BIGINT",
        "event_id": "VARCHAR",
        "type": "VARCHAR",
        "event_time": "TIMESTAMPTZ",
        "received_at": "TIMESTAMPTZ",
        "is_late": "BOOLEAN",
        "media_time_ms": "BIGINT",
        "representation_id": "VARCHAR",
        "bitrate_bps": "BIGINT",
        "width_px": "BIGINT",
        "height_px": "BIGINT",
        "rate_per_mille": "BIGINT",
        "autoplay": "BOOLEAN",
        "player_state": "VARCHAR",
        "dropped_frames": "BIGINT",
        "detail": "VARCHAR",
        "fatal": "BOOLEAN",
        "business": "BOOLEAN",
        **_CONTEXT,
    },
    "dead_letters": {**_POSITION, "event_count": "BIGINT", "received_at": "TIMESTAMPTZ"},
    "interaction_events": {**_POSITION, "received_at": "TIMESTAMPTZ"},
    "session_revisions": {
        "topic": "VARCHAR",
        **_SESSION_KEY,
        "revision": "BIGINT",
        "is_final": "BOOLEAN",
        **_CONTEXT,
        "started_at": "TIMESTAMPTZ",
        "ended_at": "TIMESTAMPTZ",
        "autoplay": "BOOLEAN",
        **dict.fromkeys(["startup_ms", "first_picture_ms", "exit_after_ms", *SESSION_NUMBERS], "BIGINT"),
        "avg_bitrate_kbps": "DOUBLE",
        "avg_height_px": "DOUBLE",
        "outcome": "VARCHAR",
        "error_code": "VARCHAR",
        "error_fatal": "BOOLEAN",
        "error_business": "BOOLEAN",
        "end_reason": "VARCHAR",
    },
    "late_events": {**_POSITION, **_SESSION_KEY, "sequence": "BIGINT", "event_time": "TIMESTAMPTZ"},
    "recomputed_events": {
        **_POSITION,
        **_SESSION_KEY,
        "sequence": "BIGINT",
        "event_time": "TIMESTAMPTZ",
        "epoch": "BIGINT",
    },
    "qoe_minutes": {
        "topic": "VARCHAR",
        "partition": "INTEGER",
        "epoch": "BIGINT",
        "minute": "TIMESTAMPTZ",
        "cube_name": "VARCHAR",
        **dict.fromkeys(DIMENSIONS, "VARCHAR"),
        **dict.fromkeys(MEASURES, "BIGINT"),
        "startup_buckets": "BIGINT[]",
    },
    "epochs": {
        "topic": "VARCHAR",
        "partition": "INTEGER",
        "epoch": "BIGINT",
        "next_offset": "BIGINT",
        "records": "BIGINT",
        "events": "BIGINT",
        "dead_letters": "BIGINT",
    },
}

# A lake in which nothing was late or undecodable, or nobody interacted, may lack these tables.
MAY_BE_ABSENT = {
    "dead_letters",
    "late_events",
    "recomputed_events",
    "interaction_events",
    "interactions",
    "impressions",
    "profile_features",
    "title_features",
    "co_watch",
}

# Table to its partition column; loaded as `partition_value`.
PARTITIONED_BY = {
    "events": "ingest_date",
    "dead_letters": "ingest_date",
    "session_revisions": "start_date",
    "late_events": "ingest_date",
    "recomputed_events": "event_date",
    "interaction_events": "ingest_date",
    "qoe_minutes": "date",
}


class UnreadableLake(Exception):
    """A table is missing, empty or not what it should be."""


def _active_files(lake_dir: Path, table: str) -> list[tuple[str, str | None]]:
    """Path and partition value of each file of the table's current version."""
    folder = lake_dir / table
    try:
        actions = DeltaTable(folder).get_add_actions(flatten=True)
    except TableNotFoundError as problem:
        if table in MAY_BE_ABSENT:
            return []
        raise UnreadableLake(f"there is no table {table} in {lake_dir}") from problem
    except DeltaError as problem:
        raise UnreadableLake(f"table {table} in {lake_dir} cannot be opened: {problem}") from problem
    if actions.num_rows == 0:
        return []
    paths = [str(folder / unquote(path)) for path in actions.column("path").to_pylist()]
    if table not in PARTITIONED_BY:
        return [(path, None) for path in paths]
    values = actions.column(f"partition.{PARTITIONED_BY[table]}").to_pylist()
    return list(zip(paths, values, strict=True))


def _load_table(
    connection: duckdb.DuckDBPyConnection, lake_dir: Path, table: str, types: dict[str, str], topic: str | None
) -> None:
    declared = ", ".join(f'"{name}" {kind}' for name, kind in types.items())
    connection.execute(f"CREATE TEMP TABLE {table} ({declared}, partition_value VARCHAR)")
    files = _active_files(lake_dir, table)
    if not files:
        return
    selected = ", ".join(f'rows."{name}"' for name in types)
    try:
        connection.execute(
            f"INSERT INTO {table} SELECT {selected}, files.partition_value"
            " FROM read_parquet($paths, filename = 'data_file', union_by_name = true, hive_partitioning = false) rows"
            " JOIN (SELECT unnest($paths) AS data_file, unnest($values) AS partition_value) files USING (data_file)"
            " WHERE $topic IS NULL OR rows.topic = $topic",
            {
                "paths": [path for path, _ in files],
                "values": [value for _, value in files],
                "topic": topic,
            },
        )
    except duckdb.Error as problem:
        raise UnreadableLake(f"table {table} in {lake_dir} cannot be read: {problem}") from problem


def load(
    lake_dir: Path, topic: str | None = None, columns: dict[str, dict[str, str]] = COLUMNS
) -> duckdb.DuckDBPyConnection:
    """A database in memory with one temporary table for each of these tables of the lake, of one topic or of all."""
    if not lake_dir.is_dir():
        raise UnreadableLake(f"there is no lake at {lake_dir}")
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for table, types in columns.items():
        _load_table(connection, lake_dir, table, types, topic)
    (rows,) = connection.execute("SELECT count(*) FROM epochs").fetchone()
    if rows == 0:
        where = f"for topic {topic} " if topic else ""
        raise UnreadableLake(f"the lake at {lake_dir} holds no epoch {where}yet")
    return connection


def rows_as_dicts(connection: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, object]]:
    cursor = connection.execute(sql)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
