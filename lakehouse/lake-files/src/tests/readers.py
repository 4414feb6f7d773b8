"""Reads each NAME.ours.parquet of a folder with DuckDB and polars and compares it with NAME.library.parquet."""

import sys
from pathlib import Path

import duckdb
import polars


def check(ours: Path, library: Path) -> None:
    ours_frame, library_frame = polars.read_parquet(ours), polars.read_parquet(library)
    assert ours_frame.equals(library_frame), "polars reads other rows"
    assert ours_frame.schema == library_frame.schema, "polars reads other types"

    def rows(query: str) -> list:
        return duckdb.sql(query).fetchall()

    for one, other in ((ours, library), (library, ours)):
        differing = rows(f"SELECT count(*) FROM (SELECT * FROM '{one}' EXCEPT ALL SELECT * FROM '{other}')")
        assert differing == [(0,)], f"DuckDB reads other rows: {differing}"
    assert rows(f"SELECT session_id, sequence FROM '{ours}'") == rows(f"SELECT session_id, sequence FROM '{library}'")

    # Filters go down to statistics, page index, dictionaries and Bloom filters.
    sessions = sorted(set(library_frame["session_id"]))
    sought = sessions[:: max(1, len(sessions) // 40)] + ["absent", sessions[0] + "x"]
    for session in sought:
        expected = library_frame.filter(polars.col("session_id") == session)
        found = rows(f"SELECT sequence, type, epoch_us(event_time) FROM '{ours}' WHERE session_id = '{session}' ORDER BY sequence")
        assert len(found) == len(expected), f"DuckDB finds {len(found)} rows of session {session}"
        lazily = polars.scan_parquet(ours).filter(polars.col("session_id") == session).collect()
        assert lazily.equals(expected), f"polars finds other rows of session {session}"
    for filter in ("sequence BETWEEN 5 AND 40", "detail = 'ended'", "asset_id IS NOT NULL", "width_px = 768"):
        query = "SELECT count(*), sum(sequence), max(epoch_us(received_at)) FROM '{}' WHERE " + filter
        assert rows(query.format(ours)) == rows(query.format(library)), f"DuckDB finds other rows: {filter}"


folder = Path(sys.argv[1])
names = sorted(path.name.removesuffix(".ours.parquet") for path in folder.glob("*.ours.parquet"))
for name in names:
    check(folder / f"{name}.ours.parquet", folder / f"{name}.library.parquet")
print(f"{len(names)} files are equal")
