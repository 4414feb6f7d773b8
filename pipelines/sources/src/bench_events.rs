//! Synthetic events for benchmarks: as many as asked for, at the price of little more than their strings, roughly in
//! the order of time with thousands of sessions interleaved.

use std::ops::Range;

use marquee_events::proto::view_event::Payload;
use marquee_events::proto::{
    Context, FirstFrame, Heartbeat, PlayRequested, RebufferEnd, RebufferStart, Rendition, SessionEnd, ViewEvent,
    ViewEventBatch,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::simulator::random::mix;
use crate::simulator::{profile_id, title_id};

/// Between two events of a session, but for the ends of stalls (ms).
const STEP_MS: i64 = 10_000;
/// From play requested to first frame (ms).
const STARTUP_MS: i64 = 800;
/// The length of a stall (ms).
const STALL_MS: i64 = 700;
/// Of so many events one stall (two events) and one rendition.
const CYCLE: u64 = 16;

const DEVICES: [(&str, &str); 4] = [("tv", "tizen"), ("phone", "android"), ("phone", "ios"), ("browser", "windows")];
const COUNTRIES: [(&str, &str); 4] = [("DE", "BY"), ("FR", "IDF"), ("US", "CA"), ("BR", "SP")];
const ISPS: [&str; 4] = ["isar-kabel", "seine-fibre", "bay-cable", "paulista-telecom"];
const CDNS: [&str; 3] = ["edge-a", "edge-b", "edge-c"];

/// What to generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BenchPlan {
    /// Exactly so many events.
    pub events: u64,
    /// Of so many sessions: at least one, and no more than there are events.
    pub sessions: u64,
    /// The most sessions that are open at a time; more follow in waves.
    pub concurrent_sessions: u64,
    /// The most events in a batch.
    pub events_per_batch: usize,
    /// When the first session begins (ms since the epoch).
    pub start_ms: i64,
    /// Another seed, other sessions.
    pub seed: u64,
}

impl BenchPlan {
    /// Of sessions of about twenty events, twenty in a batch, and as many open at a time as one shard of a large service
    /// holds.
    pub fn new(events: u64, start_ms: i64, seed: u64) -> Self {
        let sessions = (events / 20).max(1);
        Self { events, sessions, concurrent_sessions: 10_000, events_per_batch: 20, start_ms, seed }
    }
}

/// Batches in the order of their first event, but for those that begin with the end of a stall, which may come up to ten
/// seconds late. A session is play requested, first frame, then every ten seconds a heartbeat, sometimes a stall or a
/// rendition, then its end. Session ids have 36 characters. Deterministic.
pub fn generate_bench(plan: BenchPlan) -> impl Iterator<Item = ViewEventBatch> {
    let sessions = plan.sessions.max(1).min(plan.events);
    let per_batch = plan.events_per_batch.max(1) as u64;
    Bench {
        events: plan.events,
        sessions,
        concurrent: plan.concurrent_sessions.max(1),
        per_batch,
        start_ms: plan.start_ms,
        seed: plan.seed,
        rounds: if sessions == 0 { 0 } else { plan.events.div_ceil(sessions).div_ceil(per_batch) },
        wave: 0,
        round: 0,
        place: 0,
        contexts: Vec::new(),
    }
}

struct Bench {
    events: u64,
    sessions: u64,
    concurrent: u64,
    per_batch: u64,
    start_ms: i64,
    seed: u64,
    /// Batches of the longest session.
    rounds: u64,
    wave: u64,
    round: u64,
    /// The session's place in its wave.
    place: u64,
    /// The contexts of this wave's sessions.
    contexts: Vec<Context>,
}

impl Iterator for Bench {
    type Item = ViewEventBatch;

    fn next(&mut self) -> Option<ViewEventBatch> {
        loop {
            let first_session = self.wave * self.concurrent;
            if first_session >= self.sessions {
                return None;
            }
            let size = (self.sessions - first_session).min(self.concurrent);
            if self.round == 0 && self.place == 0 {
                self.contexts = (first_session..first_session + size).map(|s| context(self.seed, s)).collect();
            }
            let (wave, round, place) = (self.wave, self.round, self.place);
            self.place += 1;
            if self.place == size {
                self.place = 0;
                self.round += 1;
            }
            if self.round == self.rounds {
                self.round = 0;
                self.wave += 1;
            }
            let session = first_session + place;
            let length = self.events / self.sessions + u64::from(session < self.events % self.sessions);
            let first = round * self.per_batch;
            if first < length {
                let last = length.min(first + self.per_batch);
                return Some(self.batch(wave, place, first..last, length));
            }
        }
    }
}

impl Bench {
    fn batch(&self, wave: u64, place: u64, sequences: Range<u64>, length: u64) -> ViewEventBatch {
        // Sessions of a wave begin evenly over the span of one batch, and the next wave's begin where these end: going
        // through them round by round is going through time.
        let span_ms = self.per_batch as i64 * STEP_MS;
        let wave_ms = (wave * self.rounds) as i64 * span_ms;
        let offset_ms = place as i64 * span_ms / self.concurrent as i64;
        let began_ms = self.start_ms + wave_ms + offset_ms;
        let session = wave * self.concurrent + place;
        let mut rng = SmallRng::seed_from_u64(mix(mix(self.seed, session), sequences.start));
        let events: Vec<ViewEvent> = sequences
            .map(|sequence| ViewEvent {
                event_id: format!("{sequence:x}"),
                sequence,
                event_time_ms: began_ms + time_ms(sequence, length),
                media_time_ms: Some((time_ms(sequence, length) - STARTUP_MS).max(0)),
                payload: Some(payload(sequence, length, &mut rng)),
            })
            .collect();
        ViewEventBatch {
            context: Some(self.contexts[place as usize].clone()),
            sent_at_ms: events.last().map_or(0, |event| event.event_time_ms),
            events,
            location: None,
        }
    }
}

/// What event number `sequence` of a session of `length` events is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    PlayRequested,
    FirstFrame,
    SessionEnd,
    StallBegins,
    StallEnds,
    Rendition,
    Heartbeat,
}

fn step(sequence: u64, length: u64) -> Step {
    match sequence {
        0 => Step::PlayRequested,
        1 => Step::FirstFrame,
        // Decided before the cycle: the last stall may never end.
        last if last + 1 == length => Step::SessionEnd,
        2 => Step::Rendition,
        other => match other % CYCLE {
            7 => Step::StallBegins,
            8 => Step::StallEnds,
            12 => Step::Rendition,
            _ => Step::Heartbeat,
        },
    }
}

fn time_ms(sequence: u64, length: u64) -> i64 {
    let slot_ms = sequence as i64 * STEP_MS;
    match step(sequence, length) {
        Step::FirstFrame => STARTUP_MS,
        Step::StallEnds => slot_ms - STEP_MS + STALL_MS,
        _ => slot_ms,
    }
}

fn payload(sequence: u64, length: u64, rng: &mut SmallRng) -> Payload {
    match step(sequence, length) {
        Step::PlayRequested => Payload::PlayRequested(PlayRequested::default()),
        Step::FirstFrame => Payload::FirstFrame(FirstFrame {}),
        Step::SessionEnd => Payload::SessionEnd(SessionEnd { reason: "ended".to_owned() }),
        Step::StallBegins => Payload::RebufferStart(RebufferStart {}),
        Step::StallEnds => Payload::RebufferEnd(RebufferEnd {}),
        Step::Rendition => {
            let rung = rng.random_range(1..=5_u32);
            Payload::Rendition(Rendition {
                representation_id: format!("v{rung}"),
                bitrate_bps: 1_200_000 * u64::from(rung),
                width: 384 * rung,
                height: 216 * rung,
                codec: "avc1".to_owned(),
                cdn: String::new(),
            })
        }
        Step::Heartbeat => Payload::Heartbeat(Heartbeat {
            buffer_ms: rng.random_range(1_000..30_000),
            throughput_bps: rng.random_range(2_000_000..20_000_000),
            dropped_frames: rng.random_range(0..3),
            ..Default::default()
        }),
    }
}

fn context(seed: u64, session: u64) -> Context {
    let mut rng = SmallRng::seed_from_u64(mix(seed, session));
    let (high, low): (u64, u64) = (rng.random(), rng.random());
    let (device_type, os) = DEVICES[rng.random_range(0..DEVICES.len())];
    let (country, region) = COUNTRIES[rng.random_range(0..COUNTRIES.len())];
    Context {
        // The number itself is in the id: no two sessions of a benchmark share one.
        session_id: format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            session & 0xffff_ffff_ffff
        ),
        player_instance: "0".to_owned(),
        profile_id: profile_id(rng.random_range(1..=100_000)),
        title_id: title_id(rng.random_range(1..=5_000)),
        device_type: device_type.to_owned(),
        os: os.to_owned(),
        player: "bench".to_owned(),
        player_version: "1.0.0".to_owned(),
        app_version: "7.4.1".to_owned(),
        country: country.to_owned(),
        region: region.to_owned(),
        isp: ISPS[rng.random_range(0..ISPS.len())].to_owned(),
        cdn: CDNS[rng.random_range(0..CDNS.len())].to_owned(),
        protocol: "dash".to_owned(),
        ..Context::default()
    }
}

#[cfg(test)]
mod tests;
