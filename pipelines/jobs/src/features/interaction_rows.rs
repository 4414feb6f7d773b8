//! The interactions that wait for the end of the epoch, as rows of three tables: `interaction_events` has them all,
//! `interactions` and `impressions` those that did not come before.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use marquee_events::MAX_EVENTS_PER_BATCH;
use marquee_events::interactions::proto::interaction::Payload;
use marquee_events::interactions::proto::{Context, Impression};
use marquee_lake::{TableSpec, tables};

use crate::playback::{date_of, timestamps};

/// Places in a record: the next power of two from the most interactions that one may hold.
const PLACES: u64 = MAX_EVENTS_PER_BATCH.next_power_of_two() as u64;

/// Where an interaction stands in the order of arrival of its shard: follows from its position in the log alone.
pub(crate) fn sequence(offset: u64, index: usize) -> i64 {
    (offset * PLACES + index as u64) as i64
}

/// What all interactions of a record share.
#[derive(Debug)]
pub(crate) struct RecordMeta {
    pub(crate) offset: u64,
    pub(crate) received_at_ms: i64,
    pub(crate) sent_at_ms: i64,
    pub(crate) clock_shift_ms: i64,
    pub(crate) is_imported: bool,
    pub(crate) context: Context,
}

/// One interaction; its times are corrected.
#[derive(Debug)]
pub(crate) struct InteractionRow {
    pub(crate) index: usize,
    pub(crate) time_ms: i64,
    pub(crate) available_ms: i64,
    pub(crate) interaction_id: String,
    pub(crate) payload: Payload,
    pub(crate) is_duplicate: bool,
}

/// The rows of the current epoch.
#[derive(Debug, Default)]
pub(crate) struct InteractionRows {
    records: Vec<RecordMeta>,
    rows: Vec<(u32, InteractionRow)>,
    bytes: usize,
}

/// A row with its record.
type Place<'a> = (&'a RecordMeta, &'a InteractionRow);

impl InteractionRows {
    /// What follows is of this record.
    pub(crate) fn start_record(&mut self, record: RecordMeta) {
        let context = &record.context;
        let texts = context.profile_id.len() + context.device_type.len() + context.app_version.len();
        self.bytes += size_of::<RecordMeta>() + texts;
        self.records.push(record);
    }

    pub(crate) fn push(&mut self, row: InteractionRow) {
        let (payload, text) = (&row.payload, |text: Option<&str>| text.map_or(0, str::len));
        let ids = text(payload.title_id()) + text(payload.session_id()) + text(payload.tracking_token());
        let others = match payload {
            Payload::Impression(impression) => impression.row_id.len(),
            Payload::Search(search) => search.query.len(),
            _ => 0,
        };
        self.bytes += size_of::<InteractionRow>() + row.interaction_id.len() + ids + others;
        self.rows.push((self.records.len() as u32 - 1, row));
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn pending_bytes(&self) -> usize {
        self.bytes
    }

    /// The rows of the three tables, each sorted by (profile, arrival); tables without rows left out.
    pub(crate) fn tables(&self, topic: &str, partition: u32) -> Vec<(&'static TableSpec, RecordBatch)> {
        let mut all: Vec<Place<'_>> =
            self.rows.iter().map(|(record, row)| (&self.records[*record as usize], row)).collect();
        all.sort_by(|a, b| a.0.context.profile_id.cmp(&b.0.context.profile_id)); // stable: arrival
        let impression = |row: &InteractionRow| matches!(row.payload, Payload::Impression(_));
        let (impressions, interactions): (Vec<Place<'_>>, Vec<Place<'_>>) =
            all.iter().filter(|(_, row)| !row.is_duplicate).partition(|(_, row)| impression(row));
        let batches = [
            (&tables::INTERACTION_EVENTS, bronze(&all, topic, partition)),
            (&tables::INTERACTIONS, silver(&interactions, topic, partition)),
            (&tables::IMPRESSIONS, shown(&impressions, topic, partition)),
        ];
        batches.into_iter().filter(|(_, rows)| rows.num_rows() > 0).map(|(table, rows)| (table as _, rows)).collect()
    }
}

fn bronze(rows: &[Place<'_>], topic: &str, partition: u32) -> RecordBatch {
    let mut columns = Columns::new(&tables::INTERACTION_EVENTS, rows);
    columns.text(|(record, _)| date_of(record.received_at_ms));
    columns.log_place(topic, partition);
    columns.int(|(record, _)| Some(record.offset as i64));
    columns.push(Arc::new(Int32Array::from_iter_values(rows.iter().map(|(_, row)| row.index as i32))));
    columns.who();
    columns.optional_text(|(_, row)| Some(&row.interaction_id));
    columns.optional_text(|(_, row)| Some(row.payload.name()));
    columns.timestamp(|(_, row)| row.time_ms);
    columns.int(|(record, row)| Some(row.time_ms - record.clock_shift_ms));
    columns.int(|(record, _)| Some(record.clock_shift_ms));
    columns.timestamp(|(record, _)| record.received_at_ms);
    columns.int(|(record, _)| Some(record.sent_at_ms).filter(|ms| *ms != 0));
    columns.push(Arc::new(rows.iter().map(|(_, row)| Some(row.is_duplicate)).collect::<BooleanArray>()));
    columns.optional_text(|(_, row)| row.payload.title_id());
    columns.optional_text(|(_, row)| row.payload.session_id());
    columns.optional_text(|(_, row)| row.payload.tracking_token());
    columns.optional_text(|(_, row)| impression(row).map(|i| i.row_id.as_str()));
    columns.int(|(_, row)| impression(row).map(|i| i64::from(i.position)));
    columns.told();
    columns.device();
    columns.into_batch()
}

fn silver(rows: &[Place<'_>], topic: &str, partition: u32) -> RecordBatch {
    let mut columns = Columns::new(&tables::INTERACTIONS, rows);
    columns.text(|(record, _)| date_of(record.received_at_ms));
    columns.log_place(topic, partition);
    columns.int(|(record, row)| Some(sequence(record.offset, row.index)));
    columns.who();
    columns.optional_text(|(_, row)| Some(&row.interaction_id));
    columns.optional_text(|(_, row)| Some(row.payload.name()));
    columns.optional_text(|(_, row)| row.payload.title_id());
    columns.when();
    columns.optional_text(|(_, row)| row.payload.session_id());
    columns.optional_text(|(_, row)| row.payload.tracking_token());
    columns.told();
    columns.device();
    columns.into_batch()
}

fn shown(rows: &[Place<'_>], topic: &str, partition: u32) -> RecordBatch {
    let mut columns = Columns::new(&tables::IMPRESSIONS, rows);
    columns.text(|(record, _)| date_of(record.received_at_ms));
    columns.log_place(topic, partition);
    columns.int(|(record, row)| Some(sequence(record.offset, row.index)));
    columns.who();
    columns.optional_text(|(_, row)| Some(&row.interaction_id));
    columns.optional_text(|(_, row)| row.payload.tracking_token());
    columns.optional_text(|(_, row)| row.payload.title_id());
    columns.optional_text(|(_, row)| impression(row).map(|i| i.row_id.as_str()));
    columns.int(|(_, row)| impression(row).map(|i| i64::from(i.position)));
    columns.when();
    columns.device();
    columns.into_batch()
}

fn impression(row: &InteractionRow) -> Option<&Impression> {
    match &row.payload {
        Payload::Impression(impression) => Some(impression),
        _ => None,
    }
}

/// The columns of a table in its order, one after the other.
struct Columns<'a> {
    table: &'static TableSpec,
    rows: &'a [Place<'a>],
    arrays: Vec<ArrayRef>,
}

impl<'a> Columns<'a> {
    fn new(table: &'static TableSpec, rows: &'a [Place<'a>]) -> Self {
        Self { table, rows, arrays: Vec::with_capacity(table.columns.len()) }
    }

    fn push(&mut self, array: ArrayRef) {
        self.arrays.push(array);
    }

    fn text(&mut self, value: impl Fn(&Place<'a>) -> String) {
        self.push(Arc::new(StringArray::from_iter_values(self.rows.iter().map(value))));
    }

    /// An empty text is none.
    fn optional_text(&mut self, value: impl Fn(&Place<'a>) -> Option<&'a str>) {
        let values = self.rows.iter().map(|place| value(place).filter(|text| !text.is_empty()));
        self.push(Arc::new(values.collect::<StringArray>()));
    }

    fn int(&mut self, value: impl Fn(&Place<'a>) -> Option<i64>) {
        self.push(Arc::new(self.rows.iter().map(value).collect::<Int64Array>()));
    }

    fn timestamp(&mut self, value: impl Fn(&Place<'a>) -> i64) {
        self.push(timestamps(self.rows.iter().map(|place| Some(value(place)))));
    }

    /// `topic`, `partition`.
    fn log_place(&mut self, topic: &str, partition: u32) {
        self.text(|_| topic.to_owned());
        self.push(Arc::new(Int32Array::from_iter_values(self.rows.iter().map(|_| partition as i32))));
    }

    /// `profile_id`.
    fn who(&mut self) {
        self.optional_text(|(record, _)| Some(&record.context.profile_id));
    }

    /// `event_time`, `available_at`, `is_imported`.
    fn when(&mut self) {
        self.timestamp(|(_, row)| row.time_ms);
        self.timestamp(|(_, row)| row.available_ms);
        self.push(Arc::new(self.rows.iter().map(|(record, _)| Some(record.is_imported)).collect::<BooleanArray>()));
    }

    /// `watched_fraction`, `rating_value`, `query`.
    fn told(&mut self) {
        let watched = self.rows.iter().map(|(_, row)| row.payload.watched_fraction());
        self.arrays.push(Arc::new(watched.collect::<Float64Array>()));
        let stars = self.rows.iter().map(|(_, row)| match &row.payload {
            Payload::Rating(rating) => Some(rating.value),
            _ => None,
        });
        self.arrays.push(Arc::new(stars.collect::<Float64Array>()));
        self.optional_text(|(_, row)| match &row.payload {
            Payload::Search(search) => Some(&search.query),
            _ => None,
        });
    }

    /// `device_type`, `app_version`.
    fn device(&mut self) {
        self.optional_text(|(record, _)| Some(&record.context.device_type));
        self.optional_text(|(record, _)| Some(&record.context.app_version));
    }

    fn into_batch(self) -> RecordBatch {
        RecordBatch::try_new(self.table.schema(), self.arrays).expect("the columns are those of the spec")
    }
}
