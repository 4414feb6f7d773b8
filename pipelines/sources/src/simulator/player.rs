//! One viewer and one player: what they do from play request to end. Behaviours follow each other and never overlap, so
//! every instant has one state beyond dispute. Waits are drawn, not caused: a run of seconds shows every state there is;
//! `audience::player` is the one with a network and a buffer.

use std::ops::RangeInclusive;

use marquee_events::proto::view_event::Payload;
use marquee_events::proto::{
    AdEnd, AdStart, Background, Foreground, Heartbeat, Pause, RebufferEnd, RebufferStart, Resume, SeekEnd, SeekStart,
    SessionEnd,
};
use rand::Rng;
use rand::rngs::StdRng;

use super::SimulatorSettings;
use super::random::{chance, log_normal, pick, weighted};
use super::recorder::{LADDER, Played, Recorder, State};
use super::settings::Behaviour;

/// The spread of startup times: with a median of 0.8 s one in twenty takes over 2.2 s.
const STARTUP_SIGMA: f64 = 0.6;
/// No simulated startup is longer (ms).
const MAX_STARTUP_MS: i64 = 15_000;

/// Plays one session to its end.
pub(super) fn play(settings: &SimulatorSettings, rng: StdRng, troubled: bool, cdn: &str) -> Played {
    let mut player = Player {
        settings,
        rng,
        cdn,
        recorder: Recorder::new(0),
        next_heartbeat_ms: settings.heartbeat_interval_ms,
        rung: 2,
    };
    player.session(&settings.behaviour, troubled);
    player.recorder.finish()
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
    cdn: &'a str,
    recorder: Recorder,
    next_heartbeat_ms: i64,
    rung: usize,
}

impl Player<'_> {
    fn session(&mut self, behaviour: &Behaviour, troubled: bool) {
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
            if self.rng.random() {
                self.pause(behaviour);
            } else {
                self.background(behaviour);
            }
        }
        self.wait(startup_ms - before_ms);
        self.recorder.rendition(self.rung, self.cdn);
        self.recorder.first_frame();
    }

    fn watch(&mut self, behaviour: &Behaviour, troubled: bool) {
        let until_ms = self.recorder.now_ms() + self.rng.random_range(behaviour.watch_ms.clone());
        while self.recorder.now_ms() < until_ms {
            let stretch_ms = self.rng.random_range(behaviour.stretch_ms.clone());
            self.wait(stretch_ms.min(until_ms - self.recorder.now_ms()));
            if self.recorder.now_ms() < until_ms {
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
            Interruption::SurvivedError => self.recorder.survived_error("segment_timeout"),
        }
    }

    fn rebuffer(&mut self, behaviour: &Behaviour) {
        self.recorder.enter(State::Rebuffering, Payload::RebufferStart(RebufferStart {}));
        self.wait_within(&behaviour.rebuffer_ms);
        self.recorder.enter(State::Playing, Payload::RebufferEnd(RebufferEnd {}));
    }

    fn seek(&mut self, behaviour: &Behaviour) {
        self.recorder.enter(State::SeekWaiting, Payload::SeekStart(SeekStart {}));
        self.recorder.playhead_ms = (self.recorder.playhead_ms + self.rng.random_range(-30_000..=300_000)).max(0);
        self.wait_within(&behaviour.seek_wait_ms);
        self.recorder.enter(State::Playing, Payload::SeekEnd(SeekEnd {}));
    }

    fn pause(&mut self, behaviour: &Behaviour) {
        let before = self.recorder.state();
        self.recorder.enter(State::Paused, Payload::Pause(Pause {}));
        self.wait_within(&behaviour.pause_ms);
        self.recorder.enter(before, Payload::Resume(Resume {}));
    }

    fn ad(&mut self, behaviour: &Behaviour) {
        let ad_id = format!("ad-{}", self.rng.random_range(1..=40));
        self.recorder.enter(State::Ad, Payload::AdStart(AdStart { ad_id }));
        self.wait_within(&behaviour.ad_ms);
        self.recorder.enter(State::Playing, Payload::AdEnd(AdEnd {}));
    }

    fn background(&mut self, behaviour: &Behaviour) {
        let before = self.recorder.state();
        self.recorder.enter(State::Background, Payload::Background(Background {}));
        self.wait_within(&behaviour.background_ms);
        self.recorder.enter(before, Payload::Foreground(Foreground {}));
    }

    fn switch_rendition(&mut self) {
        let up = self.rung + 1 < LADDER.len() && (self.rung == 0 || self.rng.random());
        self.rung = if up { self.rung + 1 } else { self.rung - 1 };
        self.recorder.rendition(self.rung, self.cdn);
    }

    fn fail(&mut self, behaviour: &Behaviour, phase: &str) {
        let business = chance(&mut self.rng, behaviour.business_error_share);
        let code = if business {
            pick(&mut self.rng, &["too_many_streams", "not_entitled"]).to_owned()
        } else {
            format!("{phase}_{}", weighted(&mut self.rng, &[("decode", 3), ("network", 5), ("drm", 2)]))
        };
        self.recorder.fatal_error(code, business);
        self.wait_within(&(1..=1_500));
        self.leave(behaviour, "error");
    }

    /// Says good-bye, or not.
    fn leave(&mut self, behaviour: &Behaviour, reason: &str) {
        if !chance(&mut self.rng, behaviour.vanish) {
            self.recorder.enter(State::Ended, Payload::SessionEnd(SessionEnd { reason: reason.to_owned() }));
        }
    }

    fn wait_within(&mut self, range: &RangeInclusive<i64>) {
        let duration_ms = self.rng.random_range(range.clone());
        self.wait(duration_ms);
    }

    /// Lets time pass, with heartbeats unless the player has ended.
    fn wait(&mut self, duration_ms: i64) {
        let until_ms = self.recorder.now_ms() + duration_ms;
        while self.recorder.state() != State::Ended && self.next_heartbeat_ms <= until_ms {
            self.recorder.advance(self.next_heartbeat_ms);
            self.next_heartbeat_ms += self.settings.heartbeat_interval_ms;
            self.heartbeat();
        }
        self.recorder.advance(until_ms);
    }

    fn heartbeat(&mut self) {
        let stalled = self.recorder.state() == State::Rebuffering;
        let heartbeat = Heartbeat {
            buffer_ms: if stalled { 0 } else { self.rng.random_range(1_000..30_000) },
            throughput_bps: self.rng.random_range(LADDER[self.rung].2..=3 * LADDER[self.rung].2),
            dropped_frames: self.rng.random_range(0..3),
            bitrate_bps: 0,
        };
        self.recorder.event(Payload::Heartbeat(heartbeat));
    }
}
