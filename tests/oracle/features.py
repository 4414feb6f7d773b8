"""Independent oracle of the features job: every row of the feature tables, recomputed from the silver interactions.

usage: features.py LAKE_DIR CATALOGUE [--log-events N]

CATALOGUE is the SQLite file with the titles' genres; it must be what it was when the interactions came. Recomputes each
row of `profile_features` (affinity by genre, last titles, session, seen, listed), `title_features` (views ever, decayed
and in windows, watched shares) and `co_watch` from `interactions`, as its signals had come until then; checks that
silver is bronze without what came again.

Prints one line: `rows` compared by table, `mismatches`, `invariants` by name, `first` (some of what differs), `left_out`
(rows beyond the bounds of a state, where only lower bounds are promised). Exit code 0: all agrees; 1: something does
not; 2: the lake or the catalogue is missing or cannot be read.
"""

import argparse
import json
import sqlite3
import sys
from bisect import insort
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np

from feature_tables import COLUMNS, INVARIANTS, LOG_EVENTS, PLACES
from lake import UnreadableLake, load

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
AFFINITY_HALF_LIFE_MS = 14 * DAY_MS
POPULARITY_HALF_LIFE_MS = 7 * DAY_MS
CO_WATCH_HALF_LIFE_MS = 30 * DAY_MS
SESSION_GAP_MS = 30 * 60_000
SEEN_FROM = np.float32(0.9)
SEPARATOR = "\x1f"

# What a state is bounded by; rows beyond are left out.
MAX_SEEN, MAX_LISTED, MAX_NEIGHBOURS = 4096, 500, 200
KEPT_RECENT, SHOWN_RECENT, KEPT_TOUCHED = 50, 20, 20
SHOWN_NEIGHBOURS, CO_WATCH_TITLES, CO_WATCH_SPAN_MS = 20, 10, 7 * DAY_MS

WITH_A_ROW = {"view_started", "view_finished", "rating", "list_add", "list_remove", "not_interested"}
WATCHING = {"view_started", "view_progress", "view_finished"}
SHOWN = 5


@dataclass(frozen=True)
class Signal:
    """One thing that a viewer did with a title, in the order of arrival."""

    sequence: int
    profile: str
    title: str
    kind: str
    at: int
    known: int
    fraction: np.float32 | None
    stars: np.float32 | None
    is_last: bool
    """Of its interaction."""


def halved(weights: np.ndarray, at: np.ndarray, now: int, half_life: int) -> float:
    return float(np.sum(weights * np.exp2((at - now) / half_life)))


def weight(signal: Signal) -> float:
    """What a signal says of a taste, in whole views."""
    match signal.kind:
        case "view_started":
            return 0.25
        case "view_finished":
            return 0.75 * float(signal.fraction)
        case "rating":
            return (float(signal.stars) - 3) / 2
        case "list_add":
            return 0.5
        case "click":
            return 0.1
        case "not_interested":
            return -1.0
    return 0.0


def signals(rows: list[tuple]) -> list[Signal]:
    """The signals of a shard's interactions. A finished view without session is a whole view: it was started, too."""
    found = []
    for sequence, profile, title, kind, at, known, session, fraction, stars in rows:
        if kind == "search":
            continue
        kinds = ["view_started", kind] if kind == "view_finished" and not session else [kind]
        fraction, stars = (None if value is None else np.float32(value) for value in (fraction, stars))
        for one in kinds:
            found.append(Signal(sequence, profile, title, one, at, known, fraction, stars, one is kinds[-1]))
    return found


@dataclass
class Latest:
    """Titles by their latest instant; at one instant the title that reached it first is the older."""

    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    arrivals: int = 0

    def put(self, title: str, at: int) -> None:
        self.arrivals += 1
        if title not in self.places or at > self.places[title][0]:
            self.places[title] = (at, self.arrivals)

    def newest(self, count: int) -> list[tuple[str, int]]:
        ordered = sorted(self.places.items(), key=lambda item: item[1])
        return [(title, at) for title, (at, _) in ordered[-count:]]


@dataclass
class Profile:
    """What one shard knows of a profile."""

    weights: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))
    watched: Latest = field(default_factory=Latest)
    touched: Latest = field(default_factory=Latest)
    touches: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    seen: set[str] = field(default_factory=set)
    said: dict[str, tuple[int, bool]] = field(default_factory=dict)

    def take(self, signal: Signal, genres: list[str]) -> None:
        given = weight(signal)
        if given:
            for genre in genres:
                self.weights[genre].append((given / len(genres), signal.at))
        if signal.kind in WATCHING:
            self.watched.put(signal.title, signal.at)
        if signal.kind not in ("list_remove", "not_interested"):
            self.touched.put(signal.title, signal.at)
            insort(self.touches[signal.title], signal.at)
        if signal.kind == "rating" or (signal.fraction is not None and signal.fraction >= SEEN_FROM
                                       and signal.kind in ("view_progress", "view_finished")):
            self.seen.add(signal.title)
        if signal.kind in ("list_add", "list_remove") and signal.at >= self.said.get(signal.title, (signal.at,))[0]:
            self.said[signal.title] = (signal.at, signal.kind == "list_add")

    def affinities(self, now: int) -> dict[str, float]:
        values = {}
        for genre, given in self.weights.items():
            amounts, at = (np.array(column, dtype=float) for column in zip(*given, strict=True))
            values[genre] = halved(amounts, at, now, AFFINITY_HALF_LIFE_MS)
        return values

    def touched_runs(self) -> list[tuple[str, int, int]]:
        """The last titles touched: title, first and last touch of the run that no silence has parted."""
        runs = []
        for title, last in self.touched.newest(KEPT_TOUCHED):
            first = last
            for at in reversed(self.touches[title]):
                if first - at > SESSION_GAP_MS:
                    break
                first = at
            runs.append((title, first, last))
        return runs

    def session(self, now: int) -> list[str]:
        began, titles = now, []
        for title, first, last in reversed(self.touched_runs()):
            if began - last > SESSION_GAP_MS:
                break
            began = min(began, first)
            titles.append(title)
        return titles[::-1]


@dataclass
class Title:
    """What one shard knows of a title."""

    starts: list[int] = field(default_factory=list)
    fractions: list[float] = field(default_factory=list)
    neighbours: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    known: int = 0

    def views_in(self, now: int, window: int) -> float:
        """By hour; the hour on the window's far edge counts by the share that lies inside."""
        if not self.starts:
            return 0.0
        began = np.array(self.starts) // HOUR_MS * HOUR_MS
        kept = (began <= now) & (began > began.max() - (7 * 24 + 1) * HOUR_MS)
        inside = np.clip(began + HOUR_MS - (now - window), 0, HOUR_MS)
        return float(np.sum(inside[kept]) / HOUR_MS)

    def co_watch(self, now: int) -> dict[str, float]:
        half_life = CO_WATCH_HALF_LIFE_MS
        return {other: halved(np.ones(len(at)), np.array(at), now, half_life) for other, at in self.neighbours.items()}


class Report:
    """Counts what was compared, keeps the first of what differs."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = defaultdict(int)
        self.left_out: dict[str, int] = defaultdict(int)
        self.mismatches = 0
        self.first: list[dict[str, object]] = []

    def compare(self, table: str, key: dict[str, object], expected: dict[str, object], actual: dict[str, object]) -> None:
        self.rows[table] += 1
        differing = {
            name: {"expected": value, "actual": actual.get(name)}
            for name, value in expected.items()
            if not is_equal(value, actual.get(name))
        }
        if differing:
            self.mismatches += 1
            if len(self.first) < SHOWN:
                self.first.append({"table": table, **key, "columns": differing})


def is_equal(expected: object, actual: object) -> bool:
    """Floats to 10⁻⁶ of their size or to what the integers of the states round; everything else exactly."""
    if isinstance(expected, float) and isinstance(actual, (int, float)):
        return abs(expected - actual) <= max(1e-6 * abs(expected), 1e-7)
    if isinstance(expected, dict) and isinstance(actual, dict):
        return expected.keys() == actual.keys() and all(is_equal(expected[k], actual[k]) for k in expected)
    return expected == actual


def texts(value: str | None) -> list[str]:
    return value.split(SEPARATOR) if value else []


def check_profiles(report: Report, shard: list[Signal], rows: dict[int, dict], genres: dict[str, list[str]]) -> None:
    profiles: dict[str, Profile] = defaultdict(Profile)
    for signal in shard:
        profile = profiles[signal.profile]
        profile.take(signal, genres.get(signal.title, []))
        if not signal.is_last or signal.kind not in WITH_A_ROW:
            continue
        key = {"profile_id": signal.profile, "sequence": signal.sequence}
        row = rows.pop(signal.sequence, None)
        if row is None:
            report.compare("profile_features", key, {"row": "there"}, {"row": "missing"})
            continue
        if len(profile.seen) > MAX_SEEN or len(profile.said) > MAX_LISTED:
            report.left_out["profile_features"] += 1
            continue
        affinities = profile.affinities(signal.known)
        millionths = row["genre_affinities_millionths"]
        found = dict(zip(texts(row["genres"]), millionths, strict=True))
        # Half a millionth for the row, 4·10⁻⁹ for each weight.
        tolerance = {genre: 0.51 + 0.008 * len(given) for genre, given in profile.weights.items()}
        recent = profile.watched.newest(KEPT_RECENT)[-SHOWN_RECENT:]
        runs = profile.touched_runs()
        report.compare(
            "profile_features",
            key,
            {
                "profile_id": signal.profile,
                "type": signal.kind,
                "title_id": signal.title,
                "genres": sorted(affinities),
                "wrong_affinities": {},
                "strongest_first": True,
                "recent_titles": recent,
                "session_titles": profile.session(signal.known),
                "touched_titles": runs,
                "seen_titles": len(profile.seen),
                "listed_titles": sum(on for _, on in profile.said.values()),
            },
            {
                **row,
                "genres": sorted(found),
                "wrong_affinities": {
                    genre: (value * 1e6, found[genre])
                    for genre, value in affinities.items()
                    if genre in found and abs(value * 1e6 - found[genre]) > tolerance[genre]
                },
                "strongest_first": all(a >= b for a, b in zip(millionths, millionths[1:], strict=False)),
                "recent_titles": list(zip(texts(row["recent_titles"]), row["recent_titles_at_ms"], strict=True)),
                "session_titles": texts(row["session_titles"]),
                "touched_titles": list(
                    zip(
                        texts(row["touched_titles"]),
                        row["touched_first_at_ms"],
                        row["touched_last_at_ms"],
                        strict=True,
                    )
                ),
            },
        )
    for sequence, row in rows.items():
        key = {"profile_id": row["profile_id"], "sequence": sequence}
        report.compare("profile_features", key, {"row": "none"}, {"row": "without an interaction"})


def apply_to_titles(signal: Signal, watched: Latest, titles: dict[str, Title]) -> set[str]:
    """Takes a signal in; the titles that it changed. `watched` is the profile's, from before the signal."""
    changed = {signal.title}
    if signal.kind == "view_started":
        titles[signal.title].starts.append(signal.at)
        last = watched.newest(CO_WATCH_TITLES)
        if signal.title not in dict(last):
            for other, at in last:
                if abs(signal.at - at) <= CO_WATCH_SPAN_MS:
                    titles[signal.title].neighbours[other].append(signal.at)
                    titles[other].neighbours[signal.title].append(signal.at)
                    changed.add(other)
    if signal.kind == "view_finished":
        titles[signal.title].fractions.append(float(signal.fraction))
    for title in changed:
        titles[title].known = max(titles[title].known, signal.known)
    return changed


def check_titles(
    report: Report,
    shard: list[Signal],
    instants: list[tuple[int, int]],
    epochs: list[tuple[int, int]],
    rows: dict[int, dict[str, dict]],
    pairs: dict[int, dict[str, list[tuple]]],
) -> None:
    """`instants` are (sequence, available_at) of everything that came, `epochs` (epoch, first offset that is not in it)."""
    titles: dict[str, Title] = defaultdict(Title)
    watched: dict[str, Latest] = defaultdict(Latest)
    at, instant, as_of = 0, 0, 0
    for epoch, next_offset in epochs:
        end, changed = next_offset * PLACES, set()
        while instant < len(instants) and instants[instant][0] < end:
            as_of = max(as_of, instants[instant][1])
            instant += 1
        while at < len(shard) and shard[at].sequence < end:
            signal = shard[at]
            changed |= apply_to_titles(signal, watched[signal.profile], titles)
            if signal.kind in WATCHING:
                watched[signal.profile].put(signal.title, signal.at)
            at += 1
        found, found_pairs = rows.pop(epoch, {}), pairs.pop(epoch, {})
        report.compare("title_features", {"epoch": epoch}, {"titles": sorted(changed)}, {"titles": sorted(found)})
        for title_id in sorted(changed & found.keys()):
            title, key = titles[title_id], {"epoch": epoch, "title_id": title_id}
            starts = np.array(title.starts, dtype=float)
            expected = {
                "as_of_ms": as_of,
                "available_ms": title.known,
                "views": float(len(title.starts)),
                "views_decayed": halved(np.ones(len(starts)), starts, as_of, POPULARITY_HALF_LIFE_MS),
                "views_1h": title.views_in(as_of, HOUR_MS),
                "views_24h": title.views_in(as_of, DAY_MS),
                "views_7d": title.views_in(as_of, 7 * DAY_MS),
                "watched_sum": float(np.sum(title.fractions)),
                "watched_count": len(title.fractions),
            }
            report.compare("title_features", key, expected, found[title_id])
            check_neighbours(report, key, title.co_watch(as_of), found_pairs.get(title_id, []))
    for epoch in [*rows, *pairs]:
        report.compare("title_features", {"epoch": epoch}, {"row": "none"}, {"row": "of an epoch that is not there"})


def check_neighbours(report: Report, key: dict[str, object], counts: dict[str, float], rows: list[tuple]) -> None:
    if len(counts) > MAX_NEIGHBOURS:
        report.left_out["co_watch"] += 1
        return
    found = {neighbour: count for neighbour, _, count in rows}
    weakest = min(found.values(), default=0.0) * (1 - 1e-9)
    ordered = [count for _, _, count in sorted(rows, key=lambda row: row[1])]
    expected = {
        "neighbours": min(len(counts), SHOWN_NEIGHBOURS),
        "counts": {neighbour: counts.get(neighbour) for neighbour in found},
        "ranks": list(range(len(rows))),
        "strongest_first": True,
        "left_behind": [],
    }
    actual = {
        "neighbours": len(found),
        "counts": found,
        "ranks": sorted(rank for _, rank, _ in rows),
        "strongest_first": all(a >= b for a, b in zip(ordered, ordered[1:], strict=False)),
        "left_behind": [n for n, count in counts.items() if n not in found and count * (1 - 1e-6) > weakest / (1 - 1e-9)],
    }
    report.compare("co_watch", key, expected, actual)


def read_genres(path: Path) -> dict[str, list[str]]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return {title: json.loads(genres) for title, genres in connection.execute("SELECT title_id, genres FROM titles")}
    finally:
        connection.close()


def dicts(cursor: duckdb.DuckDBPyConnection) -> list[dict]:
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def check_shard(
    report: Report, lake: duckdb.DuckDBPyConnection, genres: dict[str, list[str]], shard: tuple[str, int]
) -> None:
    mine = {"topic": shard[0], "number": shard[1]}
    where = 'WHERE topic = $topic AND "partition" = $number'

    def query(sql: str) -> duckdb.DuckDBPyConnection:
        return lake.execute(sql.replace("MINE", where), mine)

    rows = query(
        "SELECT sequence, profile_id, title_id, type, epoch_ms(event_time), epoch_ms(available_at), session_id,"
        " watched_fraction, rating_value FROM interactions MINE ORDER BY sequence"
    ).fetchall()
    of_shard = signals(rows)
    profile_rows = {row["sequence"]: row for row in dicts(query("SELECT * FROM profile_features MINE"))}
    check_profiles(report, of_shard, profile_rows, genres)
    instants = query(
        "SELECT sequence, epoch_ms(available_at) FROM (SELECT * FROM (SELECT topic, \"partition\", sequence, available_at"
        " FROM interactions UNION ALL SELECT topic, \"partition\", sequence, available_at FROM impressions) MINE)"
        " ORDER BY sequence"
    ).fetchall()
    epochs = query("SELECT epoch, next_offset FROM epochs MINE ORDER BY epoch").fetchall()
    titles: dict[int, dict[str, dict]] = defaultdict(dict)
    sql = (
        "SELECT * EXCLUDE (as_of, available_at), epoch_ms(as_of) AS as_of_ms, epoch_ms(available_at) AS available_ms"
        " FROM title_features MINE"
    )
    for row in dicts(query(sql)):
        titles[row["epoch"]][row["title_id"]] = row
    pairs: dict[int, dict[str, list[tuple]]] = defaultdict(lambda: defaultdict(list))
    sql = "SELECT epoch, title_id, neighbour_id, rank, count_decayed FROM co_watch MINE"
    for epoch, title, *pair in query(sql).fetchall():
        pairs[epoch][title].append(tuple(pair))
    check_titles(report, of_shard, instants, epochs, titles, pairs)


def check(lake: duckdb.DuckDBPyConnection, genres: dict[str, list[str]], log_events: int | None) -> dict[str, object]:
    report = Report()
    shards = 'SELECT DISTINCT topic, "partition" FROM interaction_events ORDER BY ALL'
    for shard in lake.execute(shards).fetchall():
        check_shard(report, lake, genres, shard)
    violations = {name: int(lake.execute(sql).fetchone()[0]) for name, sql in INVARIANTS.items()}
    if log_events is not None:
        violations["every_log_event_is_in_bronze_or_dead"] = abs(
            int(lake.execute(LOG_EVENTS).fetchone()[0]) - log_events
        )
    return {
        "rows": dict(report.rows),
        "mismatches": report.mismatches,
        "invariants": {name: found == 0 for name, found in violations.items()},
        "left_out": dict(report.left_out),
        "first": report.first,
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="features.py", description=__doc__.splitlines()[0])
    parser.add_argument("lake_dir", type=Path, metavar="LAKE_DIR")
    parser.add_argument("catalogue", type=Path, metavar="CATALOGUE")
    parser.add_argument("--log-events", type=int, metavar="N", help="interactions in the log, of all topics together")
    options = parser.parse_args(arguments)
    try:
        genres = read_genres(options.catalogue)
        lake = load(options.lake_dir, columns=COLUMNS)
    except (UnreadableLake, sqlite3.Error) as problem:
        print(f"features.py: {problem}", file=sys.stderr)
        return 2
    result = check(lake, genres, options.log_events)
    print(json.dumps(result, default=str))
    return 0 if result["mismatches"] == 0 and all(result["invariants"].values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
