//! The rows of table `events` that wait for the end of the epoch: fixed-size rows, texts as numbers into a table, so
//! that an event costs a copy and no allocation.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, DictionaryArray, Int32Array, Int64Array, StringArray, StringViewArray};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::record_batch::RecordBatch;
use hashbrown::HashMap;
use marquee_events::{CONTEXT_FIELDS, FlatPayload, PayloadKind, PlayerState as PlayerStateName};
use marquee_lake::tables;

use super::session::{Context, Incoming};
use super::{date_of, timestamps};

const NO_MEDIA_TIME: i64 = i64::MIN;

/// What all events of a record share.
#[derive(Debug, Clone)]
pub(crate) struct RecordMeta {
    pub(crate) offset: u64,
    pub(crate) received_at_ms: i64,
    pub(crate) sent_at_ms: i64,
    pub(crate) clock_shift_ms: i64,
    context: u32,
}

#[derive(Debug, Clone)]
struct Row {
    record: u32,
    index: u32,
    sequence: u64,
    raw_time_ms: i64,
    media_time_ms: i64,
    numbers: [u64; 4],
    texts: [u32; 3],
    id_start: u32,
    id_length: u16,
    kind: PayloadKind,
    is_late: bool,
}

/// Texts by number; 0 is the empty one.
#[derive(Debug)]
struct Symbols {
    numbers: HashMap<Box<str>, u32>,
    texts: Vec<Box<str>>,
    bytes: usize,
}

impl Default for Symbols {
    fn default() -> Self {
        Self { numbers: HashMap::from_iter([("".into(), 0)]), texts: vec!["".into()], bytes: 0 }
    }
}

impl Symbols {
    fn number(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len() as u32;
        self.texts.push(text.into());
        self.numbers.insert(text.into(), number);
        self.bytes += 2 * text.len() + 64;
        number
    }
}

/// A row read back for a re-fold.
#[derive(Debug, Clone)]
pub(crate) struct StoredRow {
    pub(crate) offset: u64,
    pub(crate) index: u32,
    pub(crate) sequence: u64,
    pub(crate) event_id: String,
    pub(crate) time_ms: i64,
    pub(crate) media_time_ms: Option<i64>,
    pub(crate) kind: PayloadKind,
    pub(crate) texts: [String; 3],
    pub(crate) numbers: [u64; 4],
    pub(crate) context: Arc<Context>,
    /// The fold has seen it.
    pub(crate) folded: bool,
}

impl StoredRow {
    pub(crate) fn incoming(&self) -> Incoming<'_> {
        Incoming {
            sequence: self.sequence,
            event_id: &self.event_id,
            time_ms: self.time_ms,
            media_time_ms: self.media_time_ms,
            payload: FlatPayload {
                kind: self.kind,
                texts: [&self.texts[0], &self.texts[1], &self.texts[2]],
                numbers: self.numbers,
            },
        }
    }
}

/// The rows of the current epoch.
#[derive(Debug, Default)]
pub(crate) struct BronzeRows {
    records: Vec<RecordMeta>,
    contexts: Vec<[u32; CONTEXT_FIELDS.len()]>,
    context_numbers: HashMap<[u32; CONTEXT_FIELDS.len()], u32>,
    rows: Vec<Row>,
    ids: String,
    symbols: Symbols,
}

impl BronzeRows {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn pending_bytes(&self) -> usize {
        self.rows.len() * size_of::<Row>()
            + self.records.len() * size_of::<RecordMeta>()
            + self.ids.len()
            + self.symbols.bytes
    }

    /// Starts a record; its events follow.
    pub(crate) fn start_record(
        &mut self,
        offset: u64,
        received_at_ms: i64,
        sent_at_ms: i64,
        clock_shift_ms: i64,
        context: &[&marquee_events::Text<'_>; CONTEXT_FIELDS.len()],
    ) {
        let fields = context.map(|field| self.symbols.number(field));
        let next = self.contexts.len() as u32;
        let number = *self.context_numbers.entry(fields).or_insert(next);
        if number == next {
            self.contexts.push(fields);
        }
        self.records.push(RecordMeta { offset, received_at_ms, sent_at_ms, clock_shift_ms, context: number });
    }

    /// Adds an event of the last record; its row number.
    pub(crate) fn push(&mut self, index: u32, event: &Incoming<'_>, raw_time_ms: i64, is_late: bool) -> u32 {
        let id_start = self.ids.len() as u32;
        self.ids.push_str(event.event_id);
        let texts = event.payload.texts.map(|text| self.symbols.number(text));
        self.rows.push(Row {
            record: self.records.len() as u32 - 1,
            index,
            sequence: event.sequence,
            raw_time_ms,
            media_time_ms: event.media_time_ms.unwrap_or(NO_MEDIA_TIME),
            numbers: event.payload.numbers,
            texts,
            id_start,
            id_length: event.event_id.len() as u16,
            kind: event.payload.kind,
            is_late,
        });
        self.rows.len() as u32 - 1
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn text_of(&self, row: &Row, field: usize) -> &str {
        &self.symbols.texts[self.contexts[self.records[row.record as usize].context as usize][field] as usize]
    }

    fn event_id(&self, row: &Row) -> &str {
        &self.ids[row.id_start as usize..][..usize::from(row.id_length)]
    }

    /// The rows of the sessions for which `wanted(session_id, player_instance)` gives the first row that was not
    /// folded, by session; rows past the horizon left out.
    pub(crate) fn rows_of(&self, wanted: impl Fn(&str, &str) -> Option<u32>) -> Vec<((&str, &str), StoredRow)> {
        let mut found = Vec::new();
        for (number, row) in self.rows.iter().enumerate() {
            let key = (self.text_of(row, 0), self.text_of(row, 1));
            let Some(first_not_folded) = wanted(key.0, key.1).filter(|_| !row.is_late) else { continue };
            let record = &self.records[row.record as usize];
            let context = self.contexts[record.context as usize].map(|n| self.symbols.texts[n as usize].to_string());
            found.push((
                key,
                StoredRow {
                    offset: record.offset,
                    index: row.index,
                    sequence: row.sequence,
                    event_id: self.event_id(row).to_owned(),
                    time_ms: row.raw_time_ms + record.clock_shift_ms,
                    media_time_ms: Some(row.media_time_ms).filter(|ms| *ms != NO_MEDIA_TIME),
                    kind: row.kind,
                    texts: row.texts.map(|n| self.symbols.texts[n as usize].to_string()),
                    numbers: row.numbers,
                    context: Arc::new(Context(context.to_vec())),
                    folded: (number as u32) < first_not_folded,
                },
            ));
        }
        found
    }

    /// The rows as a batch, sorted by (session, instance, sequence). Texts are dictionaries.
    pub(crate) fn batch(&self, topic: &str, partition: u32) -> RecordBatch {
        use PayloadKind::{
            AdStart, Error, Heartbeat, PlayRequested, PlaybackRate, PlayerState, Rendition, SessionEnd, Viewport,
        };
        let order = self.sorted();
        let rows = || order.iter().map(|row| &self.rows[*row as usize]);
        let record = |row: &Row| &self.records[row.record as usize];
        let values: ArrayRef = Arc::new(StringArray::from_iter_values(self.symbols.texts.iter()));
        let dictionary =
            |keys: Int32Array| -> ArrayRef { Arc::new(DictionaryArray::<Int32Type>::new(keys, values.clone())) };
        let known = |number: u32| (number > 0).then_some(number as i32);
        let text = |index: usize, kinds: &[PayloadKind]| -> ArrayRef {
            dictionary(rows().map(|r| known(r.texts[index]).filter(|_| kinds.contains(&r.kind))).collect())
        };
        // The number of a row's kind that goes into a column: (kind, place), as `FlatPayload` has them.
        let number_of = |row: &Row, places: &[(PayloadKind, usize)]| {
            places.iter().find(|(kind, _)| *kind == row.kind).map(|(_, index)| row.numbers[*index])
        };
        let number = |places: &[(PayloadKind, usize)]| -> ArrayRef {
            Arc::new(rows().map(|r| number_of(r, places).map(|n| n as i64)).collect::<Int64Array>())
        };
        let small = |places: &[(PayloadKind, usize)]| -> ArrayRef {
            Arc::new(rows().map(|r| number_of(r, places).map(|n| n as i32)).collect::<Int32Array>())
        };
        let flag = |places: &[(PayloadKind, usize)]| -> ArrayRef {
            Arc::new(rows().map(|r| number_of(r, places).map(|n| n != 0)).collect::<BooleanArray>())
        };
        let ints =
            |value: &dyn Fn(&Row) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(rows().map(value))) };
        let context = |field: usize, required: bool| -> ArrayRef {
            let key = |r: &Row| {
                let number = self.contexts[record(r).context as usize][field];
                if required { Some(number as i32) } else { known(number) }
            };
            dictionary(rows().map(key).collect())
        };
        let mut columns: Vec<ArrayRef> = vec![
            constant_texts(rows().map(|r| record(r).received_at_ms.div_euclid(DAY_MS)), |day| date_of(day * DAY_MS)),
            constant_texts(rows().map(|_| 0), |_| topic.to_owned()),
            Arc::new(Int32Array::from_iter_values(rows().map(|_| partition as i32))),
            ints(&|r| record(r).offset as i64),
            Arc::new(Int32Array::from_iter_values(rows().map(|r| r.index as i32))),
            context(0, true),
            context(1, true),
            ints(&|r| r.sequence as i64),
            Arc::new(rows().map(|r| Some(self.event_id(r)).filter(|id| !id.is_empty())).collect::<StringViewArray>()),
            constant_texts(rows().map(|r| r.kind as i64), |kind| {
                PayloadKind::from_number(kind as u32).map(PayloadKind::name).unwrap_or_default().to_owned()
            }),
            timestamps(rows().map(|r| Some(r.raw_time_ms + record(r).clock_shift_ms))),
            ints(&|r| r.raw_time_ms),
            ints(&|r| record(r).clock_shift_ms),
            timestamps(rows().map(|r| Some(record(r).received_at_ms))),
            Arc::new(rows().map(|r| Some(record(r).sent_at_ms).filter(|ms| *ms != 0)).collect::<Int64Array>()),
            Arc::new(rows().map(|r| Some(r.is_late)).collect::<BooleanArray>()),
            Arc::new(rows().map(|r| Some(r.media_time_ms).filter(|ms| *ms != NO_MEDIA_TIME)).collect::<Int64Array>()),
            text(0, &[Rendition]),
            number(&[(Rendition, 0), (Heartbeat, 3), (PlayerState, 0)]),
            small(&[(Rendition, 1), (Viewport, 1)]),
            small(&[(Rendition, 2), (Viewport, 2)]),
            text(1, &[Rendition]),
            text(2, &[Rendition]),
            number(&[(Heartbeat, 0), (PlayerState, 1)]),
            number(&[(Heartbeat, 1)]),
            number(&[(Heartbeat, 2)]),
            text(0, &[AdStart, Error, SessionEnd, PlayerState]),
            flag(&[(Error, 0)]),
            flag(&[(Error, 1)]),
        ];
        columns.extend((2..CONTEXT_FIELDS.len()).map(|field| context(field, false)));
        columns.extend([
            flag(&[(PlayRequested, 0)]),
            small(&[(PlaybackRate, 0)]),
            constant_texts(rows().map(|r| number_of(r, &[(PlayerState, 2)]).map_or(-1, |n| n as i64)), |state| {
                PlayerStateName::ALL[state as usize - 1].name().to_owned()
            }),
        ]);
        let spec = tables::EVENTS.columns;
        let fields: Vec<Field> = spec
            .iter()
            .zip(&columns)
            .map(|(column, array)| Field::new(column.name, array.data_type().clone(), column.nullable))
            .collect();
        debug_assert!(spec.iter().zip(&columns).all(|(c, a)| same_kind(&c.data_type(), a.data_type())));
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("the columns are those of the spec")
    }

    /// Row numbers by (session, instance, sequence, arrival). Sessions are ranked once, not compared row by row.
    fn sorted(&self) -> Vec<u32> {
        let mut by_text: Vec<u32> = (0..self.contexts.len() as u32).collect();
        let key = |context: u32| {
            let fields = &self.contexts[context as usize];
            (&self.symbols.texts[fields[0] as usize], &self.symbols.texts[fields[1] as usize])
        };
        by_text.sort_unstable_by(|a, b| key(*a).cmp(&key(*b)));
        let mut rank_of = vec![0_u64; self.contexts.len()];
        let mut rank = 0;
        for (at, context) in by_text.iter().enumerate() {
            if at > 0 && key(by_text[at - 1]) != key(*context) {
                rank += 1;
            }
            rank_of[*context as usize] = rank;
        }
        let mut order: Vec<(u64, u64, u32)> = self
            .rows
            .iter()
            .enumerate()
            .map(|(number, row)| {
                let context = self.records[row.record as usize].context;
                (rank_of[context as usize], row.sequence, number as u32)
            })
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(_, _, number)| number).collect()
    }
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A dictionary column of few distinct values, each made once; negative keys are NULL.
fn constant_texts(keys: impl Iterator<Item = i64>, text: impl Fn(i64) -> String) -> ArrayRef {
    let mut seen: Vec<i64> = Vec::new();
    let mut last = 0;
    let numbers: Int32Array = keys
        .map(|key| {
            if key < 0 {
                return None;
            }
            if seen.get(last) != Some(&key) {
                last = seen.iter().position(|k| *k == key).unwrap_or_else(|| {
                    seen.push(key);
                    seen.len() - 1
                });
            }
            Some(last as i32)
        })
        .collect();
    let values = StringArray::from_iter_values(seen.into_iter().map(text));
    Arc::new(DictionaryArray::<Int32Type>::new(numbers, Arc::new(values)))
}

fn same_kind(spec: &DataType, array: &DataType) -> bool {
    match array {
        DataType::Dictionary(_, values) => spec == values.as_ref(),
        DataType::Utf8View => *spec == DataType::Utf8,
        other => spec == other,
    }
}
