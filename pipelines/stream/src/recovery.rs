//! What a shard does before it reads: the newest manifest, its tables rolled forward, its snapshot. Others may do the
//! same at the same time: each table takes an epoch once, and marking one done again changes nothing.

use std::sync::Arc;

use crate::committer::{self, CommitContext, Decided};
use crate::progress::ShardProgress;
use crate::{Manifest, ShardId, ShardStore, StreamError};

/// The newest epoch of a shard.
pub(crate) struct Newest {
    pub(crate) manifest: Manifest,
    pub(crate) snapshot: Vec<u8>,
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
    /// Reads the newest manifest, rolls its tables forward, reads its snapshot; `None` for a shard without epochs.
    pub(crate) async fn run(self) -> Result<Option<Newest>, StreamError> {
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
        if newest.snapshot.version != self.snapshot_version {
            return Err(StreamError::Damaged {
                path: newest.snapshot.path,
                problem: format!(
                    "its version {} is not the {} of this build: stop the old build gracefully and run the migration",
                    newest.snapshot.version, self.snapshot_version
                ),
            });
        }
        let snapshot = match self.store.read_snapshot(&newest.snapshot).await {
            // Whoever decided newer epochs since may have removed it as old: that is no damage.
            Err(StreamError::Damaged { .. }) if self.store.epochs().await?.last() > Some(&newest.epoch) => {
                return Err(StreamError::Fenced { shard: self.id.to_string(), epoch: newest.epoch + 1 });
            }
            read => read?,
        };
        Ok(Some(Newest { manifest: newest, snapshot }))
    }
}
