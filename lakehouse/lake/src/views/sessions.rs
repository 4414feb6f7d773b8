//! The latest revision of each session: what every definition at session level reads.

use super::{View, dimensions};

/// The latest revision of each session.
pub(super) const SESSIONS: View = View {
    name: "sessions",
    doc: "the latest revision of each session",
    sql: concat!(
        "SELECT session_id, player_instance, profile_id, asset_id, ",
        dimensions!(),
        ", started_at, ended_at, startup_ms, first_picture_ms, exit_after_ms, autoplay, \
          startup_waiting_ms, playing_ms, rebuffer_ms, seek_waiting_ms, paused_ms, ad_ms, ad_rebuffer_ms, background_ms, \
          background_startup_waiting_ms, background_playing_ms, background_rebuffer_ms, background_seek_waiting_ms, \
          silent_ms, media_ms, rebuffer_count, background_rebuffer_count, ad_rebuffer_count, seek_count, pause_count, \
          ad_count, rendition_switch_count, error_count, inferred_count, avg_bitrate_kbps, bitrate_media_ms, \
          bitrate_bit_ms, avg_height_px, height_media_ms, height_px_ms, upscale_media_ms, upscale_per_mille_ms, \
          max_upscale_per_mille, dropped_frames, event_count, lost_events, duplicates, conflicts, outcome, error_code, \
          error_fatal, error_business, end_reason, close_reason, revision, is_final, late_events, topic, partition, \
          epoch, start_date \
          FROM (SELECT *, row_number() OVER (PARTITION BY session_id, player_instance ORDER BY epoch DESC, revision DESC) AS \
          newest FROM session_revisions) WHERE newest = 1"
    ),
};
