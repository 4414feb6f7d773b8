"""Independent oracle of the published definitions: what the views `qoe_…` say of each session, from its row alone.

usage: definitions.py LAKE_DIR DEFINITION ROWS_JSON [--topic T]

DEFINITION is `cta_2066`, `mux`, `conviva` or `marquee`. ROWS_JSON is a file with a JSON array of the view's rows, as
`marquee lake sql "SELECT * FROM qoe_…" --format json` prints them: the session's key (`topic`, `session_id`,
`player_instance`) and the columns that the definition's function has here. The rows are compared with the latest
revisions in `session_revisions`.

A definition gives each session's numerators and denominators. A figure of many sessions is Σ numerator ÷ Σ denominator
(`PUBLISHED`), never a mean of the sessions' ratios. The vector that they start from is that of docs/qoe.md, section 3.

Prints one line, `{"sessions": N, "mismatches": M, "first": […]}`. Exit code 0: all agree; 1: some differ, are missing,
come twice or are no sessions; 2: an input cannot be read.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

from lake import COLUMNS, UnreadableLake, load
from recompute import rows_as_dicts

Row = dict[str, object]

KEY = ("topic", "session_id", "player_instance")

# The scores are floating-point numbers, worked out in another order elsewhere.
SCORE_TOLERANCE = 1e-9

SHOWN = 5


def cta_2066(row: Row) -> Row:
    """CTA-2066: stalls and startup against watched time, which leaves out pauses. It knows no background: a page that
    plays there is watched. A title that started by itself continues the session before it."""
    opens_session = _is_attempt(row) and not row["autoplay"]
    has_startup = opens_session and _is_started(row)
    return {
        "sessions": int(opens_session),
        "playback_failed": int(_is_attempt(row) and _is_failed(row)),
        "startups": int(has_startup),
        # The watched time until the first playback start, interrupted or not.
        "initial_startup_ms": _with_background(row, "startup_waiting_ms") if has_startup else None,
        "stall_ms": _with_background(row, "rebuffer_ms"),
        "stall_count": row["rebuffer_count"] + row["background_rebuffer_count"],
        "watched_ms": sum(_with_background(row, state) for state in WATCHED),
        "bitrate_bit_ms": row["bitrate_bit_ms"],
        "bitrate_media_ms": row["bitrate_media_ms"],
    }


def mux(row: Row) -> Row:
    """Mux: startup ends at the first frame of ad or content, content startup at that of the content; seeks are a
    latency of their own; business exceptions are no failures. With the four scores, as far as they are published."""
    rebuffer_ms = _with_background(row, "rebuffer_ms")
    rebuffer_count = row["rebuffer_count"] + row["background_rebuffer_count"]
    watch_ms = sum(_with_background(row, state) for state in WATCHED)
    is_technical = _is_failed(row) and not row["error_business"]
    return {
        "views": int(_is_attempt(row)),
        "video_startup_ms": row["first_picture_ms"],
        "content_startup_ms": row["startup_ms"],
        "exits_before_start": int(row["outcome"] == "exit_before_start"),
        "start_failures": int(row["outcome"] == "start_failure" and is_technical),
        "playback_failures": int(_is_attempt(row) and is_technical),
        "business_exceptions": int(_is_attempt(row) and _is_failed(row) and not is_technical),
        "dropped_views": int(_is_attempt(row) and row["is_final"] and not row["end_reason"] and not _is_failed(row)),
        "rebuffer_ms": rebuffer_ms,
        "rebuffer_count": rebuffer_count,
        "seek_latency_ms": _with_background(row, "seek_waiting_ms"),
        "watch_ms": watch_ms,
        "bitrate_bit_ms": row["bitrate_bit_ms"],
        "bitrate_media_ms": row["bitrate_media_ms"],
        "upscale_per_mille_ms": row["upscale_per_mille_ms"],
        "upscale_media_ms": row["upscale_media_ms"],
        "startup_score": startup_score(row["first_picture_ms"]),
        "smoothness_score": smoothness_score(rebuffer_count, rebuffer_ms, watch_ms) if _is_started(row) else None,
        "video_quality_score": video_quality_score(
            row["max_upscale_per_mille"], row["upscale_per_mille_ms"], row["upscale_media_ms"]
        ),
        "playback_success_score": playback_success_score(
            row["outcome"], bool(row["error_business"]), row["exit_after_ms"]
        ),
    }


def conviva(row: Row) -> Row:
    """Conviva: all waiting, after seeks too, against playing and waiting; startup is not in it. Start failures and
    exits are of attempts, playback failures of plays that have ended; both kinds are technical or business."""
    rebuffer_ms = _with_background(row, "rebuffer_ms")
    seek_rebuffer_ms = _with_background(row, "seek_waiting_ms")
    all_rebuffer_ms = rebuffer_ms + seek_rebuffer_ms
    is_business = bool(row["error_business"])
    return {
        "attempts": int(_is_attempt(row)),
        "plays": int(_is_started(row)),
        "ended_plays": int(_is_started(row) and row["is_final"]),
        "video_startup_ms": row["startup_ms"],
        "exits_before_start": int(row["outcome"] == "exit_before_start"),
        "start_failures_technical": int(row["outcome"] == "start_failure" and not is_business),
        "start_failures_business": int(row["outcome"] == "start_failure" and is_business),
        "playback_failures_technical": int(row["outcome"] == "playback_failure" and not is_business),
        "playback_failures_business": int(row["outcome"] == "playback_failure" and is_business),
        # The connection-induced ones leave out what the viewer's seeks cost.
        "connection_rebuffer_ms": rebuffer_ms,
        "rebuffer_ms": all_rebuffer_ms,
        "playing_and_rebuffer_ms": _with_background(row, "playing_ms") + all_rebuffer_ms,
        "bitrate_bit_ms": row["bitrate_bit_ms"],
        "bitrate_media_ms": row["bitrate_media_ms"],
    }


def marquee(row: Row) -> Row:
    """Marquee: what a viewer saw. Stalls against watched time as in CTA-2066, of the foreground alone; each title is an
    attempt of its own; only startups that nothing interrupted have a time."""
    return {
        "attempts": int(_is_attempt(row)),
        "starts": int(_is_started(row)),
        "startup_ms": row["startup_ms"],
        "first_picture_ms": row["first_picture_ms"],
        "exits_before_start": int(row["outcome"] == "exit_before_start"),
        "quick_exits": int(row["exit_after_ms"] is not None and row["exit_after_ms"] < QUICK_EXIT_MS),
        "start_failures": int(row["outcome"] == "start_failure" and not row["error_business"]),
        "playback_failures": int(row["outcome"] == "playback_failure" and not row["error_business"]),
        "rebuffer_ms": row["rebuffer_ms"],
        "rebuffer_count": row["rebuffer_count"],
        "watched_ms": sum(row[state] for state in WATCHED),
        "bitrate_bit_ms": row["bitrate_bit_ms"],
        "bitrate_media_ms": row["bitrate_media_ms"],
        "height_px_ms": row["height_px_ms"],
        "height_media_ms": row["height_media_ms"],
    }


DEFINITIONS: dict[str, Callable[[Row], Row]] = {
    "cta_2066": cta_2066,
    "mux": mux,
    "conviva": conviva,
    "marquee": marquee,
}

# The figures that a definition publishes: Σ numerator ÷ Σ denominator. A startup's denominator is the number of them.
PUBLISHED: dict[str, dict[str, tuple[str, str]]] = {
    "cta_2066": {
        "playback_failed_share": ("playback_failed", "sessions"),
        "initial_startup_ms": ("initial_startup_ms", "startups"),
        "stalled_share": ("stall_ms", "watched_ms"),
        "bitrate_bps": ("bitrate_bit_ms", "bitrate_media_ms"),
    },
    "mux": {
        "exits_before_start_share": ("exits_before_start", "views"),
        "start_failure_share": ("start_failures", "views"),
        "playback_failure_share": ("playback_failures", "views"),
        "dropped_share": ("dropped_views", "views"),
        "rebuffer_share": ("rebuffer_ms", "watch_ms"),
        "bitrate_bps": ("bitrate_bit_ms", "bitrate_media_ms"),
        "upscale_per_mille": ("upscale_per_mille_ms", "upscale_media_ms"),
    },
    "conviva": {
        "exits_before_start_share": ("exits_before_start", "attempts"),
        "start_failure_technical_share": ("start_failures_technical", "attempts"),
        "start_failure_business_share": ("start_failures_business", "attempts"),
        "playback_failure_technical_share": ("playback_failures_technical", "ended_plays"),
        "playback_failure_business_share": ("playback_failures_business", "ended_plays"),
        "connection_rebuffer_share": ("connection_rebuffer_ms", "playing_and_rebuffer_ms"),
        "rebuffer_share": ("rebuffer_ms", "playing_and_rebuffer_ms"),
        "bitrate_bps": ("bitrate_bit_ms", "bitrate_media_ms"),
    },
    "marquee": {
        "exits_before_start_share": ("exits_before_start", "attempts"),
        "start_failure_share": ("start_failures", "attempts"),
        "playback_failure_share": ("playback_failures", "starts"),
        "rebuffer_share": ("rebuffer_ms", "watched_ms"),
        "bitrate_bps": ("bitrate_bit_ms", "bitrate_media_ms"),
        "height_px": ("height_px_ms", "height_media_ms"),
    },
}

# Watched time is all but pauses and ads.
WATCHED = ("startup_waiting_ms", "playing_ms", "rebuffer_ms", "seek_waiting_ms")

QUICK_EXIT_MS = 1000


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


def playback_success_score(outcome: str, is_business: bool, exit_after_ms: int | None) -> float | None:
    """Mux: 100 for a play, 50 for an exit before it, 0 for a failure. An exit under 1 s has none; nor has what is open,
    nobody asked for, or ended by a business exception, which is neither play nor failure."""
    if outcome == "exit_before_start":
        return None if exit_after_ms is not None and exit_after_ms < QUICK_EXIT_MS else 50.0
    if outcome in ("start_failure", "playback_failure"):
        return None if is_business else 0.0
    return 100.0 if outcome == "played" else None


def figures(definition: str, sessions: list[Row]) -> dict[str, float | None]:
    """What the definition publishes of these session rows together; None where nothing is known."""
    rows = [DEFINITIONS[definition](session) for session in sessions]

    def total(column: str) -> int:
        return sum(row[column] or 0 for row in rows)

    return {
        name: total(numerator) / total(denominator) if total(denominator) else None
        for name, (numerator, denominator) in PUBLISHED[definition].items()
    }


def compare(definition: str, sessions: list[Row], viewed: list[Row]) -> dict[str, object]:
    """What is printed, of session rows and of the view's rows."""
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
        columns = {
            name: {"expected": value, "actual": rows[0].get(name, "no such column")}
            for name, value in DEFINITIONS[definition](session).items()
            if name not in rows[0] or not _is_equal(value, rows[0][name])
        }
        if columns:
            wrong.append({**named, "columns": columns})
    wrong += [{**dict(zip(KEY, key, strict=True)), "problem": "no session"} for key in by_key]
    return {"sessions": len(sessions), "mismatches": len(wrong), "first": wrong[:SHOWN]}


def latest_sessions(lake_dir: Path, topic: str | None) -> list[Row]:
    """The latest revision of each session in the lake."""
    tables = {name: COLUMNS[name] for name in ("session_revisions", "epochs")}
    return rows_as_dicts(
        load(lake_dir, topic, tables),
        "SELECT * EXCLUDE (started_at, ended_at) FROM session_revisions"
        " QUALIFY row_number() OVER (PARTITION BY topic, session_id, player_instance ORDER BY revision DESC) = 1"
        " ORDER BY topic, session_id, player_instance",
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="definitions.py", description=__doc__.splitlines()[0])
    parser.add_argument("lake_dir", type=Path, metavar="LAKE_DIR")
    parser.add_argument("definition", choices=DEFINITIONS, metavar="DEFINITION")
    parser.add_argument("rows_json", type=Path, metavar="ROWS_JSON")
    parser.add_argument("--topic", help="only this topic (default: every topic)")
    options = parser.parse_args(arguments)
    try:
        sessions = latest_sessions(options.lake_dir, options.topic)
        viewed = json.loads(options.rows_json.read_text(encoding="utf-8"))
        result = compare(options.definition, sessions, viewed)
    except (UnreadableLake, OSError, ValueError, KeyError) as problem:
        print(f"definitions.py: {problem}", file=sys.stderr)
        return 2
    print(json.dumps(result))
    return 0 if result["mismatches"] == 0 else 1


def _is_attempt(row: Row) -> bool:
    return row["outcome"] != "unknown"


def _is_started(row: Row) -> bool:
    return row["outcome"] in ("played", "playback_failure")


def _is_failed(row: Row) -> bool:
    return row["outcome"] in ("start_failure", "playback_failure")


def _with_background(row: Row, state: str) -> int:
    return row[state] + row[f"background_{state}"]


def _key(row: Row) -> tuple[object, ...]:
    return tuple(row[name] or "" for name in KEY)


def _is_equal(expected: object, actual: object) -> bool:
    if isinstance(expected, float) and isinstance(actual, int | float):
        return math.isclose(expected, actual, rel_tol=SCORE_TOLERANCE)
    return expected == actual


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
