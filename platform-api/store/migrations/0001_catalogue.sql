-- Titles and profiles. A migration that has been released is never changed: sqlx compares checksums when it opens.

CREATE TABLE titles (
    title_id    TEXT    NOT NULL PRIMARY KEY,
    name        TEXT    NOT NULL,
    year        INTEGER,
    -- Lists of strings, in order.
    genres      TEXT    NOT NULL CHECK (json_valid(genres)),
    tags        TEXT    NOT NULL CHECK (json_valid(tags)),
    -- The youngest age in years.
    maturity    INTEGER NOT NULL CHECK (maturity IN (0, 7, 12, 16, 18)),
    -- A list of countries; NULL is everywhere.
    regions     TEXT    CHECK (regions IS NULL OR json_valid(regions)),
    duration_ms INTEGER,
    added_at_ms INTEGER NOT NULL
) STRICT;

-- One row, which grows in the transaction that changes a title.
CREATE TABLE titles_version (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    version  INTEGER NOT NULL CHECK (version >= 0)
) STRICT;

INSERT INTO titles_version (only_row, version) VALUES (1, 0);

CREATE TABLE profiles (
    profile_id   TEXT    NOT NULL PRIMARY KEY,
    display_name TEXT    NOT NULL,
    max_maturity INTEGER NOT NULL CHECK (max_maturity IN (0, 7, 12, 16, 18)),
    -- Empty when unknown.
    country      TEXT    NOT NULL,
    -- Id and name in lower case, made by the program: SQLite's lower() knows ASCII only.
    search_text  TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
