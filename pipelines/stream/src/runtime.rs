//! Starts jobs on the partitions of this process, all of them or those that a [`Membership`] assigns to it, and stops
//! them gracefully.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use marquee_lake::EpochCommit;
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::runtime::Handle;

use crate::drive::Drive;
use crate::roster::{Roster, Running, ShardParts, partitions_of};
use crate::shard::{Shard, ShardTask, Spawn};
use crate::write_pool::WritePool;
use crate::{Assignment, Clock, Job, LogError, Membership, PartitionLog, RuntimeProgress, StreamError};

/// How long a change of the assignment is waited for before the runtime looks whether it is to stop.
const ASSIGNMENT_WAIT: Duration = Duration::from_millis(200);

/// How often shards that are to end are looked at.
const RELEASE_WAIT: Duration = Duration::from_millis(10);

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
    shards: Option<Shards>,
    committer: Option<JoinHandle<()>>,
    progress: Arc<RuntimeProgress>,
}

enum Shards {
    /// All partitions, for good.
    Fixed(Box<Roster<JoinHandle<()>>>),
    /// A thread follows the assignment.
    Shared(JoinHandle<Roster<JoinHandle<()>>>),
}

impl Running for JoinHandle<()> {
    fn is_gone(&self) -> bool {
        self.is_finished()
    }
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
        let everything = Everything::of(&partitions_of(env, instances)?);
        Self::start_with(env, settings, instances, Arc::new(everything), false)
    }

    /// Starts each job on those partitions of its topic that are assigned to this process, now and later: a partition
    /// that is taken away is handed over at the end of an epoch, one that comes is taken up where its newest manifest
    /// ends.
    ///
    /// # Errors
    /// As [`start`](Self::start), and when the assignment cannot be read.
    pub fn start_shared(
        env: &RuntimeEnv,
        settings: &RuntimeSettings,
        instances: &[(Arc<dyn Job>, String)],
        membership: Arc<dyn Membership>,
    ) -> Result<Self, StreamError> {
        Self::start_with(env, settings, instances, membership, true)
    }

    fn start_with(
        env: &RuntimeEnv,
        settings: &RuntimeSettings,
        instances: &[(Arc<dyn Job>, String)],
        membership: Arc<dyn Membership>,
        is_shared: bool,
    ) -> Result<Self, StreamError> {
        let (pool, handle) = (WritePool::start(settings.write_threads)?, env.handle.clone());
        let spawn: Spawn = Arc::new(move |write| {
            let handle = handle.clone();
            pool.run(move || handle.block_on(write))
        });
        let partitions = partitions_of(env, instances)?;
        let (parts, committer) = ShardParts::new(env, settings, instances, partitions, Drive::ToTheEnd, spawn);
        let (progress, stop) = (parts.progress.clone(), parts.stop.clone());
        let committer = spawn_thread("committer", move || committer.run_guarded())?;
        let mut roster = Roster::new(parts, membership.clone());
        let mut runtime = Self { stop: stop.clone(), shards: None, committer: Some(committer), progress };
        let followed = roster.follow(start_thread);
        let shards = if is_shared && followed.is_ok() {
            let progress = runtime.progress.clone();
            let follow = move || follow(roster, membership.as_ref(), &stop, &progress);
            Shards::Shared(spawn_thread("assignment", follow)?)
        } else {
            Shards::Fixed(Box::new(roster))
        };
        runtime.shards = Some(shards);
        followed?; // what was started is stopped when `runtime` is dropped
        Ok(runtime)
    }

    /// How far the shards are.
    pub fn progress(&self) -> Arc<RuntimeProgress> {
        self.progress.clone()
    }

    /// Blocks until everything that is in the log now is in the lake, a thread has failed or the time is over; whether
    /// it is in the lake. Of a topic that several processes share, this looks at the partitions of this process: at
    /// first, as soon as they are known, and at those that come and go in the meantime.
    ///
    /// # Errors
    /// When the log's end cannot be read.
    pub fn drain(&self, log: &dyn PartitionLog, timeout: Duration) -> Result<bool, StreamError> {
        let ends = self.progress.log_ends(log);
        let ends = ends.map_err(|source| StreamError::Log { shard: "(all)".to_owned(), source })?;
        Ok(self.progress.wait_until(timeout, |progress| progress.has_committed(&ends)))
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
        let roster = match self.shards.take() {
            None => None,
            Some(Shards::Fixed(roster)) => Some(*roster),
            Some(Shards::Shared(thread)) => thread.join().ok(),
        };
        if let Some(roster) = roster {
            roster.close(|shard| {
                if shard.join().is_err() {
                    self.progress.fail(StreamError::Thread("a shard panicked".to_owned()));
                }
            });
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

/// Follows the assignment until the runtime stops.
fn follow(
    mut roster: Roster<JoinHandle<()>>,
    membership: &dyn Membership,
    stop: &AtomicBool,
    progress: &RuntimeProgress,
) -> Roster<JoinHandle<()>> {
    let guarded = std::panic::AssertUnwindSafe(|| {
        while !stop.load(Ordering::Acquire) && !progress.has_failed() {
            let generation = membership.assignment().map(|assignment| assignment.generation);
            let followed = roster.follow(start_thread).and_then(|is_settled| {
                if !is_settled {
                    std::thread::sleep(RELEASE_WAIT);
                    return Ok(());
                }
                let waited = generation.and_then(|generation| membership.wait(generation, ASSIGNMENT_WAIT));
                waited.map(|_| ()).map_err(|source| StreamError::Membership { source })
            });
            if let Err(error) = followed {
                progress.fail(error);
            }
        }
    });
    if std::panic::catch_unwind(guarded).is_err() {
        progress.fail(StreamError::Thread("the one that follows the assignment panicked".to_owned()));
    }
    roster
}

fn start_thread(shard: Shard) -> Result<JoinHandle<()>, StreamError> {
    let name = format!("shard-{}-{}", shard.id.topic, shard.id.partition);
    spawn_thread(&name, move || ShardTask::new(shard).run_guarded())
}

fn spawn_thread<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, StreamError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(|e| StreamError::Thread(e.to_string()))
}

/// One process for all partitions.
pub(crate) struct Everything(Assignment);

impl Everything {
    pub(crate) fn of(topics: &BTreeMap<String, u32>) -> Self {
        let of_topic = |(topic, count): (&String, &u32)| {
            let topic = topic.clone();
            (0..*count).map(move |partition| (topic.clone(), partition))
        };
        Self(Assignment { generation: 1, partitions: topics.iter().flat_map(of_topic).collect() })
    }
}

impl Membership for Everything {
    fn assignment(&self) -> Result<Assignment, LogError> {
        Ok(self.0.clone())
    }

    fn wait(&self, generation: u64, timeout: Duration) -> Result<bool, LogError> {
        if generation == self.0.generation {
            std::thread::sleep(timeout);
        }
        Ok(generation != self.0.generation)
    }

    fn released(&self, _: u64) {}
}
