//! How a shard begins, when its topic may have grown: at its own newest epoch; at nothing; or at the last state of its
//! parent, once that has read all of its partition. And how a shard ends: with an epoch of no rows that names its heirs.
//!
//! The one thing to know before changing it: an heir begins only after the parent's last epoch is decided, by the
//! create-if-absent that decides every epoch. Whoever still works on the parent (a zombie, a recompute) loses the next
//! epoch to it, loads it, and ends for good. So nothing that the heirs did not inherit is ever decided behind them.

use std::sync::Arc;

use crate::committer::CommitContext;
use crate::progress::ShardProgress;
use crate::recovery::{Newest, Recovery};
use crate::{Clock, Decision, Generations, Manifest, Parent, ShardId, ShardStore, StreamError, TableEpoch};

/// What a shard begins with.
#[derive(Debug)]
pub(crate) enum Start {
    /// No epochs: its partition is read from the beginning.
    Empty,
    /// Its newest epoch.
    Own(Newest),
    /// Its parent's last epoch.
    Inherited(Newest, Parent),
    /// The parent has not read all of its partition yet.
    TooEarly,
    /// The shard has ended, with this epoch; without one, nothing was ever in its partition.
    Ended(Option<Manifest>),
}

/// The I/O of a beginning.
pub(crate) struct Beginning {
    pub(crate) recovery: Recovery,
    /// The folder of a shard of the same job and topic.
    pub(crate) folder: Arc<dyn Fn(&ShardId) -> ShardStore + Send + Sync>,
    pub(crate) generations: Generations,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) writer_id: String,
}

impl Beginning {
    /// What the shard begins with, and the folders of its ancestors, its parent's first.
    pub(crate) async fn run(self) -> Result<(Start, Vec<ShardStore>), StreamError> {
        let Recovery { id, store, snapshot_version, .. } = &self.recovery;
        let heirs = self.generations.heirs(id.partition);
        let Some(mut newest) = self.recovery.roll_forward().await? else {
            let is_over = !heirs.is_empty() && end_of(id, &self.recovery.commit)? == 0;
            return match self.generations.parent(id.partition) {
                _ if is_over => Ok((Start::Ended(None), Vec::new())),
                Some(parent) => self.inherit(parent).await,
                None => Ok((Start::Empty, Vec::new())),
            };
        };
        if !heirs.is_empty()
            && !newest.is_last()
            && let Some(last) = end(&self.recovery, &newest, heirs, self.clock.as_ref(), &self.writer_id).await?
        {
            newest = last;
        }
        if newest.is_last() {
            return Ok((Start::Ended(Some(newest)), Vec::new()));
        }
        let ancestors = stores_of(ancestors(&*self.folder, id, newest.parent).await?);
        let newest = Newest::read(id, store, newest, *snapshot_version).await?;
        Ok((Start::Own(newest), ancestors))
    }

    /// Begins where the parent ends, and ends it if nobody has yet.
    async fn inherit(&self, parent: u32) -> Result<(Start, Vec<ShardStore>), StreamError> {
        let Recovery { id, commit, snapshot_version, .. } = &self.recovery;
        let parent_id = ShardId { partition: parent, ..id.clone() };
        let parent = self.recovery_of(&parent_id, commit);
        let end_of_log = end_of(&parent_id, commit)?;
        let Some(newest) = parent.roll_forward().await? else {
            // Nothing was ever in it, or it has to be read first, or to inherit itself.
            let start = if end_of_log == 0 { Start::Empty } else { Start::TooEarly };
            return Ok((start, Vec::new()));
        };
        let heirs = self.generations.heirs(parent_id.partition);
        let last = if newest.is_last() {
            newest
        } else {
            match end(&parent, &newest, heirs, self.clock.as_ref(), &self.writer_id).await? {
                Some(last) => last,
                None => return Ok((Start::TooEarly, Vec::new())),
            }
        };
        check_end(&parent_id, &last, end_of_log)?;
        let keys = self.generations.keys(id.partition).filter(|_| last.heirs.contains(&id.partition));
        let (number, count) = keys.ok_or_else(|| StreamError::Damaged {
            path: format!("the last manifest of shard {parent_id}"),
            problem: format!("partition {} is none of its heirs", id.partition),
        })?;
        let Manifest { partition, epoch, next_offset, .. } = last;
        let fork = Parent { partition, epoch, next_offset, number, count };
        let stores = stores_of(ancestors(&*self.folder, id, Some(fork)).await?);
        let newest = Newest::read(&parent_id, &parent.store, last, *snapshot_version).await?;
        Ok((Start::Inherited(newest, fork), stores))
    }

    fn recovery_of(&self, id: &ShardId, commit: &CommitContext) -> Recovery {
        Recovery {
            id: id.clone(),
            store: (self.folder)(id),
            commit: commit.clone(),
            progress: Arc::new(ShardProgress::new(id.clone())),
            snapshot_version: self.recovery.snapshot_version,
        }
    }
}

fn stores_of(ancestors: Vec<(Parent, ShardStore)>) -> Vec<ShardStore> {
    ancestors.into_iter().map(|(_, store)| store).collect()
}

/// A shard's ancestors and their folders, its parent first.
pub(crate) async fn ancestors(
    folder: &(dyn Fn(&ShardId) -> ShardStore + Send + Sync),
    id: &ShardId,
    mut parent: Option<Parent>,
) -> Result<Vec<(Parent, ShardStore)>, StreamError> {
    let mut ancestors = Vec::new();
    while let Some(next @ Parent { partition, epoch, .. }) = parent {
        let store = folder(&ShardId { partition, ..id.clone() });
        let last = store.read_manifest(epoch).await?.ok_or_else(|| StreamError::Damaged {
            path: format!("{}/{}/{partition} epoch {epoch}", id.job, id.topic),
            problem: format!("its manifest is missing, and shard {id} goes on from it"),
        })?;
        parent = last.parent;
        ancestors.push((next, store));
    }
    Ok(ancestors)
}

/// The end of a shard's partition in the log.
fn end_of(id: &ShardId, commit: &CommitContext) -> Result<u64, StreamError> {
    let bounds = commit.log.bounds(&id.topic, id.partition);
    Ok(bounds.map_err(|source| StreamError::Log { shard: id.to_string(), source })?.end)
}

/// A partition that has ended, ends where its shard has.
fn check_end(id: &ShardId, last: &Manifest, end: u64) -> Result<(), StreamError> {
    if last.next_offset == end {
        return Ok(());
    }
    Err(StreamError::Damaged {
        path: format!("partition {}/{} of the log", id.topic, id.partition),
        problem: format!("it ends at offset {end}, and its shard has ended at {}", last.next_offset),
    })
}

/// Decides the last epoch of a shard whose partition has ended; `None` when it has not read all of it, or when somebody
/// else has decided another epoch in the meantime.
async fn end(
    shard: &Recovery,
    newest: &Manifest,
    heirs: Vec<u32>,
    clock: &dyn Clock,
    writer_id: &str,
) -> Result<Option<Manifest>, StreamError> {
    if newest.next_offset != end_of(&shard.id, &shard.commit)? {
        return Ok(None);
    }
    let tables = newest.last_epochs().into_iter();
    let last = Manifest {
        epoch: newest.epoch + 1,
        writer_id: writer_id.to_owned(),
        tables: tables.map(|(name, epoch)| (name, TableEpoch { files: Vec::new(), prev: Some(epoch) })).collect(),
        outgoing: Vec::new(),
        frozen_at_ms: clock.now_ms(),
        heirs,
        ..newest.clone()
    };
    fail::fail_point!("fork-before-end");
    if shard.store.create_manifest(&last).await? == Decision::Lost {
        return Ok(None);
    }
    fail::fail_point!("fork-after-end");
    shard.store.mark_done(last.epoch).await?;
    tracing::info!(shard = %shard.id, epoch = last.epoch, heirs = ?last.heirs, "the shard has ended");
    Ok(Some(last))
}
