-- The second half of the session fold: from the states (fold.sql) to `recomputed_intervals`, one row for each time
-- between two events that belongs to a state, and to `recomputed_sessions`, one row a session with the vector of
-- docs/qoe.md, section 3.

-- The columns to which the time in a state goes.
CREATE TEMP TABLE duration_measures AS
FROM (
    VALUES
        ('startup_waiting', false, 'startup_waiting_ms'),
        ('playing', false, 'playing_ms'),
        ('rebuffer', false, 'rebuffer_ms'),
        ('seek_waiting', false, 'seek_waiting_ms'),
        ('paused', false, 'paused_ms'),
        ('ad', false, 'ad_ms'),
        ('ad_rebuffer', false, 'ad_rebuffer_ms'),
        ('startup_waiting', true, 'background_startup_waiting_ms'),
        ('playing', true, 'background_playing_ms'),
        ('rebuffer', true, 'background_rebuffer_ms'),
        ('seek_waiting', true, 'background_seek_waiting_ms'),
        ('startup_waiting', true, 'background_ms'),
        ('playing', true, 'background_ms'),
        ('rebuffer', true, 'background_ms'),
        ('seek_waiting', true, 'background_ms'),
        ('paused', true, 'background_ms'),
        ('ad', true, 'background_ms'),
        ('ad_rebuffer', true, 'background_ms')
) AS durations (state, background, measure);

-- The time before each event, with what the event before it left. It counts from that event's own time: after a clock
-- has stepped back, time goes on from there.
CREATE TEMP TABLE recomputed_intervals AS
SELECT
    *,
    CASE
        WHEN is_silent OR state <> 'playing' THEN 0
        WHEN from_media_ms IS NULL OR to_media_ms IS NULL THEN length_ms * rate_per_mille // 1000
        ELSE greatest(0, least(to_media_ms - from_media_ms, length_ms * greatest(4000, rate_per_mille) // 1000))
    END AS advance_ms
FROM (
    SELECT *, to_ms - from_ms AS length_ms, to_ms - from_ms > gap_ms(paused) AS is_silent
    FROM (
        SELECT
            session,
            sequence AS to_sequence,
            lag(time_ms) OVER in_order AS from_ms,
            time_ms AS to_ms,
            lag(state) OVER in_order AS state,
            lag(background) OVER in_order AS background,
            lag(paused) OVER in_order AS paused,
            lag(media_time_ms) OVER in_order AS from_media_ms,
            media_time_ms AS to_media_ms,
            lag(CAST(rate_per_mille AS BIGINT)) OVER in_order AS rate_per_mille,
            lag(bitrate_bps) OVER in_order AS bitrate_bps,
            lag(height_px) OVER in_order AS height_px,
            lag(upscale_per_mille) OVER in_order AS upscale_per_mille,
            lag(stall_ms) OVER in_order AS stall_ms
        FROM (
            SELECT
                states.*,
                last_value(stalls.time_ms IGNORE NULLS) OVER so_far AS stall_ms
            FROM states
            LEFT JOIN stalls USING (session, sequence)
            WINDOW so_far AS (PARTITION BY session ORDER BY sequence ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
        )
        WINDOW in_order AS (PARTITION BY session ORDER BY sequence)
    )
    WHERE state IS NOT NULL AND to_ms > from_ms
);

CREATE TEMP TABLE duration_sums AS
PIVOT (
    SELECT session, measure, length_ms
    FROM recomputed_intervals
    JOIN duration_measures USING (state, background)
    WHERE NOT is_silent
)
ON measure IN (
    'startup_waiting_ms', 'playing_ms', 'rebuffer_ms', 'seek_waiting_ms', 'paused_ms', 'ad_ms', 'ad_rebuffer_ms',
    'background_ms', 'background_startup_waiting_ms', 'background_playing_ms', 'background_rebuffer_ms',
    'background_seek_waiting_ms'
)
USING sum(length_ms)
GROUP BY session;

CREATE TEMP TABLE interval_sums AS
SELECT
    session,
    sum(length_ms) FILTER (is_silent) AS silent_ms,
    sum(advance_ms) AS media_ms,
    sum(advance_ms) FILTER (bitrate_bps > 0) AS bitrate_media_ms,
    sum(CAST(advance_ms AS HUGEINT) * bitrate_bps) AS bitrate_bit_ms,
    sum(advance_ms) FILTER (height_px > 0) AS height_media_ms,
    sum(advance_ms * height_px) AS height_px_ms,
    sum(advance_ms) FILTER (upscale_per_mille IS NOT NULL) AS upscale_media_ms,
    sum(advance_ms * upscale_per_mille) AS upscale_per_mille_ms,
    max(upscale_per_mille) FILTER (advance_ms > 0) AS max_upscale_per_mille
FROM recomputed_intervals
GROUP BY session;

-- The picture is the first frame of ad or content. A frame that only a playhead shows (a heartbeat) was not seen.
CREATE TEMP TABLE milestones AS
SELECT
    session,
    min(sequence) FILTER (requested) AS request_sequence,
    arg_min(time_ms, sequence) FILTER (requested) AS request_ms,
    min(sequence) FILTER (started) AS frame_sequence,
    coalesce(arg_min(effect, sequence) FILTER (started) <> 'heartbeat', false) AS is_frame_seen,
    min(sequence) FILTER (started OR effect = 'ad_start') AS picture_sequence,
    coalesce(arg_min(effect, sequence) FILTER (started OR effect = 'ad_start') <> 'heartbeat', false)
        AS is_picture_seen,
    min(sequence) FILTER (effect = 'error') AS error_sequence,
    min(sequence) FILTER (effect IN ('fatal_error', 'player_failed')) AS fatal_sequence,
    min(sequence) FILTER (effect IN ('session_end', 'player_ended', 'player_quit')) AS end_sequence,
    count(*) FILTER (effect IN ('pause', 'player_paused') AND NOT was_paused) AS pause_count,
    count(*) FILTER (effect = 'ad_start') AS ad_count,
    count(*) FILTER (effect = 'error') AS error_count,
    count(*) FILTER (shows_playing AND (NOT was_started OR was_paused OR was_seeking OR was_rebuffering))
        AS inferred_count,
    coalesce(sum(dropped_frames) FILTER (effect = 'heartbeat'), 0) AS dropped_frames,
    min(sequence) AS first_sequence,
    max(time_ms) AS ended_ms,
    count(*) AS event_count,
    -- CMCD v1 lines have no sequence of their own: theirs are made from the time of arrival and leave no hole.
    coalesce(max(sequence) FILTER (sequence < 4294967296) + 1, 0) - count(*) FILTER (sequence < 4294967296)
        AS lost_events
FROM states
GROUP BY session;

-- Where a startup is interrupted for the first time: by a pause, a seek or the background (also one that the play
-- request was already in), by an error or by a silence.
CREATE TEMP TABLE interruptions AS
SELECT session, min(sequence) AS interrupted_sequence
FROM (
    SELECT session, sequence
    FROM states
    WHERE requested AND (paused OR seeking OR background OR effect = 'error')
    UNION ALL
    SELECT session, to_sequence
    FROM recomputed_intervals
    WHERE is_silent AND state = 'startup_waiting'
)
GROUP BY session;

CREATE TEMP TABLE startups AS
SELECT
    session,
    CASE
        WHEN is_frame_seen AND request_sequence < frame_sequence
            AND coalesce(interrupted_sequence > frame_sequence, true)
            THEN startup_waiting_ms
    END AS startup_ms,
    CASE
        WHEN is_picture_seen AND request_sequence < picture_sequence
            AND coalesce(interrupted_sequence > picture_sequence, true)
            THEN until_picture_ms
    END AS first_picture_ms
FROM milestones
LEFT JOIN interruptions USING (session)
JOIN (
    SELECT
        session,
        coalesce(sum(length_ms), 0) AS startup_waiting_ms,
        coalesce(sum(length_ms) FILTER (to_sequence <= picture_sequence), 0) AS until_picture_ms
    FROM milestones
    LEFT JOIN (
        SELECT session, to_sequence, length_ms
        FROM recomputed_intervals
        WHERE state = 'startup_waiting' AND NOT background AND NOT is_silent
    ) USING (session)
    GROUP BY session
) USING (session);

-- Rule 32. Some players say first that they failed and then why: the code that belongs to a failure without one may come
-- after the end.
CREATE TEMP TABLE later_codes AS
SELECT session, arg_min(detail, sequence) AS later_code
FROM folded_events
JOIN milestones USING (session)
WHERE sequence > fatal_sequence AND detail <> '' AND (deed IN ('error', 'fatal_error') OR starts_with(deed, 'player_'))
GROUP BY session;

CREATE TEMP TABLE copy_counts AS
SELECT
    session,
    count(*) FILTER (place > 1 AND id = winning_id) AS duplicates,
    count(*) FILTER (place > 1 AND id <> winning_id) AS conflicts
FROM copies
GROUP BY session;

CREATE TEMP TABLE counts AS
PIVOT (
    SELECT session, measure FROM counted_stalls
    UNION ALL
    SELECT session, 'rendition_switch_count' FROM rendition_switches
    UNION ALL
    SELECT session, 'seek_count' FROM seeks
)
ON measure IN (
    'rebuffer_count', 'background_rebuffer_count', 'ad_rebuffer_count', 'rendition_switch_count', 'seek_count'
)
USING count(*)
GROUP BY session;

CREATE TEMP TABLE recomputed_sessions AS
SELECT
    session_keys.*,
    opening.profile_id, opening.title_id, opening.series_id, opening.device_type, opening.os, opening.player,
    opening.player_version, opening.app_version, opening.country, opening.region, opening.city, opening.isp,
    opening.asn, opening.cdn, opening.edge, opening.protocol, opening.stream_type, opening.codec, opening.drm,
    opening.plan, opening.experiment_arm, opening.asset_id,
    opening.time_ms AS started_ms,
    ended_ms,
    request_ms,
    coalesce(is_final, false) AS is_final,
    coalesce(request.autoplay, false) AS autoplay,
    CASE
        WHEN request_sequence IS NULL THEN 'unknown'
        WHEN fatal_sequence IS NOT NULL AND frame_sequence IS NOT NULL THEN 'playback_failure'
        WHEN fatal_sequence IS NOT NULL THEN 'start_failure'
        WHEN frame_sequence IS NOT NULL THEN 'played'
        WHEN is_final THEN 'exit_before_start'
        ELSE 'pending'
    END AS outcome,
    startup_ms,
    first_picture_ms,
    CASE
        WHEN outcome = 'exit_before_start' AND end_sequence IS NOT NULL
            THEN greatest(0, ending.time_ms - request_ms)
    END AS exit_after_ms,
    coalesce(startup_waiting_ms, 0) AS startup_waiting_ms,
    coalesce(playing_ms, 0) AS playing_ms,
    coalesce(rebuffer_ms, 0) AS rebuffer_ms,
    coalesce(seek_waiting_ms, 0) AS seek_waiting_ms,
    coalesce(paused_ms, 0) AS paused_ms,
    coalesce(ad_ms, 0) AS ad_ms,
    coalesce(ad_rebuffer_ms, 0) AS ad_rebuffer_ms,
    coalesce(background_ms, 0) AS background_ms,
    coalesce(background_startup_waiting_ms, 0) AS background_startup_waiting_ms,
    coalesce(background_playing_ms, 0) AS background_playing_ms,
    coalesce(background_rebuffer_ms, 0) AS background_rebuffer_ms,
    coalesce(background_seek_waiting_ms, 0) AS background_seek_waiting_ms,
    coalesce(silent_ms, 0) AS silent_ms,
    coalesce(media_ms, 0) AS media_ms,
    coalesce(rebuffer_count, 0) AS rebuffer_count,
    coalesce(background_rebuffer_count, 0) AS background_rebuffer_count,
    coalesce(ad_rebuffer_count, 0) AS ad_rebuffer_count,
    coalesce(seek_count, 0) AS seek_count,
    coalesce(rendition_switch_count, 0) AS rendition_switch_count,
    pause_count,
    ad_count,
    error_count,
    inferred_count,
    bitrate_bit_ms / nullif(bitrate_media_ms, 0) / 1000 AS avg_bitrate_kbps,
    coalesce(bitrate_media_ms, 0) AS bitrate_media_ms,
    coalesce(bitrate_bit_ms, 0) AS bitrate_bit_ms,
    height_px_ms / nullif(height_media_ms, 0) AS avg_height_px,
    coalesce(height_media_ms, 0) AS height_media_ms,
    coalesce(height_px_ms, 0) AS height_px_ms,
    coalesce(upscale_media_ms, 0) AS upscale_media_ms,
    coalesce(upscale_per_mille_ms, 0) AS upscale_per_mille_ms,
    coalesce(max_upscale_per_mille, 0) AS max_upscale_per_mille,
    milestones.dropped_frames,
    event_count,
    lost_events,
    duplicates,
    conflicts,
    failure.time_ms AS error_ms,
    coalesce(nullif(failure.detail, ''), later_code) AS error_code,
    if(failure.sequence IS NULL, NULL, failure.deed <> 'error') AS error_fatal,
    -- What a player state calls failed is technical: it has no other kind.
    if(failure.sequence IS NULL, NULL, coalesce(failure.deed <> 'player_failed' AND failure.business, false))
        AS error_business,
    CASE ending.deed WHEN 'player_ended' THEN 'ended' WHEN 'player_quit' THEN 'quit' ELSE ending.detail END
        AS end_reason
FROM session_keys
JOIN milestones USING (session)
JOIN startups USING (session)
JOIN copy_counts USING (session)
JOIN (
    SELECT DISTINCT ON (folded_events.session) folded_events.session, timely_events.*
    FROM milestones
    JOIN folded_events ON folded_events.session = milestones.session AND folded_events.sequence = first_sequence
    JOIN session_keys ON session_keys.session = milestones.session
    JOIN timely_events USING (topic, "partition", "offset", "index")
) AS opening ON opening.session = session_keys.session
LEFT JOIN folded_events AS request
    ON request.session = session_keys.session AND request.sequence = request_sequence
LEFT JOIN folded_events AS failure
    ON failure.session = session_keys.session AND failure.sequence = coalesce(fatal_sequence, error_sequence)
LEFT JOIN folded_events AS ending
    ON ending.session = session_keys.session AND ending.sequence = end_sequence
LEFT JOIN later_codes USING (session)
LEFT JOIN duration_sums USING (session)
LEFT JOIN interval_sums USING (session)
LEFT JOIN counts USING (session)
LEFT JOIN (
    SELECT session, is_final FROM latest_sessions JOIN session_keys USING (topic, session_id, player_instance)
) USING (session);
