//! Conviva's metrics: VSF and EBVS ÷ attempts, VPF ÷ ended plays, failures split into technical and business; the
//! rebuffering ratio counts waiting after seeks, CIRR leaves it out of the numerator.
//!
//! SPI is the share of streams without failure, with an acceptable startup, without perceivable connection-induced
//! rebuffering and with an adequate bitrate; exits of viewers who hardly waited and business errors are no SPI streams.
//! Conviva lets each publisher set the thresholds. Ours: startup ≤ 5 s, CIRR ≤ 1 %, bitrate ≥ 1,000 kbit/s where it is
//! known, and an exit counts from 5 s of waiting on.

use super::{View, of_minutes, of_sessions};

macro_rules! play_and_rebuffering_ms {
    () => {
        "playing_ms + background_playing_ms + rebuffer_ms + background_rebuffer_ms + seek_waiting_ms + \
         background_seek_waiting_ms"
    };
}

/// By session.
pub(super) const SESSIONS: View = View {
    name: "qoe_conviva",
    doc: "Conviva by session: VSF, EBVS, VST, VPF, rebuffering ratio, CIRR, SPI",
    sql: of_sessions!(concat!(
        "CASE WHEN outcome IN ('pending', 'unknown') THEN 0 ELSE 1 END AS attempts, \
         CASE WHEN outcome IN ('played', 'playback_failure') THEN 1 ELSE 0 END AS plays, \
         CASE WHEN outcome IN ('played', 'playback_failure') AND is_final THEN 1 ELSE 0 END AS ended_plays, \
         CASE WHEN outcome = 'start_failure' AND NOT error_business THEN 1 ELSE 0 END AS vsf_technical, \
         CASE WHEN outcome = 'start_failure' AND error_business THEN 1 ELSE 0 END AS vsf_business, \
         CASE WHEN outcome = 'exit_before_start' THEN 1 ELSE 0 END AS ebvs, \
         CASE WHEN outcome = 'playback_failure' AND NOT error_business THEN 1 ELSE 0 END AS vpf_technical, \
         CASE WHEN outcome = 'playback_failure' AND error_business THEN 1 ELSE 0 END AS vpf_business, \
         CASE WHEN startup_ms IS NULL THEN 0 ELSE 1 END AS timed_starts, startup_ms AS vst_ms, \
         rebuffer_ms + background_rebuffer_ms + seek_waiting_ms + background_seek_waiting_ms AS rebuffering_ms, \
         rebuffer_ms + background_rebuffer_ms AS connection_induced_rebuffering_ms, ",
        play_and_rebuffering_ms!(),
        " AS play_and_rebuffering_ms, bitrate_bit_ms, bitrate_media_ms, \
         CAST(rebuffer_ms + background_rebuffer_ms + seek_waiting_ms + background_seek_waiting_ms AS DOUBLE) / NULLIF(",
        play_and_rebuffering_ms!(),
        ", 0) AS rebuffering_ratio, CAST(rebuffer_ms + background_rebuffer_ms AS DOUBLE) / NULLIF(",
        play_and_rebuffering_ms!(),
        ", 0) AS cirr, avg_bitrate_kbps, \
         CASE WHEN is_final AND outcome <> 'unknown' AND NOT coalesce(error_fatal AND error_business, false) \
         AND NOT (outcome = 'exit_before_start' AND coalesce(exit_after_ms < 5000, false)) THEN 1 ELSE 0 END \
         AS spi_streams, \
         CASE WHEN is_final AND outcome = 'played' AND coalesce(startup_ms <= 5000, true) \
         AND coalesce(avg_bitrate_kbps >= 1000, true) \
         AND 100 * (rebuffer_ms + background_rebuffer_ms) <= ",
        play_and_rebuffering_ms!(),
        " THEN 1 ELSE 0 END AS spi_good_streams"
    )),
};

/// By minute and cell. SPI needs whole sessions: sum those of `qoe_conviva`.
pub(super) const MINUTES: View = View {
    name: "qoe_conviva_minutes",
    doc: "Conviva by minute and cell of a cube; filter by cube_name, then sum",
    sql: of_minutes!(
        concat!(
            "sum(starts + start_failures + start_failures_business + exits_before_start) AS attempts, \
             sum(starts) AS plays, sum(ended_plays) AS ended_plays, sum(start_failures) AS vsf_technical, \
             sum(start_failures_business) AS vsf_business, sum(exits_before_start) AS ebvs, \
             sum(playback_failures) AS vpf_technical, sum(playback_failures_business) AS vpf_business, \
             sum(startups) AS timed_starts, sum(startup_ms) AS vst_ms, \
             sum(rebuffer_ms + background_rebuffer_ms + seek_waiting_ms + background_seek_waiting_ms) AS rebuffering_ms, \
             sum(rebuffer_ms + background_rebuffer_ms) AS connection_induced_rebuffering_ms, sum(",
            play_and_rebuffering_ms!(),
            ") AS play_and_rebuffering_ms, sum(bitrate_bit_ms) AS bitrate_bit_ms, \
             sum(bitrate_media_ms) AS bitrate_media_ms"
        ),
        "CAST(vsf_technical + vsf_business AS DOUBLE) / NULLIF(attempts, 0) AS vsf_ratio, \
         CAST(ebvs AS DOUBLE) / NULLIF(attempts, 0) AS ebvs_ratio, \
         CAST(vpf_technical + vpf_business AS DOUBLE) / NULLIF(ended_plays, 0) AS vpf_ratio, \
         CAST(vst_ms AS DOUBLE) / NULLIF(timed_starts, 0) AS avg_vst_ms, \
         CAST(rebuffering_ms AS DOUBLE) / NULLIF(play_and_rebuffering_ms, 0) AS rebuffering_ratio, \
         CAST(connection_induced_rebuffering_ms AS DOUBLE) / NULLIF(play_and_rebuffering_ms, 0) AS cirr, \
         CAST(bitrate_bit_ms AS DOUBLE) / NULLIF(bitrate_media_ms, 0) / 1000 AS avg_bitrate_kbps"
    ),
};
