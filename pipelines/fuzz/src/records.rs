//! From a fuzzer's bytes to records of the log, and back for the seeds.
//!
//! A piece is one byte for its kind, two for the length of its payload, two for the time since the piece before (ms) and
//! the payload. A collector stamps what it stores with a count of events, so this does, too.

use marquee_cmcd::{RecordContext, decode_record, split_body};
use marquee_events::{ContentType, decode, decode_interactions};
use marquee_stream::{Record, RecordHeader, RecordType};

/// When the first record comes (ms since the epoch).
pub(crate) const START_MS: i64 = 1_700_000_000_000;

/// Some count for what cannot be decoded.
const CLAIMED_EVENTS: u32 = 3;

/// So long an id is remembered after the viewer's last record.
pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

pub(crate) const DAY_AND_MORE_MS: i64 = DAY_MS + 60 * 60 * 1000;

/// The kinds of pieces of a topic by their first byte, modulo their number.
pub(crate) type Kinds = [Kind];

/// What is thrown at job `playback`.
pub(crate) const PLAYBACK: &Kinds = &[
    Kind::Record(RecordType::ViewEvents(ContentType::Json)),
    Kind::Record(RecordType::ViewEvents(ContentType::Protobuf)),
    Kind::Record(RecordType::ViewEvents(ContentType::Cmcd)),
    Kind::CmcdBody,
    Kind::Record(RecordType::Interactions(ContentType::Json)),
    Kind::Record(RecordType::LiveDeltas),
    Kind::Record(RecordType::EndOfInput),
    Kind::ReceivedAt,
];

/// What is thrown at job `features`.
pub(crate) const FEATURES: &Kinds = &[
    Kind::Record(RecordType::Interactions(ContentType::Json)),
    Kind::Record(RecordType::Interactions(ContentType::Protobuf)),
    Kind::Again,
    Kind::Later(DAY_AND_MORE_MS),
    Kind::Later(-DAY_AND_MORE_MS),
    Kind::ReceivedAt,
    Kind::Record(RecordType::Interactions(ContentType::Cmcd)),
    Kind::Record(RecordType::ViewEvents(ContentType::Json)),
    Kind::Record(RecordType::LiveDeltas),
    Kind::Record(RecordType::Job),
    Kind::Record(RecordType::EndOfInput),
];

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Record(RecordType),
    /// What a player posts, split by session as the collector does.
    CmcdBody,
    /// The record that is as far back as the payload's first byte says, as of a client that has got no answer.
    Again,
    /// No record; the collector's clock is set on.
    Later(i64),
    /// The next record's header has the time that the payload's first eight bytes say.
    ReceivedAt,
}

/// The records in `data`; their offsets are the caller's to set.
pub(crate) fn records(kinds: &Kinds, mut data: &[u8]) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    let mut clock_ms = START_MS;
    let mut stamped_ms = None;
    while let [kind, low, high, wait_low, wait_high, rest @ ..] = data {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let payload;
        (payload, data) = rest.split_at(length);
        clock_ms += i64::from(u16::from_le_bytes([*wait_low, *wait_high]));
        let mut push = |record_type, event_count, payload: &[u8]| {
            let received_at_ms = stamped_ms.take().unwrap_or(clock_ms);
            let header = RecordHeader { record_type, received_at_ms, event_count };
            records.push(Record { offset: 0, header, payload: payload.to_vec().into() });
        };
        match kinds[usize::from(*kind) % kinds.len()] {
            Kind::Record(record_type) => push(record_type, event_count(record_type, payload), payload),
            Kind::CmcdBody => {
                let split = split_body(payload, &RecordContext::default()).unwrap_or_default();
                for session in split.sessions {
                    push(RecordType::ViewEvents(ContentType::Cmcd), session.lines, &session.payload);
                }
            }
            Kind::Again => {
                let back = usize::from(payload.first().copied().unwrap_or_default());
                if let Some(record) = records.iter().rev().nth(back).cloned() {
                    records
                        .push(Record { header: RecordHeader { received_at_ms: clock_ms, ..record.header }, ..record });
                }
            }
            Kind::Later(ms) => clock_ms += ms,
            Kind::ReceivedAt => stamped_ms = payload.first_chunk().map(|bytes| i64::from_le_bytes(*bytes)),
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
        RecordType::Interactions(content_type) => {
            decode_interactions(content_type, payload).ok().map(|batch| batch.interactions.len())
        }
        RecordType::EndOfInput => Some(0),
        _ => None,
    };
    counted.map_or(CLAIMED_EVENTS, |events| events as u32)
}

/// The piece of this kind.
pub(crate) fn piece(kinds: &Kinds, kind: Kind, wait_ms: u16, payload: &[u8]) -> Vec<u8> {
    let number = kinds.iter().position(|known| *known == kind).expect("one of the kinds");
    let length = u16::try_from(payload.len()).expect("seeds are small");
    let mut piece = vec![number as u8];
    piece.extend(length.to_le_bytes());
    piece.extend(wait_ms.to_le_bytes());
    piece.extend(payload);
    piece
}
