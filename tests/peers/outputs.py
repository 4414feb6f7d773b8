"""What each engine has written, as one Parquet file of the same columns, and whether two of these say the same."""

import sys
from pathlib import Path

import duckdb

sys.path.append(str(Path(__file__).resolve().parent.parent / "oracle"))

import lake

# What every engine works out of a session. Equal by definition for the input of `marquee bench stream`, in which no
# session seeks, pauses, shows ads or has an event twice: startup is first_frame less play_requested, a stall is a
# rebuffer_start, dropped frames are the sum over the heartbeats, start and end are the least and greatest event time.
COLUMNS = "session_id event_count started_at_ms ended_at_ms startup_ms rebuffer_count dropped_frames".split()

TYPES = {name: "VARCHAR" if name == "session_id" else "BIGINT" for name in COLUMNS}

SHOWN = 5

# What is read of Marquee's lake.
_REVISIONS = {
    "session_revisions": {
        "session_id": "VARCHAR",
        "player_instance": "VARCHAR",
        "epoch": "BIGINT",
        "revision": "BIGINT",
        "started_at": "TIMESTAMPTZ",
        "ended_at": "TIMESTAMPTZ",
        **dict.fromkeys(["startup_ms", "rebuffer_count", "dropped_frames", "event_count"], "BIGINT"),
    },
    "epochs": {"topic": "VARCHAR", "epoch": "BIGINT"},
}


class UnreadableOutput(Exception):
    """An engine has left nothing, or nothing that can be read."""


def of_marquee(lake_dir: Path, to: Path) -> None:
    """The newest revision of each session, as the view `sessions` has it."""
    try:
        connection = lake.load(lake_dir, columns=_REVISIONS)
        connection.execute(f"""
            COPY (
                SELECT
                    session_id,
                    event_count,
                    epoch_ms(started_at) AS started_at_ms,
                    epoch_ms(ended_at) AS ended_at_ms,
                    startup_ms,
                    rebuffer_count,
                    dropped_frames
                FROM session_revisions
                QUALIFY row_number() OVER (
                    PARTITION BY session_id, player_instance ORDER BY epoch DESC, revision DESC
                ) = 1
            ) TO {_quoted(to)} (FORMAT parquet)
        """)
    except (duckdb.Error, lake.UnreadableLake) as problem:
        raise UnreadableOutput(f"the lake of Marquee cannot be read: {problem}") from problem


def of_flink(folder: Path, to: Path) -> None:
    """The files that the sink has committed: those still in progress have names that begin with a dot."""
    files = [str(file) for file in folder.glob("part-*")]
    try:
        duckdb.connect().execute(
            f"COPY (SELECT * FROM read_json($files, format = 'newline_delimited', columns = {TYPES})) TO {_quoted(to)}"
            " (FORMAT parquet)",
            {"files": files},
        )
    except duckdb.Error as problem:
        raise UnreadableOutput(f"what Flink has written cannot be read: {problem}") from problem


def problems(name: str, output: Path, events: int) -> list[str]:
    """What is wrong with an output by itself: an event lost or counted twice, a session in two rows."""
    rows, sessions, counted = (
        duckdb.connect()
        .execute(f"SELECT count(*), count(DISTINCT session_id), coalesce(sum(event_count), 0) FROM {_quoted(output)}")
        .fetchone()
    )
    found = []
    if rows != sessions:
        found.append(f"{name} has {rows} rows of {sessions} sessions")
    if counted != events:
        found.append(f"{name} counts {counted} events of {events}")
    return found


def differences(name: str, output: Path, other_name: str, other: Path) -> list[str]:
    """Where two outputs differ: some of the sessions with their columns, and how many there are in all."""
    differs = " OR ".join(f"one.{column} IS DISTINCT FROM two.{column}" for column in COLUMNS)
    cursor = duckdb.connect().execute(f"""
        SELECT one, two, count(*) OVER () AS found
        FROM {_quoted(output)} AS one
        FULL JOIN {_quoted(other)} AS two ON one.session_id = two.session_id
        WHERE {differs}
        ORDER BY coalesce(one.session_id, two.session_id)
        LIMIT {SHOWN}
    """)
    rows = cursor.fetchall()
    lines = [_difference(name, one, other_name, two) for one, two, _ in rows]
    found = rows[0][2] if rows else 0
    return lines if found <= SHOWN else [*lines, f"… {found} sessions differ"]


def _difference(name: str, one: dict[str, object], other_name: str, two: dict[str, object]) -> str:
    if one["session_id"] is None or two["session_id"] is None:
        with_it = name if two["session_id"] is None else other_name
        return f"session {one['session_id'] or two['session_id']}: only {with_it} has it"
    columns = [column for column in COLUMNS if one[column] != two[column]]
    values = (f"{column} is {one[column]} by {name} and {two[column]} by {other_name}" for column in columns)
    return f"session {one['session_id']}: {', '.join(values)}"


def sessions(output: Path) -> int:
    """How many rows an output has."""
    return duckdb.connect().execute(f"SELECT count(*) FROM {_quoted(output)}").fetchone()[0]


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
