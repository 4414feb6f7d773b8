//! One committer a process: groups all decided epochs into one commit per table, publishes, marks done.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use marquee_lake::{EpochCommit, LakeError, ShardEpoch, TableSpec, tables};
use tokio::runtime::Handle;

use crate::progress::ShardProgress;
use crate::{
    Manifest, NewRecord, PartitionLog, RecordHeader, RecordType, Route, RuntimeProgress, ShardId, ShardStore,
    StreamError,
};

/// Decided epochs that may wait; shards wait when there are more, so that a slow lake slows reading, not memory.
const QUEUE: usize = 256;

/// How often a commit that found the lake unavailable is tried, with growing pauses: about six seconds. Then the
/// process halts loudly; whoever restarts it finds the epochs and rolls them forward.
const COMMIT_ATTEMPTS: u32 = 6;

/// An epoch whose manifest exists.
pub(crate) struct Decided {
    pub(crate) shard: ShardId,
    pub(crate) store: ShardStore,
    pub(crate) manifest: Manifest,
    pub(crate) progress: Arc<ShardProgress>,
}

/// What commits: shared by the committer's thread and by recovery.
#[derive(Clone)]
pub(crate) struct CommitContext {
    pub(crate) lake: Arc<dyn EpochCommit>,
    pub(crate) log: Arc<dyn PartitionLog>,
    pub(crate) handle: Handle,
}

pub(crate) fn start(
    context: CommitContext,
    progress: Arc<RuntimeProgress>,
) -> Result<(SyncSender<Decided>, JoinHandle<()>), StreamError> {
    let (sender, receiver) = sync_channel(QUEUE);
    let thread = std::thread::Builder::new()
        .name("committer".to_owned())
        .spawn(move || {
            let run = std::panic::AssertUnwindSafe(|| run(&context, &receiver, &progress));
            if std::panic::catch_unwind(run).is_err() {
                progress.fail(StreamError::Thread("the committer panicked".to_owned()));
            }
        })
        .map_err(|e| StreamError::Thread(e.to_string()))?;
    Ok((sender, thread))
}

fn run(context: &CommitContext, receiver: &Receiver<Decided>, progress: &RuntimeProgress) {
    while let Ok(first) = receiver.recv() {
        let mut group = vec![first];
        group.extend(receiver.try_iter());
        if let Err(error) = commit(context, &group) {
            progress.fail(error);
            return;
        }
        progress.notify();
    }
}

/// Steps 5 and 6 of the protocol for a group of epochs; safe to repeat.
pub(crate) fn commit(context: &CommitContext, group: &[Decided]) -> Result<(), StreamError> {
    fail::fail_point!("commit-before-tables");
    for table in tables::all() {
        let epochs: Vec<ShardEpoch> = group.iter().filter_map(|decided| shard_epoch(decided, table)).collect();
        if !epochs.is_empty() {
            commit_table(context, table, &epochs, &group[0].shard)?;
            fail::fail_point!("commit-between-tables");
        }
    }
    fail::fail_point!("commit-before-publish");
    for decided in group {
        publish(context, decided)?;
        fail::fail_point!("commit-before-done");
        context.handle.block_on(decided.store.mark_done(decided.manifest.epoch))?;
        fail::fail_point!("commit-after-done");
        let progress = &decided.progress;
        progress.watermark_ms.store(decided.manifest.watermark_ms.unwrap_or(i64::MIN), Ordering::Release);
        progress.committed_offset.store(decided.manifest.next_offset, Ordering::Release);
        progress.done_epoch.store(decided.manifest.epoch, Ordering::Release);
    }
    Ok(())
}

fn shard_epoch(decided: &Decided, table: &TableSpec) -> Option<ShardEpoch> {
    let entry = decided.manifest.tables.get(table.name).filter(|entry| !entry.files.is_empty())?;
    Some(ShardEpoch {
        shard: decided.shard.to_string(),
        epoch: decided.manifest.epoch,
        prev: entry.prev,
        files: entry.files.clone(),
    })
}

fn commit_table(
    context: &CommitContext,
    table: &'static TableSpec,
    epochs: &[ShardEpoch],
    shard: &ShardId,
) -> Result<(), StreamError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match context.handle.block_on(context.lake.commit(table, epochs)) {
            Ok(()) => return Ok(()),
            Err(error @ LakeError::Damaged { .. }) => {
                return Err(StreamError::Lake { shard: shard.to_string(), source: error });
            }
            Err(error) if attempt >= COMMIT_ATTEMPTS => {
                return Err(StreamError::Lake { shard: shard.to_string(), source: error });
            }
            Err(error) => {
                tracing::warn!(table = table.name, attempt, %error, "commit failed, trying again");
                std::thread::sleep(Duration::from_millis(100 << attempt));
            }
        }
    }
}

/// At least once; consumers drop what they have seen by the high-water mark of (shard, epoch, index).
fn publish(context: &CommitContext, decided: &Decided) -> Result<(), StreamError> {
    for record in &decided.manifest.outgoing {
        let header = RecordHeader {
            record_type: RecordType::Job,
            received_at_ms: decided.manifest.frozen_at_ms,
            event_count: 0,
        };
        let new =
            NewRecord { route: Route::Key(record.key.clone().into()), header, payload: record.payload.clone().into() };
        let appended = context.handle.block_on(context.log.append(&record.topic, vec![new]));
        appended.map_err(|source| StreamError::Log { shard: decided.shard.to_string(), source })?;
    }
    Ok(())
}
