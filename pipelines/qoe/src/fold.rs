//! The session fold: a session's events, each once and in sequence order, to a state-duration vector, counts and
//! integrals.
//!
//! **Intervals.** The time between two consecutive events belongs to the state in which the first of them left the
//! session. Nothing is assumed after the last event. Event time that steps back counts as zero.
//!
//! **The state** follows from independent flags, the first row that applies:
//!
//! | # | flag | set by | cleared by | state |
//! |---|---|---|---|---|
//! | 1 | ended | session end, fatal error | – | none: nothing is counted any more |
//! | 2 | background | background | foreground | `Background` |
//! | 3 | paused | pause | resume | `Paused` (a pause inside a stall starts no second stall) |
//! | 4 | not started, ad | ad start | ad end | `Ad` |
//! | 5 | not started, requested | play requested | first frame | `Startup` |
//! | 6 | not started, not requested | – | – | none |
//! | 7 | seeking | seek start | seek end | `SeekWaiting` |
//! | 8 | ad | ad start | ad end | `Ad` |
//! | 9 | rebuffering | rebuffer start (not while seeking, not before the first frame) | rebuffer end, seek start | `Rebuffering` |
//! | 10 | – | – | – | `Playing` |
//!
//! **Rules**, with their source (CTA-2066; media3's `PlaybackStatsListener`):
//! a stall is counted once, when the session first *is* in `Rebuffering` after a rebuffer start, however short;
//! `startup_ms` is the time spent in `Startup` and missing when a seek, pause, background or error interrupted it or no
//! play request was seen; the first fatal error decides the outcome; a silence longer than the session gap (5 min;
//! 30 min while paused) is counted as no state at all; media time advances while playing by the difference of two
//! consecutive playheads, at most [`MAX_PLAYBACK_RATE`] × real time, or by real time where a playhead is missing;
//! a rendition switch is a change of representation id, not of bitrate.

use marquee_events::PayloadView;
use serde::{Deserialize, Serialize};

use crate::minutes::{Measure, MinuteSink, SLOTS_PER_MINUTE};
use crate::startup_buckets::startup_bucket;

/// A session without events for this long is over (ms).
pub const SESSION_GAP_MS: i64 = 5 * 60 * 1000;

/// A paused session without events for this long is over (ms).
pub const PAUSED_GAP_MS: i64 = 30 * 60 * 1000;

/// Players offer at most 4 × playback; a faster playhead is a jump that no seek announced.
pub const MAX_PLAYBACK_RATE: i64 = 4;

/// After this much silence a viewer no longer counts as concurrent (ms).
const CONCURRENT_SILENCE_MS: i64 = 30_000;

/// After this much continuous rebuffering a viewer no longer counts as concurrent (ms; as Mux).
const CONCURRENT_STALL_MS: i64 = 5 * 60 * 1000;

const MINUTE_MS: i64 = 60_000;
const SLOT_MS: i64 = MINUTE_MS / SLOTS_PER_MINUTE as i64;

/// What a session does in an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
#[expect(missing_docs, reason = "the module's table defines them")]
pub enum State {
    Startup,
    Playing,
    Rebuffering,
    SeekWaiting,
    Paused,
    Ad,
    Background,
}

impl State {
    const COUNT: usize = 7;

    fn measure(self) -> Measure {
        match self {
            State::Startup => Measure::StartupWaitingMs,
            State::Playing => Measure::PlayingMs,
            State::Rebuffering => Measure::RebufferMs,
            State::SeekWaiting => Measure::SeekWaitingMs,
            State::Paused => Measure::PausedMs,
            State::Ad => Measure::AdMs,
            State::Background => Measure::BackgroundMs,
        }
    }
}

/// How a session turned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The first frame was shown and no fatal error followed.
    Played,
    /// A fatal error came before the first frame.
    StartFailure,
    /// The session is over without first frame and without fatal error.
    ExitBeforeStart,
    /// A fatal error came after the first frame.
    PlaybackFailure,
    /// Still open, no first frame yet.
    Pending,
    /// No play request was seen.
    Unknown,
}

impl Outcome {
    /// The value of column `outcome`.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Played => "played",
            Outcome::StartFailure => "start_failure",
            Outcome::ExitBeforeStart => "exit_before_start",
            Outcome::PlaybackFailure => "playback_failure",
            Outcome::Pending => "pending",
            Outcome::Unknown => "unknown",
        }
    }
}

/// The error that a session row shows: the first fatal one, else the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionError {
    /// The player's code.
    pub code: String,
    /// It ended playback.
    pub fatal: bool,
    /// It was a business error.
    pub business: bool,
}

/// The accumulator of one session. Durations in ms.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SessionFold {
    /// Events folded.
    pub event_count: u64,
    /// Event time of the first event (ms since the epoch).
    pub started_at_ms: i64,
    /// The latest event time so far (ms since the epoch).
    pub last_time_ms: i64,
    /// Time of the first play request.
    pub requested_at_ms: Option<i64>,
    /// Startup time of an uninterrupted startup.
    pub startup_ms: Option<i64>,
    durations_ms: [i64; State::COUNT],
    /// Time that no state explains: silences longer than the gap.
    pub silent_ms: i64,
    /// Stalls.
    pub rebuffer_count: u32,
    /// Seeks.
    pub seek_count: u32,
    /// Changes of the representation.
    pub rendition_switch_count: u32,
    /// Media time played.
    pub media_ms: i64,
    /// Media time played at a known bitrate.
    pub bitrate_media_ms: i64,
    /// Bitrate × media time (bit/s · ms).
    pub bitrate_bit_ms: i64,
    /// Media time played at a known picture height.
    pub height_media_ms: i64,
    /// Picture height × media time (px · ms).
    pub height_px_ms: i64,
    /// Dropped frames, as the heartbeats say.
    pub dropped_frames: u64,
    /// The error to show.
    pub error: Option<SessionError>,
    /// Reason of the session end event.
    pub end_reason: Option<String>,
    last_media_ms: Option<i64>,
    stall_started_at_ms: i64,
    bitrate_bps: u64,
    height_px: u32,
    /// FNV-1a of the representation id; 0 before the first one.
    representation: u64,
    flags: Flags,
    exit_counted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent flags are what the module's table is made of")]
struct Flags {
    ended: bool,
    background: bool,
    paused: bool,
    ad: bool,
    started: bool,
    seeking: bool,
    rebuffering: bool,
    stall_counted: bool,
    startup_interrupted: bool,
}

impl SessionFold {
    /// The state that the next interval belongs to; `None` when it belongs to none.
    pub fn state(&self) -> Option<State> {
        let f = self.flags;
        match () {
            () if f.ended => None,
            () if f.background => Some(State::Background),
            () if f.paused => Some(State::Paused),
            () if !f.started && f.ad => Some(State::Ad),
            () if !f.started => self.requested_at_ms.map(|_| State::Startup),
            () if f.seeking => Some(State::SeekWaiting),
            () if f.ad => Some(State::Ad),
            () if f.rebuffering => Some(State::Rebuffering),
            () => Some(State::Playing),
        }
    }

    /// Time spent in a state (ms).
    pub fn duration_ms(&self, state: State) -> i64 {
        self.durations_ms[state as usize]
    }

    /// Whether an event ended the session.
    pub fn has_ended(&self) -> bool {
        self.flags.ended
    }

    /// How long without events until the session is over (ms).
    pub fn gap_ms(&self) -> i64 {
        if self.flags.paused { PAUSED_GAP_MS } else { SESSION_GAP_MS }
    }

    /// Σ bitrate × media time ÷ Σ media time (kbit/s); `None` when nothing was played at a known bitrate.
    pub fn avg_bitrate_kbps(&self) -> Option<f64> {
        (self.bitrate_media_ms > 0).then(|| self.bitrate_bit_ms as f64 / self.bitrate_media_ms as f64 / 1000.0)
    }

    /// Σ height × media time ÷ Σ media time (px); `None` when nothing was played at a known height.
    pub fn avg_height_px(&self) -> Option<f64> {
        (self.height_media_ms > 0).then(|| self.height_px_ms as f64 / self.height_media_ms as f64)
    }

    /// How the session turned out; `closed` says that no more events are waited for.
    pub fn outcome(&self, closed: bool) -> Outcome {
        let fatal = self.error.as_ref().is_some_and(|e| e.fatal);
        match () {
            () if self.requested_at_ms.is_none() => Outcome::Unknown,
            () if fatal && self.flags.started => Outcome::PlaybackFailure,
            () if fatal => Outcome::StartFailure,
            () if self.flags.started => Outcome::Played,
            () if closed => Outcome::ExitBeforeStart,
            () => Outcome::Pending,
        }
    }

    /// Folds the next event of the session. `time_ms` is its corrected event time.
    pub fn apply(
        &mut self,
        time_ms: i64,
        media_time_ms: Option<i64>,
        payload: &PayloadView<'_>,
        minutes: &mut impl MinuteSink,
    ) {
        if self.event_count == 0 {
            self.started_at_ms = time_ms;
            self.last_time_ms = time_ms;
        }
        self.event_count += 1;
        self.pass_interval(time_ms, media_time_ms, minutes);
        self.last_time_ms = self.last_time_ms.max(time_ms);
        self.last_media_ms = media_time_ms;
        if !self.flags.ended {
            self.transition(time_ms, payload, minutes);
            self.count_stall(time_ms, minutes);
        }
    }

    /// No more events are waited for. Undone by [`reopen`](Self::reopen).
    pub fn close(&mut self, minutes: &mut impl MinuteSink) {
        if self.outcome(true) == Outcome::ExitBeforeStart && !self.exit_counted {
            self.exit_counted = true;
            self.add_at_request(Measure::ExitsBeforeStart, 1, minutes);
        }
    }

    /// An event came after all.
    pub fn reopen(&mut self, minutes: &mut impl MinuteSink) {
        if self.exit_counted {
            self.exit_counted = false;
            self.add_at_request(Measure::ExitsBeforeStart, -1, minutes);
        }
    }

    fn add_at_request(&self, measure: Measure, value: i64, minutes: &mut impl MinuteSink) {
        if let Some(requested_at_ms) = self.requested_at_ms {
            minutes.add(requested_at_ms.div_euclid(MINUTE_MS), measure as usize, value);
        }
    }

    fn pass_interval(&mut self, to_ms: i64, media_time_ms: Option<i64>, minutes: &mut impl MinuteSink) {
        let from_ms = self.last_time_ms;
        let length_ms = to_ms - from_ms;
        let Some(state) = self.state() else { return };
        if length_ms <= 0 {
            return;
        }
        if length_ms > self.gap_ms() {
            self.silent_ms += length_ms;
            self.flags.startup_interrupted |= state == State::Startup;
            return;
        }
        self.durations_ms[state as usize] += length_ms;
        split_minutes(from_ms, to_ms, |minute, part_ms| minutes.add(minute, state.measure() as usize, part_ms));
        if matches!(state, State::Playing | State::Rebuffering) {
            self.sample_concurrency(state, from_ms, to_ms, minutes);
        }
        if state == State::Playing {
            self.advance_media(from_ms, length_ms, media_time_ms, minutes);
        }
    }

    fn sample_concurrency(&self, state: State, from_ms: i64, to_ms: i64, minutes: &mut impl MinuteSink) {
        let mut until_ms = to_ms.min(from_ms + CONCURRENT_SILENCE_MS);
        if state == State::Rebuffering {
            until_ms = until_ms.min(self.stall_started_at_ms + CONCURRENT_STALL_MS);
        }
        let mut slot = from_ms.div_euclid(SLOT_MS) + i64::from(from_ms.rem_euclid(SLOT_MS) > 0);
        while slot * SLOT_MS < until_ms {
            let index = slot.rem_euclid(SLOTS_PER_MINUTE as i64) as usize;
            minutes.add(slot.div_euclid(SLOTS_PER_MINUTE as i64), Measure::Concurrent00 as usize + index, 1);
            slot += 1;
        }
    }

    /// Media time is counted in the minute in which its interval began: it cannot be split exactly.
    fn advance_media(
        &mut self,
        from_ms: i64,
        length_ms: i64,
        media_time_ms: Option<i64>,
        minutes: &mut impl MinuteSink,
    ) {
        let advance_ms = match (self.last_media_ms, media_time_ms) {
            (Some(last), Some(now)) => now.saturating_sub(last).clamp(0, length_ms * MAX_PLAYBACK_RATE),
            _ => length_ms,
        };
        if advance_ms == 0 {
            return;
        }
        let minute = from_ms.div_euclid(MINUTE_MS);
        self.media_ms += advance_ms;
        minutes.add(minute, Measure::MediaMs as usize, advance_ms);
        if self.bitrate_bps > 0 {
            let bit_ms = self.bitrate_bps as i64 * advance_ms;
            self.bitrate_media_ms += advance_ms;
            self.bitrate_bit_ms += bit_ms;
            minutes.add(minute, Measure::BitrateMediaMs as usize, advance_ms);
            minutes.add(minute, Measure::BitrateBitMs as usize, bit_ms);
        }
        if self.height_px > 0 {
            self.height_media_ms += advance_ms;
            self.height_px_ms += i64::from(self.height_px) * advance_ms;
        }
    }

    fn transition(&mut self, time_ms: i64, payload: &PayloadView<'_>, minutes: &mut impl MinuteSink) {
        let minute = time_ms.div_euclid(MINUTE_MS);
        match payload {
            PayloadView::PlayRequested => {
                if self.requested_at_ms.is_none() {
                    self.requested_at_ms = Some(time_ms);
                    // A play request after the first frame starts nothing: its startup was not seen.
                    self.flags.startup_interrupted |= self.flags.started;
                    minutes.add(minute, Measure::Attempts as usize, 1);
                }
            }
            PayloadView::FirstFrame => self.first_frame(minutes),
            PayloadView::RebufferStart => {
                if self.flags.started && !self.flags.seeking && !self.flags.rebuffering {
                    self.flags.rebuffering = true;
                    self.flags.stall_counted = false;
                }
            }
            PayloadView::RebufferEnd => self.flags.rebuffering = false,
            PayloadView::Pause => {
                self.flags.paused = true;
                self.interrupt_startup();
            }
            PayloadView::Resume => self.flags.paused = false,
            PayloadView::SeekStart => {
                self.flags.seeking = true;
                self.flags.rebuffering = false;
                self.seek_count += 1;
                minutes.add(minute, Measure::SeekCount as usize, 1);
                self.interrupt_startup();
            }
            PayloadView::SeekEnd => self.flags.seeking = false,
            PayloadView::Rendition { representation_id, bitrate_bps, height, .. } => {
                let representation = fnv1a(representation_id);
                if self.representation != 0 && self.representation != representation {
                    self.rendition_switch_count += 1;
                    minutes.add(minute, Measure::RenditionSwitchCount as usize, 1);
                }
                self.representation = representation;
                self.bitrate_bps = *bitrate_bps;
                self.height_px = *height;
            }
            PayloadView::AdStart { .. } => self.flags.ad = true,
            PayloadView::AdEnd => self.flags.ad = false,
            PayloadView::Error { code, fatal, business } => {
                self.error(minute, code, *fatal, *business, minutes);
            }
            PayloadView::Heartbeat { dropped_frames, .. } => self.dropped_frames += u64::from(*dropped_frames),
            PayloadView::Background => {
                self.flags.background = true;
                self.interrupt_startup();
            }
            PayloadView::Foreground => self.flags.background = false,
            PayloadView::SessionEnd { reason } => {
                self.flags.ended = true;
                self.end_reason = Some(reason.clone().into_owned());
            }
        }
    }

    fn interrupt_startup(&mut self) {
        if !self.flags.started && self.requested_at_ms.is_some() {
            self.flags.startup_interrupted = true;
        }
    }

    fn first_frame(&mut self, minutes: &mut impl MinuteSink) {
        if self.flags.started {
            return;
        }
        self.flags.started = true;
        let Some(requested_at_ms) = self.requested_at_ms else { return };
        self.add_at_request(Measure::Starts, 1, minutes);
        if self.flags.startup_interrupted {
            return;
        }
        let startup_ms = self.duration_ms(State::Startup);
        self.startup_ms = Some(startup_ms);
        self.add_at_request(Measure::Startups, 1, minutes);
        self.add_at_request(Measure::StartupMs, startup_ms, minutes);
        minutes.add_startup_bucket(requested_at_ms.div_euclid(MINUTE_MS), startup_bucket(startup_ms), 1);
    }

    fn error(&mut self, minute: i64, code: &str, fatal: bool, business: bool, minutes: &mut impl MinuteSink) {
        self.interrupt_startup();
        if fatal || self.error.is_none() {
            self.error = Some(SessionError { code: code.to_owned(), fatal, business });
        }
        if !fatal {
            return;
        }
        self.flags.ended = true;
        if self.flags.started && self.requested_at_ms.is_some() {
            let measure = if business { Measure::PlaybackFailuresBusiness } else { Measure::PlaybackFailures };
            minutes.add(minute, measure as usize, 1);
        } else {
            let measure = if business { Measure::StartFailuresBusiness } else { Measure::StartFailures };
            self.add_at_request(measure, 1, minutes);
        }
    }

    fn count_stall(&mut self, time_ms: i64, minutes: &mut impl MinuteSink) {
        if self.flags.rebuffering && !self.flags.stall_counted && self.state() == Some(State::Rebuffering) {
            self.flags.stall_counted = true;
            self.stall_started_at_ms = time_ms;
            self.rebuffer_count += 1;
            minutes.add(time_ms.div_euclid(MINUTE_MS), Measure::RebufferCount as usize, 1);
        }
    }
}

/// Calls `part` with every minute that `[from_ms, to_ms)` touches and the ms it has there.
fn split_minutes(from_ms: i64, to_ms: i64, mut part: impl FnMut(i64, i64)) {
    let mut at_ms = from_ms;
    while at_ms < to_ms {
        let minute = at_ms.div_euclid(MINUTE_MS);
        let end_ms = to_ms.min((minute + 1) * MINUTE_MS);
        part(minute, end_ms - at_ms);
        at_ms = end_ms;
    }
}

/// FNV-1a, 64 bits (public domain, Fowler/Noll/Vo); never 0.
fn fnv1a(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    hash.max(1)
}

#[cfg(test)]
mod tests;
