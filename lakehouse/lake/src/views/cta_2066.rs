//! CTA-2066, Streaming Quality of Experience Events, Properties and Metrics (public draft): a session failed when any
//! error was fatal; stalled % = Σ stall ÷ Σ watched; average bitrate = Σ bits ÷ Σ media time.
//!
//! A title that started by itself continues the session before it: it adds no session, but what it adds is counted.

use super::{View, of_minutes, of_sessions, watched_ms};

/// By session.
pub(super) const SESSIONS: View = View {
    name: "qoe_cta_2066",
    doc: "CTA-2066 by session: failures, startup, stalled ÷ watched, bits ÷ media time",
    sql: of_sessions!(concat!(
        "CASE WHEN outcome IN ('pending', 'unknown') OR autoplay THEN 0 ELSE 1 END AS sessions, \
         CASE WHEN outcome IN ('start_failure', 'playback_failure') THEN 1 ELSE 0 END AS failed_sessions, \
         CASE WHEN startup_ms IS NULL THEN 0 ELSE 1 END AS initial_startups, startup_ms AS initial_startup_ms, \
         rebuffer_count + background_rebuffer_count AS stall_count, \
         rebuffer_ms + background_rebuffer_ms AS stall_ms, ",
        watched_ms!(),
        " AS watched_ms, bitrate_bit_ms, bitrate_media_ms, \
         CAST(rebuffer_ms + background_rebuffer_ms AS DOUBLE) / NULLIF(",
        watched_ms!(),
        ", 0) AS stalled_ratio, avg_bitrate_kbps"
    )),
};

/// By minute and cell.
pub(super) const MINUTES: View = View {
    name: "qoe_cta_2066_minutes",
    doc: "CTA-2066 by minute and cell of a cube; filter by cube_name, then sum",
    sql: of_minutes!(
        concat!(
            "sum(starts + start_failures + start_failures_business + exits_before_start - resolved_autoplays) \
             AS sessions, \
             sum(start_failures + start_failures_business + playback_failures + playback_failures_business) \
             AS failed_sessions, \
             sum(startups) AS initial_startups, sum(startup_ms) AS initial_startup_ms, \
             sum(rebuffer_count + background_rebuffer_count) AS stall_count, \
             sum(rebuffer_ms + background_rebuffer_ms) AS stall_ms, sum(",
            watched_ms!(),
            ") AS watched_ms, sum(bitrate_bit_ms) AS bitrate_bit_ms, sum(bitrate_media_ms) AS bitrate_media_ms"
        ),
        "CAST(failed_sessions AS DOUBLE) / NULLIF(sessions, 0) AS failed_ratio, \
         CAST(initial_startup_ms AS DOUBLE) / NULLIF(initial_startups, 0) AS avg_initial_startup_ms, \
         CAST(stall_ms AS DOUBLE) / NULLIF(watched_ms, 0) AS stalled_ratio, \
         CAST(bitrate_bit_ms AS DOUBLE) / NULLIF(bitrate_media_ms, 0) / 1000 AS avg_bitrate_kbps"
    ),
};
