//! What a shard does before it reads: the newest manifest, its tables rolled forward, its snapshot. Others may do the
//! same at the same time: each table takes an epoch once, and marking one done again changes nothing.

use std::sync::Arc;

use crate::committer::{self, CommitContext, Decided};
use crate::progress::ShardProgress;
use crate::{Manifest, ShardId, ShardStore, StreamError};

/// The newest epoch of a shard.
#[derive(Debug)]
pub struct Newest {
    /// What it consists of.
    pub manifest: Manifest,
    /// The state after it.
    pub snapshot: Vec<u8>,
}

/// The I/O of a recovery.
pub(crate) struct Recovery {
    pub(crate) id: ShardId,
    pub(crate) store: ShardStore,
    pub(crate) commit: CommitContext,
    pub(crate) progress: Arc<ShardProgress>,
    pub(crate) snapshot_version: u32,
}

impl Recovery {
    /// Reads the newest manifest and rolls its tables forward; `None` for a shard without epochs.
    pub(crate) async fn roll_forward(&self) -> Result<Option<Manifest>, StreamError> {
        fail::fail_point!("recovery-start");
        let epochs = self.store.epochs().await?;
        let newest = match epochs.last() {
            Some(epoch) => self.store.read_manifest(*epoch).await?,
            None => None,
        };
        let Some(newest) = newest else { return Ok(None) };
        let done = self.store.done_epoch().await?;
        for epoch in epochs.iter().filter(|epoch| **epoch > done) {
            let Some(manifest) = self.store.read_manifest(*epoch).await? else { continue };
            let decided = Decided {
                shard: self.id.clone(),
                store: self.store.clone(),
                manifest,
                progress: self.progress.clone(),
            };
            committer::commit(&self.commit, &[decided]).await?;
            fail::fail_point!("recovery-rolled-forward");
        }
        Ok(Some(newest))
    }
}

impl Newest {
    /// The newest epoch with its snapshot, if a build with this version of snapshots can read it.
    pub(crate) async fn read(
        id: &ShardId,
        store: &ShardStore,
        manifest: Manifest,
        snapshot_version: u32,
    ) -> Result<Self, StreamError> {
        if manifest.snapshot.version != snapshot_version {
            return Err(StreamError::Damaged {
                path: manifest.snapshot.path,
                problem: format!(
                    "its version {} is not the {snapshot_version} of this build: stop the old build gracefully and run the \
                     migration",
                    manifest.snapshot.version
                ),
            });
        }
        let snapshot = store.read_snapshot(&manifest.snapshot).await;
        let snapshot = unless_overtaken(id, store, &manifest, snapshot).await?;
        Ok(Self { manifest, snapshot })
    }
}

/// What was read of an epoch's state: [`StreamError::Fenced`] when it is gone because there are newer epochs.
pub(crate) async fn unless_overtaken<T>(
    id: &ShardId,
    store: &ShardStore,
    manifest: &Manifest,
    read: Result<T, StreamError>,
) -> Result<T, StreamError> {
    match read {
        Err(StreamError::Damaged { .. }) if store.epochs().await?.last() > Some(&manifest.epoch) => {
            Err(StreamError::Fenced { shard: id.to_string(), epoch: manifest.epoch + 1 })
        }
        read => read,
    }
}
