//! The live view: uncommitted minute deltas as the shards publish them. A reader replaces what it has of a (shard,
//! epoch) by what comes later; an epoch's final record equals the rows that the epoch adds to `qoe_minutes`.

use std::collections::{BTreeMap, HashMap};

use marquee_qoe::Measures;
use serde::{Deserialize, Serialize};

use crate::playback::CellDimensions;

/// What a shard publishes: all the deltas of one epoch so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveRecord {
    /// The shard's topic.
    pub topic: String,
    /// The shard's partition.
    pub partition: u32,
    /// The epoch they belong to.
    pub epoch: u64,
    /// No more deltas will come for this epoch.
    pub is_final: bool,
    /// The deltas.
    pub cells: Vec<LiveCell>,
}

/// The delta of one minute of one cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveCell {
    /// The cube and its dimensions.
    pub dimensions: CellDimensions,
    /// Minutes since the Unix epoch.
    pub minute: i64,
    /// The deltas.
    pub measures: Measures,
}

/// A [`LiveRecord`] to publish, its cells borrowed.
#[derive(Debug, Serialize)]
pub(crate) struct LiveRecordRef<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: u32,
    pub(crate) epoch: u64,
    pub(crate) is_final: bool,
    pub(crate) cells: Vec<LiveCellRef<'a>>,
}

/// A [`LiveCell`] to publish.
#[derive(Debug, Serialize)]
pub(crate) struct LiveCellRef<'a> {
    pub(crate) dimensions: &'a CellDimensions,
    pub(crate) minute: i64,
    pub(crate) measures: MeasuresRef<'a>,
}

/// [`Measures`] to publish.
#[derive(Debug, Serialize)]
pub(crate) struct MeasuresRef<'a> {
    pub(crate) values: &'a [i64],
    pub(crate) startup_buckets: &'a [(i32, i64)],
}

impl LiveRecordRef<'_> {
    /// As published.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("plain data can be encoded")
    }
}

impl LiveRecord {
    /// Reads what a shard has published; `None` when it is anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}

/// Deltas by shard and epoch; sums of them are the live figures.
#[derive(Debug, Default)]
pub struct LiveView {
    epochs: HashMap<(String, u32), BTreeMap<u64, Vec<LiveCell>>>,
}

impl LiveView {
    /// Takes in a record: it replaces what was known of its (shard, epoch). An epoch that is told again after a crash
    /// makes the ones after it void.
    pub fn apply(&mut self, record: LiveRecord) {
        let epochs = self.epochs.entry((record.topic, record.partition)).or_default();
        epochs.split_off(&(record.epoch + 1));
        epochs.insert(record.epoch, record.cells);
    }

    /// Drops the deltas of minutes before `minute` (minutes since the Unix epoch): for readers that look at the present.
    pub fn forget_before(&mut self, minute: i64) {
        for epochs in self.epochs.values_mut() {
            let last = epochs.keys().next_back().copied();
            for cells in epochs.values_mut() {
                cells.retain(|cell| cell.minute >= minute);
            }
            epochs.retain(|epoch, cells| !cells.is_empty() || Some(*epoch) == last);
        }
    }

    /// Sums the deltas of all epochs up to `up_to(topic, partition)` (inclusive) for which `keep` holds.
    pub fn sum(
        &self,
        up_to: impl Fn(&str, u32) -> u64,
        mut keep: impl FnMut(&LiveCell) -> bool,
    ) -> BTreeMap<(CellDimensions, i64), Measures> {
        let mut sums: BTreeMap<(CellDimensions, i64), Measures> = BTreeMap::new();
        for ((topic, partition), epochs) in &self.epochs {
            for cell in epochs.range(..=up_to(topic, *partition)).flat_map(|(_, cells)| cells) {
                if keep(cell) {
                    sums.entry((cell.dimensions.clone(), cell.minute)).or_default().merge(&cell.measures);
                }
            }
        }
        sums.retain(|_, measures| !measures.is_zero());
        sums
    }

    /// Sums everything known for which `keep` holds into one.
    pub fn total(&self, mut keep: impl FnMut(&LiveCell) -> bool) -> Measures {
        let mut total = Measures::default();
        for cell in self.epochs.values().flat_map(BTreeMap::values).flatten() {
            if keep(cell) {
                total.merge(&cell.measures);
            }
        }
        total
    }
}
