//! Marquee's own definition, each rule with its reason:
//!
//! - rebuffering against the time in which rebuffering was possible (playing or rebuffering, in sight): a slow startup
//!   has its own figure and must not dilute it, a seek is the viewer's wish, and nobody suffers in a hidden tab;
//! - attempts with a known outcome as the denominator of outcomes, because each of them has exactly one;
//! - business errors apart, because no engineer can mend them;
//! - quick exits apart: who leaves within a second has not waited;
//! - ads apart in everything: what stalls there is another delivery chain.

use super::{View, of_minutes, of_sessions};

/// By session.
pub(super) const SESSIONS: View = View {
    name: "qoe_marquee",
    doc: "Marquee's definition by session: each outcome one of the attempts, rebuffering ÷ (playing + rebuffering)",
    sql: of_sessions!(
        "CASE WHEN outcome IN ('pending', 'unknown') THEN 0 ELSE 1 END AS attempts, \
         CASE WHEN outcome IN ('played', 'playback_failure') THEN 1 ELSE 0 END AS starts, \
         CASE WHEN outcome = 'start_failure' AND NOT error_business THEN 1 ELSE 0 END AS start_failures, \
         CASE WHEN outcome = 'start_failure' AND error_business THEN 1 ELSE 0 END AS start_failures_business, \
         CASE WHEN outcome = 'exit_before_start' THEN 1 ELSE 0 END AS exits_before_start, \
         CASE WHEN outcome = 'exit_before_start' AND coalesce(exit_after_ms < 1000, false) THEN 1 ELSE 0 END \
         AS quick_exits, \
         CASE WHEN outcome = 'playback_failure' AND NOT error_business THEN 1 ELSE 0 END AS playback_failures, \
         CASE WHEN outcome = 'playback_failure' AND error_business THEN 1 ELSE 0 END AS playback_failures_business, \
         CASE WHEN startup_ms IS NULL THEN 0 ELSE 1 END AS startups, startup_ms, \
         rebuffer_count, rebuffer_ms, playing_ms, playing_ms + rebuffer_ms AS playing_or_rebuffering_ms, \
         ad_rebuffer_ms, ad_ms + ad_rebuffer_ms AS ad_or_rebuffering_ms, bitrate_bit_ms, bitrate_media_ms, \
         height_px_ms, height_media_ms, \
         CAST(rebuffer_ms AS DOUBLE) / NULLIF(playing_ms + rebuffer_ms, 0) AS rebuffering_ratio, \
         CAST(ad_rebuffer_ms AS DOUBLE) / NULLIF(ad_ms + ad_rebuffer_ms, 0) AS ad_rebuffering_ratio, \
         avg_bitrate_kbps, avg_height_px"
    ),
};

/// By minute and cell.
pub(super) const MINUTES: View = View {
    name: "qoe_marquee_minutes",
    doc: "Marquee's definition by minute and cell of a cube; filter by cube_name, then sum",
    sql: of_minutes!(
        "sum(starts + start_failures + start_failures_business + exits_before_start) AS attempts, \
         sum(starts) AS starts, sum(start_failures) AS start_failures, \
         sum(start_failures_business) AS start_failures_business, sum(exits_before_start) AS exits_before_start, \
         sum(quick_exits) AS quick_exits, sum(playback_failures) AS playback_failures, \
         sum(playback_failures_business) AS playback_failures_business, sum(startups) AS startups, \
         sum(startup_ms) AS startup_ms, sum(rebuffer_count) AS rebuffer_count, sum(rebuffer_ms) AS rebuffer_ms, \
         sum(playing_ms) AS playing_ms, sum(playing_ms + rebuffer_ms) AS playing_or_rebuffering_ms, \
         sum(ad_rebuffer_ms) AS ad_rebuffer_ms, sum(ad_ms + ad_rebuffer_ms) AS ad_or_rebuffering_ms, \
         sum(bitrate_bit_ms) AS bitrate_bit_ms, sum(bitrate_media_ms) AS bitrate_media_ms, \
         sum(height_px_ms) AS height_px_ms, sum(height_media_ms) AS height_media_ms",
        "CAST(start_failures + start_failures_business AS DOUBLE) / NULLIF(attempts, 0) AS start_failure_ratio, \
         CAST(exits_before_start AS DOUBLE) / NULLIF(attempts, 0) AS exit_before_start_ratio, \
         CAST(startup_ms AS DOUBLE) / NULLIF(startups, 0) AS avg_startup_ms, \
         CAST(rebuffer_ms AS DOUBLE) / NULLIF(playing_or_rebuffering_ms, 0) AS rebuffering_ratio, \
         CAST(ad_rebuffer_ms AS DOUBLE) / NULLIF(ad_or_rebuffering_ms, 0) AS ad_rebuffering_ratio, \
         CAST(bitrate_bit_ms AS DOUBLE) / NULLIF(bitrate_media_ms, 0) / 1000 AS avg_bitrate_kbps, \
         CAST(height_px_ms AS DOUBLE) / NULLIF(height_media_ms, 0) AS avg_height_px"
    ),
};
