//! Which shards are at work in this process: those of the partitions that are assigned to it. Used by the threads of the
//! runtime and by the simulator alike.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;

use object_store::ObjectStore;
use object_store::path::Path;

use crate::committer::{CommitContext, Committer, Decided};
use crate::drive::Drive;
use crate::progress::ShardProgress;
use crate::shard::{Shard, Spawn};
use crate::{Clock, Job, Membership, RuntimeEnv, RuntimeProgress, RuntimeSettings, ShardId, ShardStore, StreamError};

/// Unencoded rows of all shards together (bytes): a shard that has its share ends its epoch.
const MAX_PENDING_BYTES: usize = 64 << 20;

/// No shard ends an epoch below this, however many there are (bytes).
const MIN_PENDING_BYTES: usize = 2 << 20;

/// A shard that somebody carries on.
pub(crate) trait Running {
    /// Whether it has ended.
    fn is_gone(&self) -> bool;
}

/// What every shard of the process is made of.
pub(crate) struct ShardParts {
    pub(crate) instances: Vec<(Arc<dyn Job>, String)>,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) state_root: Path,
    pub(crate) commit: CommitContext,
    pub(crate) committer: SyncSender<Decided>,
    pub(crate) spawn: Spawn,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: RuntimeSettings,
    pub(crate) progress: Arc<RuntimeProgress>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) writer_id: String,
}

impl ShardParts {
    /// The parts, and the committer of what their shards decide.
    pub(crate) fn new(
        env: &RuntimeEnv,
        settings: &RuntimeSettings,
        instances: &[(Arc<dyn Job>, String)],
        partitions: BTreeMap<String, u32>,
        drive: Drive,
        spawn: Spawn,
    ) -> (Self, Committer) {
        let commit = CommitContext { lake: env.lake.clone(), log: env.log.clone(), handle: env.handle.clone(), drive };
        let progress = Arc::new(RuntimeProgress::new(partitions));
        let (sender, committer) = Committer::new(commit.clone(), progress.clone());
        let parts = Self {
            instances: instances.to_vec(),
            store: env.store.clone(),
            state_root: env.state_root.clone(),
            commit,
            committer: sender,
            spawn,
            clock: env.clock.clone(),
            settings: settings.clone(),
            progress,
            stop: Arc::default(),
            writer_id: env.writer_id.clone(),
        };
        (parts, committer)
    }
}

/// The topics of these jobs and their partitions.
pub(crate) fn partitions_of(
    env: &RuntimeEnv,
    instances: &[(Arc<dyn Job>, String)],
) -> Result<BTreeMap<String, u32>, StreamError> {
    let count = |(job, topic): &(Arc<dyn Job>, String)| {
        let count = env.log.partitions(topic);
        let count = count.map_err(|source| StreamError::Log { shard: format!("{}/{topic}", job.name()), source })?;
        Ok((topic.clone(), count))
    };
    instances.iter().map(count).collect()
}

struct Member<R> {
    id: ShardId,
    revoked: Arc<AtomicBool>,
    progress: Arc<ShardProgress>,
    running: R,
}

/// The shards of this process.
pub(crate) struct Roster<R> {
    parts: ShardParts,
    membership: Arc<dyn Membership>,
    members: Vec<Member<R>>,
    max_pending_bytes: Arc<AtomicUsize>,
    /// The generation whose predecessors' partitions are all given back.
    released: u64,
    /// Shards that were ever started here: it tells their lives apart.
    started: u64,
}

impl<R: Running> Roster<R> {
    pub(crate) fn new(parts: ShardParts, membership: Arc<dyn Membership>) -> Self {
        let max_pending_bytes = Arc::new(AtomicUsize::new(MAX_PENDING_BYTES));
        Self { parts, membership, members: Vec::new(), max_pending_bytes, released: 0, started: 0 }
    }

    /// Starts the shards of partitions that are new, tells those that were taken away to end, forgets those that have
    /// ended, and says so to the others. Whether nothing of it is left to do.
    pub(crate) fn follow(
        &mut self,
        mut start: impl FnMut(Shard) -> Result<R, StreamError>,
    ) -> Result<bool, StreamError> {
        let assignment = self.membership.assignment().map_err(|source| StreamError::Membership { source })?;
        if assignment.generation == 0 {
            return Ok(true);
        }
        self.members.retain(|member| {
            let is_mine = assignment.partitions.contains(&(member.id.topic.clone(), member.id.partition));
            if !is_mine && !member.revoked.swap(true, Ordering::AcqRel) {
                tracing::info!(shard = %member.id, generation = assignment.generation, "the partition was taken away");
            }
            // One that came back while its shard was ending: that shard first goes, the next look starts another.
            let is_over = member.running.is_gone() && member.revoked.load(Ordering::Acquire);
            !is_over
        });
        let mut wanted = Vec::new();
        for (job, topic) in &self.parts.instances {
            let of_topic = assignment.partitions.iter().filter(|(assigned, _)| assigned == topic);
            for (_, partition) in of_topic {
                wanted.push((job.clone(), ShardId { job: job.name(), topic: topic.clone(), partition: *partition }));
            }
        }
        let share = (MAX_PENDING_BYTES / wanted.len().max(1)).max(MIN_PENDING_BYTES);
        self.max_pending_bytes.store(share, Ordering::Relaxed);
        for (job, id) in wanted {
            if !self.members.iter().any(|member| member.id == id) {
                self.start(job, id, &mut start)?;
            }
        }
        self.parts.progress.set_shards(self.members.iter().map(|member| member.progress.clone()).collect());
        let is_settled = self.members.iter().all(|member| !member.revoked.load(Ordering::Acquire));
        if is_settled {
            self.parts.progress.set_assigned();
            if self.released != assignment.generation {
                self.released = assignment.generation;
                self.membership.released(assignment.generation);
            }
        }
        Ok(is_settled)
    }

    fn start(
        &mut self,
        job: Arc<dyn Job>,
        id: ShardId,
        start: &mut impl FnMut(Shard) -> Result<R, StreamError>,
    ) -> Result<(), StreamError> {
        let parts = &self.parts;
        let (revoked, progress) = (Arc::new(AtomicBool::new(false)), Arc::new(ShardProgress::new(id.clone())));
        self.started += 1;
        let generations = parts.commit.log.generations(&id.topic);
        let generations = generations.map_err(|source| StreamError::Log { shard: id.to_string(), source })?;
        let (objects, state_root, drive) = (parts.store.clone(), parts.state_root.clone(), parts.commit.drive);
        let folder = Arc::new(move |id: &ShardId| ShardStore::new(objects.clone(), &state_root, id).driven(drive));
        let shard = Shard {
            store: folder(&id),
            folder,
            generations,
            job,
            commit: parts.commit.clone(),
            committer: parts.committer.clone(),
            spawn: parts.spawn.clone(),
            clock: parts.clock.clone(),
            settings: parts.settings.clone(),
            max_pending_bytes: self.max_pending_bytes.clone(),
            progress: progress.clone(),
            runtime: parts.progress.clone(),
            stop: parts.stop.clone(),
            revoked: revoked.clone(),
            writer_id: format!("{}-{}", parts.writer_id, self.started),
            id: id.clone(),
        };
        self.members.push(Member { id, revoked, progress, running: start(shard)? });
        Ok(())
    }

    /// Changes whenever [`follow`](Self::follow) has done something: shards ever started, shards at work, those of them
    /// that are to end, the generation whose predecessors' partitions are given back.
    pub(crate) fn stage(&self) -> (u64, usize, usize, u64) {
        let ending = self.members.iter().filter(|member| member.revoked.load(Ordering::Acquire)).count();
        (self.started, self.members.len(), ending, self.released)
    }

    /// Those who carry the shards on.
    pub(crate) fn running(&mut self) -> impl Iterator<Item = &mut R> {
        self.members.iter_mut().map(|member| &mut member.running)
    }

    /// Ends the roster: all shards, by `join`, and then nothing keeps the new owners of their partitions waiting.
    pub(crate) fn close(self, join: impl FnMut(R)) {
        self.members.into_iter().map(|member| member.running).for_each(join);
        if let Ok(assignment) = self.membership.assignment()
            && assignment.generation != self.released
        {
            self.membership.released(assignment.generation);
        }
    }
}
