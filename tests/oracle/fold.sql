-- The first half of the session fold as set operations: from `events` and `late_events` to `states`, one row an event
-- with the state in which it leaves its session, and to what is counted on the way (`stalls`, `rendition_switches`).
-- The rules are those of docs/qoe.md, sections 1 and 2; nothing of the code in pipelines/qoe is used.

CREATE MACRO minute_of(ms) AS (ms - ((ms % 60000) + 60000) % 60000) // 60000;

-- A silence longer than this is no state.
CREATE MACRO gap_ms(paused) AS if(paused, 30, 5) * 60000;

CREATE TEMP TABLE latest_sessions AS
SELECT *
FROM session_revisions
QUALIFY row_number() OVER (PARTITION BY topic, session_id, player_instance ORDER BY revision DESC) = 1;

-- Those past the horizon that no recompute has folded.
CREATE TEMP TABLE uncounted_events AS
FROM late_events
ANTI JOIN recomputed_events USING (topic, "partition", "offset", "index");

CREATE TEMP TABLE timely_events AS
SELECT * EXCLUDE (event_time, received_at, partition_value), epoch_ms(event_time) AS time_ms
FROM events
ANTI JOIN uncounted_events USING (topic, "partition", "offset", "index");

CREATE TEMP TABLE session_keys AS
SELECT row_number() OVER () AS session, topic, session_id, player_instance
FROM (SELECT DISTINCT topic, session_id, player_instance FROM timely_events);

-- One row a sequence number: the least event id wins, then the one that came first.
-- `deed` is what happened: the type, with the reported state and with what makes an error fatal.
CREATE TEMP TABLE copies AS
SELECT
    session_keys.session,
    "partition", "offset", "index", sequence, time_ms, media_time_ms, representation_id, bitrate_bps, width_px,
    height_px, rate_per_mille, autoplay, dropped_frames, detail, business,
    CASE
        WHEN type = 'player_state' THEN 'player_' || coalesce(player_state, '')
        WHEN type = 'error' AND fatal THEN 'fatal_error'
        ELSE type
    END AS deed,
    coalesce(event_id, '') AS id,
    row_number() OVER one_sequence AS place,
    first_value(coalesce(event_id, '')) OVER one_sequence AS winning_id
FROM timely_events
JOIN session_keys USING (topic, session_id, player_instance)
WINDOW one_sequence AS (PARTITION BY session, sequence ORDER BY coalesce(event_id, ''), "offset", "index");

-- `effect` is the deed of an event that can still change the session: nothing does after its end, but for a play request
-- to a player that has failed already (`asks_in_vain`, rule 34).
CREATE TEMP TABLE folded_events AS
SELECT
    * EXCLUDE (is_end),
    CASE WHEN NOT coalesce(bool_or(is_end) OVER earlier, false) THEN deed END AS effect,
    is_end OR coalesce(bool_or(is_end) OVER earlier, false) AS ended,
    deed IN ('play_requested', 'player_starting') AND coalesce(
        first_value(CASE WHEN is_end THEN deed END IGNORE NULLS) OVER earlier IN ('fatal_error', 'player_failed'), false
    ) AS asks_in_vain
FROM (
    SELECT *, deed IN ('session_end', 'fatal_error', 'player_ended', 'player_quit', 'player_failed') AS is_end
    FROM copies
    WHERE place = 1
)
WINDOW earlier AS (PARTITION BY session ORDER BY sequence ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING);

-- The flags after each event that depend on nothing but events. `asked_to_pause` is the pause as the events have it:
-- a playhead that advances can show that it was over.
CREATE TEMP TABLE given_flags AS
SELECT
    session, sequence, time_ms, media_time_ms, effect, representation_id, dropped_frames, ended,
    asks_in_vain,
    coalesce(last_value(
        CASE effect WHEN 'background' THEN true WHEN 'foreground' THEN false END IGNORE NULLS
    ) OVER so_far, false) AS background,
    coalesce(last_value(
        CASE effect WHEN 'ad_break_start' THEN true WHEN 'ad_break_end' THEN false END IGNORE NULLS
    ) OVER so_far, false) AS ad_break,
    coalesce(last_value(
        CASE WHEN effect = 'ad_start' THEN true WHEN effect IN ('ad_end', 'ad_break_end') THEN false END IGNORE NULLS
    ) OVER so_far, false) AS ad,
    ad OR ad_break AS in_ad,
    last_value(
        CASE
            WHEN effect IN ('pause', 'player_paused') THEN true
            WHEN effect IN ('resume', 'player_playing', 'player_rebuffering') THEN false
        END IGNORE NULLS
    ) OVER so_far AS asked_to_pause,
    count(*) FILTER (
        effect IN ('pause', 'player_paused', 'resume', 'player_playing', 'player_rebuffering')
    ) OVER so_far AS pause_changes,
    coalesce(last_value(
        CASE WHEN effect = 'playback_rate' THEN coalesce(rate_per_mille, 0) END IGNORE NULLS
    ) OVER so_far, 1000) AS rate_per_mille,
    coalesce(last_value(
        CASE WHEN effect = 'viewport' THEN coalesce(width_px, 0) END IGNORE NULLS
    ) OVER so_far, 0) AS viewport_width_px,
    coalesce(last_value(
        CASE WHEN effect = 'viewport' THEN coalesce(height_px, 0) END IGNORE NULLS
    ) OVER so_far, 0) AS viewport_height_px,
    bitrate_bps AS event_bitrate_bps, width_px AS event_width_px, height_px AS event_height_px,
    -- Only a rendition can make the bitrate unknown again: a heartbeat or a state without one says nothing.
    coalesce(last_value(
        CASE
            WHEN effect = 'rendition' THEN coalesce(bitrate_bps, 0)
            WHEN effect = 'heartbeat' OR starts_with(effect, 'player_') THEN nullif(bitrate_bps, 0)
        END IGNORE NULLS
    ) OVER so_far, 0) AS bitrate_bps
FROM folded_events
WINDOW so_far AS (PARTITION BY session ORDER BY sequence ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW);

-- Rule 16. `shows_playing` marks a heartbeat from which the playhead advanced to the next event, a heartbeat too, as
-- only playing lets it. Up to 5 min of length that needs no flag. Longer ones need a pause, and the first heartbeat
-- that shows playing ends the pause that the events left: so of each pause only the first one may be longer.
CREATE TEMP TABLE playing_shown AS
SELECT
    *,
    is_advance AND (
        length_ms <= gap_ms(false)
        OR (
            coalesce(asked_to_pause, false)
            AND row_number() OVER (PARTITION BY session, pause_changes, is_advance ORDER BY sequence) = 1
        )
    ) AS shows_playing
FROM (
    SELECT
        *,
        coalesce(
            effect = 'heartbeat' AND next_effect = 'heartbeat' AND NOT in_ad
                AND length_ms BETWEEN 1000 AND gap_ms(true)
                AND 2 * media_ms >= length_ms AND media_ms <= 4 * length_ms,
            false
        ) AS is_advance
    FROM (
        SELECT
            *,
            lead(effect) OVER in_order AS next_effect,
            lead(time_ms) OVER in_order - time_ms AS length_ms,
            lead(media_time_ms) OVER in_order - media_time_ms AS media_ms
        FROM given_flags
        WINDOW in_order AS (PARTITION BY session ORDER BY sequence)
    )
);

-- The flags that a playhead can change, and the picture's size. A player that says `playing` inside an ad plays the ad.
CREATE TEMP TABLE flags AS
SELECT
    *,
    coalesce(last_value(
        CASE
            WHEN shows_playing THEN false
            WHEN effect IN ('pause', 'player_paused') THEN true
            WHEN effect IN ('resume', 'player_playing', 'player_rebuffering') THEN false
        END IGNORE NULLS
    ) OVER so_far, false) AS paused,
    coalesce(last_value(
        CASE
            WHEN effect IN ('seek_start', 'player_seeking') THEN true
            WHEN shows_playing OR effect IN ('seek_end', 'player_playing', 'player_paused') THEN false
        END IGNORE NULLS
    ) OVER so_far, false) AS seeking,
    coalesce(bool_or(
        effect IN ('play_requested', 'player_starting') OR (effect = 'player_playing' AND NOT in_ad)
    ) OVER so_far, false) AS requested,
    coalesce(bool_or(
        shows_playing OR effect = 'first_frame' OR (effect = 'player_playing' AND NOT in_ad)
    ) OVER so_far, false) AS started,
    coalesce(last_value(
        CASE
            WHEN effect = 'rendition' THEN coalesce(event_width_px, 0)
            WHEN bitrate_bps <> earlier_bitrate_bps THEN 0
        END IGNORE NULLS
    ) OVER so_far, 0) AS width_px,
    coalesce(last_value(
        CASE
            WHEN effect = 'rendition' THEN coalesce(event_height_px, 0)
            WHEN bitrate_bps <> earlier_bitrate_bps THEN 0
        END IGNORE NULLS
    ) OVER so_far, 0) AS height_px
FROM (
    SELECT
        *,
        lag(ad, 1, false) OVER in_order AS had_ad,
        lag(in_ad, 1, false) OVER in_order AS was_in_ad,
        lag(bitrate_bps, 1, 0) OVER in_order AS earlier_bitrate_bps
    FROM playing_shown
    WINDOW in_order AS (PARTITION BY session ORDER BY sequence)
)
WINDOW so_far AS (PARTITION BY session ORDER BY sequence ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW);

-- A rebuffer start while already rebuffering sets what is set: that it is ignored shows only in `episode` below. The end
-- of an ad or a break that never began ends nothing.
-- `upscale_per_mille` is NULL where the picture or the viewport is unknown.
CREATE TEMP TABLE states AS
SELECT
    *,
    CASE
        WHEN ended THEN NULL
        WHEN paused THEN 'paused'
        WHEN NOT started AND in_ad THEN if(rebuffering, 'ad_rebuffer', 'ad')
        WHEN NOT started AND requested THEN 'startup_waiting'
        WHEN NOT started THEN NULL
        WHEN seeking THEN 'seek_waiting'
        WHEN in_ad THEN if(rebuffering, 'ad_rebuffer', 'ad')
        WHEN rebuffering THEN 'rebuffer'
        ELSE 'playing'
    END AS state,
    CASE
        WHEN least(width_px, height_px, viewport_width_px, viewport_height_px) > 0
            THEN greatest(0, least(
                viewport_width_px * 1000 // width_px, viewport_height_px * 1000 // height_px
            ) - 1000)
    END AS upscale_per_mille,
    lag(paused, 1, false) OVER in_order AS was_paused,
    lag(seeking, 1, false) OVER in_order AS was_seeking,
    lag(rebuffering, 1, false) OVER in_order AS was_rebuffering,
    lag(started, 1, false) OVER in_order AS was_started
FROM (
    SELECT
        * REPLACE (requested OR coalesce(bool_or(asks_in_vain AND NOT started) OVER so_far, false) AS requested),
        coalesce(last_value(
            CASE
                WHEN effect IN ('rebuffer_start', 'player_rebuffering') AND (started OR in_ad) AND NOT seeking THEN true
                WHEN effect IN ('rebuffer_end', 'seek_start', 'player_seeking', 'player_playing', 'player_paused')
                    THEN false
                WHEN effect IN ('ad_start', 'ad_break_start') AND NOT was_in_ad THEN false
                WHEN effect = 'ad_end' AND had_ad AND NOT ad_break THEN false
                WHEN effect = 'ad_break_end' AND was_in_ad THEN false
                WHEN shows_playing THEN false
            END IGNORE NULLS
        ) OVER so_far, false) AS rebuffering
    FROM flags
    WINDOW so_far AS (PARTITION BY session ORDER BY sequence ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
WINDOW in_order AS (PARTITION BY session ORDER BY sequence);

-- A stall is the first event of an episode (the rows between a rebuffer start and what ends it) that leaves the session
-- in state `rebuffer` or `ad_rebuffer`. An episode has one of the two: entering and leaving ads ends it.
CREATE TEMP TABLE stalls AS
SELECT
    session, sequence, time_ms,
    CASE
        WHEN state = 'ad_rebuffer' THEN 'ad_rebuffer_count'
        WHEN background THEN 'background_rebuffer_count'
        ELSE 'rebuffer_count'
    END AS measure
FROM (
    SELECT
        session, sequence, time_ms, state, background,
        count(*) FILTER (rebuffering AND NOT was_rebuffering) OVER so_far AS episode
    FROM states
    WINDOW so_far AS (PARTITION BY session ORDER BY sequence ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
WHERE state IN ('rebuffer', 'ad_rebuffer')
QUALIFY row_number() OVER (PARTITION BY session, episode ORDER BY sequence) = 1;

-- Stalls with those of no known length, which only a player state tells of.
CREATE TEMP TABLE counted_stalls AS
SELECT session, time_ms, measure FROM stalls
UNION ALL
SELECT session, time_ms, if(background, 'background_rebuffer_count', 'rebuffer_count')
FROM states
WHERE effect = 'player_stalled' AND state IN ('playing', 'rebuffer');

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

CREATE TEMP TABLE seeks AS
SELECT session, time_ms
FROM states
WHERE effect = 'seek_start' OR (effect = 'player_seeking' AND NOT was_seeking);
