//! The plan of one session: its events, cut into batches, and when each batch is delivered, how often, or never. Pure:
//! the same settings, run and index make the same plan.

use std::ops::Range;

use marquee_events::proto::view_event::Payload;
use marquee_events::proto::{Context, ViewEvent, ViewEventBatch};
use rand::Rng;
use rand::rngs::StdRng;

use super::context::{is_troubled, session_context};
use super::player::play;
use super::random::{chance, generator, log_uniform};
use super::recorder::{Fate, Played};
use super::settings::{Faults, SimulatorSettings};
use super::truth::{DeadLetters, SessionCounts, SessionTruth};

/// How far a doomed heartbeat is dated beyond its batch (ms): far beyond what is believed of a clock.
const FUTURE_MS: i64 = 3_600_000;

/// A reordered batch follows this long after the next one (ms).
const REORDERED_BY_MS: i64 = 120;

/// How a player sends its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `application/json`
    Json,
    /// `application/x-protobuf`
    Protobuf,
}

/// An event of a plan; it becomes a wire event when its batch is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedEvent {
    /// Position within the session, from 0.
    pub sequence: u64,
    /// When it happens, after the session's beginning (ms).
    pub at_ms: i64,
    /// The playhead (ms).
    pub media_time_ms: i64,
    /// What happens; `None` for an event of an unknown kind.
    pub payload: Option<Payload>,
    pub(crate) fate: Fate,
}

impl PlannedEvent {
    /// Whether the event ends in dead letters.
    pub fn is_doomed(&self) -> bool {
        self.fate != Fate::Counted
    }
}

/// A batch of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedBatch {
    /// The events, as indices of [`SessionPlan::events`].
    pub events: Range<usize>,
    /// When the player would send it, after the session's beginning (ms).
    pub closes_ms: i64,
    /// When it is sent, after the session's beginning (ms), never before `closes_ms`: the first is the delivery, the
    /// others are duplicates. Empty when it is lost.
    pub deliveries_ms: Vec<i64>,
    /// The counts of a session whose last delivered event is the last of this batch.
    pub counts_after: SessionCounts,
}

/// Everything that will happen in one session.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionPlan {
    /// The number of the session in its run, from 0.
    pub index: u64,
    /// The context of its batches.
    pub context: Context,
    /// By how much the player's clock is ahead of the true one (ms); negative when behind.
    pub clock_offset_ms: i64,
    /// The wire format.
    pub transport: Transport,
    /// Whether requests are compressed.
    pub gzip: bool,
    /// What happens, in the order of the sequence.
    pub events: Vec<PlannedEvent>,
    /// How it is sent, in the order of the events.
    pub batches: Vec<PlannedBatch>,
}

/// How players send what they have to say.
pub(crate) struct Wire<'a> {
    pub(crate) seed: u64,
    pub(crate) json_share: f64,
    pub(crate) gzip_share: f64,
    pub(crate) flush_interval_ms: i64,
    pub(crate) faults: &'a Faults,
}

/// Plans session `index` of the run that begins at `run_start_ms` (ms since the epoch). The run's beginning decides
/// the session ids and nothing else.
pub fn plan_session(settings: &SimulatorSettings, run_start_ms: i64, index: u64) -> SessionPlan {
    let context = session_context(settings, run_start_ms, index);
    let viewer = generator(settings.seed, index, "viewer");
    let played = play(settings, viewer, is_troubled(&context.cdn), &context.cdn);
    let wire = Wire {
        seed: settings.seed,
        json_share: settings.json_share,
        gzip_share: settings.gzip_share,
        flush_interval_ms: settings.flush_interval_ms,
        faults: &settings.faults,
    };
    wire.plan(index, context, played)
}

impl Wire<'_> {
    /// How what was played reaches the collector: everything here follows from the seed and `index`.
    pub(crate) fn plan(&self, index: u64, context: Context, mut played: Played) -> SessionPlan {
        let mut rng = generator(self.seed, index, "wire");
        let transport = if chance(&mut rng, self.json_share) { Transport::Json } else { Transport::Protobuf };
        let gzip = chance(&mut rng, self.gzip_share);
        let faults = self.faults;
        let clock_offset_ms = if chance(&mut rng, faults.wrong_clock) {
            let error_ms = log_uniform(&mut rng, &faults.wrong_clock_ms);
            if rng.random() { error_ms } else { -error_ms }
        } else {
            0
        };
        doom(faults, &mut generator(self.seed, index, "doom"), transport, &mut played);
        let mut batches = cut(self.flush_interval_ms, &played.events, &played.counts_after);
        deliver(faults, &mut generator(self.seed, index, "delivery"), &played.events, &mut batches);
        SessionPlan { index, context, clock_offset_ms, transport, gzip, events: played.events, batches }
    }
}

/// Puts events after some heartbeats that will end in dead letters and count for nothing.
fn doom(faults: &Faults, rng: &mut StdRng, transport: Transport, played: &mut Played) {
    let all = std::mem::take(played);
    for (event, counts) in all.events.into_iter().zip(all.counts_after) {
        let mut doomed = Vec::new();
        if matches!(event.payload, Some(Payload::Heartbeat(_))) {
            if chance(rng, faults.future_time) {
                doomed.push(PlannedEvent { fate: Fate::FutureTime, ..event.clone() });
            }
            // JSON that names no payload is refused as a whole: only protobuf can carry an event of an unknown kind.
            if transport == Transport::Protobuf && chance(rng, faults.unknown_payload) {
                doomed.push(PlannedEvent { fate: Fate::UnknownPayload, payload: None, ..event.clone() });
            }
        }
        for mut event in std::iter::once(event).chain(doomed) {
            event.sequence = played.events.len() as u64;
            played.events.push(event);
            played.counts_after.push(counts);
        }
    }
}

/// Cuts events into batches: one is sent when it has been open for the flush interval, or at once after an end.
fn cut(flush_interval_ms: i64, events: &[PlannedEvent], counts_after: &[SessionCounts]) -> Vec<PlannedBatch> {
    let mut batches = Vec::new();
    let mut start = 0;
    for (index, event) in events.iter().enumerate() {
        let flush_ms = events[start].at_ms + flush_interval_ms;
        let ends = is_end(event);
        let is_last = events.get(index + 1).is_none_or(|next| next.at_ms >= flush_ms);
        if ends || is_last {
            batches.push(PlannedBatch {
                events: start..index + 1,
                closes_ms: if ends { event.at_ms } else { flush_ms },
                deliveries_ms: Vec::new(),
                counts_after: counts_after[index],
            });
            start = index + 1;
        }
    }
    batches
}

fn is_end(event: &PlannedEvent) -> bool {
    match &event.payload {
        Some(Payload::SessionEnd(_)) => true,
        Some(Payload::Error(error)) => error.fatal,
        _ => false,
    }
}

fn deliver(faults: &Faults, rng: &mut StdRng, events: &[PlannedEvent], batches: &mut [PlannedBatch]) {
    for index in 0..batches.len() {
        let next_closes_ms = batches.get(index + 1).map(|next| next.closes_ms);
        let batch = &mut batches[index];
        let inside = &events[batch.events.clone()];
        // Only what no duration depends on may be lost: heartbeats, and not where a vanished player was last seen.
        let heartbeats_only = inside.iter().all(|e| !e.is_doomed() && matches!(e.payload, Some(Payload::Heartbeat(_))));
        if heartbeats_only && next_closes_ms.is_some() && chance(rng, faults.lost) {
            continue;
        }
        let mut due_ms = batch.closes_ms;
        if chance(rng, faults.late) {
            due_ms += rng.random_range(faults.late_ms.clone());
        } else if chance(rng, faults.reordered) {
            due_ms = next_closes_ms.map_or(due_ms, |next| next + REORDERED_BY_MS);
        }
        batch.deliveries_ms.push(due_ms);
        // A duplicate of a doomed event would be a second dead letter.
        if inside.iter().all(|event| !event.is_doomed()) && chance(rng, faults.duplicated) {
            batch.deliveries_ms.push(due_ms + rng.random_range(faults.duplicate_after_ms.clone()));
        }
    }
}

impl SessionPlan {
    /// The truth of the whole session.
    pub fn truth(&self) -> SessionTruth {
        self.truth_until(i64::MAX).expect("the last batch of a session is never lost")
    }

    /// The truth of a session that stops `elapsed_ms` after its beginning, when all that was ready to be sent is sent;
    /// `None` when nothing was.
    pub(crate) fn truth_until(&self, elapsed_ms: i64) -> Option<SessionTruth> {
        let last = self.batches_until(elapsed_ms).filter(|batch| !batch.deliveries_ms.is_empty()).last()?;
        Some(SessionTruth {
            session_id: self.context.session_id.clone(),
            player_instance: self.context.player_instance.clone(),
            counts: last.counts_after,
        })
    }

    /// Events in lost batches of a session that stops `elapsed_ms` after its beginning.
    pub(crate) fn lost_until(&self, elapsed_ms: i64) -> u64 {
        self.batches_until(elapsed_ms)
            .filter(|batch| batch.deliveries_ms.is_empty())
            .map(|batch| batch.events.len() as u64)
            .sum()
    }

    fn batches_until(&self, elapsed_ms: i64) -> impl Iterator<Item = &PlannedBatch> {
        self.batches.iter().take_while(move |batch| batch.closes_ms <= elapsed_ms)
    }

    /// Events of a batch that end in dead letters.
    pub(crate) fn doomed(&self, batch: usize) -> DeadLetters {
        let mut doomed = DeadLetters::default();
        for event in &self.events[self.batches[batch].events.clone()] {
            match event.fate {
                Fate::Counted => {}
                Fate::FutureTime => doomed.future_time += 1,
                Fate::UnknownPayload => doomed.unknown_payload += 1,
            }
        }
        doomed
    }

    /// Batch number `batch` as it is sent at `now_ms` (the true clock) in a session that began at `started_ms`.
    pub fn wire_batch(&self, batch: usize, started_ms: i64, now_ms: i64) -> ViewEventBatch {
        let sent_at_ms = now_ms + self.clock_offset_ms;
        let events = &self.events[self.batches[batch].events.clone()];
        ViewEventBatch {
            context: Some(self.context.clone()),
            sent_at_ms,
            location: None,
            events: events
                .iter()
                .map(|event| ViewEvent {
                    event_id: format!("{:x}-{}", self.index, event.sequence),
                    sequence: event.sequence,
                    event_time_ms: match event.fate {
                        Fate::FutureTime => sent_at_ms + FUTURE_MS,
                        _ => started_ms + self.clock_offset_ms + event.at_ms,
                    },
                    media_time_ms: Some(event.media_time_ms),
                    payload: event.payload.clone(),
                })
                .collect(),
        }
    }
}
