"""Folds hand-made events in memory, for the tests of fold.sql, sessions.sql and minutes.sql."""

import duckdb

import recompute
from lake import rows_as_dicts
from lake_builder import ORIGIN_MS, Row, bronze, lake_in_memory, session

# What the tests call a row's seconds: the time in each state of the foreground, and all of the background.
STATES = "startup_waiting playing rebuffer seek_waiting paused ad ad_rebuffer background".split()

START = [(0, "play_requested"), (1, "first_frame")]
FATAL = {"detail": "hard", "fatal": True, "business": False}
SOFT = {"detail": "soft", "fatal": False, "business": False}


class Folded:
    """The only session of the events, with the tables that the oracle made of them."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        (self.row,) = rows_as_dicts(connection, "SELECT * FROM recomputed_sessions")
        self.has_minutes = False

    def __getitem__(self, column: str) -> object:
        return self.row[column]

    def get(self, columns: str) -> tuple[object, ...]:
        """The values of these columns, given by their names with spaces between."""
        return tuple(self.row[column] for column in columns.split())

    def seconds(self) -> dict[str, float]:
        """The states that lasted, in seconds."""
        return {state: self.row[f"{state}_ms"] / 1000 for state in STATES if self.row[f"{state}_ms"]}

    def by_minute(self, measure: str) -> list[tuple[int, int]]:
        """The sums of the measures like this one, by minute: how many after the origin, and the value."""
        if not self.has_minutes:
            recompute.recompute_minutes(self.connection)
            self.has_minutes = True
        return self.connection.execute(
            "SELECT minute - $origin, CAST(sum(value) AS BIGINT) FROM recomputed_minutes JOIN cells USING (cell)"
            " WHERE cube_name = 'title' AND measure LIKE $measure AND value <> 0 GROUP BY minute ORDER BY minute",
            {"origin": ORIGIN_MS // 60_000, "measure": measure},
        ).fetchall()

    def minutes(self, measure: str) -> int:
        """The sum of the measures like this one over the minutes."""
        return sum(value for _, value in self.by_minute(measure))


def fold_rows(rows: list[Row], *, final: bool = True, late: list[Row] | tuple[()] = ()) -> Folded:
    """Folds rows of `events` that are of one session."""
    connection = lake_in_memory(
        {
            "events": rows,
            "late_events": list(late),
            "session_revisions": [session(is_final=final)],
        }
    )
    recompute.recompute_sessions(connection)
    return Folded(connection)


def fold(*events: tuple, final: bool = True) -> Folded:
    """Folds events given as (seconds, type[, other columns])."""
    return fold_rows(bronze(list(events)), final=final)
