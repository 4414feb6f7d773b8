//! One shard: reads its partition, freezes epochs, has them written and decided. The protocol of an epoch:
//!
//! 1. freeze at an offset
//! 2. write the data files
//! 3. write the snapshot
//! 4. **create the manifest: the commit point**
//!
//! The committer adds 5. (the tables) and 6. (publish, mark done). Steps 2 to 4 run on the write pool while the shard goes on reading; the next
//! freeze waits for them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use marquee_lake::tables;

use crate::committer::{self, CommitContext, Decided};
use crate::manifest::{MANIFEST_FORMAT, OutgoingRecord};
use crate::progress::ShardProgress;
use crate::write_pool::WritePool;
use crate::{
    Clock, Decision, Frozen, Job, LogError, Manifest, NewRecord, RecordHeader, RecordType, Route, RuntimeProgress,
    RuntimeSettings, ShardId, ShardIo, ShardState, ShardStore, StreamError, TableEpoch,
};

/// Bytes read from the log at once: some thousand records, decoded while they are in the cache.
const READ_BYTES: usize = 1 << 20;

/// How long a shard waits for new records before it looks at its timers.
const IDLE_WAIT: Duration = Duration::from_millis(50);

/// Epochs that may be decided and not yet be in the lake before the shard stops reading.
const MAX_UNDONE: u64 = 8;

/// Vacuum may take files older than its retention for orphans; an epoch must be far faster (ms).
const MAX_EPOCH_MS: i64 = 10 * 60 * 1000;

/// Final live deltas that may wait for a log that is full. Their epochs do not depend on them, so past this the oldest
/// are dropped: no more memory for a log that refuses everything for so many epochs.
const MAX_WAITING_FINALS: usize = 8;

/// How often an old snapshot or manifest is looked for: every so many epochs.
const CLEAN_UP_EVERY: u64 = 50;

pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) job: Arc<dyn Job>,
    pub(crate) store: ShardStore,
    pub(crate) commit: CommitContext,
    pub(crate) committer: SyncSender<Decided>,
    pub(crate) pool: Arc<WritePool>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: RuntimeSettings,
    pub(crate) max_pending_bytes: usize,
    pub(crate) progress: Arc<ShardProgress>,
    pub(crate) runtime: Arc<RuntimeProgress>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) writer_id: String,
}

/// Where a shard stands between two freezes.
struct Position {
    epoch: u64,
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
}

/// Arrival times (ms since the epoch) and counts of events.
type Arrivals = Vec<(i64, u32)>;

/// The final live deltas of an epoch, and the arrivals that they make visible.
struct FinalDeltas {
    payload: Bytes,
    arrivals: Arrivals,
}

type InFlight = Receiver<Result<(), StreamError>>;

impl Shard {
    /// A panic is a failure like any other: without this the collector would go on taking what nobody reads.
    pub(crate) fn run_guarded(&self) {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run())).is_err() {
            self.runtime.fail(StreamError::Thread(format!("shard {} panicked", self.id)));
        }
    }

    fn run(&self) {
        loop {
            match self.run_once() {
                Ok(()) => return,
                Err(StreamError::Fenced { shard, epoch }) if !self.stop.load(Ordering::Acquire) => {
                    tracing::warn!(shard, epoch, "fenced: state thrown away, newest manifest loaded");
                }
                Err(error) => {
                    self.runtime.fail(error);
                    return;
                }
            }
        }
    }

    fn run_once(&self) -> Result<(), StreamError> {
        let (mut state, mut at) = self.recover()?;
        let io = ShardIo::new(
            self.id.clone(),
            self.store.clone(),
            self.commit.lake.clone(),
            self.commit.handle.clone(),
            self.clock.clone(),
            self.job.replay_table(),
        );
        let mut in_flight: Option<InFlight> = None;
        while !self.stop.load(Ordering::Acquire) && !self.runtime.has_failed() {
            let read = self.read(state.as_mut(), &mut at)?;
            self.publish_due(state.as_mut(), &mut at)?;
            if let Some(waiting) = &in_flight {
                match waiting.try_recv() {
                    Ok(result) => {
                        result?;
                        in_flight = None;
                    }
                    Err(TryRecvError::Disconnected) => return Err(self.lost_thread()),
                    Err(TryRecvError::Empty) => self.check_age(&at)?,
                }
            }
            let full = state.pending_bytes() >= self.max_pending_bytes;
            let due = self.clock.now_ms() - at.epoch_started_ms >= self.settings.epoch_interval_ms;
            // A full buffer does not wait for a time; a due epoch waits until the one before it is written.
            if at.changed && (full || (due && in_flight.is_none())) {
                self.finish(&mut in_flight)?;
                in_flight = Some(self.freeze(state.as_mut(), &mut at, &io, false)?);
            } else if !read {
                self.commit
                    .log
                    .wait(&self.id.topic, self.id.partition, at.next_offset, IDLE_WAIT)
                    .map_err(|e| self.log_error(e))?;
            }
        }
        self.read_to_end(state.as_mut(), &mut at, &io, &mut in_flight)?;
        self.finish(&mut in_flight)?;
        if !self.runtime.has_failed() {
            let mut last = Some(self.freeze(state.as_mut(), &mut at, &io, true)?);
            self.finish(&mut last)?;
            if let Some(topic) = &self.settings.live_topic
                && !self.publish_finals(topic, &mut at)?
            {
                let epochs = at.waiting_finals.len();
                tracing::warn!(shard = %self.id, epochs, "the log stays full: the live view lacks their final deltas");
            }
        }
        Ok(())
    }

    /// Before a graceful stop: what has been acknowledged until now is taken in.
    fn read_to_end(
        &self,
        state: &mut dyn ShardState,
        at: &mut Position,
        io: &ShardIo,
        in_flight: &mut Option<InFlight>,
    ) -> Result<(), StreamError> {
        let bounds = self.commit.log.bounds(&self.id.topic, self.id.partition).map_err(|e| self.log_error(e))?;
        while !self.runtime.has_failed() && at.next_offset < bounds.end && self.read(state, at)? {
            if state.pending_bytes() >= self.max_pending_bytes {
                self.finish(in_flight)?;
                *in_flight = Some(self.freeze(state, at, io, false)?);
            }
        }
        Ok(())
    }

    /// Reads the newest manifest, rolls its tables forward, restores the state, checks the log.
    fn recover(&self) -> Result<(Box<dyn ShardState>, Position), StreamError> {
        fail::fail_point!("recovery-start");
        let handle = &self.commit.handle;
        let epochs = handle.block_on(self.store.epochs())?;
        let newest = match epochs.last() {
            Some(epoch) => handle.block_on(self.store.read_manifest(*epoch))?,
            None => None,
        };
        let Some(newest) = newest else {
            let state = self.job.start_shard(&self.id, None)?;
            fail::fail_point!("recovery-restored");
            return Ok((state, self.position(0, 0, BTreeMap::new())));
        };
        let done = handle.block_on(self.store.done_epoch())?;
        for epoch in epochs.iter().filter(|epoch| **epoch > done) {
            let Some(manifest) = handle.block_on(self.store.read_manifest(*epoch))? else { continue };
            let decided = Decided {
                shard: self.id.clone(),
                store: self.store.clone(),
                manifest,
                progress: self.progress.clone(),
            };
            committer::commit(&self.commit, &[decided])?;
            fail::fail_point!("recovery-rolled-forward");
        }
        if newest.snapshot.version != self.job.snapshot_version() {
            return Err(StreamError::Damaged {
                path: newest.snapshot.path,
                problem: format!(
                    "its version {} is not the {} of this build: stop the old build gracefully and run the migration",
                    newest.snapshot.version,
                    self.job.snapshot_version()
                ),
            });
        }
        let snapshot = handle.block_on(self.store.read_snapshot(&newest.snapshot))?;
        let state = self.job.start_shard(&self.id, Some(&snapshot))?;
        // Halts here, loudly, when the log lost what the lake has, or expired what it has not.
        self.commit
            .log
            .read(&self.id.topic, self.id.partition, newest.next_offset, 1)
            .map_err(|e| self.log_error(e))?;
        self.progress.read_offset.store(newest.next_offset, Ordering::Release);
        self.progress.committed_offset.store(newest.next_offset, Ordering::Release);
        self.progress.done_epoch.store(newest.epoch, Ordering::Release);
        self.progress.decided_epoch.store(newest.epoch, Ordering::Release);
        fail::fail_point!("recovery-restored");
        Ok((state, self.position(newest.epoch, newest.next_offset, newest.last_epochs())))
    }

    fn position(&self, epoch: u64, next_offset: u64, last_epochs: BTreeMap<String, u64>) -> Position {
        let now_ms = self.clock.now_ms();
        Position {
            epoch,
            next_offset,
            records: 0,
            last_epochs,
            epoch_started_ms: now_ms,
            live_published_ms: now_ms,
            unpublished: Vec::new(),
            waiting_finals: VecDeque::new(),
            changed: false,
        }
    }

    /// Reads and processes what there is; whether there was anything.
    fn read(&self, state: &mut dyn ShardState, at: &mut Position) -> Result<bool, StreamError> {
        let log = &self.commit.log;
        let records =
            log.read(&self.id.topic, self.id.partition, at.next_offset, READ_BYTES).map_err(|e| self.log_error(e))?;
        let Some(last) = records.last() else { return Ok(false) };
        fail::fail_point!("shard-after-poll");
        state.process(&records)?;
        if !at.changed {
            at.epoch_started_ms = self.clock.now_ms();
        }
        at.next_offset = last.offset + 1;
        at.records += records.len() as u64;
        at.changed = true;
        if self.settings.live_topic.is_some() {
            at.unpublished.extend(records.iter().map(|r| (r.header.received_at_ms, r.header.event_count)));
        }
        self.progress.read_offset.store(at.next_offset, Ordering::Release);
        Ok(true)
    }

    fn publish_due(&self, state: &mut dyn ShardState, at: &mut Position) -> Result<(), StreamError> {
        let Some(topic) = &self.settings.live_topic else { return Ok(()) };
        let now_ms = self.clock.now_ms();
        if !self.publish_finals(topic, at)? || now_ms - at.live_published_ms < self.settings.live_interval_ms {
            return Ok(());
        }
        at.live_published_ms = now_ms;
        if let Some(payload) = state.live(at.epoch + 1)
            && self.publish(topic, payload.into())?
        {
            self.record_freshness(std::mem::take(&mut at.unpublished));
        }
        Ok(())
    }

    /// Publishes the final deltas that wait, in order; whether none is left.
    fn publish_finals(&self, topic: &str, at: &mut Position) -> Result<bool, StreamError> {
        while let Some(oldest) = at.waiting_finals.pop_front() {
            if !self.publish(topic, oldest.payload.clone())? {
                at.waiting_finals.push_front(oldest);
                return Ok(false);
            }
            self.record_freshness(oldest.arrivals);
        }
        Ok(true)
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

    /// Step 1; steps 2 to 4 are handed to the pool.
    fn freeze(
        &self,
        state: &mut dyn ShardState,
        at: &mut Position,
        io: &ShardIo,
        last: bool,
    ) -> Result<InFlight, StreamError> {
        self.wait_for_committer()?;
        let epoch = at.epoch + 1;
        let frozen_at_ms = self.clock.now_ms();
        let mut frozen = state.freeze(epoch, last, io)?;
        if let (Some(topic), Some(payload)) = (&self.settings.live_topic, frozen.live.take()) {
            let arrivals = std::mem::take(&mut at.unpublished);
            at.waiting_finals.push_back(FinalDeltas { payload: payload.into(), arrivals });
            if !self.publish_finals(topic, at)? && at.waiting_finals.len() > MAX_WAITING_FINALS {
                at.waiting_finals.pop_front();
                tracing::warn!(shard = %self.id, "the log stays full: the live view lacks an epoch's final deltas");
            }
        }
        let (sender, receiver) = sync_channel(1);
        if last && !at.changed && frozen.tables.is_empty() {
            let _ = sender.send(Ok(())); // nothing happened since the last epoch
            return Ok(receiver);
        }
        at.epoch = epoch;
        let write = EpochWrite {
            id: self.id.clone(),
            store: self.store.clone(),
            commit: self.commit.clone(),
            committer: self.committer.clone(),
            progress: self.progress.clone(),
            clock: self.clock.clone(),
            writer_id: self.writer_id.clone(),
            snapshot_version: self.job.snapshot_version(),
            epoch,
            next_offset: at.next_offset,
            records: at.records,
            frozen_at_ms,
            last_epochs: at.last_epochs.clone(),
        };
        for (table, rows) in &frozen.tables {
            if rows.num_rows() > 0 {
                at.last_epochs.insert(table.name.to_owned(), epoch);
            }
        }
        at.last_epochs.insert(tables::EPOCHS.name.to_owned(), epoch);
        at.records = 0;
        at.changed = false;
        at.epoch_started_ms = self.clock.now_ms();
        self.pool.run(move || {
            let _ = sender.send(write.run(frozen));
        })?;
        Ok(receiver)
    }

    fn finish(&self, in_flight: &mut Option<InFlight>) -> Result<(), StreamError> {
        match in_flight.take() {
            None => Ok(()),
            Some(receiver) => receiver.recv().map_err(|_| self.lost_thread())?,
        }
    }

    fn wait_for_committer(&self) -> Result<(), StreamError> {
        let undone = |p: &ShardProgress| p.decided_epoch.load(Ordering::Acquire).saturating_sub(p.done_epoch());
        let limit = Duration::from_millis(MAX_EPOCH_MS as u64);
        if self.runtime.wait_until(limit, |_| undone(&self.progress) < MAX_UNDONE) || self.runtime.has_failed() {
            return Ok(());
        }
        let epoch = self.progress.done_epoch() + 1;
        Err(StreamError::TooSlow { shard: self.id.to_string(), epoch, limit_ms: MAX_EPOCH_MS })
    }

    fn check_age(&self, at: &Position) -> Result<(), StreamError> {
        if self.clock.now_ms() - at.epoch_started_ms > MAX_EPOCH_MS + self.settings.epoch_interval_ms {
            return Err(StreamError::TooSlow { shard: self.id.to_string(), epoch: at.epoch, limit_ms: MAX_EPOCH_MS });
        }
        Ok(())
    }

    fn log_error(&self, source: LogError) -> StreamError {
        StreamError::Log { shard: self.id.to_string(), source }
    }

    fn lost_thread(&self) -> StreamError {
        StreamError::Thread(format!("the write of an epoch of shard {}", self.id))
    }
}

/// Steps 2 to 4 of an epoch.
struct EpochWrite {
    id: ShardId,
    store: ShardStore,
    commit: CommitContext,
    committer: SyncSender<Decided>,
    progress: Arc<ShardProgress>,
    clock: Arc<dyn Clock>,
    writer_id: String,
    snapshot_version: u32,
    epoch: u64,
    next_offset: u64,
    records: u64,
    frozen_at_ms: i64,
    last_epochs: BTreeMap<String, u64>,
}

impl EpochWrite {
    fn run(self, frozen: Frozen) -> Result<(), StreamError> {
        let (epoch, handle) = (self.epoch, self.commit.handle.clone());
        let mut files = BTreeMap::new();
        let control = (&tables::EPOCHS, self.epochs_row(&frozen));
        for (table, rows) in frozen.tables.iter().chain(std::iter::once(&control)) {
            let prev = self.last_epochs.get(table.name).copied();
            let mut written = Vec::new();
            if rows.num_rows() > 0 {
                fail::fail_point!("parquet-before-write");
                let name = format!(
                    "{}-{}-{:05}-{epoch:012}-{}",
                    self.id.job, self.id.topic, self.id.partition, self.writer_id
                );
                let write = self.commit.lake.write(table, &name, rows, self.frozen_at_ms);
                written = handle
                    .block_on(write)
                    .map_err(|source| StreamError::Lake { shard: self.id.to_string(), source })?;
                fail::fail_point!("parquet-after-write");
            }
            files.insert(table.name.to_owned(), TableEpoch { files: written, prev });
        }
        // Tables without rows carry `prev` on, so that the newest manifest knows every table's last epoch.
        for (name, last) in &self.last_epochs {
            files.entry(name.clone()).or_insert_with(|| TableEpoch { files: Vec::new(), prev: Some(*last) });
        }
        for (name, bytes) in frozen.new_segments {
            handle.block_on(self.store.write_segment(&name, bytes))?;
        }
        fail::fail_point!("snapshot-before-write");
        let snapshot = handle.block_on(self.store.write_snapshot(
            epoch,
            &self.writer_id,
            self.snapshot_version,
            frozen.snapshot,
        ))?;
        fail::fail_point!("manifest-before-create");
        let manifest = Manifest {
            format: MANIFEST_FORMAT,
            job: self.id.job.to_owned(),
            topic: self.id.topic.clone(),
            partition: self.id.partition,
            epoch,
            writer_id: self.writer_id.clone(),
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            next_offset: self.next_offset,
            watermark_ms: frozen.watermark_ms,
            snapshot,
            segments: frozen.segments,
            tables: files,
            outgoing: frozen.outgoing.into_iter().map(outgoing).collect(),
            frozen_at_ms: self.frozen_at_ms,
        };
        if self.clock.now_ms() - self.frozen_at_ms > MAX_EPOCH_MS {
            return Err(StreamError::TooSlow { shard: self.id.to_string(), epoch, limit_ms: MAX_EPOCH_MS });
        }
        if handle.block_on(self.store.create_manifest(&manifest))? == Decision::Lost {
            return Err(StreamError::Fenced { shard: self.id.to_string(), epoch });
        }
        fail::fail_point!("manifest-after-create");
        self.progress.decided_epoch.store(epoch, Ordering::Release);
        if epoch.is_multiple_of(CLEAN_UP_EVERY) {
            let done = self.progress.done_epoch();
            let needed = frozen.oldest_epoch.unwrap_or(u64::MAX);
            handle.block_on(self.store.clean_up(&manifest, done, needed, self.clock.now_ms()))?;
        }
        let decided = Decided { shard: self.id.clone(), store: self.store, manifest, progress: self.progress };
        self.committer.send(decided).map_err(|_| StreamError::Thread("the committer".to_owned()))
    }

    fn epochs_row(&self, frozen: &Frozen) -> RecordBatch {
        let timestamp = |ms: Option<i64>| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from(vec![ms.map(|ms| ms.saturating_mul(1000))]).with_timezone("UTC"))
        };
        let int = |value: u64| -> ArrayRef { Arc::new(Int64Array::from(vec![value as i64])) };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![self.id.topic.as_str()])),
            Arc::new(Int32Array::from(vec![self.id.partition as i32])),
            int(self.epoch),
            int(self.next_offset),
            timestamp(frozen.watermark_ms),
            int(self.records),
            int(frozen.events),
            int(frozen.dead_letters),
            timestamp(Some(self.frozen_at_ms)),
        ];
        RecordBatch::try_new(tables::EPOCHS.schema(), columns).expect("the columns are those of the spec")
    }
}

fn outgoing((topic, record): (String, NewRecord)) -> OutgoingRecord {
    let key = match record.route {
        Route::Key(key) => key.to_vec(),
        Route::Partition(partition) => partition.to_be_bytes().to_vec(),
    };
    OutgoingRecord { topic, key, payload: record.payload.to_vec() }
}
