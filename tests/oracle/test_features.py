"""Tests of features.py: hand-made interactions whose features a person works out, and lakes in which one value is wrong."""

import copy
import json
import sqlite3

import pytest

import features
from feature_tables import COLUMNS, PLACES
from lake_builder import ORIGIN_MS, write_lake

TOPIC = "interactions"
DAY = features.DAY_MS
MINUTE = 60_000
GENRES = {"a": ["Drama"], "b": ["Drama", "Comedy"], "c": []}


def at(after_ms):
    return ORIGIN_MS + after_ms


def bronze(offset, profile="p", interaction_id="", is_duplicate=False):
    return {
        "topic": TOPIC,
        "partition": 0,
        "offset": offset,
        "index": 0,
        "profile_id": profile,
        "interaction_id": interaction_id,
        "is_duplicate": is_duplicate,
        "received_at": ORIGIN_MS,
    }


def silver(offset, kind, title, after_ms, profile="p", **columns):
    return {
        "topic": TOPIC,
        "partition": 0,
        "sequence": offset * PLACES,
        "profile_id": profile,
        "type": kind,
        "title_id": title,
        "event_time": at(after_ms),
        "available_at": at(after_ms),
        **columns,
    }


def listed(values):
    return features.SEPARATOR.join(values) or None


def known(offset, kind, title, affinities, recent, touched, session, seen, on_list=0):
    """A row of `profile_features`; instants are ms after the origin."""
    return {
        "topic": TOPIC,
        "partition": 0,
        "sequence": offset * PLACES,
        "profile_id": "p",
        "type": kind,
        "title_id": title,
        "genres": listed(list(affinities)),
        "genre_affinities_millionths": [round(value * 1e6) for value in affinities.values()],
        "recent_titles": listed([name for name, _ in recent]),
        "recent_titles_at_ms": [at(ms) for _, ms in recent],
        "session_titles": listed(session),
        "touched_titles": listed([name for name, _, _ in touched]),
        "touched_first_at_ms": [at(first) for _, first, _ in touched],
        "touched_last_at_ms": [at(last) for _, _, last in touched],
        "seen_titles": seen,
        "listed_titles": on_list,
    }


def title(epoch, title_id, as_of, available, views, decayed, windows, watched=(0.0, 0)):
    numbers = dict(zip(("views_1h", "views_24h", "views_7d"), windows, strict=True))
    return {
        "topic": TOPIC,
        "partition": 0,
        "epoch": epoch,
        "title_id": title_id,
        "as_of": at(as_of),
        "available_at": at(available),
        "views": views,
        "views_decayed": decayed,
        **numbers,
        "watched_sum": watched[0],
        "watched_count": watched[1],
    }


def pair(epoch, title_id, neighbour, rank, count, as_of):
    return {
        "topic": TOPIC,
        "partition": 0,
        "epoch": epoch,
        "title_id": title_id,
        "neighbour_id": neighbour,
        "rank": rank,
        "as_of": at(as_of),
        "count_decayed": count,
    }


# A whole view of `a`; seven days later a start of `b`, told twice; ten minutes later it is left half-way.
LATER = 7 * DAY
LAST = LATER + 10 * MINUTE
RIGHT = {
    "interaction_events": [
        bronze(0, interaction_id="1"),
        bronze(1, interaction_id="2"),
        bronze(2, interaction_id="2", is_duplicate=True),
        bronze(3),
    ],
    "interactions": [
        silver(0, "view_finished", "a", 0, interaction_id="1", watched_fraction=1.0),
        silver(1, "view_started", "b", LATER, interaction_id="2", session_id="s"),
        silver(3, "view_finished", "b", LAST, session_id="s", watched_fraction=0.5),
    ],
    "profile_features": [
        known(0, "view_finished", "a", {"Drama": 1.0}, [("a", 0)], [("a", 0, 0)], ["a"], 1),
        # A fortnight halves: seven days leave 2^-½ of the view; a start is a quarter, shared by two genres.
        known(
            1,
            "view_started",
            "b",
            {"Drama": 0.5**0.5 + 0.125, "Comedy": 0.125},
            [("a", 0), ("b", LATER)],
            [("a", 0, 0), ("b", LATER, LATER)],
            ["b"],
            1,
        ),
        known(
            3,
            "view_finished",
            "b",
            {
                "Drama": 0.5 ** (LAST / DAY / 14) + 0.125 * 0.5 ** (10 / 1440 / 14) + 0.1875,
                "Comedy": 0.125 * 0.5 ** (10 / 1440 / 14) + 0.1875,
            },
            [("a", 0), ("b", LAST)],
            [("a", 0, 0), ("b", LATER, LAST)],
            ["b"],
            1,
        ),
    ],
    "title_features": [
        title(1, "a", 0, 0, 1, 1.0, (1, 1, 1), (1.0, 1)),
        # Seven days later to the millisecond: the whole hour of the view lies on the week's far edge, inside it.
        title(2, "a", LATER, LATER, 1, 0.5, (0, 0, 1), (1.0, 1)),
        title(2, "b", LATER, LATER, 1, 1.0, (1, 1, 1)),
        title(3, "b", LAST, LAST, 1, 0.5 ** (10 / 1440 / 7), (1, 1, 1), (0.5, 1)),
    ],
    "co_watch": [
        pair(2, "a", "b", 0, 1.0, LATER),
        pair(2, "b", "a", 0, 1.0, LATER),
        pair(3, "b", "a", 0, 0.5 ** (10 / 1440 / 30), LAST),
    ],
    "epochs": [
        {"topic": TOPIC, "partition": 0, "epoch": epoch, "next_offset": offset}
        for epoch, offset in ((1, 1), (2, 3), (3, 4))
    ],
}


@pytest.fixture
def run(tmp_path, capsys):
    catalogue = tmp_path / "catalogue.sqlite"
    connection = sqlite3.connect(catalogue)
    connection.execute("CREATE TABLE titles (title_id TEXT, genres TEXT)")
    connection.executemany("INSERT INTO titles VALUES (?, ?)", [(t, json.dumps(g)) for t, g in GENRES.items()])
    connection.commit()
    connection.close()

    def run_on(tables, *arguments):
        write_lake(tmp_path / "lake", tables, COLUMNS)
        code = features.main([str(tmp_path / "lake"), str(catalogue), *arguments])
        return code, json.loads(capsys.readouterr().out)

    return run_on


def test_what_a_person_works_out_is_right(run):
    code, report = run(RIGHT, "--log-events", "4")
    assert (code, report["mismatches"], report["first"]) == (0, 0, [])
    assert report["rows"] == {"profile_features": 3, "title_features": 7, "co_watch": 4}
    assert all(report["invariants"].values())


def changed(table, index, **columns):
    tables = copy.deepcopy(RIGHT)
    tables[table][index].update(columns)
    return tables


@pytest.mark.parametrize(
    ("table", "index", "column", "value"),
    [
        ("profile_features", 0, "type", "rating"),
        ("profile_features", 0, "genres", "Comedy"),
        ("profile_features", 1, "genre_affinities_millionths", [832_109, 125_000]),
        ("profile_features", 1, "recent_titles", listed(["b", "a"])),
        ("profile_features", 2, "recent_titles_at_ms", [at(0), at(LATER)]),
        ("profile_features", 2, "session_titles", listed(["a", "b"])),
        ("profile_features", 2, "touched_first_at_ms", [at(0), at(LAST)]),
        ("profile_features", 2, "seen_titles", 2),
        ("profile_features", 2, "listed_titles", 1),
        ("profile_features", 2, "sequence", 5 * PLACES),
        ("title_features", 0, "views", 2),
        ("title_features", 1, "views_decayed", 0.500_01),
        ("title_features", 1, "views_7d", 0.9),
        ("title_features", 2, "views_1h", 0.0),
        ("title_features", 3, "watched_sum", 0.6),
        ("title_features", 3, "watched_count", 2),
        ("title_features", 3, "as_of", at(LATER)),
        ("title_features", 3, "epoch", 2),
        ("co_watch", 0, "count_decayed", 2.0),
        ("co_watch", 0, "neighbour_id", "c"),
        ("co_watch", 1, "rank", 1),
        ("interactions", 0, "watched_fraction", 0.9),
    ],
)
def test_a_wrong_value_is_found(run, table, index, column, value):
    code, report = run(changed(table, index, **{column: value}))
    assert code == 1
    assert report["mismatches"] > 0 and report["first"]


@pytest.mark.parametrize("table", ["profile_features", "title_features", "co_watch"])
def test_a_missing_row_is_found(run, table):
    tables = copy.deepcopy(RIGHT)
    tables[table].pop()
    assert run(tables)[0] == 1


@pytest.mark.parametrize(
    ("tables", "invariant"),
    [
        (changed("interaction_events", 2, is_duplicate=False), "what_came_again_is_marked"),
        (changed("interaction_events", 3, offset=2), "bronze_keys_distinct"),
        (changed("interactions", 2, sequence=PLACES), "silver_keys_distinct"),
        (changed("interactions", 2, profile_id="q"), "silver_is_bronze_without_what_came_again"),
        (changed("interaction_events", 3, partition=1), "a_profile_is_in_one_partition"),
    ],
)
def test_a_broken_invariant_is_named(run, tables, invariant):
    code, report = run(tables)
    assert (code, report["invariants"][invariant]) == (1, False)


def test_lost_events_are_counted(run):
    code, report = run(RIGHT, "--log-events", "5")
    assert (code, report["invariants"]["every_log_event_is_in_bronze_or_dead"]) == (1, False)


def test_ties_keep_the_order_of_arrival_and_late_signals_their_place():
    latest = features.Latest()
    for name, instant in [("x", 5), ("y", 5), ("z", 1), ("x", 5), ("z", 5)]:
        latest.put(name, instant)
    assert latest.newest(9) == [("x", 5), ("y", 5), ("z", 5)]


def test_what_cannot_be_read_is_said(tmp_path, capsys):
    assert features.main([str(tmp_path), str(tmp_path / "none.sqlite")]) == 2
    assert "features.py" in capsys.readouterr().err
