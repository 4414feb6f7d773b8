"""Independent reference of the model `linear-transition` and of all-time popularity under leave-one-out, in numpy.

usage: recommendation.py FILE [--decay D] [--window N] [--lambda L] [--min-events-per-item N]

FILE is MovieLens' ratings.csv (userId, movieId, timestamp in seconds) or a file for `marquee evaluate` (profile_id,
title_id, timestamp_ms). Items with fewer than N events are left out (default 5). A user's last item is the test, the
one before is validation, models learn from the rest; the context of the test holds the validation item; what the
context holds is not recommended; all other items are ranked. Events of one instant keep the file's order, items of one
score the order in which the file first names them.

x is the sum of decay^age over the last `window` items before a position, y the next item, W = (XᵀX + λI)⁻¹ XᵀY; X is
built position by position. Prints one line, `{"users", "items", "events", "cases", "results": [{"model", "hr@10",
"ndcg@10", "coverage@10"}]}`. Exit code 0; 2: the input cannot be read.
"""

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

CUTOFF = 10

# (user, item, time) columns of the layouts that are understood.
LAYOUTS = [("userId", "movieId", "timestamp"), ("profile_id", "title_id", "timestamp_ms")]


class UnreadableInput(Exception):
    """The file is missing or not what it should be."""


def read_events(path: Path) -> list[tuple[str, str, int]]:
    """(user, item, time) in the order of the file."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        names = reader.fieldnames or []
        layout = next((layout for layout in LAYOUTS if set(layout) <= set(names)), None)
        if layout is None:
            raise UnreadableInput(f"{path} has the columns {names}")
        user, item, time = layout
        return [(row[user], row[item], int(row[time])) for row in reader]


def without_rare_items(events: list[tuple[str, str, int]], minimum: int) -> list[tuple[str, str, int]]:
    counts = Counter(item for _, item, _ in events)
    return [event for event in events if counts[event[1]] >= minimum]


def histories_of(events: list[tuple[str, str, int]]) -> tuple[list[list[int]], int]:
    """Each user's items as numbers, oldest first, and how many items there are."""
    numbers: dict[str, int] = {}
    timed: dict[str, list[tuple[int, int]]] = {}
    for user, item, time in events:
        timed.setdefault(user, []).append((time, numbers.setdefault(item, len(numbers))))
    # `sorted` is stable: one instant keeps the file's order.
    return [[item for _, item in sorted(visits, key=lambda visit: visit[0])] for visits in timed.values()], len(numbers)


def decayed(history: list[int], decay: float, window: int, items: int) -> np.ndarray:
    """x after a history."""
    x = np.zeros(items)
    for age, item in enumerate(reversed(history[-window:])):
        x[item] += decay**age
    return x


def transition_weights(
    histories: list[list[int]], items: int, decay: float, window: int, ridge: float
) -> np.ndarray:
    """W, items × items."""
    gram, cross = np.zeros((items, items)), np.zeros((items, items))
    for history in histories:
        if len(history) < 2:
            continue
        own = sorted(set(history))
        places = {item: place for place, item in enumerate(own)}
        local = [places[item] for item in history]
        x = np.stack([decayed(local[:position], decay, window, len(own)) for position in range(1, len(local))])
        y = np.eye(len(own))[local[1:]]
        block = np.ix_(own, own)
        gram[block] += x.T @ x
        cross[block] += x.T @ y
    return np.linalg.solve(gram + ridge * np.eye(items), cross)


def evaluate(histories: list[list[int]], items: int, score: Callable[[list[int]], np.ndarray]) -> dict[str, float]:
    """The metrics of a model over the last item of each history."""
    hits, gain, shown = 0, 0.0, set()
    for history in histories:
        context, target = history[:-1], history[-1]
        scores = score(context)
        allowed = np.ones(items, dtype=bool)
        allowed[context] = False
        allowed[target] = True
        candidates = np.flatnonzero(allowed)
        ranking = candidates[np.argsort(-scores[candidates], kind="stable")]
        rank = int(np.flatnonzero(ranking == target)[0])
        shown.update(ranking[:CUTOFF].tolist())
        if rank < CUTOFF:
            hits += 1
            gain += 1 / np.log2(rank + 2)
    return {
        "hr@10": hits / len(histories),
        "ndcg@10": float(gain) / len(histories),
        "coverage@10": len(shown) / items,
    }


def report(events: list[tuple[str, str, int]], decay: float, window: int, ridge: float) -> dict[str, object]:
    histories, items = histories_of(events)
    # Shorter histories have nothing to test; all of them is training.
    tested = [history for history in histories if len(history) >= 3]
    if not tested:
        raise UnreadableInput("no user has three events")
    training = [history[:-2] if len(history) >= 3 else history for history in histories]
    popularity = np.bincount([item for history in training for item in history], minlength=items).astype(float)
    weights = transition_weights(training, items, decay, window, ridge)
    models: list[tuple[str, Callable[[list[int]], np.ndarray]]] = [
        ("popular-all-time", lambda _: popularity),
        ("linear-transition", lambda context: decayed(context, decay, window, items) @ weights),
    ]
    return {
        "users": len(histories),
        "items": items,
        "events": len(events),
        "cases": len(tested),
        "results": [{"model": name, **evaluate(tested, items, score)} for name, score in models],
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="recommendation.py")
    parser.add_argument("file", type=Path)
    parser.add_argument("--decay", type=float, default=0.85)
    parser.add_argument("--window", type=int, default=30)
    parser.add_argument("--lambda", type=float, default=100.0, dest="ridge")
    parser.add_argument("--min-events-per-item", type=int, default=5)
    given = parser.parse_args(arguments)
    try:
        events = without_rare_items(read_events(given.file), given.min_events_per_item)
        result = report(events, given.decay, given.window, given.ridge)
    except (OSError, ValueError, TypeError, UnreadableInput) as problem:
        print(f"recommendation.py: cannot read the input: {type(problem).__name__}: {problem}", file=sys.stderr)
        return 2
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
