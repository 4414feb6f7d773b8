//! The rows of `profile_features` that wait for the end of the epoch, in arrow builders: a row holds thirty texts.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int32Array, Int64Builder, ListBuilder, StringArray, StringBuilder,
};
use arrow::datatypes::{DataType, Field};
use arrow::record_batch::RecordBatch;
use marquee_definitions::{KNOWN_RECENT_TITLES, KnownFeatures, ProfileState};
use marquee_events::interactions::proto::interaction::Payload;
use marquee_lake::tables::{self, LIST_SEPARATOR};

use crate::playback::{date_of, timestamps};

/// Bytes of a row that are no text, about: a catalogue's genres, and lists of twenty titles with their instants.
const FIXED_BYTES: usize = 8 * (8 + 20 + 3 * KNOWN_RECENT_TITLES);

/// The signal that a row comes after.
#[derive(Debug)]
pub(crate) struct RowSignal<'a> {
    pub(crate) sequence: i64,
    pub(crate) profile_id: &'a str,
    pub(crate) title_id: &'a str,
    pub(crate) payload: &'a Payload,
    pub(crate) event_time_ms: i64,
    pub(crate) received_at_ms: i64,
    pub(crate) available_ms: i64,
    pub(crate) is_imported: bool,
}

/// The rows of the current epoch.
pub(crate) struct ProfileRows {
    received_at_ms: Vec<i64>,
    sequence: Int64Builder,
    profile_id: StringBuilder,
    kind: StringBuilder,
    title_id: StringBuilder,
    event_time_ms: Vec<i64>,
    available_ms: Vec<i64>,
    is_imported: BooleanBuilder,
    watched_fraction: Float64Builder,
    rating_value: Float64Builder,
    genres: StringBuilder,
    genre_affinities_millionths: ListBuilder<Int64Builder>,
    recent_titles: StringBuilder,
    recent_titles_at_ms: ListBuilder<Int64Builder>,
    session_titles: StringBuilder,
    touched_titles: StringBuilder,
    touched_first_at_ms: ListBuilder<Int64Builder>,
    touched_last_at_ms: ListBuilder<Int64Builder>,
    seen_titles: Int64Builder,
    listed_titles: Int64Builder,
    bytes: usize,
}

impl Default for ProfileRows {
    fn default() -> Self {
        let ints = || ListBuilder::new(Int64Builder::new()).with_field(Field::new("element", DataType::Int64, false));
        Self {
            received_at_ms: Vec::new(),
            sequence: Int64Builder::new(),
            profile_id: StringBuilder::new(),
            kind: StringBuilder::new(),
            title_id: StringBuilder::new(),
            event_time_ms: Vec::new(),
            available_ms: Vec::new(),
            is_imported: BooleanBuilder::new(),
            watched_fraction: Float64Builder::new(),
            rating_value: Float64Builder::new(),
            genres: StringBuilder::new(),
            genre_affinities_millionths: ints(),
            recent_titles: StringBuilder::new(),
            recent_titles_at_ms: ints(),
            session_titles: StringBuilder::new(),
            touched_titles: StringBuilder::new(),
            touched_first_at_ms: ints(),
            touched_last_at_ms: ints(),
            seen_titles: Int64Builder::new(),
            listed_titles: Int64Builder::new(),
            bytes: 0,
        }
    }
}

/// Whether a row follows on an interaction: it can be a label, or it changes what a label is explained by. Progress
/// refines a view that has its rows already, and comes every few seconds.
pub(crate) fn has_row(payload: &Payload) -> bool {
    match payload {
        Payload::ViewStarted(_)
        | Payload::ViewFinished(_)
        | Payload::Rating(_)
        | Payload::ListAdd(_)
        | Payload::ListRemove(_)
        | Payload::NotInterested(_) => true,
        Payload::ViewProgress(_) | Payload::Click(_) | Payload::Impression(_) | Payload::Search(_) => false,
    }
}

impl ProfileRows {
    /// Adds the row of a profile after a signal.
    pub(crate) fn push(&mut self, signal: &RowSignal<'_>, profile: &ProfileState) {
        self.received_at_ms.push(signal.received_at_ms);
        self.sequence.append_value(signal.sequence);
        self.profile_id.append_value(signal.profile_id);
        self.kind.append_value(signal.payload.name());
        self.title_id.append_value(signal.title_id);
        self.event_time_ms.push(signal.event_time_ms);
        self.available_ms.push(signal.available_ms);
        self.is_imported.append_value(signal.is_imported);
        self.watched_fraction.append_option(signal.payload.watched_fraction());
        self.rating_value.append_option(match signal.payload {
            Payload::Rating(rating) => Some(rating.value),
            _ => None,
        });
        let known = KnownFeatures::of(profile, signal.available_ms);
        let (affinities, recent, touched) = (&known.genre_affinity, &known.recent_titles, &known.touched);
        let mut text_bytes = append_list(&mut self.genres, affinities.iter().map(|(genre, _)| genre.as_str()));
        let millionths = affinities.iter().map(|(_, affinity)| Some((affinity * 1e6).round() as i64));
        self.genre_affinities_millionths.append_value(millionths);
        text_bytes += append_list(&mut self.recent_titles, recent.iter().map(|(title_id, _)| title_id.as_str()));
        self.recent_titles_at_ms.append_value(recent.iter().map(|(_, at_ms)| Some(*at_ms)));
        text_bytes += append_list(&mut self.session_titles, known.session_titles().into_iter());
        text_bytes += append_list(&mut self.touched_titles, touched.iter().map(|touched| touched.title_id.as_str()));
        self.touched_first_at_ms.append_value(touched.iter().map(|touched| Some(touched.first_ms)));
        self.touched_last_at_ms.append_value(touched.iter().map(|touched| Some(touched.last_ms)));
        self.seen_titles.append_value(profile.seen_count() as i64);
        self.listed_titles.append_value(profile.listed_count() as i64);
        self.bytes += FIXED_BYTES + text_bytes + signal.profile_id.len() + signal.title_id.len();
    }

    pub(crate) fn pending_bytes(&self) -> usize {
        self.bytes
    }

    /// The rows in order of arrival.
    pub(crate) fn finish(mut self, topic: &str, partition: u32) -> RecordBatch {
        let dates = self.received_at_ms.iter().map(|ms| date_of(*ms));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(dates)),
            Arc::new(StringArray::from_iter_values(self.received_at_ms.iter().map(|_| topic))),
            Arc::new(Int32Array::from_iter_values(self.received_at_ms.iter().map(|_| partition as i32))),
            Arc::new(self.sequence.finish()),
            Arc::new(self.profile_id.finish()),
            Arc::new(self.kind.finish()),
            Arc::new(self.title_id.finish()),
            timestamps(self.event_time_ms.iter().map(|ms| Some(*ms))),
            timestamps(self.available_ms.iter().map(|ms| Some(*ms))),
            Arc::new(self.is_imported.finish()),
            Arc::new(self.watched_fraction.finish()),
            Arc::new(self.rating_value.finish()),
            Arc::new(self.genres.finish()),
            Arc::new(self.genre_affinities_millionths.finish()),
            Arc::new(self.recent_titles.finish()),
            Arc::new(self.recent_titles_at_ms.finish()),
            Arc::new(self.session_titles.finish()),
            Arc::new(self.touched_titles.finish()),
            Arc::new(self.touched_first_at_ms.finish()),
            Arc::new(self.touched_last_at_ms.finish()),
            Arc::new(self.seen_titles.finish()),
            Arc::new(self.listed_titles.finish()),
        ];
        RecordBatch::try_new(tables::PROFILE_FEATURES.schema(), columns).expect("the columns are those of the spec")
    }
}

/// Appends the elements as one text, NULL when there are none; its bytes.
fn append_list<'a>(column: &mut StringBuilder, elements: impl Iterator<Item = &'a str>) -> usize {
    let elements: Vec<&str> = elements.collect();
    if elements.is_empty() {
        column.append_null();
        return 0;
    }
    let text = elements.join(LIST_SEPARATOR.encode_utf8(&mut [0; 4]));
    column.append_value(&text);
    text.len()
}
