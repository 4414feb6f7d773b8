//! A lake in memory with the port's exact semantics: for properties that run hundreds of small lakes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, AsArray as _, BooleanArray};
use arrow::compute::{cast, filter_record_batch};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use marquee_lake::{DataFile, EpochCommit, LakeError, ShardEpoch, TableSpec};

#[derive(Default)]
pub struct MemoryLake {
    files: Mutex<HashMap<String, RecordBatch>>,
    tables: Mutex<HashMap<&'static str, Table>>,
}

#[derive(Default)]
struct Table {
    paths: Vec<String>,
    epochs: BTreeMap<String, u64>,
}

impl MemoryLake {
    /// The committed rows of a table.
    pub fn rows(&self, table: &TableSpec) -> Vec<RecordBatch> {
        let tables = self.tables.lock().expect("no test panics while it holds this lock");
        let files = self.files.lock().expect("no test panics while it holds this lock");
        tables.get(table.name).map(|t| t.paths.iter().map(|path| files[path].clone()).collect()).unwrap_or_default()
    }
}

#[async_trait]
impl EpochCommit for MemoryLake {
    async fn write(
        &self,
        table: &'static TableSpec,
        name: &str,
        rows: &RecordBatch,
        written_at_ms: i64,
    ) -> Result<Vec<DataFile>, LakeError> {
        let path = format!("{}/{name}", table.name);
        let columns: Vec<ArrayRef> = rows
            .columns()
            .iter()
            .zip(table.columns)
            .map(|(array, column)| cast(array, &column.data_type()).expect("dictionaries and views are text"))
            .collect();
        let plain = RecordBatch::try_new(table.schema(), columns).expect("the columns are those of the spec");
        self.files.lock().expect("no test panics while it holds this lock").insert(path.clone(), plain);
        Ok(vec![DataFile {
            path,
            size_bytes: 1,
            rows: rows.num_rows() as u64,
            partition_values: BTreeMap::new(),
            stats: String::new(),
            written_at_ms,
        }])
    }

    async fn commit(&self, table: &'static TableSpec, epochs: &[ShardEpoch]) -> Result<(), LakeError> {
        let mut tables = self.tables.lock().expect("no test panics while it holds this lock");
        let state = tables.entry(table.name).or_default();
        for epoch in epochs {
            let last = state.epochs.get(&epoch.shard).copied();
            if last >= Some(epoch.epoch) {
                continue;
            }
            assert_eq!(last, epoch.prev, "{} {}", table.name, epoch.shard);
            state.epochs.insert(epoch.shard.clone(), epoch.epoch);
            state.paths.extend(epoch.files.iter().map(|file| file.path.clone()));
        }
        Ok(())
    }

    async fn committed_epoch(&self, table: &'static TableSpec, shard: &str) -> Result<Option<u64>, LakeError> {
        Ok(self
            .tables
            .lock()
            .expect("no test panics while it holds this lock")
            .get(table.name)
            .and_then(|t| t.epochs.get(shard).copied()))
    }

    async fn read_rows(
        &self,
        table: &'static TableSpec,
        paths: &[String],
        column: &str,
        values: &[String],
    ) -> Result<Vec<RecordBatch>, LakeError> {
        let files = self.files.lock().expect("no test panics while it holds this lock");
        let rows = paths.iter().map(|path| {
            let batch = &files[path];
            let texts = batch.column(table.index_of(column)).as_string::<i32>();
            let wanted: BooleanArray =
                texts.iter().map(|text| Some(text.is_some_and(|t| values.iter().any(|v| v == t)))).collect();
            filter_record_batch(batch, &wanted).expect("the mask has the batch's length")
        });
        Ok(rows.collect())
    }
}

/// The rows of a table as text by column, for comparison.
pub fn text_rows(batches: &[RecordBatch], columns: &[&str]) -> Vec<Vec<String>> {
    let value = |array: &ArrayRef, row| arrow::util::display::array_value_to_string(array, row).expect("a value");
    let mut rows = Vec::new();
    for batch in batches {
        let arrays: Vec<&ArrayRef> =
            columns.iter().map(|name| batch.column_by_name(name).expect("a column of the table")).collect();
        rows.extend((0..batch.num_rows()).map(|row| arrays.iter().map(|a| value(a, row)).collect::<Vec<_>>()));
    }
    rows
}

/// Shared between the runtime and the test.
pub fn shared() -> Arc<MemoryLake> {
    Arc::new(MemoryLake::default())
}
