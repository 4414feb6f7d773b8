//! The rules that an event must keep to be used at all; who breaks one goes to dead letters with its name. They look
//! only at the record, never at the present, so that a replay decides the same.

use marquee_cmcd::UNCOUNTED_FROM;
use marquee_events::{ContentType, EventView, FUTURE_LIMIT_MS, MAX_ID_BYTES, PayloadView};

/// A session of a year of heartbeats every second stays below this. Sequences from here on are the CMCD decoder's.
const MAX_SEQUENCE: u64 = UNCOUNTED_FROM;

/// Ten times what 16K video needs (bit/s): sums of bitrate × ms stay within 64 bits.
const MAX_BITRATE_BPS: u64 = 10_000_000_000;

/// Playheads of live streams may be wall-clock times; beyond the year 5000 they are none (ms).
const MAX_MEDIA_TIME_MS: i64 = 100_000_000_000_000;

/// Larger than any picture or screen (px): sums of upscale × ms stay within 64 bits.
const MAX_PICTURE_PX: u32 = 65_535;

/// Players offer at most 16 × (‰); sums of media time stay within 64 bits far beyond.
const MAX_RATE_PER_MILLE: u32 = 100_000;

/// The rule that an event of such a record breaks: (reason, detail). `shift_ms` corrects its clock.
pub(crate) fn broken_rule(
    event: &EventView<'_>,
    content_type: ContentType,
    shift_ms: i64,
    received_at_ms: i64,
) -> Option<(&'static str, String)> {
    let Some(payload) = &event.payload else {
        return Some(("unknown_payload", "the event has no payload of a known kind".to_owned()));
    };
    if event.sequence >= MAX_SEQUENCE && content_type != ContentType::Cmcd {
        return Some(("sequence_out_of_range", format!("sequence {} is not below {MAX_SEQUENCE}", event.sequence)));
    }
    if event.event_id.len() > MAX_ID_BYTES {
        return Some(("text_too_long", format!("event_id has {} bytes", event.event_id.len())));
    }
    let time_ms = event.event_time_ms.saturating_add(shift_ms);
    if event.event_time_ms <= 0 || time_ms <= 0 {
        return Some(("bad_time", format!("event_time_ms {} is not after 1970", event.event_time_ms)));
    }
    if time_ms > received_at_ms.saturating_add(FUTURE_LIMIT_MS) {
        let ahead_ms = time_ms - received_at_ms;
        return Some(("future_time", format!("event_time is {ahead_ms} ms ahead of the collector's clock")));
    }
    if event.media_time_ms.is_some_and(|ms| !(-MAX_MEDIA_TIME_MS..=MAX_MEDIA_TIME_MS).contains(&ms)) {
        return Some(("media_time_out_of_range", format!("media_time_ms {:?}", event.media_time_ms)));
    }
    let texts: [&str; 3] = match payload {
        PayloadView::Rendition { bitrate_bps, .. }
        | PayloadView::Heartbeat { bitrate_bps, .. }
        | PayloadView::PlayerState { bitrate_bps, .. }
            if *bitrate_bps > MAX_BITRATE_BPS =>
        {
            return Some(("bitrate_out_of_range", format!("bitrate_bps {bitrate_bps} is above {MAX_BITRATE_BPS}")));
        }
        PayloadView::Heartbeat { throughput_bps, .. } if i64::try_from(*throughput_bps).is_err() => {
            return Some(("throughput_out_of_range", format!("throughput_bps {throughput_bps}")));
        }
        PayloadView::Rendition { width, height, .. } | PayloadView::Viewport { width, height }
            if (*width).max(*height) > MAX_PICTURE_PX =>
        {
            return Some(("picture_out_of_range", format!("{width} × {height} px")));
        }
        PayloadView::PlaybackRate { rate_per_mille } if *rate_per_mille > MAX_RATE_PER_MILLE => {
            return Some(("rate_out_of_range", format!("rate_per_mille {rate_per_mille}")));
        }
        PayloadView::PlayerState { state: None, .. } => {
            return Some(("unknown_state", "the player reports a state that is not known".to_owned()));
        }
        PayloadView::Rendition { representation_id, codec, cdn, .. } => [representation_id, codec, cdn],
        PayloadView::AdStart { ad_id: text }
        | PayloadView::Error { code: text, .. }
        | PayloadView::PlayerState { code: text, .. }
        | PayloadView::SessionEnd { reason: text } => [text, "", ""],
        _ => [""; 3],
    };
    if texts.iter().any(|text| text.contains('\0')) || event.event_id.contains('\0') {
        return Some(("text_with_nul", "a text has a NUL, where many readers end a text".to_owned()));
    }
    let longest = texts.into_iter().map(str::len).max().unwrap_or_default();
    (longest > MAX_ID_BYTES).then(|| ("text_too_long", format!("a text of the payload has {longest} bytes")))
}
