//! Somebody who runs `marquee lake recompute` beside the owners, in steps: owners and other recomputes decide epochs, and
//! power fails, between asking the lake, looking for the newest epoch, folding on it and deciding the next one.

use std::sync::Arc;

use marquee_jobs::playback::{LateBatch, LateSession, Left};
use marquee_jobs::{PLAYBACK_TOPIC, Playback, PlaybackMode};
use marquee_lake::tables;
use marquee_stream::{Decision, Frozen, Job as _, Manifest, Newest, RepairEnv, ShardId, ShardRepair, StreamError};

use crate::memory_lake::MemoryLake;
use crate::memory_recompute::{fold, late_sessions, number, rows_of};

/// A batch of sessions of one shard that is under way.
pub struct Recompute {
    id: ShardId,
    job: Playback,
    repair: ShardRepair,
    lake: Arc<MemoryLake>,
    batch: LateBatch,
    /// The last epoch of any recompute when the lake was asked: its answer holds until there is another one.
    as_of: Option<u64>,
    state: State,
}

enum State {
    Asked,
    Looked(Box<Newest>),
    Folded { on: Box<Manifest>, frozen: Box<Frozen>, events: u64 },
}

/// What a step has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The next step follows.
    GoesOn,
    /// Somebody else has decided the epoch: it is folded again.
    Lost,
    /// The newest epoch is so no more that its state was removed: it looks again.
    Overtaken,
    /// Another recompute was here: whoever goes on has to ask again.
    Outdated,
    /// So many late events are in their sessions; 0 when there was nothing to do.
    Done(u64),
}

impl Recompute {
    /// Asks the lake which sessions of a shard have late events; `None` when there are none, or none is wanted.
    pub fn ask(
        env: &RepairEnv,
        lake: &Arc<MemoryLake>,
        partition: u32,
        mut is_wanted: impl FnMut(&LateSession) -> bool,
    ) -> Option<Self> {
        let job = Playback::new(PlaybackMode::Live);
        let id = ShardId { job: job.name(), topic: PLAYBACK_TOPIC.to_owned(), partition };
        let mut repair = ShardRepair::new(env, id.clone(), &job);
        let newest = repair.newest().expect("it is whole")?;
        let mut sessions = late_sessions(lake, partition);
        sessions.retain(|session| is_wanted(session));
        if sessions.is_empty() {
            return None;
        }
        let batch = LateBatch::new(sessions, newest.manifest.next_offset);
        let as_of = last_recompute(&newest);
        Some(Self { id, job, repair, lake: lake.clone(), batch, as_of, state: State::Asked })
    }

    /// The next step.
    pub fn step(&mut self) -> Progress {
        match std::mem::replace(&mut self.state, State::Asked) {
            State::Asked => {
                let newest = self.repair.newest().expect("it is whole").expect("it was there");
                if last_recompute(&newest) != self.as_of {
                    return Progress::Outdated;
                }
                self.state = State::Looked(Box::new(newest));
                Progress::GoesOn
            }
            State::Looked(newest) => self.fold(*newest),
            State::Folded { on, frozen, events } => match self.repair.decide(&on, *frozen).expect("it is written") {
                Decision::Won => {
                    self.check_won(on.epoch + 1, events);
                    Progress::Done(events)
                }
                Decision::Lost => Progress::Lost,
            },
        }
    }

    /// Who hears that it has won has its events in the lake.
    fn check_won(&self, epoch: u64, events: u64) {
        let epochs = rows_of(&self.lake, &tables::RECOMPUTED_EVENTS, self.id.partition, &["epoch"]);
        let found = epochs.iter().filter(|row| number(&row[0]) == epoch).count() as u64;
        assert_eq!(found, events, "{}: rows of epoch {epoch}, which a recompute has won", self.id);
    }

    fn fold(&mut self, newest: Newest) -> Progress {
        let done = match fold(&self.job, &self.id, &self.lake, &self.repair, &newest, &mut self.batch) {
            Err(StreamError::Fenced { .. }) => return Progress::Overtaken,
            done => done.expect("rows are read"),
        };
        // Nothing is forgotten in a world of two days.
        assert_eq!(done.left, Left::default(), "{}: sessions are left alone", self.id);
        let Some(frozen) = done.frozen else { return Progress::Done(0) };
        let on = Box::new(newest.manifest);
        self.state = State::Folded { on, frozen: Box::new(frozen), events: done.events };
        Progress::GoesOn
    }
}

/// Recomputes all sessions of a shard while nobody else is at work.
pub fn recompute_all(env: &RepairEnv, lake: &Arc<MemoryLake>, partition: u32) -> u64 {
    let mut events = 0;
    while let Some(mut recompute) = Recompute::ask(env, lake, partition, |_| true) {
        let folded = loop {
            match recompute.step() {
                Progress::GoesOn => {}
                Progress::Done(events) => break events,
                other => panic!("nobody else is at work: {other:?}"),
            }
        };
        assert_ne!(folded, 0, "{}: a late event is in no session and cannot be folded", recompute.id);
        events += folded;
    }
    events
}

fn last_recompute(newest: &Newest) -> Option<u64> {
    newest.manifest.last_epochs().get(tables::RECOMPUTED_EVENTS.name).copied()
}
