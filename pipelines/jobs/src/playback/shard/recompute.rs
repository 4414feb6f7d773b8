//! An epoch of a shard that folds events past the horizon into their sessions: `marquee lake recompute`. Its input is
//! bronze instead of the log; all else is the shard's own: the state with the index of closed sessions, the re-fold, the
//! places of the cubes' values. So it takes back exactly what was added, and the shard that goes on from it knows what
//! was folded.
//!
//! The one thing to know before changing it: the state says which of a session's events past the horizon are part of it
//! ([`Session::recomputed_to`]), so that a later re-fold of the shard folds them again. Sessions that the state has
//! forgotten have that from table `recomputed_events`, as of the last recompute: see [`LateBatch`].

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array};
use arrow::record_batch::RecordBatch;
use hashbrown::HashMap;
use marquee_lake::{TableSpec, tables};
use marquee_stream::{Frozen, Kept, NewRecord, Newest, RecordHeader, RecordType, Route, ShardId, ShardIo, StreamError};

use super::{PlaybackShard, adopt};
use crate::LIVE_TOPIC;
use crate::playback::closed_index::{ClosedSession, RETENTION_MS};
use crate::playback::columns::{TextColumn, batch_of, constant_text, numbered_texts};
use crate::playback::contexts::session_key;
use crate::playback::cubes::{Delta, MINUTE_MS};
use crate::playback::known_values::first_kept_day;
use crate::playback::refold::{self, FoundRow, SessionRows};
use crate::playback::session::Session;
use crate::playback::session_rows::session_rows;
use crate::playback::{DAY_MS, HORIZON_MS, Playback, date_of, timestamps};

/// A session with events past the horizon, as the lake tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateSession {
    /// Its id.
    pub session_id: String,
    /// The instance of its player.
    pub player_instance: String,
    /// Offsets of the records that have its events past the horizon.
    pub late_offsets: Vec<u64>,
    /// Of these, those below this offset are folded already; 0 for none.
    pub folded_to: u64,
    /// What `session_revisions` says of it.
    pub written: Option<WrittenSession>,
}

/// A session in `session_revisions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenSession {
    /// No revision is there twice: a session that was forgotten and has started again counts from 1 again.
    pub is_one_life: bool,
    /// The first epoch of all its rows' `bronze_epochs`.
    pub first_epoch: u64,
    /// Of its newest row.
    pub revision: u64,
    /// Of its newest row.
    pub is_final: bool,
    /// Of its newest row.
    pub late_events: u64,
    /// Of its newest row.
    pub bronze_epochs: Vec<u64>,
}

/// Which offsets the epochs of a shard hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EpochOffsets(Vec<(u64, u64)>);

/// What a recompute asks of the lake and of the shard's manifests.
pub trait History {
    /// The rows of `events` of this shard at these offsets, of sessions with these ids; others may come with them.
    ///
    /// # Errors
    /// When they cannot be read.
    fn rows(&mut self, session_ids: &[&str], offsets: &[Range<u64>]) -> Result<Vec<RecordBatch>, StreamError>;

    /// Whether, among the sessions of this shard that began on this UTC date, a dimension has as many values as it has
    /// places: then nobody knows any more which of them were counted as `other`.
    ///
    /// # Errors
    /// When they cannot be counted.
    fn is_crowded(&mut self, date: &str) -> Result<bool, StreamError>;

    /// Whether the manifest of this epoch is there, and stays until the state that needs it is decided.
    ///
    /// # Errors
    /// When it cannot be read.
    fn keeps_manifest(&mut self, epoch: u64) -> Result<bool, StreamError>;
}

/// Sessions to fold in one epoch. It holds their rows, so that an epoch that was lost is folded anew without reading.
///
/// What it says of sessions must be as of an epoch after which no other recompute has changed the shard: of a session
/// that the state has forgotten, only tables say what is folded.
#[derive(Debug)]
pub struct LateBatch {
    sessions: Vec<LateSession>,
    /// Events past the horizon at offsets below this one are folded: all of them, for every session of the batch.
    to_offset: u64,
    rows: HashMap<u128, Vec<FoundRow>>,
    /// Epochs whose rows are here.
    read: BTreeSet<u64>,
    /// Which partition holds which offsets, see [`of_partitions`](Self::of_partitions).
    partitions: Vec<(u64, u32)>,
}

/// What an epoch has done, or would do.
#[derive(Debug, Default)]
pub struct Recomputed {
    /// The epoch; `None` when it would change nothing.
    pub frozen: Option<Frozen>,
    /// Sessions with a new revision.
    pub sessions: u64,
    /// Events past the horizon that they have now.
    pub events: u64,
    /// Sessions that were left alone.
    pub left: Left,
}

/// Sessions that a recompute leaves alone, because their sums could not be taken back exactly.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Left {
    /// Forgotten, and started again under the same key: nobody knows which of the two an event belongs to.
    pub started_again: u64,
    /// Begun on a day that the shard has forgotten and on which a dimension had reached its bound.
    pub crowded_day: u64,
    /// Some of their rows are in epochs whose manifests are gone, and the shard still knows them.
    pub rows_out_of_reach: u64,
}

impl LateSession {
    /// The part to which it belongs, of so many parts of all sessions.
    pub fn part_of(&self, count: u32) -> u32 {
        (session_key(&self.session_id, &self.player_instance) % u128::from(count.max(1))) as u32
    }
}

impl std::ops::AddAssign for Left {
    fn add_assign(&mut self, other: Self) {
        self.started_again += other.started_again;
        self.crowded_day += other.crowded_day;
        self.rows_out_of_reach += other.rows_out_of_reach;
    }
}

impl EpochOffsets {
    /// Adds the epochs after the last one, in order, each with its `next_offset`.
    pub fn extend(&mut self, epochs: impl IntoIterator<Item = (u64, u64)>) {
        self.0.extend(epochs);
        debug_assert!(self.0.is_sorted());
    }

    /// The last epoch; 0 without any.
    pub fn last_epoch(&self) -> u64 {
        self.0.last().map_or(0, |(epoch, _)| *epoch)
    }

    /// The epoch that holds an offset.
    fn epoch_of(&self, offset: u64) -> Option<u64> {
        let at = self.0.partition_point(|(_, next_offset)| *next_offset <= offset);
        self.0.get(at).map(|(epoch, _)| *epoch)
    }

    /// The offsets of these epochs, which are in order; neighbours as one range.
    fn ranges(&self, epochs: impl IntoIterator<Item = u64>) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for epoch in epochs {
            let Ok(at) = self.0.binary_search_by_key(&epoch, |(epoch, _)| *epoch) else { continue };
            let from = if at == 0 { 0 } else { self.0[at - 1].1 };
            let to = self.0[at].1;
            match ranges.last_mut() {
                Some(last) if last.end == from => last.end = to,
                _ if from < to => ranges.push(from..to),
                _ => {} // an epoch without records
            }
        }
        ranges
    }
}

impl LateBatch {
    /// These sessions, whose events past the horizon at offsets below `to_offset` are to be folded.
    pub fn new(sessions: Vec<LateSession>, to_offset: u64) -> Self {
        Self { sessions, to_offset, rows: HashMap::new(), read: BTreeSet::new(), partitions: Vec::new() }
    }

    /// Of a shard that goes on from others: its events are in these partitions, each from this offset on, in order.
    #[must_use]
    pub fn of_partitions(self, partitions: Vec<(u64, u32)>) -> Self {
        Self { partitions, ..self }
    }

    /// The partition that holds an offset; `None` when there is but one.
    fn partition_of(&self, offset: u64) -> Option<u32> {
        self.partitions.iter().rev().find(|(first, _)| *first <= offset).map(|(_, partition)| *partition)
    }

    /// Reads the rows of its sessions in these epochs, unless they are here.
    fn read(
        &mut self,
        wanted: &BTreeSet<u64>,
        epochs: &EpochOffsets,
        history: &mut dyn History,
    ) -> Result<(), StreamError> {
        let missing: Vec<u64> = wanted.difference(&self.read).copied().collect();
        let ranges = epochs.ranges(missing.iter().copied());
        if !ranges.is_empty() {
            let ids: BTreeSet<&str> = self.sessions.iter().map(|session| session.session_id.as_str()).collect();
            let ids: Vec<&str> = ids.into_iter().collect();
            for batch in history.rows(&ids, &ranges)? {
                let is_wanted = |offset: u64| {
                    let at = ranges.partition_point(|range| range.end <= offset);
                    ranges.get(at).is_some_and(|range| range.contains(&offset))
                };
                for found in refold::stored_rows(&batch).into_iter().filter(|found| is_wanted(found.row.offset)) {
                    self.rows.entry(found.key).or_default().push(found);
                }
            }
        }
        self.read.extend(missing);
        Ok(())
    }
}

/// A session that is about to be folded anew.
struct Taken {
    /// Its place in the batch.
    at: usize,
    key: u128,
    session: Box<Session>,
    was_closed: bool,
    /// Epochs that hold its events past the horizon.
    late_epochs: Vec<u64>,
    from: Origin,
}

/// Where a session was.
enum Origin {
    State,
    Index(ClosedSession),
    /// The state does not know it: forgotten, or never seen in time.
    Lake,
}

/// Why a session is left alone.
enum Leave {
    StartedAgain,
    CrowdedDay,
    RowsOutOfReach,
    /// All of it is folded.
    Nothing,
}

impl Playback {
    /// The epoch after `newest` that folds a batch. It changes nothing by itself: the epoch has to be decided.
    ///
    /// # Errors
    /// When the snapshot or rows cannot be read.
    pub fn recompute(
        &self,
        shard: &ShardId,
        newest: &Newest,
        batch: &mut LateBatch,
        epochs: &EpochOffsets,
        history: &mut dyn History,
        io: &ShardIo,
    ) -> Result<Recomputed, StreamError> {
        let kept = Kept { snapshot: &newest.snapshot, io, fork: None };
        let state = PlaybackShard::start(self.mode, self.max_unpacked, shard, Some(kept));
        let mut state = io.unless_overtaken(&newest.manifest, state)?;
        state.recompute(shard, batch, epochs, history, io)
    }
}

impl PlaybackShard {
    fn recompute(
        &mut self,
        shard: &ShardId,
        batch: &mut LateBatch,
        epochs: &EpochOffsets,
        history: &mut dyn History,
        io: &ShardIo,
    ) -> Result<Recomputed, StreamError> {
        let Some(watermark_ms) = self.watermark_ms() else { return Ok(Recomputed::default()) };
        let needed_from = self.oldest_epoch();
        let mut taken = Vec::new();
        let mut wanted = BTreeSet::new();
        for (at, late) in batch.sessions.iter().enumerate() {
            let mut one = self.take(at, late, io)?;
            let late_offsets = late.late_offsets.iter().filter(|offset| **offset < batch.to_offset);
            one.late_epochs = late_offsets.filter_map(|offset| epochs.epoch_of(*offset)).collect();
            wanted.extend(one.session.bronze_epochs.iter().chain(one.late_epochs.iter().copied()));
            taken.push(one);
        }
        batch.read(&wanted, epochs, history)?;
        let mut done = Recomputed::default();
        let (mut revised, mut late_rows) = (Vec::new(), Vec::new());
        for mut one in taken {
            let rows = rows_of(&one, batch, epochs);
            let is_recent = rows.iter().any(|row| row.time_ms >= watermark_ms - RETENTION_MS);
            let stays = is_recent || !matches!(one.from, Origin::Lake);
            let first_epoch =
                one.session.bronze_epochs.first().into_iter().chain(one.late_epochs.iter().copied()).min();
            let is_in_reach = match first_epoch.filter(|_| stays) {
                Some(first) => needed_from.is_some_and(|needed| first >= needed) || history.keeps_manifest(first)?,
                None => false,
            };
            if let Some(leave) = Self::reason_to_leave(&one, &rows, batch, is_in_reach, watermark_ms, history)? {
                match leave {
                    Leave::StartedAgain => done.left.started_again += 1,
                    Leave::CrowdedDay => done.left.crowded_day += 1,
                    Leave::RowsOutOfReach => done.left.rows_out_of_reach += 1,
                    Leave::Nothing => {}
                }
                self.put_back(one);
                continue;
            }
            late_rows.extend(newly_folded(&rows, one.at));
            let session = &mut one.session;
            session.bronze_epochs.insert_all(std::mem::take(&mut one.late_epochs));
            session.recomputed_to = batch.to_offset;
            session.context = rows[0].context.number(&mut self.contexts);
            let (closed, watermark) = (one.was_closed, Some(watermark_ms));
            refold::refold(session, &rows, closed, watermark, &mut self.contexts, &mut self.cubes);
            session.revision += 1;
            session.changed = false;
            revised.push((one, is_in_reach));
        }
        if revised.is_empty() {
            return Ok(done);
        }
        (done.sessions, done.events) = (revised.len() as u64, late_rows.len() as u64);
        let epoch = self.epoch + 1;
        let sessions: Vec<&Session> = revised.iter().map(|(one, _)| one.session.as_ref()).collect();
        let revisions = session_rows(&sessions, &self.contexts, &self.topic, self.partition, epoch);
        let deltas = self.cubes.deltas();
        let minutes = self.cubes.rows(&deltas, &self.topic, self.partition, epoch);
        let live = self.outgoing_live(shard, &deltas, epoch, watermark_ms);
        let events = self.recomputed_rows(&late_rows, batch, epoch);
        // What the shard has known, and what is not too old for its index: it may still meet an event of these.
        for (one, _) in revised.into_iter().filter(|(_, is_in_reach)| *is_in_reach) {
            self.keep(one.key, one.session);
        }
        self.move_closed_to_index();
        let rows: [(&'static TableSpec, RecordBatch); 3] = [
            (&tables::SESSION_REVISIONS, revisions),
            (&tables::RECOMPUTED_EVENTS, events),
            (&tables::QOE_MINUTES, minutes),
        ];
        let tables = rows.into_iter().filter(|(_, rows)| rows.num_rows() > 0).collect();
        done.frozen = Some(Frozen { tables, outgoing: vec![live], ..self.end_epoch() });
        Ok(done)
    }

    /// Takes a session out of wherever it is.
    fn take(&mut self, at: usize, late: &LateSession, io: &ShardIo) -> Result<Taken, StreamError> {
        let key = session_key(&late.session_id, &late.player_instance);
        let taken = |session: Box<Session>, was_closed, from| {
            Ok(Taken { at, key, session, was_closed, late_epochs: Vec::new(), from })
        };
        if let Some(mut session) = self.sessions.remove(key, &self.contexts, &mut self.cubes) {
            self.state_log.mark(key);
            self.timers.forget(key, &mut session);
            let was_closed = session.closed.is_some();
            return taken(session, was_closed, Origin::State);
        }
        let mut session = Box::new(Session::new(0));
        if let Some(known) = self.closed.take(key, io)? {
            adopt(&mut session, known.clone());
            session.clock_shift_ms = known.clock_shift_ms;
            return taken(session, true, Origin::Index(known));
        }
        let was_closed = late.written.as_ref().is_some_and(|written| written.is_final);
        if let Some(written) = &late.written {
            session.revision = written.revision;
            session.late_events = written.late_events;
            session.bronze_epochs.insert_all(written.bronze_epochs.iter().copied());
            session.recomputed_to = late.folded_to;
            // All of it was folded when it was forgotten: no hole outlives the gap.
            session.next_sequence = u64::MAX;
        }
        taken(session, was_closed, Origin::Lake)
    }

    /// Puts a session back that is as it was.
    fn put_back(&mut self, one: Taken) {
        match one.from {
            Origin::State => self.keep(one.key, one.session),
            Origin::Index(known) => self.closed.insert(one.key, &known),
            Origin::Lake => {}
        }
    }

    fn keep(&mut self, key: u128, mut session: Box<Session>) {
        self.timers.set(key, &mut session);
        self.state_log.mark(key);
        self.sessions.insert(key, session);
    }

    /// Why a session is not folded anew.
    fn reason_to_leave(
        one: &Taken,
        rows: &SessionRows,
        batch: &LateBatch,
        is_in_reach: bool,
        watermark_ms: i64,
        history: &mut dyn History,
    ) -> Result<Option<Leave>, StreamError> {
        if rows.iter().all(|row| row.folded) {
            return Ok(Some(Leave::Nothing));
        }
        if let Some(written) = &batch.sessions[one.at].written
            && (!written.is_one_life
                || one.session.bronze_epochs.first().is_none_or(|first| first > written.first_epoch))
        {
            return Ok(Some(Leave::StartedAgain));
        }
        if !is_in_reach && !matches!(one.from, Origin::Lake) {
            return Ok(Some(Leave::RowsOutOfReach));
        }
        let first_kept = first_kept_day(watermark_ms);
        let (before, after) = (first_time(rows, one.session.next_sequence, true), first_time(rows, u64::MAX, false));
        let days: BTreeSet<i64> = before.into_iter().chain(after).map(|ms| ms.div_euclid(DAY_MS)).collect();
        for day in days.into_iter().filter(|day| *day < first_kept) {
            if history.is_crowded(&date_of(day * DAY_MS))? {
                return Ok(Some(Leave::CrowdedDay));
            }
        }
        Ok(None)
    }

    /// What the live view learns: of the last day, because it shows nothing older. It replaces what an owner that loses
    /// this epoch has told of it.
    fn outgoing_live(&self, shard: &ShardId, deltas: &[Delta], epoch: u64, watermark_ms: i64) -> (String, NewRecord) {
        let from_minute = (watermark_ms - HORIZON_MS).div_euclid(MINUTE_MS);
        let recent: Vec<Delta> = deltas.iter().filter(|delta| delta.minute >= from_minute).copied().collect();
        let header = RecordHeader { record_type: RecordType::LiveDeltas, received_at_ms: watermark_ms, event_count: 0 };
        let route = Route::Key(shard.to_string().into_bytes().into());
        let record = NewRecord { route, header, payload: self.live_record(&recent, epoch, true).into() };
        (LIVE_TOPIC.to_owned(), record)
    }

    /// The rows of table `recomputed_events`.
    fn recomputed_rows(&self, folded: &[NewlyFolded], batch: &LateBatch, epoch: u64) -> RecordBatch {
        let sessions = &batch.sessions;
        let text = |of: &dyn for<'a> Fn(&'a LateSession) -> &'a str| -> ArrayRef {
            let mut column = TextColumn::default();
            for event in folded {
                column.push(Some(of(&sessions[event.at])));
            }
            column.finish()
        };
        let int = |of: &dyn Fn(&NewlyFolded) -> u64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(folded.iter().map(|event| of(event) as i64)))
        };
        let columns: Vec<ArrayRef> = vec![
            numbered_texts(folded.iter().map(|f| f.time_ms.div_euclid(DAY_MS)), |day| date_of(day * DAY_MS)),
            constant_text(folded.len(), &self.topic),
            Arc::new(Int32Array::from_iter_values(folded.iter().map(|event| {
                // As in `late_events`, where it lies in a partition that this shard may only go on from.
                batch.partition_of(event.offset).unwrap_or(self.partition) as i32
            }))),
            int(&|event| event.offset),
            Arc::new(Int32Array::from_iter_values(folded.iter().map(|event| event.index as i32))),
            text(&|session| &session.session_id),
            text(&|session| &session.player_instance),
            int(&|event| event.sequence),
            timestamps(folded.iter().map(|event| Some(event.time_ms))),
            int(&|_| epoch),
        ];
        batch_of(&tables::RECOMPUTED_EVENTS, columns)
    }
}

/// An event past the horizon that is part of its session now.
struct NewlyFolded {
    /// The place of its session in the batch.
    at: usize,
    offset: u64,
    index: u32,
    sequence: u64,
    time_ms: i64,
}

/// All rows of a session: those that came in time, and those past the horizon up to the batch's offset.
fn rows_of(one: &Taken, batch: &LateBatch, epochs: &EpochOffsets) -> SessionRows {
    let of_session = |found: &&FoundRow| {
        let is_own = || epochs.epoch_of(found.row.offset).is_some_and(|e| one.session.bronze_epochs.contains(e));
        if found.is_late { found.row.offset < batch.to_offset } else { is_own() }
    };
    let folded = |found: &FoundRow| {
        let mut row = found.row.clone();
        row.folded = found.is_of(one.session.recomputed_to);
        row
    };
    batch.rows.get(&one.key).into_iter().flatten().filter(of_session).map(folded).collect()
}

fn newly_folded(rows: &SessionRows, at: usize) -> impl Iterator<Item = NewlyFolded> {
    rows.iter().filter(|row| !row.folded).map(move |row| NewlyFolded {
        at,
        offset: row.offset,
        index: row.index,
        sequence: row.sequence,
        time_ms: row.time_ms,
    })
}

/// The time of the event that a fold of these rows begins with.
fn first_time(rows: &SessionRows, before_sequence: u64, only_folded: bool) -> Option<i64> {
    let known = rows.iter().filter(|row| row.sequence < before_sequence && (row.folded || !only_folded));
    let first = known.min_by_key(|row| (row.sequence, row.event_id.as_str(), row.offset, row.index));
    first.map(|row| row.time_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_belong_to_the_first_epoch_that_ends_behind_them() {
        let mut epochs = EpochOffsets::default();
        assert_eq!((epochs.last_epoch(), epochs.epoch_of(0)), (0, None));
        epochs.extend([(1, 10), (2, 10)]); // the second one has no records
        epochs.extend([(3, 15), (5, 20)]);
        assert_eq!(epochs.last_epoch(), 5);
        assert_eq!(
            [0, 9, 10, 14, 15, 19, 20].map(|offset| epochs.epoch_of(offset)),
            [Some(1), Some(1), Some(3), Some(3), Some(5), Some(5), None]
        );
        assert_eq!(epochs.ranges([1, 3, 5]).first(), Some(&(0..20)), "neighbours are one range");
        assert_eq!(epochs.ranges([1, 2, 5]), [0..10, 15..20]);
        assert!(epochs.ranges([2, 4, 9]).is_empty());
    }
}
