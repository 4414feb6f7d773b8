//! One viewer and one player: what they do from play request to end, as events in player time, with the truth counted
//! alongside. Behaviours follow each other and never overlap, so every instant has one state beyond dispute.

use std::ops::RangeInclusive;

use marquee_events::proto::view_event::Payload;
use marquee_events::proto::{
    AdEnd, AdStart, Background, Error, FirstFrame, Foreground, Heartbeat, Pause, PlayRequested, RebufferEnd,
    RebufferStart, Rendition, Resume, SeekEnd, SeekStart, SessionEnd,
};
use rand::Rng;
use rand::rngs::StdRng;

use super::random::{chance, log_normal, pick, weighted};
use super::settings::Behaviour;
use super::truth::{Outcome, SessionCounts};
use super::{PlannedEvent, SimulatorSettings};

/// The spread of startup times: with a median of 0.8 s one in twenty takes over 2.2 s.
const STARTUP_SIGMA: f64 = 0.6;
/// No simulated startup is longer (ms).
const MAX_STARTUP_MS: i64 = 15_000;

/// (width, height, bits per second), from the least to the best.
const LADDER: [(u32, u32, u64); 6] = [
    (426, 240, 400_000),
    (640, 360, 800_000),
    (854, 480, 1_600_000),
    (1280, 720, 3_200_000),
    (1920, 1080, 6_000_000),
    (3840, 2160, 16_000_000),
];

/// What happens to an event on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is folded.
    Counted,
    /// It is dated an hour beyond its batch and ends in dead letters.
    FutureTime,
    /// It has no payload and ends in dead letters.
    UnknownPayload,
}

/// What the player did, and the counts after each of its events.
pub(super) struct Played {
    pub(super) events: Vec<PlannedEvent>,
    pub(super) counts_after: Vec<SessionCounts>,
}

/// Plays one session to its end. `protobuf`: whether the wire format can carry an event without payload.
pub(super) fn play(settings: &SimulatorSettings, rng: StdRng, troubled: bool, protobuf: bool, cdn: &str) -> Played {
    let mut player = Player {
        settings,
        rng,
        protobuf,
        cdn,
        now_ms: 0,
        state: State::Startup,
        last_event_ms: 0,
        next_heartbeat_ms: settings.heartbeat_interval_ms,
        playhead_ms: 0,
        rung: 2,
        counts: SessionCounts::default(),
        interrupted: false,
        played: Played { events: Vec::new(), counts_after: Vec::new() },
    };
    player.session(&settings.behaviour, troubled);
    player.played
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Startup,
    Playing,
    Rebuffering,
    SeekWaiting,
    Paused,
    Ad,
    Background,
    Ended,
}

#[derive(Debug, Clone, Copy)]
enum Interruption {
    Nothing,
    Rebuffer,
    Seek,
    Pause,
    Ad,
    Background,
    RenditionSwitch,
    SurvivedError,
}

struct Player<'a> {
    settings: &'a SimulatorSettings,
    rng: StdRng,
    protobuf: bool,
    cdn: &'a str,
    now_ms: i64,
    state: State,
    last_event_ms: i64,
    next_heartbeat_ms: i64,
    playhead_ms: i64,
    rung: usize,
    counts: SessionCounts,
    interrupted: bool,
    played: Played,
}

impl Player<'_> {
    fn session(&mut self, behaviour: &Behaviour, troubled: bool) {
        self.event(Payload::PlayRequested(PlayRequested {}));
        let drawn = log_normal(&mut self.rng, behaviour.startup_median_ms, STARTUP_SIGMA) as i64;
        let startup_ms = drawn.clamp(1, MAX_STARTUP_MS);
        let fate: f64 = self.rng.random();
        if fate < behaviour.start_failure {
            self.wait(startup_ms);
            self.fail(behaviour, "start");
            return;
        }
        if fate < behaviour.start_failure + behaviour.exit_before_start {
            self.wait(startup_ms * 2);
            self.leave(behaviour, "exit_before_start");
            return;
        }
        self.start(behaviour, startup_ms);
        self.watch(behaviour, troubled);
        if chance(&mut self.rng, behaviour.playback_failure) {
            self.fail(behaviour, "playback");
        } else {
            let reason = pick(&mut self.rng, &["ended", "user_exit"]);
            self.leave(behaviour, reason);
        }
    }

    fn start(&mut self, behaviour: &Behaviour, startup_ms: i64) {
        let before_ms = self.rng.random_range(0..=startup_ms);
        self.wait(before_ms);
        if chance(&mut self.rng, behaviour.interrupted_startup) {
            self.interrupted = true;
            if self.rng.random() {
                self.pause(behaviour);
            } else {
                self.background(behaviour);
            }
        }
        self.wait(startup_ms - before_ms);
        self.rendition();
        self.counts.outcome = Outcome::Played;
        self.enter(State::Playing, Payload::FirstFrame(FirstFrame {}));
        // The time up to the first frame is known only now that the event is counted.
        self.counts.startup_ms = (!self.interrupted).then_some(self.counts.startup_state_ms);
        self.amend_last_counts();
    }

    fn watch(&mut self, behaviour: &Behaviour, troubled: bool) {
        let until_ms = self.now_ms + self.rng.random_range(behaviour.watch_ms.clone());
        while self.now_ms < until_ms {
            let stretch_ms = self.rng.random_range(behaviour.stretch_ms.clone());
            self.wait(stretch_ms.min(until_ms - self.now_ms));
            if self.now_ms < until_ms {
                self.interrupt(behaviour, troubled);
            }
        }
    }

    fn interrupt(&mut self, behaviour: &Behaviour, troubled: bool) {
        let rebuffer = if troubled { 2.0 * behaviour.rebuffer } else { behaviour.rebuffer };
        let mut at: f64 = self.rng.random();
        let mut what = Interruption::Nothing;
        for (interruption, probability) in [
            (Interruption::Rebuffer, rebuffer),
            (Interruption::Seek, behaviour.seek),
            (Interruption::Pause, behaviour.pause),
            (Interruption::Ad, behaviour.ad),
            (Interruption::Background, behaviour.background),
            (Interruption::RenditionSwitch, behaviour.rendition_switch),
            (Interruption::SurvivedError, behaviour.survived_error),
        ] {
            if at < probability {
                what = interruption;
                break;
            }
            at -= probability;
        }
        match what {
            Interruption::Nothing => {}
            Interruption::Rebuffer => self.rebuffer(behaviour),
            Interruption::Seek => self.seek(behaviour),
            Interruption::Pause => self.pause(behaviour),
            Interruption::Ad => self.ad(behaviour),
            Interruption::Background => self.background(behaviour),
            Interruption::RenditionSwitch => self.switch_rendition(),
            Interruption::SurvivedError => {
                let code = "segment_timeout".to_owned();
                self.event(Payload::Error(Error { code, fatal: false, business: false }));
            }
        }
    }

    fn rebuffer(&mut self, behaviour: &Behaviour) {
        self.counts.rebuffer_count += 1;
        self.enter(State::Rebuffering, Payload::RebufferStart(RebufferStart {}));
        self.wait_within(&behaviour.rebuffer_ms);
        self.enter(State::Playing, Payload::RebufferEnd(RebufferEnd {}));
    }

    fn seek(&mut self, behaviour: &Behaviour) {
        self.enter(State::SeekWaiting, Payload::SeekStart(SeekStart {}));
        self.playhead_ms = (self.playhead_ms + self.rng.random_range(-30_000..=300_000)).max(0);
        self.wait_within(&behaviour.seek_wait_ms);
        self.enter(State::Playing, Payload::SeekEnd(SeekEnd {}));
    }

    fn pause(&mut self, behaviour: &Behaviour) {
        let before = self.state;
        self.enter(State::Paused, Payload::Pause(Pause {}));
        self.wait_within(&behaviour.pause_ms);
        self.enter(before, Payload::Resume(Resume {}));
    }

    fn ad(&mut self, behaviour: &Behaviour) {
        let ad_id = format!("ad-{}", self.rng.random_range(1..=40));
        self.enter(State::Ad, Payload::AdStart(AdStart { ad_id }));
        self.wait_within(&behaviour.ad_ms);
        self.enter(State::Playing, Payload::AdEnd(AdEnd {}));
    }

    fn background(&mut self, behaviour: &Behaviour) {
        let before = self.state;
        self.enter(State::Background, Payload::Background(Background {}));
        self.wait_within(&behaviour.background_ms);
        self.enter(before, Payload::Foreground(Foreground {}));
    }

    fn switch_rendition(&mut self) {
        let up = self.rung + 1 < LADDER.len() && (self.rung == 0 || self.rng.random());
        self.rung = if up { self.rung + 1 } else { self.rung - 1 };
        self.counts.rendition_switch_count += 1;
        self.rendition();
    }

    fn rendition(&mut self) {
        let (width, height, bitrate_bps) = LADDER[self.rung];
        self.event(Payload::Rendition(Rendition {
            representation_id: format!("v{}", self.rung),
            bitrate_bps,
            width,
            height,
            codec: if self.rung >= 4 { "hvc1" } else { "avc1" }.to_owned(),
            cdn: self.cdn.to_owned(),
        }));
    }

    fn fail(&mut self, behaviour: &Behaviour, phase: &str) {
        let business = chance(&mut self.rng, behaviour.business_error_share);
        let code = if business {
            pick(&mut self.rng, &["too_many_streams", "not_entitled"]).to_owned()
        } else {
            format!("{phase}_{}", weighted(&mut self.rng, &[("decode", 3), ("network", 5), ("drm", 2)]))
        };
        self.counts.outcome = match self.counts.outcome {
            Outcome::Played => Outcome::PlaybackFailure,
            _ => Outcome::StartFailure,
        };
        self.enter(State::Ended, Payload::Error(Error { code, fatal: true, business }));
        self.wait_within(&(1..=1_500));
        self.leave(behaviour, "error");
    }

    /// Says good-bye, or not.
    fn leave(&mut self, behaviour: &Behaviour, reason: &str) {
        if !chance(&mut self.rng, behaviour.vanish) {
            self.enter(State::Ended, Payload::SessionEnd(SessionEnd { reason: reason.to_owned() }));
        }
    }

    fn wait_within(&mut self, range: &RangeInclusive<i64>) {
        let duration_ms = self.rng.random_range(range.clone());
        self.wait(duration_ms);
    }

    /// Lets time pass, with heartbeats unless the player has ended.
    fn wait(&mut self, duration_ms: i64) {
        let until_ms = self.now_ms + duration_ms;
        while self.state != State::Ended && self.next_heartbeat_ms <= until_ms {
            self.advance(self.next_heartbeat_ms);
            self.next_heartbeat_ms += self.settings.heartbeat_interval_ms;
            self.heartbeat();
        }
        self.advance(until_ms);
    }

    fn advance(&mut self, to_ms: i64) {
        if self.state == State::Playing {
            self.playhead_ms += to_ms - self.now_ms;
        }
        self.now_ms = to_ms;
    }

    fn heartbeat(&mut self) {
        let heartbeat = Heartbeat {
            buffer_ms: if self.state == State::Rebuffering { 0 } else { self.rng.random_range(1_000..30_000) },
            throughput_bps: self.rng.random_range(LADDER[self.rung].2..=3 * LADDER[self.rung].2),
            dropped_frames: self.rng.random_range(0..3),
        };
        self.event(Payload::Heartbeat(heartbeat));
        let faults = &self.settings.faults;
        if chance(&mut self.rng, faults.future_time) {
            self.record(Some(Payload::Heartbeat(heartbeat)), Fate::FutureTime);
        }
        if self.protobuf && chance(&mut self.rng, faults.unknown_payload) {
            self.record(None, Fate::UnknownPayload);
        }
    }

    fn enter(&mut self, state: State, payload: Payload) {
        self.event(payload);
        self.state = state;
    }

    /// Something that is folded happens now: the time since the event before it belongs to the state until now.
    fn event(&mut self, payload: Payload) {
        let elapsed_ms = self.now_ms - self.last_event_ms;
        self.last_event_ms = self.now_ms;
        let counts = &mut self.counts;
        match self.state {
            State::Startup => counts.startup_state_ms += elapsed_ms,
            State::Playing => counts.playing_ms += elapsed_ms,
            State::Rebuffering => counts.rebuffer_ms += elapsed_ms,
            State::SeekWaiting => counts.seek_waiting_ms += elapsed_ms,
            State::Paused => counts.paused_ms += elapsed_ms,
            State::Ad => counts.ad_ms += elapsed_ms,
            State::Background => counts.background_ms += elapsed_ms,
            State::Ended => {}
        }
        self.record(Some(payload), Fate::Counted);
    }

    fn record(&mut self, payload: Option<Payload>, fate: Fate) {
        self.played.events.push(PlannedEvent {
            sequence: self.played.events.len() as u64,
            at_ms: self.now_ms,
            media_time_ms: self.playhead_ms,
            payload,
            fate,
        });
        self.played.counts_after.push(self.counts);
    }

    fn amend_last_counts(&mut self) {
        if let Some(last) = self.played.counts_after.last_mut() {
            *last = self.counts;
        }
    }
}
