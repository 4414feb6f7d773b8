//! Epochs of a shard that are made of no records: somebody who is not its owner reads the newest epoch, changes the
//! state, and decides the next epoch by the same create-if-absent as everybody else. So there is one order of all that
//! ever changes a shard, whoever does it. An owner at work loses the epoch that it was about to decide, loads this one
//! and reads on from there; so does another repair.
//!
//! It needs no log and takes no partition: it can be done beside running services, or without any.

use std::sync::Arc;
use std::time::Duration;

use marquee_lake::{EpochCommit, TableSpec};
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::runtime::Handle;

use crate::committer::{Decided, commit_tables};
use crate::drive::Drive;
use crate::epoch_write::EpochWrite;
use crate::fork;
use crate::progress::ShardProgress;
use crate::recovery::Newest;
use crate::shard_store::MANIFEST_RETENTION_MS;
use crate::{Clock, Decision, Frozen, Job, Manifest, Parent, ShardId, ShardIo, ShardStore, StreamError};

/// Between two looks for an owner's epoch.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What a repair stands on.
#[derive(Clone)]
pub struct RepairEnv {
    /// The lake.
    pub lake: Arc<dyn EpochCommit>,
    /// Manifests, snapshots and index segments.
    pub store: Arc<dyn ObjectStore>,
    /// The folder for them.
    pub state_root: Path,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where I/O futures run.
    pub handle: Handle,
    /// Names this process in manifests: unique among all that ever ran on this state.
    pub writer_id: String,
}

/// Repairs of one shard. Its methods wait for I/O: they are for threads that may.
pub struct ShardRepair {
    env: RepairEnv,
    id: ShardId,
    store: ShardStore,
    snapshot_version: u32,
    replay_table: &'static TableSpec,
    progress: Arc<ShardProgress>,
    /// Epochs up to this one are in the lake.
    rolled_to: u64,
    /// As of the newest epoch that was asked for; the parent first.
    ancestors: Vec<(Parent, ShardStore)>,
}

impl ShardRepair {
    /// Repairs of `id`, a shard of `job`.
    pub fn new(env: &RepairEnv, id: ShardId, job: &dyn Job) -> Self {
        Self {
            store: ShardStore::new(env.store.clone(), &env.state_root, &id),
            progress: Arc::new(ShardProgress::new(id.clone())),
            snapshot_version: job.snapshot_version(),
            replay_table: job.replay_table(),
            env: env.clone(),
            id,
            rolled_to: 0,
            ancestors: Vec::new(),
        }
    }

    /// The newest epoch, once the tables have every epoch up to it; `None` for a shard without epochs.
    ///
    /// # Errors
    /// As a recovery.
    pub fn newest(&mut self) -> Result<Option<Newest>, StreamError> {
        loop {
            match self.env.handle.clone().block_on(self.roll_forward()) {
                Err(StreamError::Fenced { .. }) => {} // the epoch is no longer the newest one
                newest => return newest,
            }
        }
    }

    /// As a recovery does, without a log: to publish the records of an epoch and to mark it done is left to its owner.
    async fn roll_forward(&mut self) -> Result<Option<Newest>, StreamError> {
        let epochs = self.store.epochs().await?;
        let done = self.store.done_epoch().await?.max(self.rolled_to);
        let mut newest = None;
        for epoch in epochs.iter().filter(|epoch| **epoch > done || Some(*epoch) == epochs.last()) {
            let Some(manifest) = self.store.read_manifest(*epoch).await? else { continue };
            if *epoch > done {
                commit_tables(self.env.lake.as_ref(), Drive::ToTheEnd, &[self.decided(manifest.clone())]).await?;
                fail::fail_point!("repair-rolled-forward");
            }
            newest = Some(manifest);
        }
        let Some(newest) = newest else { return Ok(None) };
        self.rolled_to = newest.epoch;
        let RepairEnv { store, state_root, .. } = &self.env;
        let folder = |id: &ShardId| ShardStore::new(store.clone(), state_root, id);
        self.ancestors = fork::ancestors(&folder, &self.id, newest.parent).await?;
        Newest::read(&self.id, &self.store, newest, self.snapshot_version).await.map(Some)
    }

    fn decided(&self, manifest: Manifest) -> Decided {
        Decided { shard: self.id.clone(), store: self.store.clone(), manifest, progress: self.progress.clone() }
    }

    /// What the shard has written before.
    pub fn io(&self) -> ShardIo {
        let RepairEnv { lake, handle, clock, .. } = &self.env;
        ShardIo::new(
            self.id.clone(),
            self.store.clone(),
            lake.clone(),
            handle.clone(),
            clock.clone(),
            self.replay_table,
        )
        .after(self.ancestors.iter().map(|(_, store)| store.clone()).collect())
    }

    /// The partitions that hold the records of the shard's sessions, each with its first offset, in order: those of its
    /// ancestors, and its own. As of the newest epoch that was asked for.
    pub fn partitions(&self) -> Vec<(u64, u32)> {
        let mut partitions = vec![(0, self.id.partition)];
        for (parent, _) in &self.ancestors {
            if let Some(first) = partitions.last_mut() {
                first.0 = parent.next_offset;
            }
            partitions.push((0, parent.partition));
        }
        partitions.reverse();
        partitions
    }

    /// Whether the manifest of this epoch is there and will be for the next hour, whatever the shard's state needs. Those of
    /// its ancestors stay for ever.
    ///
    /// # Errors
    /// [`StreamError::Store`] or [`StreamError::Damaged`].
    pub fn keeps_manifest(&self, epoch: u64) -> Result<bool, StreamError> {
        const HOUR_MS: i64 = 60 * 60 * 1000;
        for (_, ancestor) in &self.ancestors {
            if self.env.handle.block_on(ancestor.read_manifest(epoch))?.is_some() {
                return Ok(true);
            }
        }
        let manifest = self.env.handle.block_on(self.store.read_manifest(epoch))?;
        let until_ms = self.env.clock.now_ms().saturating_add(HOUR_MS);
        Ok(manifest.is_some_and(|manifest| until_ms - manifest.frozen_at_ms < MANIFEST_RETENTION_MS))
    }

    /// Makes `frozen` the epoch after `on` and takes it into the lake; [`Decision::Lost`] when another one was decided in
    /// the meantime: nothing has changed then.
    ///
    /// # Errors
    /// As an epoch of a shard. The epoch may be decided although its tables could not be committed: whoever reads the
    /// newest epoch next carries it on.
    pub fn decide(&mut self, on: &Manifest, frozen: Frozen) -> Result<Decision, StreamError> {
        fail::fail_point!("repair-before-write");
        let write = EpochWrite {
            id: self.id.clone(),
            store: self.store.clone(),
            lake: self.env.lake.clone(),
            progress: self.progress.clone(),
            clock: self.env.clock.clone(),
            writer_id: self.env.writer_id.clone(),
            snapshot_version: self.snapshot_version,
            epoch: on.epoch + 1,
            next_offset: on.next_offset,
            records: 0,
            frozen_at_ms: self.env.clock.now_ms(),
            last_epochs: on.last_epochs(),
            parent: on.parent,
        };
        self.env.handle.block_on(async {
            let decided = match write.run(frozen).await {
                Err(StreamError::Fenced { .. }) => return Ok(Decision::Lost),
                decided => decided?,
            };
            let epoch = decided.manifest.epoch;
            commit_tables(self.env.lake.as_ref(), Drive::ToTheEnd, &[decided]).await?;
            self.rolled_to = epoch;
            fail::fail_point!("repair-committed");
            Ok(Decision::Won)
        })
    }

    /// Lets an owner at work decide an epoch after this one: one that lost every time would never get on. Returns after
    /// `patience`, too: there may be nobody, or nothing to do.
    ///
    /// # Errors
    /// [`StreamError::Store`].
    pub fn give_way(&self, epoch: u64, patience: Duration) -> Result<(), StreamError> {
        let until_ms = self.env.clock.now_ms().saturating_add(patience.as_millis() as i64);
        while self.env.handle.block_on(self.store.epochs())?.last() == Some(&epoch) {
            if self.env.clock.now_ms() >= until_ms {
                return Ok(());
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }
}
