-- Table `qoe_minutes` worked out again from the recomputed sessions and intervals (fold.sql, sessions.sql), cell by
-- cell: `minute_mismatches` has one row for each (topic, cube_name, minute, dimensions, measure) whose sums differ.
-- A startup bucket is a measure `startup_bucket_N` here.

-- The cubes: each is grouped by these dimensions and by no other.
CREATE TEMP TABLE cubes AS
FROM (
    VALUES
        ('audience', ['country', 'device_type', 'cdn', 'protocol', 'app_version']),
        ('title', ['series_id', 'title_id', 'country', 'device_type']),
        ('network', ['country', 'isp', 'asn', 'cdn', 'edge']),
        ('place', ['country', 'region', 'city']),
        ('player', ['device_type', 'os', 'player', 'player_version', 'app_version']),
        ('delivery', ['protocol', 'codec', 'drm', 'stream_type', 'cdn']),
        ('plan', ['plan', 'experiment_arm', 'country', 'device_type'])
) AS cubes (cube_name, names);

-- Durations, split over the minutes in which they happened.
CREATE TEMP TABLE duration_parts AS
SELECT
    session, minute, measure,
    least(to_ms, (minute + 1) * 60000) - greatest(from_ms, minute * 60000) AS value
FROM (
    SELECT *, unnest(generate_series(minute_of(from_ms), minute_of(to_ms - 1))) AS minute
    FROM recomputed_intervals
    WHERE NOT is_silent
)
JOIN duration_measures USING (state, background);

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
        WHERE NOT is_silent AND NOT background AND state IN ('playing', 'rebuffer')
    )
);

-- What each session adds in the minute of its play request.
CREATE TEMP TABLE request_minutes AS
SELECT session, minute_of(request_ms) AS minute, measure, value
FROM (
    SELECT
        session, request_ms,
        unnest([
            {'measure': 'attempts', 'value': 1},
            {
                'measure': 'resolved_autoplays',
                'value': CAST(autoplay AND outcome <> 'pending' AS BIGINT)
            },
            {'measure': 'startups', 'value': CAST(startup_ms IS NOT NULL AS BIGINT)},
            {'measure': 'startup_ms', 'value': coalesce(startup_ms, 0)},
            {'measure': 'first_pictures', 'value': CAST(first_picture_ms IS NOT NULL AS BIGINT)},
            {'measure': 'first_picture_ms', 'value': coalesce(first_picture_ms, 0)},
            {'measure': 'starts', 'value': CAST(outcome IN ('played', 'playback_failure') AS BIGINT)},
            {
                'measure': if(error_business, 'start_failures_business', 'start_failures'),
                'value': CAST(outcome = 'start_failure' AS BIGINT)
            },
            {'measure': 'exits_before_start', 'value': CAST(outcome = 'exit_before_start' AS BIGINT)},
            {'measure': 'quick_exits', 'value': CAST(coalesce(exit_after_ms < 1000, false) AS BIGINT)},
            {
                'measure': 'ended_plays',
                'value': CAST(is_final AND outcome IN ('played', 'playback_failure') AS BIGINT)
            },
            {
                'measure': 'startup_bucket_'
                    || CAST(ceil(ln(greatest(1, least(startup_ms, 86400000))) / ln(1.01::DOUBLE)) AS INTEGER),
                'value': CAST(startup_ms IS NOT NULL AS BIGINT)
            }
        ], recursive := true)
    FROM recomputed_sessions
    WHERE request_ms IS NOT NULL
)
WHERE value > 0;

-- Media time and what is weighted by it, in the minute in which the interval begins.
CREATE TEMP TABLE media_minutes AS
SELECT session, minute_of(from_ms) AS minute, measure, value
FROM (
    SELECT
        session, from_ms,
        unnest([
            {'measure': 'media_ms', 'value': CAST(advance_ms AS HUGEINT)},
            {'measure': 'bitrate_media_ms', 'value': if(bitrate_bps > 0, advance_ms, 0)},
            {'measure': 'bitrate_bit_ms', 'value': CAST(advance_ms AS HUGEINT) * bitrate_bps},
            {'measure': 'height_media_ms', 'value': if(height_px > 0, advance_ms, 0)},
            {'measure': 'height_px_ms', 'value': advance_ms * height_px},
            {'measure': 'upscale_media_ms', 'value': if(upscale_per_mille IS NULL, 0, advance_ms)},
            {'measure': 'upscale_per_mille_ms', 'value': advance_ms * coalesce(upscale_per_mille, 0)}
        ], recursive := true)
    FROM recomputed_intervals
    WHERE advance_ms > 0
)
WHERE value > 0;

CREATE TEMP TABLE session_minutes AS
SELECT session, minute, measure, value FROM duration_parts
UNION ALL
SELECT session, minute, measure, value FROM concurrency_slots
UNION ALL
SELECT session, minute, measure, value FROM request_minutes
UNION ALL
SELECT session, minute, measure, value FROM media_minutes
UNION ALL
SELECT session, minute_of(time_ms), measure, 1 FROM counted_stalls
UNION ALL
SELECT session, minute_of(time_ms), 'rendition_switch_count', 1 FROM rendition_switches
UNION ALL
SELECT session, minute_of(time_ms), 'seek_count', 1 FROM seeks
UNION ALL
SELECT session, minute_of(time_ms), 'error_count', 1 FROM states WHERE effect = 'error'
UNION ALL
SELECT session, minute_of(error_ms), if(error_business, 'playback_failures_business', 'playback_failures'), 1
FROM recomputed_sessions
WHERE outcome = 'playback_failure';

-- A row's known values among the dimensions of these names. NULL and the empty text are both the unknown value.
CREATE MACRO known_dimensions(context, names) AS list_filter(
    [
        {'name': 'country', 'value': context['country']},
        {'name': 'region', 'value': context['region']},
        {'name': 'city', 'value': context['city']},
        {'name': 'isp', 'value': context['isp']},
        {'name': 'asn', 'value': context['asn']},
        {'name': 'cdn', 'value': context['cdn']},
        {'name': 'edge', 'value': context['edge']},
        {'name': 'protocol', 'value': context['protocol']},
        {'name': 'stream_type', 'value': context['stream_type']},
        {'name': 'codec', 'value': context['codec']},
        {'name': 'drm', 'value': context['drm']},
        {'name': 'device_type', 'value': context['device_type']},
        {'name': 'os', 'value': context['os']},
        {'name': 'player', 'value': context['player']},
        {'name': 'player_version', 'value': context['player_version']},
        {'name': 'app_version', 'value': context['app_version']},
        {'name': 'plan', 'value': context['plan']},
        {'name': 'experiment_arm', 'value': context['experiment_arm']},
        {'name': 'series_id', 'value': context['series_id']},
        {'name': 'title_id', 'value': context['title_id']}
    ],
    lambda dimension: coalesce(dimension.value, '') <> '' AND (names IS NULL OR list_contains(names, dimension.name))
);

CREATE TEMP TABLE session_dimensions AS
SELECT session, topic, cube_name, known_dimensions(recomputed_sessions, names) AS dimensions
FROM recomputed_sessions
CROSS JOIN cubes;

-- All dimensions of a written row are taken, so that a value in a column that is not of its cube shows.
CREATE TEMP TABLE written_rows AS
SELECT
    * EXCLUDE (
        "partition", epoch, partition_value, country, region, city, isp, asn, cdn, edge, protocol, stream_type, codec,
        drm, device_type, os, player, player_version, app_version, plan, experiment_arm, series_id, title_id
    )
    REPLACE (minute_of(epoch_ms("minute")) AS "minute"),
    known_dimensions(qoe_minutes, NULL) AS dimensions
FROM qoe_minutes;

CREATE TEMP TABLE cells AS
SELECT row_number() OVER () AS cell, *
FROM (
    SELECT topic, cube_name, dimensions FROM session_dimensions
    UNION
    SELECT topic, cube_name, dimensions FROM written_rows
);

CREATE TEMP TABLE recomputed_minutes AS
SELECT cell, minute, measure, sum(value) AS value
FROM session_minutes
JOIN (
    SELECT session, cell FROM session_dimensions JOIN cells USING (topic, cube_name, dimensions)
) USING (session)
GROUP BY ALL;

CREATE TEMP TABLE written_minutes AS
WITH cell_rows AS (
    SELECT cell, written_rows.* EXCLUDE (topic, cube_name, dimensions)
    FROM written_rows
    JOIN cells USING (topic, cube_name, dimensions)
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
    topic, cube_name, strftime(make_timestamp("minute" * 60000000), '%Y-%m-%dT%H:%M') AS "minute", dimensions, measure,
    expected, actual
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
CREATE TEMP TABLE total_mismatches AS
WITH session_totals AS (
    SELECT
        topic,
        count(*) FILTER (outcome <> 'unknown') AS attempts,
        count(*) FILTER (outcome NOT IN ('unknown', 'pending') AND autoplay) AS resolved_autoplays,
        count(startup_ms) AS startups,
        sum(startup_ms) AS startup_ms,
        count(startup_ms) AS startup_buckets,
        count(first_picture_ms) AS first_pictures,
        sum(first_picture_ms) AS first_picture_ms,
        count(*) FILTER (outcome IN ('played', 'playback_failure')) AS starts,
        count(*) FILTER (outcome = 'start_failure' AND NOT error_business) AS start_failures,
        count(*) FILTER (outcome = 'start_failure' AND error_business) AS start_failures_business,
        count(*) FILTER (outcome = 'exit_before_start' AND is_final) AS exits_before_start,
        count(*) FILTER (exit_after_ms < 1000) AS quick_exits,
        count(*) FILTER (outcome IN ('played', 'playback_failure') AND is_final) AS ended_plays,
        count(*) FILTER (outcome = 'playback_failure' AND NOT error_business) AS playback_failures,
        count(*) FILTER (outcome = 'playback_failure' AND error_business) AS playback_failures_business,
        sum(startup_waiting_ms) AS startup_waiting_ms,
        sum(playing_ms) AS playing_ms,
        sum(rebuffer_ms) AS rebuffer_ms,
        sum(seek_waiting_ms) AS seek_waiting_ms,
        sum(paused_ms) AS paused_ms,
        sum(ad_ms) AS ad_ms,
        sum(ad_rebuffer_ms) AS ad_rebuffer_ms,
        sum(background_ms) AS background_ms,
        sum(background_startup_waiting_ms) AS background_startup_waiting_ms,
        sum(background_playing_ms) AS background_playing_ms,
        sum(background_rebuffer_ms) AS background_rebuffer_ms,
        sum(background_seek_waiting_ms) AS background_seek_waiting_ms,
        sum(rebuffer_count) AS rebuffer_count,
        sum(background_rebuffer_count) AS background_rebuffer_count,
        sum(ad_rebuffer_count) AS ad_rebuffer_count,
        sum(seek_count) AS seek_count,
        sum(rendition_switch_count) AS rendition_switch_count,
        sum(error_count) AS error_count,
        sum(media_ms) AS media_ms,
        sum(bitrate_media_ms) AS bitrate_media_ms,
        sum(bitrate_bit_ms) AS bitrate_bit_ms,
        sum(height_media_ms) AS height_media_ms,
        sum(height_px_ms) AS height_px_ms,
        sum(upscale_media_ms) AS upscale_media_ms,
        sum(upscale_per_mille_ms) AS upscale_per_mille_ms
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
    CROSS JOIN cubes
    UNION ALL
    SELECT topic, cube_name, measure, 0, value
    FROM by_minutes
    WHERE measure IN (SELECT measure FROM by_sessions)
)
GROUP BY ALL
HAVING expected <> actual
ORDER BY ALL;
