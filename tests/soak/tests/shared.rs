//! Processes that share the partitions of two topics: hand-over, take-over, and what each of them knows of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use marquee_events::{ContentType, ManualClock, SystemClock};
use marquee_jobs::{IMPORT_TOPIC, PLAYBACK_TOPIC, Playback, PlaybackMode};
use marquee_lake::tables;
use marquee_soak::{Faults, FaultyLake, FaultyStore, Group, MemoryLog, text_rows};
use marquee_stream::{
    GrowingLog, Job, Membership, NewRecord, PartitionLog, RecordHeader, RecordType, Route, Runtime, RuntimeEnv,
    RuntimeSettings, ShardId, ShardStore, SteppedRuntime, TopicSpec, Unit,
};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

const NOW_MS: i64 = 1_700_000_000_000;
const PARTITIONS: u32 = 3;
const DEADLINE: Duration = Duration::from_secs(60);

/// What several processes share.
struct Ground {
    tokio: tokio::runtime::Runtime,
    log: Arc<MemoryLog>,
    lake: FaultyLake,
    store: FaultyStore,
    group: Group,
    /// Of the processes that are stepped.
    clock: Arc<ManualClock>,
}

impl Ground {
    fn new() -> Self {
        Self::with_seed(0)
    }

    /// The seed says how long requests to the store and the lake take.
    fn with_seed(seed: u64) -> Self {
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let log = Arc::new(MemoryLog::default());
        for name in [PLAYBACK_TOPIC, IMPORT_TOPIC] {
            let spec = TopicSpec { name: name.into(), partitions: PARTITIONS, retention_ms: i64::MAX };
            log.ensure_topic(&spec).expect("a new topic");
        }
        let faults = Faults::new(seed);
        Self {
            tokio: tokio.expect("a runtime"),
            log,
            lake: FaultyLake::new(faults.clone()),
            store: FaultyStore::new(faults),
            group: Group::default(),
            clock: Arc::new(ManualClock::new(NOW_MS)),
        }
    }

    fn env(&self, writer_id: &str, clock: Arc<dyn marquee_events::Clock>) -> RuntimeEnv {
        RuntimeEnv {
            log: self.log.clone(),
            lake: Arc::new(self.lake.clone()),
            store: Arc::new(self.store.clone()),
            state_root: "state".into(),
            clock,
            handle: self.tokio.handle().clone(),
            writer_id: writer_id.into(),
        }
    }

    fn start(&self, process: usize, epoch_interval_ms: i64) -> Runtime {
        let env = self.env(&format!("process-{process}"), Arc::new(SystemClock::default()));
        let settings = RuntimeSettings { epoch_interval_ms, ..Default::default() };
        Runtime::start_shared(&env, &settings, &jobs(), self.group.membership(process)).expect("the jobs start")
    }

    /// A process on all partitions that is stepped, with an epoch for each record it reads alone.
    fn stepped(&self, writer_id: &str, membership: Option<Arc<dyn Membership>>) -> SteppedRuntime {
        let settings = RuntimeSettings { epoch_interval_ms: 0, ..Default::default() };
        let env = self.env(writer_id, self.clock.clone());
        SteppedRuntime::new(&env, &settings, &jobs()[..1], membership).expect("the topic is there")
    }

    /// A record that nobody can read, of one event: it ends as one dead letter.
    fn append(&self, topic: &str, partition: u32) {
        let header = RecordHeader {
            record_type: RecordType::ViewEvents(ContentType::Protobuf),
            received_at_ms: NOW_MS,
            event_count: 1,
        };
        let record = NewRecord { route: Route::Partition(partition), header, payload: vec![0xff].into() };
        self.tokio.block_on(self.log.append(topic, vec![record])).expect("the log takes it");
    }

    /// Every record is a dead letter, once.
    fn check(&self) {
        let letters = text_rows(&self.lake.inner().rows(&tables::DEAD_LETTERS), &["topic", "partition", "offset"]);
        let distinct: BTreeSet<_> = letters.iter().collect();
        let appended: usize = [PLAYBACK_TOPIC, IMPORT_TOPIC]
            .into_iter()
            .flat_map(|topic| (0..PARTITIONS).map(move |partition| (topic, partition)))
            .map(|(topic, partition)| self.log.records(topic, partition).len())
            .sum();
        assert_eq!((letters.len(), distinct.len()), (appended, appended));
    }

    /// Partition 0 of both topics goes to the first process, and so on.
    fn assign(&self, owners: [usize; PARTITIONS as usize]) {
        let of = |topic: &str| {
            let topic = topic.to_owned();
            owners.iter().enumerate().map(move |(partition, owner)| ((topic.clone(), partition as u32), *owner))
        };
        self.group.assign(of(PLAYBACK_TOPIC).chain(of(IMPORT_TOPIC)).collect::<BTreeMap<_, _>>());
    }
}

fn jobs() -> [(Arc<dyn Job>, String); 2] {
    let job = |mode| -> Arc<dyn Job> { Arc::new(Playback::new(mode)) };
    [(job(PlaybackMode::Live), PLAYBACK_TOPIC.to_owned()), (job(PlaybackMode::Import), IMPORT_TOPIC.to_owned())]
}

fn owned(runtime: &Runtime) -> Vec<(String, u32)> {
    let progress = runtime.progress();
    let mut shards: Vec<_> = progress.shards().iter().map(|s| (s.shard.topic.clone(), s.shard.partition)).collect();
    shards.sort();
    shards
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn partitions_move_between_processes_and_every_record_counts_once() {
    let ground = Ground::new();
    ground.assign([0, 0, 0]);
    let processes = [ground.start(0, 30), ground.start(1, 30)];
    for (round, owners) in [[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 0], [1, 0, 1], [0, 0, 0]].into_iter().enumerate() {
        ground.assign(owners);
        // Every other time the new owner begins before the old one has let go.
        let after_release = round.is_multiple_of(2);
        for number in 0..40 {
            ground.append(if number % 2 == 0 { PLAYBACK_TOPIC } else { IMPORT_TOPIC }, number % PARTITIONS);
            std::thread::sleep(Duration::from_millis(2));
            if number % 10 == 0 {
                ground.group.tell(1 - round % 2, after_release);
                ground.group.tell(round % 2, after_release);
            }
        }
        wait_for("both know what is theirs", || {
            (0..2).for_each(|process| ground.group.tell(process, after_release));
            ground.group.is_told()
        });
    }
    for process in &processes {
        assert!(process.drain(ground.log.as_ref(), DEADLINE).expect("the log answers"));
    }
    wait_for("only the owner is left", || owned(&processes[0]).len() == 6 && owned(&processes[1]).is_empty());
    for process in processes {
        process.stop().expect("a graceful stop");
    }
    ground.check();
}

#[test]
fn a_process_knows_and_drains_only_what_is_its_own() {
    let ground = Ground::new();
    ground.assign([0, 1, 0]);
    let one = ground.start(0, 20);
    assert!(!one.drain(ground.log.as_ref(), Duration::from_millis(50)).expect("the log answers"), "nothing assigned");
    ground.group.tell(0, true);
    (0..PARTITIONS).for_each(|partition| ground.append(PLAYBACK_TOPIC, partition));
    wait_for("the shards are there", || owned(&one).len() == 4);
    assert!(one.drain(ground.log.as_ref(), DEADLINE).expect("the log answers"), "partition 1 is not waited for");
    assert_eq!(one.progress().committed(PLAYBACK_TOPIC), Some(vec![1, 0, 1]));
    assert_eq!(one.progress().committed("nowhere"), None);

    // What is taken away is finished, gone from the progress, and only then given back: the other may begin.
    ground.append(PLAYBACK_TOPIC, 0);
    ground.assign([1, 1, 0]);
    let two = ground.start(1, 20);
    ground.group.tell(0, true);
    wait_for("the other has its partitions", || {
        ground.group.tell(1, true);
        ground.group.is_told()
    });
    assert_eq!(owned(&one), [(PLAYBACK_TOPIC, 2), (IMPORT_TOPIC, 2)].map(|(t, p)| (t.to_owned(), p)));
    wait_for("the shards are there", || owned(&two).len() == 4);
    assert!(two.drain(ground.log.as_ref(), DEADLINE).expect("the log answers"));
    one.stop().expect("a graceful stop");
    two.stop().expect("a graceful stop");
    ground.check();
}

/// Steps everything of a process but what `leave_out` says, until it has nothing to do.
fn run(process: &mut SteppedRuntime, leave_out: impl Fn(Unit) -> bool) {
    for _ in 0..10_000 {
        let worked = process.units().into_iter().filter(|unit| !leave_out(*unit)).filter(|u| process.step(*u)).count();
        if let Some(error) = process.take_failure() {
            panic!("{error}");
        }
        if worked == 0 {
            return;
        }
    }
    panic!("it does not come to rest");
}

fn shard_store(ground: &Ground, partition: u32) -> ShardStore {
    let id = ShardId { job: "playback", topic: PLAYBACK_TOPIC.into(), partition };
    ShardStore::new(ground.store.inner(), &"state".into(), &id)
}

#[test]
fn two_processes_may_roll_the_same_epoch_forward() {
    let ground = Ground::new();
    ground.append(PLAYBACK_TOPIC, 0);
    let mut first = ground.stepped("first", None);
    run(&mut first, |unit| unit == Unit::Committer);
    drop(first); // decided, in no table
    assert_eq!(ground.tokio.block_on(shard_store(&ground, 0).epochs()).expect("the store answers"), [1]);
    assert!(ground.lake.inner().rows(&tables::DEAD_LETTERS).is_empty());
    let (mut second, mut third) = (ground.stepped("second", None), ground.stepped("third", None));
    for _ in 0..200 {
        for process in [&mut second, &mut third] {
            for unit in process.units() {
                process.step(unit);
            }
        }
    }
    for process in [&mut second, &mut third] {
        run(process, |_| false);
        let shards = process.progress().shards();
        assert_eq!(shards[0].done_epoch(), 1, "both know that it is in the lake");
    }
    ground.check();
}

/// The committer of a fenced shard may still carry an older epoch into the lake: the shard's progress, which the other
/// process's newer epoch has moved on, must not go back, or a drain would wait for ever.
#[test]
fn the_progress_of_a_fenced_shard_does_not_go_back() {
    let ground = Ground::new();
    let is_committer = |unit| unit == Unit::Committer;
    let mut one = ground.stepped("one", None);
    ground.append(PLAYBACK_TOPIC, 0);
    run(&mut one, is_committer); // epoch 1 is decided and waits for the committer
    let mut two = ground.stepped("two", None);
    ground.append(PLAYBACK_TOPIC, 0);
    run(&mut two, |_| false); // rolls epoch 1 forward and decides epoch 2
    run(&mut one, is_committer); // loses epoch 2, loads it
    let shard = one.progress().shards()[0].clone();
    assert_eq!((shard.committed_offset(), shard.done_epoch()), (2, 2));
    run(&mut one, |_| false);
    assert_eq!((shard.committed_offset(), shard.done_epoch()), (2, 2));
    ground.check();
}

/// A slow recovery finds that the snapshot it wants was removed as old by whoever went on: that is no damage.
#[test]
fn a_recovery_that_is_overtaken_begins_again() {
    for (seed, steps) in (0..6).flat_map(|seed| (1..8).map(move |steps| (seed, steps))) {
        let ground = Ground::with_seed(seed);
        let mut one = ground.stepped("one", None);
        let mut epoch = || {
            ground.append(PLAYBACK_TOPIC, 0);
            run(&mut one, |_| false);
        };
        (0..48).for_each(|_| epoch());
        let mut two = ground.stepped("two", None);
        two.step(Unit::Assignment);
        for _ in 0..steps {
            two.step(Unit::Shard(0));
        }
        (0..4).for_each(|_| epoch()); // old snapshots are removed every 50 epochs
        run(&mut two, |_| false);
        assert_eq!(two.progress().shards()[0].read_offset(), 52, "seed {seed}, after {steps} steps");
    }
}

/// A partition that a process loses and gets again, while the write of its former life is still under way: the late
/// manifest is not the new life's, though the process is the same.
#[test]
fn a_shard_that_comes_back_does_not_take_a_late_manifest_for_its_own() {
    let ground = Ground::new();
    let is_write = |unit| matches!(unit, Unit::Write(_));
    ground.assign([0, 0, 0]);
    ground.group.tell(0, true);
    let mut one = ground.stepped("one", Some(ground.group.membership(0)));
    ground.append(PLAYBACK_TOPIC, 0);
    run(&mut one, is_write); // epoch 1 is frozen, its write does not go on
    ground.assign([1, 0, 0]);
    ground.group.tell(0, true);
    run(&mut one, is_write);
    assert_eq!(one.progress().shards().len(), 3, "the shard waits for its write");
    ground.clock.set(NOW_MS + 11_000);
    run(&mut one, is_write);
    assert_eq!(one.progress().shards().len(), 2, "it is abandoned");
    ground.assign([0, 0, 0]);
    ground.group.tell(0, true);
    ground.append(PLAYBACK_TOPIC, 0);
    run(&mut one, is_write); // the new life freezes an epoch 1 of its own, of both records
    run(&mut one, |unit| unit == Unit::Write(1)); // the former life's manifest comes first
    run(&mut one, |_| false);
    let shards = one.progress().shards();
    let back = shards.iter().find(|s| s.shard.partition == 0).expect("it is back");
    assert_eq!((back.committed_offset(), back.done_epoch()), (2, 2));
    ground.check();
}

/// Lets any part of a process go on.
fn step_any(process: &mut SteppedRuntime, dice: &mut SmallRng) {
    let units = process.units();
    process.step(units[dice.random_range(0..units.len())]);
    if let Some(error) = process.take_failure() {
        panic!("{error}");
    }
}

/// A process that knows nothing of a growth, and one that knows, whose parts go on in any order. The old one is a zombie:
/// what it freezes it may decide long after its shard has ended.
#[test]
fn a_process_of_before_a_growth_does_no_harm() {
    for seed in 0..300 {
        println!("seed {seed}");
        let ground = Ground::with_seed(seed);
        let mut dice = SmallRng::seed_from_u64(seed);
        let growing = || Arc::new(GrowingLog::new(ground.log.clone(), &[PLAYBACK_TOPIC]));
        let mut appended = 0;
        let mut append = |log: &GrowingLog, partition: u32| {
            let header = RecordHeader {
                record_type: RecordType::ViewEvents(ContentType::Protobuf),
                received_at_ms: NOW_MS,
                event_count: 1,
            };
            let record = NewRecord { route: Route::Partition(partition), header, payload: vec![0xff].into() };
            ground.tokio.block_on(log.append(PLAYBACK_TOPIC, vec![record])).expect("the log takes it");
            appended += 1;
        };
        let start = |log: Arc<GrowingLog>, name: &str| {
            let settings = RuntimeSettings { epoch_interval_ms: 0, ..Default::default() };
            let env = RuntimeEnv { log, ..ground.env(name, ground.clock.clone()) };
            SteppedRuntime::new(&env, &settings, &jobs()[..1], None).expect("the topic is there")
        };
        let old = growing();
        let mut before = start(old.clone(), "before");
        for _ in 0..dice.random_range(0..12) {
            append(&old, dice.random_range(0..PARTITIONS));
            (0..dice.random_range(0..20)).for_each(|_| step_any(&mut before, &mut dice));
        }
        growing().grow(PLAYBACK_TOPIC, 2 * PARTITIONS, i64::MAX).expect("it grows");
        let new = growing();
        let mut after = start(new.clone(), "after");
        for _ in 0..dice.random_range(1..20) {
            append(&new, dice.random_range(PARTITIONS..3 * PARTITIONS));
            for _ in 0..dice.random_range(0..60) {
                step_any(if dice.random_bool(0.3) { &mut before } else { &mut after }, &mut dice);
            }
        }
        // It ends in the end, however long it was away.
        run(&mut after, |_| false);
        run(&mut before, |_| false);
        for process in [&mut before, &mut after] {
            process.stop();
            run(process, |_| false);
            assert!(process.is_stopped());
        }
        let letters = text_rows(&ground.lake.inner().rows(&tables::DEAD_LETTERS), &["partition", "offset"]);
        let distinct: BTreeSet<_> = letters.iter().collect();
        assert_eq!((letters.len(), distinct.len()), (appended, appended), "each record once");
        for partition in 0..PARTITIONS {
            let id = ShardId { job: "playback", topic: PLAYBACK_TOPIC.into(), partition };
            let store = ShardStore::new(Arc::new(ground.store.clone()), &"state".into(), &id);
            let is_last = ground.tokio.block_on(async {
                let epochs = store.epochs().await.expect("the store answers");
                let mut is_last = Vec::new();
                for epoch in epochs {
                    is_last
                        .push(store.read_manifest(epoch).await.expect("it is whole").expect("it is there").is_last());
                }
                is_last
            });
            let ends: Vec<usize> = (0..is_last.len()).filter(|at| is_last[*at]).collect();
            let had_any = new.bounds(PLAYBACK_TOPIC, partition).expect("the log answers").end > 0;
            assert_eq!(ends, if had_any { vec![is_last.len() - 1] } else { vec![] }, "nothing comes after the end");
        }
    }
}
