//! A record's header as Kafka headers, in words that other tools can show. Headers that are not named here are left
//! aside when reading, so that a producer may add some.

use marquee_stream::{LogError, RecordHeader, RecordType, TraceParent};
use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, OwnedHeaders};

/// [`RecordType::number`], decimal.
const TYPE: &str = "marquee-type";
/// Milliseconds since the epoch, decimal.
const RECEIVED_AT_MS: &str = "marquee-received-at-ms";
/// Decimal.
const EVENT_COUNT: &str = "marquee-event-count";
/// For people and other consumers: it follows from the type.
const CONTENT_TYPE: &str = "content-type";
/// Of these headers.
const SCHEMA: &str = "marquee-schema";
const SCHEMA_VERSION: &str = "1";
/// Of records that belong to a ledger key: the key, and the record's index among all of that key.
const LEDGER_KEY: &str = "marquee-ledger-key";
const LEDGER_INDEX: &str = "marquee-ledger-index";
/// For tracers, as W3C Trace Context names it; of records whose request had one.
const TRACE_PARENT: &str = "traceparent";

/// The key of a topic's last record, which has no headers, so that it is smaller than any other.
pub(crate) const SEAL_KEY: &[u8] = b"sealed";

/// What some records have beside their header.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extra<'a> {
    /// The ledger key, and the record's index among all of that key.
    pub(crate) ledger: Option<(&'a str, usize)>,
    pub(crate) trace_parent: Option<TraceParent>,
}

/// The Kafka headers of a record.
pub(crate) fn encode(header: &RecordHeader, extra: Extra<'_>) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new_with_capacity(7);
    let mut add = |key, value: &str| headers = std::mem::take(&mut headers).insert(Header { key, value: Some(value) });
    add(SCHEMA, SCHEMA_VERSION);
    add(TYPE, &header.record_type.number().to_string());
    add(RECEIVED_AT_MS, &header.received_at_ms.to_string());
    add(EVENT_COUNT, &header.event_count.to_string());
    if let RecordType::ViewEvents(content_type) | RecordType::Interactions(content_type) = header.record_type {
        add(CONTENT_TYPE, content_type.mime());
    }
    if let Some(trace_parent) = extra.trace_parent {
        add(TRACE_PARENT, trace_parent.as_str());
    }
    if let Some((key, index)) = extra.ledger {
        add(LEDGER_KEY, key);
        add(LEDGER_INDEX, &index.to_string());
    }
    headers
}

/// The header of a record as read.
///
/// # Errors
/// [`LogError::Damaged`] when the record is not one of ours.
pub(crate) fn decode(message: &BorrowedMessage<'_>) -> Result<RecordHeader, LogError> {
    if message.headers().is_none() && message.key() == Some(SEAL_KEY) {
        let received_at_ms = message.timestamp().to_millis().unwrap_or_default();
        return Ok(RecordHeader { record_type: RecordType::Seal, received_at_ms, event_count: 0 });
    }
    let (mut record_type, mut received_at_ms, mut event_count, mut schema) = (None, None, None, None);
    for header in message.headers().iter().flat_map(|headers| headers.iter()) {
        let text = header.value.and_then(|value| std::str::from_utf8(value).ok());
        match header.key {
            TYPE => record_type = text.and_then(|text| RecordType::from_number(text.parse().ok()?)),
            RECEIVED_AT_MS => received_at_ms = text.and_then(|text| text.parse().ok()),
            EVENT_COUNT => event_count = text.and_then(|text| text.parse().ok()),
            SCHEMA => schema = text,
            _ => {}
        }
    }
    match (schema, record_type, received_at_ms, event_count) {
        (Some(SCHEMA_VERSION), Some(record_type), Some(received_at_ms), Some(event_count)) => {
            Ok(RecordHeader { record_type, received_at_ms, event_count })
        }
        (schema, ..) => Err(LogError::Damaged(format!(
            "the record at {} has not the headers of Marquee's records (schema {}): nobody else may write to this topic, \
             and a newer Marquee's records need a newer Marquee",
            place(message),
            schema.unwrap_or("missing")
        ))),
    }
}

/// The ledger key and index of a record as read; `None` when it belongs to no key.
pub(crate) fn ledger_mark<'a>(message: &'a BorrowedMessage<'_>) -> Option<(&'a [u8], usize)> {
    let headers = message.headers()?;
    let value = |name| headers.iter().find(|header| header.key == name).and_then(|header| header.value);
    let index = std::str::from_utf8(value(LEDGER_INDEX)?).ok()?.parse().ok()?;
    Some((value(LEDGER_KEY)?, index))
}

/// Where a message is, for people.
pub(crate) fn place(message: &BorrowedMessage<'_>) -> String {
    format!("offset {} of {}/{}", message.offset(), message.topic(), message.partition())
}
