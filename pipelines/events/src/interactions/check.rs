//! The rules that a batch of interactions must keep whatever its format. A control character in an id is refused: tables
//! join ids by one.

use super::proto::interaction::Payload;
use super::{InteractionBatch, MAX_INTERACTION_TEXT_BYTES, MAX_TIME_MS, RATING_RANGE};
use crate::{DecodeError, MAX_ID_BYTES};

pub(super) fn check(batch: &InteractionBatch) -> Result<(), DecodeError> {
    let context = &batch.context;
    required("context.profile_id", &context.profile_id, MAX_ID_BYTES)?;
    optional("context.device_type", &context.device_type, MAX_ID_BYTES)?;
    optional("context.app_version", &context.app_version, MAX_ID_BYTES)?;
    time("sent_at_ms", batch.sent_at_ms)?;
    if batch.interactions.is_empty() {
        return Err(DecodeError::new("interactions", "is empty"));
    }
    for (index, interaction) in batch.interactions.iter().enumerate() {
        let at = |error: DecodeError| DecodeError::new(format!("interactions[{index}].{}", error.field), error.problem);
        optional("interaction_id", &interaction.interaction_id, MAX_ID_BYTES).map_err(at)?;
        time("event_time_ms", interaction.event_time_ms).map_err(at)?;
        if let Some(payload) = &interaction.payload {
            let within = |e: DecodeError| DecodeError::new(format!("{}.{}", payload.name(), e.field), e.problem);
            check_payload(payload).map_err(within).map_err(at)?;
        }
    }
    Ok(())
}

fn check_payload(payload: &Payload) -> Result<(), DecodeError> {
    if let Some(title_id) = payload.title_id() {
        required("title_id", title_id, MAX_ID_BYTES)?;
    }
    if let Some(session_id) = payload.session_id() {
        optional("session_id", session_id, MAX_ID_BYTES)?;
    }
    if let Some(watched_fraction) = payload.watched_fraction() {
        number("watched_fraction", watched_fraction, 0.0..=1.0)?;
    }
    match payload {
        // Without its token nobody could say which row, position and model it belongs to.
        Payload::Impression(p) => {
            required("tracking_token", &p.tracking_token, MAX_INTERACTION_TEXT_BYTES)?;
            required("row_id", &p.row_id, MAX_ID_BYTES)
        }
        Payload::Click(p) => required("tracking_token", &p.tracking_token, MAX_INTERACTION_TEXT_BYTES),
        Payload::ViewStarted(p) => optional("tracking_token", &p.tracking_token, MAX_INTERACTION_TEXT_BYTES),
        Payload::Rating(p) => number("value", p.value, RATING_RANGE),
        Payload::Search(p) => required("query", &p.query, MAX_INTERACTION_TEXT_BYTES),
        _ => Ok(()),
    }
}

fn required(field: &str, text: &str, max_bytes: usize) -> Result<(), DecodeError> {
    if text.is_empty() {
        return Err(DecodeError::new(field, "is missing"));
    }
    optional(field, text, max_bytes)
}

fn optional(field: &str, text: &str, max_bytes: usize) -> Result<(), DecodeError> {
    if text.len() > max_bytes {
        let problem = format!("has {} bytes, at most {max_bytes} are accepted", text.len());
        return Err(DecodeError::new(field, problem));
    }
    if text.chars().any(char::is_control) {
        return Err(DecodeError::new(field, "has a control character"));
    }
    Ok(())
}

fn time(field: &str, ms: i64) -> Result<(), DecodeError> {
    if (0..=MAX_TIME_MS).contains(&ms) {
        return Ok(());
    }
    Err(DecodeError::new(field, format!("{ms} is not between 0 and {MAX_TIME_MS}")))
}

fn number(field: &str, value: f64, range: std::ops::RangeInclusive<f64>) -> Result<(), DecodeError> {
    if range.contains(&value) {
        return Ok(()); // NaN is in no range
    }
    Err(DecodeError::new(field, format!("{value} is not between {} and {}", range.start(), range.end())))
}
