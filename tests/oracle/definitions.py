"""Independent oracle of the published definitions: what the views `qoe_…` must say of recomputed sessions and minutes.

A part of recompute.py. What is compared are files VIEW.csv, one for each view: `qoe_cta_2066`, `qoe_mux`, `qoe_conviva`,
`qoe_marquee` and these with `_minutes`, with the view's columns in its first line, as
`marquee lake sql "SELECT * FROM qoe_…" --format csv` prints them. A view by session is compared with the recomputed
sessions, row by row and column by column; a view by minute with the recomputed minutes, cell by cell, and its sums over
each cube with the sums over the sessions. A column of a view that has no formula here is a difference, too.

A definition gives each session's numerators and denominators (`DEFINITIONS`), and which measures of a minute they are
(`MEASURES`). A figure of many sessions or minutes is Σ numerator ÷ Σ denominator (`RATIOS`), never a mean of ratios. The
vector that they start from is that of docs/qoe.md, section 3.
"""

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import duckdb

from lake import COLUMNS, DIMENSIONS, rows_as_dicts

Row = dict[str, object]

KEY = ("session_id", "player_instance")

# What a view says of a session besides the definition.
OF_A_SESSION = (*DIMENSIONS, "is_final", "outcome", "autoplay")

CUBES = ("audience", "title", "network", "place", "player", "delivery", "plan")

# Ratios and scores are floating-point numbers, worked out in another order elsewhere.
TOLERANCE = 1e-9


def cta_2066(row: Row) -> Row:
    """CTA-2066: stalls and startup against watched time, which leaves out pauses. It knows no background: a page that
    plays there is watched. A title that started by itself continues the session before it."""
    return {
        "sessions": int(_is_resolved(row) and not row["autoplay"]),
        "failed_sessions": int(_is_failed(row)),
        "initial_startups": int(row["startup_ms"] is not None),
        "initial_startup_ms": row["startup_ms"],
        "stall_count": row["rebuffer_count"] + row["background_rebuffer_count"],
        "stall_ms": _with_background(row, "rebuffer_ms"),
        "watched_ms": _watched_ms(row),
        "bitrate_bit_ms": row["bitrate_bit_ms"],
        "bitrate_media_ms": row["bitrate_media_ms"],
    }


def mux(row: Row) -> Row:
    """Mux: startup ends at the first frame of ad or content, content startup at that of the content; seeks are a
    latency of their own; business exceptions are no failures. With the four scores, as far as they are published."""
    rebuffer_ms = _with_background(row, "rebuffer_ms")
    rebuffer_count = row["rebuffer_count"] + row["background_rebuffer_count"]
    is_technical = not row["error_business"]
    return {
        "views": int(_is_resolved(row)),
        "started_views": int(_is_started(row)),
        "video_startups": int(row["first_picture_ms"] is not None),
        "video_startup_ms": row["first_picture_ms"],
        "content_startups": int(row["startup_ms"] is not None),
        "content_startup_ms": row["startup_ms"],
        "exits_before_start": int(row["outcome"] == "exit_before_start"),
        "start_failures": int(row["outcome"] == "start_failure" and is_technical),
        "playback_failures": int(_is_failed(row) and is_technical),
        "business_exceptions": int(_is_failed(row) and not is_technical),
        "dropped_views": int(_is_dropped(row)),
        "rebuffer_ms": rebuffer_ms,
        "rebuffer_count": rebuffer_count,
        "seek_count": row["seek_count"],
        "seek_latency_ms": _with_background(row, "seek_waiting_ms"),
        "watch_ms": _watched_ms(row),
        "bitrate_bit_ms": row["bitrate_bit_ms"],
        "bitrate_media_ms": row["bitrate_media_ms"],
        "upscale_per_mille_ms": row["upscale_per_mille_ms"],
        "upscale_media_ms": row["upscale_media_ms"],
        "max_upscale": row["max_upscale_per_mille"] / 1000,
        "startup_score": startup_score(row["first_picture_ms"]),
        "smoothness_score": smoothness_score(rebuffer_count, rebuffer_ms, _watched_ms(row))
        if _is_started(row)
        else None,
        "video_quality_score": video_quality_score(
            row["max_upscale_per_mille"], row["upscale_per_mille_ms"], row["upscale_media_ms"]
        ),
        "success_score": success_score(row["outcome"], bool(row["error_business"]), row["exit_after_ms"]),
    }


def conviva(row: Row) -> Row:
    """Conviva: all waiting, after seeks too, against playing and waiting; startup is not in it. Start failures and
    exits are of attempts, playback failures of plays that have ended; both kinds are technical or business."""
    # The connection-induced part leaves out what the viewer's seeks cost.
    connection_ms = _with_background(row, "rebuffer_ms")
    rebuffering_ms = connection_ms + _with_background(row, "seek_waiting_ms")
    play_and_rebuffering_ms = _with_background(row, "playing_ms") + rebuffering_ms
    is_business = bool(row["error_business"])
    is_stream = _is_spi_stream(row)
    return {
        "attempts": int(_is_resolved(row)),
        "plays": int(_is_started(row)),
        "ended_plays": int(_is_started(row) and row["is_final"]),
        "timed_starts": int(row["startup_ms"] is not None),
        "vst_ms": row["startup_ms"],
        "ebvs": int(row["outcome"] == "exit_before_start"),
        "vsf_technical": int(row["outcome"] == "start_failure" and not is_business),
        "vsf_business": int(row["outcome"] == "start_failure" and is_business),
        "vpf_technical": int(row["outcome"] == "playback_failure" and not is_business),
        "vpf_business": int(row["outcome"] == "playback_failure" and is_business),
        "connection_induced_rebuffering_ms": connection_ms,
        "rebuffering_ms": rebuffering_ms,
        "play_and_rebuffering_ms": play_and_rebuffering_ms,
        "bitrate_bit_ms": row["bitrate_bit_ms"],
        "bitrate_media_ms": row["bitrate_media_ms"],
        "spi_streams": int(is_stream),
        "spi_good_streams": int(is_stream and _is_good_stream(row, connection_ms, play_and_rebuffering_ms)),
    }


def marquee(row: Row) -> Row:
    """Marquee: what a viewer saw. Stalls against the time in which one was possible, of the foreground alone; each title
    is an attempt of its own; only startups that nothing interrupted have a time; ads and business errors apart."""
    is_business = bool(row["error_business"])
    return {
        "attempts": int(_is_resolved(row)),
        "starts": int(_is_started(row)),
        "startups": int(row["startup_ms"] is not None),
        "startup_ms": row["startup_ms"],
        "exits_before_start": int(row["outcome"] == "exit_before_start"),
        "quick_exits": int(row["outcome"] == "exit_before_start" and _is_exit_within(row, QUICK_EXIT_MS)),
        "start_failures": int(row["outcome"] == "start_failure" and not is_business),
        "start_failures_business": int(row["outcome"] == "start_failure" and is_business),
        "playback_failures": int(row["outcome"] == "playback_failure" and not is_business),
        "playback_failures_business": int(row["outcome"] == "playback_failure" and is_business),
        "rebuffer_count": row["rebuffer_count"],
        "rebuffer_ms": row["rebuffer_ms"],
        "playing_ms": row["playing_ms"],
        "playing_or_rebuffering_ms": row["playing_ms"] + row["rebuffer_ms"],
        "ad_rebuffer_ms": row["ad_rebuffer_ms"],
        "ad_or_rebuffering_ms": row["ad_ms"] + row["ad_rebuffer_ms"],
        "bitrate_bit_ms": row["bitrate_bit_ms"],
        "bitrate_media_ms": row["bitrate_media_ms"],
        "height_px_ms": row["height_px_ms"],
        "height_media_ms": row["height_media_ms"],
    }


DEFINITIONS: dict[str, Callable[[Row], Row]] = {
    "qoe_cta_2066": cta_2066,
    "qoe_mux": mux,
    "qoe_conviva": conviva,
    "qoe_marquee": marquee,
}

# The figures that a definition publishes, of a row of either view and of many rows together: the sums above ÷ the sum
# below, and by what that is divided to be in the figure's unit.
RATIOS: dict[str, dict[str, tuple[str, str, int]]] = {
    "qoe_cta_2066": {
        "failed_ratio": ("failed_sessions", "sessions", 1),
        "avg_initial_startup_ms": ("initial_startup_ms", "initial_startups", 1),
        "stalled_ratio": ("stall_ms", "watched_ms", 1),
        "avg_bitrate_kbps": ("bitrate_bit_ms", "bitrate_media_ms", 1000),
    },
    "qoe_mux": {
        "avg_video_startup_ms": ("video_startup_ms", "video_startups", 1),
        "exit_before_start_ratio": ("exits_before_start", "views", 1),
        "start_failure_ratio": ("start_failures", "views", 1),
        "playback_failure_ratio": ("playback_failures", "views", 1),
        "rebuffer_ratio": ("rebuffer_ms", "watch_ms", 1),
        "weighted_bitrate_kbps": ("bitrate_bit_ms", "bitrate_media_ms", 1000),
        "avg_upscale": ("upscale_per_mille_ms", "upscale_media_ms", 1000),
    },
    "qoe_conviva": {
        "vsf_ratio": ("vsf_technical vsf_business", "attempts", 1),
        "ebvs_ratio": ("ebvs", "attempts", 1),
        "vpf_ratio": ("vpf_technical vpf_business", "ended_plays", 1),
        "avg_vst_ms": ("vst_ms", "timed_starts", 1),
        "cirr": ("connection_induced_rebuffering_ms", "play_and_rebuffering_ms", 1),
        "rebuffering_ratio": ("rebuffering_ms", "play_and_rebuffering_ms", 1),
        "avg_bitrate_kbps": ("bitrate_bit_ms", "bitrate_media_ms", 1000),
        "spi": ("spi_good_streams", "spi_streams", 1),
    },
    "qoe_marquee": {
        "start_failure_ratio": ("start_failures start_failures_business", "attempts", 1),
        "exit_before_start_ratio": ("exits_before_start", "attempts", 1),
        "avg_startup_ms": ("startup_ms", "startups", 1),
        "rebuffering_ratio": ("rebuffer_ms", "playing_or_rebuffering_ms", 1),
        "ad_rebuffering_ratio": ("ad_rebuffer_ms", "ad_or_rebuffering_ms", 1),
        "avg_bitrate_kbps": ("bitrate_bit_ms", "bitrate_media_ms", 1000),
        "avg_height_px": ("height_px_ms", "height_media_ms", 1),
    },
}

# Of attempts those that have an outcome, and time that is watched.
_RESOLVED = "starts start_failures start_failures_business exits_before_start"
_WATCHED = (
    "startup_waiting_ms playing_ms rebuffer_ms seek_waiting_ms background_startup_waiting_ms background_playing_ms"
    " background_rebuffer_ms background_seek_waiting_ms"
)
_STALL_MS = "rebuffer_ms background_rebuffer_ms"
_SEEK_MS = "seek_waiting_ms background_seek_waiting_ms"
_BITRATE = {"bitrate_bit_ms": "bitrate_bit_ms", "bitrate_media_ms": "bitrate_media_ms"}

# The numerators and denominators of a minute: the sums of these measures of docs/qoe.md, section 4; a minus takes off.
MEASURES: dict[str, dict[str, str]] = {
    "qoe_cta_2066": {
        "sessions": f"{_RESOLVED} -resolved_autoplays",
        "failed_sessions": "start_failures start_failures_business playback_failures playback_failures_business",
        "initial_startups": "startups",
        "initial_startup_ms": "startup_ms",
        "stall_count": "rebuffer_count background_rebuffer_count",
        "stall_ms": _STALL_MS,
        "watched_ms": _WATCHED,
        **_BITRATE,
    },
    "qoe_mux": {
        "views": _RESOLVED,
        "started_views": "starts",
        "video_startups": "first_pictures",
        "video_startup_ms": "first_picture_ms",
        "content_startups": "startups",
        "content_startup_ms": "startup_ms",
        "exits_before_start": "exits_before_start",
        "start_failures": "start_failures",
        "playback_failures": "start_failures playback_failures",
        "business_exceptions": "start_failures_business playback_failures_business",
        "rebuffer_ms": _STALL_MS,
        "rebuffer_count": "rebuffer_count background_rebuffer_count",
        "seek_count": "seek_count",
        "seek_latency_ms": _SEEK_MS,
        "watch_ms": _WATCHED,
        **_BITRATE,
        "upscale_per_mille_ms": "upscale_per_mille_ms",
        "upscale_media_ms": "upscale_media_ms",
    },
    "qoe_conviva": {
        "attempts": _RESOLVED,
        "plays": "starts",
        "ended_plays": "ended_plays",
        "timed_starts": "startups",
        "vst_ms": "startup_ms",
        "ebvs": "exits_before_start",
        "vsf_technical": "start_failures",
        "vsf_business": "start_failures_business",
        "vpf_technical": "playback_failures",
        "vpf_business": "playback_failures_business",
        "connection_induced_rebuffering_ms": _STALL_MS,
        "rebuffering_ms": f"{_STALL_MS} {_SEEK_MS}",
        "play_and_rebuffering_ms": f"playing_ms background_playing_ms {_STALL_MS} {_SEEK_MS}",
        **_BITRATE,
    },
    "qoe_marquee": {
        "attempts": _RESOLVED,
        "playing_or_rebuffering_ms": "playing_ms rebuffer_ms",
        "ad_or_rebuffering_ms": "ad_ms ad_rebuffer_ms",
        **{
            name: name
            for name in (
                "starts startups startup_ms exits_before_start quick_exits start_failures start_failures_business"
                " playback_failures playback_failures_business rebuffer_count rebuffer_ms playing_ms ad_rebuffer_ms"
                " height_px_ms height_media_ms"
            ).split()
        },
        **_BITRATE,
    },
}

# What needs whole sessions: no view by minute has it.
ONLY_OF_SESSIONS: dict[str, set[str]] = {
    "qoe_cta_2066": set(),
    "qoe_mux": {
        *("dropped_views", "max_upscale"),
        *("startup_score", "smoothness_score", "video_quality_score", "success_score"),
    },
    "qoe_conviva": {"spi_streams", "spi_good_streams"},
    "qoe_marquee": set(),
}

# Watched time is all but pauses and ads.
WATCHED = ("startup_waiting_ms", "playing_ms", "rebuffer_ms", "seek_waiting_ms")

QUICK_EXIT_MS = 1000

# The thresholds of SPI, as docs/qoe.md, section 5 has them. Who left within SPI_EXIT_MS hardly waited.
SPI_STARTUP_MS = 5000
SPI_EXIT_MS = 5000
SPI_BITRATE_KBPS = 1000
SPI_REBUFFERING_PERCENT = 1


def startup_score(startup_ms: int | None) -> float | None:
    """Mux: 800 ÷ (8 + s), at most 100."""
    return None if startup_ms is None else min(100.0, 800 / (8 + startup_ms / 1000))


def smoothness_score(rebuffer_count: int, rebuffer_ms: int, watch_ms: int) -> float:
    """Mux: the mean of what is left for the number of stalls and for their share of the watch time."""
    share = rebuffer_ms / watch_ms if watch_ms else 0.0
    return (100 / math.sqrt(1 + (rebuffer_count / 2) ** 2) + 100 * math.exp(-10 * share)) / 2


def video_quality_score(max_per_mille: int, per_mille_ms: int, media_ms: int) -> float | None:
    """Mux: 100·e^(−0.33·(0.15·largest + 0.85·average upscale)), 1 being twice the size; None when no size is known."""
    if media_ms == 0:
        return None
    return 100 * math.exp(-0.33 * (0.15 * max_per_mille / 1000 + 0.85 * per_mille_ms / media_ms / 1000))


def success_score(outcome: str, is_business: bool, exit_after_ms: int | None) -> float | None:
    """Mux: 100 for a play, 50 for an exit before it, 0 for a failure. An exit under 1 s has none; nor has what is open,
    nobody asked for, or ended by a business exception, which is neither play nor failure."""
    if outcome == "exit_before_start":
        return None if exit_after_ms is not None and exit_after_ms < QUICK_EXIT_MS else 50.0
    if outcome in ("start_failure", "playback_failure"):
        return None if is_business else 0.0
    return 100.0 if outcome == "played" else None


def _is_spi_stream(row: Row) -> bool:
    """Whether SPI is about this session: it is over, somebody asked for it, no business error ended it, and who left
    before the start had waited."""
    is_business_end = row["error_fatal"] and row["error_business"]
    is_early_exit = row["outcome"] == "exit_before_start" and _is_exit_within(row, SPI_EXIT_MS)
    return bool(row["is_final"] and row["outcome"] != "unknown" and not is_business_end and not is_early_exit)


def _is_good_stream(row: Row, connection_ms: int, play_and_rebuffering_ms: int) -> bool:
    """No failure, an acceptable startup, little rebuffering, an adequate bitrate; what is not known is not held against
    it."""
    is_quick = row["startup_ms"] is None or row["startup_ms"] <= SPI_STARTUP_MS
    is_smooth = 100 * connection_ms <= SPI_REBUFFERING_PERCENT * play_and_rebuffering_ms
    is_sharp = row["bitrate_bit_ms"] >= 1000 * SPI_BITRATE_KBPS * row["bitrate_media_ms"]
    return row["outcome"] == "played" and is_quick and is_smooth and is_sharp


def _is_exit_within(row: Row, ms: int) -> bool:
    return row["exit_after_ms"] is not None and row["exit_after_ms"] < ms


def ratios(view: str, row: Row) -> dict[str, float | None]:
    """What the definition publishes of these sums; None where nothing is known."""

    def ratio(above: str, below: str, unit: int) -> float | None:
        total = sum(row[name] or 0 for name in above.split())
        return total / row[below] / unit if row[below] else None

    return {name: ratio(*parts) for name, parts in RATIOS[view].items()}


def sums(view: str, rows: Iterable[Row]) -> Row:
    """The sums of what adds up over rows of this definition."""
    total = {name: 0 for name in DEFINITIONS[view](NOTHING) if name not in ONLY_OF_SESSIONS[view]}
    for row in rows:
        for name in total:
            total[name] += row[name] or 0
    return total


def figures(view: str, sessions: list[Row]) -> dict[str, float | None]:
    """What the definition publishes of these session rows together."""
    rows = [DEFINITIONS[view](session) for session in sessions]
    names = DEFINITIONS[view](NOTHING)
    return ratios(view, {name: sum(row[name] or 0 for row in rows) for name in names})


# A session row of which nothing is known, for the names of the columns.
NOTHING: Row = {
    **dict.fromkeys(COLUMNS["session_revisions"]),
    **{name: 0 for name, kind in COLUMNS["session_revisions"].items() if kind == "BIGINT"},
    **dict.fromkeys(["startup_ms", "first_picture_ms", "exit_after_ms"]),
    "outcome": "unknown",
    "is_final": False,
}


def compare(connection: duckdb.DuckDBPyConnection, views_dir: Path) -> tuple[dict[str, int], list[Row]]:
    """How many rows each view has, and what is wrong with them, in a lake with its recomputed tables."""
    known = {name for definition in DEFINITIONS for name in (definition, f"{definition}_minutes")}
    unknown = sorted({file.stem for file in views_dir.glob("*.csv")} - known)
    rows, wrong = {}, [{"view": view, "problem": "no definition"} for view in unknown]
    sessions = rows_as_dicts(
        connection, "SELECT * FROM recomputed_sessions ORDER BY topic, session_id, player_instance"
    )
    for definition in DEFINITIONS:
        for view, compare_view in [(definition, compare_sessions), (f"{definition}_minutes", compare_minutes)]:
            # An empty field and an empty text both mean unknown.
            connection.execute(
                f"CREATE OR REPLACE TEMP TABLE {view} AS FROM read_csv($path, header = true, all_varchar = true)",
                {"path": str(views_dir / f"{view}.csv")},
            )
            (rows[view],) = connection.execute(f"SELECT count(*) FROM {view}").fetchone()
            wrong += [{"view": view, **found} for found in compare_view(connection, definition, sessions)]
    return rows, wrong


def compare_sessions(connection: duckdb.DuckDBPyConnection, view: str, sessions: list[Row]) -> list[Row]:
    """What is wrong with the rows of the view by session."""
    started_ms = "CAST(epoch_ms(CAST(started_at AS TIMESTAMPTZ)) AS VARCHAR) AS started_ms"
    viewed = rows_as_dicts(connection, f"SELECT * EXCLUDE (started_at), {started_ms} FROM {view}")
    by_key: dict[tuple[object, ...], list[Row]] = {}
    for row in viewed:
        by_key.setdefault(_key(row), []).append(row)
    wrong = []
    for session in sessions:
        rows = by_key.pop(_key(session), [])
        named = {name: session[name] for name in KEY}
        if len(rows) != 1:
            wrong.append({**named, "problem": "more than one row" if rows else "missing"})
            continue
        expected = DEFINITIONS[view](session)
        # A figure of rates is nothing of one session: the view has those that are.
        of_one = {name: value for name, value in ratios(view, expected).items() if name in rows[0]}
        of_it = {name: session[name] for name in (*KEY, *OF_A_SESSION, "started_ms")}
        columns = _differences({**of_it, **expected, **of_one}, rows[0])
        if columns:
            wrong.append({**named, "columns": columns})
    return wrong + [{**dict(zip(KEY, key, strict=True)), "problem": "no session"} for key in by_key]


def compare_minutes(connection: duckdb.DuckDBPyConnection, definition: str, sessions: list[Row]) -> list[Row]:
    """What is wrong with the rows of the view by minute: its columns, its cells, its sums over each cube."""
    view, measures = f"{definition}_minutes", MEASURES[definition]
    ratios_of_minutes = {
        name: parts for name, parts in RATIOS[definition].items() if parts[1] not in ONLY_OF_SESSIONS[definition]
    }
    found = set(connection.table(view).columns)
    known = {"minute", "cube_name", *DIMENSIONS, *measures, *ratios_of_minutes}
    if found != known:
        return [{"lacking": sorted(known - found), "unknown": sorted(found - known)}]
    return [
        *_compare_cells(connection, view, measures, ratios_of_minutes),
        *_compare_cubes(connection, view, sums(definition, (DEFINITIONS[definition](row) for row in sessions))),
    ]


def _compare_cells(
    connection: duckdb.DuckDBPyConnection,
    view: str,
    measures: dict[str, str],
    ratios_of_minutes: dict[str, tuple[str, str, int]],
) -> list[Row]:
    """The cells of the view that are not what the recomputed minutes make of them. One without a row is zero."""

    def total(names: str) -> str:
        added = [name for name in names.split() if not name.startswith("-")]
        taken_off = [name[1:] for name in names.split() if name.startswith("-")]
        signed = f"CASE WHEN measure IN {_texts(added)} THEN value WHEN measure IN {_texts(taken_off)} THEN -value END"
        return f"coalesce(sum({signed}), 0)"

    def ratio(above: str, below: str, unit: int) -> str:
        return f"CAST({above.replace(' ', ' + ')} AS DOUBLE) / nullif({below}, 0) / {unit}"

    def sum_differs(name: str) -> str:
        return f"coalesce(expected.{name}, 0) <> coalesce(actual.{name}, 0)"

    def ratio_differs(name: str) -> str:
        # Of a cell without a row the sums are compared.
        both = f"expected.{name} IS NOT NULL AND actual.{name} IS NOT NULL"
        is_close = f"abs(expected.{name} - actual.{name}) <= {TOLERANCE} * abs(expected.{name})"
        is_same = f"if({both}, {is_close}, expected.{name} IS NULL AND actual.{name} IS NULL)"
        return f"actual.copies IS NOT NULL AND NOT {is_same}"

    differs = {name: sum_differs(name) for name in measures} | {name: ratio_differs(name) for name in ratios_of_minutes}
    differing = ", ".join(f"CASE WHEN {condition} THEN '{name}' END" for name, condition in differs.items())
    values = ", ".join(f"expected.{name} AS expected_{name}, actual.{name} AS actual_{name}" for name in differs)
    rows = rows_as_dicts(
        connection,
        f"""
        WITH sums AS (
            SELECT "minute", cube_name, dimensions, {", ".join(f"{total(of)} AS {name}" for name, of in measures.items())}
            FROM recomputed_minutes
            JOIN cells USING (cell)
            GROUP BY ALL
        ),
        expected AS (
            SELECT *, {", ".join(f"{ratio(*parts)} AS {name}" for name, parts in ratios_of_minutes.items())} FROM sums
        ),
        viewed AS (
            SELECT
                minute_of(epoch_ms(CAST("minute" AS TIMESTAMPTZ))) AS "minute", cube_name,
                known_dimensions({view}, NULL) AS dimensions,
                {", ".join(f"CAST({name} AS HUGEINT) AS {name}" for name in measures)},
                {", ".join(f"CAST({name} AS DOUBLE) AS {name}" for name in ratios_of_minutes)}
            FROM {view}
        ),
        actual AS (
            SELECT *, count(*) OVER (PARTITION BY "minute", cube_name, dimensions) AS copies FROM viewed
        )
        SELECT
            cube_name, strftime(make_timestamp("minute" * 60000000), '%Y-%m-%dT%H:%M') AS "minute", dimensions,
            coalesce(copies, 0) AS copies, list_filter([{differing}], lambda name: name IS NOT NULL) AS differing, {values}
        FROM expected
        FULL JOIN actual USING ("minute", cube_name, dimensions)
        WHERE copies > 1 OR len(differing) > 0
        ORDER BY ALL
        """,
    )
    return [
        {
            **{name: row[name] for name in ("cube_name", "minute", "dimensions", "copies")},
            "columns": {
                name: {"expected": row[f"expected_{name}"], "actual": row[f"actual_{name}"]} for name in row["differing"]
            },
        }
        for row in rows
    ]


def _compare_cubes(connection: duckdb.DuckDBPyConnection, view: str, expected: Row) -> list[Row]:
    """The cubes over which the view does not sum up to these sums over the sessions."""
    totals = ", ".join(f"CAST(sum(CAST({name} AS HUGEINT)) AS VARCHAR) AS {name}" for name in expected)
    found = rows_as_dicts(connection, f"SELECT cube_name, {totals} FROM {view} GROUP BY cube_name")
    by_name = {name: dict.fromkeys(expected, "0") for name in CUBES} | {row.pop("cube_name"): row for row in found}
    differences = {cube_name: _differences(expected, row) for cube_name, row in by_name.items()}
    return [{"cube_name": cube_name, "columns": columns} for cube_name, columns in differences.items() if columns]


def _is_resolved(row: Row) -> bool:
    """An attempt that has an outcome: of one that is pending no rate knows anything yet."""
    return row["outcome"] not in ("unknown", "pending")


def _is_started(row: Row) -> bool:
    return row["outcome"] in ("played", "playback_failure")


def _is_dropped(row: Row) -> bool:
    """Whether the view is over without having said so."""
    return bool(_is_resolved(row) and row["is_final"] and row["end_reason"] is None and not row["error_fatal"])


def _is_failed(row: Row) -> bool:
    return row["outcome"] in ("start_failure", "playback_failure")


def _with_background(row: Row, state: str) -> int:
    return row[state] + row[f"background_{state}"]


def _watched_ms(row: Row) -> int:
    return sum(_with_background(row, state) for state in WATCHED)


def _key(row: Row) -> tuple[object, ...]:
    return tuple(row.get(name) or "" for name in KEY)


def _differences(expected: Row, actual: dict[str, str | None]) -> dict[str, dict[str, object]]:
    """The columns that differ, that are lacking, and that nothing is said of here."""
    columns = {
        name: {"expected": value, "actual": actual.get(name, "no such column")}
        for name, value in expected.items()
        if name not in actual or not _is_equal(value, actual[name])
    }
    unknown = {name: {"expected": "no such column", "actual": actual[name]} for name in {*actual} - {*expected}}
    return {**columns, **unknown}


def _is_equal(expected: object, text: str | None) -> bool:
    if expected is None or isinstance(expected, str):
        return (expected or "") == (text or "")
    if isinstance(expected, bool):
        return text == str(expected).lower()
    if isinstance(expected, float):
        return text is not None and math.isclose(expected, float(text), rel_tol=TOLERANCE)
    return text == str(expected)


def _texts(texts: list[str]) -> str:
    """SQL that lists them; there may be none."""
    return "({})".format(", ".join(f"'{text}'" for text in texts or [""]))
