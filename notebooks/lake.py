"""Open the lake, reproduce a quality-of-experience number and a recommendation metric, plot both.

A marimo notebook: `.venv/bin/marimo edit notebooks/lake.py -- --home marquee-data`, or run it as a script. It reads the
tables by their path, so nothing of Marquee has to run; stop `marquee demo` first if figures must stand still. It asserts
that what it computes itself equals what Marquee says, and fails otherwise.
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
    from deltalake import DeltaTable

    return DeltaTable, Path, alt, duckdb, json, mo, np


@app.cell
def _(Path, mo):
    home = Path(mo.cli_args().get("home") or "marquee-data")
    mo.md(f"# The lake in `{home}`")
    return (home,)


@app.cell
def _(DeltaTable, duckdb, home):
    def open_table(name: str) -> None:
        """Makes the current version of a table known to DuckDB; partition columns stay in the log."""
        files = DeltaTable(home / "lake" / name).file_uris()
        assert files, f"table {name} is empty: run an import or the demo first"
        paths = [file.removeprefix("file://") for file in files]
        database.execute(
            f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM read_parquet({paths!r}, union_by_name = true,"
            " hive_partitioning = false)"
        )

    database = duckdb.connect()
    for table in ["session_revisions", "qoe_minutes", "interactions"]:
        open_table(table)
    # The view `sessions` of Marquee's own SQL, once more: the latest revision of each session.
    database.execute(
        """
        CREATE OR REPLACE VIEW sessions AS
        SELECT * FROM session_revisions
        QUALIFY row_number() OVER (PARTITION BY topic, session_id, player_instance ORDER BY revision DESC) = 1
        """
    )
    return (database,)


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
    from_sessions = database.execute("SELECT sum(rebuffer_ms), sum(playing_ms) FROM sessions").fetchone()
    from_minutes = database.execute(
        "SELECT sum(rebuffer_ms), sum(playing_ms) FROM qoe_minutes WHERE cube_name = 'audience'"
    ).fetchone()
    assert from_sessions == from_minutes, f"sessions say {from_sessions}, minutes say {from_minutes}"
    rebuffering_ratio = from_sessions[0] / (from_sessions[0] + from_sessions[1])
    return (rebuffering_ratio,)


@app.cell
def _(alt, database, mo, rebuffering_ratio):
    startup = database.execute(
        """
        SELECT coalesce(device_type, 'unknown') AS device, startup_ms / 1000 AS startup_s
        FROM sessions WHERE startup_ms IS NOT NULL
        """
    ).pl()
    startup_chart = (
        alt.Chart(startup)
        .mark_bar()
        .encode(
            alt.X("startup_s:Q").bin(maxbins=30).title("startup (s)"),
            alt.Y("count()").title("sessions"),
            alt.Color("device:N"),
        )
        .properties(title=f"Startup by device; rebuffering ratio {rebuffering_ratio:.2%}", width=560)
    )
    mo.ui.altair_chart(startup_chart)
    return


@app.cell
def _(mo):
    mo.md(r"""
    ## Popularity under leave-one-out, twice

    Each profile's last title is hidden; the ten most watched titles that the profile has not seen are shown. The
    figures of the model in service come from `models/`; here the same is computed from `interactions` in a few lines.
    """)
    return


@app.cell
def _(database, np):
    MIN_WATCHED_FRACTION, MIN_EVENTS_PER_ITEM, CUTOFF = 0.1, 5, 10

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
    for history in tested:
        scores = popularity.astype(float)
        scores[history[:-1]] = -np.inf
        rank = int(np.flatnonzero(np.argsort(-scores, kind="stable") == history[-1])[0])
        gains.append(1 / np.log2(rank + 2) if rank < CUTOFF else 0.0)
    ndcg = float(np.mean(gains))
    return (ndcg,)


@app.cell
def _(home, json, ndcg):
    version = (home / "models" / "CURRENT").read_text().strip()
    entry = json.loads((home / "models" / version / "model.json").read_text())
    report = next(report for report in entry["reports"] if report["protocol"] == "leave-one-out")
    measured = {result["model"]: result["ndcg@10"] for result in report["results"]}
    difference = abs(measured["popular-all-time"] - ndcg)
    assert difference < 1e-9, f"the registry says {measured['popular-all-time']}, this notebook {ndcg}"
    return measured, version


@app.cell
def _(alt, measured, mo, version):
    models_chart = (
        alt.Chart(alt.Data(values=[{"model": model, "ndcg": value} for model, value in measured.items()]))
        .mark_bar()
        .encode(alt.X("ndcg:Q").title("NDCG@10, leave-one-out"), alt.Y("model:N").sort("-x").title(None))
        .properties(title=f"Model {version} beside its baselines", width=560)
    )
    mo.ui.altair_chart(models_chart)
    return


if __name__ == "__main__":
    app.run()
