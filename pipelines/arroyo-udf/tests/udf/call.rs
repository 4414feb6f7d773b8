//! Events as the columns of a call: what the view `session_columns` of `pipelines/arroyo/sessions.sql` makes of them.

use std::sync::{Arc, LazyLock};

use arroyo_udf_plugin::arrow::array::{ArrayRef, AsArray as _, Int64Array};
use marquee_events::{PayloadView, PlayerState};
use serde_json::Value;

use crate::contract;
use crate::host::Udf;

/// An event of a session.
#[derive(Debug, Clone)]
pub struct Sent {
    pub sequence: u64,
    pub event_id: String,
    pub time_ms: i64,
    pub media_time_ms: Option<i64>,
    pub payload: PayloadView<'static>,
}

/// The function under test.
pub static SESSION_ROW: LazyLock<&Udf> = LazyLock::new(|| Udf::load("marquee_arroyo_udf"));

static PARAMETERS: LazyLock<Vec<String>> = LazyLock::new(contract::parameters);

/// Calls the function with these events.
pub fn session_row(events: &[Sent]) -> Value {
    answer(&arguments(events))
}

/// Calls the function with these columns.
pub fn answer(arguments: &[ArrayRef]) -> Value {
    let texts = SESSION_ROW.run(arguments).expect("it does not panic");
    let [Some(text)] = texts.as_string::<i32>().iter().collect::<Vec<_>>()[..] else {
        panic!("not one text: {texts:?}")
    };
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The columns, in the order of the parameters.
pub fn arguments(events: &[Sent]) -> Vec<ArrayRef> {
    let column =
        |name: &String| -> ArrayRef { Arc::new(events.iter().map(|e| value(e, name)).collect::<Int64Array>()) };
    PARAMETERS.iter().map(column).collect()
}

/// The position of a parameter.
pub fn position(name: &str) -> usize {
    PARAMETERS.iter().position(|parameter| parameter == name).unwrap_or_else(|| panic!("no parameter {name}"))
}

fn value(event: &Sent, name: &str) -> Option<i64> {
    match name {
        "sequence" => return Some(event.sequence.cast_signed()),
        "event_time_ms" => return Some(event.time_ms),
        "media_time_ms" => return event.media_time_ms,
        _ => {}
    }
    if let Some((column, word)) = name.rsplit_once('_')
        && let Ok(word) = word.parse::<usize>()
    {
        return text(event, column).map(|text| words(text)[word]);
    }
    number(event, name)
}

fn text<'a>(event: &'a Sent, column: &str) -> Option<&'a str> {
    match (column, &event.payload) {
        ("event_id", _) => Some(&event.event_id),
        ("type", payload) => Some(payload.kind().name()),
        ("representation_id", PayloadView::Rendition { representation_id: text, .. })
        | (
            "detail",
            PayloadView::AdStart { ad_id: text }
            | PayloadView::Error { code: text, .. }
            | PayloadView::SessionEnd { reason: text }
            | PayloadView::PlayerState { code: text, .. },
        ) => Some(text),
        ("player_state", PayloadView::PlayerState { state, .. }) => state.map(PlayerState::name),
        _ => None,
    }
}

fn number(event: &Sent, column: &str) -> Option<i64> {
    match (column, &event.payload) {
        (
            "bitrate_bps",
            PayloadView::Rendition { bitrate_bps, .. }
            | PayloadView::Heartbeat { bitrate_bps, .. }
            | PayloadView::PlayerState { bitrate_bps, .. },
        ) => Some(bitrate_bps.cast_signed()),
        ("width_px", PayloadView::Rendition { width: px, .. } | PayloadView::Viewport { width: px, .. })
        | ("height_px", PayloadView::Rendition { height: px, .. } | PayloadView::Viewport { height: px, .. }) => {
            Some(i64::from(*px))
        }
        ("dropped_frames", PayloadView::Heartbeat { dropped_frames, .. }) => Some(i64::from(*dropped_frames)),
        ("fatal", PayloadView::Error { fatal: flag, .. })
        | ("business", PayloadView::Error { business: flag, .. })
        | ("autoplay", PayloadView::PlayRequested { autoplay: flag }) => Some(i64::from(*flag)),
        ("rate_per_mille", PayloadView::PlaybackRate { rate_per_mille }) => Some(i64::from(*rate_per_mille)),
        _ => None,
    }
}

/// What `text_word` makes of a text of at most 40 bytes.
pub fn words(text: &str) -> [i64; 5] {
    let mut bytes = text.as_bytes().to_vec();
    assert!(bytes.len() <= 40, "{text}");
    bytes.resize(40, 0);
    std::array::from_fn(|word| bytes[8 * word..][..8].iter().fold(0, |value, byte| value << 8 | i64::from(*byte)))
}
