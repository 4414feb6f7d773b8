//! Reads `marquee.interactions.v1.InteractionBatch`. Interactions are counted before any is decoded: a small body can
//! hold millions of empty ones.

use prost::Message as _;
// Hidden in prost's docs, yet what its generated code calls, so it is stable within 0.14.
use prost::encoding::{DecodeContext, decode_key, skip_field};

use super::{InteractionBatch, proto};
use crate::{DecodeError, MAX_EVENTS_PER_BATCH};

/// The field `interactions` of message `InteractionBatch`.
const INTERACTIONS: u32 = 3;

pub(super) fn decode(bytes: &[u8]) -> Result<InteractionBatch, DecodeError> {
    let broken = |error: prost::DecodeError| DecodeError::new("batch", error.to_string());
    if count(bytes).map_err(broken)? > MAX_EVENTS_PER_BATCH {
        return Err(too_many());
    }
    let batch = proto::InteractionBatch::decode(bytes).map_err(broken)?;
    Ok(InteractionBatch {
        context: batch.context.unwrap_or_default(),
        sent_at_ms: batch.sent_at_ms,
        interactions: batch.interactions,
    })
}

fn count(mut bytes: &[u8]) -> Result<usize, prost::DecodeError> {
    let mut interactions = 0;
    while !bytes.is_empty() {
        let (field, wire_type) = decode_key(&mut bytes)?;
        skip_field(wire_type, field, &mut bytes, DecodeContext::default())?;
        interactions += usize::from(field == INTERACTIONS);
    }
    Ok(interactions)
}

pub(super) fn too_many() -> DecodeError {
    DecodeError::new("interactions", format!("has too many, at most {MAX_EVENTS_PER_BATCH} are accepted"))
}
