//! The runtime of one process without threads, clocks or sleeps: whoever holds it says which part goes on next. It runs
//! the code of [`Runtime`](crate::Runtime), so that a simulator can try every order of things, and end a process between
//! any two of them by dropping it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::committer::Committer;
use crate::drive::{Drive, Work};
use crate::roster::{Roster, Running, ShardParts, partitions_of};
use crate::runtime::Everything;
use crate::shard::{ShardTask, Spawn, Step};
use crate::{Job, Membership, RuntimeEnv, RuntimeProgress, RuntimeSettings, StreamError};

/// A part of a process that can go on by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Looks at the assignment.
    Assignment,
    /// A shard, by its place among those of [`RuntimeProgress::shards`].
    Shard(usize),
    /// The write of an epoch, by its age among those under way.
    Write(usize),
    /// Takes decided epochs into the lake.
    Committer,
}

/// A process, step by step. What it does to the log, the lake and the store of its [`RuntimeEnv`] is real; futures of
/// these are polled once a step, so that they decide how many steps they take. Dropping it is a crash.
pub struct SteppedRuntime {
    roster: Roster<ShardTask>,
    writes: Arc<Mutex<Vec<Work<()>>>>,
    committer: Committer,
    committer_is_idle: bool,
    stop: Arc<AtomicBool>,
    progress: Arc<RuntimeProgress>,
}

impl Running for ShardTask {
    fn is_gone(&self) -> bool {
        ShardTask::is_gone(self)
    }
}

impl SteppedRuntime {
    /// A process with these jobs on the partitions that are assigned to it, or on all. Nothing runs before the first
    /// step. The handle of `env` is only used for futures that are ready when they are polled.
    ///
    /// # Errors
    /// When a topic is unknown.
    pub fn new(
        env: &RuntimeEnv,
        settings: &RuntimeSettings,
        instances: &[(Arc<dyn Job>, String)],
        membership: Option<Arc<dyn Membership>>,
    ) -> Result<Self, StreamError> {
        let partitions = partitions_of(env, instances)?;
        let membership = membership.unwrap_or_else(|| Arc::new(Everything::of(&partitions)));
        let writes: Arc<Mutex<Vec<Work<()>>>> = Arc::default();
        let queue = writes.clone();
        let spawn: Spawn = Arc::new(move |write| {
            queue.lock().unwrap_or_else(PoisonError::into_inner).push(write);
            Ok(())
        });
        let (parts, committer) = ShardParts::new(env, settings, instances, partitions, Drive::StepByStep, spawn);
        let (progress, stop) = (parts.progress.clone(), parts.stop.clone());
        let roster = Roster::new(parts, membership);
        Ok(Self { roster, writes, committer, committer_is_idle: true, stop, progress })
    }

    /// What can go on now.
    pub fn units(&mut self) -> Vec<Unit> {
        let shards = self.roster.running().enumerate().filter(|(_, task)| !task.is_gone());
        let mut units: Vec<Unit> = shards.map(|(index, _)| Unit::Shard(index)).collect();
        let writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner).len();
        units.extend((0..writes).map(Unit::Write));
        units.push(Unit::Committer);
        if !self.stop.load(Ordering::Acquire) {
            units.push(Unit::Assignment);
        }
        units
    }

    /// Lets one part go on; whether it found anything to do.
    pub fn step(&mut self, unit: Unit) -> bool {
        match unit {
            Unit::Assignment => self.follow(),
            Unit::Shard(index) => self.roster.running().nth(index).is_some_and(|task| task.step() == Step::Worked),
            Unit::Write(index) => self.step_write(index),
            Unit::Committer => {
                let worked = self.committer.step();
                self.committer_is_idle = !worked;
                worked
            }
        }
    }

    fn follow(&mut self) -> bool {
        let before = self.roster.stage();
        match self.roster.follow(|shard| Ok(ShardTask::new(shard))) {
            Ok(_) => self.roster.stage() != before,
            Err(error) => {
                self.progress.fail(error);
                true
            }
        }
    }

    fn step_write(&mut self, index: usize) -> bool {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        if index >= writes.len() {
            return false;
        }
        if writes[index].as_mut().poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(()) {
            drop(writes.remove(index));
        }
        true
    }

    /// Tells it to write everything out and to end; step on until [`is_stopped`](Self::is_stopped).
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Whether everything has ended and is in the lake.
    pub fn is_stopped(&mut self) -> bool {
        let writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        self.roster.running().all(|task| task.is_gone()) && writes && self.committer_is_idle && !self.committer.step()
    }

    /// How far the shards are.
    pub fn progress(&self) -> Arc<RuntimeProgress> {
        self.progress.clone()
    }

    /// Why a part has stopped, once.
    pub fn take_failure(&self) -> Option<StreamError> {
        self.progress.take_failure()
    }
}
