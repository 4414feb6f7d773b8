//! One shard: reads its partition, freezes epochs, has them written and decided. The protocol of an epoch:
//!
//! 1. freeze at an offset
//! 2. write the data files
//! 3. write the snapshot
//! 4. **create the manifest: the commit point**
//!
//! `epoch_write.rs` has steps 2 to 4: they run on the write pool while the shard goes on reading; the next freeze waits
//! for them. The committer adds 5. (the tables) and 6. (publish, mark done).
//!
//! A shard advances by [`ShardTask::step`], which never waits: its thread waits between two steps, and a simulator does
//! something else.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use marquee_lake::tables;

use crate::committer::{CommitContext, Decided};
use crate::drive::Work;
use crate::epoch_write::{EpochWrite, MAX_EPOCH_MS};
use crate::fork::{Beginning, Start};
use crate::progress::ShardProgress;
use crate::recovery::{Newest, Recovery};
use crate::{
    Clock, Generations, Job, Kept, LogError, Manifest, NewRecord, Parent, RecordHeader, RecordType, Route,
    RuntimeProgress, RuntimeSettings, ShardId, ShardIo, ShardState, ShardStore, StreamError,
};

/// Bytes read from the log at once: some thousand records, decoded while they are in the cache.
const READ_BYTES: usize = 1 << 20;

/// How long a shard waits for new records before it looks at its timers.
const IDLE_WAIT: Duration = Duration::from_millis(50);

/// Epochs that may be decided and not yet be in the lake before the shard stops reading.
const MAX_UNDONE: u64 = 8;

/// A shard whose partition was taken away has this long to finish its epoch (ms); then it abandons it. Another process
/// waits for the partition, and reading some seconds of records again costs it less than waiting.
const HAND_OVER_LIMIT_MS: i64 = 10_000;

/// Final live deltas that may wait for a log that is full. Their epochs do not depend on them, so past this the oldest
/// are dropped: no more memory for a log that refuses everything for so many epochs.
const MAX_WAITING_FINALS: usize = 8;

/// How often a shard looks whether its parent has come to its end.
const PARENT_WAIT: Duration = Duration::from_millis(200);

/// Has steps 2 to 4 of an epoch carried on elsewhere.
pub(crate) type Spawn = Arc<dyn Fn(Work<()>) -> Result<(), StreamError> + Send + Sync>;

/// What a shard stands on.
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) job: Arc<dyn Job>,
    pub(crate) store: ShardStore,
    /// The folders of other shards.
    pub(crate) folder: Arc<dyn Fn(&ShardId) -> ShardStore + Send + Sync>,
    /// Of its topic.
    pub(crate) generations: Generations,
    pub(crate) commit: CommitContext,
    pub(crate) committer: SyncSender<Decided>,
    pub(crate) spawn: Spawn,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: RuntimeSettings,
    /// A shard that holds so many bytes of unencoded rows ends its epoch.
    pub(crate) max_pending_bytes: Arc<AtomicUsize>,
    pub(crate) progress: Arc<ShardProgress>,
    pub(crate) runtime: Arc<RuntimeProgress>,
    /// The runtime stops: write everything out.
    pub(crate) stop: Arc<AtomicBool>,
    /// The partition was taken away: another process goes on.
    pub(crate) revoked: Arc<AtomicBool>,
    /// Unique among all shards that ever ran on this state, those of the same process included: one that comes back to
    /// a partition must not take the late manifest of its former life for its own.
    pub(crate) writer_id: String,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// There may be more to do.
    Worked,
    /// Nothing to do until something else has happened.
    Waiting(WaitFor),
    /// The shard has ended: for a reason of its own, or it has failed and the runtime knows why.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitFor {
    /// New records, or a timer.
    Records,
    /// The write of the last epoch.
    Write,
    /// The committer: too many epochs are decided and not in the lake.
    Committer,
    /// The shard of the partition that this one goes on from.
    Parent,
}

/// A shard at work.
pub(crate) struct ShardTask {
    shard: Shard,
    stage: Stage,
    /// The end of the log when the runtime was stopped: what had been acknowledged until then is taken in.
    stop_at: Option<u64>,
    /// When the shard learned that its partition was taken away (ms since the epoch).
    revoked_at_ms: Option<i64>,
    /// When it learned, while it waited for its parent, that the runtime stops (ms since the epoch).
    stopped_at_ms: Option<i64>,
}

enum Stage {
    Loading(Work<Result<(Start, Vec<ShardStore>), StreamError>>),
    Reading(Box<Reader>),
    Gone,
}

impl ShardTask {
    pub(crate) fn new(shard: Shard) -> Self {
        let stage = Stage::Loading(shard.load());
        Self { shard, stage, stop_at: None, revoked_at_ms: None, stopped_at_ms: None }
    }

    /// Steps until the shard is gone. A panic is a failure like any other: without this the collector would go on taking
    /// what nobody reads.
    pub(crate) fn run_guarded(mut self) {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run())).is_err() {
            self.shard.runtime.fail(StreamError::Thread(format!("shard {} panicked", self.shard.id)));
        }
    }

    fn run(&mut self) {
        let mut waiting_for_committer: Option<Instant> = None;
        loop {
            let step = self.step();
            let since = waiting_for_committer.take();
            let waited = match step {
                Step::Gone => return,
                Step::Worked => Ok(()),
                Step::Waiting(WaitFor::Records) => self.wait_for_records(),
                Step::Waiting(WaitFor::Write) => {
                    self.wait_for_write();
                    Ok(())
                }
                Step::Waiting(WaitFor::Committer) => {
                    let since = since.unwrap_or_else(Instant::now);
                    waiting_for_committer = Some(since);
                    self.wait_for_committer(since)
                }
                Step::Waiting(WaitFor::Parent) => {
                    std::thread::sleep(PARENT_WAIT);
                    Ok(())
                }
            };
            if let Err(error) = waited {
                self.shard.runtime.fail(error);
            }
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.stage, Stage::Gone)
    }

    /// Does what there is to do without waiting for anything but the I/O of a recovery.
    pub(crate) fn step(&mut self) -> Step {
        let step = match self.try_step() {
            Ok(step) => step,
            Err(StreamError::Fenced { shard, epoch }) => {
                if self.shard.revoked.load(Ordering::Acquire) {
                    tracing::info!(shard, epoch, "fenced: another process has taken the partition over");
                    Step::Gone
                } else {
                    tracing::warn!(shard, epoch, "fenced: state thrown away, newest manifest loaded");
                    self.stage = Stage::Loading(self.shard.load());
                    Step::Worked
                }
            }
            Err(error) => {
                self.shard.runtime.fail(error);
                Step::Gone
            }
        };
        if step == Step::Gone {
            self.stage = Stage::Gone;
        }
        step
    }

    fn try_step(&mut self) -> Result<Step, StreamError> {
        let shard = &self.shard;
        let failed = shard.runtime.has_failed();
        let revoked = shard.revoked.load(Ordering::Acquire);
        match &mut self.stage {
            Stage::Gone => Ok(Step::Gone),
            Stage::Loading(_) if failed || revoked => Ok(Step::Gone),
            Stage::Loading(work) => {
                let Poll::Ready(start) = shard.commit.drive.carry_on(&shard.commit.handle, work) else {
                    return Ok(Step::Worked);
                };
                let (start, ancestors) = start?;
                match start {
                    Start::TooEarly => return Ok(self.wait_for_parent()),
                    Start::Ended(last) => {
                        if let Some(last) = &last {
                            shard.show(last);
                        }
                        return Ok(Step::Gone);
                    }
                    Start::Empty => self.read_from(None, None, ancestors)?,
                    Start::Own(newest) => self.read_from(Some(newest), None, ancestors)?,
                    Start::Inherited(newest, fork) => self.read_from(Some(newest), Some(fork), ancestors)?,
                }
                Ok(Step::Worked)
            }
            Stage::Reading(reader) => {
                reader.take_written(shard)?;
                if failed {
                    return Ok(if reader.written.is_some() { Step::Waiting(WaitFor::Write) } else { Step::Gone });
                }
                if revoked {
                    let since_ms = *self.revoked_at_ms.get_or_insert_with(|| shard.clock.now_ms());
                    return reader.hand_over(shard, since_ms);
                }
                if shard.stop.load(Ordering::Acquire) {
                    let end = match self.stop_at {
                        Some(end) => end,
                        None => *self.stop_at.insert(shard.log_end()?),
                    };
                    return reader.finish(shard, end);
                }
                let step = reader.go_on(shard)?;
                if step == Step::Gone {
                    self.stage = Stage::Loading(shard.load()); // its partition has ended: it loads its last epoch
                    return Ok(Step::Worked);
                }
                Ok(step)
            }
        }
    }

    fn read_from(
        &mut self,
        newest: Option<Newest>,
        fork: Option<Parent>,
        ancestors: Vec<ShardStore>,
    ) -> Result<(), StreamError> {
        self.stage = Stage::Reading(Box::new(Reader::start(&self.shard, newest, fork, ancestors)?));
        Ok(())
    }

    /// Looks again later. A runtime that stops waits for as long as it would to hand over: the parent may be another
    /// process's.
    fn wait_for_parent(&mut self) -> Step {
        if self.shard.stop.load(Ordering::Acquire) {
            let now_ms = self.shard.clock.now_ms();
            if now_ms - *self.stopped_at_ms.get_or_insert(now_ms) > HAND_OVER_LIMIT_MS {
                return Step::Gone;
            }
        }
        self.stage = Stage::Loading(self.shard.load());
        Step::Waiting(WaitFor::Parent)
    }

    fn wait_for_records(&self) -> Result<(), StreamError> {
        let Stage::Reading(reader) = &self.stage else { return Ok(()) };
        let id = &self.shard.id;
        let waited = self.shard.commit.log.wait(&id.topic, id.partition, reader.next_offset, IDLE_WAIT);
        waited.map(|_| ()).map_err(|e| self.shard.log_error(e))
    }

    fn wait_for_write(&mut self) {
        if let Stage::Reading(reader) = &mut self.stage
            && let Some(Written::InFlight(receiver)) = &reader.written
        {
            let outcome = match receiver.recv_timeout(IDLE_WAIT) {
                Ok(outcome) => outcome,
                Err(RecvTimeoutError::Disconnected) => Err(self.shard.lost_thread()),
                Err(RecvTimeoutError::Timeout) => return,
            };
            reader.written = Some(Written::Done(outcome));
        }
    }

    fn wait_for_committer(&self, since: Instant) -> Result<(), StreamError> {
        if since.elapsed() > Duration::from_millis(MAX_EPOCH_MS as u64) {
            let epoch = self.shard.progress.done_epoch() + 1;
            return Err(StreamError::TooSlow { shard: self.shard.id.to_string(), epoch, limit_ms: MAX_EPOCH_MS });
        }
        let undone = self.shard.undone();
        self.shard.runtime.wait_until(IDLE_WAIT, |_| self.shard.undone() < undone);
        Ok(())
    }
}

impl Shard {
    fn load(&self) -> Work<Result<(Start, Vec<ShardStore>), StreamError>> {
        let recovery = Recovery {
            id: self.id.clone(),
            store: self.store.clone(),
            commit: self.commit.clone(),
            progress: self.progress.clone(),
            snapshot_version: self.job.snapshot_version(),
        };
        let beginning = Beginning {
            recovery,
            folder: self.folder.clone(),
            generations: self.generations.clone(),
            clock: self.clock.clone(),
            writer_id: self.writer_id.clone(),
        };
        Box::pin(beginning.run())
    }

    /// Shows that the shard is at this epoch.
    fn show(&self, manifest: &Manifest) {
        let progress = &self.progress;
        progress.read_offset.store(manifest.next_offset, Ordering::Release);
        progress.committed_offset.fetch_max(manifest.next_offset, Ordering::AcqRel);
        progress.done_epoch.fetch_max(manifest.epoch, Ordering::AcqRel);
        progress.decided_epoch.fetch_max(manifest.epoch, Ordering::AcqRel);
    }

    /// Whether the partition takes no more records.
    fn has_heirs(&self) -> bool {
        !self.generations.newest().contains(&self.id.partition)
    }

    fn log_end(&self) -> Result<u64, StreamError> {
        let bounds = self.commit.log.bounds(&self.id.topic, self.id.partition).map_err(|e| self.log_error(e))?;
        Ok(bounds.end)
    }

    /// The shard's offsets begin where its parent has ended, now as when it began.
    fn check_parent(&self, parent: Parent) -> Result<(), StreamError> {
        let bounds = self.commit.log.bounds(&self.id.topic, parent.partition).map_err(|e| self.log_error(e))?;
        if bounds.end == parent.next_offset {
            return Ok(());
        }
        Err(StreamError::Damaged {
            path: format!("partition {}/{} of the log", self.id.topic, parent.partition),
            problem: format!("it ended at offset {}, and ends at {} now", parent.next_offset, bounds.end),
        })
    }

    /// Epochs that are decided and not yet in the lake.
    fn undone(&self) -> u64 {
        self.progress.decided_epoch.load(Ordering::Acquire).saturating_sub(self.progress.done_epoch())
    }

    /// Appends to the live topic; whether the log took it. What is not final is simply told again later.
    fn publish(&self, topic: &str, payload: Bytes) -> Result<bool, StreamError> {
        let header =
            RecordHeader { record_type: RecordType::LiveDeltas, received_at_ms: self.clock.now_ms(), event_count: 0 };
        let route = Route::Key(self.id.to_string().into_bytes().into());
        let record = NewRecord { route, header, payload };
        match self.commit.handle.block_on(self.commit.log.append(topic, vec![record])) {
            Ok(_) => Ok(true),
            Err(LogError::Full { .. }) => Ok(false),
            Err(error) => Err(self.log_error(error)),
        }
    }

    fn record_freshness(&self, arrivals: Arrivals) {
        let visible_ms = self.clock.now_ms();
        for (received_at_ms, events) in arrivals {
            let waited = Duration::from_millis((visible_ms - received_at_ms).max(0) as u64);
            self.runtime.freshness.record_many(waited, u64::from(events));
        }
    }

    fn log_error(&self, source: LogError) -> StreamError {
        StreamError::Log { shard: self.id.to_string(), source }
    }

    fn lost_thread(&self) -> StreamError {
        StreamError::Thread(format!("the write of an epoch of shard {}", self.id))
    }
}

/// A shard's state and where it stands in the log.
struct Reader {
    state: Box<dyn ShardState>,
    io: ShardIo,
    epoch: u64,
    parent: Option<Parent>,
    /// Where its partition ends for ever, if it does.
    sealed_at: Option<u64>,
    next_offset: u64,
    records: u64,
    last_epochs: BTreeMap<String, u64>,
    epoch_started_ms: i64,
    live_published_ms: i64,
    /// Arrivals of the records that the live view has not seen, those of `waiting_finals` apart.
    unpublished: Arrivals,
    /// What the log was too full for, oldest first. A final record is never told again, and one that comes after a newer
    /// epoch's would make that one void: nothing newer is published before these.
    waiting_finals: VecDeque<FinalDeltas>,
    changed: bool,
    written: Option<Written>,
    /// The last epoch of this reader is frozen.
    is_over: bool,
}

/// The write of the epoch that was frozen last.
enum Written {
    InFlight(Receiver<Result<(), StreamError>>),
    Done(Result<(), StreamError>),
}

/// Arrival times (ms since the epoch) and counts of events.
type Arrivals = Vec<(i64, u32)>;

/// The final live deltas of an epoch, and the arrivals that they make visible.
struct FinalDeltas {
    payload: Bytes,
    arrivals: Arrivals,
}

impl Reader {
    /// Restores the state, its own or, with `fork`, its parent's; checks the log.
    fn start(
        shard: &Shard,
        newest: Option<Newest>,
        fork: Option<Parent>,
        ancestors: Vec<ShardStore>,
    ) -> Result<Self, StreamError> {
        let id = &shard.id;
        let io = ShardIo::new(
            id.clone(),
            shard.store.clone(),
            shard.commit.lake.clone(),
            shard.commit.handle.clone(),
            shard.clock.clone(),
            shard.job.replay_table(),
        )
        .after(ancestors)
        .publishing_live(shard.settings.live_topic.is_some());
        let state = match &newest {
            None => shard.job.start_shard(id, None)?,
            Some(Newest { manifest, snapshot }) => {
                let kept = Kept { snapshot, io: &io, fork };
                io.unless_overtaken(manifest, shard.job.start_shard(id, Some(kept)))?
            }
        };
        let manifest = newest.map(|newest| newest.manifest);
        if let Some(manifest) = &manifest {
            // Halts here, loudly, when the log lost what the lake has, or expired what it has not.
            let read = shard.commit.log.read(&id.topic, id.partition, manifest.next_offset, 1);
            read.map_err(|e| shard.log_error(e))?;
            shard.show(manifest);
        }
        let parent = fork.or_else(|| manifest.as_ref().and_then(|manifest| manifest.parent));
        if let Some(parent) = parent {
            shard.check_parent(parent)?;
        }
        let sealed_at = if shard.has_heirs() { Some(shard.log_end()?) } else { None };
        fail::fail_point!("recovery-restored");
        let now_ms = shard.clock.now_ms();
        let last_epochs = manifest.as_ref().filter(|_| fork.is_none()).map(Manifest::last_epochs);
        Ok(Self {
            state,
            io,
            epoch: manifest.as_ref().map_or(0, |manifest| manifest.epoch),
            parent,
            sealed_at,
            next_offset: manifest.as_ref().map_or(0, |manifest| manifest.next_offset),
            records: 0,
            last_epochs: last_epochs.unwrap_or_default(),
            // What was inherited becomes its own at once: a recompute begins at an epoch.
            epoch_started_ms: if fork.is_some() { now_ms - shard.settings.epoch_interval_ms } else { now_ms },
            live_published_ms: now_ms,
            unpublished: Vec::new(),
            waiting_finals: VecDeque::new(),
            changed: fork.is_some(),
            written: None,
            is_over: false,
        })
    }

    /// Looks whether the last epoch is written.
    fn take_written(&mut self, shard: &Shard) -> Result<(), StreamError> {
        match self.written.take() {
            None => Ok(()),
            Some(Written::Done(outcome)) => outcome,
            Some(Written::InFlight(receiver)) => match receiver.try_recv() {
                Ok(outcome) => outcome,
                Err(TryRecvError::Disconnected) => Err(shard.lost_thread()),
                Err(TryRecvError::Empty) => {
                    self.written = Some(Written::InFlight(receiver));
                    Ok(())
                }
            },
        }
    }

    fn go_on(&mut self, shard: &Shard) -> Result<Step, StreamError> {
        let is_writing = self.written.is_some();
        if is_writing {
            self.check_age(shard)?;
        }
        let is_at_end = self.sealed_at == Some(self.next_offset);
        let due = is_at_end || shard.clock.now_ms() - self.epoch_started_ms >= shard.settings.epoch_interval_ms;
        // A full buffer does not wait for a time; a due epoch waits until the one before it is written.
        if self.changed && (self.is_full(shard) || (due && !is_writing)) {
            return self.try_freeze(shard, false);
        }
        if is_at_end && !self.changed {
            return self.leave(shard);
        }
        let read = self.read(shard)?;
        self.publish_due(shard)?;
        Ok(if read { Step::Worked } else { Step::Waiting(WaitFor::Records) })
    }

    /// Before a graceful stop: what has been acknowledged until then is taken in, and everything is written out.
    fn finish(&mut self, shard: &Shard, end: u64) -> Result<Step, StreamError> {
        if self.is_over {
            return self.leave(shard);
        }
        if self.next_offset < end {
            if self.is_full(shard) {
                return self.try_freeze(shard, false);
            }
            if self.read(shard)? {
                return Ok(Step::Worked);
            }
        }
        let step = self.try_freeze(shard, true)?;
        self.is_over = step == Step::Worked;
        Ok(step)
    }

    /// After the partition was taken away: the epoch is finished or, after a while, abandoned.
    fn hand_over(&mut self, shard: &Shard, since_ms: i64) -> Result<Step, StreamError> {
        if shard.clock.now_ms() - since_ms > HAND_OVER_LIMIT_MS {
            tracing::warn!(shard = %shard.id, "the partition was taken away: its last epoch is abandoned");
            return Ok(Step::Gone);
        }
        if self.changed && !self.is_over {
            let step = self.try_freeze(shard, false)?;
            self.is_over = step == Step::Worked;
            return Ok(step);
        }
        self.leave(shard)
    }

    /// Gone once what was frozen is decided and in the lake.
    fn leave(&mut self, shard: &Shard) -> Result<Step, StreamError> {
        if self.written.is_some() {
            return Ok(Step::Waiting(WaitFor::Write));
        }
        if shard.undone() > 0 {
            return Ok(Step::Waiting(WaitFor::Committer));
        }
        if let Some(topic) = &shard.settings.live_topic
            && !self.publish_finals(shard, topic)?
        {
            let epochs = self.waiting_finals.len();
            tracing::warn!(shard = %shard.id, epochs, "the log stays full: the live view lacks their final deltas");
        }
        Ok(Step::Gone)
    }

    fn is_full(&self, shard: &Shard) -> bool {
        self.state.pending_bytes() >= shard.max_pending_bytes.load(Ordering::Relaxed)
    }

    /// Reads and processes what there is; whether there was anything.
    fn read(&mut self, shard: &Shard) -> Result<bool, StreamError> {
        let id = &shard.id;
        let records = shard.commit.log.read(&id.topic, id.partition, self.next_offset, READ_BYTES);
        let records = records.map_err(|e| shard.log_error(e))?;
        let Some(last) = records.last() else { return Ok(false) };
        fail::fail_point!("shard-after-poll");
        self.state.process(&records)?;
        if !self.changed {
            self.epoch_started_ms = shard.clock.now_ms();
        }
        self.next_offset = last.offset + 1;
        self.records += records.len() as u64;
        self.changed = true;
        if shard.settings.live_topic.is_some() {
            self.unpublished.extend(records.iter().map(|r| (r.header.received_at_ms, r.header.event_count)));
        }
        shard.progress.read_offset.store(self.next_offset, Ordering::Release);
        Ok(true)
    }

    fn publish_due(&mut self, shard: &Shard) -> Result<(), StreamError> {
        let Some(topic) = &shard.settings.live_topic else { return Ok(()) };
        let now_ms = shard.clock.now_ms();
        let due = now_ms - self.live_published_ms >= shard.settings.live_interval_ms;
        if !self.publish_finals(shard, topic)? || !due {
            return Ok(());
        }
        self.live_published_ms = now_ms;
        if let Some(payload) = self.state.live(self.epoch + 1)
            && shard.publish(topic, payload.into())?
        {
            shard.record_freshness(std::mem::take(&mut self.unpublished));
        }
        Ok(())
    }

    /// Publishes the final deltas that wait, in order; whether none is left.
    fn publish_finals(&mut self, shard: &Shard, topic: &str) -> Result<bool, StreamError> {
        while let Some(oldest) = self.waiting_finals.pop_front() {
            if !shard.publish(topic, oldest.payload.clone())? {
                self.waiting_finals.push_front(oldest);
                return Ok(false);
            }
            shard.record_freshness(oldest.arrivals);
        }
        Ok(true)
    }

    /// Freezes once nothing stands against it.
    fn try_freeze(&mut self, shard: &Shard, last: bool) -> Result<Step, StreamError> {
        if self.written.is_some() {
            return Ok(Step::Waiting(WaitFor::Write));
        }
        if shard.undone() >= MAX_UNDONE {
            return Ok(Step::Waiting(WaitFor::Committer));
        }
        self.freeze(shard, last)?;
        Ok(Step::Worked)
    }

    /// Step 1; steps 2 to 4 are handed over.
    fn freeze(&mut self, shard: &Shard, last: bool) -> Result<(), StreamError> {
        let epoch = self.epoch + 1;
        let frozen_at_ms = shard.clock.now_ms();
        let mut frozen = self.state.freeze(epoch, last, &self.io)?;
        if let (Some(topic), Some(payload)) = (&shard.settings.live_topic, frozen.live.take()) {
            let arrivals = std::mem::take(&mut self.unpublished);
            self.waiting_finals.push_back(FinalDeltas { payload: payload.into(), arrivals });
            if !self.publish_finals(shard, topic)? && self.waiting_finals.len() > MAX_WAITING_FINALS {
                self.waiting_finals.pop_front();
                tracing::warn!(shard = %shard.id, "the log stays full: the live view lacks an epoch's final deltas");
            }
        }
        if last && !self.changed && frozen.tables.is_empty() {
            return Ok(()); // nothing happened since the last epoch
        }
        self.epoch = epoch;
        let write = EpochWrite {
            id: shard.id.clone(),
            store: shard.store.clone(),
            lake: shard.commit.lake.clone(),
            progress: shard.progress.clone(),
            clock: shard.clock.clone(),
            writer_id: shard.writer_id.clone(),
            snapshot_version: shard.job.snapshot_version(),
            epoch,
            next_offset: self.next_offset,
            records: self.records,
            frozen_at_ms,
            last_epochs: self.last_epochs.clone(),
            parent: self.parent,
        };
        for (table, rows) in &frozen.tables {
            if rows.num_rows() > 0 {
                self.last_epochs.insert(table.name.to_owned(), epoch);
            }
        }
        self.last_epochs.insert(tables::EPOCHS.name.to_owned(), epoch);
        self.records = 0;
        self.changed = false;
        self.epoch_started_ms = shard.clock.now_ms();
        let (sender, receiver) = sync_channel(1);
        self.written = Some(Written::InFlight(receiver));
        let committer = shard.committer.clone();
        (shard.spawn)(Box::pin(async move {
            let decided = write.run(frozen).await;
            let gone = |_| StreamError::Thread("the committer".to_owned());
            let outcome = decided.and_then(|decided| committer.send(decided).map_err(gone));
            let _ = sender.send(outcome); // an abandoned shard does not ask
        }))
    }

    fn check_age(&self, shard: &Shard) -> Result<(), StreamError> {
        if shard.clock.now_ms() - self.epoch_started_ms > MAX_EPOCH_MS + shard.settings.epoch_interval_ms {
            let (shard, epoch) = (shard.id.to_string(), self.epoch);
            return Err(StreamError::TooSlow { shard, epoch, limit_ms: MAX_EPOCH_MS });
        }
        Ok(())
    }
}
