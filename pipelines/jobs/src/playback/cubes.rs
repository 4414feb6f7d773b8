//! The minute deltas of an epoch, by cell of each cube (`cube_list.rs`).

use std::hint::black_box;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int32Array, Int64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use arrow::record_batch::RecordBatch;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use marquee_events::CONTEXT_FIELDS;
use marquee_lake::tables;
use marquee_qoe::{Measure, MinuteSink, add_bucket};
use serde::{Deserialize, Serialize};

use super::columns::{batch_of, constant_text, numbered_texts, texts_of_runs};
use super::contexts::{Contexts, Symbols};
use super::cube_list::{Cube, DIMENSIONS, MAX_DIMENSIONS};
use super::known_values::KnownValues;
use super::sessions::Sessions;
use super::{DAY_MS, date_of, timestamps};
use crate::live::{LiveCellRef, MeasuresRef};

pub(crate) const MINUTE_MS: i64 = 60_000;

/// So many cells are kept whatever the sessions (about 400 bytes each): fewer are not worth numbering anew.
const MIN_KEPT_CELLS: usize = 10_000;

/// Above that, cells are kept up to this many times as many as the open sessions can have: numbering anew then at least
/// halves them, so that its cost is spread over as many new ones.
const KEPT_CELLS_FACTOR: usize = 2;

/// A cell of a cube: one value for each of its dimensions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CellDimensions {
    /// The cube.
    pub cube: Cube,
    /// The values; empty for unknown.
    pub values: Vec<String>,
}

impl CellDimensions {
    /// The value of a dimension; `None` when it is unknown or not the cube's.
    pub fn value(&self, dimension: &str) -> Option<&str> {
        let index = self.cube.dimensions().iter().position(|d| *d == dimension)?;
        self.values.get(index).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// The cells of a session, one for each cube, and where their measures of the last minute are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cells {
    ids: [u32; Cube::ALL.len()],
    slots: [u32; Cube::ALL.len()],
    minute: i64,
    /// The epoch, as [`Cubes`] counts them, in which `slots` hold; 0 for none.
    generation: u64,
}

/// What tells one cell from another without looking at texts: day of the session's start, cube, numbers of its texts.
type CellKey = (i64, Cube, [u32; MAX_DIMENSIONS]);

/// The deltas of the current epoch.
#[derive(Debug)]
pub(crate) struct Cubes {
    cells: Vec<CellDimensions>,
    ids: HashMap<CellDimensions, u32>,
    /// The values of the cells by their numbers among `texts`.
    cell_texts: Vec<[u32; MAX_DIMENSIONS]>,
    texts: Symbols,
    /// Ids found before. The numbers of texts are those of the shard's contexts.
    known_cells: HashMap<CellKey, u32>,
    slots: HashMap<(u32, i64), u32>,
    /// [`Measure::COUNT`] for each slot.
    values: Vec<i64>,
    /// The startup buckets of each slot.
    buckets: Vec<Vec<(i32, i64)>>,
    pub(crate) known_values: KnownValues,
    pub(crate) changed: bool,
    /// What a sink adds up before the cells get it; all zero between sinks.
    sums: [i64; Measure::COUNT],
    generation: u64,
}

/// The delta of one minute of one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Delta {
    pub(crate) minute: i64,
    cube: Cube,
    cell: u32,
    slot: u32,
}

impl Default for Cubes {
    fn default() -> Self {
        Self {
            cells: Vec::new(),
            ids: HashMap::new(),
            cell_texts: Vec::new(),
            texts: Symbols::default(),
            known_cells: HashMap::new(),
            slots: HashMap::new(),
            values: Vec::new(),
            buckets: Vec::new(),
            known_values: KnownValues::default(),
            changed: false,
            sums: [0; Measure::COUNT],
            generation: 1,
        }
    }
}

/// The places of each cube's dimensions among the context's fields.
static DIMENSION_FIELDS: LazyLock<[Vec<usize>; Cube::ALL.len()]> = LazyLock::new(|| {
    Cube::ALL.map(|cube| {
        let field = |name: &&str| CONTEXT_FIELDS.iter().position(|field| field == name);
        cube.dimensions().iter().map(|name| field(name).expect("a dimension is a field of the context")).collect()
    })
});

impl Cubes {
    /// The cells of a session that began at `started_at_ms` in this context.
    pub(crate) fn cells(&mut self, started_at_ms: i64, contexts: &Contexts, context: u32) -> Cells {
        let fields = contexts.fields(context);
        let mut ids = [0; Cube::ALL.len()];
        for ((id, cube), indexes) in ids.iter_mut().zip(Cube::ALL).zip(DIMENSION_FIELDS.iter()) {
            let mut symbols = [0; MAX_DIMENSIONS];
            symbols.iter_mut().zip(indexes).for_each(|(symbol, index)| *symbol = fields[*index]);
            let key = (started_at_ms.div_euclid(DAY_MS), cube, symbols);
            *id = if let Some(id) = self.known_cells.get(&key) {
                *id
            } else {
                let place = |(name, index): (&&str, &usize)| {
                    self.known_values.place(started_at_ms, name, contexts.text(context, *index)).to_owned()
                };
                let values = cube.dimensions().iter().zip(indexes).map(place).collect();
                let id = self.id(CellDimensions { cube, values });
                self.known_cells.insert(key, id);
                id
            };
        }
        Cells { ids, ..Cells::default() }
    }

    fn id(&mut self, cell: CellDimensions) -> u32 {
        let next = self.cells.len() as u32;
        match self.ids.entry(cell) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => {
                let cell = place.key();
                let mut texts = [0; MAX_DIMENSIONS];
                texts.iter_mut().zip(&cell.values).for_each(|(number, text)| *number = self.texts.number(text));
                self.cell_texts.push(texts);
                self.cells.push(cell.clone());
                *place.insert(next)
            }
        }
    }

    /// The contexts have numbered their texts anew.
    pub(crate) fn forget_symbols(&mut self) {
        self.known_cells.clear();
    }

    /// Takes what a session adds; [`CellSink::finish`] hands it to its cells.
    pub(crate) fn sink(&mut self, cells: Option<Cells>) -> CellSink<'_> {
        self.changed = true;
        let minute = cells.unwrap_or_default().minute;
        CellSink { cubes: self, cells, minute, touched: 0 }
    }

    /// Asks memory for what an event of the session with these cells most likely needs.
    pub(crate) fn touch(&self, cells: Option<&Cells>) {
        for slot in cells.filter(|cells| cells.generation == self.generation).map_or(&[][..], |cells| &cells.slots) {
            black_box(self.values[*slot as usize * Measure::COUNT]);
        }
    }

    fn slot(&mut self, id: u32, minute: i64) -> u32 {
        let next = self.buckets.len() as u32;
        let slot = *self.slots.entry((id, minute)).or_insert(next);
        if slot == next {
            self.values.resize(self.values.len() + Measure::COUNT, 0);
            self.buckets.push(Vec::new());
        }
        slot
    }

    /// Bytes of rows that wait, about.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.buckets.len() * (Measure::COUNT * 8 + 64)
    }

    fn slot_values(&self, slot: u32) -> &[i64] {
        &self.values[slot as usize * Measure::COUNT..][..Measure::COUNT]
    }

    /// The deltas that are not zero, in the order of their minutes and cubes.
    pub(crate) fn deltas(&self) -> Vec<Delta> {
        let is_zero = |slot: u32| {
            self.buckets[slot as usize].is_empty() && self.slot_values(slot).iter().all(|value| *value == 0)
        };
        let delta = |((cell, minute), slot): (&(u32, i64), &u32)| {
            (!is_zero(*slot)).then(|| Delta {
                minute: *minute,
                cube: self.cells[*cell as usize].cube,
                cell: *cell,
                slot: *slot,
            })
        };
        let mut deltas: Vec<Delta> = self.slots.iter().filter_map(delta).collect();
        deltas.sort_unstable();
        deltas
    }

    /// The cell, the minute and what it adds, as the live view has them.
    pub(crate) fn live_cell(&self, delta: &Delta) -> LiveCellRef<'_> {
        LiveCellRef {
            dimensions: &self.cells[delta.cell as usize],
            minute: delta.minute,
            measures: MeasuresRef {
                values: self.slot_values(delta.slot),
                startup_buckets: &self.buckets[delta.slot as usize],
            },
        }
    }

    /// Starts the next epoch. Cells keep their numbers, because sessions refer to them, until the sessions that are gone
    /// have left too many: then all are dropped, and `sessions`, which must be all there are, number theirs anew, packed
    /// ones when they are unpacked.
    pub(crate) fn clear(&mut self, contexts: &Contexts, sessions: &mut Sessions) {
        self.slots.clear();
        self.values.clear();
        self.buckets.clear();
        self.changed = false;
        self.generation += 1;
        let kept = MIN_KEPT_CELLS.max(KEPT_CELLS_FACTOR * Cube::ALL.len() * sessions.len());
        if self.known_cells.len() > kept {
            self.known_cells.clear();
        }
        if self.cells.len() > kept {
            self.cells = Vec::new();
            self.ids = HashMap::new();
            self.cell_texts = Vec::new();
            self.texts = Symbols::default();
            self.known_cells = HashMap::new();
            sessions.all_unpacked_mut().for_each(|session| session.number_cells(contexts, self));
        }
    }

    /// How many cells have a number.
    #[cfg(test)]
    pub(crate) fn cell_count(&self) -> usize {
        self.cells.len()
    }

    /// The rows of table `qoe_minutes`.
    pub(crate) fn rows(&self, deltas: &[Delta], topic: &str, partition: u32, epoch: u64) -> RecordBatch {
        let rows = deltas.len();
        let minutes_ms = || deltas.iter().map(|delta| delta.minute * MINUTE_MS);
        let mut columns: Vec<ArrayRef> = vec![
            numbered_texts(minutes_ms().map(|ms| ms.div_euclid(DAY_MS)), |day| date_of(day * DAY_MS)),
            constant_text(rows, topic),
            Arc::new(Int32Array::from_value(partition as i32, rows)),
            Arc::new(Int64Array::from_value(epoch as i64, rows)),
            timestamps(minutes_ms().map(Some)),
            numbered_texts(deltas.iter().map(|delta| delta.cube as i64), |cube| {
                Cube::ALL[cube as usize].name().to_owned()
            }),
        ];
        let mut scratch = Vec::new();
        columns.extend(DIMENSIONS.iter().map(|(name, _)| self.dimension_column(deltas, name, &mut scratch)));
        columns.extend(self.measure_columns(deltas));
        columns.push(int_lists(deltas.iter().map(|delta| {
            self.buckets[delta.slot as usize].iter().flat_map(|(bucket, count)| [i64::from(*bucket), *count])
        })));
        batch_of(&tables::QOE_MINUTES, columns)
    }

    /// In one pass over the rows: a pass for each column would fetch every row from memory so many times.
    fn measure_columns(&self, deltas: &[Delta]) -> impl Iterator<Item = ArrayRef> {
        let mut columns = [(); Measure::COUNT].map(|()| Vec::with_capacity(deltas.len()));
        for delta in deltas {
            for (column, value) in columns.iter_mut().zip(self.slot_values(delta.slot)) {
                column.push(*value);
            }
        }
        columns.into_iter().map(|column| Arc::new(Int64Array::from(column)) as ArrayRef)
    }

    /// The values of a dimension: NULL where it is unknown or not the cube's.
    fn dimension_column(&self, deltas: &[Delta], dimension: &'static str, scratch: &mut Vec<u32>) -> ArrayRef {
        let places = Cube::ALL.map(|cube| cube.dimensions().iter().position(|name| *name == dimension));
        let text = |delta: &Delta| places[delta.cube as usize].map_or(0, |at| self.cell_texts[delta.cell as usize][at]);
        texts_of_runs(&self.texts, deltas.iter().map(|delta| (text(delta), 1)), deltas.len(), false, scratch)
    }
}

/// A column of lists of integers.
pub(crate) fn int_lists<I: Iterator<Item = i64>>(lists: impl Iterator<Item = I>) -> ArrayRef {
    let (mut values, mut lengths) = (Vec::new(), Vec::new());
    for list in lists {
        let before = values.len();
        values.extend(list);
        lengths.push(values.len() - before);
    }
    let field = Arc::new(Field::new("element", DataType::Int64, false));
    Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), Arc::new(Int64Array::from(values)), None))
}

/// Adds up what one session adds to a minute, and adds the sum to all of its cells when the minute changes: with seven
/// cubes, adding each measure to each cell at once would cost seven times as much.
pub(crate) struct CellSink<'a> {
    cubes: &'a mut Cubes,
    /// `None` until the first event is folded.
    cells: Option<Cells>,
    minute: i64,
    /// The measures that are not zero, one bit each.
    touched: u64,
}

const _: () = assert!(Measure::COUNT <= u64::BITS as usize, "a bit for each measure");

impl CellSink<'_> {
    /// Hands what is left to the cells. They come back with their places, so that the next event finds them at once.
    pub(crate) fn finish(mut self) -> Option<Cells> {
        self.flush();
        self.cells
    }

    /// The session's first event is of this time and context: what comes is for their cells.
    pub(crate) fn begin(&mut self, started_at_ms: i64, contexts: &Contexts, context: u32) {
        self.flush();
        self.cells = Some(self.cubes.cells(started_at_ms, contexts, context));
    }

    #[inline]
    fn turn_to(&mut self, minute: i64) {
        if self.minute != minute {
            self.flush();
            self.minute = minute;
        }
    }

    fn flush(&mut self) {
        if self.touched == 0 {
            return;
        }
        for slot in self.slots() {
            let Cubes { values, sums, .. } = &mut *self.cubes;
            let values = &mut values[slot as usize * Measure::COUNT..][..Measure::COUNT];
            let mut left = self.touched;
            while left != 0 {
                let index = left.trailing_zeros() as usize;
                values[index] += sums[index];
                left &= left - 1;
            }
        }
        let mut left = std::mem::take(&mut self.touched);
        while left != 0 {
            self.cubes.sums[left.trailing_zeros() as usize] = 0;
            left &= left - 1;
        }
    }

    fn slots(&mut self) -> [u32; Cube::ALL.len()] {
        let cells = self.cells.as_mut().expect("the first event sets the cells before anything is added");
        if cells.generation != self.cubes.generation || cells.minute != self.minute {
            cells.slots = cells.ids.map(|id| self.cubes.slot(id, self.minute));
            cells.minute = self.minute;
            cells.generation = self.cubes.generation;
        }
        cells.slots
    }
}

impl MinuteSink for CellSink<'_> {
    #[inline]
    fn add(&mut self, minute: i64, measure: usize, value: i64) {
        self.turn_to(minute);
        self.cubes.sums[measure] += value;
        self.touched |= 1 << measure;
    }

    fn add_startup_bucket(&mut self, minute: i64, bucket: i32, count: i64) {
        self.turn_to(minute);
        for slot in self.slots() {
            add_bucket(&mut self.cubes.buckets[slot as usize], bucket, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use marquee_events::ContextView;

    use super::*;

    #[test]
    fn the_measures_are_columns_in_their_order() {
        let columns: Vec<&str> = tables::QOE_MINUTES.columns.iter().map(|c| c.name).collect();
        let first = columns.iter().position(|c| *c == "attempts").unwrap();
        assert_eq!(columns[first..first + Measure::COUNT], Measure::NAMES);
    }

    #[test]
    fn a_sink_adds_to_every_cell_of_its_session_and_leaves_nothing_behind() {
        let mut cubes = Cubes::default();
        let mut contexts = Contexts::default();
        let context = contexts.of_view(&ContextView { country: "DE".into(), ..Default::default() });
        let mut cells = Some(cubes.cells(0, &contexts, context));
        for (minute, value) in [(1, 5), (1, 7), (2, 3), (1, 1)] {
            let mut sink = cubes.sink(cells);
            sink.add(minute, Measure::PlayingMs as usize, value);
            sink.add(minute, Measure::Attempts as usize, 1);
            sink.add(minute, Measure::Attempts as usize, -1);
            cells = sink.finish();
        }
        assert_eq!(cubes.sums, [0; Measure::COUNT]);
        let playing = |cubes: &Cubes| -> Vec<(Cube, i64, i64)> {
            let value = |delta: &Delta| cubes.slot_values(delta.slot)[Measure::PlayingMs as usize];
            cubes.deltas().iter().map(|delta| (delta.cube, delta.minute, value(delta))).collect()
        };
        let expected = [(1, 13), (2, 3)].map(|(minute, ms)| Cube::ALL.map(|cube| (cube, minute, ms))).concat();
        assert_eq!(playing(&cubes), expected);
        // The places of an epoch that is over are not those of the next one.
        cubes.clear(&contexts, &mut Sessions::default());
        let mut sink = cubes.sink(cells);
        sink.add(1, Measure::PlayingMs as usize, 2);
        sink.finish();
        assert_eq!(playing(&cubes), Cube::ALL.map(|cube| (cube, 1, 2)));
    }
}
