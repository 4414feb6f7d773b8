//! What a job cannot use, as rows of `dead_letters`. A record's bytes are kept once, with its first letter: ten thousand
//! bad events must not keep ten thousand copies of their record.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int32Array, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use marquee_events::interactions::MAX_TIME_MS;
use marquee_lake::tables;
use marquee_stream::Record;

use crate::playback::{date_of, timestamps};

/// The letters of an epoch.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    letters: Vec<DeadLetter>,
    bytes: usize,
    /// The record whose bytes were kept last.
    kept_of: Option<u64>,
}

/// What is wrong with an event (`index` in its record) or with a whole record (−1).
#[derive(Debug)]
pub(crate) struct Broken<'a> {
    pub(crate) index: i32,
    pub(crate) event_count: u32,
    pub(crate) reason: &'static str,
    pub(crate) detail: String,
    pub(crate) content_type: &'static str,
    pub(crate) record: &'a Record,
}

#[derive(Debug)]
struct DeadLetter {
    offset: u64,
    index: i32,
    event_count: u32,
    reason: &'static str,
    detail: String,
    received_at_ms: i64,
    content_type: &'static str,
    bytes: Vec<u8>,
}

/// What is wrong with the instant at which a record came (ms since the epoch): (reason, detail). No collector writes
/// another, but a log is open to others: times corrected by it would overflow.
pub(crate) fn bad_arrival(received_at_ms: i64) -> Option<(&'static str, String)> {
    let is_good = (0..=MAX_TIME_MS).contains(&received_at_ms);
    (!is_good).then(|| ("bad_time", format!("received_at_ms {received_at_ms} is not between 0 and {MAX_TIME_MS}")))
}

impl DeadLetters {
    pub(crate) fn push(&mut self, broken: Broken<'_>) {
        let Broken { index, event_count, reason, detail, content_type, record } = broken;
        let is_first = self.kept_of.replace(record.offset) != Some(record.offset);
        let bytes = if is_first { record.payload.to_vec() } else { Vec::new() };
        self.bytes += bytes.len() + detail.len() + size_of::<DeadLetter>();
        // An instant that no calendar has could be written, but not shown.
        let (offset, received_at_ms) = (record.offset, record.header.received_at_ms.clamp(0, MAX_TIME_MS));
        self.letters.push(DeadLetter {
            offset,
            index,
            event_count,
            reason,
            detail,
            received_at_ms,
            content_type,
            bytes,
        });
    }

    /// Bytes held.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.bytes
    }

    /// Events lost.
    pub(crate) fn events(&self) -> u64 {
        self.letters.iter().map(|letter| u64::from(letter.event_count)).sum()
    }

    pub(crate) fn rows(&self, topic: &str, partition: u32) -> RecordBatch {
        let letters = &self.letters;
        let text = |value: &dyn Fn(&DeadLetter) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(letters.iter().map(value)))
        };
        let columns: Vec<ArrayRef> = vec![
            text(&|l| date_of(l.received_at_ms)),
            text(&|_| topic.to_owned()),
            Arc::new(Int32Array::from_iter_values(letters.iter().map(|_| partition as i32))),
            Arc::new(Int64Array::from_iter_values(letters.iter().map(|l| l.offset as i64))),
            Arc::new(Int32Array::from_iter_values(letters.iter().map(|l| l.index))),
            Arc::new(Int64Array::from_iter_values(letters.iter().map(|l| i64::from(l.event_count)))),
            text(&|l| l.reason.to_owned()),
            text(&|l| l.detail.clone()),
            timestamps(letters.iter().map(|l| Some(l.received_at_ms))),
            text(&|l| l.content_type.to_owned()),
            Arc::new(BinaryArray::from_iter_values(letters.iter().map(|l| l.bytes.as_slice()))),
        ];
        RecordBatch::try_new(tables::DEAD_LETTERS.schema(), columns).expect("the columns are those of the spec")
    }
}
