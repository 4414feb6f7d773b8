//! What must hold in the end, whatever happened: the invariants of the design, from the log, the lake and the manifests.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array as _, ArrayRef, AsArray as _};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use futures::FutureExt as _;
use marquee_jobs::{LIVE_TOPIC, LiveRecord, LiveView, PLAYBACK_TOPIC, dimension_names};
use marquee_lake::{EpochCommit as _, TableSpec, tables};
use marquee_qoe::Measure;
use marquee_stream::{Manifest, ShardId, ShardStore};

use crate::memory_lake::MemoryLake;
use crate::memory_log::MemoryLog;

/// A row's values by column, as text.
type Row = Vec<String>;

/// What the engine made of its input: what must not depend on how it came and what went wrong on the way.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    sessions: BTreeMap<Row, Row>,
    minutes: BTreeMap<Row, Vec<i64>>,
    bronze: BTreeSet<Row>,
}

/// Left out: what tells how a session was put together.
const HOW: [&str; 6] = ["revision", "epoch", "late_events", "duplicates", "close_reason", "bronze_epochs"];

fn columns(table: &TableSpec) -> Vec<&'static str> {
    table.columns.iter().map(|column| column.name).collect()
}

fn rows(lake: &MemoryLake, table: &TableSpec, columns: &[&str]) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in lake.rows(table) {
        let arrays: Vec<ArrayRef> = columns
            .iter()
            .map(|name| {
                let array = batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
                let is_time = matches!(array.data_type(), DataType::Timestamp(..));
                if is_time { cast(array, &DataType::Int64).expect("a time is a number") } else { array.clone() }
            })
            .collect();
        let value = |array: &ArrayRef, row| match array.data_type() {
            DataType::Utf8 if array.is_valid(row) => array.as_string::<i32>().value(row).to_owned(),
            _ => arrow::util::display::array_value_to_string(array, row).expect("a value"),
        };
        rows.extend((0..batch.num_rows()).map(|row| arrays.iter().map(|array| value(array, row)).collect::<Row>()));
    }
    rows
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

/// Minutes by cube, dimensions and minute, of the epochs up to this vector.
fn minutes(lake: &MemoryLake, up_to: impl Fn(u32) -> u64) -> BTreeMap<Row, Vec<i64>> {
    let names = [&["cube_name"], &dimension_names()[..]].concat();
    let mut sums: BTreeMap<Row, Vec<i64>> = BTreeMap::new();
    let table = &tables::QOE_MINUTES;
    let keys = rows(lake, table, &[&names[..], &["minute", "partition", "epoch"]].concat());
    let mut next_key = keys.into_iter();
    for batch in lake.rows(table) {
        let measures: Vec<_> = Measure::NAMES
            .iter()
            .map(|name| batch.column(table.index_of(name)).as_primitive::<Int64Type>().clone())
            .collect();
        for row in 0..batch.num_rows() {
            let mut key = next_key.next().expect("as many keys as rows");
            let (epoch, partition): (u64, u32) =
                (number(&key.pop().unwrap_or_default()), number(&key.pop().unwrap_or_default()));
            if epoch > up_to(partition) {
                continue;
            }
            let sum = sums.entry(key).or_insert_with(|| vec![0; Measure::COUNT]);
            for (sum, values) in sum.iter_mut().zip(&measures) {
                *sum += values.value(row);
            }
        }
    }
    sums.retain(|_, sum| sum.iter().any(|value| *value != 0));
    sums
}

impl Outcome {
    /// What is in the lake.
    pub fn of(lake: &MemoryLake) -> Self {
        let kept: Vec<_> =
            columns(&tables::SESSION_REVISIONS).into_iter().filter(|column| !HOW.contains(column)).collect();
        let mut sessions: BTreeMap<Row, (u64, Row)> = BTreeMap::new();
        let wanted = [&["session_id", "player_instance", "revision"], &kept[..]].concat();
        for row in rows(lake, &tables::SESSION_REVISIONS, &wanted) {
            let revision: u64 = number(&row[2]);
            let newest = sessions.entry(row[..2].to_vec()).or_default();
            assert_ne!(newest.0, revision, "revision {revision} of {:?} is written once", &row[..2]);
            if newest.0 < revision {
                *newest = (revision, row[3..].to_vec());
            }
        }
        let bronze = ["session_id", "player_instance", "sequence", "type", "event_time", "event_id", "bitrate_bps"];
        Self {
            sessions: sessions.into_iter().map(|(key, (_, row))| (key, row)).collect(),
            minutes: minutes(lake, |_| u64::MAX),
            bronze: rows(lake, &tables::EVENTS, &bronze).into_iter().collect(),
        }
    }

    /// Panics where it is not the expected one.
    pub fn check(&self, expected: &Self) {
        let (only_here, only_there) =
            (self.bronze.difference(&expected.bronze).next(), expected.bronze.difference(&self.bronze).next());
        assert_eq!(only_here, only_there, "a row of bronze that is on one side only");
        check_same("session", &self.sessions, &expected.sessions);
        check_same("minute", &self.minutes, &expected.minutes);
    }
}

/// Panics at the first difference.
fn check_same<T: PartialEq + std::fmt::Debug>(what: &str, found: &BTreeMap<Row, T>, expected: &BTreeMap<Row, T>) {
    for key in found.keys().chain(expected.keys()) {
        assert_eq!(found.get(key), expected.get(key), "{what} {key:?}");
    }
}

/// Every event of the log is in the lake once, and in a session once: those past the horizon only if all of them were
/// recomputed.
pub fn check_counts(log: &MemoryLog, lake: &MemoryLake, partitions: u32, are_recomputed: bool) {
    let keys = rows(lake, &tables::EVENTS, &["partition", "offset", "index"]);
    let distinct: BTreeSet<_> = keys.iter().collect();
    assert_eq!(keys.len(), distinct.len(), "keys of bronze are distinct");
    let dead = rows(lake, &tables::DEAD_LETTERS, &["partition", "offset", "index", "event_count"]);
    let distinct: BTreeSet<_> = dead.iter().map(|row| &row[..3]).collect();
    assert_eq!(dead.len(), distinct.len(), "keys of dead letters are distinct");
    for partition in 0..partitions {
        let is_here = |row: &&Row| row[0] == partition.to_string();
        let in_log: u64 =
            log.records(PLAYBACK_TOPIC, partition).iter().map(|record| u64::from(record.header.event_count)).sum();
        let in_bronze = keys.iter().filter(is_here).count() as u64;
        let in_dead: u64 = dead.iter().filter(is_here).map(|row| number::<u64>(&row[3])).sum();
        assert_eq!(in_bronze + in_dead, in_log, "bronze {in_bronze} + dead {in_dead} = log, partition {partition}");
    }
    let events = rows(lake, &tables::EVENTS, &["session_id", "player_instance", "sequence", "is_late"]);
    let is_in_session = |row: &&Row| are_recomputed || row[3] == "false";
    let in_sessions: BTreeSet<_> = events.iter().filter(is_in_session).map(|row| &row[..3]).collect();
    check_recomputed(lake, are_recomputed);
    let columns = ["session_id", "player_instance", "revision", "event_count"];
    let mut counts: BTreeMap<Row, (u64, u64)> = BTreeMap::new();
    for row in rows(lake, &tables::SESSION_REVISIONS, &columns) {
        let (revision, count) = (number(&row[2]), number(&row[3]));
        let newest = counts.entry(row[..2].to_vec()).or_default();
        *newest = (*newest).max((revision, count));
    }
    let folded: u64 = counts.values().map(|(_, count)| count).sum();
    assert_eq!(folded, in_sessions.len() as u64, "events in sessions = distinct events in bronze that belong there");
}

/// Each row of bronze past the horizon is a late event once, and recomputed once or never.
fn check_recomputed(lake: &MemoryLake, are_recomputed: bool) {
    let key = ["partition", "offset", "index", "session_id", "player_instance", "sequence"];
    let sorted = |table: &TableSpec| {
        let mut rows = rows(lake, table, &key);
        rows.sort_unstable();
        rows
    };
    let mut past_horizon: Vec<Row> = rows(lake, &tables::EVENTS, &[&["is_late"], &key[..]].concat())
        .into_iter()
        .filter(|row| row[0] == "true")
        .map(|row| row[1..].to_vec())
        .collect();
    past_horizon.sort_unstable();
    assert_eq!(sorted(&tables::LATE_EVENTS), past_horizon, "late events = rows of bronze past the horizon");
    let recomputed = if are_recomputed { past_horizon } else { Vec::new() };
    assert_eq!(sorted(&tables::RECOMPUTED_EVENTS), recomputed, "recomputed events = late events, or none");
}

/// The manifests of each shard follow each other, and the lake and the log are where the newest one says.
pub fn check_manifests(shards: &[(ShardId, ShardStore)], log: &MemoryLog, lake: &MemoryLake) {
    for (shard, store) in shards {
        let epochs = ready(store.epochs()).expect("the store answers");
        assert_eq!(epochs, (1..=epochs.len() as u64).collect::<Vec<_>>(), "{shard}: no epoch is missing");
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        let (mut offset, mut watermark_ms) = (0, None);
        for epoch in &epochs {
            let manifest: Manifest = ready(store.read_manifest(*epoch)).expect("it is whole").expect("it is listed");
            assert!(manifest.next_offset >= offset, "{shard} {epoch}: offsets do not go back");
            assert!(manifest.watermark_ms >= watermark_ms, "{shard} {epoch}: the watermark does not go back");
            (offset, watermark_ms) = (manifest.next_offset, manifest.watermark_ms);
            for (table, entry) in &manifest.tables {
                assert_eq!(entry.prev, last.get(table).copied(), "{shard} {epoch}: prev of {table}");
            }
            last = manifest.last_epochs();
            if *epoch == epochs.len() as u64 {
                ready(store.read_snapshot(&manifest.snapshot)).expect("the newest snapshot is whole");
                for segment in &manifest.segments {
                    ready(store.read_segment(segment)).expect("its segments are there");
                }
            }
        }
        for table in tables::all() {
            let committed = ready(lake.committed_epoch(table, &shard.to_string())).expect("the lake answers");
            assert_eq!(committed, last.get(table.name).copied(), "{shard}: the last epoch in {}", table.name);
        }
        let end = log.records(&shard.topic, shard.partition).len() as u64;
        assert_eq!(offset, end, "{shard}: all of the log is in the lake");
    }
    let columns = ["partition", "epoch", "next_offset"];
    let mut epochs: BTreeMap<(i64, u64), u64> = BTreeMap::new();
    let mut records: BTreeMap<i64, u64> = BTreeMap::new();
    for row in rows(lake, &tables::EPOCHS, &columns) {
        let (partition, epoch) = (number(&row[0]), number(&row[1]));
        assert!(
            epochs.insert((partition, epoch), number(&row[2])).is_none(),
            "epoch {epoch} of {partition} came twice"
        );
    }
    for batch in lake.rows(&tables::EPOCHS) {
        let partition = batch.column(tables::EPOCHS.index_of("partition")).as_primitive::<Int32Type>();
        let count = batch.column(tables::EPOCHS.index_of("records")).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            *records.entry(i64::from(partition.value(row))).or_default() += count.value(row) as u64;
        }
    }
    for (partition, count) in records {
        let end = log.records(PLAYBACK_TOPIC, partition as u32).len() as u64;
        assert_eq!(count, end, "records of the epochs of partition {partition}");
    }
}

/// The live deltas up to an epoch vector are the rows up to it: at the end, and at some vectors on the way.
pub fn check_live(log: &MemoryLog, lake: &MemoryLake, partitions: u32) {
    let mut view = LiveView::default();
    for record in log.records(LIVE_TOPIC, 0) {
        view.apply(LiveRecord::from_bytes(&record.payload).expect("a live record"));
    }
    let mut newest = vec![0_u64; partitions as usize];
    for row in rows(lake, &tables::EPOCHS, &["partition", "epoch"]) {
        let newest = &mut newest[number::<usize>(&row[0])];
        *newest = (*newest).max(number(&row[1]));
    }
    let halfway: Vec<u64> = newest.iter().map(|epoch| epoch / 2).collect();
    for vector in [newest, halfway] {
        let live = view.sum(|_, partition| vector[partition as usize], |_| true);
        let live: BTreeMap<Row, Vec<i64>> = live
            .into_iter()
            .map(|((cell, minute), measures)| {
                let values = dimension_names().map(|name| cell.value(name).unwrap_or_default().to_string());
                let mut key = vec![cell.cube.name().to_owned()];
                key.extend(values);
                key.push((minute * 60_000_000).to_string());
                (key, measures.values.clone())
            })
            .collect();
        check_same(&format!("live at {vector:?}"), &live, &minutes(lake, |partition| vector[partition as usize]));
    }
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing in memory waits")
}
