//! The state of one shard of `playback`, and the order of things within a record and within a freeze.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use hashbrown::HashMap;
use marquee_cmcd::{DeadLine, DecodedRecord, Part, decode_record};
use marquee_events::{CLOCK_TOLERANCE_MS, ContentType, DecodeError, EventView, FlatPayload, Split, decode, split};
use marquee_lake::{TableSpec, tables};
use marquee_stream::{Frozen, Kept, Parent, Record, RecordType, ShardId, ShardIo, ShardState, StreamError};

use super::bronze::BronzeRows;
use super::closed_index::{ClosedIndex, ClosedSession};
use super::contexts::Contexts;
use super::cubes::{Cubes, Delta};
use super::late::{LateEvent, late_rows};
use super::refold::{self, SessionRows};
use super::rules::broken_rule;
use super::session::{Incoming, Offer, Session};
use super::session_rows::session_rows;
use super::sessions::{Sessions, Slot};
use super::snapshot::{Snapshot, SnapshotRef};
use super::state_log::StateLog;
use super::timers::Timers;
use super::turns::{OpenTurns, Turn};
use super::{HORIZON_MS, PlaybackMode, WATERMARK_DELAY_MS};
use crate::dead_letters::{Broken, DeadLetters, bad_arrival};
use crate::live::LiveRecordRef;

/// Records that are looked up together: enough for the memory to be busy, few enough to stay in the first cache.
const LOOK_AHEAD: usize = 16;

/// What is known of a record before its turn.
#[derive(Debug, Default)]
struct Ahead<'a> {
    /// The record in parts, and the hash of its context.
    split: Option<(Split<'a>, u128)>,
    context: Option<u32>,
    events: Vec<EventView<'a>>,
}

pub(crate) struct PlaybackShard {
    mode: PlaybackMode,
    topic: String,
    partition: u32,
    epoch: u64,
    latest_event_ms: Option<i64>,
    contexts: Contexts,
    /// Their size when the epoch began.
    kept_contexts_bytes: usize,
    sessions: Sessions,
    closed: ClosedIndex,
    state_log: StateLog,
    timers: Timers,
    bronze: BronzeRows,
    dead_letters: DeadLetters,
    late: Vec<LateEvent>,
    cubes: Cubes,
    open_turns: OpenTurns,
}

impl PlaybackShard {
    /// With more than `max_unpacked` sessions those are packed that nothing happens to.
    pub(crate) fn start(
        mode: PlaybackMode,
        max_unpacked: usize,
        id: &ShardId,
        kept: Option<Kept<'_>>,
    ) -> Result<Self, StreamError> {
        let mut shard = Self {
            mode,
            topic: id.topic.clone(),
            partition: id.partition,
            epoch: 0,
            latest_event_ms: None,
            contexts: Contexts::default(),
            kept_contexts_bytes: 0,
            sessions: Sessions::new(max_unpacked),
            closed: ClosedIndex::default(),
            state_log: StateLog::default(),
            timers: Timers::default(),
            bronze: BronzeRows::default(),
            dead_letters: DeadLetters::default(),
            late: Vec::new(),
            cubes: Cubes::default(),
            open_turns: OpenTurns::default(),
        };
        let Some(Kept { snapshot, io, fork }) = kept else { return Ok(shard) };
        let snapshot = Snapshot::from_bytes(snapshot, id)?;
        shard.epoch = snapshot.epoch;
        shard.latest_event_ms = snapshot.latest_event_ms;
        shard.cubes.known_values = snapshot.known_values;
        shard.state_log = snapshot.state;
        let restored = shard.state_log.restore(io)?;
        shard.kept_contexts_bytes = restored.contexts.size_bytes();
        shard.contexts = restored.contexts;
        shard.closed = snapshot.closed;
        shard.closed.restore(restored.closed, io)?;
        shard.sessions.reserve(restored.sessions.len());
        for (key, slot) in restored.sessions {
            match slot {
                Slot::Packed(packed) => {
                    packed.timer_ms().into_iter().for_each(|timer_ms| shard.timers.restore(key, timer_ms));
                    shard.sessions.insert_packed(key, packed);
                }
                Slot::Unpacked(mut session) => {
                    session.number_cells(&shard.contexts, &mut shard.cubes);
                    shard.timers.set(key, &mut session);
                    shard.sessions.insert(key, session);
                }
            }
        }
        shard.cubes.changed = false;
        if let Some(parent) = fork {
            shard.split_off(parent);
        }
        Ok(shard)
    }

    /// Makes the parent's state its own: without the open sessions of its siblings. Which of the closed ones are theirs cannot
    /// be told from a key, and nobody asks this shard for them.
    fn split_off(&mut self, parent: Parent) {
        let Self { sessions, contexts, timers, .. } = self;
        sessions.retain(|key, slot| {
            let is_mine = parent.leaves(contexts.text(slot.context(), 0).as_bytes());
            if let Some(timer_ms) = slot.timer_ms().filter(|_| !is_mine) {
                timers.remove(key, timer_ms);
            }
            is_mine
        });
        self.epoch = parent.epoch;
        self.state_log = StateLog::default();
        for (key, _) in self.sessions.iter() {
            self.state_log.mark(key);
        }
        self.closed.changed = self.closed.recent.keys().copied().collect();
    }

    fn watermark_ms(&self) -> Option<i64> {
        self.mode.watermark_ms(self.latest_event_ms)
    }

    /// Takes these records apart and finds their contexts, where that needs no decoding, and then their sessions, so that
    /// memory is asked for many of them at a time: one after the other, waiting for it is half of the work.
    fn look_ahead<'a>(&mut self, records: &'a [Record], ahead: &mut [Ahead<'a>]) {
        for (record, ahead) in records.iter().zip(ahead.iter_mut()) {
            let RecordType::ViewEvents(content_type) = record.header.record_type else { continue };
            let split = split(content_type, &record.payload, &mut ahead.events);
            ahead.split = split.map(|split| (split, self.contexts.hash_of_split(&split)));
        }
        for Ahead { split, context, .. } in ahead.iter_mut() {
            *context = split.as_ref().and_then(|(split, hash)| self.contexts.of_split(split, *hash));
        }
        let keys = ahead.iter().filter_map(|ahead| ahead.context).map(|context| self.contexts.session(context));
        for slot in keys.filter_map(|key| self.sessions.slot(key)) {
            match slot.unpacked() {
                Some(session) => {
                    session.touch();
                    self.cubes.touch(session.cells.as_ref());
                }
                None => slot.touch_all(),
            }
        }
    }

    /// Takes a record in, whatever it is.
    fn take_any(&mut self, record: &Record, ahead: &mut Ahead<'_>) {
        match record.header.record_type {
            RecordType::ViewEvents(content_type) => {
                let known = (ahead.split.take(), ahead.context.take());
                let taken = if let Some(broken) = bad_arrival(record.header.received_at_ms) {
                    Err(broken)
                } else if let (Some((split, _)), Some(context)) = known {
                    let (sent_at_ms, events) = (split.sent_at_ms, &ahead.events);
                    self.view_events(&Batch { record, content_type, context, sent_at_ms, events, places: None });
                    Ok(())
                } else {
                    self.take_decoded(record, content_type).map_err(|error| ("undecodable", error.to_string()))
                };
                if let Err((reason, detail)) = taken {
                    self.dead_letters.push(Broken {
                        index: -1,
                        event_count: record.header.event_count.max(1),
                        reason,
                        detail,
                        content_type: content_type.mime(),
                        record,
                    });
                }
            }
            RecordType::EndOfInput => self.end_of_input(),
            RecordType::Seal => {}
            RecordType::Interactions(_) | RecordType::LiveDeltas | RecordType::Job => {
                self.dead_letters.push(Broken {
                    index: -1,
                    event_count: record.header.event_count,
                    reason: "foreign_record",
                    detail: format!("a record of type {:?} is none of this topic's", record.header.record_type),
                    content_type: "application/octet-stream",
                    record,
                });
            }
        }
    }

    /// Takes a record of view events in, whatever it is like.
    fn take_decoded(&mut self, record: &Record, content_type: ContentType) -> Result<(), DecodeError> {
        if content_type == ContentType::Cmcd {
            return self.cmcd(record);
        }
        let batch = decode(content_type, &record.payload)?;
        let context = self.contexts.of_view(&batch.context);
        let (sent_at_ms, events) = (batch.sent_at_ms, &batch.events);
        self.view_events(&Batch { record, content_type, context, sent_at_ms, events, places: None });
        Ok(())
    }

    /// Takes a record of CMCD lines in: each is an event or a dead letter.
    fn cmcd(&mut self, record: &Record) -> Result<(), DecodeError> {
        let DecodedRecord { parts, dead } = decode_record(&record.payload, record.header.received_at_ms)?;
        for DeadLine { index, problem } in dead {
            self.dead_letters.push(Broken {
                index: index as i32,
                event_count: 1,
                reason: problem.reason(),
                detail: problem.to_string(),
                content_type: ContentType::Cmcd.mime(),
                record,
            });
        }
        for Part { batch, indexes } in &parts {
            let context = self.contexts.of_view(&batch.context);
            self.view_events(&Batch {
                record,
                content_type: ContentType::Cmcd,
                context,
                sent_at_ms: batch.sent_at_ms,
                events: &batch.events,
                places: Some(indexes),
            });
        }
        Ok(())
    }

    fn view_events(&mut self, batch: &Batch<'_, '_>) {
        let Batch { record, content_type, context, sent_at_ms, events, places } = *batch;
        let received_at_ms = record.header.received_at_ms;
        let key = self.contexts.session(context);
        let epoch = self.epoch + 1;
        let Self { mode, sessions, closed, contexts, cubes, bronze, dead_letters, late, latest_event_ms, .. } = self;
        let (mut session, mut vacant) = sessions.entry(key, contexts, cubes);
        let known_shift_ms = session.as_ref().map(|s| s.clock_shift_ms).or_else(|| closed.clock_shift_ms(key));
        let shift_ms = match mode {
            PlaybackMode::Live => clock_shift_ms(known_shift_ms, sent_at_ms, received_at_ms),
            PlaybackMode::Import => 0,
        };
        bronze.start_record(record.offset, received_at_ms, sent_at_ms, shift_ms, context);
        let mut sink = cubes.sink(session.as_ref().and_then(|s| s.cells));
        for (index, event) in events.iter().enumerate() {
            let index = places.map_or(index as u32, |places| places[index]);
            if let Some((reason, detail)) = broken_rule(event, content_type, shift_ms, received_at_ms) {
                let (index, content_type) = (index as i32, content_type.mime());
                dead_letters.push(Broken { index, event_count: 1, reason, detail, content_type, record });
                continue;
            }
            let Some(payload) = &event.payload else { continue };
            let incoming = Incoming {
                sequence: event.sequence,
                event_id: &event.event_id,
                time_ms: event.event_time_ms + shift_ms,
                media_time_ms: event.media_time_ms,
                payload: FlatPayload::of(payload),
            };
            let past_horizon = |watermark_ms: &i64| incoming.time_ms < watermark_ms - HORIZON_MS;
            if let Some(watermark_ms) = mode.watermark_ms(*latest_event_ms).filter(past_horizon) {
                bronze.push(index, &incoming, event.event_time_ms, true);
                let (offset, sequence, time_ms) = (record.offset, event.sequence, incoming.time_ms);
                late.push(LateEvent { offset, index, context, sequence, time_ms, received_at_ms, watermark_ms });
                continue;
            }
            let row = bronze.push(index, &incoming, event.event_time_ms, false);
            *latest_event_ms = (*latest_event_ms).max(Some(incoming.time_ms));
            let session = match &mut session {
                Some(session) => session,
                none => none.insert(vacant.take().expect("a session is known or new").insert({
                    let mut session = Session::new(context);
                    // What is known of a closed one is read at the end of the epoch, when it is folded anew.
                    session.refold_from_row = closed.may_contain(key).then_some(row);
                    session
                })),
            };
            session.clock_shift_ms = shift_ms;
            session.bronze_epochs.push(epoch);
            if session.refold_from_row.is_some() {
                continue;
            }
            if session.needs_context() && session.is_next(event.sequence) {
                refold::begin(session, incoming.time_ms, context, contexts, &mut sink);
            }
            if session.offer(&incoming, context, &mut sink) == Offer::Behind {
                session.refold_from_row = Some(row);
                continue;
            }
            while session.hole_is_over(Some(i64::MIN)) {
                refold::skip_hole(session, contexts, &mut sink);
            }
        }
        let cells = sink.finish();
        if let Some(session) = session {
            session.cells = cells;
            self.state_log.touch(key, session);
            if session.refold_from_row.is_none() {
                self.timers.set(key, session);
            }
        }
    }

    fn fire_timers(&mut self) {
        let Some(watermark_ms) = self.watermark_ms() else { return };
        while let Some(key) = self.timers.pop(watermark_ms) {
            let Self { sessions, contexts, cubes, .. } = self;
            let session = sessions.get_mut(key, contexts, cubes).expect("a session that goes takes its timer along");
            session.timer_ms = None;
            self.state_log.touch(key, session);
            // One that is to be folded anew is advanced and gets its timer then.
            if session.refold_from_row.is_none() {
                refold::advance(session, Some(watermark_ms), &self.contexts, &mut self.cubes);
                self.timers.set(key, session);
            }
        }
    }

    fn end_of_input(&mut self) {
        let Self { sessions, state_log, contexts, cubes, .. } = self;
        sessions.unpack_all(contexts, cubes, |key, session, cubes| {
            state_log.touch(key, session);
            if session.refold_from_row.is_some() {
                session.input_ended = true;
            } else {
                refold::end(session, contexts, cubes);
            }
        });
    }

    /// Folds the marked sessions anew, all in one reading of the files that hold them.
    fn refold_marked(&mut self, io: &ShardIo) -> Result<(), StreamError> {
        let is_marked = |key: &u128| self.sessions.unpacked(*key).is_some_and(|s| s.refold_from_row.is_some());
        let marked: Vec<u128> = self.state_log.changed().iter().copied().filter(is_marked).collect();
        if marked.is_empty() {
            return Ok(());
        }
        let mut was_closed: HashMap<u128, bool> = HashMap::new();
        let mut wanted: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for key in &marked {
            let session = self.sessions.unpacked_mut(*key).expect("a marked session is there");
            let known = if session.fold.event_count == 0 { self.closed.take(*key, io)? } else { None };
            was_closed.insert(*key, session.closed.is_some() || known.is_some());
            if let Some(known) = known {
                adopt(session, known);
            }
            let current = self.epoch + 1;
            for epoch in session.bronze_epochs.iter().filter(|epoch| *epoch != current) {
                wanted.entry(epoch).or_default().push(self.contexts.text(session.context, 0).to_owned());
            }
        }
        let mut rows: BTreeMap<u128, SessionRows> = marked.iter().map(|key| (*key, Vec::new())).collect();
        for (epoch, batch) in io.replay_rows("session_id", &wanted)? {
            for found in refold::stored_rows(&batch) {
                // Of its own epochs only: a session that was forgotten and has started again with the same key must
                // not find its former life in an epoch that is read for another session's sake.
                if let Some(rows) = rows.get_mut(&found.key)
                    && let Some(session) = self.sessions.unpacked(found.key)
                    && session.bronze_epochs.contains(epoch)
                    && found.is_of(session.recomputed_to)
                {
                    rows.push(found.row);
                }
            }
        }
        let first_not_folded = |key: u128| self.sessions.unpacked(key).and_then(|session| session.refold_from_row);
        for (key, row) in self.bronze.rows_of(&self.contexts, first_not_folded) {
            rows.entry(key).or_default().push(row);
        }
        let watermark_ms = self.watermark_ms();
        for key in marked {
            let session = self.sessions.unpacked_mut(key).expect("a marked session is there");
            let (closed, input_ended) = (was_closed[&key], session.input_ended);
            refold::refold(session, &rows[&key], closed, watermark_ms, &mut self.contexts, &mut self.cubes);
            if input_ended || (self.mode == PlaybackMode::Import && closed) {
                refold::end(session, &self.contexts, &mut self.cubes);
            }
            self.timers.set(key, session);
        }
        Ok(())
    }

    /// Gives every session that is due a row its next revision; their rows. Open ones are due in their turn.
    fn revise(&mut self, epoch: u64, open_turn: Turn) -> RecordBatch {
        let Self { sessions, state_log, contexts, cubes, .. } = self;
        // Only what has changed in this epoch can be closed and have no row of it.
        let is_closed = |key: &u128| sessions.unpacked(*key).is_some_and(|session| session.closed.is_some());
        let mut due: Vec<u128> = state_log.changed().iter().copied().filter(is_closed).collect();
        if !open_turn.is_empty() {
            due.extend(sessions.changed(|key| open_turn.has(key)));
        }
        due.sort_unstable();
        due.dedup();
        due.retain(|key| {
            let session = sessions.get_mut(*key, contexts, cubes).expect("a due session is there");
            let is_due = session.changed && session.fold.event_count > 0;
            if is_due {
                session.revision += 1;
                session.changed = false;
                state_log.touch(*key, session);
            }
            is_due
        });
        let sessions: Vec<&Session> = due.iter().filter_map(|key| sessions.unpacked(*key)).collect();
        session_rows(&sessions, contexts, &self.topic, self.partition, epoch)
    }

    fn move_closed_to_index(&mut self) {
        for &key in self.state_log.changed() {
            let is_over = |session: &Session| session.closed.is_some() && session.deadline_ms().is_none();
            let Some(mut session) = self.sessions.remove_if(key, is_over) else { continue };
            self.timers.forget(key, &mut session);
            let closed = ClosedSession {
                revision: session.revision,
                next_sequence: session.next_sequence,
                last_time_ms: session.fold.last_time_ms,
                clock_shift_ms: session.clock_shift_ms,
                late_events: session.late_events,
                bronze_epochs: session.bronze_epochs,
                recomputed_to: session.recomputed_to,
            };
            self.closed.insert(key, &closed);
        }
    }

    fn start_next_epoch(&mut self) {
        self.bronze.clear();
        self.late.clear();
        if self.contexts.sweep(&mut self.sessions) {
            self.cubes.forget_symbols();
        }
        self.kept_contexts_bytes = self.contexts.size_bytes();
        self.cubes.clear(&self.contexts, &mut self.sessions);
        self.epoch += 1;
    }

    /// Goes on to the next epoch; the state after this one.
    fn end_epoch(&mut self) -> Frozen {
        self.start_next_epoch();
        let watermark_ms = self.watermark_ms();
        if let Some(watermark_ms) = watermark_ms {
            self.cubes.known_values.forget_before(watermark_ms);
        }
        let mut new_segments = self.closed.age(self.epoch, watermark_ms);
        let Self { state_log, sessions, closed, contexts, .. } = self;
        new_segments.extend(state_log.write(self.epoch, sessions, closed, contexts));
        let segments = self.state_log.segment_names().chain(self.closed.segment_names());
        Frozen {
            snapshot: self.snapshot(),
            new_segments,
            segments: segments.map(str::to_owned).collect(),
            oldest_epoch: self.oldest_epoch(),
            watermark_ms,
            ..Frozen::default()
        }
    }

    fn live_record(&self, deltas: &[Delta], epoch: u64, is_final: bool) -> Vec<u8> {
        let record = LiveRecordRef {
            topic: &self.topic,
            partition: self.partition,
            epoch,
            is_final,
            cells: deltas.iter().map(|delta| self.cubes.live_cell(delta)).collect(),
        };
        record.to_bytes()
    }

    /// An epoch at or before the first one whose bronze rows a re-fold could still need, as of the end of the last epoch.
    fn oldest_epoch(&self) -> Option<u64> {
        [self.state_log.oldest_epoch(), self.closed.oldest_epoch()].into_iter().flatten().min()
    }

    fn snapshot(&self) -> Vec<u8> {
        let snapshot = SnapshotRef {
            epoch: self.epoch,
            latest_event_ms: self.latest_event_ms,
            state: &self.state_log,
            closed: &self.closed,
            known_values: &self.cubes.known_values,
        };
        snapshot.to_bytes()
    }
}

/// One player's events, decoded.
#[derive(Clone, Copy)]
struct Batch<'a, 'b> {
    record: &'a Record,
    content_type: ContentType,
    /// The number of their context.
    context: u32,
    sent_at_ms: i64,
    events: &'a [EventView<'b>],
    /// Their places in the record, when these are not 0, 1, 2 and so on.
    places: Option<&'a [u32]>,
}

/// The shift that a session has taken stays until its error changes by more than the tolerance: otherwise the network's
/// jitter would stretch and squeeze every duration.
fn clock_shift_ms(known: Option<i64>, sent_at_ms: i64, received_at_ms: i64) -> i64 {
    if sent_at_ms == 0 {
        return 0;
    }
    let known = known.unwrap_or_default();
    let error_ms = received_at_ms.saturating_sub(sent_at_ms);
    match () {
        () if error_ms.saturating_sub(known).saturating_abs() <= CLOCK_TOLERANCE_MS => known,
        () if error_ms.saturating_abs() <= CLOCK_TOLERANCE_MS => 0,
        () => error_ms,
    }
}

impl PlaybackMode {
    /// Event time that has passed. An import has none: its sessions lie anywhere in time.
    fn watermark_ms(self, latest_event_ms: Option<i64>) -> Option<i64> {
        match self {
            PlaybackMode::Live => latest_event_ms.map(|latest_ms| latest_ms - WATERMARK_DELAY_MS),
            PlaybackMode::Import => None,
        }
    }
}

impl ShardState for PlaybackShard {
    fn process(&mut self, records: &[Record]) -> Result<(), StreamError> {
        let mut ahead: [Ahead<'_>; LOOK_AHEAD] = std::array::from_fn(|_| Ahead::default());
        for records in records.chunks(LOOK_AHEAD) {
            self.look_ahead(records, &mut ahead);
            for (record, ahead) in records.iter().zip(&mut ahead) {
                self.take_any(record, ahead);
                self.fire_timers();
            }
        }
        Ok(())
    }

    fn pending_bytes(&self) -> usize {
        // A client can make contexts up that are far larger than the rows they come with.
        let contexts = self.contexts.size_bytes().saturating_sub(self.kept_contexts_bytes);
        contexts + self.bronze.pending_bytes() + self.dead_letters.pending_bytes() + self.cubes.pending_bytes()
    }

    fn live(&mut self, epoch: u64) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.cubes.changed) {
            return None;
        }
        Some(self.live_record(&self.cubes.deltas(), epoch, false))
    }

    fn freeze(&mut self, epoch: u64, last: bool, io: &ShardIo) -> Result<Frozen, StreamError> {
        debug_assert_eq!(epoch, self.epoch + 1, "epochs follow each other");
        self.refold_marked(io)?;
        let open_turn = match self.mode {
            _ if last => Turn::ALL,
            PlaybackMode::Live => self.open_turns.next(io.now_ms()),
            PlaybackMode::Import => Turn::default(),
        };
        let revisions = self.revise(epoch, open_turn);
        self.move_closed_to_index();
        let deltas = self.cubes.deltas();
        let live = io.publishes_live().then(|| self.live_record(&deltas, epoch, true));
        let mut tables: Vec<(&'static TableSpec, RecordBatch)> = Vec::new();
        let events = self.bronze.len() as u64;
        if events > 0 {
            tables.push((&tables::EVENTS, self.bronze.batch(&self.contexts, &self.topic, self.partition)));
        }
        let dead_letters = std::mem::take(&mut self.dead_letters);
        let others = [
            (&tables::DEAD_LETTERS, dead_letters.rows(&self.topic, self.partition)),
            (&tables::SESSION_REVISIONS, revisions),
            (&tables::LATE_EVENTS, late_rows(&self.late, &self.contexts, &self.topic, self.partition)),
            (&tables::QOE_MINUTES, self.cubes.rows(&deltas, &self.topic, self.partition, epoch)),
        ];
        tables
            .extend(others.into_iter().filter(|(_, rows)| rows.num_rows() > 0).map(|(table, rows)| (table as _, rows)));
        Ok(Frozen { tables, live, events, dead_letters: dead_letters.events(), ..self.end_epoch() })
    }
}

/// A session that a late event has found again.
fn adopt(session: &mut Session, known: ClosedSession) {
    session.revision = known.revision;
    session.next_sequence = known.next_sequence;
    session.late_events = known.late_events;
    session.bronze_epochs.prepend(known.bronze_epochs);
    session.recomputed_to = known.recomputed_to;
}

pub(crate) mod recompute;

#[cfg(test)]
mod bad_records;
#[cfg(test)]
mod tests;
