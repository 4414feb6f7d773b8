-- Minutes: what players report, counted by minute, country and CDN while it happens. No fold and no function of ours: a
-- look at the present, not the numbers of record.
--
-- Submit: POST /api/v1/pipelines {"name": "marquee-minutes", "query": <this file>, "parallelism": 4,
--                                 "checkpoint_interval_micros": 60000000}
-- Written for Arroyo 0.15 and 0.16. Input as in sessions.sql.
--
-- Limits: it is not table `qoe_minutes`. Events that a player sends twice count twice, a `rebuffer_start` while seeking
-- counts although it is no stall, and durations and concurrent viewers need the fold, which Arroyo calls when a session
-- is over. A minute comes 30 s after its end; an idle partition holds it (see sessions.sql).

CREATE TABLE events (
    session_id TEXT NOT NULL,
    type TEXT NOT NULL,
    event_time TIMESTAMP NOT NULL,
    fatal BOOLEAN,
    country TEXT,
    cdn TEXT,
    WATERMARK FOR event_time AS (event_time - INTERVAL '30 seconds')
) WITH (
    connector = 'kafka',
    type = 'source',
    bootstrap_servers = 'localhost:9092',
    topic = 'marquee-events',
    format = 'json',
    bad_data = 'drop',
    'source.offset' = 'latest',
    'source.group_id' = 'marquee-minutes'
);

CREATE TABLE minutes WITH (
    connector = 'kafka',
    type = 'sink',
    bootstrap_servers = 'localhost:9092',
    topic = 'marquee-minutes',
    format = 'json'
);

INSERT INTO minutes
SELECT
    span.start AS minute,
    country,
    cdn,
    play_requests,
    first_frames,
    rebuffer_starts,
    fatal_errors,
    heartbeats
FROM (
    SELECT
        TUMBLE(INTERVAL '1 minute') AS span,
        country,
        cdn,
        sum(CASE WHEN type = 'play_requested' THEN 1 ELSE 0 END) AS play_requests,
        sum(CASE WHEN type = 'first_frame' THEN 1 ELSE 0 END) AS first_frames,
        sum(CASE WHEN type = 'rebuffer_start' THEN 1 ELSE 0 END) AS rebuffer_starts,
        sum(CASE WHEN type = 'error' AND fatal THEN 1 ELSE 0 END) AS fatal_errors,
        sum(CASE WHEN type = 'heartbeat' THEN 1 ELSE 0 END) AS heartbeats
    FROM events
    WHERE type <> 'tick'
    GROUP BY span, country, cdn
);
