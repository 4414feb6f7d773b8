//! A borrowing reader of `marquee.events.v1.ViewEventBatch`. prost would allocate every string of every event; on the
//! hot path strings stay where they are, in the record. Unknown fields are skipped, as protobuf asks.

use crate::decode::too_many_events;
use crate::view::LOCATION_FIELDS;
use crate::{
    BatchView, CONTEXT_FIELDS, ContentType, ContextView, DecodeError, EventView, FlatPayload, MAX_EVENTS_PER_BATCH,
    PayloadKind, PayloadView, PlayerState, Split, Text,
};

/// Decodes a batch; strings borrow from `bytes`.
pub(crate) fn decode(bytes: &[u8]) -> Result<BatchView<'_>, DecodeError> {
    let mut batch = BatchView::default();
    let mut location = None;
    let mut reader = Reader { rest: bytes };
    while let Some((number, value)) = reader.field().map_err(|p| DecodeError::new("batch", p))? {
        match (number, value) {
            (1, Value::Bytes(context)) => {
                decode_context(context, &mut batch).map_err(|p| DecodeError::new("context", p))?;
            }
            (2, Value::Varint(v)) => batch.sent_at_ms = v as i64,
            (3, Value::Bytes(event)) => {
                if batch.events.is_empty() {
                    // Events of one batch are alike: guess the count from the first one's size.
                    batch.events.reserve((reader.rest.len() / event.len().max(8) + 1).min(64));
                }
                let index = batch.events.len();
                if index == MAX_EVENTS_PER_BATCH {
                    return Err(too_many_events()); // stop here: a small body can hold millions of empty events
                }
                let event = decode_event(event).map_err(|p| DecodeError::new(format!("events[{index}]"), p))?;
                batch.events.push(event);
            }
            (4, Value::Bytes(bytes)) => location = Some(bytes),
            (1..=4, _) => return Err(DecodeError::new("batch", WRONG_WIRE_TYPE)),
            _ => {}
        }
    }
    if let Some(location) = location {
        decode_location(location, &mut batch).map_err(|p| DecodeError::new("location", p))?;
    }
    Ok(batch)
}

/// As [`crate::split`]: the context comes first and once.
pub(crate) fn split<'a>(bytes: &'a [u8], events: &mut Vec<EventView<'a>>) -> Option<Split<'a>> {
    let mut reader = Reader { rest: bytes };
    let Some((1, Value::Bytes(context))) = reader.field().ok()? else { return None };
    let (mut sent_at_ms, mut location) = (0, None);
    while let Some((number, value)) = reader.field().ok()? {
        match (number, value) {
            (2, Value::Varint(v)) => sent_at_ms = v as i64,
            (3, Value::Bytes(event)) if events.len() < MAX_EVENTS_PER_BATCH => events.push(decode_event(event).ok()?),
            (4, Value::Bytes(bytes)) if location.is_none() => location = Some(bytes),
            (5.., _) => {}
            _ => return None,
        }
    }
    Some(Split::new(ContentType::Protobuf, context, location, sent_at_ms))
}

/// Decodes a context that stands alone, with the location that replaces a part of it.
pub(crate) fn decode_located_context<'a>(context: &'a [u8], location: Option<&'a [u8]>) -> Option<ContextView<'a>> {
    let mut batch = BatchView::default();
    decode_context(context, &mut batch).ok()?;
    if let Some(location) = location {
        decode_location(location, &mut batch).ok()?;
    }
    Some(batch.context)
}

const WRONG_WIRE_TYPE: &str = "has a field of the wrong protobuf wire type";

fn decode_context<'a>(bytes: &'a [u8], batch: &mut BatchView<'a>) -> Result<(), &'static str> {
    let mut reader = Reader { rest: bytes };
    while let Some((number, value)) = reader.field()? {
        // The fields are numbered as CONTEXT_FIELDS lists them.
        if (1..=CONTEXT_FIELDS.len() as u32).contains(&number) {
            *batch.context.field_mut(number as usize - 1) = value.text()?;
        }
    }
    Ok(())
}

fn decode_location<'a>(bytes: &'a [u8], batch: &mut BatchView<'a>) -> Result<(), &'static str> {
    batch.is_located = true;
    // Half a location of the client's beside half a location of the collector's would be a place that is nowhere.
    for name in LOCATION_FIELDS {
        *batch.context.named_mut(name) = Text::default();
    }
    let mut reader = Reader { rest: bytes };
    while let Some((number, value)) = reader.field()? {
        if let Some(name) = LOCATION_FIELDS.get((number as usize).wrapping_sub(1)) {
            *batch.context.named_mut(name) = value.text()?;
        }
    }
    Ok(())
}

fn decode_event(bytes: &[u8]) -> Result<EventView<'_>, &'static str> {
    let mut event = EventView::default();
    let mut reader = Reader { rest: bytes };
    while let Some((number, value)) = reader.field()? {
        match number {
            1 => event.event_id = value.text()?,
            2 => event.sequence = value.varint()?,
            3 => event.event_time_ms = value.varint()? as i64,
            4 => event.media_time_ms = Some(value.varint()? as i64),
            _ => {
                if let Some(kind) = PayloadKind::from_number(number) {
                    let Value::Bytes(payload) = value else { return Err(WRONG_WIRE_TYPE) };
                    event.payload = Some(decode_payload(kind, payload)?);
                }
            }
        }
    }
    Ok(event)
}

#[expect(clippy::match_same_arms, reason = "one line a payload, as in the contract")]
fn decode_payload(kind: PayloadKind, bytes: &[u8]) -> Result<PayloadView<'_>, &'static str> {
    let mut reader = Reader { rest: bytes };
    let mut payload = FlatPayload { kind, texts: [""; 3], numbers: [0; 4] };
    let FlatPayload { texts, numbers, .. } = &mut payload;
    // Which protobuf field goes to which place: the layouts differ between the few payloads that have fields.
    while let Some((number, value)) = reader.field()? {
        match (kind, number) {
            (PayloadKind::Rendition, 1) => texts[0] = value.str()?,
            (PayloadKind::Rendition, 2..=4) => numbers[number as usize - 2] = value.varint()?,
            (PayloadKind::Rendition, 5 | 6) => texts[number as usize - 4] = value.str()?,
            (PayloadKind::AdStart | PayloadKind::Error | PayloadKind::SessionEnd, 1) => texts[0] = value.str()?,
            (PayloadKind::Error, 2 | 3) => numbers[number as usize - 2] = value.varint()?,
            (PayloadKind::Heartbeat, 1..=4) => numbers[number as usize - 1] = value.varint()?,
            (PayloadKind::PlayRequested | PayloadKind::PlaybackRate, 1) => numbers[0] = value.varint()?,
            (PayloadKind::Viewport, 1 | 2) => numbers[number as usize] = value.varint()?,
            (PayloadKind::PlayerState, 1) => {
                numbers[2] = PlayerState::from_name(value.str()?).map_or(0, |state| state as u64);
            }
            (PayloadKind::PlayerState, 2) => texts[0] = value.str()?,
            (PayloadKind::PlayerState, 3 | 4) => numbers[number as usize - 3] = value.varint()?,
            _ => {}
        }
    }
    Ok(payload.view())
}

enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Other,
}

impl<'a> Value<'a> {
    fn text(self) -> Result<Text<'a>, &'static str> {
        self.str().map(Text::Borrowed)
    }

    fn str(self) -> Result<&'a str, &'static str> {
        let Value::Bytes(bytes) = self else { return Err(WRONG_WIRE_TYPE) };
        std::str::from_utf8(bytes).map_err(|_| "has a string that is not UTF-8")
    }

    fn varint(self) -> Result<u64, &'static str> {
        let Value::Varint(value) = self else { return Err(WRONG_WIRE_TYPE) };
        Ok(value)
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The next field's number and value, `None` at the end.
    #[inline]
    fn field(&mut self) -> Result<Option<(u32, Value<'a>)>, &'static str> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| "has an impossible protobuf field number")?;
        if number == 0 {
            return Err("has protobuf field number 0");
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.skip(8)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| TRUNCATED)?;
                let (value, rest) = self.rest.split_at_checked(length).ok_or(TRUNCATED)?;
                self.rest = rest;
                Value::Bytes(value)
            }
            5 => self.skip(4)?,
            _ => return Err("has an unknown protobuf wire type"),
        };
        Ok(Some((number, value)))
    }

    fn skip(&mut self, length: usize) -> Result<Value<'a>, &'static str> {
        self.rest = self.rest.get(length..).ok_or(TRUNCATED)?;
        Ok(Value::Other)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, &'static str> {
        let (&first, rest) = self.rest.split_first().ok_or(TRUNCATED)?;
        if first < 0x80 {
            self.rest = rest;
            return Ok(u64::from(first));
        }
        let Some((value, length)) = self.rest.first_chunk().and_then(|bytes| short_varint(*bytes)) else {
            return self.any_varint();
        };
        self.rest = &self.rest[length..];
        Ok(value)
    }

    fn any_varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0_u64;
        for (index, &byte) in self.rest.iter().take(10).enumerate() {
            if index == 9 && byte > 1 {
                break; // would not fit into 64 bits
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 { TRUNCATED } else { "has a varint longer than 64 bits" })
    }
}

/// The varint that these bytes begin with, and its length; `None` when it is longer than they are. Without a branch a byte:
/// the seven bits of each are moved together in pairs, in fours and in eights.
#[inline]
fn short_varint(bytes: [u8; 8]) -> Option<(u64, usize)> {
    let word = u64::from_le_bytes(bytes);
    let last = !word & 0x8080_8080_8080_8080;
    if last == 0 {
        return None;
    }
    let bits = word & (last ^ (last - 1)) & 0x7f7f_7f7f_7f7f_7f7f;
    let pairs = (bits & 0x007f_007f_007f_007f) | ((bits & 0x7f00_7f00_7f00_7f00) >> 1);
    let fours = (pairs & 0x0000_3fff_0000_3fff) | ((pairs & 0x3fff_0000_3fff_0000) >> 2);
    let all = (fours & 0x0fff_ffff) | ((fours & 0x0fff_ffff_0000_0000) >> 4);
    Some((all, last.trailing_zeros() as usize / 8 + 1))
}

const TRUNCATED: &str = "is truncated";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::json;
    use crate::proto::{self, view_event::Payload};

    proptest! {
        #[test]
        fn varints_are_what_prost_wrote(value: u64, shift in 0..64_u32, behind: [u8; 8]) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            prost::encoding::encode_varint(value, &mut bytes);
            let length = bytes.len();
            for cut in 0..length {
                prop_assert_eq!(Reader { rest: &bytes[..cut] }.varint(), Err(TRUNCATED));
            }
            bytes.extend(behind);
            let mut reader = Reader { rest: &bytes };
            prop_assert_eq!((reader.varint(), reader.rest), (Ok(value), &behind[..]));
            prop_assert_eq!(Reader { rest: &bytes }.any_varint(), Ok(value));
            prop_assert_eq!(Reader { rest: &bytes[..length] }.varint(), Ok(value));
        }
    }

    fn text() -> impl Strategy<Value = String> {
        "[a-z\"\\\\é]{0,8}"
    }

    fn payload() -> impl Strategy<Value = Option<Payload>> {
        prop_oneof![
            Just(None),
            Just(Some(Payload::PlayRequested(proto::PlayRequested { autoplay: true }))),
            Just(Some(Payload::FirstFrame(proto::FirstFrame {}))),
            Just(Some(Payload::SeekEnd(proto::SeekEnd {}))),
            (text(), any::<u64>(), any::<u32>(), any::<u32>(), text(), text()).prop_map(
                |(representation_id, bitrate_bps, width, height, codec, cdn)| {
                    Some(Payload::Rendition(proto::Rendition {
                        representation_id,
                        bitrate_bps,
                        width,
                        height,
                        codec,
                        cdn,
                    }))
                }
            ),
            (text(), any::<bool>(), any::<bool>())
                .prop_map(|(code, fatal, business)| Some(Payload::Error(proto::Error { code, fatal, business }))),
            (any::<u32>(), any::<u64>(), any::<u32>(), any::<u64>()).prop_map(
                |(buffer_ms, throughput_bps, dropped_frames, bitrate_bps)| {
                    Some(Payload::Heartbeat(proto::Heartbeat {
                        buffer_ms,
                        throughput_bps,
                        dropped_frames,
                        bitrate_bps,
                    }))
                }
            ),
            any::<u32>().prop_map(|rate_per_mille| Some(Payload::PlaybackRate(proto::PlaybackRate { rate_per_mille }))),
            (any::<u32>(), any::<u32>())
                .prop_map(|(width, height)| Some(Payload::Viewport(proto::Viewport { width, height }))),
            ("starting|playing|frying", text(), any::<u64>(), any::<u32>()).prop_map(
                |(state, code, bitrate_bps, buffer_ms)| {
                    Some(Payload::PlayerState(proto::PlayerState { state, code, bitrate_bps, buffer_ms }))
                }
            ),
            text().prop_map(|reason| Some(Payload::SessionEnd(proto::SessionEnd { reason }))),
        ]
    }

    fn batch() -> impl Strategy<Value = proto::ViewEventBatch> {
        let event = (text(), any::<u64>(), any::<i64>(), any::<Option<i64>>(), payload()).prop_map(
            |(event_id, sequence, event_time_ms, media_time_ms, payload)| proto::ViewEvent {
                event_id,
                sequence,
                event_time_ms,
                media_time_ms,
                payload,
            },
        );
        let context = (text(), text(), text(), text()).prop_map(|(session_id, cdn, title_id, city)| proto::Context {
            session_id,
            cdn,
            title_id,
            city,
            country: "DE".to_owned(),
            ..Default::default()
        });
        let location = prop::option::of((text(), text()).prop_map(|(country, asn)| proto::Location {
            country,
            asn,
            ..Default::default()
        }));
        (context, any::<i64>(), prop::collection::vec(event, 0..5), location).prop_map(
            |(context, sent_at_ms, events, location)| proto::ViewEventBatch {
                context: Some(context),
                sent_at_ms,
                events,
                location,
            },
        )
    }

    proptest! {
        /// What prost writes is what both borrowed readers read: the JSON one is fed by our own writer.
        #[test]
        fn both_formats_read_what_was_written(batch in batch()) {
            let bytes = batch.encode_to_vec();
            let from_protobuf = decode(&bytes).expect("prost's own output");
            let text = json::to_json(&batch);
            let from_json = json::decode(text.as_bytes()).expect("our own output");
            prop_assert_eq!(&from_protobuf, &from_json);
            for (content_type, bytes) in [(ContentType::Protobuf, bytes.as_slice()), (ContentType::Json, text.as_bytes())] {
                let mut events = Vec::new();
                let split = crate::split(content_type, bytes, &mut events);
                let Some((split, context)) = split.and_then(|split| Some((split, split.decode_context()?))) else {
                    // Escapes and empty batches are for `decode`.
                    prop_assert!(content_type == ContentType::Json || crate::decode(content_type, bytes).is_err());
                    continue;
                };
                prop_assert_eq!(&context, &from_protobuf.context);
                prop_assert_eq!(&events, &from_protobuf.events);
                prop_assert_eq!(split.sent_at_ms, from_protobuf.sent_at_ms);
            }
            let context = batch.context.unwrap_or_default();
            prop_assert_eq!(from_protobuf.context.session_id.as_ref(), context.session_id.as_str());
            prop_assert_eq!(from_protobuf.events.len(), batch.events.len());
            prop_assert_eq!(from_protobuf.is_located, batch.location.is_some());
            prop_assert_eq!(from_protobuf.context.asn.as_ref(), batch.location.map(|l| l.asn).unwrap_or_default());
            for (view, event) in from_protobuf.events.iter().zip(&batch.events) {
                prop_assert_eq!(view.event_id.as_ref(), event.event_id.as_str());
                prop_assert_eq!((view.sequence, view.event_time_ms), (event.sequence, event.event_time_ms));
                prop_assert_eq!(view.media_time_ms, event.media_time_ms);
                prop_assert_eq!(view.payload.is_some(), event.payload.is_some());
            }
        }

        /// Any bytes at all give a batch or an error that names a field, never a panic.
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes).map_err(|e| assert!(!e.field.is_empty()));
            let _ = json::decode(&bytes).map_err(|e| assert!(!e.field.is_empty()));
        }

        /// Whatever is done to a record: what can be split is what can be decoded.
        #[test]
        fn a_damaged_record_is_split_as_it_is_decoded(
            batch in batch(), json in any::<bool>(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
        ) {
            let content_type = if json { ContentType::Json } else { ContentType::Protobuf };
            let mut bytes = if json { crate::to_json(&batch).into_bytes() } else { batch.encode_to_vec() };
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at); } else { bytes[at] = byte; }
            let mut events = Vec::new();
            if let Some(split) = crate::split(content_type, &bytes, &mut events) && let Some(context) = split.decode_context() {
                let decoded = crate::decode(content_type, &bytes);
                prop_assert!(decoded.is_ok(), "{:?}", decoded);
                let decoded = decoded.unwrap();
                prop_assert_eq!((decoded.context, decoded.sent_at_ms, decoded.events), (context, split.sent_at_ms, events));
            }
        }
    }
}
