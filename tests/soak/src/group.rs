//! Who works on which partitions, as the processes believe: each has its own view, which may be old.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use marquee_stream::{Assignment, LogError, Membership};

/// A group of processes.
#[derive(Debug, Clone, Default)]
pub struct Group(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Whose a partition is to be.
    owners: BTreeMap<(String, u32), usize>,
    views: BTreeMap<usize, View>,
    generation: u64,
}

#[derive(Debug, Default)]
struct View {
    assignment: Assignment,
    released: u64,
}

impl View {
    fn is_released(&self) -> bool {
        self.released == self.assignment.generation
    }
}

impl Group {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new owner for each partition. Nobody knows of it yet.
    pub fn assign(&self, owners: BTreeMap<(String, u32), usize>) {
        self.lock().owners = owners;
    }

    /// A process is gone: it holds nothing, and nobody waits for it.
    pub fn forget(&self, process: usize) {
        self.lock().views.remove(&process);
    }

    /// Tells a process what is its own now. With `after_release` it gets only what nobody else holds any more.
    pub fn tell(&self, process: usize, after_release: bool) {
        let mut state = self.lock();
        let mine = state.owners.iter().filter(|(_, owner)| **owner == process).map(|(partition, _)| partition.clone());
        let held = |partition: &(String, u32)| {
            let others = state.views.iter().filter(|(other, _)| **other != process);
            others.into_iter().any(|(_, view)| view.assignment.partitions.contains(partition) || !view.is_released())
        };
        let had = state.views.get(&process).map(|view| view.assignment.partitions.clone()).unwrap_or_default();
        let partitions: BTreeSet<_> = mine.filter(|p| !after_release || had.contains(p) || !held(p)).collect();
        state.generation += 1;
        let generation = state.generation;
        let view = state.views.entry(process).or_default();
        if view.assignment.generation == 0 || view.assignment.partitions != partitions {
            view.assignment = Assignment { generation, partitions };
        }
    }

    /// Whether every process knows what is its own.
    pub fn is_told(&self) -> bool {
        let state = self.lock();
        state.owners.iter().all(|(partition, owner)| {
            let holds =
                |(process, view): (&usize, &View)| view.assignment.partitions.contains(partition).then_some(*process);
            state.views.iter().filter_map(holds).collect::<Vec<_>>() == [*owner]
        })
    }

    /// What a process asks.
    pub fn membership(&self, process: usize) -> Arc<dyn Membership> {
        Arc::new(Member { group: self.clone(), process })
    }
}

struct Member {
    group: Group,
    process: usize,
}

impl Membership for Member {
    fn assignment(&self) -> Result<Assignment, LogError> {
        Ok(self.group.lock().views.get(&self.process).map(|view| view.assignment.clone()).unwrap_or_default())
    }

    fn wait(&self, generation: u64, _: Duration) -> Result<bool, LogError> {
        Ok(self.assignment()?.generation != generation)
    }

    fn released(&self, generation: u64) {
        if let Some(view) = self.group.lock().views.get_mut(&self.process) {
            view.released = generation;
        }
    }
}
