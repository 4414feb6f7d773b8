"""Open the lake, reproduce two quality-of-experience figures and a recommendation metric, plot them.

A marimo notebook: `.venv/bin/marimo edit notebooks/lake.py -- --home marquee-data`, or run it as a script with the same
arguments. It reads the tables by their path, so nothing of Marquee has to run; let `marquee demo` end first, because
sessions that still play have minutes and no row yet. It asserts that what it computes itself equals what Marquee says,
and fails otherwise.
"""

import marimo

app = marimo.App(width="medium", app_title="Marquee: the lake")


@app.cell
def _():
    import json
    from pathlib import Path

    import altair as alt
    import duckdb
    import marimo as mo
    import numpy as np
    import polars as pl
    from deltalake import DeltaTable

    return DeltaTable, Path, alt, duckdb, json, mo, np, pl


@app.cell
def _(Path, mo):
    home = Path(mo.cli_args().get("home") or "marquee-data")
    assert (home / "lake").is_dir(), f"there is no lake in {home}: run the demo or an import first, or give --home DIR"
    mo.md(f"# The lake in `{home}`")
    return (home,)


@app.cell
def _(DeltaTable, duckdb, home):
    def open_table(name: str, version: int | None = None) -> None:
        """Makes a version of a table, by default its newest, known to DuckDB; partition columns stay in the log."""
        files = DeltaTable(home / "lake" / name, version=version).file_uris()
        assert files, f"table {name} is empty: run the demo or an import first"
        paths = [file.removeprefix("file://") for file in files]
        database.execute(
            f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM read_parquet({paths!r}, union_by_name = true,"
            " hive_partitioning = false)"
        )

    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    for table in ["events", "session_revisions", "qoe_minutes"]:
        open_table(table)
    # The view `sessions` of Marquee's own SQL, once more: the latest revision of each session.
    database.execute(
        """
        CREATE OR REPLACE VIEW sessions AS
        SELECT * FROM session_revisions
        QUALIFY row_number() OVER (PARTITION BY session_id, player_instance ORDER BY epoch DESC, revision DESC) = 1
        """
    )
    return database, open_table


@app.cell
def _(mo):
    mo.md(r"""
    ## Startup, from raw events

    A session's startup is the time from its play request to its first frame. Bronze has every event as it came, some
    of them twice or out of order: what counts is the order of the player's own sequence, and what came first. Silver
    has one row a session. Both must say the same of every session that started without interruption.
    """)
    return


@app.cell
def _(database):
    # DuckDB takes no other query while one has rows left, so every result is fetched whole.
    ((started, differing),) = database.execute(
        """
        WITH raw AS (
            SELECT
                session_id, player_instance,
                arg_min(event_time, place) FILTER (type = 'play_requested') AS requested,
                arg_min(event_time, place) FILTER (type = 'first_frame') AS shown
            FROM (SELECT *, (sequence, event_id, "offset", "index") AS place FROM events) GROUP BY ALL
        )
        SELECT count(*), count(*) FILTER (date_diff('millisecond', requested, shown) IS DISTINCT FROM startup_ms)
        FROM sessions LEFT JOIN raw USING (session_id, player_instance)
        WHERE startup_ms IS NOT NULL
        """
    ).fetchall()
    assert started > 0, "no session has started yet: run the demo or an import first"
    assert differing == 0, f"{differing} of {started} sessions have another startup in their raw events"
    return (started,)


@app.cell
def _(mo):
    mo.md(r"""
    ## Rebuffering ratio, twice

    From silver, session by session: Σ rebuffering ÷ (Σ playing + Σ rebuffering). From gold, the sum of all signed
    minute deltas. A late event corrects both, so they must be equal to the millisecond.
    """)
    return


@app.cell
def _(database):
    (from_sessions,) = database.execute("SELECT sum(rebuffer_ms), sum(playing_ms) FROM sessions").fetchall()
    (from_minutes,) = database.execute(
        "SELECT sum(rebuffer_ms), sum(playing_ms) FROM qoe_minutes WHERE cube_name = 'audience'"
    ).fetchall()
    assert from_sessions == from_minutes, f"sessions say {from_sessions}, minutes say {from_minutes}"
    rebuffering_ratio = from_sessions[0] / (from_sessions[0] + from_sessions[1])
    return (rebuffering_ratio,)


@app.cell
def _(alt, database, mo, pl, rebuffering_ratio, started):
    # A hundred points a line, however many sessions there are.
    startup = pl.DataFrame(
        database.sql(
            """
            SELECT
                coalesce(device_type, 'unknown') AS device,
                unnest(range(101)) / 100.0 AS share,
                unnest(quantile_disc(startup_ms, [percent / 100.0 FOR percent IN range(101)])) / 1000.0 AS startup_s
            FROM sessions WHERE startup_ms IS NOT NULL
            GROUP BY device
            """
        )
    )
    by_device = pl.DataFrame(
        database.sql(
            """
            SELECT
                coalesce(device_type, 'unknown') AS device, count(*) AS sessions,
                sum(rebuffer_ms)::DOUBLE / nullif(sum(rebuffer_ms) + sum(playing_ms), 0) AS ratio
            FROM sessions GROUP BY device
            """
        )
    )
    color = alt.Color("device:N").title("device")
    startup_chart = (
        alt.Chart(startup)
        .mark_line(interpolate="step-before")
        .encode(
            alt.X("startup_s:Q").title("startup (s)"),
            alt.Y("share:Q").title("share of sessions that have started").axis(format="%"),
            color,
        )
        .properties(title=f"Startup of {started} sessions", width=340, height=220)
    )
    ratio_bars = (
        alt.Chart(by_device)
        .mark_bar()
        .encode(
            alt.X("ratio:Q").title("rebuffering ÷ (playing + rebuffering)").axis(format=".1%"),
            alt.Y("device:N").sort("-x").title(None),
            color,
            [alt.Tooltip("device:N"), alt.Tooltip("sessions:Q"), alt.Tooltip("ratio:Q", format=".3%")],
        )
    )
    of_all = pl.DataFrame({"ratio": [rebuffering_ratio]})
    all_devices = alt.Chart(of_all).mark_rule(strokeDash=[4, 4]).encode(x="ratio:Q")
    ratio_chart = (ratio_bars + all_devices).properties(
        title=f"Rebuffering; the line is all devices, {rebuffering_ratio:.2%}", width=340, height=220
    )
    qoe_chart = startup_chart | ratio_chart
    mo.ui.altair_chart(qoe_chart)
    return (qoe_chart,)


@app.cell
def _(mo):
    mo.md(r"""
    ## Popularity under leave-one-out, twice

    Each profile's last title is hidden; the ten most watched titles that the profile has not seen are shown. The
    figures of the model in service come from `models/`; here the same is computed in a few lines from `interactions`,
    at the version of the table that the model was trained on.
    """)
    return


@app.cell
def _(home, json):
    current = home / "models" / "CURRENT"
    assert current.exists(), f"no model is in service in {home}: run `marquee train --publish` first"
    version = current.read_text().strip()
    entry = json.loads((home / "models" / version / "model.json").read_text())
    report = next((report for report in entry["reports"] if report["protocol"] == "leave-one-out"), {})
    assert "results" in report, f"model {version} was trained on too little to be measured: {report}"
    return entry, report, version


@app.cell
def _(database, entry, np, open_table):
    MIN_WATCHED_FRACTION, MIN_EVENTS_PER_ITEM, CUTOFF = 0.1, 5, 10

    open_table("interactions", entry["lineage"]["tables"]["interactions"])
    rows = database.execute(
        f"""
        SELECT profile_id, title_id FROM interactions
        WHERE type IN ('view_finished', 'rating') AND title_id IS NOT NULL
            AND coalesce(watched_fraction, 1) >= {MIN_WATCHED_FRACTION}
        ORDER BY profile_id, event_time, topic, "partition", sequence
        """
    ).fetchall()
    watched = list(dict.fromkeys(rows))  # a title counts where it came first
    events_of = {}
    for _, _title in watched:
        events_of[_title] = events_of.get(_title, 0) + 1
    kept = [(profile, title) for profile, title in watched if events_of[title] >= MIN_EVENTS_PER_ITEM]
    numbers = {}
    histories = {}
    for _profile, _title in kept:
        histories.setdefault(_profile, []).append(numbers.setdefault(_title, len(numbers)))

    tested = [history for history in histories.values() if len(history) >= 3]
    learnt = [history[:-2] if len(history) >= 3 else history for history in histories.values()]
    popularity = np.bincount([item for history in learnt for item in history], minlength=len(numbers))
    gains = []
    for _history in tested:
        _scores = popularity.astype(float)
        _scores[_history[:-1]] = -np.inf
        _rank = int(np.flatnonzero(np.argsort(-_scores, kind="stable") == _history[-1])[0])
        gains.append(1 / np.log2(_rank + 2) if _rank < CUTOFF else 0.0)
    ndcg = float(np.mean(gains))
    standard_error = float(np.std(gains, ddof=1) / np.sqrt(len(gains)))
    return gains, ndcg, standard_error


@app.cell
def _(gains, ndcg, report):
    assert report["cases"] == len(gains), f"the registry has {report['cases']} cases, this notebook {len(gains)}"
    measured = {result["model"]: result["ndcg@10"] for result in report["results"]}
    difference = abs(measured["popular-all-time"] - ndcg)
    assert difference < 1e-9, f"the registry says {measured['popular-all-time']}, this notebook {ndcg}"
    best_first = sorted(measured, key=measured.get, reverse=True)
    return (best_first,)


@app.cell
def _(alt, best_first, entry, gains, mo, ndcg, pl, standard_error, version):
    def model_bars(report: dict) -> alt.Chart:
        """NDCG@10 of each model under one protocol."""
        results = pl.DataFrame([{"model": result["model"], "ndcg": result["ndcg@10"]} for result in report["results"]])
        bars = alt.Chart(results).mark_bar().encode(alt.X("ndcg:Q").title("NDCG@10"), MODEL, NDCG_TOOLTIP)
        return bars.properties(title=f"{report['protocol']}, {report['cases']} cases", width=300)

    MODEL = alt.Y("model:N").sort(best_first).title(None)
    NDCG_TOOLTIP = [alt.Tooltip("model:N"), alt.Tooltip("ndcg:Q", format=".4f")]
    # Beside the bar that this notebook has reproduced: its own figure, and how far chance alone could move it.
    here = pl.DataFrame(
        {
            "model": ["popular-all-time"],
            "ndcg": [ndcg],
            "low": [max(ndcg - 1.96 * standard_error, 0.0)],
            "high": [ndcg + 1.96 * standard_error],
        }
    )
    interval = alt.Chart(here).mark_rule(color="black").encode(alt.X("low:Q"), alt.X2("high:Q"), MODEL)
    point = alt.Chart(here).mark_point(color="black", filled=True, size=60).encode(alt.X("ndcg:Q"), MODEL, NDCG_TOOLTIP)
    panels = [model_bars(report) for report in entry["reports"] if "results" in report]
    panels[0] = panels[0] + interval + point
    models_chart = alt.hconcat(*panels).properties(
        title=f"Model {version} beside its baselines; the point is this notebook's ({len(gains)} cases, 95 %)"
    )
    mo.ui.altair_chart(models_chart)
    return (models_chart,)


if __name__ == "__main__":
    app.run()
