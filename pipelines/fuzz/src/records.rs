//! From a fuzzer's bytes to records of the log, and back for the seeds.
//!
//! A piece is one byte for its kind, two for the length of its payload, two for the time since the piece before (ms) and
//! the payload. A collector stamps what it stores with a count of events, so this does, too.

use marquee_cmcd::{RecordContext, decode_record, split_body};
use marquee_events::{ContentType, decode};
use marquee_stream::{Record, RecordHeader, RecordType};

/// When the first record comes (ms since the epoch).
pub(crate) const START_MS: i64 = 1_700_000_000_000;

/// Some count for what cannot be decoded.
const CLAIMED_EVENTS: u32 = 3;

/// The kinds of pieces by their first byte, modulo their number.
const KINDS: [Kind; 7] = [
    Kind::Record(RecordType::ViewEvents(ContentType::Json)),
    Kind::Record(RecordType::ViewEvents(ContentType::Protobuf)),
    Kind::Record(RecordType::ViewEvents(ContentType::Cmcd)),
    Kind::CmcdBody,
    Kind::Record(RecordType::Interactions(ContentType::Json)),
    Kind::Record(RecordType::LiveDeltas),
    Kind::Record(RecordType::EndOfInput),
];

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Record(RecordType),
    /// What a player posts, split by session as the collector does.
    CmcdBody,
}

/// The records in `data`; their offsets are the caller's to set.
pub(crate) fn records(mut data: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    let mut received_at_ms = START_MS;
    while let [kind, low, high, wait_low, wait_high, rest @ ..] = data {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let payload;
        (payload, data) = rest.split_at(length);
        received_at_ms += i64::from(u16::from_le_bytes([*wait_low, *wait_high]));
        let mut push = |record_type, event_count, payload: &[u8]| {
            let header = RecordHeader { record_type, received_at_ms, event_count };
            records.push(Record { offset: 0, header, payload: payload.to_vec().into() });
        };
        match KINDS[usize::from(*kind) % KINDS.len()] {
            Kind::Record(record_type) => push(record_type, event_count(record_type, payload), payload),
            Kind::CmcdBody => {
                let split = split_body(payload, &RecordContext::default()).unwrap_or_default();
                for session in split.sessions {
                    push(RecordType::ViewEvents(ContentType::Cmcd), session.lines, &session.payload);
                }
            }
        }
    }
    records
}

fn event_count(record_type: RecordType, payload: &[u8]) -> u32 {
    let counted = match record_type {
        RecordType::ViewEvents(ContentType::Cmcd) => decode_record(payload, START_MS)
            .ok()
            .map(|decoded| decoded.parts.iter().map(|part| part.indexes.len()).sum::<usize>() + decoded.dead.len()),
        RecordType::ViewEvents(content_type) => decode(content_type, payload).ok().map(|batch| batch.events.len()),
        RecordType::EndOfInput => Some(0),
        _ => None,
    };
    counted.map_or(CLAIMED_EVENTS, |events| events as u32)
}

/// The piece of this kind.
pub(crate) fn piece(kind: Kind, wait_ms: u16, payload: &[u8]) -> Vec<u8> {
    let number = KINDS.iter().position(|known| *known == kind).expect("one of the kinds");
    let length = u16::try_from(payload.len()).expect("seeds are small");
    let mut piece = vec![number as u8];
    piece.extend(length.to_le_bytes());
    piece.extend(wait_ms.to_le_bytes());
    piece.extend(payload);
    piece
}
