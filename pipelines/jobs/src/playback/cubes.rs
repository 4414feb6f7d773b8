//! The minute deltas of an epoch, by cube. A cube is a choice of at most five dimensions; anything finer is a query
//! over silver. Adding a cube: a variant and a line in [`Cube::ALL`] and [`Cube::dimensions`].

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, ListArray, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use arrow::record_batch::RecordBatch;
use hashbrown::HashMap;
use marquee_lake::tables;
use marquee_qoe::{Measure, Measures, MinuteSink};
use serde::{Deserialize, Serialize};

use super::session::Session;
use super::{date_of, timestamps};

const MINUTE_MS: i64 = 60_000;

/// So many cells are kept whatever the sessions (about 400 bytes each): fewer are not worth numbering anew.
const MIN_KEPT_CELLS: usize = 10_000;

/// Above that, cells are kept up to this many times as many as the open sessions can have: numbering anew then at least
/// halves them, so that its cost is spread over as many new ones.
const KEPT_CELLS_FACTOR: usize = 2;

/// A choice of dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cube {
    /// Who watches, and over what: country, device type, CDN, protocol, app version.
    Audience,
    /// What is watched, and by whom: title, country, device type.
    Title,
}

impl Cube {
    /// Every cube.
    pub const ALL: [Cube; 2] = [Cube::Audience, Cube::Title];

    /// The value of column `cube_name`.
    pub fn name(self) -> &'static str {
        match self {
            Cube::Audience => "audience",
            Cube::Title => "title",
        }
    }

    /// The columns that hold its dimensions, in the order of [`CellDimensions::values`].
    pub fn dimensions(self) -> &'static [&'static str] {
        match self {
            Cube::Audience => &["country", "device_type", "cdn", "protocol", "app_version"],
            Cube::Title => &["title_id", "country", "device_type"],
        }
    }
}

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

/// The numbers of a session's cells, one for each cube.
pub(crate) type CellIds = [u32; Cube::ALL.len()];

/// The deltas of the current epoch.
#[derive(Debug, Default)]
pub(crate) struct Cubes {
    cells: Vec<CellDimensions>,
    ids: HashMap<CellDimensions, u32>,
    slots: HashMap<(u32, i64), usize>,
    measures: Vec<Measures>,
    pub(crate) changed: bool,
}

impl Cubes {
    /// The cells of a session with these dimensions; `dimension` gives the value of a context field.
    pub(crate) fn cell_ids<'a>(&mut self, dimension: impl Fn(&str) -> &'a str) -> CellIds {
        Cube::ALL.map(|cube| {
            let values = cube.dimensions().iter().map(|name| dimension(name).to_owned()).collect();
            let cell = CellDimensions { cube, values };
            if let Some(id) = self.ids.get(&cell) {
                return *id;
            }
            let id = self.cells.len() as u32;
            self.cells.push(cell.clone());
            self.ids.insert(cell, id);
            id
        })
    }

    pub(crate) fn sink(&mut self, ids: CellIds) -> CellSink<'_> {
        self.changed = true;
        CellSink { cubes: self, ids, minute: i64::MIN, slots: [0; Cube::ALL.len()] }
    }

    fn slot(&mut self, id: u32, minute: i64) -> usize {
        let next = self.measures.len();
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
            .map(|((id, minute), slot)| (&self.cells[*id as usize], *minute, &self.measures[*slot]))
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
        for dimension in ["country", "device_type", "cdn", "protocol", "app_version", "title_id"] {
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

/// Adds to all the cells of one session. Remembers the last minute: consecutive additions are mostly in the same.
pub(crate) struct CellSink<'a> {
    cubes: &'a mut Cubes,
    ids: CellIds,
    minute: i64,
    slots: [usize; Cube::ALL.len()],
}

impl CellSink<'_> {
    #[inline]
    fn turn_to(&mut self, minute: i64) {
        if self.minute != minute {
            self.minute = minute;
            self.slots = self.ids.map(|id| self.cubes.slot(id, minute));
        }
    }
}

impl MinuteSink for CellSink<'_> {
    #[inline]
    fn add(&mut self, minute: i64, measure: usize, value: i64) {
        self.turn_to(minute);
        for slot in self.slots {
            self.cubes.measures[slot].add(measure, value);
        }
    }

    fn add_startup_bucket(&mut self, minute: i64, bucket: i32, count: i64) {
        self.turn_to(minute);
        for slot in self.slots {
            self.cubes.measures[slot].add_bucket(bucket, count);
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
        for cube in Cube::ALL {
            for dimension in cube.dimensions() {
                assert!(columns.contains(dimension), "{dimension}");
            }
        }
    }
}
