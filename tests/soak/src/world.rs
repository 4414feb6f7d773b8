//! The world of one seed: what happens in it, and that it ends well.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures::FutureExt as _;
use marquee_events::{Clock as _, ErrorKind, ManualClock};
use marquee_jobs::{LIVE_TOPIC, PLAYBACK_TOPIC, Playback, PlaybackMode};
use marquee_lake::EpochCommit;
use marquee_stream::{
    Job, LogError, Membership, NewRecord, PartitionLog, RepairEnv, RuntimeEnv, RuntimeSettings, ShardId, ShardStore,
    SteppedRuntime, StreamError, TopicSpec, Unit,
};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::checks::{Outcome, check_counts, check_live, check_manifests};
use crate::faults::{Faults, Rates};
use crate::faulty_lake::FaultyLake;
use crate::faulty_store::FaultyStore;
use crate::group::Group;
use crate::input::{Arrival, DAY_MS, START_MS, arrivals, end_of_input, far_session};
use crate::memory_lake::MemoryLake;
use crate::memory_log::MemoryLog;
use crate::memory_recompute::repair_env;
use crate::plan::Plan;
use crate::process_log::ProcessLog;
use crate::recompute::{Progress, Recompute, recompute_all};
use crate::report::Report;

/// Steps after which a world that has been healed must have come to its end.
const HEALED_STEPS: usize = 200_000;

/// Recomputes at the same time: two meet each other.
const MAX_RECOMPUTES: usize = 2;

/// Parts of processes that are slow for a while, so that the others get far ahead of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slow {
    Nothing,
    Shards,
    Writes,
    Committers,
    Assignments,
}

impl Slow {
    fn has(self, unit: Unit) -> bool {
        match self {
            Slow::Nothing => false,
            Slow::Shards => matches!(unit, Unit::Shard(_)),
            Slow::Writes => matches!(unit, Unit::Write(_)),
            Slow::Committers => unit == Unit::Committer,
            Slow::Assignments => unit == Unit::Assignment,
        }
    }
}

struct Process {
    runtime: Option<SteppedRuntime>,
    is_paused: bool,
}

struct World {
    plan: Plan,
    dice: SmallRng,
    faults: Faults,
    clock: Arc<ManualClock>,
    log: Arc<MemoryLog>,
    store: FaultyStore,
    lake: FaultyLake,
    group: Group,
    processes: Vec<Process>,
    recomputes: Vec<Recompute>,
    slow: Slow,
    handle: tokio::runtime::Handle,
    lives: u64,
    report: Report,
    trace: bool,
}

/// Plays the world of a seed. `trace` prints what happens.
///
/// # Panics
/// When something does not hold, with what it is.
pub fn run(seed: u64, trace: bool) -> Report {
    let tokio = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without I/O");
    let mut dice = SmallRng::seed_from_u64(seed);
    let plan = Plan::of(seed, &mut dice);
    let faults = Faults::new(seed ^ 0x5eed);
    let log = Arc::new(MemoryLog::default());
    for (name, partitions) in [(PLAYBACK_TOPIC, plan.partitions), (LIVE_TOPIC, 1)] {
        log.ensure_topic(&TopicSpec { name: name.into(), partitions, retention_ms: i64::MAX }).expect("a new topic");
    }
    let mut world = World {
        plan,
        dice,
        clock: Arc::new(ManualClock::new(START_MS)),
        log,
        store: FaultyStore::new(faults.clone()),
        lake: FaultyLake::new(faults.clone()),
        faults,
        group: Group::default(),
        processes: (0..plan.processes).map(|_| Process { runtime: None, is_paused: false }).collect(),
        recomputes: Vec::new(),
        slow: Slow::Nothing,
        handle: tokio.handle().clone(),
        lives: 0,
        report: Report::default(),
        trace,
    };
    world.say(|| format!("{plan:?}"));
    world.live();
    world.heal();
    world.end();
    world.check();
    world.report
}

impl World {
    fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>8} {}", self.clock.now_ms() - START_MS, what());
        }
    }

    fn partitions(&self) -> impl Iterator<Item = (String, u32)> + use<> {
        (0..self.plan.partitions).map(|partition| (PLAYBACK_TOPIC.to_owned(), partition))
    }

    /// Things happen until all input has arrived, and for a while longer.
    fn live(&mut self) {
        let mut input: VecDeque<Arrival> = arrivals(&mut self.dice, self.plan.recomputes).into();
        self.rebalance();
        for process in 0..self.plan.processes {
            self.start(process);
            self.group.tell(process, true);
        }
        while !input.is_empty() {
            self.happen(&mut input);
        }
        if self.plan.recomputes && self.dice.random_bool(0.5) {
            self.pass_a_day();
        }
        for _ in 0..self.dice.random_range(0..500) {
            self.happen(&mut input);
        }
    }

    /// Somebody plays a day later: all sessions are over for the watermark, and most leave memory.
    fn pass_a_day(&mut self) {
        self.clock.set(self.clock.now_ms() + DAY_MS);
        for partition in 0..self.plan.partitions {
            let record = far_session(partition, self.clock.now_ms());
            self.append(record);
        }
    }

    fn happen(&mut self, input: &mut VecDeque<Arrival>) {
        let plan = self.plan;
        if plan.recomputes && self.dice.random_bool(0.06) {
            return self.recompute();
        }
        let process = self.dice.random_range(0..plan.processes);
        match self.dice.random_range(0..1_000) {
            0..40 => self.arrive(input),
            40..90 => {
                let ms = if self.dice.random_bool(0.1) { 60_000 } else { 2_000 };
                let ms = self.dice.random_range(0..ms);
                self.clock.set(self.clock.now_ms() + ms);
            }
            90..110 => self.group.tell(process, !plan.zombies),
            110..113 if plan.rebalances => self.rebalance(),
            113..115 if plan.crashes => self.crash(process),
            115..116 if plan.power_cuts => self.cut_power(),
            116..136 if self.processes[process].runtime.is_none() => self.start(process),
            136..139 if plan.zombies => {
                let is_paused = &mut self.processes[process].is_paused;
                *is_paused = !*is_paused;
            }
            139..149 => {
                let _ = self.store.land_one() | self.lake.land_one();
            }
            149..152 if plan.faults || plan.late_writes || plan.log_full => self.change_rates(),
            152..155 if plan.slow_parts => {
                use Slow::{Assignments, Committers, Nothing, Shards, Writes};
                self.slow = [Nothing, Nothing, Shards, Writes, Committers, Assignments][self.dice.random_range(0..6)];
                self.say(|| format!("slow: {:?}", self.slow));
            }
            _ => self.step(process),
        }
    }

    fn arrive(&mut self, input: &mut VecDeque<Arrival>) {
        for _ in 0..self.dice.random_range(1..3) {
            let Some(arrival) = input.pop_front() else { return };
            self.clock.set(self.clock.now_ms().max(arrival.at_ms));
            let record = arrival.record(self.clock.now_ms());
            self.append(record);
        }
    }

    fn append(&mut self, record: NewRecord) {
        self.log.append(PLAYBACK_TOPIC, vec![record]).now_or_never().expect("it does not wait").expect("it is taken");
        self.report.records += 1;
    }

    /// Faults come in bursts: what never answers would only be restarted for ever.
    fn change_rates(&mut self) {
        let plan = self.plan;
        let mut burst = |is_in: bool, most: f64| {
            if is_in && self.dice.random_bool(0.5) { self.dice.random_range(0.0..most) } else { 0.0 }
        };
        let rates = Rates {
            lost_reply: burst(plan.faults, 0.6),
            refused: burst(plan.faults, 0.6),
            late: burst(plan.late_writes, 0.4),
            late_after_crash: burst(plan.late_writes, 1.0),
            unreadable: burst(plan.faults, 0.05),
            log_full: burst(plan.log_full, 1.0),
            disk_full: plan.faults && self.dice.random_bool(0.1),
        };
        self.faults.set(rates);
        self.say(|| format!("{rates:?}"));
    }

    fn rebalance(&mut self) {
        let owners: BTreeMap<_, _> =
            self.partitions().map(|p| (p, self.dice.random_range(0..self.plan.processes))).collect();
        self.say(|| format!("partitions go to {:?}", owners.values().collect::<Vec<_>>()));
        self.group.assign(owners);
        self.report.rebalances += 1;
    }

    fn start(&mut self, process: usize) {
        if self.processes[process].runtime.is_some() {
            return;
        }
        self.lives += 1;
        self.say(|| format!("process {process} starts its life {}", self.lives));
        let log = Arc::new(ProcessLog { inner: self.log.clone(), faults: self.faults.clone() });
        let env = self.env(log, Arc::new(self.store.clone()), Arc::new(self.lake.clone()));
        let membership = Some(self.group.membership(process));
        self.processes[process].runtime = Some(runtime(self.plan.job(), &env, &self.settings(true), membership));
        self.processes[process].is_paused = false;
    }

    fn settings(&self, live: bool) -> RuntimeSettings {
        RuntimeSettings {
            epoch_interval_ms: self.plan.epoch_interval_ms,
            live_interval_ms: 1_000,
            live_topic: live.then(|| LIVE_TOPIC.to_owned()),
            write_threads: 1,
        }
    }

    fn env(&self, log: Arc<dyn PartitionLog>, store: Arc<dyn ObjectStore>, lake: Arc<dyn EpochCommit>) -> RuntimeEnv {
        RuntimeEnv {
            log,
            lake,
            store,
            state_root: "state".into(),
            clock: self.clock.clone(),
            handle: self.handle.clone(),
            writer_id: format!("w{}", self.lives),
        }
    }

    /// All that the process knew is gone; what it had under way is lost or lands late.
    fn crash(&mut self, process: usize) {
        if self.processes[process].runtime.take().is_some() {
            self.say(|| format!("process {process} is gone"));
            self.group.forget(process);
            self.report.crashes += 1;
        }
    }

    /// Every process is gone, what has not landed is lost, and some of what was not synced.
    fn cut_power(&mut self) {
        self.say(|| "power cut".to_owned());
        for process in 0..self.plan.processes {
            self.crash(process);
        }
        self.recomputes.clear();
        self.store.cut_power();
        self.lake.lose_late();
    }

    /// Somebody begins a recompute, of some sessions or of all; or one that is under way does a step, or is killed.
    fn recompute(&mut self) {
        if self.recomputes.len() < MAX_RECOMPUTES && self.dice.random_bool(0.3) {
            self.begin_recompute();
        } else if !self.recomputes.is_empty() {
            let chosen = self.dice.random_range(0..self.recomputes.len());
            let messages = if self.dice.random_bool(0.1) { self.dice.random_range(0..30) } else { usize::MAX };
            let mut recompute = self.recomputes.swap_remove(chosen);
            let progress = self.faults.spare(|| self.faults.kill_after(messages, || recompute.step()));
            self.say(|| format!("recompute: {progress:?}"));
            let report = &mut self.report;
            match progress {
                None => report.recomputes_killed += 1,
                Some(Progress::Done(0) | Progress::GoesOn) => {}
                Some(Progress::Lost) => report.recomputes_lost += 1,
                Some(Progress::Overtaken | Progress::Outdated) => report.recomputes_overtaken += 1,
                Some(Progress::Done(events)) => {
                    report.recomputes_won += 1;
                    report.recomputed_events += events;
                }
            }
            if matches!(progress, Some(Progress::GoesOn | Progress::Lost | Progress::Overtaken)) {
                self.recomputes.push(recompute);
            }
        }
    }

    fn begin_recompute(&mut self) {
        self.lives += 1;
        let env = self.repair_env();
        let partition = self.dice.random_range(0..self.plan.partitions);
        let share = if self.dice.random_bool(0.5) { 1.0 } else { 0.5 };
        let (faults, dice, lake) = (&self.faults, &mut self.dice, self.lake.inner());
        let begun = faults.spare(|| Recompute::ask(&env, &lake, partition, |_| dice.random_bool(share)));
        self.recomputes.extend(begun);
    }

    fn repair_env(&self) -> RepairEnv {
        let env = self.env(self.log.clone(), Arc::new(self.store.clone()), Arc::new(self.lake.clone()));
        repair_env(&env, format!("r{}", self.lives))
    }

    /// All that is late gets into its session.
    fn recompute_all(&mut self) {
        self.lives += 1;
        let env = self.repair_env();
        for partition in 0..self.plan.partitions {
            let events = recompute_all(&env, &self.lake.inner(), partition);
            self.say(|| format!("recomputed {events} events of partition {partition}"));
        }
    }

    /// One step of one part of a process.
    fn step(&mut self, process: usize) {
        let Process { runtime: Some(runtime), is_paused: false } = &mut self.processes[process] else { return };
        let units = runtime.units();
        let unit = units[self.dice.random_range(0..units.len())];
        if self.slow.has(unit) && self.dice.random_bool(0.98) {
            return;
        }
        runtime.step(unit);
        self.report.steps += 1;
        self.look_for_failure(process);
    }

    /// A process that has failed ends, and somebody starts it again: but only if it failed for a reason that a fault can
    /// give. Otherwise nobody could help it.
    fn look_for_failure(&mut self, process: usize) {
        let Some(runtime) = &self.processes[process].runtime else { return };
        let Some(error) = runtime.take_failure() else { return };
        assert!(self.is_excusable(&error), "process {process} failed: {}", chain(&error));
        self.say(|| format!("process {process} failed: {}", chain(&error)));
        self.crash(process);
    }

    fn is_excusable(&self, error: &StreamError) -> bool {
        let had_faults = self.plan.faults || self.plan.late_writes;
        let is_slow = matches!(error, StreamError::TooSlow { .. });
        // Who carries an epoch of a recompute on publishes what it says to the live view, and waits some seconds for room.
        let is_full = matches!(error, StreamError::Publish { source: LogError::Full { .. }, .. });
        let had_full = self.plan.log_full && self.plan.recomputes && is_full;
        error.kind() == ErrorKind::Unavailable && (is_slow || had_faults || had_full)
    }

    /// No more faults; every process runs and hears what is its own; what was late has landed or is lost.
    fn heal(&mut self) {
        self.say(|| "healed".to_owned());
        self.slow = Slow::Nothing;
        self.faults.set(Rates::default());
        while self.dice.random_bool(0.9) && (self.store.land_one() | self.lake.land_one()) {}
        self.store.lose_late();
        self.lake.lose_late();
        self.recomputes.clear();
        for process in 0..self.plan.processes {
            self.start(process);
            self.processes[process].is_paused = false;
        }
        self.drain();
    }

    /// Everything that is in the log gets into the lake.
    fn drain(&mut self) {
        for round in 0..HEALED_STEPS {
            if self.is_drained() {
                return;
            }
            for process in 0..self.plan.processes {
                self.start(process);
                if round.is_multiple_of(50) {
                    self.group.tell(process, true);
                }
                self.step(process);
            }
            if round.is_multiple_of(20) {
                self.clock.set(self.clock.now_ms() + 500);
            }
        }
        panic!("stuck: not everything gets into the lake");
    }

    fn is_drained(&self) -> bool {
        let committed = |partition: u32| {
            let shards = self.processes.iter().filter_map(|p| p.runtime.as_ref()).flat_map(|r| r.progress().shards());
            shards.filter(|s| s.shard.partition == partition).map(|s| s.committed_offset()).collect::<Vec<_>>()
        };
        self.group.is_told()
            && (0..self.plan.partitions).all(|partition| {
                let end = self.log.records(PLAYBACK_TOPIC, partition).len() as u64;
                let committed = committed(partition);
                committed.len() == 1 && committed[0] >= end
            })
    }

    /// The input ends, and every process stops as it should.
    fn end(&mut self) {
        if self.plan.recomputes {
            // A recompute opens a session again that only the end of the input had closed (ARCHITECTURE.md, Limits).
            self.pass_a_day();
        }
        for partition in 0..self.plan.partitions {
            let record = end_of_input(partition, self.clock.now_ms());
            self.append(record);
        }
        self.drain();
        // The owners hear of its epochs when they stop, or there is nobody any more.
        let is_beside = self.dice.random_bool(0.5);
        if self.plan.recomputes && is_beside {
            self.recompute_all();
        }
        for process in 0..self.plan.processes {
            let Some(mut runtime) = self.processes[process].runtime.take() else { continue };
            runtime.stop();
            self.run_to_the_end(&mut runtime);
        }
        if self.plan.recomputes && !is_beside {
            self.recompute_all();
        }
    }

    fn run_to_the_end(&mut self, runtime: &mut SteppedRuntime) {
        for _ in 0..HEALED_STEPS {
            let units = runtime.units();
            let unit = units[self.dice.random_range(0..units.len())];
            runtime.step(unit);
            if let Some(error) = runtime.take_failure() {
                panic!("a process that stops failed: {}", chain(&error));
            }
            if runtime.is_stopped() {
                return;
            }
        }
        panic!("stuck: a process does not stop");
    }

    fn check(&mut self) {
        let lake = self.lake.inner();
        let shard = |partition| ShardId { job: "playback", topic: PLAYBACK_TOPIC.to_owned(), partition };
        let store: Arc<dyn ObjectStore> = self.store.inner();
        let shards: Vec<_> = (0..self.plan.partitions)
            .map(|p| (shard(p), ShardStore::new(store.clone(), &"state".into(), &shard(p))))
            .collect();
        for (_, store) in &shards {
            let epochs = store.epochs().now_or_never().expect("it does not wait").expect("the store answers");
            self.report.epochs += epochs.len() as u64;
        }
        check_counts(&self.log, &lake, self.plan.partitions, self.plan.recomputes);
        check_manifests(&shards, &self.log, &lake);
        if self.plan.keeps_live_exact() {
            check_live(&self.log, &lake, self.plan.partitions);
        }
        let expected = self.undisturbed();
        Outcome::of(&lake).check(&Outcome::of(&expected));
    }

    /// The lake of one process that reads the same log while nothing happens, and of one recompute after it.
    fn undisturbed(&mut self) -> Arc<MemoryLake> {
        let lake = Arc::new(MemoryLake::default());
        let log = self.log.clone();
        let env = self.env(log, Arc::new(InMemory::new()), lake.clone());
        let mut runtime = runtime(Playback::new(PlaybackMode::Live), &env, &self.settings(false), None);
        for _ in 0..HEALED_STEPS {
            let units = runtime.units();
            let worked = units.into_iter().filter(|unit| runtime.step(*unit)).count();
            if let Some(error) = runtime.take_failure() {
                panic!("the undisturbed process failed: {}", chain(&error));
            }
            let progress = runtime.progress();
            let is_read = progress
                .shards()
                .iter()
                .all(|s| s.read_offset() == self.log.records(PLAYBACK_TOPIC, s.shard.partition).len() as u64);
            if worked == 0 && is_read {
                break;
            }
        }
        runtime.stop();
        self.run_to_the_end(&mut runtime);
        if self.plan.recomputes {
            let env = repair_env(&env, "recompute".to_owned());
            for partition in 0..self.plan.partitions {
                recompute_all(&env, &lake, partition);
            }
        }
        lake
    }
}

fn runtime(
    job: Playback,
    env: &RuntimeEnv,
    settings: &RuntimeSettings,
    membership: Option<Arc<dyn Membership>>,
) -> SteppedRuntime {
    let job: Arc<dyn Job> = Arc::new(job);
    SteppedRuntime::new(env, settings, &[(job, PLAYBACK_TOPIC.to_owned())], membership).expect("the topic is there")
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
