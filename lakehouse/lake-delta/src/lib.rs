//! The lake on Delta tables: epochs go in exactly once, queries read one consistent cut. The one thing to know before
//! changing it: a Delta commit that answers with an error may still have landed, so only the `txn` actions in the table
//! say what is committed (see [`EpochCommit`] and `commit.rs`).
//!
//! Tables stay readable by everyone: reader version 1, writer version 2, no deletion vectors, no column mapping.
//! `delta.setTransactionRetentionDuration` is never set: an expired application id would let an epoch in twice.

mod commit;
mod open;
mod read;
mod scan;
mod sql;
#[cfg(test)]
mod tests;
mod write;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::SessionContext;
use deltalake::DeltaTable;
use deltalake::logstore::LogStoreRef;
use marquee_events::Clock;
use marquee_lake::{DataFile, EpochCommit, LakeError, ShardEpoch, TableSpec};
use object_store::ObjectStore;
use serde::Serialize;
use tokio::sync::Mutex;
use url::Url;

use crate::commit::KnownShards;
use crate::open::Root;

/// What an operator may tune.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LakeOptions {
    /// Memory of all queries of this process together, and the largest result of one of them (bytes). A query that
    /// needs more spills to disk or fails; ingestion does not suffer.
    pub query_memory_bytes: usize,
}

impl Default for LakeOptions {
    /// 1 GiB for queries.
    fn default() -> Self {
        Self { query_memory_bytes: 1 << 30 }
    }
}

/// What `marquee lake tables` shows of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableSummary {
    /// Its name.
    pub name: &'static str,
    /// bronze, silver, gold, features or control.
    pub layer: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// Its Delta version.
    pub version: u64,
    /// Its data files.
    pub files: u64,
    /// Its rows; `None` when a file of another writer does not say.
    pub rows: Option<u64>,
    /// Size of its data files (bytes).
    pub size_bytes: u64,
    /// The column it is partitioned by.
    pub partition_by: Option<&'static str>,
}

/// The lake in a folder: one Delta table for each [`TableSpec`].
pub struct DeltaLake {
    tables: Vec<OpenTable>,
    runtime: Arc<RuntimeEnv>,
    clock: Arc<dyn Clock>,
    options: LakeOptions,
}

/// A table that is open.
pub(crate) struct OpenTable {
    pub(crate) spec: &'static TableSpec,
    /// Its folder, for people.
    pub(crate) location: String,
    /// The same on the local disk, if it is there.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) log: LogStoreRef,
    /// Rooted at the table's folder.
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Held during a commit: one committer a table in this process, because racing writers exhaust Delta's retries.
    pub(crate) state: Mutex<TableState>,
}

/// The table as last seen.
pub(crate) struct TableState {
    pub(crate) table: DeltaTable,
    pub(crate) shards: KnownShards,
}

type Cause = Box<dyn Error + Send + Sync>;

impl DeltaLake {
    /// Opens the lake in a folder, making the folder and the tables that are missing. Needs a Tokio runtime.
    ///
    /// # Errors
    /// [`LakeError::Open`] when a folder or file is out of reach, [`LakeError::Damaged`] when a table's log or schema
    /// is not what it has to be; nothing is changed then.
    pub async fn open(root: &Path, clock: Arc<dyn Clock>, options: LakeOptions) -> Result<Self, LakeError> {
        Self::open_below(Root::local(root)?, clock, options).await
    }

    /// As [`open`](Self::open), in a folder of any store whose [`PutMode::Create`](object_store::PutMode::Create) is
    /// atomic. The URL is the folder's: its path is the one in the store, the rest is for people.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_in(
        store: Arc<dyn ObjectStore>,
        url: Url,
        clock: Arc<dyn Clock>,
        options: LakeOptions,
    ) -> Result<Self, LakeError> {
        Self::open_below(Root::in_store(store, url), clock, options).await
    }

    async fn open_below(root: Root, clock: Arc<dyn Clock>, options: LakeOptions) -> Result<Self, LakeError> {
        let specs = marquee_lake::tables::all();
        let tables = futures::future::try_join_all(specs.map(|spec| open::open_table(&root, spec))).await?;
        Ok(Self { tables, runtime: sql::runtime(options)?, clock, options })
    }

    /// Every table as it is now, in the order of `marquee_lake::tables::all()`.
    ///
    /// # Errors
    /// [`LakeError::Open`] or [`LakeError::Damaged`].
    pub async fn tables(&self) -> Result<Vec<TableSummary>, LakeError> {
        let mut summaries = Vec::with_capacity(self.tables.len());
        for table in &self.tables {
            summaries.push(table.summary().await?);
        }
        Ok(summaries)
    }

    /// A DataFusion session over every table and view as they are now; it does not see later commits. The rows of every
    /// epoch that its `epochs` lists are in it. It checks nothing: what untrusted callers send goes through
    /// [`sql`](Self::sql).
    ///
    /// # Errors
    /// [`LakeError::Open`] or [`LakeError::Damaged`].
    pub async fn session(&self) -> Result<SessionContext, LakeError> {
        sql::session(&self.tables, &self.runtime).await
    }

    /// Runs one read-only query; `now()` is the lake's clock. Text comes back as Utf8, never as a view or dictionary.
    ///
    /// # Errors
    /// [`LakeError::Query`] when the query is wrong, is not a query, or exceeds the memory limit;
    /// [`LakeError::Damaged`] when a data file is missing or unreadable; else as [`session`](Self::session).
    pub async fn sql(&self, query: &str) -> Result<(SchemaRef, Vec<RecordBatch>), LakeError> {
        let session = self.session().await?;
        sql::run(&session, query, self.clock.now_ms(), self.options.query_memory_bytes).await
    }

    /// The newest version of a table and its data files, for readers that open Parquet by themselves (training). They are
    /// there as long as the table keeps that version.
    ///
    /// # Errors
    /// [`LakeError::Open`], also when the lake is not on the local disk, or [`LakeError::Damaged`].
    pub async fn files(&self, spec: &'static TableSpec) -> Result<(u64, Vec<PathBuf>), LakeError> {
        let table = self.table(spec)?;
        let failed = |error| open::open_error(table.spec, &table.location, error);
        let newest = table.newest().await?;
        let snapshot = newest.snapshot().map_err(failed)?;
        let folder = table.folder.as_ref().ok_or_else(|| LakeError::Open {
            table: spec.name.to_owned(),
            location: table.location.clone(),
            source: "its files are not on the local disk".into(),
        })?;
        let files = snapshot.log_data().iter().map(|file| folder.join(file.path().as_ref())).collect();
        Ok((snapshot.version(), files))
    }

    fn table(&self, spec: &'static TableSpec) -> Result<&OpenTable, LakeError> {
        self.tables.iter().find(|table| table.spec.name == spec.name).ok_or_else(|| LakeError::Open {
            table: spec.name.to_owned(),
            location: "this lake".to_owned(),
            source: "it is not listed in marquee_lake::tables::all()".into(),
        })
    }
}

impl OpenTable {
    /// The newest state of the table, apart from the one that commits work on.
    pub(crate) async fn newest(&self) -> Result<DeltaTable, LakeError> {
        let mut state = self.state.lock().await;
        state.table.update_state().await.map_err(|error| open::open_error(self.spec, &self.location, error))?;
        Ok(state.table.clone())
    }

    async fn summary(&self) -> Result<TableSummary, LakeError> {
        let table = self.newest().await?;
        let snapshot = table.snapshot().map_err(|error| open::open_error(self.spec, &self.location, error))?;
        let (mut files, mut size_bytes, mut rows) = (0, 0, Some(0));
        for file in snapshot.log_data().iter() {
            files += 1;
            size_bytes += u64::try_from(file.size()).unwrap_or(0);
            rows = rows.zip(file.num_records()).map(|(sum, rows)| sum + rows as u64);
        }
        let TableSpec { name, layer, doc, partition_by, .. } = *self.spec;
        Ok(TableSummary { name, layer, doc, version: snapshot.version(), files, rows, size_bytes, partition_by })
    }
}

#[async_trait]
impl EpochCommit for DeltaLake {
    async fn write(
        &self,
        table: &'static TableSpec,
        name: &str,
        rows: &RecordBatch,
        written_at_ms: i64,
    ) -> Result<Vec<DataFile>, LakeError> {
        write::write(self.table(table)?, name, rows, written_at_ms).await
    }

    async fn commit(&self, table: &'static TableSpec, epochs: &[ShardEpoch]) -> Result<(), LakeError> {
        commit::commit(self.table(table)?, epochs, self.clock.as_ref()).await
    }

    async fn committed_epoch(&self, table: &'static TableSpec, shard: &str) -> Result<Option<u64>, LakeError> {
        commit::committed_epoch(self.table(table)?, shard).await
    }

    async fn read_rows(
        &self,
        table: &'static TableSpec,
        paths: &[String],
        column: &str,
        values: &[String],
    ) -> Result<Vec<RecordBatch>, LakeError> {
        read::read_rows(self.table(table)?, paths, column, values).await
    }
}

/// Looks for an error of a type in a chain of causes; some libraries box their sources.
pub(crate) fn find_cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        if let Some(found) = error.downcast_ref::<Box<T>>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// An error message on one line and not too long: some carry whole schemas.
pub(crate) fn one_line(message: &str) -> String {
    /// About three terminal lines.
    const LONGEST_MESSAGE_CHARS: usize = 300;
    let line = message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no message");
    if line.chars().nth(LONGEST_MESSAGE_CHARS).is_none() {
        return line.to_owned();
    }
    line.chars().take(LONGEST_MESSAGE_CHARS).chain(['…']).collect()
}
