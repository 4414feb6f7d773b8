"""The tables of interactions and features as the features oracle reads them, and what must hold among them."""

_SHARD = {"topic": "VARCHAR", "partition": "INTEGER"}
_INTERACTION = {
    **_SHARD,
    "sequence": "BIGINT",
    "profile_id": "VARCHAR",
    "interaction_id": "VARCHAR",
    "title_id": "VARCHAR",
    "event_time": "TIMESTAMPTZ",
    "available_at": "TIMESTAMPTZ",
}
_AS_OF = {**_SHARD, "epoch": "BIGINT", "title_id": "VARCHAR", "as_of": "TIMESTAMPTZ"}

# Table to the columns that are loaded, with their types.
COLUMNS: dict[str, dict[str, str]] = {
    "interaction_events": {
        **_SHARD,
        "offset": "BIGINT",
        "index": "INTEGER",
        "profile_id": "VARCHAR",
        "interaction_id": "VARCHAR",
        "is_duplicate": "BOOLEAN",
        "received_at": "TIMESTAMPTZ",
    },
    "dead_letters": {**_SHARD, "offset": "BIGINT", "event_count": "BIGINT", "received_at": "TIMESTAMPTZ"},
    "interactions": {
        **_INTERACTION,
        "type": "VARCHAR",
        "session_id": "VARCHAR",
        "watched_fraction": "DOUBLE",
        "rating_value": "DOUBLE",
    },
    "impressions": _INTERACTION,
    "profile_features": {
        **_SHARD,
        "sequence": "BIGINT",
        **dict.fromkeys("profile_id type title_id genres recent_titles session_titles touched_titles".split(), "VARCHAR"),
        **dict.fromkeys(
            "genre_affinities_millionths recent_titles_at_ms touched_first_at_ms touched_last_at_ms".split(),
            "BIGINT[]",
        ),
        "seen_titles": "BIGINT",
        "listed_titles": "BIGINT",
    },
    "title_features": {
        **_AS_OF,
        "available_at": "TIMESTAMPTZ",
        **dict.fromkeys("views views_decayed views_1h views_24h views_7d watched_sum".split(), "DOUBLE"),
        "watched_count": "BIGINT",
    },
    "co_watch": {**_AS_OF, "neighbour_id": "VARCHAR", "rank": "INTEGER", "count_decayed": "DOUBLE"},
    "epochs": {**_SHARD, "epoch": "BIGINT", "next_offset": "BIGINT"},
}

# Places of interactions in a record: `sequence` is offset × this + index.
PLACES = 1 << 14

_SILVER = """
    SELECT topic, "partition", sequence, profile_id, interaction_id FROM interactions
    UNION ALL
    SELECT topic, "partition", sequence, profile_id, interaction_id FROM impressions
"""

# Each query counts violations.
INVARIANTS: dict[str, str] = {
    "bronze_keys_distinct": """
        SELECT count(*) - count(DISTINCT (topic, "partition", "offset", "index")) FROM interaction_events
    """,
    "silver_keys_distinct": f"""
        SELECT count(*) - count(DISTINCT (topic, "partition", sequence)) FROM ({_SILVER})
    """,
    "silver_is_bronze_without_what_came_again": f"""
        SELECT count(*)
        FROM (
            SELECT topic, "partition", "offset" * {PLACES} + "index" AS sequence, profile_id
            FROM interaction_events
            WHERE NOT is_duplicate
        ) AS bronze
        FULL JOIN ({_SILVER}) AS silver USING (topic, "partition", sequence)
        WHERE bronze.profile_id IS DISTINCT FROM silver.profile_id
    """,
    "what_came_again_is_marked": """
        SELECT count(*)
        FROM (
            SELECT
                is_duplicate,
                coalesce(interaction_id, '') <> '' AND row_number() OVER (
                    PARTITION BY topic, profile_id, interaction_id ORDER BY "offset", "index"
                ) > 1 AS came_again,
                count(*) OVER (PARTITION BY topic, profile_id) AS sent
            FROM interaction_events
        )
        WHERE is_duplicate <> came_again AND sent <= 1024
    """,
    "a_profile_is_in_one_partition": """
        SELECT count(*)
        FROM (
            SELECT topic, profile_id FROM interaction_events GROUP BY ALL HAVING count(DISTINCT "partition") > 1
        )
    """,
}

LOG_EVENTS = """
    SELECT
        (SELECT count(*) FROM interaction_events)
        + (SELECT coalesce(sum(event_count), 0) FROM dead_letters WHERE topic LIKE 'interactions%')
"""
