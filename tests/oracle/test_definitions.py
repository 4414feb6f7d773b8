"""Tests of definitions.py: the example in which the definitions disagree, the published scores, and what each
definition counts, figures worked out by hand; and views in which one thing is wrong."""

import csv

import duckdb
import pytest

import definitions
import recompute
from lake import DIMENSIONS
from lake_builder import bronze, lake_in_memory, session

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


# Views, compared with what the definitions make of bronze.

EVENTS = [
    (0, "play_requested"),
    (2, "first_frame"),
    (22, "rebuffer_start"),
    (27, "rebuffer_end"),
    (47, "seek_start"),
    (50, "seek_end"),
    (60, "pause"),
    (70, "resume"),
    (80, "session_end", {"detail": "ended"}),
]

# What it adds to each minute. A cube without the country has it without any dimension.
MINUTES = [
    {
        **dict.fromkeys("attempts startups first_pictures starts ended_plays rebuffer_count seek_count".split(), 1),
        **dict.fromkeys("startup_ms first_picture_ms startup_waiting_ms".split(), 2000),
        **{"playing_ms": 50_000, "rebuffer_ms": 5000, "seek_waiting_ms": 3000},
    },
    {"playing_ms": 10_000},
]
WITHOUT_COUNTRY = ("player", "delivery")


@pytest.fixture(scope="module")
def worked_lake():
    """The worked example in bronze, with what is recomputed of it."""
    # Whether a session is over is for the watermark to say.
    connection = lake_in_memory({"events": bronze(EVENTS, country="DE"), "session_revisions": [session()]})
    recompute.recompute_sessions(connection)
    recompute.recompute_minutes(connection)
    return connection


@pytest.fixture
def compare(worked_lake, tmp_path):
    """Compares views, of which some are given and the others right."""

    def compare_with(**views):
        right = {view: [view_row(view)] for view in definitions.DEFINITIONS}
        right |= {f"{view}_minutes": minute_rows(view) for view in definitions.DEFINITIONS}
        for view, rows in {**right, **views}.items():
            with (tmp_path / f"{view}.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, rows[0] if rows else right[view][0])
                writer.writeheader()
                writer.writerows(rows)
        return definitions.compare(worked_lake, tmp_path)

    return compare_with


def as_text(columns):
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in columns.items()}


def view_row(view, **columns):
    """What the view by session says of the worked example, or should not."""
    said = definitions.DEFINITIONS[view](WORKED_EXAMPLE)
    of_one = {name: value for name, value in definitions.ratios(view, said).items() if value is not None}
    row = dict.fromkeys(["session_id", "player_instance", "started_at", *DIMENSIONS])
    row |= {"session_id": "s", "started_at": "2024-01-01T00:00:00Z", "country": "DE", "outcome": "played"}
    return as_text({**row, "is_final": True, "autoplay": False, **said, **of_one, **columns})


def minute_rows(view, **columns):
    """What the view by minute says of it, for each cube; the cubes in order, the minutes of a cube one after the other."""
    rows = []
    for cube_name in definitions.CUBES:
        for index, minute in enumerate(MINUTES):
            said = {
                name: sum(minute.get(measure, 0) for measure in measures.split())
                for name, measures in definitions.MEASURES[view].items()
            }
            whole = dict.fromkeys(definitions.ONLY_OF_SESSIONS[view], 0)
            figures_of = definitions.ratios(view, {**whole, **said})
            of_it = {name: figures_of[name] for name, parts in definitions.RATIOS[view].items() if parts[1] not in whole}
            row = {"minute": f"2024-01-01T00:0{index}:00Z", "cube_name": cube_name, **dict.fromkeys(DIMENSIONS)}
            row["country"] = None if cube_name in WITHOUT_COUNTRY else "DE"
            rows.append({**row, **said, **of_it, **columns})
    return rows


def test_right_rows_pass(compare):
    rows = {view: 1 for view in definitions.DEFINITIONS} | {f"{view}_minutes": 14 for view in definitions.DEFINITIONS}
    assert compare() == (rows, [])


@pytest.mark.parametrize(
    ("view", "columns"),
    [
        ("qoe_cta_2066", {"watched_ms": 60_000, "stall_ms": 5000, "initial_startups": 1}),
        ("qoe_mux", {"views": 1, "watch_ms": 60_000, "seek_latency_ms": 3000}),
        ("qoe_conviva", {"attempts": 1, "rebuffering_ms": 8000, "play_and_rebuffering_ms": 58_000}),
        ("qoe_marquee", {"attempts": 1, "rebuffer_ms": 5000, "playing_or_rebuffering_ms": 55_000}),
    ],
)
def test_the_first_minute(view, columns):
    first = minute_rows(view)[0]
    assert {name: first[name] for name in columns} == columns


def test_a_score_may_differ_by_what_floating_point_rounds(compare):
    score = definitions.mux(WORKED_EXAMPLE)["smoothness_score"]
    assert compare(qoe_mux=[view_row("qoe_mux", smoothness_score=score * (1 + 1e-12), startup_score=80)])[1] == []
    assert len(compare(qoe_mux=[view_row("qoe_mux", smoothness_score=score * (1 + 1e-8))])[1]) == 1


@pytest.mark.parametrize(
    ("column", "expected", "actual"),
    [
        ("watched_ms", 70_000, "80000"),
        ("watched_ms", 70_000, None),
        ("stalled_ratio", 5 / 70, "0.07"),
        ("something_new", "no such column", "1"),
        ("country", "DE", "FR"),
        ("isp", None, "an isp"),
        ("outcome", "played", "unknown"),
        ("is_final", True, "false"),
        ("avg_bitrate_kbps", None, "1.0"),
    ],
)
def test_a_wrong_column_is_named(compare, column, expected, actual):
    (wrong,) = compare(qoe_cta_2066=[view_row("qoe_cta_2066", **{column: actual})])[1]
    assert (wrong["view"], wrong["session_id"]) == ("qoe_cta_2066", "s")
    assert wrong["columns"] == {column: {"expected": expected, "actual": actual}}


def test_a_column_that_is_lacking_is_named(compare):
    row = view_row("qoe_cta_2066")
    del row["stall_ms"]
    (wrong,) = compare(qoe_cta_2066=[row])[1]
    assert wrong["columns"]["stall_ms"]["actual"] == "no such column"


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([], "missing"),
        ([view_row("qoe_mux"), view_row("qoe_mux")], "more than one row"),
        ([view_row("qoe_mux"), view_row("qoe_mux", session_id="other")], "no session"),
    ],
)
def test_missing_and_extra_rows_are_found(compare, rows, problem):
    assert [mismatch["problem"] for mismatch in compare(qoe_mux=rows)[1]] == [problem]


def test_a_wrong_cell_is_named(compare):
    rows = minute_rows("qoe_marquee")
    # The sums over the cube are right: a stall is in another country.
    rows.append({**rows[4], **dict.fromkeys(definitions.MEASURES["qoe_marquee"], 0), "country": "FR", "rebuffer_count": 1})
    rows[4] = {**rows[4], "rebuffer_count": 0}
    wrong = compare(qoe_marquee_minutes=rows)[1]
    assert [(cell["cube_name"], cell["minute"], cell["dimensions"][0]["value"]) for cell in wrong] == [
        ("network", "2024-01-01T00:00", "DE"),
        ("network", "2024-01-01T00:00", "FR"),
    ]
    assert wrong[0]["columns"] == {"rebuffer_count": {"expected": 1, "actual": 0}}


def test_a_cube_with_other_sums_is_named(compare):
    rows = minute_rows("qoe_marquee")
    wrong = compare(qoe_marquee_minutes=[*rows[:4], {**rows[4], "quick_exits": 1}, *rows[5:]])[1]
    in_all = {"quick_exits": {"expected": 0, "actual": 1}}
    assert [mismatch["columns"] for mismatch in wrong] == [in_all, {"quick_exits": {"expected": 0, "actual": "1"}}]
    assert {mismatch["cube_name"] for mismatch in wrong} == {"network"}


def test_a_cell_of_zeros_may_be_there_or_not(compare):
    zeros = dict.fromkeys(definitions.MEASURES["qoe_mux"], 0)
    nothing = dict.fromkeys(definitions.RATIOS["qoe_mux"])
    rows = minute_rows("qoe_mux")
    assert compare(qoe_mux_minutes=[*rows, {**rows[0], "country": "FR", **zeros, **nothing}])[1] == []


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        (minute_rows("qoe_mux")[2:], {"audience"}),
        ([*minute_rows("qoe_mux"), minute_rows("qoe_mux")[0]], {"audience"}),
        (minute_rows("qoe_mux", rebuffer_ratio=0.1), {*definitions.CUBES}),
        (minute_rows("qoe_mux", rebuffer_ratio=None), {*definitions.CUBES}),
        ([*minute_rows("qoe_mux"), {**minute_rows("qoe_mux")[0], "cube_name": "moon", "views": 9}], {"moon"}),
    ],
    ids=["a cube is missing", "a row twice", "a ratio", "no ratio", "a cube too many"],
)
def test_minutes_that_are_wrong_are_found(compare, rows, wrong):
    assert {mismatch["cube_name"] for mismatch in compare(qoe_mux_minutes=rows)[1]} == wrong


def test_columns_of_minutes_that_nobody_knows_are_named(compare):
    rows = [{**row, "views_of_a_moon": 0} for row in minute_rows("qoe_mux")]
    for row in rows:
        del row["views"]
    assert compare(qoe_mux_minutes=rows)[1] == [
        {"view": "qoe_mux_minutes", "lacking": ["views"], "unknown": ["views_of_a_moon"]}
    ]


def test_a_view_that_nobody_knows_is_named(compare, tmp_path):
    (tmp_path / "qoe_moon.csv").write_text("views\n1\n")
    assert compare()[1] == [{"view": "qoe_moon", "problem": "no definition"}]


def test_what_cannot_be_read_is_said(compare, worked_lake, tmp_path):
    compare()
    (tmp_path / "qoe_mux.csv").unlink()
    with pytest.raises(duckdb.IOException):
        definitions.compare(worked_lake, tmp_path)
