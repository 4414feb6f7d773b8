//! The minute deltas of an epoch, by cell of each cube (`cube_list.rs`).

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, ListArray, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use arrow::record_batch::RecordBatch;
use hashbrown::HashMap;
use marquee_lake::tables;
use marquee_qoe::{Measure, Measures, MinuteSink};
use serde::{Deserialize, Serialize};

use super::cube_list::{Cube, DIMENSIONS};
use super::known_values::KnownValues;
use super::session::Session;
use super::{date_of, timestamps};

const MINUTE_MS: i64 = 60_000;

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

/// The deltas of the current epoch.
#[derive(Debug)]
pub(crate) struct Cubes {
    cells: Vec<CellDimensions>,
    ids: HashMap<CellDimensions, u32>,
    slots: HashMap<(u32, i64), u32>,
    measures: Vec<Measures>,
    pub(crate) known_values: KnownValues,
    pub(crate) changed: bool,
    /// What a sink adds up before the cells get it; all zero between sinks.
    sums: [i64; Measure::COUNT],
    generation: u64,
}

impl Default for Cubes {
    fn default() -> Self {
        Self {
            cells: Vec::new(),
            ids: HashMap::new(),
            slots: HashMap::new(),
            measures: Vec::new(),
            known_values: KnownValues::default(),
            changed: false,
            sums: [0; Measure::COUNT],
            generation: 1,
        }
    }
}

impl Cubes {
    /// The cells of a session that began at `started_at_ms`; `dimension` gives the value of a context field.
    pub(crate) fn cells<'a>(&mut self, started_at_ms: i64, dimension: impl Fn(&str) -> &'a str) -> Cells {
        let ids = Cube::ALL.map(|cube| {
            let place = |name: &&str| self.known_values.place(started_at_ms, name, dimension(name)).to_owned();
            let cell = CellDimensions { cube, values: cube.dimensions().iter().map(place).collect() };
            if let Some(id) = self.ids.get(&cell) {
                return *id;
            }
            let id = self.cells.len() as u32;
            self.cells.push(cell.clone());
            self.ids.insert(cell, id);
            id
        });
        Cells { ids, ..Cells::default() }
    }

    /// Takes what a session adds; [`CellSink::finish`] hands it to its cells.
    pub(crate) fn sink(&mut self, cells: Cells) -> CellSink<'_> {
        self.changed = true;
        CellSink { cubes: self, cells, minute: cells.minute, touched: 0 }
    }

    fn slot(&mut self, id: u32, minute: i64) -> u32 {
        let next = self.measures.len() as u32;
        let slot = *self.slots.entry((id, minute)).or_insert(next);
        if slot == next {
            self.measures.push(Measures::default());
        }
        slot
    }

    /// Bytes of rows that wait, about.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.measures.len() * (Measure::COUNT * 8 + 64)
    }

    /// The deltas that are not zero, in a fixed order.
    pub(crate) fn deltas(&self) -> Vec<(&CellDimensions, i64, &Measures)> {
        let mut deltas: Vec<_> = self
            .slots
            .iter()
            .map(|((id, minute), slot)| (&self.cells[*id as usize], *minute, &self.measures[*slot as usize]))
            .filter(|(_, _, measures)| !measures.is_zero())
            .collect();
        deltas.sort_by_key(|(cell, minute, _)| (*minute, *cell));
        deltas
    }

    /// Starts the next epoch. Cells keep their numbers, because sessions refer to them, until the sessions that are gone
    /// have left too many: then all are dropped, and `sessions`, which must be all there are, number theirs anew.
    pub(crate) fn clear<'a>(&mut self, sessions: impl ExactSizeIterator<Item = &'a mut Session>) {
        self.slots.clear();
        self.measures.clear();
        self.changed = false;
        self.generation += 1;
        if self.cells.len() > MIN_KEPT_CELLS.max(KEPT_CELLS_FACTOR * Cube::ALL.len() * sessions.len()) {
            self.cells = Vec::new();
            self.ids = HashMap::new();
            sessions.for_each(|session| session.number_cells(self));
        }
    }

    /// How many cells have a number.
    #[cfg(test)]
    pub(crate) fn cell_count(&self) -> usize {
        self.cells.len()
    }

    /// The rows of table `qoe_minutes`.
    pub(crate) fn rows(&self, topic: &str, partition: u32, epoch: u64) -> RecordBatch {
        let deltas = self.deltas();
        let text = |value: &dyn Fn(&CellDimensions) -> Option<String>| -> ArrayRef {
            Arc::new(deltas.iter().map(|(cell, _, _)| value(cell)).collect::<StringArray>())
        };
        let minutes_ms = || deltas.iter().map(|(_, minute, _)| minute * MINUTE_MS);
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(minutes_ms().map(date_of))),
            Arc::new(StringArray::from_iter_values(deltas.iter().map(|_| topic))),
            Arc::new(Int32Array::from_iter_values(deltas.iter().map(|_| partition as i32))),
            Arc::new(Int64Array::from_iter_values(deltas.iter().map(|_| epoch as i64))),
            timestamps(minutes_ms().map(Some)),
            text(&|cell| Some(cell.cube.name().to_owned())),
        ];
        for (dimension, _) in DIMENSIONS {
            columns.push(text(&|cell| cell.value(dimension).map(str::to_owned)));
        }
        for index in 0..Measure::COUNT {
            let values = deltas.iter().map(|(_, _, m)| m.values.get(index).copied().unwrap_or_default());
            columns.push(Arc::new(Int64Array::from_iter_values(values)));
        }
        columns.push(int_lists(deltas.iter().map(|(_, _, measures)| {
            measures.startup_buckets.iter().flat_map(|(bucket, count)| [i64::from(*bucket), *count]).collect()
        })));
        RecordBatch::try_new(tables::QOE_MINUTES.schema(), columns).expect("the columns are those of the spec")
    }
}

/// A column of lists of integers.
pub(crate) fn int_lists(lists: impl Iterator<Item = Vec<i64>>) -> ArrayRef {
    let lists: Vec<Vec<i64>> = lists.collect();
    let offsets = OffsetBuffer::from_lengths(lists.iter().map(Vec::len));
    let values = Int64Array::from_iter_values(lists.into_iter().flatten());
    let field = Arc::new(Field::new("element", DataType::Int64, false));
    Arc::new(ListArray::new(field, offsets, Arc::new(values), None))
}

/// Adds up what one session adds to a minute, and adds the sum to all of its cells when the minute changes: with seven
/// cubes, adding each measure to each cell at once would cost seven times as much.
pub(crate) struct CellSink<'a> {
    cubes: &'a mut Cubes,
    cells: Cells,
    minute: i64,
    /// The measures that are not zero, one bit each.
    touched: u64,
}

const _: () = assert!(Measure::COUNT <= u64::BITS as usize, "a bit for each measure");

impl CellSink<'_> {
    /// Hands what is left to the cells. They come back with their places, so that the next event finds them at once.
    pub(crate) fn finish(mut self) -> Cells {
        self.flush();
        self.cells
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
            let measures = &mut self.cubes.measures[slot as usize];
            let mut left = self.touched;
            while left != 0 {
                let index = left.trailing_zeros() as usize;
                measures.add(index, self.cubes.sums[index]);
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
        if self.cells.generation != self.cubes.generation || self.cells.minute != self.minute {
            self.cells.slots = self.cells.ids.map(|id| self.cubes.slot(id, self.minute));
            self.cells.minute = self.minute;
            self.cells.generation = self.cubes.generation;
        }
        self.cells.slots
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
            self.cubes.measures[slot as usize].add_bucket(bucket, count);
        }
    }
}

#[cfg(test)]
mod tests {
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
        let mut cells = cubes.cells(0, |field| if field == "country" { "DE" } else { "" });
        for (minute, value) in [(1, 5), (1, 7), (2, 3), (1, 1)] {
            let mut sink = cubes.sink(cells);
            sink.add(minute, Measure::PlayingMs as usize, value);
            sink.add(minute, Measure::Attempts as usize, 1);
            sink.add(minute, Measure::Attempts as usize, -1);
            cells = sink.finish();
        }
        assert_eq!(cubes.sums, [0; Measure::COUNT]);
        let playing = |cubes: &Cubes| -> Vec<(Cube, i64, i64)> {
            let value = |measures: &Measures| measures.values[Measure::PlayingMs as usize];
            cubes.deltas().into_iter().map(|(cell, minute, m)| (cell.cube, minute, value(m))).collect()
        };
        let expected = [(1, 13), (2, 3)].map(|(minute, ms)| Cube::ALL.map(|cube| (cube, minute, ms))).concat();
        assert_eq!(playing(&cubes), expected);
        // The places of an epoch that is over are not those of the next one.
        cubes.clear([].into_iter());
        let mut sink = cubes.sink(cells);
        sink.add(1, Measure::PlayingMs as usize, 2);
        sink.finish();
        assert_eq!(playing(&cubes), Cube::ALL.map(|cube| (cube, 1, 2)));
    }
}
