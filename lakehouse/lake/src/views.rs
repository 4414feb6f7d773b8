//! The views over the tables: sessions and the published definitions of quality of experience. Each keeps numerators
//! and denominators as columns; ratios are NULL where nothing was watched.

/// A view.
#[derive(Debug)]
pub struct View {
    /// Its name.
    pub name: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// Its definition.
    pub sql: &'static str,
}

/// Every view; a view may use those before it.
pub fn all() -> &'static [View] {
    &[SESSIONS, QOE_CTA_2066, QOE_MARQUEE]
}

/// The latest revision of each session.
const SESSIONS: View = View {
    name: "sessions",
    doc: "the latest revision of each session",
    sql: "SELECT session_id, player_instance, profile_id, title_id, device_type, os, player, player_version, \
          app_version, country, region, isp, cdn, protocol, asset_id, started_at, ended_at, startup_ms, \
          startup_waiting_ms, playing_ms, rebuffer_ms, seek_waiting_ms, paused_ms, ad_ms, background_ms, silent_ms, \
          media_ms, rebuffer_count, seek_count, rendition_switch_count, avg_bitrate_kbps, bitrate_media_ms, \
          bitrate_bit_ms, avg_height_px, dropped_frames, event_count, lost_events, duplicates, conflicts, outcome, \
          error_code, error_fatal, error_business, end_reason, close_reason, revision, is_final, late_events, \
          topic, partition, epoch, start_date \
          FROM (SELECT *, row_number() OVER (PARTITION BY session_id, player_instance ORDER BY epoch DESC, revision DESC) AS \
          newest FROM session_revisions) WHERE newest = 1",
};

/// CTA-2066: stall ÷ watched, watched = startup + play + stall + seek; a session failed when any error was fatal.
const QOE_CTA_2066: View = View {
    name: "qoe_cta_2066",
    doc: "CTA-2066 by session: failure, startup, stalled ÷ watched, bits ÷ media time",
    sql: "SELECT session_id, player_instance, started_at, title_id, country, device_type, cdn, \
          outcome IN ('start_failure', 'playback_failure') AS playback_failed, \
          startup_ms AS initial_startup_ms, rebuffer_ms AS stall_ms, \
          startup_waiting_ms + playing_ms + rebuffer_ms + seek_waiting_ms AS watched_ms, \
          CAST(rebuffer_ms AS DOUBLE) / NULLIF(startup_waiting_ms + playing_ms + rebuffer_ms + seek_waiting_ms, 0) \
          AS stalled_ratio, rebuffer_count AS stall_count, bitrate_bit_ms, bitrate_media_ms, \
          avg_bitrate_kbps FROM sessions WHERE outcome <> 'pending'",
};

/// Marquee's own: rebuffering against the time in which rebuffering was possible (playing or rebuffering), so that a
/// slow startup, which has its own figure, cannot dilute it; attempts as the denominator of failures and exits, because
/// each attempt ends in exactly one outcome; business errors apart, because no engineer can mend them.
const QOE_MARQUEE: View = View {
    name: "qoe_marquee",
    doc: "Marquee's definition by session: each outcome one of the attempts, rebuffering ÷ (playing + rebuffering)",
    sql: "SELECT session_id, player_instance, started_at, title_id, country, device_type, cdn, outcome, \
          CASE WHEN outcome = 'unknown' THEN 0 ELSE 1 END AS attempts, \
          CASE WHEN outcome = 'start_failure' AND NOT error_business THEN 1 ELSE 0 END AS start_failures, \
          CASE WHEN outcome = 'start_failure' AND error_business THEN 1 ELSE 0 END AS start_failures_business, \
          CASE WHEN outcome = 'exit_before_start' THEN 1 ELSE 0 END AS exits_before_start, \
          CASE WHEN outcome = 'playback_failure' AND NOT error_business THEN 1 ELSE 0 END AS playback_failures, \
          CASE WHEN outcome = 'playback_failure' AND error_business THEN 1 ELSE 0 END AS playback_failures_business, \
          startup_ms, rebuffer_ms, playing_ms + rebuffer_ms AS playing_or_rebuffering_ms, \
          CAST(rebuffer_ms AS DOUBLE) / NULLIF(playing_ms + rebuffer_ms, 0) AS rebuffering_ratio, rebuffer_count, \
          avg_bitrate_kbps FROM sessions WHERE outcome <> 'pending'",
};
