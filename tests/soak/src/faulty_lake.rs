//! A lake whose commits lose their requests and replies, meet each other, and land late. As in Delta, a commit is a
//! create of the table's next version: it lands only on the version that was looked at.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use futures::FutureExt as _;
use marquee_lake::{DataFile, EpochCommit, LakeError, ShardEpoch, TableSpec};

use crate::faults::{Fate, Faults};
use crate::memory_lake::MemoryLake;

/// Attempts against others' commits before the caller hears of it.
const ATTEMPTS: usize = 8;

/// The lake.
#[derive(Clone)]
pub struct FaultyLake {
    inner: Arc<MemoryLake>,
    versions: Arc<Mutex<HashMap<&'static str, u64>>>,
    late: Arc<Mutex<Vec<Commit>>>,
    faults: Faults,
}

/// A commit under way.
#[derive(Clone)]
struct Commit {
    table: &'static TableSpec,
    epochs: Vec<ShardEpoch>,
    on_version: u64,
}

impl FaultyLake {
    /// An empty lake.
    pub fn new(faults: Faults) -> Self {
        Self { inner: Arc::default(), versions: Arc::default(), late: Arc::default(), faults }
    }

    /// What has landed.
    pub fn inner(&self) -> Arc<MemoryLake> {
        self.inner.clone()
    }

    /// Lets one of the late commits land, if nothing came before it; whether there was one.
    pub fn land_one(&self) -> bool {
        let mut late = lock(&self.late);
        if late.is_empty() {
            return false;
        }
        let chosen = self.faults.below(late.len());
        let commit = late.swap_remove(chosen);
        drop(late);
        self.land(&commit).is_ok_and(|landed| landed)
    }

    /// A power cut: what is under way is gone.
    pub fn lose_late(&self) {
        lock(&self.late).clear();
    }

    fn version(&self, table: &TableSpec) -> u64 {
        lock(&self.versions).get(table.name).copied().unwrap_or(0)
    }

    /// Whether it landed: not on another version.
    fn land(&self, commit: &Commit) -> Result<bool, LakeError> {
        if self.version(commit.table) != commit.on_version {
            return Ok(false);
        }
        let landed = self.inner.commit(commit.table, &commit.epochs).now_or_never();
        landed.expect("a lake in memory does not wait")?;
        lock(&self.versions).insert(commit.table.name, commit.on_version + 1);
        Ok(true)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct UnderWay<'a> {
    lake: &'a FaultyLake,
    commit: Option<Commit>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(commit) = self.commit.take()
            && self.lake.faults.happens(self.lake.faults.rates().late_after_crash)
        {
            lock(&self.lake.late).push(commit);
        }
    }
}

#[async_trait]
impl EpochCommit for FaultyLake {
    async fn write(
        &self,
        table: &'static TableSpec,
        name: &str,
        rows: &RecordBatch,
        written_at_ms: i64,
    ) -> Result<Vec<DataFile>, LakeError> {
        self.faults.travel().await;
        // Nobody knows of a file without its manifest: landing late, or never, is the same.
        if matches!(self.faults.fate(), Fate::IsRefused | Fate::LandsLate) {
            return Err(LakeError::Write { table: table.name.to_owned(), source: "injected".into() });
        }
        self.inner.write(table, name, rows, written_at_ms).await
    }

    async fn commit(&self, table: &'static TableSpec, epochs: &[ShardEpoch]) -> Result<(), LakeError> {
        let failed = || LakeError::Commit { table: table.name.to_owned(), source: "injected".into() };
        for _ in 0..ATTEMPTS {
            let commit = Commit { table, epochs: epochs.to_vec(), on_version: self.version(table) };
            let mut under_way = UnderWay { lake: self, commit: Some(commit) };
            self.faults.travel().await;
            let Some(commit) = under_way.commit.take() else { unreachable!("nobody else takes it") };
            match self.faults.fate() {
                Fate::IsRefused => return Err(failed()),
                Fate::LandsLate => {
                    lock(&self.late).push(commit);
                    return Err(failed());
                }
                fate => {
                    if !self.land(&commit)? {
                        continue;
                    }
                    self.faults.travel().await;
                    return if fate == Fate::LosesItsReply { Err(failed()) } else { Ok(()) };
                }
            }
        }
        Err(failed())
    }

    async fn committed_epoch(&self, table: &'static TableSpec, shard: &str) -> Result<Option<u64>, LakeError> {
        self.inner.committed_epoch(table, shard).await
    }

    async fn read_rows(
        &self,
        table: &'static TableSpec,
        paths: &[String],
        column: &str,
        values: &[String],
    ) -> Result<Vec<RecordBatch>, LakeError> {
        if self.faults.happens(self.faults.rates().unreadable) {
            return Err(LakeError::Read { table: table.name.to_owned(), source: "injected".into() });
        }
        self.inner.read_rows(table, paths, column, values).await
    }
}
