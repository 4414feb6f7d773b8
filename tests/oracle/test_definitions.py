"""Tests of definitions.py: the example in which the definitions disagree, the published scores, and what each
definition counts; figures worked out by hand."""

import json

import pytest

import definitions
from lake_builder import TOPIC, epoch, session, write_lake

# Startup 2 s, 60 s played, a stall of 5 s, 3 s of waiting after a seek, a pause of 10 s.
WORKED_EXAMPLE = session(
    **dict.fromkeys("startup_ms first_picture_ms startup_waiting_ms".split(), 2000),
    playing_ms=60_000,
    rebuffer_ms=5000,
    seek_waiting_ms=3000,
    paused_ms=10_000,
    rebuffer_count=1,
    seek_count=1,
    end_reason="ended",
)

TECHNICAL = {"error_fatal": True, "error_business": False}
BUSINESS = {"error_fatal": True, "error_business": True}


def figures(definition, *rows):
    return definitions.figures(definition, list(rows))


@pytest.mark.parametrize(
    ("definition", "figure", "value", "percent"),
    [
        ("cta_2066", "stalled_share", 5 / 70, 7.1),
        ("mux", "rebuffer_share", 5 / 70, 7.1),
        ("marquee", "rebuffer_share", 5 / 70, 7.1),
        ("conviva", "connection_rebuffer_share", 5 / 68, 7.4),
        ("conviva", "rebuffer_share", 8 / 68, 11.8),
    ],
)
def test_the_definitions_disagree_about_the_worked_example(definition, figure, value, percent):
    found = figures(definition, WORKED_EXAMPLE)[figure]
    assert (found, round(100 * found, 1)) == (pytest.approx(value, rel=1e-12), percent)


def test_a_figure_of_many_sessions_is_a_ratio_of_sums():
    long = session(playing_ms=930_000, startup_waiting_ms=0)
    # 5 s of 70 s and none of 930 s; the mean of the ratios would be 3.6 %.
    assert figures("cta_2066", WORKED_EXAMPLE, long)["stalled_share"] == 5 / 1000


@pytest.mark.parametrize("definition", definitions.DEFINITIONS)
def test_of_nothing_nothing_is_known(definition):
    nothing = session(outcome="unknown")
    assert set(figures(definition, nothing).values()) == {None}
    assert set(figures(definition).values()) == {None}


# The background, ads and pauses.


def test_the_background_is_watched_but_not_in_marquees_own_figures():
    row = session(
        **{"startup_waiting_ms": 1000, "playing_ms": 10_000, "rebuffer_ms": 1000, "seek_waiting_ms": 500},
        **{"background_ms": 99_000, "background_startup_waiting_ms": 2000, "background_playing_ms": 20_000},
        **{"background_rebuffer_ms": 3000, "background_seek_waiting_ms": 4000, "ad_ms": 7000, "ad_rebuffer_ms": 700},
        **{"paused_ms": 70, "rebuffer_count": 1, "background_rebuffer_count": 2, "ad_rebuffer_count": 40},
    )

    def found(definition, columns):
        said = definitions.DEFINITIONS[definition](row)
        return [said[column] for column in columns.split()]

    assert found("cta_2066", "stall_ms stall_count watched_ms initial_startup_ms") == [4000, 3, 41_500, 3000]
    assert found("mux", "rebuffer_ms rebuffer_count watch_ms seek_latency_ms") == [4000, 3, 41_500, 4500]
    assert found("conviva", "connection_rebuffer_ms rebuffer_ms playing_and_rebuffer_ms") == [4000, 8500, 38_500]
    assert found("marquee", "rebuffer_ms rebuffer_count watched_ms") == [1000, 1, 12_500]


# Outcomes. The columns that are 1; all others of the counts are 0.

COUNTS = {
    "cta_2066": "sessions playback_failed startups",
    "mux": "views exits_before_start start_failures playback_failures business_exceptions dropped_views",
    "conviva": "attempts plays ended_plays exits_before_start start_failures_technical start_failures_business"
    " playback_failures_technical playback_failures_business",
    "marquee": "attempts starts exits_before_start quick_exits start_failures playback_failures",
}


@pytest.mark.parametrize(
    ("columns", "counted"),
    [
        (
            {"outcome": "played", "end_reason": "ended"},
            {
                "cta_2066": "sessions startups",
                "mux": "views",
                "conviva": "attempts plays ended_plays",
                "marquee": "attempts starts",
            },
        ),
        (
            {"outcome": "played", "end_reason": "ended", "autoplay": True},
            {"cta_2066": "", "mux": "views", "conviva": "attempts plays ended_plays", "marquee": "attempts starts"},
        ),
        (
            {"outcome": "played", "is_final": False},
            {
                "cta_2066": "sessions startups",
                "mux": "views",
                "conviva": "attempts plays",
                "marquee": "attempts starts",
            },
        ),
        (
            {"outcome": "played"},
            {
                "cta_2066": "sessions startups",
                "mux": "views dropped_views",
                "conviva": "attempts plays ended_plays",
                "marquee": "attempts starts",
            },
        ),
        (
            {"outcome": "exit_before_start", "end_reason": "quit", "exit_after_ms": 999},
            {
                "cta_2066": "sessions",
                "mux": "views exits_before_start",
                "conviva": "attempts exits_before_start",
                "marquee": "attempts exits_before_start quick_exits",
            },
        ),
        (
            {"outcome": "exit_before_start", "end_reason": "quit", "exit_after_ms": 1000},
            {
                "cta_2066": "sessions",
                "mux": "views exits_before_start",
                "conviva": "attempts exits_before_start",
                "marquee": "attempts exits_before_start",
            },
        ),
        (
            {"outcome": "start_failure", **TECHNICAL},
            {
                "cta_2066": "sessions playback_failed",
                "mux": "views start_failures playback_failures",
                "conviva": "attempts start_failures_technical",
                "marquee": "attempts start_failures",
            },
        ),
        (
            {"outcome": "start_failure", **BUSINESS},
            {
                "cta_2066": "sessions playback_failed",
                "mux": "views business_exceptions",
                "conviva": "attempts start_failures_business",
                "marquee": "attempts",
            },
        ),
        (
            {"outcome": "playback_failure", **TECHNICAL},
            {
                "cta_2066": "sessions playback_failed startups",
                "mux": "views playback_failures",
                "conviva": "attempts plays ended_plays playback_failures_technical",
                "marquee": "attempts starts playback_failures",
            },
        ),
        (
            {"outcome": "playback_failure", **BUSINESS},
            {
                "cta_2066": "sessions playback_failed startups",
                "mux": "views business_exceptions",
                "conviva": "attempts plays ended_plays playback_failures_business",
                "marquee": "attempts starts",
            },
        ),
        (
            {"outcome": "pending", "is_final": False},
            {"cta_2066": "sessions", "mux": "views", "conviva": "attempts", "marquee": "attempts"},
        ),
        ({"outcome": "unknown", **TECHNICAL}, {"cta_2066": "", "mux": "", "conviva": "", "marquee": ""}),
    ],
)
def test_what_an_outcome_counts(columns, counted):
    row = session(**columns)
    for definition, names in COUNTS.items():
        found = definitions.DEFINITIONS[definition](row)
        assert [name for name in names.split() if found[name]] == counted[definition].split(), definition


def test_startups():
    # A pre-roll ad came after 1.5 s; the content, which a pause interrupted, took 3 s of waiting.
    row = session(startup_waiting_ms=3000, first_picture_ms=1500)
    cta, mux = definitions.cta_2066(row), definitions.mux(row)
    assert (cta["initial_startup_ms"], cta["startups"]) == (3000, 1)
    assert (mux["video_startup_ms"], mux["content_startup_ms"]) == (1500, None)
    assert definitions.conviva(row)["video_startup_ms"] is None
    waiting = session(startup_waiting_ms=9000, outcome="exit_before_start")
    assert figures("cta_2066", row, waiting)["initial_startup_ms"] == 3000
    assert definitions.cta_2066(waiting)["watched_ms"] == 9000


# Mux's scores.


@pytest.mark.parametrize(
    ("startup_ms", "score"), [(0, 100), (2000, 80), (8000, 50), (400, 800 / 8.4), (None, None)]
)
def test_startup_score(startup_ms, score):
    assert definitions.startup_score(startup_ms) == (score if score is None else pytest.approx(score))


@pytest.mark.parametrize(
    ("count", "rebuffer_ms", "watch_ms", "score"),
    [
        (0, 0, 60_000, 100),
        (0, 0, 0, 100),
        # 100 ÷ √2 = 70.7107 and 100 ÷ e = 36.7879
        (2, 10_000, 100_000, 53.7493),
        # 100 ÷ √1.25 = 89.4427 and 100·e^(−10·5/70) = 48.9542
        (1, 5000, 70_000, 69.1984),
    ],
)
def test_smoothness_score(count, rebuffer_ms, watch_ms, score):
    assert definitions.smoothness_score(count, rebuffer_ms, watch_ms) == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize(
    ("max_per_mille", "per_mille_ms", "media_ms", "score"),
    [
        (0, 0, 10_000, 100),
        # Twice the size throughout: 100·e^(−0.33).
        (1000, 10_000_000, 10_000, 71.8924),
        # At most twice, 0.2 on average: 100·e^(−0.33·(0.15 + 0.17)) = 100·e^(−0.1056).
        (1000, 2_000_000, 10_000, 89.9784),
        (0, 0, 0, None),
    ],
)
def test_video_quality_score(max_per_mille, per_mille_ms, media_ms, score):
    found = definitions.video_quality_score(max_per_mille, per_mille_ms, media_ms)
    assert found == (score if score is None else pytest.approx(score, abs=1e-4))


@pytest.mark.parametrize(
    ("outcome", "is_business", "exit_after_ms", "score"),
    [
        ("played", False, None, 100),
        ("exit_before_start", False, 1000, 50),
        ("exit_before_start", False, None, 50),
        ("exit_before_start", False, 999, None),
        ("start_failure", False, None, 0),
        ("playback_failure", False, None, 0),
        ("start_failure", True, None, None),
        ("playback_failure", True, None, None),
        ("pending", False, None, None),
        ("unknown", False, None, None),
    ],
)
def test_playback_success_score(outcome, is_business, exit_after_ms, score):
    assert definitions.playback_success_score(outcome, is_business, exit_after_ms) == score


def test_a_view_has_its_scores():
    row = definitions.mux(WORKED_EXAMPLE)
    assert row["startup_score"] == 80
    assert row["smoothness_score"] == pytest.approx(69.1984, abs=1e-4)
    assert (row["video_quality_score"], row["playback_success_score"]) == (None, 100)
    assert definitions.mux(session(outcome="exit_before_start"))["smoothness_score"] is None


# The command line.


@pytest.fixture
def run(tmp_path, capsys):
    """Compares a view's rows with a lake of two revisions of one session; gives the exit code and the report."""
    open_row = {**WORKED_EXAMPLE, "is_final": False, "rebuffer_ms": 1}
    lake_dir = tmp_path / "lake"
    write_lake(
        lake_dir, {"session_revisions": [open_row, {**WORKED_EXAMPLE, "revision": 2}], "epochs": [epoch(1, 1, 1, 1)]}
    )

    def run_on(definition, rows):
        rows_json = tmp_path / "rows.json"
        rows_json.write_text(json.dumps(rows))
        code = definitions.main([str(lake_dir), definition, str(rows_json)])
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if printed.out else printed.err

    return run_on


def view_row(definition, **columns):
    key = {"topic": TOPIC, "session_id": "s", "player_instance": None}
    return {**key, **definitions.DEFINITIONS[definition](WORKED_EXAMPLE), "more": 1, **columns}


@pytest.mark.parametrize("definition", definitions.DEFINITIONS)
def test_right_rows_pass(run, definition):
    assert run(definition, [view_row(definition)]) == (0, {"sessions": 1, "mismatches": 0, "first": []})


def test_a_score_may_differ_by_what_floating_point_rounds(run):
    score = definitions.mux(WORKED_EXAMPLE)["smoothness_score"]
    assert run("mux", [view_row("mux", smoothness_score=score * (1 + 1e-12), startup_score=80)])[0] == 0
    assert run("mux", [view_row("mux", smoothness_score=score * (1 + 1e-8))])[0] == 1


def test_a_wrong_column_is_named(run):
    code, report = run("cta_2066", [view_row("cta_2066", watched_ms=80_000)])
    assert (code, report["first"][0]["columns"]) == (1, {"watched_ms": {"expected": 70_000, "actual": 80_000}})


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([], "missing"),
        ([view_row("mux"), view_row("mux")], "more than one row"),
        ([view_row("mux"), view_row("mux", session_id="other")], "no session"),
    ],
)
def test_missing_and_extra_rows_are_found(run, rows, problem):
    code, report = run("mux", rows)
    assert (code, [mismatch["problem"] for mismatch in report["first"]]) == (1, [problem])


def test_what_cannot_be_read_is_said(run, tmp_path):
    code, said = run("mux", [{"session_id": "s"}])
    assert (code, "topic" in said) == (2, True)
    assert definitions.main([str(tmp_path / "nowhere"), "mux", str(tmp_path / "rows.json")]) == 2
