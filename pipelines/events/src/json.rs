//! JSON with the names of the protobuf contract, read into borrowed views and written for simulators and importers.
//!
//! Unknown fields and unknown payload kinds are refused by name: a misspelt field that is silently dropped is a wrong
//! number later.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use crate::decode::too_many_events;
use crate::flat_payload::put_together;
use crate::object::Object;
use crate::proto::view_event::Payload;
use crate::view::{CONTEXT_FIELDS, LOCATION_FIELDS};
use crate::{
    BatchView, ContextView, DecodeError, EventView, MAX_EVENTS_PER_BATCH, PayloadKind, PayloadView, PlayerState, Text,
    proto,
};

/// Decodes a batch; strings without escapes borrow from `bytes`.
pub(crate) fn decode(bytes: &[u8]) -> Result<BatchView<'_>, DecodeError> {
    match serde_json::from_slice::<BatchJson<'_>>(bytes) {
        Ok(batch) => Ok(batch.0),
        Err(_) => Err(explain(bytes)),
    }
}

/// Decodes a context that stands alone, with the location that replaces a part of it.
pub(crate) fn decode_context<'a>(context: &'a [u8], location: Option<&'a [u8]>) -> Option<ContextView<'a>> {
    let ContextJson(mut context) = serde_json::from_slice(context).ok()?;
    if let Some(location) = location {
        relocate(&mut context, serde_json::from_slice::<ContextJson<'a>>(location).ok()?.0);
    }
    Some(context)
}

fn relocate<'a>(context: &mut ContextView<'a>, mut location: ContextView<'a>) {
    for name in LOCATION_FIELDS {
        *context.named_mut(name) = std::mem::take(location.named_mut(name));
    }
}

/// Decodes again, slowly, to learn the path of the field that was refused.
fn explain(bytes: &[u8]) -> DecodeError {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    match serde_path_to_error::deserialize::<_, BatchJson<'_>>(&mut deserializer) {
        Ok(_) => DecodeError::new("batch", "has something after its end"),
        Err(error) => {
            // `?` is a place inside an object whose key was not read yet.
            let path = error.path().to_string();
            let path = path.trim_end_matches('?').trim_end_matches('.');
            DecodeError::new(if path.is_empty() { "batch" } else { path }, error.inner().to_string())
        }
    }
}

struct BatchJson<'a>(BatchView<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for BatchJson<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = BatchJson<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a batch of view events: {\"context\", \"sent_at_ms\", \"events\"}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut batch = BatchView::default();
                let mut location = None;
                while let Some(key) = map.next_key::<Str<'de>>()? {
                    match key.0.as_ref() {
                        "context" => batch.context = map.next_value::<ContextJson<'de>>()?.0,
                        "sent_at_ms" => batch.sent_at_ms = map.next_value()?,
                        "events" => batch.events = map.next_value::<EventsJson<'de>>()?.0,
                        "location" => location = Some(map.next_value::<ContextJson<'de>>()?.0),
                        other => {
                            return Err(A::Error::unknown_field(other, &["context", "sent_at_ms", "events"]));
                        }
                    }
                }
                if let Some(location) = location {
                    batch.is_located = true;
                    relocate(&mut batch.context, location);
                }
                Ok(BatchJson(batch))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// A string that borrows when it can; `Cow` by itself always owns under serde.
struct Str<'a>(Text<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Str<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
                Ok(Str(Cow::Borrowed(v)))
            }

            fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
                Ok(Str(Cow::Owned(v.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

struct ContextJson<'a>(ContextView<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for ContextJson<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = ContextJson<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a context: an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut context = ContextView::default();
                while let Some(key) = map.next_key::<Str<'de>>()? {
                    let index = CONTEXT_FIELDS
                        .iter()
                        .position(|name| *name == key.0)
                        .ok_or_else(|| A::Error::unknown_field(&key.0, &CONTEXT_FIELDS))?;
                    *context.field_mut(index) = map.next_value::<Str<'de>>()?.0;
                }
                Ok(ContextJson(context))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

struct EventsJson<'a>(Vec<EventView<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for EventsJson<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = EventsJson<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of events")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut events = Vec::new();
                while let Some(event) = seq.next_element::<EventJson<'de>>()? {
                    if events.len() == MAX_EVENTS_PER_BATCH {
                        return Err(A::Error::custom(too_many_events().problem));
                    }
                    events.push(event.0);
                }
                Ok(EventsJson(events))
            }
        }
        deserializer.deserialize_seq(Items)
    }
}

struct EventJson<'a>(EventView<'a>);

const EVENT_FIELDS: &[&str] = &["event_id", "sequence", "event_time_ms", "media_time_ms", "<one payload>"];

impl<'de: 'a, 'a> Deserialize<'de> for EventJson<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = EventJson<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event: an object with a sequence, an event_time_ms and one payload")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut event = EventView::default();
                while let Some(key) = map.next_key::<Str<'de>>()? {
                    match key.0.as_ref() {
                        "event_id" => event.event_id = map.next_value::<Str<'de>>()?.0,
                        "sequence" => event.sequence = map.next_value()?,
                        "event_time_ms" => event.event_time_ms = map.next_value()?,
                        "media_time_ms" => event.media_time_ms = map.next_value()?,
                        name => {
                            let kind = PayloadKind::from_name(name)
                                .ok_or_else(|| A::Error::unknown_field(name, EVENT_FIELDS))?;
                            if event.payload.is_some() {
                                return Err(A::Error::custom(format!("a second payload `{name}` in one event")));
                            }
                            let Object(fields) = map.next_value::<Object<PayloadFields<'de>>>()?;
                            event.payload = Some(fields.into_payload(kind).map_err(A::Error::custom)?);
                        }
                    }
                }
                Ok(EventJson(event))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// Every field that any payload has; which of them belong to a kind is checked when the payload is made.
#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PayloadFields<'a> {
    #[serde(borrow)]
    representation_id: Option<Str<'a>>,
    bitrate_bps: Option<u64>,
    width: Option<u32>,
    height: Option<u32>,
    #[serde(borrow)]
    codec: Option<Str<'a>>,
    #[serde(borrow)]
    cdn: Option<Str<'a>>,
    #[serde(borrow)]
    ad_id: Option<Str<'a>>,
    #[serde(borrow)]
    code: Option<Str<'a>>,
    fatal: Option<bool>,
    business: Option<bool>,
    buffer_ms: Option<u32>,
    throughput_bps: Option<u64>,
    dropped_frames: Option<u32>,
    #[serde(borrow)]
    reason: Option<Str<'a>>,
    autoplay: Option<bool>,
    rate_per_mille: Option<u32>,
    #[serde(borrow)]
    state: Option<Str<'a>>,
}

impl<'a> PayloadFields<'a> {
    fn into_payload(mut self, kind: PayloadKind) -> Result<PayloadView<'a>, String> {
        fn text<'a>(value: &mut Option<Str<'a>>) -> Text<'a> {
            value.take().map(|s| s.0).unwrap_or_default()
        }
        fn only<'a>(value: &mut Option<Str<'a>>) -> [Text<'a>; 3] {
            [text(value), Text::default(), Text::default()]
        }
        fn number<T: Into<u64>>(value: &mut Option<T>) -> u64 {
            value.take().map_or(0, Into::into)
        }
        let (texts, numbers) = match kind {
            PayloadKind::PlayRequested => (Default::default(), [number(&mut self.autoplay), 0, 0, 0]),
            PayloadKind::Rendition => (
                [text(&mut self.representation_id), text(&mut self.codec), text(&mut self.cdn)],
                [number(&mut self.bitrate_bps), number(&mut self.width), number(&mut self.height), 0],
            ),
            PayloadKind::AdStart => (only(&mut self.ad_id), [0; 4]),
            PayloadKind::Error => (only(&mut self.code), [number(&mut self.fatal), number(&mut self.business), 0, 0]),
            PayloadKind::Heartbeat => (
                Default::default(),
                [
                    number(&mut self.buffer_ms),
                    number(&mut self.throughput_bps),
                    number(&mut self.dropped_frames),
                    number(&mut self.bitrate_bps),
                ],
            ),
            PayloadKind::SessionEnd => (only(&mut self.reason), [0; 4]),
            PayloadKind::PlaybackRate => (Default::default(), [number(&mut self.rate_per_mille), 0, 0, 0]),
            PayloadKind::Viewport => (Default::default(), [0, number(&mut self.width), number(&mut self.height), 0]),
            PayloadKind::PlayerState => {
                let state = PlayerState::from_name(&text(&mut self.state)).map_or(0, |state| state as u64);
                let numbers = [number(&mut self.bitrate_bps), number(&mut self.buffer_ms), state, 0];
                (only(&mut self.code), numbers)
            }
            _ => Default::default(),
        };
        match self.first_left() {
            None => Ok(put_together(kind, texts, numbers)),
            Some(field) => Err(format!("payload `{}` has no field `{field}`", kind.name())),
        }
    }

    /// A field that was sent and that nothing has taken.
    fn first_left(&self) -> Option<&'static str> {
        [
            ("representation_id", self.representation_id.is_some()),
            ("bitrate_bps", self.bitrate_bps.is_some()),
            ("width", self.width.is_some()),
            ("height", self.height.is_some()),
            ("codec", self.codec.is_some()),
            ("cdn", self.cdn.is_some()),
            ("ad_id", self.ad_id.is_some()),
            ("code", self.code.is_some()),
            ("fatal", self.fatal.is_some()),
            ("business", self.business.is_some()),
            ("buffer_ms", self.buffer_ms.is_some()),
            ("throughput_bps", self.throughput_bps.is_some()),
            ("dropped_frames", self.dropped_frames.is_some()),
            ("reason", self.reason.is_some()),
            ("autoplay", self.autoplay.is_some()),
            ("rate_per_mille", self.rate_per_mille.is_some()),
            ("state", self.state.is_some()),
        ]
        .into_iter()
        .find_map(|(name, left)| left.then_some(name))
    }
}

/// Writes a batch as JSON that [`crate::decode`] reads back.
pub fn to_json(batch: &proto::ViewEventBatch) -> String {
    let mut out = String::with_capacity(256 + 160 * batch.events.len());
    out.push_str("{\"context\":{");
    let context = batch.context.clone().unwrap_or_default();
    let values = [
        &context.session_id,
        &context.player_instance,
        &context.profile_id,
        &context.title_id,
        &context.device_type,
        &context.os,
        &context.player,
        &context.player_version,
        &context.app_version,
        &context.country,
        &context.region,
        &context.isp,
        &context.cdn,
        &context.protocol,
        &context.asset_id,
        &context.series_id,
        &context.city,
        &context.asn,
        &context.edge,
        &context.codec,
        &context.drm,
        &context.plan,
        &context.experiment_arm,
        &context.stream_type,
    ];
    write_texts(CONTEXT_FIELDS.iter().zip(values), &mut out);
    let _ = write!(out, "}},\"sent_at_ms\":{},\"events\":[", batch.sent_at_ms);
    for (index, event) in batch.events.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_event(event, &mut out);
    }
    out.push(']');
    if let Some(location) = &batch.location {
        out.push_str(",\"location\":");
        out.push_str(&location_to_json(location));
    }
    out.push('}');
    out
}

/// The value of a batch's `location`.
pub fn location_to_json(location: &proto::Location) -> String {
    let values = [&location.country, &location.region, &location.city, &location.isp, &location.asn];
    let mut out = String::from("{");
    write_texts(LOCATION_FIELDS.iter().zip(values), &mut out);
    out.push('}');
    out
}

/// The members of an object, those without a value left out.
fn write_texts<'a>(members: impl Iterator<Item = (&'a &'static str, &'a String)>, out: &mut String) {
    let mut separator = "";
    for (name, value) in members.filter(|(_, value)| !value.is_empty()) {
        let _ = write!(out, "{separator}\"{name}\":{}", quoted(value));
        separator = ",";
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn write_event(event: &proto::ViewEvent, out: &mut String) {
    let _ = write!(
        out,
        "{{\"event_id\":{},\"sequence\":{},\"event_time_ms\":{}",
        quoted(&event.event_id),
        event.sequence,
        event.event_time_ms
    );
    if let Some(media_time_ms) = event.media_time_ms {
        let _ = write!(out, ",\"media_time_ms\":{media_time_ms}");
    }
    let (kind, fields) = match &event.payload {
        None => {
            out.push('}');
            return;
        }
        Some(Payload::PlayRequested(p)) => {
            let autoplay = if p.autoplay { "\"autoplay\":true" } else { "" };
            (PayloadKind::PlayRequested, autoplay.to_owned())
        }
        Some(Payload::FirstFrame(_)) => (PayloadKind::FirstFrame, String::new()),
        Some(Payload::RebufferStart(_)) => (PayloadKind::RebufferStart, String::new()),
        Some(Payload::RebufferEnd(_)) => (PayloadKind::RebufferEnd, String::new()),
        Some(Payload::Pause(_)) => (PayloadKind::Pause, String::new()),
        Some(Payload::Resume(_)) => (PayloadKind::Resume, String::new()),
        Some(Payload::SeekStart(_)) => (PayloadKind::SeekStart, String::new()),
        Some(Payload::SeekEnd(_)) => (PayloadKind::SeekEnd, String::new()),
        Some(Payload::Rendition(r)) => (
            PayloadKind::Rendition,
            format!(
                "\"representation_id\":{},\"bitrate_bps\":{},\"width\":{},\"height\":{},\"codec\":{},\"cdn\":{}",
                quoted(&r.representation_id),
                r.bitrate_bps,
                r.width,
                r.height,
                quoted(&r.codec),
                quoted(&r.cdn)
            ),
        ),
        Some(Payload::AdStart(a)) => (PayloadKind::AdStart, format!("\"ad_id\":{}", quoted(&a.ad_id))),
        Some(Payload::AdEnd(_)) => (PayloadKind::AdEnd, String::new()),
        Some(Payload::Error(e)) => (
            PayloadKind::Error,
            format!("\"code\":{},\"fatal\":{},\"business\":{}", quoted(&e.code), e.fatal, e.business),
        ),
        Some(Payload::Heartbeat(h)) => (
            PayloadKind::Heartbeat,
            format!(
                "\"buffer_ms\":{},\"throughput_bps\":{},\"dropped_frames\":{},\"bitrate_bps\":{}",
                h.buffer_ms, h.throughput_bps, h.dropped_frames, h.bitrate_bps
            ),
        ),
        Some(Payload::Background(_)) => (PayloadKind::Background, String::new()),
        Some(Payload::Foreground(_)) => (PayloadKind::Foreground, String::new()),
        Some(Payload::SessionEnd(s)) => (PayloadKind::SessionEnd, format!("\"reason\":{}", quoted(&s.reason))),
        Some(Payload::AdBreakStart(_)) => (PayloadKind::AdBreakStart, String::new()),
        Some(Payload::AdBreakEnd(_)) => (PayloadKind::AdBreakEnd, String::new()),
        Some(Payload::PlaybackRate(r)) => {
            (PayloadKind::PlaybackRate, format!("\"rate_per_mille\":{}", r.rate_per_mille))
        }
        Some(Payload::Viewport(v)) => (PayloadKind::Viewport, format!("\"width\":{},\"height\":{}", v.width, v.height)),
        Some(Payload::PlayerState(p)) => (
            PayloadKind::PlayerState,
            format!(
                "\"state\":{},\"code\":{},\"bitrate_bps\":{},\"buffer_ms\":{}",
                quoted(&p.state),
                quoted(&p.code),
                p.bitrate_bps,
                p.buffer_ms
            ),
        ),
    };
    let _ = write!(out, ",\"{}\":{{{fields}}}}}", kind.name());
}

#[cfg(test)]
mod tests {
    fn check(input: &str, field: &str, problem: &str) {
        let error = crate::decode(crate::ContentType::Json, input.as_bytes()).expect_err("is refused");
        assert_eq!(error.field, field);
        assert!(error.problem.contains(problem), "{error}");
    }

    #[test]
    fn errors_name_the_field() {
        check("{", "batch", "EOF");
        check("[]", "batch", "invalid type");
        check(r#"{"context":{"session_id":1}}"#, "context.session_id", "invalid type");
        check(r#"{"context":{"sesion_id":"a"}}"#, "context", "unknown field `sesion_id`");
        check(r#"{"context":{},"events":[]}"#, "context.session_id", "missing");
        check(r#"{"context":{"session_id":"a"},"events":[]}"#, "events", "empty");
        check(r#"{"context":{"session_id":"a"},"events":[{"sequence":-1}]}"#, "events[0].sequence", "invalid value");
        check(
            r#"{"context":{"session_id":"a"},"events":[{"rendition":{"bitrate_bps":"x"}}]}"#,
            "events[0].rendition.bitrate_bps",
            "invalid type",
        );
        check(r#"{"context":{"session_id":"a"},"events":[{"pauze":{}}]}"#, "events[0]", "unknown field `pauze`");
    }
}
