//! The state of one shard of `playback`, and the order of things within a record and within a freeze.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use hashbrown::HashMap;
use marquee_cmcd::{DeadLine, DecodedRecord, Part, decode_record};
use marquee_events::{BatchView, CLOCK_TOLERANCE_MS, ContentType, ContextView, DecodeError, FlatPayload, decode};
use marquee_lake::{TableSpec, tables};
use marquee_stream::{Frozen, Record, RecordType, ShardId, ShardIo, ShardState, StreamError};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::bronze::{BronzeRows, StoredRow};
use super::closed_index::{ClosedIndex, ClosedSession};
use super::cubes::Cubes;
use super::known_values::KnownValues;
use super::refold::{self, SessionRows};
use super::rules::broken_rule;
use super::session::{CloseReason, Context, Incoming, Offer, Session};
use super::session_rows::session_rows;
use super::timers::Timers;
use super::{HORIZON_MS, OPEN_REVISION_INTERVAL_MS, PlaybackMode, WATERMARK_DELAY_MS, date_of, timestamps};
use crate::dead_letters::{Broken, DeadLetters};
use crate::live::{LiveCell, LiveRecord};

pub(crate) struct PlaybackShard {
    mode: PlaybackMode,
    topic: String,
    partition: u32,
    epoch: u64,
    latest_event_ms: Option<i64>,
    sessions: HashMap<u128, Box<Session>>,
    closed: ClosedIndex,
    timers: Timers,
    bronze: BronzeRows,
    dead_letters: DeadLetters,
    late: Vec<LateEvent>,
    cubes: Cubes,
    open_rows_written_ms: i64,
}

struct LateEvent {
    offset: u64,
    index: u32,
    session_id: String,
    player_instance: String,
    sequence: u64,
    time_ms: i64,
    received_at_ms: i64,
    watermark_ms: i64,
}

#[derive(Serialize)]
struct SnapshotRef<'a> {
    epoch: u64,
    latest_event_ms: Option<i64>,
    sessions: Vec<(u128, &'a Session)>,
    closed: &'a ClosedIndex,
    known_values: &'a KnownValues,
}

#[derive(Deserialize)]
struct Snapshot {
    epoch: u64,
    latest_event_ms: Option<i64>,
    sessions: Vec<(u128, Session)>,
    closed: ClosedIndex,
    known_values: KnownValues,
}

impl PlaybackShard {
    pub(crate) fn start(mode: PlaybackMode, id: &ShardId, snapshot: Option<&[u8]>) -> Result<Self, StreamError> {
        let mut shard = Self {
            mode,
            topic: id.topic.clone(),
            partition: id.partition,
            epoch: 0,
            latest_event_ms: None,
            sessions: HashMap::new(),
            closed: ClosedIndex::default(),
            timers: Timers::default(),
            bronze: BronzeRows::default(),
            dead_letters: DeadLetters::default(),
            late: Vec::new(),
            cubes: Cubes::default(),
            open_rows_written_ms: i64::MIN,
        };
        let Some(bytes) = snapshot else { return Ok(shard) };
        let snapshot: Snapshot = postcard::from_bytes(bytes).map_err(|e| StreamError::Damaged {
            path: format!("the snapshot of shard {id}"),
            problem: e.to_string(),
        })?;
        shard.epoch = snapshot.epoch;
        shard.latest_event_ms = snapshot.latest_event_ms;
        shard.closed = snapshot.closed;
        shard.cubes.known_values = snapshot.known_values;
        for (key, mut session) in snapshot.sessions {
            session.number_cells(&mut shard.cubes);
            shard.timers.set(key, &mut session);
            shard.sessions.insert(key, Box::new(session));
        }
        shard.cubes.changed = false;
        Ok(shard)
    }

    /// Event time that has passed. An import has none: its sessions lie anywhere in time.
    fn watermark_ms(&self) -> Option<i64> {
        match self.mode {
            PlaybackMode::Live => self.latest_event_ms.map(|latest_ms| latest_ms - WATERMARK_DELAY_MS),
            PlaybackMode::Import => None,
        }
    }

    /// Takes a batch in. `places` are its events' places in the record, when they are not 0, 1, 2 and so on.
    fn view_events(
        &mut self,
        record: &Record,
        batch: &BatchView<'_>,
        content_type: ContentType,
        places: Option<&[u32]>,
    ) {
        let received_at_ms = record.header.received_at_ms;
        let key = session_key(&batch.context.session_id, &batch.context.player_instance);
        let shift_ms = self.clock_shift_ms(key, batch.sent_at_ms, received_at_ms);
        self.bronze.start_record(record.offset, received_at_ms, batch.sent_at_ms, shift_ms, &batch.context.fields());
        for (index, event) in batch.events.iter().enumerate() {
            let index = places.map_or(index as u32, |places| places[index]);
            if let Some((reason, detail)) = broken_rule(event, content_type, shift_ms, received_at_ms) {
                let (index, content_type) = (index as i32, content_type.mime());
                self.dead_letters.push(Broken { index, event_count: 1, reason, detail, content_type, record });
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
            if let Some(watermark_ms) = self.watermark_ms().filter(|w| incoming.time_ms < w - HORIZON_MS) {
                self.bronze.push(index, &incoming, event.event_time_ms, true);
                self.late.push(LateEvent {
                    offset: record.offset,
                    index,
                    session_id: batch.context.session_id.to_string(),
                    player_instance: batch.context.player_instance.to_string(),
                    sequence: event.sequence,
                    time_ms: incoming.time_ms,
                    received_at_ms,
                    watermark_ms,
                });
                continue;
            }
            let row = self.bronze.push(index, &incoming, event.event_time_ms, false);
            self.latest_event_ms = self.latest_event_ms.max(Some(incoming.time_ms));
            self.offer(key, row, shift_ms, &incoming, &batch.context);
        }
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
            self.view_events(record, batch, ContentType::Cmcd, Some(indexes));
        }
        Ok(())
    }

    /// The shift that a session has taken stays until its error changes by more than the tolerance: otherwise the
    /// network's jitter would stretch and squeeze every duration.
    fn clock_shift_ms(&self, key: u128, sent_at_ms: i64, received_at_ms: i64) -> i64 {
        if self.mode == PlaybackMode::Import || sent_at_ms == 0 {
            return 0;
        }
        let known = self.sessions.get(&key).map(|s| s.clock_shift_ms).or_else(|| self.closed.clock_shift_ms(key));
        let known = known.unwrap_or_default();
        let error_ms = received_at_ms.saturating_sub(sent_at_ms);
        match () {
            () if error_ms.saturating_sub(known).saturating_abs() <= CLOCK_TOLERANCE_MS => known,
            () if error_ms.saturating_abs() <= CLOCK_TOLERANCE_MS => 0,
            () => error_ms,
        }
    }

    fn offer(&mut self, key: u128, row: u32, shift_ms: i64, event: &Incoming<'_>, context: &ContextView<'_>) {
        let epoch = self.epoch + 1;
        let session = self.sessions.entry(key).or_insert_with(|| {
            let mut session = Box::new(Session::new(&context.session_id, &context.player_instance));
            if self.closed.may_contain(key) {
                // What is known of it is read at the end of the epoch, when it is folded anew.
                session.refold_from_row = Some(row);
            }
            session
        });
        session.clock_shift_ms = shift_ms;
        if session.bronze_epochs.last() != Some(&epoch) {
            session.bronze_epochs.push(epoch);
        }
        if session.refold_from_row.is_some() {
            return;
        }
        if session.needs_context() && session.is_next(event.sequence) {
            refold::begin(session, event.time_ms, Context::of(context), &mut self.cubes);
        }
        let mut sink = self.cubes.sink(session.cells.unwrap_or_default());
        let offer = session.offer(event, || Context::of(context), &mut sink);
        session.cells = session.cells.and(Some(sink.finish()));
        if offer == Offer::Behind {
            session.refold_from_row = Some(row);
            return;
        }
        while session.hole_is_over(Some(i64::MIN)) {
            refold::skip_hole(session, &mut self.cubes);
        }
        self.timers.set(key, session);
    }

    fn fire_timers(&mut self) {
        let Some(watermark_ms) = self.watermark_ms() else { return };
        while let Some(key) = self.timers.pop(watermark_ms) {
            let session = self.sessions.get_mut(&key).expect("a session that goes takes its timer along");
            session.timer_ms = None;
            // One that is to be folded anew is advanced and gets its timer then.
            if session.refold_from_row.is_none() {
                refold::advance(session, Some(watermark_ms), &mut self.cubes);
                self.timers.set(key, session);
            }
        }
    }

    fn end_of_input(&mut self) {
        for session in self.sessions.values_mut() {
            if session.refold_from_row.is_some() {
                session.input_ended = true;
            } else {
                end(session, &mut self.cubes);
            }
        }
    }

    /// Folds the marked sessions anew, all in one reading of the files that hold them.
    fn refold_marked(&mut self, io: &ShardIo) -> Result<(), StreamError> {
        let mut marked: Vec<u128> =
            self.sessions.iter().filter(|(_, s)| s.refold_from_row.is_some()).map(|(key, _)| *key).collect();
        if marked.is_empty() {
            return Ok(());
        }
        marked.sort_unstable();
        let mut was_closed: HashMap<u128, bool> = HashMap::new();
        let mut wanted: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for key in &marked {
            let known = if self.sessions[key].fold.event_count == 0 { self.closed.take(*key, io)? } else { None };
            let session = self.sessions.get_mut(key).expect("a marked session is there");
            was_closed.insert(*key, session.closed.is_some() || known.is_some());
            if let Some(known) = known {
                adopt(session, known);
            }
            let current = self.epoch + 1;
            for epoch in session.bronze_epochs.iter().filter(|epoch| **epoch != current) {
                wanted.entry(*epoch).or_default().push(session.session_id.clone());
            }
        }
        let mut rows: BTreeMap<u128, SessionRows> = marked.iter().map(|key| (*key, Vec::new())).collect();
        for (epoch, batch) in io.replay_rows("session_id", &wanted)? {
            for ((session_id, player_instance), row) in refold::stored_rows(&batch) {
                let key = session_key(&session_id, &player_instance);
                // Of its own epochs only: a session that was forgotten and has started again with the same key must
                // not find its former life in an epoch that is read for another session's sake.
                if let Some(rows) = rows.get_mut(&key)
                    && self.sessions[&key].bronze_epochs.contains(&epoch)
                {
                    rows.push(row);
                }
            }
        }
        let first_not_folded = |session_id: &str, player_instance: &str| {
            self.sessions.get(&session_key(session_id, player_instance)).and_then(|s| s.refold_from_row)
        };
        for ((session_id, player_instance), row) in self.bronze.rows_of(first_not_folded) {
            let row: StoredRow = row;
            rows.entry(session_key(session_id, player_instance)).or_default().push(row);
        }
        let watermark_ms = self.watermark_ms();
        for key in marked {
            let session = self.sessions.get_mut(&key).expect("a marked session is there");
            let (closed, input_ended) = (was_closed[&key], session.input_ended);
            refold::refold(session, &rows[&key], closed, watermark_ms, &mut self.cubes);
            if input_ended || (self.mode == PlaybackMode::Import && closed) {
                end(session, &mut self.cubes);
            }
            self.timers.set(key, session);
        }
        Ok(())
    }

    /// Gives every session that is due a row its next revision; their rows.
    fn revise(&mut self, epoch: u64, with_open: bool) -> RecordBatch {
        let mut due: Vec<u128> = self
            .sessions
            .iter()
            .filter(|(_, s)| s.changed && s.fold.event_count > 0 && (s.closed.is_some() || with_open))
            .map(|(key, _)| *key)
            .collect();
        due.sort_unstable();
        for key in &due {
            let session = self.sessions.get_mut(key).expect("a due session is there");
            session.revision += 1;
            session.changed = false;
        }
        let sessions: Vec<&Session> = due.iter().map(|key| self.sessions[key].as_ref()).collect();
        session_rows(&sessions, &self.topic, self.partition, epoch)
    }

    fn move_closed_to_index(&mut self) {
        for (key, mut session) in self.sessions.extract_if(|_, s| s.closed.is_some() && s.deadline_ms().is_none()) {
            self.timers.forget(key, &mut session);
            let closed = ClosedSession {
                revision: session.revision,
                next_sequence: session.next_sequence,
                last_time_ms: session.fold.last_time_ms,
                clock_shift_ms: session.clock_shift_ms,
                late_events: session.late_events,
                bronze_epochs: session.bronze_epochs,
            };
            self.closed.insert(key, closed);
        }
    }

    fn start_next_epoch(&mut self) {
        self.bronze.clear();
        self.late.clear();
        self.cubes.clear(self.sessions.values_mut().map(Box::as_mut));
        self.epoch += 1;
    }

    fn late_rows(&self) -> RecordBatch {
        let late = &self.late;
        let text = |value: &dyn Fn(&LateEvent) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(late.iter().map(value)))
        };
        let columns: Vec<ArrayRef> = vec![
            text(&|l| date_of(l.received_at_ms)),
            text(&|_| self.topic.clone()),
            Arc::new(Int32Array::from_iter_values(late.iter().map(|_| self.partition as i32))),
            Arc::new(Int64Array::from_iter_values(late.iter().map(|l| l.offset as i64))),
            Arc::new(Int32Array::from_iter_values(late.iter().map(|l| l.index as i32))),
            text(&|l| l.session_id.clone()),
            text(&|l| l.player_instance.clone()),
            Arc::new(Int64Array::from_iter_values(late.iter().map(|l| l.sequence as i64))),
            timestamps(late.iter().map(|l| Some(l.time_ms))),
            timestamps(late.iter().map(|l| Some(l.watermark_ms))),
        ];
        RecordBatch::try_new(tables::LATE_EVENTS.schema(), columns).expect("the columns are those of the spec")
    }

    fn live_record(&self, epoch: u64, is_final: bool) -> Vec<u8> {
        let cells = self.cubes.deltas().into_iter().map(|(dimensions, minute, measures)| LiveCell {
            dimensions: dimensions.clone(),
            minute,
            measures: measures.clone(),
        });
        let record = LiveRecord {
            topic: self.topic.clone(),
            partition: self.partition,
            epoch,
            is_final,
            cells: cells.collect(),
        };
        record.to_bytes()
    }

    /// The first epoch whose bronze rows a re-fold could still need.
    fn oldest_epoch(&self) -> Option<u64> {
        let open = self.sessions.values().filter_map(|session| session.bronze_epochs.first().copied()).min();
        [open, self.closed.oldest_epoch()].into_iter().flatten().min()
    }

    fn snapshot(&self) -> Vec<u8> {
        let mut sessions: Vec<(u128, &Session)> = self.sessions.iter().map(|(key, s)| (*key, s.as_ref())).collect();
        sessions.sort_unstable_by_key(|(key, _)| *key);
        let snapshot = SnapshotRef {
            epoch: self.epoch,
            latest_event_ms: self.latest_event_ms,
            sessions,
            closed: &self.closed,
            known_values: &self.cubes.known_values,
        };
        postcard::to_stdvec(&snapshot).expect("plain data can be encoded")
    }
}

impl ShardState for PlaybackShard {
    fn process(&mut self, records: &[Record]) -> Result<(), StreamError> {
        for record in records {
            match record.header.record_type {
                RecordType::ViewEvents(content_type) => {
                    let taken = match content_type {
                        ContentType::Cmcd => self.cmcd(record),
                        ContentType::Json | ContentType::Protobuf => decode(content_type, &record.payload)
                            .map(|batch| self.view_events(record, &batch, content_type, None)),
                    };
                    if let Err(error) = taken {
                        self.dead_letters.push(Broken {
                            index: -1,
                            event_count: record.header.event_count.max(1),
                            reason: "undecodable",
                            detail: error.to_string(),
                            content_type: content_type.mime(),
                            record,
                        });
                    }
                }
                RecordType::EndOfInput => self.end_of_input(),
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
            self.fire_timers();
        }
        Ok(())
    }

    fn pending_bytes(&self) -> usize {
        self.bronze.pending_bytes() + self.dead_letters.pending_bytes() + self.cubes.pending_bytes()
    }

    fn live(&mut self, epoch: u64) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.cubes.changed) {
            return None;
        }
        Some(self.live_record(epoch, false))
    }

    fn freeze(&mut self, epoch: u64, last: bool, io: &ShardIo) -> Result<Frozen, StreamError> {
        debug_assert_eq!(epoch, self.epoch + 1, "epochs follow each other");
        self.refold_marked(io)?;
        let now_ms = io.now_ms();
        let open_due = self.mode == PlaybackMode::Live
            && now_ms.saturating_sub(self.open_rows_written_ms) >= OPEN_REVISION_INTERVAL_MS;
        if open_due {
            self.open_rows_written_ms = now_ms;
        }
        let revisions = self.revise(epoch, last || open_due);
        self.move_closed_to_index();
        let live = Some(self.live_record(epoch, true));
        let mut tables: Vec<(&'static TableSpec, RecordBatch)> = Vec::new();
        let events = self.bronze.len() as u64;
        if events > 0 {
            tables.push((&tables::EVENTS, self.bronze.batch(&self.topic, self.partition)));
        }
        let dead_letters = std::mem::take(&mut self.dead_letters);
        let others = [
            (&tables::DEAD_LETTERS, dead_letters.rows(&self.topic, self.partition)),
            (&tables::SESSION_REVISIONS, revisions),
            (&tables::LATE_EVENTS, self.late_rows()),
            (&tables::QOE_MINUTES, self.cubes.rows(&self.topic, self.partition, epoch)),
        ];
        tables
            .extend(others.into_iter().filter(|(_, rows)| rows.num_rows() > 0).map(|(table, rows)| (table as _, rows)));
        self.start_next_epoch();
        let watermark_ms = self.watermark_ms();
        if let Some(watermark_ms) = watermark_ms {
            self.cubes.known_values.forget_before(watermark_ms);
        }
        let new_segments = self.closed.age(epoch, watermark_ms).into_iter().collect();
        Ok(Frozen {
            tables,
            snapshot: self.snapshot(),
            new_segments,
            segments: self.closed.segment_names(),
            oldest_epoch: self.oldest_epoch(),
            live,
            outgoing: Vec::new(),
            watermark_ms,
            events,
            dead_letters: dead_letters.events(),
        })
    }
}

/// Nothing more will come: holes are given up, the session is closed.
fn end(session: &mut Session, cubes: &mut Cubes) {
    while session.hole_is_over(None) {
        refold::skip_hole(session, cubes);
    }
    if session.fold.event_count > 0 && session.closed.is_none() {
        refold::close(session, CloseReason::EndOfInput, cubes);
    }
}

/// A session that a late event has found again.
fn adopt(session: &mut Session, known: ClosedSession) {
    session.revision = known.revision;
    session.next_sequence = known.next_sequence;
    session.late_events = known.late_events;
    let mut epochs = known.bronze_epochs;
    epochs.retain(|epoch| !session.bronze_epochs.contains(epoch));
    epochs.append(&mut session.bronze_epochs);
    session.bronze_epochs = epochs;
}

/// Identifies (session id, player instance); 128 bits never collide in practice.
fn session_key(session_id: &str, player_instance: &str) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(session_id.as_bytes());
    hasher.update(&[0xff]); // in no UTF-8 text
    hasher.update(player_instance.as_bytes());
    hasher.digest128()
}

#[cfg(test)]
mod bad_records;
#[cfg(test)]
mod tests;
