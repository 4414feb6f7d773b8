//! Mux Data's metrics and the scores that it has published. Startup ends with the first frame of an ad or of the content;
//! rebuffering ÷ watched; playback failures hold the start failures; business exceptions are apart.
//!
//! The overall score's combination is unpublished, so there is none here. Two of the worked examples in Mux's own
//! documentation contradict its formulas (85 for 80, 89 for 92); these are the formulas.

use super::{View, of_minutes, of_sessions, watched_ms};

/// By session, with scores from 0 to 100. Sums over scores mean nothing: average them, as Mux does.
pub(super) const SESSIONS: View = View {
    name: "qoe_mux",
    doc: "Mux by session (view): startup, rebuffering ÷ watched, exits, failures, upscale, the four published scores",
    sql: of_sessions!(concat!(
        "CASE WHEN outcome IN ('pending', 'unknown') THEN 0 ELSE 1 END AS views, \
         CASE WHEN outcome IN ('played', 'playback_failure') THEN 1 ELSE 0 END AS started_views, \
         CASE WHEN first_picture_ms IS NULL THEN 0 ELSE 1 END AS video_startups, \
         first_picture_ms AS video_startup_ms, \
         CASE WHEN startup_ms IS NULL THEN 0 ELSE 1 END AS content_startups, startup_ms AS content_startup_ms, \
         CASE WHEN outcome = 'exit_before_start' THEN 1 ELSE 0 END AS exits_before_start, \
         CASE WHEN outcome = 'start_failure' AND NOT error_business THEN 1 ELSE 0 END AS start_failures, \
         CASE WHEN outcome IN ('start_failure', 'playback_failure') AND NOT error_business THEN 1 ELSE 0 END \
         AS playback_failures, \
         CASE WHEN outcome IN ('start_failure', 'playback_failure') AND error_business THEN 1 ELSE 0 END \
         AS business_exceptions, \
         CASE WHEN is_final AND outcome <> 'unknown' AND end_reason IS NULL AND NOT coalesce(error_fatal, false) \
         THEN 1 ELSE 0 END \
         AS dropped_views, \
         rebuffer_count + background_rebuffer_count AS rebuffer_count, \
         rebuffer_ms + background_rebuffer_ms AS rebuffer_ms, ",
        watched_ms!(),
        " AS watch_ms, seek_count, seek_waiting_ms + background_seek_waiting_ms AS seek_latency_ms, \
         bitrate_bit_ms, bitrate_media_ms, upscale_per_mille_ms, upscale_media_ms, \
         CAST(rebuffer_ms + background_rebuffer_ms AS DOUBLE) / NULLIF(",
        watched_ms!(),
        ", 0) AS rebuffer_ratio, avg_bitrate_kbps AS weighted_bitrate_kbps, \
         max_upscale_per_mille / 1000.0 AS max_upscale, \
         CAST(upscale_per_mille_ms AS DOUBLE) / NULLIF(upscale_media_ms, 0) / 1000 AS avg_upscale, \
         800 / (8 + first_picture_ms / 1000.0) AS startup_score, \
         CASE WHEN outcome IN ('played', 'playback_failure') THEN \
         (100 / sqrt(1 + power((rebuffer_count + background_rebuffer_count) / 2.0, 2)) \
         + 100 * exp(-10 * coalesce(CAST(rebuffer_ms + background_rebuffer_ms AS DOUBLE) / NULLIF(",
        watched_ms!(),
        ", 0), 0))) / 2 END AS smoothness_score, \
         100 * exp(-0.33 * (0.15 * max_upscale_per_mille / 1000.0 \
         + 0.85 * CAST(upscale_per_mille_ms AS DOUBLE) / NULLIF(upscale_media_ms, 0) / 1000)) AS video_quality_score, \
         CASE WHEN outcome = 'played' THEN 100 \
         WHEN outcome = 'exit_before_start' AND coalesce(exit_after_ms >= 1000, true) THEN 50 \
         WHEN outcome IN ('start_failure', 'playback_failure') AND NOT error_business THEN 0 END AS success_score"
    )),
};

/// By minute and cell. Scores need whole sessions: average those of `qoe_mux`.
pub(super) const MINUTES: View = View {
    name: "qoe_mux_minutes",
    doc: "Mux by minute and cell of a cube; filter by cube_name, then sum",
    sql: of_minutes!(
        concat!(
            "sum(starts + start_failures + start_failures_business + exits_before_start) AS views, \
             sum(starts) AS started_views, sum(first_pictures) AS video_startups, \
             sum(first_picture_ms) AS video_startup_ms, sum(startups) AS content_startups, \
             sum(startup_ms) AS content_startup_ms, sum(exits_before_start) AS exits_before_start, \
             sum(start_failures) AS start_failures, sum(start_failures + playback_failures) AS playback_failures, \
             sum(start_failures_business + playback_failures_business) AS business_exceptions, \
             sum(rebuffer_count + background_rebuffer_count) AS rebuffer_count, \
             sum(rebuffer_ms + background_rebuffer_ms) AS rebuffer_ms, sum(",
            watched_ms!(),
            ") AS watch_ms, sum(seek_count) AS seek_count, \
             sum(seek_waiting_ms + background_seek_waiting_ms) AS seek_latency_ms, \
             sum(bitrate_bit_ms) AS bitrate_bit_ms, sum(bitrate_media_ms) AS bitrate_media_ms, \
             sum(upscale_per_mille_ms) AS upscale_per_mille_ms, sum(upscale_media_ms) AS upscale_media_ms"
        ),
        "CAST(video_startup_ms AS DOUBLE) / NULLIF(video_startups, 0) AS avg_video_startup_ms, \
         CAST(exits_before_start AS DOUBLE) / NULLIF(views, 0) AS exit_before_start_ratio, \
         CAST(start_failures AS DOUBLE) / NULLIF(views, 0) AS start_failure_ratio, \
         CAST(playback_failures AS DOUBLE) / NULLIF(views, 0) AS playback_failure_ratio, \
         CAST(rebuffer_ms AS DOUBLE) / NULLIF(watch_ms, 0) AS rebuffer_ratio, \
         CAST(bitrate_bit_ms AS DOUBLE) / NULLIF(bitrate_media_ms, 0) / 1000 AS weighted_bitrate_kbps, \
         CAST(upscale_per_mille_ms AS DOUBLE) / NULLIF(upscale_media_ms, 0) / 1000 AS avg_upscale"
    ),
};
