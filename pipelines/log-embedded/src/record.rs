//! How a record lies in storage: the key is its offset (u64, big-endian, so that keys sort), the value a fixed header
//! and the payload. This is a disk format: changing it needs a migration.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | record type number |
//! | 1..9 | `received_at_ms`, i64 big-endian |
//! | 9..13 | `event_count`, u32 big-endian |
//! | 13..17 | CRC-32C of bytes 0..13 and the payload, u32 big-endian |
//! | 17.. | payload |

use std::io::Read;

use bytes::Bytes;
use fjall::Slice;
use marquee_stream::{Record, RecordHeader, RecordType};

/// The value's bytes before the payload.
pub(crate) const HEADER_BYTES: usize = 17;

/// Where the checksum starts; what lies before it is checked by it.
const CHECKSUM_AT: usize = 13;

/// What one record costs beside its payload: key and header.
pub(crate) const OVERHEAD_BYTES: usize = size_of::<u64>() + HEADER_BYTES;

/// The key of an offset.
pub(crate) fn key(offset: u64) -> [u8; 8] {
    offset.to_be_bytes()
}

/// The offset of a key; `None` when these bytes are no key.
pub(crate) fn offset(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.try_into().ok()?))
}

/// The value of a record.
pub(crate) fn encode(header: &RecordHeader, payload: &[u8]) -> Slice {
    let mut head = [0_u8; HEADER_BYTES];
    head[0] = header.record_type.number();
    head[1..9].copy_from_slice(&header.received_at_ms.to_be_bytes());
    head[9..CHECKSUM_AT].copy_from_slice(&header.event_count.to_be_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&head[..CHECKSUM_AT]), payload);
    head[CHECKSUM_AT..].copy_from_slice(&checksum.to_be_bytes());
    Slice::from_reader(&mut head.as_slice().chain(payload), HEADER_BYTES + payload.len())
        .expect("reading as many bytes as there are from memory cannot fail")
}

/// The record of a value, borrowing its bytes.
///
/// # Errors
/// What is wrong with the bytes, as the end of a sentence about the record.
pub(crate) fn decode(offset: u64, value: Slice) -> Result<Record, &'static str> {
    let header = decode_header(&value)?;
    Ok(Record { offset, header, payload: Bytes::from_owner(value).slice(HEADER_BYTES..) })
}

/// The header of a value, with the checksum over all of it checked.
///
/// # Errors
/// As [`decode`].
pub(crate) fn decode_header(value: &[u8]) -> Result<RecordHeader, &'static str> {
    let (head, payload) = value.split_first_chunk::<HEADER_BYTES>().ok_or("is shorter than its header")?;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&head[..CHECKSUM_AT]), payload);
    if checksum.to_be_bytes() != head[CHECKSUM_AT..] {
        return Err("does not match its checksum");
    }
    let [number, received @ .., c0, c1, c2, c3, _, _, _, _] = *head;
    Ok(RecordHeader {
        record_type: RecordType::from_number(number).ok_or("has a type that this version does not know")?,
        received_at_ms: i64::from_be_bytes(received),
        event_count: u32::from_be_bytes([c0, c1, c2, c3]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: RecordHeader =
        RecordHeader { record_type: RecordType::LiveDeltas, received_at_ms: -7, event_count: u32::MAX };

    #[test]
    fn a_record_survives_the_round_trip() {
        for payload in [&b""[..], b"x", &[7; 5000]] {
            let record = decode(42, encode(&HEADER, payload)).unwrap();
            assert_eq!(record, Record { offset: 42, header: HEADER, payload: Bytes::copy_from_slice(payload) });
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let good = encode(&HEADER, b"payload").to_vec();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            decode_header(&bad).unwrap_err();
        }
        decode_header(&good[..HEADER_BYTES - 1]).unwrap_err();
    }
}
