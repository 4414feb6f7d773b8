//! Starts jobs on every partition of their topics in this process, and stops them gracefully.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use marquee_lake::EpochCommit;
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::runtime::Handle;

use crate::committer::{self, CommitContext};
use crate::progress::ShardProgress;
use crate::shard::Shard;
use crate::write_pool::WritePool;
use crate::{Clock, Job, PartitionLog, RuntimeProgress, ShardId, ShardStore, StreamError};

/// Unencoded rows of all shards together (bytes): a shard that has its share ends its epoch.
const MAX_PENDING_BYTES: usize = 64 << 20;

/// No shard ends an epoch below this, however many there are (bytes).
const MIN_PENDING_BYTES: usize = 2 << 20;

/// How the runtime runs.
#[derive(Debug, Clone)]
pub struct RuntimeSettings {
    /// An epoch ends after this long (ms).
    pub epoch_interval_ms: i64,
    /// Uncommitted deltas are published this often (ms).
    pub live_interval_ms: i64,
    /// Where to; `None` publishes nothing.
    pub live_topic: Option<String>,
    /// Threads that encode and write.
    pub write_threads: usize,
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        Self { epoch_interval_ms: 30_000, live_interval_ms: 1_000, live_topic: None, write_threads: 2 }
    }
}

/// What the runtime stands on.
#[derive(Clone)]
pub struct RuntimeEnv {
    /// The log.
    pub log: Arc<dyn PartitionLog>,
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

/// Jobs at work.
pub struct Runtime {
    stop: Arc<AtomicBool>,
    shards: Vec<JoinHandle<()>>,
    committer: Option<JoinHandle<()>>,
    progress: Arc<RuntimeProgress>,
}

impl Runtime {
    /// Starts each job on every partition of its topic.
    ///
    /// # Errors
    /// When a topic is unknown or a thread cannot be started. Failures of shards come from [`stop`](Self::stop).
    pub fn start(
        env: &RuntimeEnv,
        settings: &RuntimeSettings,
        instances: &[(Arc<dyn Job>, String)],
    ) -> Result<Self, StreamError> {
        let mut ids = Vec::new();
        for (job, topic) in instances {
            let partitions = env
                .log
                .partitions(topic)
                .map_err(|source| StreamError::Log { shard: format!("{}/{topic}", job.name()), source })?;
            for partition in 0..partitions {
                ids.push((job.clone(), ShardId { job: job.name(), topic: topic.clone(), partition }));
            }
        }
        let shard_progress: Vec<_> = ids.iter().map(|(_, id)| Arc::new(ShardProgress::new(id.clone()))).collect();
        let progress = Arc::new(RuntimeProgress::new(shard_progress.clone()));
        let commit = CommitContext { lake: env.lake.clone(), log: env.log.clone(), handle: env.handle.clone() };
        let (sender, committer) = committer::start(commit.clone(), progress.clone())?;
        let pool = Arc::new(WritePool::start(settings.write_threads)?);
        let stop = Arc::new(AtomicBool::new(false));
        let max_pending_bytes = (MAX_PENDING_BYTES / ids.len().max(1)).max(MIN_PENDING_BYTES);
        let mut shards = Vec::new();
        for ((job, id), shard_progress) in ids.into_iter().zip(shard_progress) {
            let shard = Shard {
                store: ShardStore::new(env.store.clone(), &env.state_root, &id),
                job,
                commit: commit.clone(),
                committer: sender.clone(),
                pool: pool.clone(),
                clock: env.clock.clone(),
                settings: settings.clone(),
                max_pending_bytes,
                progress: shard_progress,
                runtime: progress.clone(),
                stop: stop.clone(),
                writer_id: env.writer_id.clone(),
                id,
            };
            let name = format!("shard-{}-{}", shard.id.topic, shard.id.partition);
            let thread = std::thread::Builder::new().name(name).spawn(move || shard.run_guarded());
            shards.push(thread.map_err(|e| StreamError::Thread(e.to_string()))?);
        }
        Ok(Self { stop, shards, committer: Some(committer), progress })
    }

    /// How far the shards are.
    pub fn progress(&self) -> Arc<RuntimeProgress> {
        self.progress.clone()
    }

    /// Blocks until everything that is in the log now is in the lake, a thread has failed or the time is over; whether
    /// it is in the lake.
    ///
    /// # Errors
    /// When the log's end cannot be read.
    pub fn drain(&self, log: &dyn PartitionLog, timeout: Duration) -> Result<bool, StreamError> {
        let mut ends = Vec::new();
        for shard in self.progress.shards() {
            let bounds = log
                .bounds(&shard.shard.topic, shard.shard.partition)
                .map_err(|source| StreamError::Log { shard: shard.shard.to_string(), source })?;
            ends.push(bounds.end);
        }
        let reached = |p: &RuntimeProgress| p.shards().iter().zip(&ends).all(|(s, end)| s.committed_offset() >= *end);
        Ok(self.progress.wait_until(timeout, reached))
    }

    /// Stops reading, writes out everything, waits until it is in the lake.
    ///
    /// # Errors
    /// The first failure of any shard or of the committer, now or before.
    pub fn stop(mut self) -> Result<(), StreamError> {
        self.halt()
    }

    fn halt(&mut self) -> Result<(), StreamError> {
        self.stop.store(true, Ordering::Release);
        for shard in self.shards.drain(..) {
            if shard.join().is_err() {
                self.progress.fail(StreamError::Thread("a shard panicked".to_owned()));
            }
        }
        // With the last shard gone the committer's channel is closed: it ends when all is committed.
        if self.committer.take().is_some_and(|thread| thread.join().is_err()) {
            self.progress.fail(StreamError::Thread("the committer panicked".to_owned()));
        }
        self.progress.take_failure().map_or(Ok(()), Err)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Err(error) = self.halt() {
            tracing::error!(%error, "the runtime stopped with a failure");
        }
    }
}
