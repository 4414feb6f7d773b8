-- Sessions: every session window of the events, folded by `session_row`, as one JSON object to a Kafka topic. The rows
-- are those of Marquee's table `session_revisions`, column by column.
--
-- Submit: first the two functions (README.md), then
--   POST /api/v1/pipelines/validate_query {"query": <this file>}
--   POST /api/v1/pipelines {"name": "marquee-sessions", "query": <this file>, "parallelism": 4,
--                           "checkpoint_interval_micros": 60000000}
-- Written for Arroyo 0.15 and 0.16.
--
-- Input: topic `marquee-events`, one JSON object an event with the columns of table `events`; key the records by
-- session_id. Another column of the context needs a line in `events` and in `session_rows`.
--
-- Limits, all of Arroyo:
-- * An idle partition holds the watermark, and with it every window: send a tick to each partition now and then (type
--   `tick` and the columns that are NOT NULL; the view drops it after its time has counted).
-- * State lives 100 gaps: the gap must be at least a hundredth of the longest session. 30 minutes is also how long
--   Marquee waits for a paused player.
-- * A later event opens a second window, so a second row with the same session_id: Marquee would make a revision.
-- * What comes behind the watermark (30 s) is gone; Marquee takes it for 24 hours.
-- * A batch of records that spans a gap can put the first event of the next window into the one before; that takes a
--   session_id with such a silence.

CREATE TABLE events (
    session_id TEXT NOT NULL,
    player_instance TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    event_id TEXT,
    type TEXT NOT NULL,
    event_time TIMESTAMP NOT NULL,
    raw_event_time_ms BIGINT NOT NULL,
    clock_shift_ms BIGINT NOT NULL,
    media_time_ms BIGINT,
    representation_id TEXT,
    bitrate_bps BIGINT,
    width_px BIGINT,
    height_px BIGINT,
    dropped_frames BIGINT,
    detail TEXT,
    fatal BOOLEAN,
    business BOOLEAN,
    player_state TEXT,
    rate_per_mille BIGINT,
    autoplay BOOLEAN,
    profile_id TEXT,
    title_id TEXT,
    device_type TEXT,
    player TEXT,
    player_version TEXT,
    country TEXT,
    isp TEXT,
    cdn TEXT,
    stream_type TEXT,
    WATERMARK FOR event_time AS (event_time - INTERVAL '30 seconds')
) WITH (
    connector = 'kafka',
    type = 'source',
    bootstrap_servers = 'localhost:9092',
    topic = 'marquee-events',
    format = 'json',
    bad_data = 'drop',
    'source.offset' = 'earliest',
    'source.group_id' = 'marquee-sessions'
);

-- Aggregate functions take numbers: texts as words, flags as 0 and 1. NULL stays NULL.
CREATE VIEW session_columns AS (
    SELECT
        session_id,
        player_instance,
        sequence,
        text_word(event_id, 0) AS event_id_0,
        text_word(event_id, 1) AS event_id_1,
        text_word(event_id, 2) AS event_id_2,
        text_word(event_id, 3) AS event_id_3,
        text_word(event_id, 4) AS event_id_4,
        text_word(type, 0) AS type_0,
        text_word(type, 1) AS type_1,
        raw_event_time_ms + clock_shift_ms AS event_time_ms,
        media_time_ms,
        text_word(representation_id, 0) AS representation_id_0,
        text_word(representation_id, 1) AS representation_id_1,
        text_word(representation_id, 2) AS representation_id_2,
        text_word(representation_id, 3) AS representation_id_3,
        text_word(representation_id, 4) AS representation_id_4,
        bitrate_bps,
        width_px,
        height_px,
        dropped_frames,
        text_word(detail, 0) AS detail_0,
        text_word(detail, 1) AS detail_1,
        text_word(detail, 2) AS detail_2,
        text_word(detail, 3) AS detail_3,
        text_word(detail, 4) AS detail_4,
        CAST(fatal AS BIGINT) AS fatal,
        CAST(business AS BIGINT) AS business,
        text_word(player_state, 0) AS player_state_0,
        text_word(player_state, 1) AS player_state_1,
        rate_per_mille,
        CAST(autoplay AS BIGINT) AS autoplay,
        profile_id,
        title_id,
        device_type,
        player,
        player_version,
        country,
        isp,
        cdn,
        stream_type
    FROM events
    WHERE type <> 'tick'
);

CREATE VIEW session_rows AS (
    SELECT
        SESSION(INTERVAL '30 minutes') AS span,
        session_id,
        player_instance,
        max(profile_id) AS profile_id,
        max(title_id) AS title_id,
        max(device_type) AS device_type,
        max(player) AS player,
        max(player_version) AS player_version,
        max(country) AS country,
        max(isp) AS isp,
        max(cdn) AS cdn,
        max(stream_type) AS stream_type,
        session_row(
            sequence,
            event_id_0, event_id_1, event_id_2, event_id_3, event_id_4,
            type_0, type_1,
            event_time_ms,
            media_time_ms,
            representation_id_0, representation_id_1, representation_id_2, representation_id_3, representation_id_4,
            bitrate_bps, width_px, height_px, dropped_frames,
            detail_0, detail_1, detail_2, detail_3, detail_4,
            fatal, business,
            player_state_0, player_state_1,
            rate_per_mille,
            autoplay
        ) AS qoe
    FROM session_columns
    GROUP BY span, session_id, player_instance
);

CREATE TABLE sessions WITH (
    connector = 'kafka',
    type = 'sink',
    bootstrap_servers = 'localhost:9092',
    topic = 'marquee-sessions',
    format = 'json',
    'sink.commit_mode' = 'exactly_once'
);

INSERT INTO sessions
SELECT
    session_id,
    player_instance,
    profile_id,
    title_id,
    device_type,
    player,
    player_version,
    country,
    isp,
    cdn,
    stream_type,
    qoe->>'start_date' AS start_date,
    CAST(qoe->>'is_final' AS BOOLEAN) AS is_final,
    qoe->>'close_reason' AS close_reason,
    CAST(qoe->>'started_at' AS TIMESTAMP) AS started_at,
    CAST(qoe->>'ended_at' AS TIMESTAMP) AS ended_at,
    CAST(qoe->>'startup_ms' AS BIGINT) AS startup_ms,
    CAST(qoe->>'first_picture_ms' AS BIGINT) AS first_picture_ms,
    CAST(qoe->>'exit_after_ms' AS BIGINT) AS exit_after_ms,
    CAST(qoe->>'startup_waiting_ms' AS BIGINT) AS startup_waiting_ms,
    CAST(qoe->>'playing_ms' AS BIGINT) AS playing_ms,
    CAST(qoe->>'rebuffer_ms' AS BIGINT) AS rebuffer_ms,
    CAST(qoe->>'seek_waiting_ms' AS BIGINT) AS seek_waiting_ms,
    CAST(qoe->>'paused_ms' AS BIGINT) AS paused_ms,
    CAST(qoe->>'ad_ms' AS BIGINT) AS ad_ms,
    CAST(qoe->>'ad_rebuffer_ms' AS BIGINT) AS ad_rebuffer_ms,
    CAST(qoe->>'background_ms' AS BIGINT) AS background_ms,
    CAST(qoe->>'background_startup_waiting_ms' AS BIGINT) AS background_startup_waiting_ms,
    CAST(qoe->>'background_playing_ms' AS BIGINT) AS background_playing_ms,
    CAST(qoe->>'background_rebuffer_ms' AS BIGINT) AS background_rebuffer_ms,
    CAST(qoe->>'background_seek_waiting_ms' AS BIGINT) AS background_seek_waiting_ms,
    CAST(qoe->>'silent_ms' AS BIGINT) AS silent_ms,
    CAST(qoe->>'media_ms' AS BIGINT) AS media_ms,
    CAST(qoe->>'rebuffer_count' AS BIGINT) AS rebuffer_count,
    CAST(qoe->>'background_rebuffer_count' AS BIGINT) AS background_rebuffer_count,
    CAST(qoe->>'ad_rebuffer_count' AS BIGINT) AS ad_rebuffer_count,
    CAST(qoe->>'seek_count' AS BIGINT) AS seek_count,
    CAST(qoe->>'pause_count' AS BIGINT) AS pause_count,
    CAST(qoe->>'ad_count' AS BIGINT) AS ad_count,
    CAST(qoe->>'rendition_switch_count' AS BIGINT) AS rendition_switch_count,
    CAST(qoe->>'error_count' AS BIGINT) AS error_count,
    CAST(qoe->>'inferred_count' AS BIGINT) AS inferred_count,
    CAST(qoe->>'avg_bitrate_kbps' AS DOUBLE) AS avg_bitrate_kbps,
    CAST(qoe->>'bitrate_media_ms' AS BIGINT) AS bitrate_media_ms,
    CAST(qoe->>'bitrate_bit_ms' AS BIGINT) AS bitrate_bit_ms,
    CAST(qoe->>'avg_height_px' AS DOUBLE) AS avg_height_px,
    CAST(qoe->>'height_media_ms' AS BIGINT) AS height_media_ms,
    CAST(qoe->>'height_px_ms' AS BIGINT) AS height_px_ms,
    CAST(qoe->>'upscale_media_ms' AS BIGINT) AS upscale_media_ms,
    CAST(qoe->>'upscale_per_mille_ms' AS BIGINT) AS upscale_per_mille_ms,
    CAST(qoe->>'max_upscale_per_mille' AS BIGINT) AS max_upscale_per_mille,
    CAST(qoe->>'autoplay' AS BOOLEAN) AS autoplay,
    CAST(qoe->>'dropped_frames' AS BIGINT) AS dropped_frames,
    CAST(qoe->>'event_count' AS BIGINT) AS event_count,
    CAST(qoe->>'lost_events' AS BIGINT) AS lost_events,
    CAST(qoe->>'duplicates' AS BIGINT) AS duplicates,
    CAST(qoe->>'conflicts' AS BIGINT) AS conflicts,
    qoe->>'outcome' AS outcome,
    qoe->>'error_code' AS error_code,
    CAST(qoe->>'error_fatal' AS BOOLEAN) AS error_fatal,
    CAST(qoe->>'error_business' AS BOOLEAN) AS error_business,
    qoe->>'end_reason' AS end_reason,
    CAST(qoe->>'refused_events' AS BIGINT) AS refused_events,
    qoe->>'refused_reason' AS refused_reason,
    -- Why there is no row: every other column of the fold is NULL then.
    qoe->>'error' AS problem
FROM session_rows;
