//! Random sessions as records of the log: cut to pieces, repeated, mixed up, late, from players with clocks of their own,
//! and some that nobody can read.

use marquee_events::ContentType;
use marquee_events::proto::{Context, ViewEvent, ViewEventBatch};
use marquee_stream::{NewRecord, RecordHeader, RecordType, Route};
use prost::Message as _;
use rand::Rng as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;

use crate::every_payload::{context, payload};

/// When the simulated time begins (ms since the epoch).
pub const START_MS: i64 = 1_700_000_000_000;

/// A day (ms).
pub const DAY_MS: i64 = 24 * 3_600_000;

/// A record that reaches the collector.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Not before this (ms since the epoch).
    pub at_ms: i64,
    /// What the player sends; `None` for bytes that nobody can decode.
    pub batch: Option<ViewEventBatch>,
}

impl Arrival {
    /// The record, received at this time (ms since the epoch).
    pub fn record(&self, received_at_ms: i64) -> NewRecord {
        let header = |event_count| RecordHeader {
            record_type: RecordType::ViewEvents(ContentType::Protobuf),
            received_at_ms,
            event_count,
        };
        let Some(batch) = &self.batch else {
            let key = Route::Key(received_at_ms.to_be_bytes().to_vec().into());
            return NewRecord { route: key, header: header(3), payload: vec![0xff, 0xff].into() };
        };
        let key = batch.context.clone().unwrap_or_default().session_id.into_bytes();
        let header = header(batch.events.len() as u32);
        NewRecord { route: Route::Key(key.into()), header, payload: batch.encode_to_vec().into() }
    }
}

/// Sessions of some viewers, in the order in which their pieces arrive; many pieces past the horizon, or few.
pub fn arrivals(dice: &mut SmallRng, many_past_horizon: bool) -> Vec<Arrival> {
    // The state of a shard with few sessions is written whole in every epoch.
    let is_crowded = many_past_horizon && dice.random_bool(0.3);
    let viewers = if is_crowded { dice.random_range(30..80) } else { dice.random_range(2..12) };
    let is_orderly = dice.random_bool(0.3);
    let mut arrivals = Vec::new();
    for viewer in 0..viewers {
        let session = session(dice, viewer);
        // Some clocks are right, some a little off, some wrong by hours.
        let clock_error_ms: i64 = match dice.random_range(0..20) {
            0 => -26 * 3_600_000,
            1 | 2 => dice.random_range(-7_200_000..7_200_000),
            3..=6 => dice.random_range(-20_000..20_000),
            _ => dice.random_range(-500..500),
        };
        // A wrong clock that nobody knows of is a day late for the watermark, or in the future.
        let tells_its_clock = dice.random_bool(if many_past_horizon { 0.3 } else { 0.7 });
        let mut events = session.events.clone();
        if !is_orderly && dice.random_bool(0.6) {
            events.shuffle(dice);
        }
        while !events.is_empty() {
            let length = dice.random_range(1..=events.len().min(5));
            let mut piece = ViewEventBatch { events: events.drain(..length).collect(), ..session.clone() };
            let last_ms = piece.events.iter().map(|event| event.event_time_ms).max().unwrap_or(START_MS);
            let late_ms = match dice.random_range(0..20) {
                0 if !is_orderly => dice.random_range(0..900_000),
                1..=4 if !is_orderly => dice.random_range(0..60_000),
                _ => dice.random_range(0..1_500),
            };
            for event in &mut piece.events {
                event.event_time_ms += clock_error_ms;
            }
            let at_ms = last_ms + late_ms;
            // What a player kept back for an hour or a day. Only of clocks that nobody corrects: the shift of a session
            // that has left memory is forgotten at an epoch's end, so it is no function of the log (ARCHITECTURE.md,
            // Limits).
            if !tells_its_clock && dice.random_bool(0.01) {
                let waited_ms = dice.random_range(0..30 * 3_600_000);
                piece.events.iter_mut().for_each(|event| event.event_time_ms -= waited_ms);
            }
            if many_past_horizon && !tells_its_clock && dice.random_bool(0.3) {
                let waited_ms = dice.random_range(20 * 3_600_000..40 * 3_600_000);
                piece.events.iter_mut().for_each(|event| event.event_time_ms -= waited_ms);
            }
            if tells_its_clock {
                piece.sent_at_ms = at_ms + clock_error_ms;
            }
            let copies = if dice.random_bool(0.2) { 2 } else { 1 };
            for copy in 0..copies {
                arrivals.push(Arrival { at_ms: at_ms + copy * 700, batch: Some(piece.clone()) });
            }
        }
        if dice.random_bool(0.1) {
            arrivals.push(Arrival { at_ms: START_MS + dice.random_range(0..120_000), batch: None });
        }
    }
    arrivals.sort_by_key(|arrival| arrival.at_ms);
    arrivals
}

/// Two events that come as they happen, in a partition of one's choice.
pub fn far_session(partition: u32, received_at_ms: i64) -> NewRecord {
    let event = |sequence: u64| ViewEvent {
        event_id: format!("far{received_at_ms}-{sequence}"),
        sequence,
        event_time_ms: received_at_ms,
        media_time_ms: None,
        payload: Some(payload(sequence as u8, sequence as usize)),
    };
    let context = Context { session_id: format!("far{partition}-{received_at_ms}"), ..context(0) };
    let events = vec![event(0), event(1)];
    let batch = ViewEventBatch { context: Some(context), sent_at_ms: 0, events, ..Default::default() };
    let record = Arrival { at_ms: received_at_ms, batch: Some(batch) }.record(received_at_ms);
    NewRecord { route: Route::Partition(partition), ..record }
}

/// No more input for a partition.
pub fn end_of_input(partition: u32, received_at_ms: i64) -> NewRecord {
    let header = RecordHeader { record_type: RecordType::EndOfInput, received_at_ms, event_count: 0 };
    NewRecord { route: Route::Partition(partition), header, payload: Vec::new().into() }
}

fn session(dice: &mut SmallRng, viewer: usize) -> ViewEventBatch {
    let mut at_ms = START_MS + dice.random_range(0..120_000);
    let mut media_ms = 0;
    let length = dice.random_range(3..16);
    let events = (0..length).map(|sequence| {
        // Mostly seconds; sometimes more than the session gap, so that sessions close and open again.
        let gap_ms =
            if dice.random_bool(0.06) { dice.random_range(250_000..500_000) } else { dice.random_range(0..20_000) };
        at_ms += gap_ms;
        media_ms += gap_ms / 2;
        let kind: u8 = dice.random();
        ViewEvent {
            // A few ids are told of two events.
            event_id: format!("e{}", if dice.random_bool(0.02) { 0 } else { sequence }),
            sequence: if dice.random_bool(0.02) { 1 } else { sequence as u64 },
            event_time_ms: at_ms,
            media_time_ms: (!kind.is_multiple_of(3)).then_some(media_ms),
            payload: Some(payload(if sequence == 0 { 0 } else { kind }, sequence)),
        }
    });
    let events = events.collect();
    ViewEventBatch { context: Some(context(viewer)), sent_at_ms: 0, events, ..Default::default() }
}
