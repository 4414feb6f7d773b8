//! One committer a process: groups all decided epochs into one commit per table, publishes, marks done.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::Poll;
use std::time::Duration;

use marquee_lake::{EpochCommit, LakeError, ShardEpoch, TableSpec, tables};
use tokio::runtime::Handle;

use crate::drive::{Drive, Work};
use crate::progress::ShardProgress;
use crate::{
    LogError, Manifest, NewRecord, PartitionLog, RecordHeader, RecordType, Route, RuntimeProgress, ShardId, ShardStore,
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
    pub(crate) drive: Drive,
}

/// Takes the decided epochs of all shards into the lake, group by group.
pub(crate) struct Committer {
    context: CommitContext,
    receiver: Receiver<Decided>,
    progress: Arc<RuntimeProgress>,
    work: Option<Work<Result<(), StreamError>>>,
    failed: bool,
}

impl Committer {
    /// A committer, and where epochs go to reach it.
    pub(crate) fn new(context: CommitContext, progress: Arc<RuntimeProgress>) -> (SyncSender<Decided>, Self) {
        let (sender, receiver) = sync_channel(QUEUE);
        (sender, Self { context, receiver, progress, work: None, failed: false })
    }

    /// Commits until all senders are gone. A panic is a failure like any other.
    pub(crate) fn run_guarded(mut self) {
        let run = std::panic::AssertUnwindSafe(|| {
            while let Ok(first) = self.receiver.recv() {
                self.take(first);
                self.step();
                if self.failed {
                    return; // the channel closes, and shards notice
                }
            }
        });
        if std::panic::catch_unwind(run).is_err() {
            self.progress.fail(StreamError::Thread("the committer panicked".to_owned()));
        }
    }

    /// Carries the commit of a group on; whether there was one.
    pub(crate) fn step(&mut self) -> bool {
        if self.work.is_none()
            && !self.failed
            && let Ok(first) = self.receiver.try_recv()
        {
            self.take(first);
        }
        let Some(work) = &mut self.work else { return false };
        if let Poll::Ready(outcome) = self.context.drive.carry_on(&self.context.handle, work) {
            self.work = None;
            match outcome {
                Ok(()) => self.progress.notify(),
                Err(error) => {
                    self.failed = true;
                    self.progress.fail(error);
                }
            }
        }
        true
    }

    /// Begins with this epoch and whatever else has been decided.
    fn take(&mut self, first: Decided) {
        let mut group = vec![first];
        group.extend(self.receiver.try_iter());
        let context = self.context.clone();
        self.work = Some(Box::pin(async move { commit(&context, &group).await }));
    }
}

/// Steps 5 and 6 of the protocol for a group of epochs; safe to repeat.
pub(crate) async fn commit(context: &CommitContext, group: &[Decided]) -> Result<(), StreamError> {
    commit_tables(context.lake.as_ref(), context.drive, group).await?;
    fail::fail_point!("commit-before-publish");
    for decided in group {
        publish(context, decided).await?;
        fail::fail_point!("commit-before-done");
        decided.store.mark_done(decided.manifest.epoch).await?;
        fail::fail_point!("commit-after-done");
        let progress = &decided.progress;
        // A shard that was fenced may have loaded a newer epoch of another process in the meantime.
        progress.watermark_ms.fetch_max(decided.manifest.watermark_ms.unwrap_or(i64::MIN), Ordering::AcqRel);
        progress.committed_offset.fetch_max(decided.manifest.next_offset, Ordering::AcqRel);
        progress.done_epoch.fetch_max(decided.manifest.epoch, Ordering::AcqRel);
    }
    Ok(())
}

/// Step 5 alone.
pub(crate) async fn commit_tables(lake: &dyn EpochCommit, drive: Drive, group: &[Decided]) -> Result<(), StreamError> {
    fail::fail_point!("commit-before-tables");
    for table in tables::all() {
        let epochs: Vec<ShardEpoch> = group.iter().filter_map(|decided| shard_epoch(decided, table)).collect();
        if !epochs.is_empty() {
            commit_table(lake, drive, table, &epochs, &group[0].shard).await?;
            fail::fail_point!("commit-between-tables");
        }
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

async fn commit_table(
    lake: &dyn EpochCommit,
    drive: Drive,
    table: &'static TableSpec,
    epochs: &[ShardEpoch],
    shard: &ShardId,
) -> Result<(), StreamError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match lake.commit(table, epochs).await {
            Ok(()) => return Ok(()),
            Err(error @ LakeError::Damaged { .. }) => {
                return Err(StreamError::Lake { shard: shard.to_string(), source: error });
            }
            Err(error) if attempt >= COMMIT_ATTEMPTS => {
                return Err(StreamError::Lake { shard: shard.to_string(), source: error });
            }
            Err(error) => {
                tracing::warn!(table = table.name, attempt, %error, "commit failed, trying again");
                drive.pause(Duration::from_millis(100 << attempt)).await;
            }
        }
    }
}

/// At least once; consumers drop what they have seen by the high-water mark of (shard, epoch, index).
async fn publish(context: &CommitContext, decided: &Decided) -> Result<(), StreamError> {
    for record in &decided.manifest.outgoing {
        let header = RecordHeader {
            record_type: RecordType::Job,
            received_at_ms: decided.manifest.frozen_at_ms,
            event_count: 0,
        };
        let new =
            NewRecord { route: Route::Key(record.key.clone().into()), header, payload: record.payload.clone().into() };
        append(context, &decided.shard, &record.topic, &new).await?;
    }
    Ok(())
}

/// A log that is full has room again when others have been served.
async fn append(context: &CommitContext, shard: &ShardId, topic: &str, record: &NewRecord) -> Result<(), StreamError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match context.log.append(topic, vec![record.clone()]).await {
            Ok(_) => return Ok(()),
            Err(LogError::Full { .. }) if attempt < COMMIT_ATTEMPTS => {
                context.drive.pause(Duration::from_millis(100 << attempt)).await;
            }
            Err(source) => {
                return Err(StreamError::Publish { shard: shard.to_string(), topic: topic.to_owned(), source });
            }
        }
    }
}
