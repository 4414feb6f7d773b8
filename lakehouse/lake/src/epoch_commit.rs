//! The port by which epochs get into the lake.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{LakeError, TableSpec};

/// A data file that is written but not yet part of its table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Path below the table's folder.
    pub path: String,
    /// Size in bytes.
    pub size_bytes: i64,
    /// Rows in it.
    pub rows: u64,
    /// Value of each partition column.
    pub partition_values: BTreeMap<String, String>,
    /// Delta's per-file statistics (JSON).
    pub stats: String,
    /// When it was written (ms since the epoch).
    pub written_at_ms: i64,
}

/// What one epoch of one shard adds to one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardEpoch {
    /// `job/topic/partition`: the Delta application id.
    pub shard: String,
    /// The epoch.
    pub epoch: u64,
    /// This table's last epoch with files, `None` for the first.
    pub prev: Option<u64>,
    /// The files.
    pub files: Vec<DataFile>,
}

/// Puts epochs into tables, each exactly once. Object-safe.
#[async_trait]
pub trait EpochCommit: Send + Sync + 'static {
    /// Encodes rows (the table's schema, any order) and writes them durably, one file for each partition value. They
    /// become visible with [`commit`](Self::commit) only. CPU-bound: call it from a thread, not from an async task.
    ///
    /// # Errors
    /// [`LakeError::Write`].
    async fn write(
        &self,
        table: &'static TableSpec,
        name: &str,
        rows: &RecordBatch,
        written_at_ms: i64,
    ) -> Result<Vec<DataFile>, LakeError>;

    /// Makes the files of these epochs part of the table in **one** commit, each exactly once: an epoch that the table
    /// already has is left out. Resolves its own lost replies and retries conflicts.
    ///
    /// # Errors
    /// [`LakeError::Damaged`] when the table's last epoch of a shard is neither `prev` nor at least `epoch`;
    /// [`LakeError::Commit`] when it did not land.
    async fn commit(&self, table: &'static TableSpec, epochs: &[ShardEpoch]) -> Result<(), LakeError>;

    /// The last epoch of a shard in a table.
    ///
    /// # Errors
    /// [`LakeError::Open`] or [`LakeError::Damaged`].
    async fn committed_epoch(&self, table: &'static TableSpec, shard: &str) -> Result<Option<u64>, LakeError>;

    /// The rows of these files whose text column has one of the values; the files need not be committed.
    ///
    /// # Errors
    /// [`LakeError::Read`].
    async fn read_rows(
        &self,
        table: &'static TableSpec,
        paths: &[String],
        column: &str,
        values: &[String],
    ) -> Result<Vec<RecordBatch>, LakeError>;
}
