//! The session fold: a session's events, each once and in sequence order, to a state-duration vector, counts and
//! integrals. `docs/qoe.md` is the standard; this table is its short form, and each rule names its test.
//!
//! **Intervals.** The time between two consecutive events belongs to the state in which the first of them left the
//! session. Nothing is assumed after the last event.
//!
//! **The state** follows from independent flags, the first row that applies; in the background the same state goes to
//! durations of its own:
//!
//! | # | flags | state |
//! |---|---|---|
//! | 1 | ended | none: nothing is counted any more |
//! | 2 | paused | `Paused` |
//! | 3 | not started, in an ad, rebuffering | `AdRebuffering` |
//! | 4 | not started, in an ad | `Ad` |
//! | 5 | not started, requested | `Startup` |
//! | 6 | not started, not requested | none |
//! | 7 | seeking | `SeekWaiting` |
//! | 8 | in an ad, rebuffering | `AdRebuffering` |
//! | 9 | in an ad | `Ad` |
//! | 10 | rebuffering | `Rebuffering` |
//! | 11 | – | `Playing` |
//!
//! **Edge rules**, with their source and their test in `fold/tests`:
//!
//! | # | rule | source | test |
//! |---|---|---|---|
//! | 1 | a pause inside a stall starts no second stall | media3 | `pause_inside_a_rebuffer` |
//! | 2 | seek, pause, background, error or long silence during startup: no `startup_ms` | media3 | `seek_during_startup`, `an_interrupted_startup_has_no_startup_time` |
//! | 3 | waiting until the seek ends is no stall, a later one is | CTA-2066 | `rebuffer_after_a_seek` |
//! | 4 | a seek ends a stall | media3 | `a_seek_ends_a_stall` |
//! | 5 | ads before the content are not startup | Mux | `ad_before_the_content` |
//! | 6 | the time between the ads of a break is ad | Mux | `ad_break_inside_the_content` |
//! | 7 | rebuffering inside ads is apart; entering or leaving ads ends a stall | CTA-2066 | `ad_rebuffering_is_apart` |
//! | 8 | ads after the content are not playing | CTA-2066 | `ad_after_the_content` |
//! | 9 | the background is apart, by the state beneath; it interrupts startup | Bitmovin, media3 | `background_tab` |
//! | 10 | a title that starts by itself is a session with `autoplay` | CTA-2066, media3 | `autoplay_to_the_next_title` |
//! | 11 | live: playheads may be wall-clock times, a jump is not played | – | `live` |
//! | 12 | an error that is not fatal ends nothing | CTA-2066 | `error_then_recovery` |
//! | 13 | the first fatal error decides: before the first frame or after it | Conviva, Mux | `errors_before_and_after_the_first_frame` |
//! | 14 | business errors are apart | Conviva, Mux | `technical_and_business_errors` |
//! | 15 | an exit under 1 s is also a quick exit | Mux | `exit_before_start_under_and_over_one_second` |
//! | 16 | two heartbeats with a moving playhead: whatever kept the session from playing has ended unseen | – | `missing_first_frame`, `a_rebuffer_that_never_ends` |
//! | 17 | an inferred first frame has no startup time | – | `missing_first_frame` |
//! | 18 | nothing is counted after the last event | Mux, Adobe close later | `missing_end` |
//! | 19 | without play request: no attempt, outcome unknown | – | `missing_play_request` |
//! | 20 | lost heartbeats change no duration; a silence longer than the gap is no state | Mux | `lost_heartbeats` |
//! | 22 | a step back counts 0, and counting goes on from the new time | – | `clock_steps_back` |
//! | 23 | a step forward beyond the gap is silence | – | `clock_steps_forward` |
//! | 24 | durations are real time; media time follows the playhead, else the rate | CTA-2066 | `playback_rate` |
//! | 26 | an unknown bitrate or size is in no average of it; a switch is a change of representation | CTA-2066 | `a_rendition_of_unknown_size` |
//! | 27 | a stall without end lasts until the last event | Mux | `a_rebuffer_that_never_ends` |
//! | 28 | a session of no length has no durations | – | `a_session_of_no_length` |
//! | 29, 30 | minutes are UTC: midnight and daylight-saving split nothing else | – | `across_midnight`, `across_a_daylight_saving_change` |
//! | 31 | nothing after the end counts | – | `nothing_counts_after_the_end` |
//! | 32 | a fatal error without a code takes the code of the next error | hls.js | `the_code_of_a_fatal_error_may_come_after_it` |
//! | 33 | `rebuffering` before anything else asks for nothing | Shaka | `rebuffering_first_is_no_request` |
//! | 34 | a play request after a fatal error is an attempt that failed | hls.js | `who_asks_a_failed_player_gets_a_start_failure` |
//!
//! Rules 21 (sequence gaps) and 25 (two players with one session id) are the playback job's.

mod media;
#[cfg(test)]
mod tests;
mod transition;

use std::hint::black_box;

use marquee_events::PayloadView;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::minutes::{Measure, MinuteSink, SLOTS_PER_MINUTE};
use crate::outcome::{Outcome, SessionError};

/// A session without events for this long is over (ms).
pub const SESSION_GAP_MS: i64 = 5 * 60 * 1000;

/// A paused session without events for this long is over (ms).
pub const PAUSED_GAP_MS: i64 = 30 * 60 * 1000;

/// An exit before start within this time of the play request is a quick one (ms; Mux gives it no score).
pub const QUICK_EXIT_MS: i64 = 1000;

/// Playheads of heartbeats closer than this prove nothing (ms).
const MIN_EVIDENCE_MS: i64 = 1000;

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
    AdRebuffering,
}

impl State {
    /// Every state.
    pub const ALL: [State; 7] = [
        State::Startup,
        State::Playing,
        State::Rebuffering,
        State::SeekWaiting,
        State::Paused,
        State::Ad,
        State::AdRebuffering,
    ];

    fn measure(self) -> Measure {
        match self {
            State::Startup => Measure::StartupWaitingMs,
            State::Playing => Measure::PlayingMs,
            State::Rebuffering => Measure::RebufferMs,
            State::SeekWaiting => Measure::SeekWaitingMs,
            State::Paused => Measure::PausedMs,
            State::Ad => Measure::AdMs,
            State::AdRebuffering => Measure::AdRebufferMs,
        }
    }

    /// The measure of the background's part that definitions of watched time ask for.
    fn background_measure(self) -> Option<Measure> {
        match self {
            State::Startup => Some(Measure::BackgroundStartupWaitingMs),
            State::Playing => Some(Measure::BackgroundPlayingMs),
            State::Rebuffering => Some(Measure::BackgroundRebufferMs),
            State::SeekWaiting => Some(Measure::BackgroundSeekWaitingMs),
            State::Paused | State::Ad | State::AdRebuffering => None,
        }
    }
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
    /// The play request said that the title started by itself.
    pub autoplay: bool,
    /// Startup time of an uninterrupted startup.
    pub startup_ms: Option<i64>,
    /// The same until the first frame of an ad or of the content.
    pub first_picture_ms: Option<i64>,
    /// From the play request to the end event of a session that never started.
    pub exit_after_ms: Option<i64>,
    durations_ms: [i64; State::ALL.len()],
    background_ms: [i64; State::ALL.len()],
    /// Time that no state explains: silences longer than the gap.
    pub silent_ms: i64,
    /// Stalls in the foreground.
    pub rebuffer_count: u32,
    /// Stalls in the background.
    pub background_rebuffer_count: u32,
    /// Stalls inside ads.
    pub ad_rebuffer_count: u32,
    /// Seeks.
    pub seek_count: u32,
    /// Pauses.
    pub pause_count: u32,
    /// Ads.
    pub ad_count: u32,
    /// Changes of the representation.
    pub rendition_switch_count: u32,
    /// Errors that were not fatal.
    pub error_count: u32,
    /// Times that two heartbeats showed playing where an event is missing.
    pub inferred_count: u32,
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
    /// Media time played at a known picture size in a known viewport.
    pub upscale_media_ms: i64,
    /// Upscale × media time (‰ · ms).
    pub upscale_per_mille_ms: i64,
    /// The largest upscale in which media was played (‰).
    pub max_upscale_per_mille: u32,
    /// Dropped frames, as the heartbeats say.
    pub dropped_frames: u64,
    /// The error to show.
    pub error: Option<SessionError>,
    /// Reason of the session end event.
    pub end_reason: Option<SmolStr>,
    /// Event time of the last event, whether the clock had stepped back or not.
    previous_time_ms: i64,
    last_media_ms: Option<i64>,
    stall_started_at_ms: i64,
    rendition: media::Rendition,
    flags: Flags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent flags are what the module's table is made of")]
struct Flags {
    ended: bool,
    background: bool,
    paused: bool,
    ad: bool,
    ad_break: bool,
    started: bool,
    /// A frame of an ad or of the content was shown.
    pictured: bool,
    seeking: bool,
    rebuffering: bool,
    stall_counted: bool,
    startup_interrupted: bool,
    /// The last event was a heartbeat.
    heartbeat: bool,
    /// What a closed session adds has been added.
    close_counted: bool,
}

impl Flags {
    fn in_ad(self) -> bool {
        self.ad || self.ad_break
    }
}

impl SessionFold {
    /// Asks memory for all of it: a word of each cache line.
    #[inline]
    pub fn touch(&self) {
        black_box((self.durations_ms[0], self.durations_ms[State::ALL.len() - 1], self.background_ms[0]));
        black_box((self.background_ms[State::ALL.len() - 1], self.silent_ms, self.pause_count, self.bitrate_bit_ms));
        black_box((self.upscale_media_ms, self.dropped_frames, self.end_reason.is_some(), self.stall_started_at_ms));
        black_box((self.event_count, self.last_media_ms, self.error.is_some()));
    }

    /// The state that the next interval belongs to, whether in the background or not; `None` when it belongs to none.
    pub fn state(&self) -> Option<State> {
        let f = self.flags;
        match () {
            () if f.ended => None,
            () if f.paused => Some(State::Paused),
            () if !f.started && !f.in_ad() => self.requested_at_ms.map(|_| State::Startup),
            () if f.started && f.seeking => Some(State::SeekWaiting),
            () if f.in_ad() && f.rebuffering => Some(State::AdRebuffering),
            () if f.in_ad() => Some(State::Ad),
            () if f.rebuffering => Some(State::Rebuffering),
            () => Some(State::Playing),
        }
    }

    /// Time spent in a state in the foreground (ms).
    pub fn duration_ms(&self, state: State) -> i64 {
        self.durations_ms[state as usize]
    }

    /// Time spent in a state in the background (ms).
    pub fn background_duration_ms(&self, state: State) -> i64 {
        self.background_ms[state as usize]
    }

    /// Time spent in the background (ms).
    pub fn background_total_ms(&self) -> i64 {
        self.background_ms.iter().sum()
    }

    /// Whether an event ended the session.
    pub fn has_ended(&self) -> bool {
        self.flags.ended
    }

    /// How long without events until the session is over (ms).
    pub fn gap_ms(&self) -> i64 {
        if self.flags.paused { PAUSED_GAP_MS } else { SESSION_GAP_MS }
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
            self.previous_time_ms = time_ms;
        }
        self.event_count += 1;
        let heartbeat = matches!(payload, PayloadView::Heartbeat { .. });
        if self.flags.ended {
            self.after_end(time_ms, payload, minutes);
        } else {
            if heartbeat && self.flags.heartbeat {
                self.infer_playing(time_ms, media_time_ms, minutes);
            }
            self.pass_interval(time_ms, media_time_ms, minutes);
            self.transition(time_ms, payload, minutes);
            self.count_stall(time_ms, minutes);
        }
        self.flags.heartbeat = heartbeat;
        self.previous_time_ms = time_ms;
        self.last_time_ms = self.last_time_ms.max(time_ms);
        self.last_media_ms = media_time_ms;
    }

    /// No more events are waited for. Undone by [`reopen`](Self::reopen).
    pub fn close(&mut self, minutes: &mut impl MinuteSink) {
        if !self.flags.close_counted {
            self.flags.close_counted = true;
            self.count_close(1, minutes);
        }
    }

    /// An event came after all.
    pub fn reopen(&mut self, minutes: &mut impl MinuteSink) {
        if self.flags.close_counted {
            self.flags.close_counted = false;
            self.count_close(-1, minutes);
        }
    }

    fn count_close(&self, count: i64, minutes: &mut impl MinuteSink) {
        match self.outcome(true) {
            Outcome::ExitBeforeStart => {
                self.resolve(Measure::ExitsBeforeStart, count, minutes);
                if self.exit_after_ms.is_some_and(|ms| ms < QUICK_EXIT_MS) {
                    self.add_at_request(Measure::QuickExits, count, minutes);
                }
            }
            Outcome::Played | Outcome::PlaybackFailure => self.add_at_request(Measure::EndedPlays, count, minutes),
            Outcome::StartFailure | Outcome::Pending | Outcome::Unknown => {}
        }
    }

    fn add_at_request(&self, measure: Measure, value: i64, minutes: &mut impl MinuteSink) {
        if let Some(requested_at_ms) = self.requested_at_ms {
            minutes.add(requested_at_ms.div_euclid(MINUTE_MS), measure as usize, value);
        }
    }

    /// Rule 16. The playhead of a player that waits or is paused stands still: one that moved at a playing speed says
    /// that the event that ended the waiting is missing.
    fn infer_playing(&mut self, time_ms: i64, media_time_ms: Option<i64>, minutes: &mut impl MinuteSink) {
        let f = self.flags;
        if f.in_ad() || (f.started && !f.paused && !f.seeking && !f.rebuffering) {
            return;
        }
        let (Some(last_ms), Some(now_ms)) = (self.last_media_ms, media_time_ms) else { return };
        let length_ms = time_ms - self.previous_time_ms;
        let advance_ms = now_ms.saturating_sub(last_ms);
        let is_playing = (MIN_EVIDENCE_MS..=self.gap_ms()).contains(&length_ms)
            && 2 * advance_ms >= length_ms
            && advance_ms <= media::MAX_JUMP_RATE * length_ms;
        if !is_playing {
            return;
        }
        self.inferred_count += 1;
        self.flags.paused = false;
        self.flags.seeking = false;
        self.flags.rebuffering = false;
        if !f.started {
            self.flags.startup_interrupted = true;
            self.first_frame(minutes);
        }
    }

    fn pass_interval(&mut self, to_ms: i64, media_time_ms: Option<i64>, minutes: &mut impl MinuteSink) {
        let from_ms = self.previous_time_ms;
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
        let background = self.flags.background;
        let (durations, measure) = if background {
            (&mut self.background_ms, Measure::BackgroundMs)
        } else {
            (&mut self.durations_ms, state.measure())
        };
        durations[state as usize] += length_ms;
        let beneath = state.background_measure().filter(|_| background);
        split_minutes(from_ms, to_ms, |minute, part_ms| {
            minutes.add(minute, measure as usize, part_ms);
            if let Some(beneath) = beneath {
                minutes.add(minute, beneath as usize, part_ms);
            }
        });
        if !background && matches!(state, State::Playing | State::Rebuffering) {
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
