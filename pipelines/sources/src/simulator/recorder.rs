//! What a player says and what is true of it: events in player time, with the truth counted alongside. Players move the
//! time and change the state through here and nowhere else, so that each interval belongs to one state.

use marquee_events::proto::view_event::Payload;
use marquee_events::proto::{Error, FirstFrame, PlayRequested, Rendition};

use super::PlannedEvent;
use super::truth::{Outcome, SessionCounts};

/// (width, height, bits per second), from the least to the best.
pub(crate) const LADDER: [(u32, u32, u64); 6] = [
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
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Played {
    pub(crate) events: Vec<PlannedEvent>,
    pub(crate) counts_after: Vec<SessionCounts>,
}

impl Played {
    /// The truth of the whole session.
    pub(crate) fn counts(&self) -> SessionCounts {
        self.counts_after.last().copied().unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Startup,
    Playing,
    Rebuffering,
    SeekWaiting,
    Paused,
    Ad,
    Background,
    Ended,
}

pub(crate) struct Recorder {
    pub(crate) playhead_ms: i64,
    now_ms: i64,
    state: State,
    last_event_ms: i64,
    rung: Option<usize>,
    counts: SessionCounts,
    startup_interrupted: bool,
    played: Played,
}

impl Recorder {
    /// A player that is asked to play now, at time 0, from this playhead on.
    pub(crate) fn new(playhead_ms: i64) -> Self {
        let mut recorder = Self {
            playhead_ms,
            now_ms: 0,
            state: State::Startup,
            last_event_ms: 0,
            rung: None,
            counts: SessionCounts::default(),
            startup_interrupted: false,
            played: Played::default(),
        };
        recorder.event(Payload::PlayRequested(PlayRequested::default()));
        recorder
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.now_ms
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Whether the first frame was shown.
    pub(crate) fn has_started(&self) -> bool {
        self.counts.outcome == Outcome::Played
    }

    /// Lets time pass; the playhead moves while playing.
    pub(crate) fn advance(&mut self, to_ms: i64) {
        if self.state == State::Playing {
            self.playhead_ms += to_ms - self.now_ms;
        }
        self.now_ms = to_ms;
    }

    pub(crate) fn first_frame(&mut self) {
        self.counts.outcome = Outcome::Played;
        self.enter(State::Playing, Payload::FirstFrame(FirstFrame {}));
        // The time up to the first frame is known only now that the event is counted.
        self.counts.startup_ms = (!self.startup_interrupted).then_some(self.counts.startup_state_ms);
        self.amend_last_counts();
    }

    /// The player shows this rung of the ladder from now on.
    pub(crate) fn rendition(&mut self, rung: usize, cdn: &str) {
        self.counts.rendition_switch_count += u64::from(self.rung.is_some_and(|shown| shown != rung));
        self.rung = Some(rung);
        let (width, height, bitrate_bps) = LADDER[rung];
        self.event(Payload::Rendition(Rendition {
            representation_id: format!("v{rung}"),
            bitrate_bps,
            width,
            height,
            codec: if rung >= 4 { "hvc1" } else { "avc1" }.to_owned(),
            cdn: cdn.to_owned(),
        }));
    }

    /// An error that playback survives. One before the first frame makes the startup time unknown.
    pub(crate) fn survived_error(&mut self, code: &str) {
        self.startup_interrupted |= !self.has_started();
        self.event(Payload::Error(Error { code: code.to_owned(), fatal: false, business: false }));
    }

    /// An error that ends the session.
    pub(crate) fn fatal_error(&mut self, code: String, business: bool) {
        self.counts.outcome = if self.has_started() { Outcome::PlaybackFailure } else { Outcome::StartFailure };
        self.enter(State::Ended, Payload::Error(Error { code, fatal: true, business }));
    }

    /// The player is never heard of again.
    pub(crate) fn vanish(&mut self) {
        self.state = State::Ended;
    }

    /// Something happens that changes the state.
    pub(crate) fn enter(&mut self, state: State, payload: Payload) {
        let interrupts = !matches!(state, State::Startup | State::Playing | State::Ended);
        self.startup_interrupted |= interrupts && !self.has_started();
        self.counts.rebuffer_count += u64::from(matches!(payload, Payload::RebufferStart(_)));
        self.event(payload);
        self.state = state;
    }

    /// Something that is folded happens now: the time since the event before it belongs to the state until now.
    pub(crate) fn event(&mut self, payload: Payload) {
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
        self.played.events.push(PlannedEvent {
            sequence: self.played.events.len() as u64,
            at_ms: self.now_ms,
            media_time_ms: self.playhead_ms,
            payload: Some(payload),
            fate: Fate::Counted,
        });
        self.played.counts_after.push(self.counts);
    }

    /// What was said, when nothing follows.
    pub(crate) fn finish(self) -> Played {
        self.played
    }

    fn amend_last_counts(&mut self) {
        if let Some(last) = self.played.counts_after.last_mut() {
            *last = self.counts;
        }
    }
}
