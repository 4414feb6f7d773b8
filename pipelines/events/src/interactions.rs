//! What a viewer does around playback: the wire contract `marquee.interactions.v1`, decoded from either format and
//! checked. The generated [`proto`] types are the values, too: interactions are far fewer than view events, so they own
//! their strings.
//!
//! Everything that can be told from the batch alone is checked here and refused by field; what needs the collector's
//! clock is the features job's business.

mod check;
mod json;
pub mod proto;
mod protobuf;

pub use json::to_json as interactions_to_json;

use proto::interaction::Payload;

use crate::{ContentType, DecodeError};

/// The longest tracking token or search query that is accepted (bytes).
pub const MAX_INTERACTION_TEXT_BYTES: usize = 1024;

/// 9999-12-31T23:59:59.999Z, the last instant whose date has four digits of a year (ms since the epoch).
pub const MAX_TIME_MS: i64 = 253_402_300_799_999;

/// The stars that a rating may have.
pub const RATING_RANGE: std::ops::RangeInclusive<f64> = 0.5..=5.0;

/// One decoded record: one profile's interactions, in the order in which they happened.
#[derive(Debug, Clone, PartialEq)]
pub struct InteractionBatch {
    /// What is true of every interaction of the batch; `profile_id` is not empty.
    pub context: proto::Context,
    /// The client's clock when the request was sent, ms since the epoch; 0 when the client did not say.
    pub sent_at_ms: i64,
    /// At least one, at most [`MAX_EVENTS_PER_BATCH`](crate::MAX_EVENTS_PER_BATCH). The payload is `None` for a kind
    /// that this version does not know.
    pub interactions: Vec<proto::Interaction>,
}

/// Decodes one record.
///
/// # Errors
/// When the bytes are not a batch in this format; when there are no interactions or too many; when an id is missing,
/// has a control character or is longer than [`MAX_ID_BYTES`](crate::MAX_ID_BYTES), another text longer than
/// [`MAX_INTERACTION_TEXT_BYTES`]; when a time is negative or beyond [`MAX_TIME_MS`], a rating outside
/// [`RATING_RANGE`], a watched fraction outside 0 to 1. The error names the field.
pub fn decode_interactions(content_type: ContentType, bytes: &[u8]) -> Result<InteractionBatch, DecodeError> {
    let batch = match content_type {
        ContentType::Json => json::decode(bytes)?,
        ContentType::Protobuf => protobuf::decode(bytes)?,
        ContentType::Cmcd => return Err(crate::decode::no_batch()),
    };
    check::check(&batch)?;
    Ok(batch)
}

impl Payload {
    /// The name in JSON and in the column `type` of tables.
    pub fn name(&self) -> &'static str {
        match self {
            Payload::Impression(_) => "impression",
            Payload::Click(_) => "click",
            Payload::ViewStarted(_) => "view_started",
            Payload::ViewProgress(_) => "view_progress",
            Payload::ViewFinished(_) => "view_finished",
            Payload::ListAdd(_) => "list_add",
            Payload::ListRemove(_) => "list_remove",
            Payload::Rating(_) => "rating",
            Payload::Search(_) => "search",
            Payload::NotInterested(_) => "not_interested",
        }
    }

    /// The title that it is about; a search is about none.
    pub fn title_id(&self) -> Option<&str> {
        match self {
            Payload::Impression(p) => Some(&p.title_id),
            Payload::Click(p) => Some(&p.title_id),
            Payload::ViewStarted(p) => Some(&p.title_id),
            Payload::ViewProgress(p) => Some(&p.title_id),
            Payload::ViewFinished(p) => Some(&p.title_id),
            Payload::ListAdd(p) => Some(&p.title_id),
            Payload::ListRemove(p) => Some(&p.title_id),
            Payload::Rating(p) => Some(&p.title_id),
            Payload::NotInterested(p) => Some(&p.title_id),
            Payload::Search(_) => None,
        }
    }

    /// The playback session of a view, when it is known.
    pub fn session_id(&self) -> Option<&str> {
        let session_id = match self {
            Payload::ViewStarted(p) => &p.session_id,
            Payload::ViewProgress(p) => &p.session_id,
            Payload::ViewFinished(p) => &p.session_id,
            _ => return None,
        };
        Some(session_id.as_str()).filter(|id| !id.is_empty())
    }

    /// The token of the item that it goes back to, when there is one.
    pub fn tracking_token(&self) -> Option<&str> {
        let token = match self {
            Payload::Impression(p) => &p.tracking_token,
            Payload::Click(p) => &p.tracking_token,
            Payload::ViewStarted(p) => &p.tracking_token,
            _ => return None,
        };
        Some(token.as_str()).filter(|token| !token.is_empty())
    }

    /// The share that was watched (0 to 1) of progress and finished views.
    pub fn watched_fraction(&self) -> Option<f64> {
        match self {
            Payload::ViewProgress(p) => Some(p.watched_fraction),
            Payload::ViewFinished(p) => Some(p.watched_fraction),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
