//! Folds a session anew from its bronze rows: takes back what the old fold added to the minutes, adds what the new one
//! adds. Rows decide alone, so any order of arrival ends in the same numbers.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use marquee_events::{CONTEXT_FIELDS, PayloadKind, PlayerState};
use marquee_lake::tables;
use marquee_qoe::{Retract, SessionFold};

use super::bronze::StoredRow;
use super::contexts::{Contexts, session_key};
use super::cubes::{CellSink, Cubes};
use super::session::{CloseReason, Context, Session};

/// Rows of one session: earlier epochs and this one.
pub(crate) type SessionRows = Vec<StoredRow>;

/// Folds `session` anew. `was_closed` says that the old fold was closed. The session keeps its revision, its clock,
/// its epochs and its timer.
pub(crate) fn refold(
    session: &mut Session,
    rows: &SessionRows,
    was_closed: bool,
    watermark_ms: Option<i64>,
    contexts: &mut Contexts,
    cubes: &mut Cubes,
) {
    retract(session, rows, was_closed, contexts, cubes);
    let fold_point = session.next_sequence;
    let is_late = |row: &StoredRow| !row.folded && (was_closed || row.sequence < fold_point);
    let winners = winners(rows.iter());
    let mut fresh = Session::new(session.context);
    for row in rows {
        let winner = winners[&row.sequence];
        if row.event_id != winner.event_id {
            fresh.conflicts += 1;
        } else if !std::ptr::eq(row, winner) {
            fresh.duplicates += 1;
        }
    }
    let mut sink = cubes.sink(None);
    for row in winners.values() {
        let context = row.context.number(contexts);
        if fresh.needs_context() && fresh.is_next(row.sequence) {
            begin(&mut fresh, row.time_ms, context, contexts, &mut sink);
        }
        fresh.offer(&row.incoming(), context, &mut sink);
    }
    fresh.cells = sink.finish();
    let late_events = session.late_events + rows.iter().filter(|row| is_late(row)).count() as u64;
    fresh.clock_shift_ms = session.clock_shift_ms;
    fresh.revision = session.revision;
    fresh.late_events = late_events;
    fresh.bronze_epochs = std::mem::take(&mut session.bronze_epochs);
    fresh.recomputed_to = session.recomputed_to;
    fresh.timer_ms = session.timer_ms;
    fresh.changed = true;
    *session = fresh;
    advance(session, watermark_ms, contexts, cubes);
}

/// Sets the context of the first folded event, which is of `time_ms`, and with it the cells.
pub(crate) fn begin(session: &mut Session, time_ms: i64, context: u32, contexts: &Contexts, sink: &mut CellSink<'_>) {
    sink.begin(time_ms, contexts, context);
    session.context = context;
}

/// Gives up holes and closes the session as far as the watermark says; without one (an import) nothing ends.
pub(crate) fn advance(session: &mut Session, watermark_ms: Option<i64>, contexts: &Contexts, cubes: &mut Cubes) {
    let mut sink = cubes.sink(session.cells);
    // Without a watermark only the bound of the buffer gives up holes.
    while session.hole_is_over(Some(watermark_ms.unwrap_or(i64::MIN))) {
        skip_hole(session, contexts, &mut sink);
    }
    let is_over = |watermark_ms| watermark_ms >= session.fold.last_time_ms + session.fold.gap_ms();
    if session.fold.event_count > 0 && session.closed.is_none() && watermark_ms.is_some_and(is_over) {
        session.close(CloseReason::Gap, &mut sink);
    }
    session.cells = sink.finish();
}

/// Gives up the first hole, whatever the watermark.
pub(crate) fn skip_hole(session: &mut Session, contexts: &Contexts, sink: &mut CellSink<'_>) {
    if let Some((time_ms, context)) = session.first_waiting_context() {
        begin(session, time_ms, context, contexts, sink);
    }
    session.skip_hole(sink);
}

/// Nothing more will come: holes are given up, the session is closed.
pub(crate) fn end(session: &mut Session, contexts: &Contexts, cubes: &mut Cubes) {
    let mut sink = cubes.sink(session.cells);
    while session.hole_is_over(None) {
        skip_hole(session, contexts, &mut sink);
    }
    if session.fold.event_count > 0 && session.closed.is_none() {
        session.close(CloseReason::EndOfInput, &mut sink);
    }
    session.cells = sink.finish();
}

/// Takes back what the fold of the rows known before has added.
fn retract(session: &Session, rows: &SessionRows, was_closed: bool, contexts: &mut Contexts, cubes: &mut Cubes) {
    let before = winners(rows.iter().filter(|row| row.folded && row.sequence < session.next_sequence));
    let Some(first) = before.values().next() else { return };
    let context = first.context.number(contexts);
    let cells = cubes.cells(first.time_ms, contexts, context);
    let mut sink = cubes.sink(Some(cells));
    let mut minutes = Retract(&mut sink);
    let mut fold = SessionFold::default();
    for row in before.values() {
        let event = row.incoming();
        fold.apply(event.time_ms, event.media_time_ms, &event.payload.view(), &mut minutes);
    }
    if was_closed {
        fold.close(&mut minutes);
    }
    sink.finish();
    debug_assert!(
        session.fold.event_count == 0 || session.fold == fold,
        "bronze tells another story than the state of {:?}: {fold:?} {:?}",
        contexts.ids(session.context),
        session.fold
    );
}

/// Of the rows of each sequence the one with the least id, of these the first to arrive.
fn winners<'a>(rows: impl Iterator<Item = &'a StoredRow>) -> BTreeMap<u64, &'a StoredRow> {
    let mut winners: BTreeMap<u64, &StoredRow> = BTreeMap::new();
    let rank = |row: &StoredRow| (row.event_id.clone(), row.offset, row.index);
    for row in rows {
        let winner = winners.entry(row.sequence).or_insert(row);
        if rank(row) < rank(winner) {
            *winner = row;
        }
    }
    winners
}

/// A row of table `events`, as [`stored_rows`] reads it.
#[derive(Debug)]
pub(crate) struct FoundRow {
    pub(crate) key: u128,
    /// It came past the horizon.
    pub(crate) is_late: bool,
    pub(crate) row: StoredRow,
}

impl FoundRow {
    /// Whether it is part of a session whose events past the horizon are, at offsets below `recomputed_to`.
    pub(crate) fn is_of(&self, recomputed_to: u64) -> bool {
        !self.is_late || self.row.offset < recomputed_to
    }
}

/// The rows of a batch of table `events`.
pub(crate) fn stored_rows(batch: &RecordBatch) -> Vec<FoundRow> {
    let column = |name: &str| batch.column(tables::EVENTS.index_of(name));
    let text = |name: &'static str| column(name).as_string::<i32>();
    let int = |name: &'static str| column(name).as_primitive::<Int64Type>();
    let (session_id, player_instance) = (text("session_id"), text("player_instance"));
    let (offset, index) = (int("offset"), column("index").as_primitive::<Int32Type>());
    let (sequence, event_id, kind) = (int("sequence"), text("event_id"), text("type"));
    let event_time = column("event_time").as_primitive::<TimestampMicrosecondType>();
    let (media_time_ms, is_late) = (int("media_time_ms"), column("is_late").as_boolean());
    let contexts: Vec<_> = CONTEXT_FIELDS.iter().map(|name| text(name)).collect();
    let text_or_empty = |name: &'static str, row: usize| {
        let array = text(name);
        if array.is_null(row) { String::new() } else { array.value(row).to_owned() }
    };
    let int_or_zero = |name: &'static str, row: usize| {
        let array = int(name);
        if array.is_null(row) { 0 } else { array.value(row) as u64 }
    };
    let small_or_zero = |name: &'static str, row: usize| {
        let array = column(name).as_primitive::<Int32Type>();
        if array.is_null(row) { 0 } else { array.value(row) as u64 }
    };
    let flag = |name: &'static str, row: usize| {
        let array = column(name).as_boolean();
        u64::from(!array.is_null(row) && array.value(row))
    };
    (0..batch.num_rows())
        .map(|row| {
            let kind = PayloadKind::from_name(kind.value(row)).expect("only known kinds are written");
            let numbers = match kind {
                PayloadKind::PlayRequested => [flag("autoplay", row), 0, 0, 0],
                PayloadKind::Rendition | PayloadKind::Viewport => [
                    int_or_zero("bitrate_bps", row),
                    small_or_zero("width_px", row),
                    small_or_zero("height_px", row),
                    0,
                ],
                PayloadKind::Error => [flag("fatal", row), flag("business", row), 0, 0],
                PayloadKind::Heartbeat => [
                    int_or_zero("buffer_ms", row),
                    int_or_zero("throughput_bps", row),
                    int_or_zero("dropped_frames", row),
                    int_or_zero("bitrate_bps", row),
                ],
                PayloadKind::PlaybackRate => [small_or_zero("rate_per_mille", row), 0, 0, 0],
                PayloadKind::PlayerState => {
                    let state = PlayerState::from_name(&text_or_empty("player_state", row));
                    let state = state.map_or(0, |state| state as u64);
                    [int_or_zero("bitrate_bps", row), int_or_zero("buffer_ms", row), state, 0]
                }
                _ => [0; 4],
            };
            let texts = if kind == PayloadKind::Rendition {
                ["representation_id", "rendition_codec", "rendition_cdn"].map(|name| text_or_empty(name, row))
            } else {
                [text_or_empty("detail", row), String::new(), String::new()]
            };
            let context = contexts
                .iter()
                .map(|array| if array.is_null(row) { String::new() } else { array.value(row).to_owned() });
            let stored = StoredRow {
                offset: offset.value(row) as u64,
                index: index.value(row) as u32,
                sequence: sequence.value(row) as u64,
                event_id: if event_id.is_null(row) { String::new() } else { event_id.value(row).to_owned() },
                time_ms: event_time.value(row).div_euclid(1000),
                media_time_ms: (!media_time_ms.is_null(row)).then(|| media_time_ms.value(row)),
                kind,
                texts,
                numbers,
                context: Context(context.collect()),
                folded: true,
            };
            let key = session_key(session_id.value(row), player_instance.value(row));
            FoundRow { key, is_late: is_late.value(row), row: stored }
        })
        .collect()
}
