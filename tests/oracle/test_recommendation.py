"""Tests of recommendation.py on histories whose figures are worked out by hand."""

import json

import numpy as np
import pytest

import recommendation


@pytest.fixture
def run(tmp_path, capsys):
    """Runs the command line on a file with these lines; returns the exit code and the report."""

    def run_on(lines, *arguments):
        file = tmp_path / "events.csv"
        file.write_text("\n".join(lines))
        code = recommendation.main([str(file), *arguments])
        out = capsys.readouterr().out
        return code, json.loads(out) if out else None

    return run_on


def test_popularity_by_hand(run):
    # Training: u → a b, v → b, w → b c. Popularity: b 3, a 1, c 1, d 0; ties in the file's order: a before c.
    lines = ["userId,movieId,rating,timestamp"]
    for user, history in {"u": "abcd", "v": "bad", "w": "bcad"}.items():
        lines += [f"{user},{item},5,{time}" for time, item in enumerate(history)]
    code, report = run(lines, "--min-events-per-item", "1")
    assert code == 0
    assert (report["users"], report["items"], report["events"], report["cases"]) == (3, 4, 11, 3)
    popular = report["results"][0]
    # Each is asked for d: u has only d left; v has c before d; w has only d left.
    assert popular["model"] == "popular-all-time"
    assert popular["hr@10"] == 1
    assert popular["ndcg@10"] == pytest.approx((1 + 1 / np.log2(3) + 1) / 3)
    assert popular["coverage@10"] == pytest.approx(2 / 4)


def test_a_tie_in_time_keeps_the_order_of_the_file(run):
    header = "profile_id,title_id,timestamp_ms"
    code, report = run([header, "u,d,9", "u,c,9", "u,a,1", "u,b,1"], "--min-events-per-item", "1")
    # The history is a b d c, so c is the test and the only item that is not in the context.
    assert code == 0
    assert report["results"][0]["ndcg@10"] == 1


def test_one_transition_by_hand():
    # X has one row, e_0: W[0, 1] = 1 / (1 + λ).
    weights = recommendation.transition_weights([[0, 1]], 2, 0.85, 30, 3.0)
    assert weights == pytest.approx(np.array([[0, 0.25], [0, 0]]))


def test_the_window_and_the_decay():
    assert recommendation.decayed([0, 1, 2, 1], 0.5, 3, 4).tolist() == [0, 1.25, 0.5, 0]


def test_rare_items_are_left_out():
    events = [("u", "a", 1), ("u", "rare", 2), ("v", "a", 3)]
    assert recommendation.without_rare_items(events, 2) == [events[0], events[2]]


@pytest.mark.parametrize(
    "lines",
    [["a,b,c", "1,2,3"], ["userId,movieId,timestamp", "1,2,soon"], ["userId,movieId,timestamp", "1,2,3"]],
    ids=["other columns", "a time that is no number", "nobody to test"],
)
def test_unreadable_input_is_exit_code_2(run, lines):
    assert run(lines, "--min-events-per-item", "1") == (2, None)
