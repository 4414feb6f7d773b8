//! Tests against real tables in a temporary folder. Every test that has a lake holds the fail-point scenario, so that
//! one test's faults never hit another's commits.

mod clean_up;
mod commit;
mod in_store;
mod open;
mod pruning;
mod read;
mod sql;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::{
    ArrayRef, AsArray as _, BinaryArray, BooleanArray, Float64Array, Int32Array, Int64Array, ListArray, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type};
use arrow::record_batch::RecordBatch;
use fail::FailScenario;
use marquee_events::Clock;
use marquee_lake::{Column, ColumnKind, DataFile, EpochCommit as _, LakeError, ShardEpoch, TableSpec, tables};
use tempfile::TempDir;

use crate::{DeltaLake, LakeOptions};

/// A clock that stands still until it is set.
struct FixedClock(AtomicI64);

impl Clock for FixedClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

const NOW_MS: i64 = 1_785_000_000_000;

struct TestLake {
    lake: DeltaLake,
    folder: TempDir,
    _scenario: FailScenario<'static>,
}

impl TestLake {
    async fn new() -> Self {
        Self::with(LakeOptions::default()).await
    }

    async fn with(options: LakeOptions) -> Self {
        let scenario = FailScenario::setup();
        let folder = tempfile::tempdir().unwrap();
        let lake = DeltaLake::open(&folder.path().join("lake"), clock(), options).await.unwrap();
        Self { lake, folder, _scenario: scenario }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("lake")
    }

    fn table_folder(&self, spec: &TableSpec) -> PathBuf {
        self.root().join(spec.name)
    }

    /// Another process's view of the same folder.
    async fn second(&self) -> Result<DeltaLake, LakeError> {
        open(&self.root()).await
    }

    /// Writes one row of `epochs` whose `records` column is the marker.
    async fn epoch_row(&self, shard: &str, epoch: u64, prev: Option<u64>, marker: i64) -> ShardEpoch {
        let rows = rows_of(&tables::EPOCHS, 1, &[("records", Arc::new(Int64Array::from(vec![marker])))]);
        let name = format!("{}-{epoch}-{marker}", shard.replace('/', "-"));
        let files = self.lake.write(&tables::EPOCHS, &name, &rows, NOW_MS).await.unwrap();
        ShardEpoch { shard: shard.to_owned(), epoch, prev, files }
    }

    async fn markers(&self) -> Vec<i64> {
        ints(&self.lake, "SELECT records FROM epochs ORDER BY records").await
    }

    async fn version(&self, spec: &TableSpec) -> u64 {
        self.lake.tables().await.unwrap().into_iter().find(|table| table.name == spec.name).unwrap().version
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(FixedClock(AtomicI64::new(NOW_MS)))
}

async fn open(root: &Path) -> Result<DeltaLake, LakeError> {
    DeltaLake::open(root, clock(), LakeOptions::default()).await
}

fn epoch(shard: &str, epoch: u64, prev: Option<u64>, files: Vec<DataFile>) -> ShardEpoch {
    ShardEpoch { shard: shard.to_owned(), epoch, prev, files }
}

async fn ints(lake: &DeltaLake, query: &str) -> Vec<i64> {
    let (_, batches) = lake.sql(query).await.unwrap();
    batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

async fn texts(lake: &DeltaLake, query: &str) -> Vec<String> {
    let (_, batches) = lake.sql(query).await.unwrap();
    batches
        .iter()
        .flat_map(|b| b.column(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// Rows of a table: the given columns, and a constant for each other required one.
fn rows_of(spec: &'static TableSpec, rows: usize, given: &[(&str, ArrayRef)]) -> RecordBatch {
    let column = |column: &Column| {
        let given = given.iter().find(|(name, _)| *name == column.name);
        given.map_or_else(|| constant(column, rows), |(_, array)| Arc::clone(array))
    };
    let arrays: Vec<ArrayRef> = spec.columns.iter().map(column).collect();
    let fields = spec.columns.iter().zip(&arrays).map(|(c, a)| Field::new(c.name, a.data_type().clone(), c.nullable));
    RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>())), arrays).unwrap()
}

fn constant(column: &Column, rows: usize) -> ArrayRef {
    if column.nullable {
        return arrow::array::new_null_array(&column.data_type(), rows);
    }
    match column.kind {
        ColumnKind::Text => Arc::new(StringArray::from(vec!["x"; rows])),
        ColumnKind::DateText => Arc::new(StringArray::from(vec!["2026-07-27"; rows])),
        ColumnKind::Int => Arc::new(Int64Array::from(vec![0; rows])),
        ColumnKind::Int32 => Arc::new(Int32Array::from(vec![0; rows])),
        ColumnKind::Float => Arc::new(Float64Array::from(vec![0.0; rows])),
        ColumnKind::Bool => Arc::new(BooleanArray::from(vec![false; rows])),
        ColumnKind::Timestamp => timestamps(vec![Some(0); rows]),
        ColumnKind::Bytes => Arc::new(BinaryArray::from_vec(vec![b"\xff\x00"; rows])),
        ColumnKind::IntList => {
            let field = Arc::new(Field::new("element", DataType::Int64, false));
            let values = Arc::new(Int64Array::from_iter_values((0..rows as i64).flat_map(|row| [row, -row])));
            let offsets = arrow::buffer::OffsetBuffer::from_lengths(vec![2; rows]);
            Arc::new(ListArray::new(field, offsets, values, None))
        }
    }
}

fn timestamps(values_us: Vec<Option<i64>>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values_us).with_timezone("UTC"))
}

fn texts_of(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}
