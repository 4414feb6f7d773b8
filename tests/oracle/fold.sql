-- The session fold as set operations: from `events` and `late_events` to `recomputed_sessions`, one row a session, and
-- `recomputed_intervals`, one row for each time between two events that belongs to a state.
-- The rules are those of the table in pipelines/qoe/src/fold.rs; nothing of its code is used.

CREATE MACRO minute_of(ms) AS (ms - ((ms % 60000) + 60000) % 60000) // 60000;

CREATE TEMP TABLE latest_sessions AS
SELECT *
FROM session_revisions
QUALIFY row_number() OVER (PARTITION BY topic, session_id, player_instance ORDER BY revision DESC) = 1;

CREATE TEMP TABLE timely_events AS
SELECT * EXCLUDE (event_time, received_at, partition_value), epoch_ms(event_time) AS time_ms
FROM events
ANTI JOIN late_events USING (topic, "partition", "offset", "index");

CREATE TEMP TABLE session_keys AS
SELECT row_number() OVER () AS session, topic, session_id, player_instance
FROM (SELECT DISTINCT topic, session_id, player_instance FROM timely_events);

-- One row a sequence number: the least event id wins, then the one that came first.
CREATE TEMP TABLE copies AS
SELECT
    session_keys.session,
    "partition", "offset", "index", sequence, time_ms, type, media_time_ms, representation_id, bitrate_bps, height_px,
    dropped_frames, detail, fatal, business,
    coalesce(event_id, '') AS id,
    row_number() OVER one_sequence AS place,
    first_value(coalesce(event_id, '')) OVER one_sequence AS winning_id
FROM timely_events
JOIN session_keys USING (topic, session_id, player_instance)
WINDOW one_sequence AS (PARTITION BY session, sequence ORDER BY coalesce(event_id, ''), "offset", "index");

-- `effect` is the type of an event that can still change the session: nothing does after its end.
CREATE TEMP TABLE folded_events AS
SELECT
    * EXCLUDE (is_end),
    CASE WHEN NOT coalesce(bool_or(is_end) OVER earlier, false) THEN type END AS effect
FROM (
    SELECT *, type = 'session_end' OR (type = 'error' AND coalesce(fatal, false)) AS is_end
    FROM copies
    WHERE place = 1
)
WINDOW earlier AS (PARTITION BY session ORDER BY sequence ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING);

-- The flags after each event. Rebuffering needs some of them and comes next.
CREATE TEMP TABLE flags AS
SELECT
    session, sequence, time_ms, media_time_ms, effect, representation_id,
    effect IS NULL
        OR effect = 'session_end'
        OR (effect = 'error' AND coalesce(fatal, false)) AS ended,
    coalesce(last_value(
        CASE effect WHEN 'background' THEN true WHEN 'foreground' THEN false END IGNORE NULLS
    ) OVER so_far, false) AS background,
    coalesce(last_value(
        CASE effect WHEN 'pause' THEN true WHEN 'resume' THEN false END IGNORE NULLS
    ) OVER so_far, false) AS paused,
    coalesce(last_value(
        CASE effect WHEN 'ad_start' THEN true WHEN 'ad_end' THEN false END IGNORE NULLS
    ) OVER so_far, false) AS ad,
    coalesce(last_value(
        CASE effect WHEN 'seek_start' THEN true WHEN 'seek_end' THEN false END IGNORE NULLS
    ) OVER so_far, false) AS seeking,
    coalesce(bool_or(effect = 'first_frame') OVER so_far, false) AS started,
    coalesce(bool_or(effect = 'play_requested') OVER so_far, false) AS requested,
    coalesce(last_value(
        CASE WHEN effect = 'rendition' THEN coalesce(bitrate_bps, 0) END IGNORE NULLS
    ) OVER so_far, 0) AS bitrate_bps,
    coalesce(last_value(
        CASE WHEN effect = 'rendition' THEN coalesce(height_px, 0) END IGNORE NULLS
    ) OVER so_far, 0) AS height_px
FROM folded_events
WINDOW so_far AS (PARTITION BY session ORDER BY sequence ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW);

-- A rebuffer start while already rebuffering sets what is set: that it is ignored shows only in `episode` below.
CREATE TEMP TABLE states AS
SELECT
    *,
    CASE
        WHEN ended THEN NULL
        WHEN background THEN 'background'
        WHEN paused THEN 'paused'
        WHEN NOT started AND ad THEN 'ad'
        WHEN NOT started AND requested THEN 'startup_waiting'
        WHEN NOT started THEN NULL
        WHEN seeking THEN 'seek_waiting'
        WHEN ad THEN 'ad'
        WHEN rebuffering THEN 'rebuffer'
        ELSE 'playing'
    END AS state
FROM (
    SELECT
        *,
        coalesce(last_value(
            CASE
                WHEN effect = 'rebuffer_start' AND started AND NOT seeking THEN true
                WHEN effect IN ('rebuffer_end', 'seek_start') THEN false
            END IGNORE NULLS
        ) OVER so_far, false) AS rebuffering
    FROM flags
    WINDOW so_far AS (PARTITION BY session ORDER BY sequence ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
);

-- A stall is the first event of an episode (the rows between a rebuffer start and what ends it) that leaves the session
-- in state `rebuffer`.
CREATE TEMP TABLE stalls AS
SELECT session, sequence, time_ms
FROM (
    SELECT session, sequence, time_ms, state, sum(opens) OVER so_far AS episode
    FROM (
        SELECT
            session, sequence, time_ms, state,
            CAST(rebuffering AND NOT coalesce(lag(rebuffering) OVER in_order, false) AS INTEGER) AS opens
        FROM states
        WINDOW in_order AS (PARTITION BY session ORDER BY sequence)
    )
    WINDOW so_far AS (PARTITION BY session ORDER BY sequence ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
WHERE state = 'rebuffer'
QUALIFY row_number() OVER (PARTITION BY session, episode ORDER BY sequence) = 1;

CREATE TEMP TABLE rendition_switches AS
SELECT session, time_ms
FROM (
    SELECT
        session, time_ms, coalesce(representation_id, '') AS representation,
        lag(coalesce(representation_id, '')) OVER (PARTITION BY session ORDER BY sequence) AS earlier_representation
    FROM flags
    WHERE effect = 'rendition'
)
WHERE representation <> earlier_representation;

-- The time before each event, with what the event before it left. Time that steps back moves no cursor.
CREATE TEMP TABLE recomputed_intervals AS
SELECT
    *,
    CASE
        WHEN is_silent OR state <> 'playing' THEN 0
        WHEN from_media_ms IS NULL OR to_media_ms IS NULL THEN length_ms
        ELSE greatest(0, least(to_media_ms - from_media_ms, 4 * length_ms))
    END AS advance_ms
FROM (
    SELECT *, to_ms - from_ms AS length_ms, to_ms - from_ms > if(paused, 30, 5) * 60000 AS is_silent
    FROM (
        SELECT
            session,
            sequence AS to_sequence,
            max(time_ms) OVER earlier AS from_ms,
            time_ms AS to_ms,
            lag(state) OVER in_order AS state,
            lag(paused) OVER in_order AS paused,
            lag(media_time_ms) OVER in_order AS from_media_ms,
            media_time_ms AS to_media_ms,
            lag(bitrate_bps) OVER in_order AS bitrate_bps,
            lag(height_px) OVER in_order AS height_px,
            lag(stall_ms) OVER in_order AS stall_ms
        FROM (
            SELECT
                states.*,
                last_value(stalls.time_ms IGNORE NULLS) OVER so_far AS stall_ms
            FROM states
            LEFT JOIN stalls USING (session, sequence)
            WINDOW so_far AS (PARTITION BY session ORDER BY sequence ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
        )
        WINDOW
            in_order AS (PARTITION BY session ORDER BY sequence),
            earlier AS (PARTITION BY session ORDER BY sequence ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    )
    WHERE state IS NOT NULL AND to_ms > from_ms
);

CREATE TEMP TABLE interval_sums AS
SELECT
    session,
    sum(length_ms) FILTER (NOT is_silent AND state = 'startup_waiting') AS startup_waiting_ms,
    sum(length_ms) FILTER (NOT is_silent AND state = 'playing') AS playing_ms,
    sum(length_ms) FILTER (NOT is_silent AND state = 'rebuffer') AS rebuffer_ms,
    sum(length_ms) FILTER (NOT is_silent AND state = 'seek_waiting') AS seek_waiting_ms,
    sum(length_ms) FILTER (NOT is_silent AND state = 'paused') AS paused_ms,
    sum(length_ms) FILTER (NOT is_silent AND state = 'ad') AS ad_ms,
    sum(length_ms) FILTER (NOT is_silent AND state = 'background') AS background_ms,
    sum(length_ms) FILTER (is_silent) AS silent_ms,
    sum(advance_ms) AS media_ms,
    sum(advance_ms) FILTER (bitrate_bps > 0) AS bitrate_media_ms,
    sum(CAST(advance_ms AS HUGEINT) * bitrate_bps) AS bitrate_bit_ms,
    sum(advance_ms) FILTER (height_px > 0) AS height_media_ms,
    sum(advance_ms * height_px) AS height_px_ms
FROM recomputed_intervals
GROUP BY session;

CREATE TEMP TABLE milestones AS
SELECT
    session,
    min(sequence) FILTER (effect = 'play_requested') AS request_sequence,
    arg_min(time_ms, sequence) FILTER (effect = 'play_requested') AS request_ms,
    min(sequence) FILTER (effect = 'first_frame') AS frame_sequence,
    min(sequence) FILTER (effect = 'error') AS error_sequence,
    min(sequence) FILTER (effect = 'error' AND fatal) AS fatal_sequence,
    min(sequence) FILTER (effect = 'session_end') AS end_sequence,
    count(*) FILTER (effect = 'seek_start') AS seek_count,
    coalesce(sum(dropped_frames) FILTER (effect = 'heartbeat'), 0) AS dropped_frames,
    min(sequence) AS first_sequence,
    max(time_ms) AS ended_ms,
    count(*) AS event_count,
    coalesce(max(sequence) FILTER (sequence < 4294967296) + 1, 0)
        - count(*) FILTER (sequence < 4294967296) AS lost_events
FROM folded_events
GROUP BY session;

-- Between play request and first frame, these take the startup time away.
CREATE TEMP TABLE interrupted_startups AS
SELECT DISTINCT session
FROM (
    SELECT session, sequence
    FROM folded_events
    WHERE effect IN ('pause', 'seek_start', 'background', 'error')
    UNION ALL
    SELECT session, to_sequence
    FROM recomputed_intervals
    WHERE is_silent AND state = 'startup_waiting'
) AS interruptions
JOIN milestones USING (session)
WHERE sequence > request_sequence AND sequence <= frame_sequence;

CREATE TEMP TABLE copy_counts AS
SELECT
    session,
    count(*) FILTER (place > 1 AND id = winning_id) AS duplicates,
    count(*) FILTER (place > 1 AND id <> winning_id) AS conflicts
FROM copies
GROUP BY session;

CREATE TEMP TABLE stall_counts AS
SELECT session, count(*) AS rebuffer_count FROM stalls GROUP BY session;

CREATE TEMP TABLE rendition_switch_counts AS
SELECT session, count(*) AS rendition_switch_count FROM rendition_switches GROUP BY session;

CREATE TEMP TABLE recomputed_sessions AS
SELECT
    session_keys.*,
    opening.profile_id, opening.title_id, opening.device_type, opening.os, opening.player, opening.player_version,
    opening.app_version, opening.country, opening.region, opening.isp, opening.cdn, opening.protocol, opening.asset_id,
    opening.time_ms AS started_ms,
    ended_ms,
    request_ms,
    coalesce(request_sequence < frame_sequence, false) AS is_start,
    CASE
        WHEN request_sequence < frame_sequence AND interrupted_startups.session IS NULL
            THEN coalesce(startup_waiting_ms, 0)
    END AS startup_ms,
    coalesce(startup_waiting_ms, 0) AS startup_waiting_ms,
    coalesce(playing_ms, 0) AS playing_ms,
    coalesce(rebuffer_ms, 0) AS rebuffer_ms,
    coalesce(seek_waiting_ms, 0) AS seek_waiting_ms,
    coalesce(paused_ms, 0) AS paused_ms,
    coalesce(ad_ms, 0) AS ad_ms,
    coalesce(background_ms, 0) AS background_ms,
    coalesce(silent_ms, 0) AS silent_ms,
    coalesce(media_ms, 0) AS media_ms,
    coalesce(rebuffer_count, 0) AS rebuffer_count,
    seek_count,
    coalesce(rendition_switch_count, 0) AS rendition_switch_count,
    bitrate_bit_ms / nullif(bitrate_media_ms, 0) / 1000 AS avg_bitrate_kbps,
    coalesce(bitrate_media_ms, 0) AS bitrate_media_ms,
    coalesce(bitrate_bit_ms, 0) AS bitrate_bit_ms,
    height_px_ms / nullif(height_media_ms, 0) AS avg_height_px,
    milestones.dropped_frames,
    event_count,
    lost_events,
    duplicates,
    conflicts,
    CASE
        WHEN request_sequence IS NULL THEN 'unknown'
        WHEN fatal_sequence IS NOT NULL AND frame_sequence IS NOT NULL THEN 'playback_failure'
        WHEN fatal_sequence IS NOT NULL THEN 'start_failure'
        WHEN frame_sequence IS NOT NULL THEN 'played'
        WHEN is_final THEN 'exit_before_start'
        ELSE 'pending'
    END AS outcome,
    failure.time_ms AS error_ms,
    failure.detail AS error_code,
    if(failure.sequence IS NULL, NULL, coalesce(failure.fatal, false)) AS error_fatal,
    if(failure.sequence IS NULL, NULL, coalesce(failure.business, false)) AS error_business,
    ending.detail AS end_reason
FROM session_keys
JOIN milestones USING (session)
JOIN copy_counts USING (session)
JOIN (
    SELECT DISTINCT ON (folded_events.session) folded_events.session, timely_events.*
    FROM milestones
    JOIN folded_events ON folded_events.session = milestones.session AND folded_events.sequence = first_sequence
    JOIN session_keys ON session_keys.session = milestones.session
    JOIN timely_events USING (topic, "partition", "offset", "index")
) AS opening ON opening.session = session_keys.session
LEFT JOIN folded_events AS failure
    ON failure.session = session_keys.session AND failure.sequence = coalesce(fatal_sequence, error_sequence)
LEFT JOIN folded_events AS ending
    ON ending.session = session_keys.session AND ending.sequence = end_sequence
LEFT JOIN interval_sums USING (session)
LEFT JOIN stall_counts USING (session)
LEFT JOIN rendition_switch_counts USING (session)
LEFT JOIN interrupted_startups USING (session)
LEFT JOIN (
    SELECT session, is_final FROM latest_sessions JOIN session_keys USING (topic, session_id, player_instance)
) USING (session);
