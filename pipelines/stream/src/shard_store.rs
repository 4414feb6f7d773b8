//! Where a shard keeps its manifests, snapshots and index segments: any object store with an atomic create, whose listings
//! show what no power cut takes.

use std::sync::Arc;

use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};

use crate::drive::Drive;
use crate::{Manifest, ShardId, SnapshotRef, StreamError};

/// Manifests are kept this long after a newer one (ms): 7 days, as the lake's log.
pub(crate) const MANIFEST_RETENTION_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// How often a create whose outcome is unknown is tried again.
const CREATE_ATTEMPTS: u32 = 5;

/// A shard's own folder in the object store.
#[derive(Debug, Clone)]
pub struct ShardStore {
    store: Arc<dyn ObjectStore>,
    root: Path,
    drive: Drive,
}

/// What became of creating a manifest.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// The epoch is this writer's.
    Won,
    /// Another writer decided it.
    Lost,
}

impl ShardStore {
    /// The folder of `shard` below `root`.
    pub fn new(store: Arc<dyn ObjectStore>, root: &Path, shard: &ShardId) -> Self {
        let root = [shard.job, &shard.topic, &shard.partition.to_string()]
            .iter()
            .fold(root.clone(), |path, part| path.join(*part));
        Self { store, root, drive: Drive::ToTheEnd }
    }

    /// With pauses between attempts as they are in this drive.
    pub(crate) fn driven(self, drive: Drive) -> Self {
        Self { drive, ..self }
    }

    fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.root.clone(), Path::join)
    }

    fn manifest_path(&self, epoch: u64) -> Path {
        self.path(&format!("manifest/{epoch:012}.json"))
    }

    /// Creates the manifest unless one is there, and finds out who won when the answer is unclear.
    ///
    /// # Errors
    /// [`StreamError::Store`] when the store does not answer, [`StreamError::Damaged`] when what is there is none.
    pub async fn create_manifest(&self, manifest: &Manifest) -> Result<Decision, StreamError> {
        let path = self.manifest_path(manifest.epoch);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let options = PutOptions { mode: PutMode::Create, ..Default::default() };
            let put = self.store.put_opts(&path, manifest.to_bytes().into(), options).await;
            let put = lose_reply(put);
            if put.is_ok() {
                return Ok(Decision::Won);
            }
            // Whatever the error says, what is stored decides: a reply can be lost after the create has landed.
            match self.read_manifest(manifest.epoch).await? {
                Some(stored) if stored.writer_id == manifest.writer_id => {
                    self.epochs().await?; // that it can be read does not make it durable, that it is listed does
                    return Ok(Decision::Won);
                }
                Some(_) => return Ok(Decision::Lost),
                None if attempt < CREATE_ATTEMPTS => {
                    self.drive.pause(std::time::Duration::from_millis(50 << attempt)).await;
                }
                None => put.map_err(|source| store_error("create", &path, source)).map(|_| ())?,
            }
        }
    }

    /// The manifest of an epoch.
    ///
    /// # Errors
    /// [`StreamError::Store`] or [`StreamError::Damaged`].
    pub async fn read_manifest(&self, epoch: u64) -> Result<Option<Manifest>, StreamError> {
        let path = self.manifest_path(epoch);
        match self.get(&path).await? {
            None => Ok(None),
            Some(bytes) => Manifest::from_bytes(path.as_ref(), &bytes).map(Some),
        }
    }

    /// The epochs that have a manifest, in order.
    ///
    /// # Errors
    /// [`StreamError::Store`].
    pub async fn epochs(&self) -> Result<Vec<u64>, StreamError> {
        let folder = self.path("manifest");
        let listed: Vec<_> =
            self.store.list(Some(&folder)).try_collect().await.map_err(|e| store_error("list", &folder, e))?;
        let mut epochs: Vec<u64> = listed
            .iter()
            .filter_map(|object| object.location.filename()?.strip_suffix(".json")?.parse().ok())
            .collect();
        epochs.sort_unstable();
        Ok(epochs)
    }

    /// The last epoch that is known to be in the lake and published.
    ///
    /// # Errors
    /// [`StreamError::Store`] or [`StreamError::Damaged`].
    pub async fn done_epoch(&self) -> Result<u64, StreamError> {
        let path = self.path("done");
        let Some(bytes) = self.get(&path).await? else { return Ok(0) };
        let text = String::from_utf8_lossy(&bytes);
        text.trim().parse().map_err(|_| StreamError::Damaged {
            path: path.to_string(),
            problem: "it is not the number of an epoch".to_owned(),
        })
    }

    /// Notes that all epochs up to this one are in the lake and published.
    ///
    /// # Errors
    /// [`StreamError::Store`].
    pub async fn mark_done(&self, epoch: u64) -> Result<(), StreamError> {
        let path = self.path("done");
        self.put(&path, format!("{epoch}\n").into_bytes()).await
    }

    /// Writes a snapshot.
    ///
    /// # Errors
    /// [`StreamError::Store`].
    pub async fn write_snapshot(
        &self,
        epoch: u64,
        writer_id: &str,
        version: u32,
        bytes: Vec<u8>,
    ) -> Result<SnapshotRef, StreamError> {
        let name = format!("snapshot/{epoch:012}-{writer_id}");
        let (crc32c, size_bytes) = (crc32c::crc32c(&bytes), bytes.len() as u64);
        self.put(&self.path(&name), bytes).await?;
        Ok(SnapshotRef { path: name, crc32c, size_bytes, version })
    }

    /// Reads a snapshot and checks it.
    ///
    /// # Errors
    /// [`StreamError::Store`], or [`StreamError::Damaged`] when it is missing or not what was written.
    pub async fn read_snapshot(&self, snapshot: &SnapshotRef) -> Result<Vec<u8>, StreamError> {
        let path = self.path(&snapshot.path);
        let damaged = |problem: &str| StreamError::Damaged { path: path.to_string(), problem: problem.to_owned() };
        let bytes = self.get(&path).await?.ok_or_else(|| damaged("it is missing"))?;
        if bytes.len() as u64 != snapshot.size_bytes || crc32c::crc32c(&bytes) != snapshot.crc32c {
            return Err(damaged("its checksum does not fit its contents"));
        }
        Ok(bytes)
    }

    /// Writes an index segment.
    ///
    /// # Errors
    /// [`StreamError::Store`].
    pub async fn write_segment(&self, name: &str, bytes: Vec<u8>) -> Result<(), StreamError> {
        self.put(&self.segment_path(name), bytes).await
    }

    /// Reads an index segment.
    ///
    /// # Errors
    /// [`StreamError::Store`], or [`StreamError::Damaged`] when it is missing.
    pub async fn read_segment(&self, name: &str) -> Result<Vec<u8>, StreamError> {
        let path = self.segment_path(name);
        let missing = || StreamError::Damaged { path: path.to_string(), problem: "it is missing".to_owned() };
        self.find_segment(name).await?.ok_or_else(missing)
    }

    /// Reads an index segment, if it is there.
    pub(crate) async fn find_segment(&self, name: &str) -> Result<Option<Vec<u8>>, StreamError> {
        self.get(&self.segment_path(name)).await
    }

    fn segment_path(&self, name: &str) -> Path {
        self.path(&format!("segment/{name}"))
    }

    /// Removes what nobody can need any more: manifests older than 7 days and before `needed_epoch`, snapshots and segments that no kept
    /// manifest's successor refers to. Never the newest two epochs, never an undone one.
    ///
    /// # Errors
    /// [`StreamError::Store`].
    pub async fn clean_up(
        &self,
        newest: &Manifest,
        done: u64,
        needed_epoch: u64,
        now_ms: i64,
    ) -> Result<(), StreamError> {
        let keep_from = done.min(newest.epoch.saturating_sub(1));
        let keep_manifests_from = keep_from.min(needed_epoch);
        let snapshots = self.path("snapshot");
        let listed: Vec<_> =
            self.store.list(Some(&snapshots)).try_collect().await.map_err(|e| store_error("list", &snapshots, e))?;
        let epoch_of =
            |object: &object_store::ObjectMeta| -> Option<u64> { object.location.filename()?.get(..12)?.parse().ok() };
        for object in listed.iter().filter(|o| epoch_of(o).is_some_and(|epoch| epoch < keep_from)) {
            self.delete(&object.location).await?;
        }
        for epoch in self.epochs().await?.into_iter().filter(|epoch| *epoch < keep_manifests_from) {
            let Some(manifest) = self.read_manifest(epoch).await? else { continue };
            if now_ms - manifest.frozen_at_ms < MANIFEST_RETENTION_MS {
                break;
            }
            self.delete(&self.manifest_path(epoch)).await?;
        }
        let segments = self.path("segment");
        let listed: Vec<_> =
            self.store.list(Some(&segments)).try_collect().await.map_err(|e| store_error("list", &segments, e))?;
        for object in listed {
            let name = object.location.filename().unwrap_or_default();
            let written_in: u64 = name.get(..12).and_then(|epoch| epoch.parse().ok()).unwrap_or(u64::MAX);
            if written_in < keep_from && !newest.segments.iter().any(|kept| kept == name) {
                self.delete(&object.location).await?;
            }
        }
        Ok(())
    }

    async fn delete(&self, path: &Path) -> Result<(), StreamError> {
        match self.store.delete(path).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(store_error("delete", path, source)),
        }
    }

    async fn put(&self, path: &Path, bytes: Vec<u8>) -> Result<(), StreamError> {
        self.store.put(path, PutPayload::from(bytes)).await.map_err(|e| store_error("write", path, e))?;
        Ok(())
    }

    async fn get(&self, path: &Path) -> Result<Option<Vec<u8>>, StreamError> {
        let read = async { self.store.get(path).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes.to_vec())),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(store_error("read", path, source)),
        }
    }
}

/// Under fail point `manifest-reply-lost`, a create that has landed looks as if it had failed.
fn lose_reply<T>(put: object_store::Result<T>) -> object_store::Result<T> {
    fail::fail_point!("manifest-reply-lost", |_| {
        Err(Error::Generic { store: "injected", source: "manifest-reply-lost".into() })
    });
    put
}

fn store_error(operation: &'static str, path: &Path, source: Error) -> StreamError {
    StreamError::Store { operation, path: path.to_string(), source }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::manifest::tests::sample;

    fn store() -> ShardStore {
        let shard = ShardId { job: "playback", topic: "playback".into(), partition: 3 };
        ShardStore::new(Arc::new(InMemory::new()), &Path::from("state"), &shard)
    }

    #[tokio::test]
    async fn the_first_manifest_wins_and_its_writer_recognises_it() {
        let store = store();
        assert_eq!(store.create_manifest(&sample(1, "a")).await.unwrap(), Decision::Won);
        assert_eq!(store.create_manifest(&sample(1, "b")).await.unwrap(), Decision::Lost);
        assert_eq!(store.create_manifest(&sample(1, "a")).await.unwrap(), Decision::Won);
        assert_eq!(store.epochs().await.unwrap(), [1]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn of_writers_that_race_one_wins_each_epoch() {
        const WRITERS: usize = 8;
        let store = store();
        for epoch in 1..=50 {
            let start = Arc::new(tokio::sync::Barrier::new(WRITERS));
            let race = (0..WRITERS).map(|writer| {
                let (store, start) = (store.clone(), start.clone());
                tokio::spawn(async move {
                    start.wait().await;
                    store.create_manifest(&sample(epoch, &writer.to_string())).await.unwrap()
                })
            });
            let decisions = futures::future::try_join_all(race).await.unwrap();
            let winner = decisions.iter().position(|decision| *decision == Decision::Won).expect("one wins");
            assert_eq!(decisions.iter().filter(|decision| **decision == Decision::Won).count(), 1, "epoch {epoch}");
            let stored = store.read_manifest(epoch).await.unwrap().expect("it is decided");
            assert_eq!(stored.writer_id, winner.to_string());
        }
    }

    #[tokio::test]
    async fn a_changed_snapshot_is_noticed() {
        let store = store();
        let mut snapshot = store.write_snapshot(1, "a", 1, vec![1, 2, 3]).await.unwrap();
        assert_eq!(store.read_snapshot(&snapshot).await.unwrap(), [1, 2, 3]);
        snapshot.crc32c ^= 1;
        assert!(matches!(store.read_snapshot(&snapshot).await, Err(StreamError::Damaged { .. })));
    }

    #[tokio::test]
    async fn clean_up_keeps_what_recovery_needs() {
        let store = store();
        for epoch in 1..=5 {
            store.write_snapshot(epoch, "a", 1, vec![0]).await.unwrap();
            store.create_manifest(&sample(epoch, "a")).await.unwrap();
        }
        store.clean_up(&sample(5, "a"), 4, 3, MANIFEST_RETENTION_MS + 10).await.unwrap();
        assert_eq!(store.epochs().await.unwrap(), [3, 4, 5]);
        store.clean_up(&sample(5, "a"), 4, 9, MANIFEST_RETENTION_MS + 10).await.unwrap();
        assert_eq!(store.epochs().await.unwrap(), [4, 5]);
        let left: Vec<_> = store.store.list(Some(&store.path("snapshot"))).try_collect().await.unwrap();
        assert_eq!(left.len(), 2);
    }
}
