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
        ("qoe_cta_2066", "stalled_ratio", 5 / 70, 7.1),
        ("qoe_mux", "rebuffer_ratio", 5 / 70, 7.1),
        ("qoe_conviva", "cirr", 5 / 68, 7.4),
        ("qoe_conviva", "rebuffering_ratio", 8 / 68, 11.8),
        ("qoe_marquee", "rebuffering_ratio", 5 / 65, 7.7),
    ],
)
def test_the_definitions_disagree_about_the_worked_example(definition, figure, value, percent):
    found = figures(definition, WORKED_EXAMPLE)[figure]
    assert (found, round(100 * found, 1)) == (pytest.approx(value, rel=1e-12), percent)


def test_a_figure_of_many_sessions_is_a_ratio_of_sums():
    long = session(playing_ms=930_000, startup_waiting_ms=0)
    # 5 s of 70 s and none of 930 s; the mean of the ratios would be 3.6 %.
    assert figures("qoe_cta_2066", WORKED_EXAMPLE, long)["stalled_ratio"] == 5 / 1000


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

    assert found("qoe_cta_2066", "stall_ms stall_count watched_ms") == [4000, 3, 41_500]
    assert found("qoe_mux", "rebuffer_ms rebuffer_count watch_ms seek_latency_ms") == [4000, 3, 41_500, 4500]
    conviva = "connection_induced_rebuffering_ms rebuffering_ms play_and_rebuffering_ms"
    assert found("qoe_conviva", conviva) == [4000, 8500, 38_500]
    assert found("qoe_marquee", "rebuffer_ms rebuffer_count playing_or_rebuffering_ms") == [1000, 1, 11_000]
    assert found("qoe_marquee", "ad_rebuffer_ms ad_or_rebuffering_ms") == [700, 7700]


# Outcomes. The columns that are 1; all others of the counts are 0.

COUNTS = {
    "qoe_cta_2066": "sessions failed_sessions initial_startups",
    "qoe_mux": "views started_views exits_before_start start_failures playback_failures business_exceptions dropped_views",
    "qoe_conviva": "attempts plays ended_plays ebvs vsf_technical vsf_business vpf_technical vpf_business spi_streams"
    " spi_good_streams",
    "qoe_marquee": "attempts starts exits_before_start quick_exits start_failures start_failures_business"
    " playback_failures playback_failures_business",
}

PLAYED = {
    "qoe_cta_2066": "sessions",
    "qoe_mux": "views started_views",
    "qoe_conviva": "attempts plays ended_plays spi_streams spi_good_streams",
    "qoe_marquee": "attempts starts",
}


@pytest.mark.parametrize(
    ("columns", "counted"),
    [
        ({"outcome": "played", "end_reason": "ended"}, PLAYED),
        ({"outcome": "played", "end_reason": "ended", "autoplay": True}, {**PLAYED, "qoe_cta_2066": ""}),
        ({"outcome": "played", "is_final": False}, {**PLAYED, "qoe_conviva": "attempts plays"}),
        ({"outcome": "played"}, {**PLAYED, "qoe_mux": "views started_views dropped_views"}),
        (
            {"outcome": "exit_before_start", "end_reason": "quit", "exit_after_ms": 999},
            {
                "qoe_cta_2066": "sessions",
                "qoe_mux": "views exits_before_start",
                "qoe_conviva": "attempts ebvs",
                "qoe_marquee": "attempts exits_before_start quick_exits",
            },
        ),
        (
            {"outcome": "exit_before_start", "end_reason": "quit", "exit_after_ms": 1000},
            {
                "qoe_cta_2066": "sessions",
                "qoe_mux": "views exits_before_start",
                "qoe_conviva": "attempts ebvs",
                "qoe_marquee": "attempts exits_before_start",
            },
        ),
        (
            {"outcome": "start_failure", **TECHNICAL},
            {
                "qoe_cta_2066": "sessions failed_sessions",
                "qoe_mux": "views start_failures playback_failures",
                "qoe_conviva": "attempts vsf_technical spi_streams",
                "qoe_marquee": "attempts start_failures",
            },
        ),
        (
            {"outcome": "start_failure", **BUSINESS},
            {
                "qoe_cta_2066": "sessions failed_sessions",
                "qoe_mux": "views business_exceptions",
                "qoe_conviva": "attempts vsf_business",
                "qoe_marquee": "attempts start_failures_business",
            },
        ),
        (
            {"outcome": "playback_failure", **TECHNICAL},
            {
                "qoe_cta_2066": "sessions failed_sessions",
                "qoe_mux": "views started_views playback_failures",
                "qoe_conviva": "attempts plays ended_plays vpf_technical spi_streams",
                "qoe_marquee": "attempts starts playback_failures",
            },
        ),
        (
            {"outcome": "playback_failure", **BUSINESS},
            {
                "qoe_cta_2066": "sessions failed_sessions",
                "qoe_mux": "views started_views business_exceptions",
                "qoe_conviva": "attempts plays ended_plays vpf_business",
                "qoe_marquee": "attempts starts playback_failures_business",
            },
        ),
        # No rate knows anything yet of what is pending, and nobody asked for what is unknown.
        ({"outcome": "pending", "is_final": False}, dict.fromkeys(COUNTS, "")),
        ({"outcome": "unknown", "is_final": False, **TECHNICAL}, dict.fromkeys(COUNTS, "")),
    ],
)
def test_what_an_outcome_counts(columns, counted):
    row = session(**columns)
    for definition, names in COUNTS.items():
        found = definitions.DEFINITIONS[definition](row)
        assert [name for name in names.split() if found[name]] == counted[definition].split(), definition


def test_startups():
    # A pre-roll ad came after 1.5 s; a pause interrupted the content's startup.
    row = session(startup_waiting_ms=3000, first_picture_ms=1500)
    mux = definitions.mux(row)
    assert (mux["video_startups"], mux["video_startup_ms"]) == (1, 1500)
    assert (mux["content_startups"], mux["content_startup_ms"]) == (0, None)
    for definition, column in [("qoe_cta_2066", "initial_startups"), ("qoe_conviva", "timed_starts")]:
        assert definitions.DEFINITIONS[definition](row)[column] == 0
    two = [session(startup_ms=1000), session(startup_ms=4000), row]
    assert figures("qoe_cta_2066", *two)["avg_initial_startup_ms"] == 2500
    assert figures("qoe_mux", *two)["avg_video_startup_ms"] == 1500
    assert figures("qoe_marquee", *two)["avg_startup_ms"] == 2500


# SPI: each threshold from both sides.

GOOD = {"playing_ms": 99_000, "startup_ms": 5000, "bitrate_media_ms": 1000, "bitrate_bit_ms": 1_000_000_000}


@pytest.mark.parametrize(
    ("columns", "is_stream", "is_good"),
    [
        ({}, True, True),
        ({"startup_ms": 5001}, True, False),
        ({"startup_ms": None}, True, True),
        ({"rebuffer_ms": 1000}, True, True),
        ({"rebuffer_ms": 1001}, True, False),
        ({"rebuffer_ms": 500, "background_rebuffer_ms": 501}, True, False),
        # Waiting after a seek is part of the time, but is not connection-induced.
        ({"seek_waiting_ms": 100_000}, True, True),
        ({"bitrate_bit_ms": 999_999_999}, True, False),
        ({"bitrate_media_ms": 0, "bitrate_bit_ms": 0}, True, True),
        ({"outcome": "playback_failure", **TECHNICAL}, True, False),
        ({"outcome": "playback_failure", **BUSINESS}, False, False),
        # An error that is not fatal ends nothing, whatever its kind.
        ({"error_fatal": False, "error_business": True}, True, True),
        ({"is_final": False}, False, False),
        ({"outcome": "exit_before_start", "exit_after_ms": 4999}, False, False),
        ({"outcome": "exit_before_start", "exit_after_ms": 5000}, True, False),
        ({"outcome": "exit_before_start"}, True, False),
        ({"outcome": "unknown"}, False, False),
    ],
)
def test_spi(columns, is_stream, is_good):
    found = definitions.conviva(session(**{**GOOD, **columns}))
    assert (found["spi_streams"], found["spi_good_streams"]) == (is_stream, is_good)


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
def test_success_score(outcome, is_business, exit_after_ms, score):
    assert definitions.success_score(outcome, is_business, exit_after_ms) == score


def test_a_view_has_its_scores():
    row = definitions.mux(WORKED_EXAMPLE)
    assert row["startup_score"] == 80
    assert row["smoothness_score"] == pytest.approx(69.1984, abs=1e-4)
    assert (row["video_quality_score"], row["success_score"]) == (None, 100)
    assert definitions.mux(session(max_upscale_per_mille=1500))["max_upscale"] == 1.5
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

    def run_on(view, rows):
        rows_json = tmp_path / "rows.json"
        rows_json.write_text(json.dumps(rows))
        code = definitions.main([str(lake_dir), view, str(rows_json)])
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if printed.out else printed.err

    return run_on


def view_row(view, **columns):
    """What the view by session says of the worked example, or should not."""
    said = definitions.DEFINITIONS[view](WORKED_EXAMPLE)
    key = {"session_id": "s", "player_instance": None, "country": "DE", "is_final": True}
    return {**key, **said, **definitions.ratios(view, said), **columns}


def minute_rows(view, **columns):
    """What the view by minute says of it when everything came in one minute, for each cube."""
    said = definitions.sums(view, [definitions.DEFINITIONS[view](WORKED_EXAMPLE)])
    key = {"minute": "2024-01-01T00:00:00", "country": "DE"}
    row = {**key, **said, **definitions.ratios_of_minutes(view, said)}
    return [{**row, "cube_name": cube_name, **columns} for cube_name in definitions.CUBES]


@pytest.mark.parametrize("view", definitions.DEFINITIONS)
def test_right_rows_pass(run, view):
    assert run(view, [view_row(view)]) == (0, {"rows": 1, "mismatches": 0, "first": []})
    assert run(f"{view}_minutes", minute_rows(view)) == (0, {"rows": 7, "mismatches": 0, "first": []})


def test_a_score_may_differ_by_what_floating_point_rounds(run):
    score = definitions.mux(WORKED_EXAMPLE)["smoothness_score"]
    assert run("qoe_mux", [view_row("qoe_mux", smoothness_score=score * (1 + 1e-12), startup_score=80)])[0] == 0
    assert run("qoe_mux", [view_row("qoe_mux", smoothness_score=score * (1 + 1e-8))])[0] == 1


@pytest.mark.parametrize(
    ("column", "expected", "actual"),
    [
        ("watched_ms", 70_000, 80_000),
        ("stalled_ratio", 5 / 70, 5 / 71),
        ("something_new", "no such column", 1),
    ],
)
def test_a_wrong_column_is_named(run, column, expected, actual):
    code, report = run("qoe_cta_2066", [view_row("qoe_cta_2066", **{column: actual})])
    assert (code, report["first"][0]["columns"]) == (1, {column: {"expected": expected, "actual": actual}})


def test_a_column_that_is_lacking_is_named(run):
    row = view_row("qoe_cta_2066")
    del row["stall_ms"]
    code, report = run("qoe_cta_2066", [row])
    assert (code, report["first"][0]["columns"]["stall_ms"]["actual"]) == (1, "no such column")


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([], "missing"),
        ([view_row("qoe_mux"), view_row("qoe_mux")], "more than one row"),
        ([view_row("qoe_mux"), view_row("qoe_mux", session_id="other")], "no session"),
    ],
)
def test_missing_and_extra_rows_are_found(run, rows, problem):
    code, report = run("qoe_mux", rows)
    assert (code, [mismatch["problem"] for mismatch in report["first"]]) == (1, [problem])


def test_a_cube_with_other_sums_is_named(run):
    rows = minute_rows("qoe_marquee")
    code, report = run("qoe_marquee_minutes", [*rows, {**rows[2], "rebuffer_count": 1, "rebuffer_ms": 0}])
    (wrong,) = [mismatch for mismatch in report["first"] if "rebuffer_count" in mismatch["columns"]]
    assert (code, wrong["cube_name"]) == (1, "network")
    assert wrong["columns"]["rebuffer_count"] == {"expected": 1, "actual": 2}


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        (minute_rows("qoe_mux")[1:], {"audience"}),
        (minute_rows("qoe_mux", rebuffer_ratio=0.1), {*definitions.CUBES}),
        (minute_rows("qoe_mux", views_of_a_moon=0), {*definitions.CUBES}),
        ([*minute_rows("qoe_mux"), {**minute_rows("qoe_mux")[0], "cube_name": "moon", "views": 9}], {"moon"}),
    ],
    ids=["a cube is missing", "a ratio", "a column", "a cube too many"],
)
def test_minutes_that_are_wrong_are_found(run, rows, wrong, monkeypatch):
    monkeypatch.setattr(definitions, "SHOWN", 10)
    code, report = run("qoe_mux_minutes", rows)
    assert (code, {mismatch["cube_name"] for mismatch in report["first"]}) == (1, wrong)


def test_what_cannot_be_read_is_said(run, tmp_path):
    code, said = run("qoe_mux_minutes", [{"session_id": "s"}])
    assert (code, "cube_name" in said) == (2, True)
    assert definitions.main([str(tmp_path / "nowhere"), "qoe_mux", str(tmp_path / "rows.json")]) == 2
