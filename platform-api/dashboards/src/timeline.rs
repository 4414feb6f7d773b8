//! What a session did when: its raw events folded once more, by the fold that made its row, and each interval kept. The
//! sums of the spans are the durations of the row.

use marquee_events::{FlatPayload, PayloadKind, PlayerState};
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
    rate_per_mille: Option<i32>,
    player_state: Option<String>,
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
        let before = durations(&fold);
        fold.apply(row.time_ms, row.media_time_ms, &payload.view(), &mut NoMinutes);
        let grown = durations(&fold).into_iter().zip(before).find(|(after, before)| after.1 != before.1);
        let Some(((state, after_ms), (_, before_ms))) = grown else { continue };
        let (from_ms, to_ms) = (row.time_ms - (after_ms - before_ms), row.time_ms);
        match spans.last_mut() {
            Some(last) if last.state == state && last.to_ms == from_ms => last.to_ms = to_ms,
            _ => spans.push(Span { state, from_ms, to_ms }),
        }
    }
    spans
}

/// Every duration of a session: an event adds its interval to one of them at most.
fn durations(fold: &SessionFold) -> [(&'static str, i64); State::ALL.len() + 2] {
    let others = [("background", fold.background_total_ms()), ("silent", fold.silent_ms)];
    let mut states = State::ALL.into_iter().map(|state| (name(state), fold.duration_ms(state))).chain(others);
    std::array::from_fn(|_| states.next().expect("there are as many"))
}

fn name(state: State) -> &'static str {
    match state {
        State::Startup => "startup_waiting",
        State::Playing => "playing",
        State::Rebuffering => "rebuffer",
        State::SeekWaiting => "seek_waiting",
        State::Paused => "paused",
        State::Ad => "ad",
        State::AdRebuffering => "ad_rebuffer",
    }
}

/// Only what decides about states; the row has the rest. `None` for a kind that this version does not know.
fn payload(row: &EventRow) -> Option<FlatPayload<'_>> {
    let kind = PayloadKind::from_name(&row.kind)?;
    let number = |value: Option<i64>| value.unwrap_or_default() as u64;
    let size = |value: Option<i32>| value.unwrap_or_default() as u64;
    let numbers = match kind {
        PayloadKind::Rendition | PayloadKind::Viewport => {
            [number(row.bitrate_bps), size(row.width_px), size(row.height_px), 0]
        }
        PayloadKind::Error => [u64::from(row.fatal), u64::from(row.business), 0, 0],
        PayloadKind::Heartbeat => [0, 0, number(row.dropped_frames), number(row.bitrate_bps)],
        PayloadKind::PlaybackRate => [size(row.rate_per_mille), 0, 0, 0],
        PayloadKind::PlayerState => {
            let state = row.player_state.as_deref().and_then(PlayerState::from_name);
            [number(row.bitrate_bps), 0, state.map_or(0, |state| state as u64), 0]
        }
        _ => [0; 4],
    };
    let text = if kind == PayloadKind::Rendition { &row.representation_id } else { &row.detail };
    Some(FlatPayload { kind, texts: [text.as_deref().unwrap_or_default(), "", ""], numbers })
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
