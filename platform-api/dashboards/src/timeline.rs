//! What a session did when: its raw events folded once more, by the fold that made its row, and each interval kept. The
//! sums of the spans are the durations of the row.

use std::borrow::Cow;

use marquee_events::{PayloadKind, PayloadView};
use marquee_qoe::{NoMinutes, SessionFold, State};
use serde::{Deserialize, Serialize};

/// A row of table `events`, as `sessions_sql::events` selects it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct EventRow {
    sequence: i64,
    #[serde(rename = "type")]
    kind: String,
    time_ms: i64,
    is_late: bool,
    media_time_ms: Option<i64>,
    representation_id: Option<String>,
    bitrate_bps: Option<i64>,
    width_px: Option<i32>,
    height_px: Option<i32>,
    dropped_frames: Option<i64>,
    detail: Option<String>,
    #[serde(default)]
    fatal: bool,
    #[serde(default)]
    business: bool,
}

/// A stretch of time in one state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Span {
    /// As the columns of a session call it, without `_ms`; `silent` for a silence longer than the session gap.
    pub(crate) state: &'static str,
    /// Its start (ms since the epoch).
    pub(crate) from_ms: i64,
    /// Its end (ms since the epoch).
    pub(crate) to_ms: i64,
}

/// The spans of a session. Rows come in the order of the fold: by sequence, copies of one by event id and arrival.
pub(crate) fn spans(rows: &[EventRow]) -> Vec<Span> {
    let mut fold = SessionFold::default();
    let mut spans: Vec<Span> = Vec::new();
    let mut last_sequence = None;
    for row in rows {
        // Of copies the first one counts; what came past the horizon is in no session.
        if row.is_late || last_sequence == Some(row.sequence) {
            continue;
        }
        last_sequence = Some(row.sequence);
        let Some(payload) = payload(row) else { continue };
        let (from_ms, to_ms) = (fold.last_time_ms, row.time_ms);
        if let Some(state) = fold.state().filter(|_| fold.event_count > 0 && to_ms > from_ms) {
            let state = if to_ms - from_ms > fold.gap_ms() { "silent" } else { name(state) };
            match spans.last_mut() {
                Some(last) if last.state == state && last.to_ms == from_ms => last.to_ms = to_ms,
                _ => spans.push(Span { state, from_ms, to_ms }),
            }
        }
        fold.apply(row.time_ms, row.media_time_ms, &payload, &mut NoMinutes);
    }
    spans
}

fn name(state: State) -> &'static str {
    match state {
        State::Startup => "startup_waiting",
        State::Playing => "playing",
        State::Rebuffering => "rebuffer",
        State::SeekWaiting => "seek_waiting",
        State::Paused => "paused",
        State::Ad => "ad",
        State::Background => "background",
    }
}

/// Only what decides about states; the row has the rest. `None` for a kind that this version does not know.
fn payload(row: &EventRow) -> Option<PayloadView<'_>> {
    let detail = || Cow::Borrowed(row.detail.as_deref().unwrap_or_default());
    Some(match PayloadKind::from_name(&row.kind)? {
        PayloadKind::PlayRequested => PayloadView::PlayRequested,
        PayloadKind::FirstFrame => PayloadView::FirstFrame,
        PayloadKind::RebufferStart => PayloadView::RebufferStart,
        PayloadKind::RebufferEnd => PayloadView::RebufferEnd,
        PayloadKind::Pause => PayloadView::Pause,
        PayloadKind::Resume => PayloadView::Resume,
        PayloadKind::SeekStart => PayloadView::SeekStart,
        PayloadKind::SeekEnd => PayloadView::SeekEnd,
        PayloadKind::Rendition => PayloadView::Rendition {
            representation_id: Cow::Borrowed(row.representation_id.as_deref().unwrap_or_default()),
            bitrate_bps: row.bitrate_bps.unwrap_or_default() as u64,
            width: row.width_px.unwrap_or_default() as u32,
            height: row.height_px.unwrap_or_default() as u32,
            codec: Cow::Borrowed(""),
            cdn: Cow::Borrowed(""),
        },
        PayloadKind::AdStart => PayloadView::AdStart { ad_id: detail() },
        PayloadKind::AdEnd => PayloadView::AdEnd,
        PayloadKind::Error => PayloadView::Error { code: detail(), fatal: row.fatal, business: row.business },
        PayloadKind::Heartbeat => PayloadView::Heartbeat {
            buffer_ms: 0,
            throughput_bps: 0,
            dropped_frames: row.dropped_frames.unwrap_or_default() as u32,
        },
        PayloadKind::Background => PayloadView::Background,
        PayloadKind::Foreground => PayloadView::Foreground,
        PayloadKind::SessionEnd => PayloadView::SessionEnd { reason: detail() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(sequence: i64, kind: &str, time_ms: i64) -> EventRow {
        let json = format!(r#"{{"sequence":{sequence},"type":"{kind}","time_ms":{time_ms},"is_late":false}}"#);
        serde_json::from_str(&json).expect("a row")
    }

    #[test]
    fn states_follow_each_other_and_copies_count_once() {
        let rows = [
            row(0, "play_requested", 1_000),
            row(1, "first_frame", 3_000),
            row(2, "heartbeat", 8_000),
            row(2, "session_end", 8_500), // another id under the same sequence: the first one won
            row(3, "rebuffer_start", 10_000),
            row(4, "rebuffer_end", 12_000),
            row(5, "pause", 12_000),
            row(6, "resume", 12_000 + 31 * 60_000),
            row(7, "session_end", 12_000 + 31 * 60_000 + 500),
        ];
        let found: Vec<_> = spans(&rows).into_iter().map(|span| (span.state, span.to_ms - span.from_ms)).collect();
        let expected = [("startup_waiting", 2_000), ("playing", 7_000), ("rebuffer", 2_000), ("silent", 31 * 60_000)];
        assert_eq!(found, [&expected[..], &[("playing", 500)]].concat());
    }
}
