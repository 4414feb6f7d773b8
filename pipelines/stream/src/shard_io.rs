//! What a shard's state may read when it starts and while it freezes: rows and segments of its own earlier epochs, and of
//! those of its ancestors, whose epochs come before its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use arrow::record_batch::RecordBatch;
use futures::{StreamExt as _, TryStreamExt as _};
use marquee_lake::{EpochCommit, TableSpec};
use tokio::runtime::Handle;

use crate::{Clock, Manifest, ShardId, ShardStore, StreamError, recovery};

/// Paths of so many epochs are remembered; a re-fold rarely needs more.
const MAX_CACHED_EPOCHS: usize = 10_000;

/// Epochs read at the same time: mostly one file each, whose rows of a few sessions are small.
const EPOCHS_AT_ONCE: usize = 4;

/// Segments read at the same time.
const SEGMENTS_AT_ONCE: usize = 8;

/// A shard's view of what it has written before.
pub struct ShardIo {
    shard: ShardId,
    store: ShardStore,
    /// The parent first. None of them is ever cleaned up again.
    ancestors: Vec<ShardStore>,
    lake: Arc<dyn EpochCommit>,
    handle: Handle,
    clock: Arc<dyn Clock>,
    replay_table: &'static TableSpec,
    paths_by_epoch: Mutex<HashMap<u64, Vec<String>>>,
    publishes_live: bool,
}

impl ShardIo {
    /// The view of `shard`, whose manifests are in `store` and whose rows are in `replay_table` of `lake`.
    pub fn new(
        shard: ShardId,
        store: ShardStore,
        lake: Arc<dyn EpochCommit>,
        handle: Handle,
        clock: Arc<dyn Clock>,
        replay_table: &'static TableSpec,
    ) -> Self {
        let paths_by_epoch = Mutex::default();
        let ancestors = Vec::new();
        Self { shard, store, ancestors, lake, handle, clock, replay_table, paths_by_epoch, publishes_live: true }
    }

    /// Of a shard that goes on from these, its parent first.
    #[must_use]
    pub fn after(self, ancestors: Vec<ShardStore>) -> Self {
        Self { ancestors, ..self }
    }

    /// Without a live view: nobody asks for deltas.
    pub(crate) fn publishing_live(self, publishes_live: bool) -> Self {
        Self { publishes_live, ..self }
    }

    /// Whether somebody takes an epoch's live deltas.
    pub fn publishes_live(&self) -> bool {
        self.publishes_live
    }

    /// The injected clock (ms since the epoch).
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// The rows of the job's replay table, with their epochs in order: of each epoch those whose text column has one of
    /// the values wanted of it.
    ///
    /// # Errors
    /// When a manifest or a file cannot be read.
    pub fn replay_rows(
        &self,
        column: &str,
        wanted: &BTreeMap<u64, Vec<String>>,
    ) -> Result<Vec<(u64, RecordBatch)>, StreamError> {
        let mut reads = Vec::new();
        for (epoch, values) in wanted {
            let paths = self.paths(*epoch)?;
            if !paths.is_empty() {
                reads.push(async move {
                    Ok((*epoch, self.lake.read_rows(self.replay_table, &paths, column, values).await?))
                });
            }
        }
        let read = futures::stream::iter(reads).buffered(EPOCHS_AT_ONCE).try_collect();
        let read: Vec<(u64, Vec<RecordBatch>)> =
            self.handle.block_on(read).map_err(|source| StreamError::Lake { shard: self.shard.to_string(), source })?;
        Ok(read.into_iter().flat_map(|(epoch, batches)| batches.into_iter().map(move |batch| (epoch, batch))).collect())
    }

    /// Reads segments, in the order of their names.
    ///
    /// # Errors
    /// When one is missing or the store does not answer.
    pub fn read_segments(&self, names: &[&str]) -> Result<Vec<Vec<u8>>, StreamError> {
        let reads = futures::stream::iter(names).map(|name| self.read_segment(name));
        self.handle.block_on(reads.buffered(SEGMENTS_AT_ONCE).try_collect())
    }

    /// What was read of an epoch's state. Whoever has decided newer epochs since may have removed it as old: that is no
    /// damage.
    ///
    /// # Errors
    /// [`StreamError::Fenced`] then, and whatever `read` has failed with.
    pub fn unless_overtaken<T>(&self, manifest: &Manifest, read: Result<T, StreamError>) -> Result<T, StreamError> {
        self.handle.block_on(recovery::unless_overtaken(&self.shard, &self.store, manifest, read))
    }

    async fn read_segment(&self, name: &str) -> Result<Vec<u8>, StreamError> {
        for store in std::iter::once(&self.store).chain(&self.ancestors) {
            if let Some(bytes) = store.find_segment(name).await? {
                return Ok(bytes);
            }
        }
        self.store.read_segment(name).await
    }

    async fn manifest(&self, epoch: u64) -> Result<Option<Manifest>, StreamError> {
        for store in std::iter::once(&self.store).chain(&self.ancestors) {
            if let Some(manifest) = store.read_manifest(epoch).await? {
                return Ok(Some(manifest));
            }
        }
        Ok(None)
    }

    fn paths(&self, epoch: u64) -> Result<Vec<String>, StreamError> {
        let mut cache = self.paths_by_epoch.lock().expect("no thread panics while it holds this lock");
        if let Some(paths) = cache.get(&epoch) {
            return Ok(paths.clone());
        }
        let manifest = self.handle.block_on(self.manifest(epoch))?.ok_or_else(|| StreamError::Damaged {
            path: format!("{} epoch {epoch}", self.shard),
            problem: "its manifest is missing".to_owned(),
        })?;
        let files = manifest.tables.get(self.replay_table.name).map(|t| t.files.as_slice()).unwrap_or_default();
        let paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
        if cache.len() >= MAX_CACHED_EPOCHS {
            cache.clear();
        }
        cache.insert(epoch, paths.clone());
        Ok(paths)
    }
}
