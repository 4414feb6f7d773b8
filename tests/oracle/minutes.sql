-- Table `qoe_minutes` worked out again from the recomputed sessions and intervals (fold.sql), cell by cell:
-- `minute_mismatches` has one row for each (topic, cube_name, minute, dimensions, measure) whose sums differ.
-- A startup bucket is a measure `startup_bucket_N` here.

-- Durations, split over the minutes in which they happened.
CREATE TEMP TABLE duration_parts AS
SELECT
    session, minute, state || '_ms' AS measure,
    least(to_ms, (minute + 1) * 60000) - greatest(from_ms, minute * 60000) AS value
FROM (
    SELECT *, unnest(generate_series(minute_of(from_ms), minute_of(to_ms - 1))) AS minute
    FROM recomputed_intervals
    WHERE NOT is_silent
);

-- Slots of 5 s that begin in a playing or rebuffering interval, until 30 s of silence or 5 min of one stall.
CREATE TEMP TABLE concurrency_slots AS
SELECT
    session, minute_of(slot_ms) AS minute,
    'concurrent_' || lpad(CAST((slot_ms - minute_of(slot_ms) * 60000) // 1000 AS VARCHAR), 2, '0') AS measure,
    1 AS value
FROM (
    SELECT
        session,
        unnest(generate_series(from_ms + (5000 - (from_ms % 5000 + 5000) % 5000) % 5000, until_ms - 1, 5000)) AS slot_ms
    FROM (
        SELECT
            session, from_ms,
            CASE state
                WHEN 'playing' THEN least(to_ms, from_ms + 30000)
                ELSE least(to_ms, from_ms + 30000, stall_ms + 300000)
            END AS until_ms
        FROM recomputed_intervals
        WHERE NOT is_silent AND state IN ('playing', 'rebuffer')
    )
);

CREATE TEMP TABLE session_minutes AS
WITH at_request AS (
    SELECT *, minute_of(request_ms) AS minute FROM recomputed_sessions WHERE request_ms IS NOT NULL
)
SELECT session, minute, measure, value FROM duration_parts
UNION ALL
SELECT session, minute, measure, value FROM concurrency_slots
UNION ALL
SELECT session, minute_of(from_ms), 'media_ms', advance_ms FROM recomputed_intervals
UNION ALL
SELECT session, minute_of(from_ms), 'bitrate_media_ms', advance_ms FROM recomputed_intervals WHERE bitrate_bps > 0
UNION ALL
SELECT session, minute_of(from_ms), 'bitrate_bit_ms', CAST(advance_ms AS HUGEINT) * bitrate_bps
FROM recomputed_intervals
UNION ALL
SELECT session, minute_of(time_ms), 'rebuffer_count', 1 FROM stalls
UNION ALL
SELECT session, minute_of(time_ms), 'rendition_switch_count', 1 FROM rendition_switches
UNION ALL
SELECT session, minute_of(time_ms), 'seek_count', 1 FROM folded_events WHERE effect = 'seek_start'
UNION ALL
SELECT session, minute, 'attempts', 1 FROM at_request
UNION ALL
SELECT session, minute, 'starts', 1 FROM at_request WHERE is_start
UNION ALL
SELECT session, minute, 'startups', 1 FROM at_request WHERE startup_ms IS NOT NULL
UNION ALL
SELECT session, minute, 'startup_ms', startup_ms FROM at_request WHERE startup_ms IS NOT NULL
UNION ALL
SELECT
    session, minute,
    'startup_bucket_' || CAST(ceil(ln(greatest(1, least(startup_ms, 86400000))) / ln(1.01::DOUBLE)) AS INTEGER),
    1
FROM at_request
WHERE startup_ms IS NOT NULL
UNION ALL
SELECT session, minute, 'exits_before_start', 1 FROM at_request WHERE outcome = 'exit_before_start'
UNION ALL
SELECT session, minute, if(error_business, 'start_failures_business', 'start_failures'), 1
FROM at_request
WHERE outcome = 'start_failure'
UNION ALL
SELECT session, minute_of(error_ms), if(error_business, 'playback_failures_business', 'playback_failures'), 1
FROM at_request
WHERE outcome = 'playback_failure';

-- The dimensions of both cubes, of sessions and of rows as written; NULL and the empty text are both the unknown value.
CREATE TEMP TABLE session_dimensions AS
SELECT
    session, topic, 'audience' AS cube_name, coalesce(country, '') AS country, coalesce(device_type, '') AS device_type,
    coalesce(cdn, '') AS cdn, coalesce(protocol, '') AS protocol, coalesce(app_version, '') AS app_version,
    '' AS title_id
FROM recomputed_sessions
UNION ALL
SELECT session, topic, 'title', coalesce(country, ''), coalesce(device_type, ''), '', '', '', coalesce(title_id, '')
FROM recomputed_sessions;

CREATE TEMP TABLE written_rows AS
SELECT
    * EXCLUDE ("partition", epoch, partition_value)
    REPLACE (
        minute_of(epoch_ms("minute")) AS "minute",
        coalesce(country, '') AS country, coalesce(device_type, '') AS device_type, coalesce(cdn, '') AS cdn,
        coalesce(protocol, '') AS protocol, coalesce(app_version, '') AS app_version,
        coalesce(title_id, '') AS title_id
    )
FROM qoe_minutes;

CREATE TEMP TABLE cells AS
SELECT row_number() OVER () AS cell, *
FROM (
    SELECT * EXCLUDE (session) FROM session_dimensions
    UNION
    SELECT topic, cube_name, country, device_type, cdn, protocol, app_version, title_id FROM written_rows
);

CREATE TEMP TABLE recomputed_minutes AS
SELECT cell, minute, measure, sum(value) AS value
FROM session_minutes
JOIN (
    SELECT session, cell
    FROM session_dimensions
    JOIN cells USING (topic, cube_name, country, device_type, cdn, protocol, app_version, title_id)
) USING (session)
GROUP BY ALL;

CREATE TEMP TABLE written_minutes AS
WITH cell_rows AS (
    SELECT cell, written_rows.* EXCLUDE (topic, cube_name, country, device_type, cdn, protocol, app_version, title_id)
    FROM written_rows
    JOIN cells USING (topic, cube_name, country, device_type, cdn, protocol, app_version, title_id)
),
bucket_places AS (
    SELECT cell, "minute", startup_buckets, unnest(generate_series(1, len(startup_buckets), 2)) AS place
    FROM cell_rows
)
SELECT cell, "minute", measure, value
FROM (
    UNPIVOT (SELECT * EXCLUDE (startup_buckets) FROM cell_rows)
    ON COLUMNS(* EXCLUDE (cell, "minute"))
    INTO NAME measure VALUE value
)
WHERE value <> 0
UNION ALL
SELECT cell, "minute", 'startup_bucket_' || startup_buckets[place], startup_buckets[place + 1]
FROM bucket_places;

CREATE TEMP TABLE minute_mismatches AS
SELECT
    * EXCLUDE (cell)
    REPLACE (strftime(make_timestamp("minute" * 60000000), '%Y-%m-%dT%H:%M') AS "minute")
FROM (
    SELECT
        cell, "minute", measure,
        CAST(sum(recomputed) AS BIGINT) AS expected, CAST(sum(written) AS BIGINT) AS actual
    FROM (
        SELECT cell, "minute", measure, value AS recomputed, 0 AS written FROM recomputed_minutes
        UNION ALL
        SELECT cell, "minute", measure, 0, value FROM written_minutes
    )
    GROUP BY ALL
    HAVING expected <> actual
)
JOIN cells USING (cell)
ORDER BY topic, cube_name, "minute", measure;

-- The sums over the minutes must also be the sums over the session rows as written, without any recomputation.
-- `starts` is not among them: a session row does not say whether the play request came before the first frame.
CREATE TEMP TABLE total_mismatches AS
WITH session_totals AS (
    SELECT
        topic,
        count(*) FILTER (outcome <> 'unknown') AS attempts,
        count(startup_ms) AS startups,
        sum(startup_ms) AS startup_ms,
        count(startup_ms) AS startup_buckets,
        count(*) FILTER (outcome = 'start_failure' AND NOT error_business) AS start_failures,
        count(*) FILTER (outcome = 'start_failure' AND error_business) AS start_failures_business,
        count(*) FILTER (outcome = 'exit_before_start' AND is_final) AS exits_before_start,
        count(*) FILTER (outcome = 'playback_failure' AND NOT error_business) AS playback_failures,
        count(*) FILTER (outcome = 'playback_failure' AND error_business) AS playback_failures_business,
        sum(startup_waiting_ms) AS startup_waiting_ms,
        sum(playing_ms) AS playing_ms,
        sum(rebuffer_ms) AS rebuffer_ms,
        sum(seek_waiting_ms) AS seek_waiting_ms,
        sum(paused_ms) AS paused_ms,
        sum(ad_ms) AS ad_ms,
        sum(background_ms) AS background_ms,
        sum(rebuffer_count) AS rebuffer_count,
        sum(seek_count) AS seek_count,
        sum(rendition_switch_count) AS rendition_switch_count,
        sum(media_ms) AS media_ms,
        sum(bitrate_media_ms) AS bitrate_media_ms,
        sum(bitrate_bit_ms) AS bitrate_bit_ms
    FROM latest_sessions
    GROUP BY topic
),
by_sessions AS (
    UNPIVOT session_totals ON COLUMNS(* EXCLUDE (topic)) INTO NAME measure VALUE value
),
by_minutes AS (
    SELECT topic, cube_name, if(starts_with(measure, 'startup_bucket_'), 'startup_buckets', measure) AS measure, value
    FROM written_minutes
    JOIN cells USING (cell)
)
SELECT topic, cube_name, measure, CAST(sum(by_session) AS BIGINT) AS expected, CAST(sum(by_minute) AS BIGINT) AS actual
FROM (
    SELECT topic, cube_name, measure, value AS by_session, 0 AS by_minute
    FROM by_sessions
    CROSS JOIN (VALUES ('audience'), ('title')) AS cubes (cube_name)
    UNION ALL
    SELECT topic, cube_name, measure, 0, value
    FROM by_minutes
    WHERE measure IN (SELECT measure FROM by_sessions)
)
GROUP BY ALL
HAVING expected <> actual
ORDER BY ALL;
