-- Session rows to Delta Lake: copies topic `marquee-sessions`, which sessions.sql writes, to a table of its own.
--
-- Submit: POST /api/v1/pipelines {"name": "marquee-sessions-to-delta", "query": <this file>, "parallelism": 1,
--                                 "checkpoint_interval_micros": 60000000}
-- Written for Arroyo 0.15 and 0.16. It calls no function of ours.
--
-- Limits of Arroyo's Delta sink:
-- * Its files carry no partition values: readers prune by statistics only, hence no partitioning here.
-- * A file is finished by `rolling_policy.interval` alone when little comes: without it the last rows stay invisible.
-- * On S3 it must be the only writer of the table: point it at a new path, never at Marquee's own lake.
-- * On a local path a crash between a file and its commit can leave the table behind the checkpoint.
-- * It takes rows that are never taken back, so revisions cannot be written; session windows make none.

CREATE TABLE sessions (
    session_id TEXT NOT NULL,
    player_instance TEXT NOT NULL,
    profile_id TEXT,
    title_id TEXT,
    device_type TEXT,
    player TEXT,
    player_version TEXT,
    country TEXT,
    isp TEXT,
    cdn TEXT,
    stream_type TEXT,
    start_date TEXT,
    is_final BOOLEAN,
    close_reason TEXT,
    started_at TIMESTAMP,
    ended_at TIMESTAMP NOT NULL,
    startup_ms BIGINT,
    first_picture_ms BIGINT,
    exit_after_ms BIGINT,
    startup_waiting_ms BIGINT,
    playing_ms BIGINT,
    rebuffer_ms BIGINT,
    seek_waiting_ms BIGINT,
    paused_ms BIGINT,
    ad_ms BIGINT,
    ad_rebuffer_ms BIGINT,
    background_ms BIGINT,
    background_startup_waiting_ms BIGINT,
    background_playing_ms BIGINT,
    background_rebuffer_ms BIGINT,
    background_seek_waiting_ms BIGINT,
    silent_ms BIGINT,
    media_ms BIGINT,
    rebuffer_count BIGINT,
    background_rebuffer_count BIGINT,
    ad_rebuffer_count BIGINT,
    seek_count BIGINT,
    pause_count BIGINT,
    ad_count BIGINT,
    rendition_switch_count BIGINT,
    error_count BIGINT,
    inferred_count BIGINT,
    avg_bitrate_kbps DOUBLE,
    bitrate_media_ms BIGINT,
    bitrate_bit_ms BIGINT,
    avg_height_px DOUBLE,
    height_media_ms BIGINT,
    height_px_ms BIGINT,
    upscale_media_ms BIGINT,
    upscale_per_mille_ms BIGINT,
    max_upscale_per_mille BIGINT,
    autoplay BOOLEAN,
    dropped_frames BIGINT,
    event_count BIGINT,
    lost_events BIGINT,
    duplicates BIGINT,
    conflicts BIGINT,
    outcome TEXT,
    error_code TEXT,
    error_fatal BOOLEAN,
    error_business BOOLEAN,
    end_reason TEXT,
    refused_events BIGINT,
    refused_reason TEXT,
    problem TEXT,
    WATERMARK FOR ended_at AS (ended_at - INTERVAL '1 hour')
) WITH (
    connector = 'kafka',
    type = 'source',
    bootstrap_servers = 'localhost:9092',
    topic = 'marquee-sessions',
    format = 'json',
    bad_data = 'drop',
    'source.offset' = 'earliest',
    'source.read_mode' = 'read_committed',
    'source.group_id' = 'marquee-sessions-to-delta'
);

CREATE TABLE session_table WITH (
    connector = 'delta',
    type = 'sink',
    path = 's3://analytics/arroyo/sessions',
    format = 'parquet',
    'parquet.compression' = 'zstd',
    'filename.strategy' = 'uuid',
    'rolling_policy.interval' = INTERVAL '5 minutes'
);

INSERT INTO session_table
SELECT * FROM sessions
WHERE problem IS NULL;
