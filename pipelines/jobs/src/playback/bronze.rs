//! The rows of table `events` that wait for the end of the epoch: fixed-size rows, texts as numbers into a table, so
//! that an event costs a copy and no allocation.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, StringArray, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use marquee_events::{CONTEXT_FIELDS, FlatPayload, PayloadKind, PlayerState as PlayerStateName};
use marquee_lake::tables;

use super::columns::{Sparse, batch_of, constant_text, numbered_texts, texts_of_runs};
use super::contexts::{Contexts, Symbols};
use super::session::{Context, Incoming};
use super::{DAY_MS, date_of};

const NO_MEDIA_TIME: i64 = i64::MIN;

/// The session and the instance of a player: fields of the context that every row has.
const REQUIRED_FIELDS: usize = 2;

/// What all events of a record share.
#[derive(Debug, Clone)]
struct RecordMeta {
    offset: u64,
    received_at_ms: i64,
    sent_at_ms: i64,
    clock_shift_ms: i64,
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
    pub(crate) context: Context,
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

/// The rows of the current epoch. Their contexts are numbers of the shard's [`Contexts`].
#[derive(Debug, Default)]
pub(crate) struct BronzeRows {
    records: Vec<RecordMeta>,
    rows: Vec<Row>,
    ids: String,
    /// Texts of payloads.
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
            + self.symbols.size_bytes()
    }

    /// Starts a record; its events follow.
    pub(crate) fn start_record(
        &mut self,
        offset: u64,
        received_at_ms: i64,
        sent_at_ms: i64,
        clock_shift_ms: i64,
        context: u32,
    ) {
        self.records.push(RecordMeta { offset, received_at_ms, sent_at_ms, clock_shift_ms, context });
    }

    /// Adds an event of the last record; its row number.
    #[inline]
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

    /// Forgets the rows and keeps the room.
    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.rows.clear();
        self.ids.clear();
        self.symbols = Symbols::default();
    }

    fn record(&self, row: &Row) -> &RecordMeta {
        &self.records[row.record as usize]
    }

    fn event_id(&self, row: &Row) -> &str {
        &self.ids[row.id_start as usize..][..usize::from(row.id_length)]
    }

    /// The rows of the sessions for which `wanted` gives the first row that was not folded, with the sessions' keys; rows
    /// past the horizon left out.
    pub(crate) fn rows_of(&self, contexts: &Contexts, wanted: impl Fn(u128) -> Option<u32>) -> Vec<(u128, StoredRow)> {
        let mut found = Vec::new();
        for (number, row) in self.rows.iter().enumerate() {
            let record = self.record(row);
            let key = contexts.session(record.context);
            let Some(first_not_folded) = wanted(key).filter(|_| !row.is_late) else { continue };
            let context = (0..CONTEXT_FIELDS.len()).map(|index| contexts.text(record.context, index).to_owned());
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
                    texts: row.texts.map(|n| self.symbols.text(n).to_owned()),
                    numbers: row.numbers,
                    context: Context(context.collect()),
                    folded: (number as u32) < first_not_folded,
                },
            ));
        }
        found
    }

    /// The rows as a batch, sorted by (session, instance, sequence). Texts are dictionaries.
    pub(crate) fn batch(&self, contexts: &Contexts, topic: &str, partition: u32) -> RecordBatch {
        let order = self.sorted(contexts);
        let mut columns = RowColumns::with_capacity(order.len());
        for (at, number) in order.iter().enumerate() {
            let row = &self.rows[*number as usize];
            columns.push(at, row, self.record(row));
        }
        let ids = order.iter().map(|row| Some(self.event_id(&self.rows[*row as usize])).filter(|id| !id.is_empty()));
        columns.finish(self, contexts, topic, partition, ids.collect())
    }

    /// Row numbers by (session, instance, sequence, arrival). Sessions are ranked once, not compared row by row.
    fn sorted(&self, contexts: &Contexts) -> Vec<u32> {
        let mut used = vec![false; contexts.len()];
        let mut by_ids: Vec<(u64, u32)> = Vec::new();
        for record in &self.records {
            if !std::mem::replace(&mut used[record.context as usize], true) {
                by_ids.push((first_bytes(contexts.text(record.context, 0)), record.context));
            }
        }
        // Most ids differ in their first bytes: few texts have to be compared.
        by_ids.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| contexts.ids(a.1).cmp(&contexts.ids(b.1))));
        let mut rank_of = vec![0_u32; contexts.len()];
        let mut rank = 0;
        for pair in by_ids.windows(2) {
            rank += u32::from(contexts.session(pair[0].1) != contexts.session(pair[1].1));
            rank_of[pair[1].1 as usize] = rank;
        }
        self.by_rank(&rank_of, rank as usize + 1)
    }

    /// Row numbers by (rank of the context, sequence, arrival): counted into place, then each session's own put in order,
    /// which they mostly are.
    fn by_rank(&self, rank_of: &[u32], ranks: usize) -> Vec<u32> {
        let rank = |row: &Row| rank_of[self.record(row).context as usize] as usize;
        let mut ends = vec![0_u32; ranks + 1];
        self.rows.iter().for_each(|row| ends[rank(row) + 1] += 1);
        for at in 1..ends.len() {
            ends[at] += ends[at - 1];
        }
        let starts = ends.clone();
        let mut order = vec![0_u32; self.rows.len()];
        for (number, row) in (0..).zip(&self.rows) {
            let place = &mut ends[rank(row)];
            order[*place as usize] = number;
            *place += 1;
        }
        let sequence = |number: &u32| self.rows[*number as usize].sequence;
        for range in starts.windows(2) {
            let session = &mut order[range[0] as usize..range[1] as usize];
            if !session.is_sorted_by_key(sequence) {
                session.sort_by_key(sequence); // stable: equal sequences stay in the order of arrival
            }
        }
        order
    }
}

/// The first eight bytes of a text as a number, in the order of texts.
fn first_bytes(text: &str) -> u64 {
    let mut bytes = [0; 8];
    let length = text.len().min(8);
    bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
    u64::from_be_bytes(bytes)
}

/// The columns of sorted rows, filled in one pass over the rows.
#[derive(Debug, Default)]
struct RowColumns {
    offset: Vec<i64>,
    index: Vec<i32>,
    sequence: Vec<i64>,
    kind: Vec<PayloadKind>,
    time_us: Vec<i64>,
    raw_time_ms: Vec<i64>,
    shift_ms: Vec<i64>,
    received_at_us: Vec<i64>,
    sent_at_ms: Sparse<i64>,
    is_late: Vec<bool>,
    media_time_ms: Sparse<i64>,
    representation: Sparse<i32>,
    bitrate: Sparse<i64>,
    width: Sparse<i32>,
    height: Sparse<i32>,
    rendition_codec: Sparse<i32>,
    rendition_cdn: Sparse<i32>,
    buffer: Sparse<i64>,
    throughput: Sparse<i64>,
    dropped_frames: Sparse<i64>,
    detail: Sparse<i32>,
    fatal: Sparse<bool>,
    business: Sparse<bool>,
    autoplay: Sparse<bool>,
    rate: Sparse<i32>,
    /// Places in [`PlayerStateName::ALL`].
    player_state: Sparse<i32>,
    /// Runs of rows with one context: (context, rows).
    contexts: Vec<(u32, usize)>,
}

impl RowColumns {
    fn with_capacity(rows: usize) -> Self {
        Self {
            offset: Vec::with_capacity(rows),
            index: Vec::with_capacity(rows),
            sequence: Vec::with_capacity(rows),
            kind: Vec::with_capacity(rows),
            time_us: Vec::with_capacity(rows),
            raw_time_ms: Vec::with_capacity(rows),
            shift_ms: Vec::with_capacity(rows),
            received_at_us: Vec::with_capacity(rows),
            is_late: Vec::with_capacity(rows),
            ..Self::default()
        }
    }

    #[inline]
    fn push(&mut self, at: usize, row: &Row, record: &RecordMeta) {
        match self.contexts.last_mut() {
            Some((context, rows)) if *context == record.context => *rows += 1,
            _ => self.contexts.push((record.context, 1)),
        }
        self.offset.push(record.offset as i64);
        self.index.push(row.index as i32);
        self.sequence.push(row.sequence as i64);
        self.kind.push(row.kind);
        self.time_us.push((row.raw_time_ms + record.clock_shift_ms).saturating_mul(1000));
        self.raw_time_ms.push(row.raw_time_ms);
        self.shift_ms.push(record.clock_shift_ms);
        self.received_at_us.push(record.received_at_ms.saturating_mul(1000));
        self.is_late.push(row.is_late);
        if record.sent_at_ms != 0 {
            self.sent_at_ms.set(at, record.sent_at_ms);
        }
        if row.media_time_ms != NO_MEDIA_TIME {
            self.media_time_ms.set(at, row.media_time_ms);
        }
        self.push_payload(at, row);
    }

    /// Which place of [`FlatPayload`] goes into which column.
    fn push_payload(&mut self, at: usize, row: &Row) {
        let text = |column: &mut Sparse<i32>, index: usize| {
            if row.texts[index] != 0 {
                column.set(at, row.texts[index] as i32);
            }
        };
        let [first, second, third, fourth] = row.numbers;
        match row.kind {
            PayloadKind::Heartbeat => {
                self.buffer.set(at, first as i64);
                self.throughput.set(at, second as i64);
                self.dropped_frames.set(at, third as i64);
                self.bitrate.set(at, fourth as i64);
            }
            PayloadKind::Rendition => {
                text(&mut self.representation, 0);
                text(&mut self.rendition_codec, 1);
                text(&mut self.rendition_cdn, 2);
                self.bitrate.set(at, first as i64);
                self.width.set(at, second as i32);
                self.height.set(at, third as i32);
            }
            PayloadKind::Viewport => {
                self.width.set(at, second as i32);
                self.height.set(at, third as i32);
            }
            PayloadKind::PlayerState => {
                text(&mut self.detail, 0);
                self.bitrate.set(at, first as i64);
                self.buffer.set(at, second as i64);
                self.player_state.set(at, third as i32 - 1);
            }
            PayloadKind::Error => {
                text(&mut self.detail, 0);
                self.fatal.set(at, first != 0);
                self.business.set(at, second != 0);
            }
            PayloadKind::AdStart | PayloadKind::SessionEnd => text(&mut self.detail, 0),
            PayloadKind::PlayRequested => self.autoplay.set(at, first != 0),
            PayloadKind::PlaybackRate => self.rate.set(at, first as i32),
            _ => {}
        }
    }

    fn finish(
        self,
        bronze: &BronzeRows,
        contexts: &Contexts,
        topic: &str,
        partition: u32,
        ids: StringViewArray,
    ) -> RecordBatch {
        let rows = self.offset.len();
        let timestamps =
            |us: Vec<i64>| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(us).with_timezone("UTC")) };
        let texts = Arc::new(StringArray::from_iter_values(bronze.symbols.iter()));
        let states = Arc::new(StringArray::from_iter_values(PlayerStateName::ALL.map(PlayerStateName::name)));
        let days = self.received_at_us.iter().map(|us| us.div_euclid(1000 * DAY_MS));
        let fields = fields_of(contexts, &self.contexts);
        let mut scratch = Vec::new();
        let mut context = |field: usize| {
            let lengths = self.contexts.iter().map(|(_, length)| *length);
            let runs = fields[field].iter().copied().zip(lengths);
            texts_of_runs(contexts.symbols(), runs, rows, field < REQUIRED_FIELDS, &mut scratch)
        };
        let mut columns: Vec<ArrayRef> = vec![
            numbered_texts(days, |day| date_of(day * DAY_MS)),
            constant_text(rows, topic),
            Arc::new(Int32Array::from_value(partition as i32, rows)),
            Arc::new(Int64Array::from(self.offset)),
            Arc::new(Int32Array::from(self.index)),
            context(0),
            context(1),
            Arc::new(Int64Array::from(self.sequence)),
            Arc::new(ids),
            numbered_texts(self.kind.iter().map(|kind| *kind as i64), |kind| {
                PayloadKind::from_number(kind as u32).map(PayloadKind::name).unwrap_or_default().to_owned()
            }),
            timestamps(self.time_us),
            Arc::new(Int64Array::from(self.raw_time_ms)),
            Arc::new(Int64Array::from(self.shift_ms)),
            timestamps(self.received_at_us),
            self.sent_at_ms.numbers::<Int64Type>(rows),
            Arc::new(BooleanArray::from(self.is_late)),
            self.media_time_ms.numbers::<Int64Type>(rows),
            self.representation.texts(rows, &texts),
            self.bitrate.numbers::<Int64Type>(rows),
            self.width.numbers::<Int32Type>(rows),
            self.height.numbers::<Int32Type>(rows),
            self.rendition_codec.texts(rows, &texts),
            self.rendition_cdn.texts(rows, &texts),
            self.buffer.numbers::<Int64Type>(rows),
            self.throughput.numbers::<Int64Type>(rows),
            self.dropped_frames.numbers::<Int64Type>(rows),
            self.detail.texts(rows, &texts),
            self.fatal.flags(rows),
            self.business.flags(rows),
        ];
        columns.extend((REQUIRED_FIELDS..CONTEXT_FIELDS.len()).map(context));
        columns.extend([
            self.autoplay.flags(rows),
            self.rate.numbers::<Int32Type>(rows),
            self.player_state.texts(rows, &states),
        ]);
        batch_of(&tables::EVENTS, columns)
    }
}

/// The texts' numbers of each field of the contexts of these runs: one look at a context, wherever it is in memory.
fn fields_of(contexts: &Contexts, runs: &[(u32, usize)]) -> [Vec<u32>; CONTEXT_FIELDS.len()] {
    let mut columns = [(); CONTEXT_FIELDS.len()].map(|()| Vec::with_capacity(runs.len()));
    for (context, _) in runs {
        for (column, symbol) in columns.iter_mut().zip(contexts.fields(*context)) {
            column.push(*symbol);
        }
    }
    columns
}
