//! Splits a chunk of an import (message `ViewEventBatches` or `InteractionBatches`) into one record for each batch.
//!
//! The batches are cut out of the chunk as they are, not decoded and encoded anew: what was validated is what is
//! stored, and nothing is copied. A test holds this to what prost writes.

use bytes::{Buf, Bytes};
use marquee_events::{ContentType, DecodeError};
use marquee_stream::{NewRecord, RecordHeader, RecordType, Route};
// Hidden in prost's docs, yet what its generated code calls, so it is stable within 0.14.
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::refusal::Refusal;

/// The smallest batch has nine bytes and its record about 150 in memory: this many are 40 MB. A chunk of 64 MiB with
/// ordinary batches of 2 KB has an eighth of them.
const MAX_BATCHES_PER_CHUNK: usize = 262_144;

/// The field `batches` of messages `ViewEventBatches` and `InteractionBatches`.
const BATCHES: u32 = 1;

/// A chunk's batches.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub records: Vec<NewRecord>,
    pub event_count: u64,
}

/// Validates one batch (format, bytes, collector's clock in ms since the epoch) and makes its record.
pub(crate) type BatchRecord = fn(ContentType, Bytes, i64) -> Result<NewRecord, DecodeError>;

/// Makes one record of each batch.
pub(crate) fn parse(
    bytes: Bytes,
    received_at_ms: i64,
    max_batch_bytes: usize,
    record: BatchRecord,
) -> Result<Chunk, Refusal> {
    let mut chunk = Chunk { records: Vec::new(), event_count: 0 };
    let mut rest = bytes;
    while let Some(batch) = next_batch(&mut rest)? {
        let index = chunk.records.len();
        if index == MAX_BATCHES_PER_CHUNK {
            return Err(Refusal::field("batches", format!("has more than {MAX_BATCHES_PER_CHUNK} batches")));
        }
        if batch.len() > max_batch_bytes {
            let problem = format!("has {} bytes, at most {max_batch_bytes} are accepted", batch.len());
            return Err(Refusal::field(format!("batches[{index}]"), problem));
        }
        let record = record(ContentType::Protobuf, batch, received_at_ms)
            .map_err(|error| Refusal::field(format!("batches[{index}].{}", error.field), error.problem))?;
        chunk.event_count += u64::from(record.header.event_count);
        chunk.records.push(record);
    }
    if chunk.records.is_empty() {
        return Err(Refusal::field("batches", "is empty"));
    }
    Ok(chunk)
}

/// The record of one player's batch, which is validated here.
pub(crate) fn view_events_record(
    content_type: ContentType,
    payload: Bytes,
    received_at_ms: i64,
) -> Result<NewRecord, DecodeError> {
    let batch = marquee_events::decode(content_type, &payload)?;
    let route = Route::Key(Bytes::copy_from_slice(batch.context.session_id.as_bytes()));
    let event_count = batch.events.len() as u32; // at most MAX_EVENTS_PER_BATCH
    let header = RecordHeader { record_type: RecordType::ViewEvents(content_type), received_at_ms, event_count };
    Ok(NewRecord { route, header, payload })
}

/// The record of one profile's batch, which is validated here.
pub(crate) fn interactions_record(
    content_type: ContentType,
    payload: Bytes,
    received_at_ms: i64,
) -> Result<NewRecord, DecodeError> {
    let batch = marquee_events::decode_interactions(content_type, &payload)?;
    let route = Route::Key(Bytes::copy_from_slice(batch.context.profile_id.as_bytes()));
    let event_count = batch.interactions.len() as u32; // at most MAX_EVENTS_PER_BATCH
    let header = RecordHeader { record_type: RecordType::Interactions(content_type), received_at_ms, event_count };
    Ok(NewRecord { route, header, payload })
}

/// Cuts the next batch off the front of `rest`; unknown fields are skipped, as protobuf asks.
fn next_batch(rest: &mut Bytes) -> Result<Option<Bytes>, Refusal> {
    let broken = |error: prost::DecodeError| Refusal::field("batches", format!("is no message of batches: {error}"));
    while rest.has_remaining() {
        let (field, wire_type) = decode_key(rest).map_err(broken)?;
        if field != BATCHES {
            skip_field(wire_type, field, rest, DecodeContext::default()).map_err(broken)?;
            continue;
        }
        if wire_type != WireType::LengthDelimited {
            return Err(Refusal::field("batches", "has the wrong protobuf wire type"));
        }
        let length = decode_varint(rest).map_err(broken)?;
        match usize::try_from(length) {
            Ok(length) if length <= rest.len() => return Ok(Some(rest.split_to(length))),
            _ => return Err(Refusal::field("batches", "is truncated")),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use marquee_events::proto::{Context, ViewEvent, ViewEventBatch, ViewEventBatches};
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    fn batch(session_id: &str, events: usize) -> ViewEventBatch {
        ViewEventBatch {
            context: Some(Context { session_id: session_id.to_owned(), ..Default::default() }),
            sent_at_ms: 1,
            events: (0..events as u64).map(|sequence| ViewEvent { sequence, ..Default::default() }).collect(),
            ..Default::default()
        }
    }

    fn check_refused(bytes: Vec<u8>, field: &str, problem: &str) {
        match parse(bytes.into(), 0, 1000, view_events_record) {
            Err(Refusal::Field { field: found, problem: reason }) => {
                assert_eq!(found, field);
                assert!(reason.contains(problem), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn errors_name_the_batch() {
        let encode = |batches: Vec<ViewEventBatch>| ViewEventBatches { batches }.encode_to_vec();
        check_refused(Vec::new(), "batches", "empty");
        check_refused(encode(vec![batch("a", 1), batch("", 1)]), "batches[1].context.session_id", "missing");
        check_refused(encode(vec![batch("a", 0)]), "batches[0].events", "empty");
        check_refused(encode(vec![batch("a", 999)]), "batches[0]", "at most 1000");
        check_refused(b"\x0a\x05abc".to_vec(), "batches", "truncated");
        check_refused(b"\x08\x05".to_vec(), "batches", "wire type");
        check_refused(b"{}".to_vec(), "batches", "");
        check_refused([0x0a, 0].repeat(2), "batches[0].context.session_id", "missing");
    }

    #[test]
    fn unknown_fields_are_skipped() {
        let mut bytes = b"\x12\x03new\x18\x05".to_vec();
        bytes.extend(ViewEventBatches { batches: vec![batch("a", 2)] }.encode_to_vec());
        let chunk = parse(bytes.into(), 7, 1000, view_events_record).expect("is a chunk");
        assert_eq!((chunk.records.len(), chunk.event_count), (1, 2));
    }

    proptest! {
        #[test]
        fn every_record_is_what_prost_wrote(batches in prop::collection::vec(("[a-z]{1,4}", 1_usize..5), 1..6)) {
            let batches: Vec<_> = batches.iter().map(|(session_id, events)| batch(session_id, *events)).collect();
            let bytes = ViewEventBatches { batches: batches.clone() }.encode_to_vec();
            let chunk = parse(bytes.into(), 7, 1000, view_events_record).expect("is a chunk");
            let expected: Vec<_> = batches
                .iter()
                .map(|batch| NewRecord {
                    route: Route::Key(batch.context.clone().unwrap_or_default().session_id.into()),
                    header: RecordHeader {
                        record_type: RecordType::ViewEvents(ContentType::Protobuf),
                        received_at_ms: 7,
                        event_count: batch.events.len() as u32,
                    },
                    payload: batch.encode_to_vec().into(),
                })
                .collect();
            prop_assert_eq!(chunk.records, expected);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(bytes.clone().into(), 0, 1000, view_events_record);
            let _ = parse(bytes.into(), 0, 1000, interactions_record);
        }
    }
}
