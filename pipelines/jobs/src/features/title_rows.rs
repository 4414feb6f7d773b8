//! Rows of `title_features` and `co_watch`: the titles that an epoch has changed, as the shard knows them at its end.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use marquee_definitions::{TitleFeatures, TitleState};
use marquee_lake::{TableSpec, tables};

use crate::playback::{date_of, timestamps};

/// Rows of a title in `co_watch`: more than a row of a page shows. The state keeps ten times as many.
const CO_WATCH_ROWS: usize = 20;

/// Where and as of when the rows are written.
#[derive(Debug)]
pub(crate) struct AsOf<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: u32,
    pub(crate) epoch: u64,
    /// ms since the epoch.
    pub(crate) at_ms: i64,
}

impl AsOf<'_> {
    /// `as_of_date`, `topic`, `partition`, `epoch`.
    fn columns(&self, rows: usize) -> Vec<ArrayRef> {
        let text =
            |text: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows))) };
        vec![
            text(&date_of(self.at_ms)),
            text(self.topic),
            Arc::new(Int32Array::from_iter_values(std::iter::repeat_n(self.partition as i32, rows))),
            Arc::new(Int64Array::from_iter_values(std::iter::repeat_n(self.epoch as i64, rows))),
        ]
    }
}

/// The rows of both tables.
pub(crate) fn title_tables(titles: &[(&str, &TitleState)], as_of: &AsOf<'_>) -> [(&'static TableSpec, RecordBatch); 2] {
    [(&tables::TITLE_FEATURES, title_features(titles, as_of)), (&tables::CO_WATCH, co_watch(titles, as_of))]
}

fn title_features(titles: &[(&str, &TitleState)], as_of: &AsOf<'_>) -> RecordBatch {
    let values: Vec<TitleFeatures> = titles.iter().map(|(_, state)| state.read(as_of.at_ms)).collect();
    let float = |value: &dyn Fn(&TitleFeatures) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(values.iter().map(value)))
    };
    let completion = || titles.iter().map(|(_, state)| state.completion());
    let mut columns = as_of.columns(titles.len());
    columns.extend([
        Arc::new(StringArray::from_iter_values(titles.iter().map(|(title_id, _)| title_id))) as ArrayRef,
        timestamps(titles.iter().map(|_| Some(as_of.at_ms))),
        timestamps(titles.iter().map(|(_, state)| Some(state.available_ms))),
        float(&|v| v.views),
        float(&|v| v.views_decayed),
        float(&|v| v.views_1h),
        float(&|v| v.views_24h),
        float(&|v| v.views_7d),
        Arc::new(Float64Array::from_iter_values(completion().map(|(sum, _)| sum))),
        Arc::new(Int64Array::from_iter_values(completion().map(|(_, count)| count as i64))),
    ]);
    RecordBatch::try_new(tables::TITLE_FEATURES.schema(), columns).expect("the columns are those of the spec")
}

fn co_watch(titles: &[(&str, &TitleState)], as_of: &AsOf<'_>) -> RecordBatch {
    let mut rows: Vec<(&str, &str, usize, f64)> = Vec::new();
    for (title_id, state) in titles {
        let neighbours = state.co_watch(as_of.at_ms, CO_WATCH_ROWS);
        rows.extend(neighbours.into_iter().enumerate().map(|(rank, (id, count))| (*title_id, id, rank, count)));
    }
    let mut columns = as_of.columns(rows.len());
    columns.extend([
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(title_id, ..)| title_id))) as ArrayRef,
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, neighbour_id, ..)| neighbour_id))),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|(_, _, rank, _)| *rank as i32))),
        timestamps(rows.iter().map(|_| Some(as_of.at_ms))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|(.., count)| *count))),
    ]);
    RecordBatch::try_new(tables::CO_WATCH.schema(), columns).expect("the columns are those of the spec")
}
