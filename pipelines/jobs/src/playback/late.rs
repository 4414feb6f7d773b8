//! Events past the horizon, as rows of table `late_events`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array};
use arrow::record_batch::RecordBatch;
use marquee_lake::tables;

use super::columns::{TextColumn, batch_of, constant_text, numbered_texts};
use super::contexts::Contexts;
use super::{DAY_MS, date_of, timestamps};

/// One of them.
#[derive(Debug)]
pub(crate) struct LateEvent {
    pub(crate) offset: u64,
    pub(crate) index: u32,
    pub(crate) context: u32,
    pub(crate) sequence: u64,
    pub(crate) time_ms: i64,
    pub(crate) received_at_ms: i64,
    pub(crate) watermark_ms: i64,
}

pub(crate) fn late_rows(late: &[LateEvent], contexts: &Contexts, topic: &str, partition: u32) -> RecordBatch {
    let context = |index: usize| -> ArrayRef {
        let mut column = TextColumn::default();
        for event in late {
            column.push(Some(contexts.text(event.context, index)));
        }
        column.finish()
    };
    let columns: Vec<ArrayRef> = vec![
        numbered_texts(late.iter().map(|l| l.received_at_ms.div_euclid(DAY_MS)), |day| date_of(day * DAY_MS)),
        constant_text(late.len(), topic),
        Arc::new(Int32Array::from_value(partition as i32, late.len())),
        Arc::new(Int64Array::from_iter_values(late.iter().map(|l| l.offset as i64))),
        Arc::new(Int32Array::from_iter_values(late.iter().map(|l| l.index as i32))),
        context(0),
        context(1),
        Arc::new(Int64Array::from_iter_values(late.iter().map(|l| l.sequence as i64))),
        timestamps(late.iter().map(|l| Some(l.time_ms))),
        timestamps(late.iter().map(|l| Some(l.watermark_ms))),
    ];
    batch_of(&tables::LATE_EVENTS, columns)
}
