//! The row that the fold gives without Arroyo: `SessionFold` called from Rust on the same events.

use std::collections::BTreeMap;

use marquee_qoe::{NoMinutes, SessionFold, State};
use serde_json::{Value, json};

use crate::call::Sent;

/// The row of a session of which Arroyo has these events. `started_at` and its kin are ms.
pub fn row(events: &[Sent]) -> Value {
    let mut winners: BTreeMap<u64, &Sent> = BTreeMap::new();
    for event in events {
        let winner = winners.entry(event.sequence).or_insert(event);
        if event.event_id < winner.event_id {
            *winner = event;
        }
    }
    let mut fold = SessionFold::default();
    for event in winners.values() {
        fold.apply(event.time_ms, event.media_time_ms, &event.payload, &mut NoMinutes);
    }
    fold.close(&mut NoMinutes);
    let is_winner = |event: &&Sent| event.event_id == winners[&event.sequence].event_id;
    let same_ids = events.iter().filter(is_winner).count();
    let last_sequence = winners.last_key_value().map_or(0, |(sequence, _)| *sequence);
    let state = |state| fold.duration_ms(state);
    let background = |state| fold.background_duration_ms(state);
    let error = fold.error.as_ref();
    let mut row = json!({
        "started_at": fold.started_at_ms,
        "ended_at": fold.last_time_ms,
        "is_final": true,
        "close_reason": if fold.has_ended() { "ended" } else { "gap" },
        "startup_ms": fold.startup_ms,
        "first_picture_ms": fold.first_picture_ms,
        "exit_after_ms": fold.exit_after_ms,
        "startup_waiting_ms": state(State::Startup),
        "playing_ms": state(State::Playing),
        "rebuffer_ms": state(State::Rebuffering),
        "seek_waiting_ms": state(State::SeekWaiting),
        "paused_ms": state(State::Paused),
        "ad_ms": state(State::Ad),
        "ad_rebuffer_ms": state(State::AdRebuffering),
        "background_ms": State::ALL.into_iter().map(background).sum::<i64>(),
        "background_startup_waiting_ms": background(State::Startup),
        "background_playing_ms": background(State::Playing),
        "background_rebuffer_ms": background(State::Rebuffering),
        "background_seek_waiting_ms": background(State::SeekWaiting),
        "silent_ms": fold.silent_ms,
        "media_ms": fold.media_ms,
        "rebuffer_count": fold.rebuffer_count,
        "background_rebuffer_count": fold.background_rebuffer_count,
        "ad_rebuffer_count": fold.ad_rebuffer_count,
        "seek_count": fold.seek_count,
        "pause_count": fold.pause_count,
        "ad_count": fold.ad_count,
        "rendition_switch_count": fold.rendition_switch_count,
        "error_count": fold.error_count,
        "inferred_count": fold.inferred_count,
        "avg_bitrate_kbps": fold.avg_bitrate_kbps(),
        "bitrate_media_ms": fold.bitrate_media_ms,
        "bitrate_bit_ms": fold.bitrate_bit_ms,
        "avg_height_px": fold.avg_height_px(),
        "height_media_ms": fold.height_media_ms,
        "height_px_ms": fold.height_px_ms,
        "upscale_media_ms": fold.upscale_media_ms,
        "upscale_per_mille_ms": fold.upscale_per_mille_ms,
        "max_upscale_per_mille": fold.max_upscale_per_mille,
        "autoplay": fold.autoplay,
        "dropped_frames": fold.dropped_frames,
        "event_count": fold.event_count,
        "lost_events": last_sequence + 1 - fold.event_count,
        "duplicates": same_ids - winners.len(),
        "conflicts": events.len() - same_ids,
        "outcome": fold.outcome(true).name(),
        "error_code": error.map(|error| error.code.as_str()),
        "error_fatal": error.map(|error| error.fatal),
        "error_business": error.map(|error| error.business),
        "end_reason": fold.end_reason.as_deref(),
        "refused_events": 0,
        "refused_reason": null,
    });
    row["start_date"] = Value::Null;
    row
}

/// Takes the calendar out of the function's row, as [`row`] has none.
pub fn without_calendar(mut row: Value) -> Value {
    for name in ["started_at", "ended_at"] {
        row[name] = json!(ms(row[name].as_str().expect("an instant")));
    }
    row["start_date"] = Value::Null;
    row
}

/// The instant of an RFC 3339 text of the years 1970 to 2099, counted day by day.
fn ms(text: &str) -> i64 {
    let part = |range| {
        text.get::<std::ops::Range<usize>>(range).and_then(|digits| digits.parse::<i64>().ok()).expect("digits")
    };
    let (year, month, day) = (part(0..4), part(5..7), part(8..10));
    let leap = |year: i64| i64::from(year % 4 == 0);
    let months = [31, 28 + leap(year), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let days = (1970..year).map(|year| 365 + leap(year)).sum::<i64>()
        + months.iter().take(usize::try_from(month - 1).expect("a month")).sum::<i64>()
        + day
        - 1;
    assert_eq!((&text[10..11], &text[19..20], &text[23..]), ("T", ".", "Z"));
    (((days * 24 + part(11..13)) * 60 + part(14..16)) * 60 + part(17..19)) * 1000 + part(20..23)
}
