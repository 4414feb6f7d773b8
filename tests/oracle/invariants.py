"""What must hold of the lake's tables among each other. Each query counts violations; all tables are those of lake.py
and of the SQL next to it."""

INVARIANTS: dict[str, str] = {
    "bronze_keys_distinct": """
        SELECT count(*) - count(DISTINCT (topic, "partition", "offset", "index")) FROM events
    """,
    "dead_letter_keys_distinct": """
        SELECT count(*) - count(DISTINCT (topic, "partition", "offset", "index")) FROM dead_letters
    """,
    "no_event_is_also_a_dead_letter": """
        SELECT count(*)
        FROM events
        JOIN dead_letters USING (topic, "partition", "offset")
        WHERE dead_letters."index" IN (events."index", -1)
    """,
    "late_events_are_in_bronze": """
        SELECT count(*)
        FROM late_events AS late
        LEFT JOIN events USING (topic, "partition", "offset", "index")
        WHERE (events.session_id, events.player_instance, events.sequence, events.event_time)
            IS DISTINCT FROM (late.session_id, late.player_instance, late.sequence, late.event_time)
    """,
    "late_marks_are_the_late_events": """
        SELECT count(*)
        FROM (SELECT topic, "partition", "offset", "index" FROM events WHERE is_late) AS marked
        FULL JOIN late_events USING (topic, "partition", "offset", "index")
        WHERE marked."offset" IS NULL OR late_events."offset" IS NULL
    """,
    "recomputed_events_are_late_events": """
        SELECT count(*)
        FROM recomputed_events AS folded
        LEFT JOIN late_events AS late USING (topic, "partition", "offset", "index")
        WHERE (late.session_id, late.player_instance, late.sequence, late.event_time)
            IS DISTINCT FROM (folded.session_id, folded.player_instance, folded.sequence, folded.event_time)
    """,
    "recomputed_event_keys_distinct": """
        SELECT count(*) - count(DISTINCT (topic, "partition", "offset", "index")) FROM recomputed_events
    """,
    "late_event_keys_distinct": """
        SELECT count(*) - count(DISTINCT (topic, "partition", "offset", "index")) FROM late_events
    """,
    "a_session_is_in_one_partition_of_a_generation": """
        SELECT count(*)
        FROM (
            SELECT topic, session_id, player_instance, generation
            FROM events JOIN partitions USING ("partition")
            GROUP BY ALL
            HAVING count(DISTINCT "partition") > 1
        )
    """,
    "a_session_goes_from_parent_to_heir": """
        SELECT count(*)
        FROM (
            SELECT DISTINCT topic, session_id, player_instance, "partition", generation, number
            FROM events JOIN partitions USING ("partition")
        ) AS heir
        JOIN (
            SELECT DISTINCT topic, session_id, player_instance, generation, number, partition_count
            FROM events JOIN partitions USING ("partition")
        ) AS ancestor USING (topic, session_id, player_instance)
        WHERE ancestor.generation < heir.generation AND heir.number % ancestor.partition_count <> ancestor.number
    """,
    "revision_keys_distinct": """
        SELECT count(*) - count(DISTINCT (session_id, player_instance, revision)) FROM session_revisions
    """,
    "every_event_is_counted_or_late": """
        SELECT abs(
            (SELECT count(*) FROM (SELECT DISTINCT topic, session_id, player_instance, sequence FROM events))
            - (SELECT coalesce(sum(event_count), 0) FROM latest_sessions)
            - (
                SELECT count(*)
                FROM (SELECT DISTINCT topic, session_id, player_instance, sequence FROM uncounted_events)
                ANTI JOIN timely_events USING (topic, session_id, player_instance, sequence)
            )
        )
    """,
    "copies_are_counted": """
        SELECT count(*)
        FROM recomputed_sessions AS expected
        JOIN latest_sessions AS actual USING (topic, session_id, player_instance)
        WHERE expected.duplicates + expected.conflicts <> actual.duplicates + actual.conflicts
    """,
    "epoch_keys_distinct": """
        SELECT count(*) - count(DISTINCT (topic, "partition", epoch)) FROM epochs
    """,
    "epoch_records_reach_next_offset": """
        SELECT count(*)
        FROM (
            SELECT
                next_offset,
                coalesce(parent_end, 0)
                    + sum(records) OVER (PARTITION BY topic, "partition" ORDER BY epoch) AS records_so_far
            FROM epochs
            JOIN partitions USING ("partition")
            LEFT JOIN (
                SELECT topic, "partition" AS parent, max(next_offset) AS parent_end FROM epochs GROUP BY ALL
            ) USING (topic, parent)
        )
        WHERE records_so_far <> next_offset
    """,
    "epoch_events_are_the_bronze_rows": """
        SELECT count(*)
        FROM (SELECT topic, "partition", sum(events) AS counted FROM epochs GROUP BY ALL)
        FULL JOIN (
            SELECT topic, "partition", count(*) AS present
            FROM (
                SELECT topic, "partition" FROM events
                UNION ALL
                SELECT topic, "partition" FROM interaction_events
            )
            GROUP BY ALL
        )
            USING (topic, "partition")
        WHERE coalesce(counted, 0) <> coalesce(present, 0)
    """,
    "epoch_dead_letters_are_the_dead_letters": """
        SELECT count(*)
        FROM (SELECT topic, "partition", sum(dead_letters) AS counted FROM epochs GROUP BY ALL)
        FULL JOIN (SELECT topic, "partition", sum(event_count) AS present FROM dead_letters GROUP BY ALL)
            USING (topic, "partition")
        WHERE coalesce(counted, 0) <> coalesce(present, 0)
    """,
    "offsets_are_below_next_offset": """
        SELECT count(*)
        FROM (
            SELECT topic, "partition", "offset" FROM events
            UNION ALL
            SELECT topic, "partition", "offset" FROM dead_letters
        )
        LEFT JOIN (SELECT topic, "partition", max(next_offset) AS next_offset FROM epochs GROUP BY ALL)
            USING (topic, "partition")
        WHERE "offset" >= coalesce(next_offset, 0)
    """,
    "partition_values_are_the_dates": """
        SELECT
            (SELECT count(*) FROM events WHERE partition_value IS DISTINCT FROM strftime(received_at, '%Y-%m-%d'))
            + (
                SELECT count(*) FROM dead_letters
                WHERE partition_value IS DISTINCT FROM strftime(received_at, '%Y-%m-%d')
            )
            + (
                SELECT count(*)
                FROM late_events AS late
                JOIN events USING (topic, "partition", "offset", "index")
                WHERE late.partition_value IS DISTINCT FROM events.partition_value
            )
            + (
                SELECT count(*) FROM recomputed_events
                WHERE partition_value IS DISTINCT FROM strftime(event_time, '%Y-%m-%d')
            )
            + (
                SELECT count(*) FROM session_revisions
                WHERE partition_value IS DISTINCT FROM strftime(started_at, '%Y-%m-%d')
            )
            + (SELECT count(*) FROM qoe_minutes WHERE partition_value IS DISTINCT FROM strftime("minute", '%Y-%m-%d'))
    """,
    "minute_cells_equal_the_recomputation": "SELECT count(*) FROM minute_mismatches",
    "minutes_of_each_cube_equal_the_sessions": "SELECT count(*) FROM total_mismatches",
    # Nearest rank, for each combination of values of a cube: a bucket ends at γ^n ms and is γ = 1 % wide.
    "startup_percentiles_are_one_percent_above_at_most": """
        WITH shares AS (FROM (VALUES (0.5), (0.95), (0.99)) AS shares (share)),
        of_sessions AS (
            SELECT topic, cube_name, dimensions, share, startups[CAST(ceil(share * len(startups)) AS BIGINT)] AS startup_ms
            FROM (
                SELECT topic, cube_name, dimensions, list_sort(list(greatest(1, startup_ms))) AS startups
                FROM session_dimensions
                JOIN recomputed_sessions USING (session, topic)
                WHERE startup_ms IS NOT NULL
                GROUP BY ALL
            )
            CROSS JOIN shares
        ),
        buckets AS (
            SELECT
                topic, cube_name, dimensions,
                1.01::DOUBLE ** CAST(replace(measure, 'startup_bucket_', '') AS INTEGER) AS up_to_ms, sum(value) AS startups
            FROM written_minutes
            JOIN cells USING (cell)
            WHERE starts_with(measure, 'startup_bucket_')
            GROUP BY ALL
        ),
        ranks AS (
            SELECT
                *, sum(startups) OVER (same ORDER BY up_to_ms) AS rank, sum(startups) OVER same AS startups_of_all
            FROM buckets
            WINDOW same AS (PARTITION BY topic, cube_name, dimensions)
        ),
        of_minutes AS (
            SELECT topic, cube_name, dimensions, share, min(up_to_ms) FILTER (rank >= share * startups_of_all) AS startup_ms
            FROM ranks
            CROSS JOIN shares
            GROUP BY ALL
            HAVING max(startups_of_all) > 0
        )
        SELECT count(*)
        FROM of_sessions AS expected
        FULL JOIN of_minutes AS actual USING (topic, cube_name, dimensions, share)
        WHERE (actual.startup_ms / expected.startup_ms BETWEEN 1 - 1e-9 AND 1.01 + 1e-9) IS NOT TRUE
    """,
}

LOG_EVENTS = """
    SELECT
        (SELECT count(*) FROM events)
        + (SELECT count(*) FROM interaction_events)
        + (SELECT coalesce(sum(event_count), 0) FROM dead_letters)
"""

# Worth knowing, wrong only together with a failed invariant.
NOTES: dict[str, str] = {
    "epochs_skipped": """
        SELECT coalesce(sum(skipped), 0)
        FROM (SELECT max(epoch) - count(DISTINCT epoch) AS skipped FROM epochs GROUP BY topic, "partition")
    """,
    "revisions_skipped": """
        SELECT coalesce(sum(skipped), 0)
        FROM (
            SELECT max(revision) - count(DISTINCT revision) AS skipped
            FROM session_revisions
            GROUP BY topic, session_id, player_instance
        )
    """,
    "sessions_that_split_copies_otherwise": """
        SELECT count(*)
        FROM recomputed_sessions AS expected
        JOIN latest_sessions AS actual USING (topic, session_id, player_instance)
        WHERE expected.duplicates <> actual.duplicates
            AND expected.duplicates + expected.conflicts = actual.duplicates + actual.conflicts
    """,
}
