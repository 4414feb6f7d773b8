//! A player with a network, a buffer and a bitrate ladder: waits are caused, not drawn. Time jumps from one thing that
//! happens to the next, in whole milliseconds, so that what the truth counts is exact.
//!
//! **Buffer.** A title comes in segments of 4 s, one download at a time, until 30 s are buffered. Playback starts, and
//! goes on after a stall or a seek, with the first complete segment; it stalls when the buffer runs dry.
//!
//! **Rung of the ladder**, decided before each download, with bandwidth = bits ÷ time of the last complete one:
//! up by one when bandwidth > 1.5 × the bitrate of the next rung and at least 5 s are buffered; down at once when the
//! buffer falls under 5 s: each further download is one rung lower until 5 s are buffered again, and the one under way is
//! given up for a lower rung if it would come too late. After a start or a seek the buffer has to reach 5 s, or run dry,
//! before it counts as fallen.
//!
//! **Viewer.** Waits only so long for the start, and only so long in all for stalls and seeks; then leaves.

use std::collections::VecDeque;

use marquee_events::proto::view_event::Payload;
use marquee_events::proto::{Heartbeat, Pause, RebufferEnd, RebufferStart, Resume, SeekEnd, SeekStart, SessionEnd};
use rand::Rng;
use rand::rngs::StdRng;

use super::bandwidth::BandwidthTrace;
use crate::simulator::recorder::{LADDER, Played, Recorder, State};

/// The length of a segment (ms): common for HLS and DASH.
pub(crate) const SEGMENT_MS: i64 = 4_000;
/// No download begins while more than this is buffered (ms).
const MAX_BUFFER_MS: i64 = 30_000;
/// Under this the player goes down at once (ms).
const LOW_BUFFER_MS: i64 = 5_000;
/// Up when bandwidth exceeds the next rung's bitrate by this factor.
const UP_FACTOR: f64 = 1.5;
/// The rung of the first segment: low, for a quick start.
const FIRST_RUNG: usize = 1;
/// From a request to its first bit (ms).
const REQUEST_MS: i64 = 40;
/// A download that takes longer than this is given up with an error and begun again on the lowest rung (ms; hls.js has
/// the same default).
const SEGMENT_TIMEOUT_MS: i64 = 20_000;
/// So many timeouts in a row end the session.
const MAX_TIMEOUTS: u32 = 3;
/// A seek leaves at least this much of the title (ms).
const SEEK_MARGIN_MS: i64 = 1_000;

/// What the viewer wants of one session.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Intent {
    /// The running time of the title (ms).
    pub(crate) duration_ms: i64,
    /// The playhead at the beginning (ms).
    pub(crate) from_ms: i64,
    /// The viewer leaves after so much playing (ms).
    pub(crate) play_ms: i64,
    /// What else happens, each after so much playing (ms), in that order.
    pub(crate) actions: Vec<(i64, Action)>,
    /// Segments are at most this share smaller or larger than their rung's bitrate says.
    pub(crate) segment_spread: f64,
    /// From the play request to the first download: manifest, licence (ms).
    pub(crate) setup_ms: i64,
    /// How long the viewer waits for the first frame (ms).
    pub(crate) startup_patience_ms: i64,
    /// How long the viewer waits in all for stalls and seeks (ms).
    pub(crate) stall_patience_ms: i64,
    /// The session fails instead of starting.
    pub(crate) start_fails: bool,
    /// Whether the player sends a session end.
    pub(crate) says_goodbye: bool,
    /// Between two heartbeats (ms).
    pub(crate) heartbeat_interval_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// For so long (ms).
    Pause(i64),
    /// By so much, either way (ms).
    Seek(i64),
    /// The decoder fails for good.
    Fail,
}

/// Plays one session to its end.
pub(crate) fn play(intent: &Intent, trace: &mut BandwidthTrace, cdn: &str, rng: StdRng) -> Played {
    let mut player = Player {
        intent,
        trace,
        cdn,
        rng,
        recorder: Recorder::new(intent.from_ms),
        next_heartbeat_ms: intent.heartbeat_interval_ms,
        buffer: VecDeque::new(),
        fetched_to_ms: intent.from_ms,
        download: None,
        rung: FIRST_RUNG,
        shown_rung: None,
        throughput_bps: 0,
        timeouts: 0,
        may_fall: false,
        played_ms: 0,
        waited_ms: 0,
        actions_done: 0,
        resumes_at_ms: None,
    };
    player.run();
    player.recorder.finish()
}

/// Media of one rung that is buffered.
struct Buffered {
    rung: usize,
    left_ms: i64,
}

struct Download {
    begun_ms: i64,
    ends_ms: i64,
    rung: usize,
    media_ms: i64,
    bits: u64,
    times_out: bool,
    /// Begun with a good buffer: it is given up when the buffer gets low.
    may_be_given_up: bool,
}

struct Player<'a> {
    intent: &'a Intent,
    trace: &'a mut BandwidthTrace,
    cdn: &'a str,
    rng: StdRng,
    recorder: Recorder,
    next_heartbeat_ms: i64,
    buffer: VecDeque<Buffered>,
    /// The media time up to which segments are buffered (ms).
    fetched_to_ms: i64,
    download: Option<Download>,
    /// Of the next download.
    rung: usize,
    shown_rung: Option<usize>,
    /// Of the last complete download; 0 before it.
    throughput_bps: u64,
    timeouts: u32,
    /// Whether the buffer has been good since the last start or seek, or has run dry: only then can it be low.
    may_fall: bool,
    played_ms: i64,
    waited_ms: i64,
    actions_done: usize,
    resumes_at_ms: Option<i64>,
}

impl Player<'_> {
    fn run(&mut self) {
        if self.intent.start_fails {
            self.recorder.advance(self.intent.setup_ms);
            self.fail("drm_licence");
            return;
        }
        while self.recorder.state() != State::Ended {
            self.download_if_there_is_room();
            let next_ms = self.next_instant_ms();
            self.advance(next_ms);
            self.happen();
        }
    }

    fn buffered_ms(&self) -> i64 {
        self.buffer.iter().map(|buffered| buffered.left_ms).sum()
    }

    fn next_action(&self) -> Option<(i64, Action)> {
        self.intent.actions.get(self.actions_done).copied()
    }

    /// When the next thing happens. Every candidate lies ahead: what was due now has been done by [`happen`](Self::happen).
    fn next_instant_ms(&self) -> i64 {
        let now_ms = self.recorder.now_ms();
        let mut next_ms = self.next_heartbeat_ms;
        let mut at = |ms: i64| next_ms = next_ms.min(ms);
        if let Some(download) = &self.download {
            at(download.ends_ms);
        }
        match self.recorder.state() {
            State::Startup => at(self.intent.startup_patience_ms),
            State::Playing => {
                let buffered_ms = self.buffered_ms();
                at(now_ms + self.buffer.front().map_or(0, |front| front.left_ms));
                at(now_ms + self.intent.play_ms - self.played_ms);
                if let Some((after_ms, _)) = self.next_action() {
                    at(now_ms + after_ms - self.played_ms);
                }
                if self.download.is_none() && buffered_ms > MAX_BUFFER_MS {
                    at(now_ms + buffered_ms - MAX_BUFFER_MS);
                }
                if self.gives_up_when_low() && buffered_ms >= LOW_BUFFER_MS {
                    at(now_ms + buffered_ms - LOW_BUFFER_MS + 1);
                }
            }
            State::Rebuffering | State::SeekWaiting => at(now_ms + self.intent.stall_patience_ms - self.waited_ms),
            State::Paused => at(self.resumes_at_ms.unwrap_or(now_ms)),
            State::Ad | State::Background | State::Ended => {}
        }
        next_ms.max(now_ms)
    }

    fn advance(&mut self, to_ms: i64) {
        let passed_ms = to_ms - self.recorder.now_ms();
        match self.recorder.state() {
            State::Playing => {
                self.played_ms += passed_ms;
                if let Some(front) = self.buffer.front_mut() {
                    front.left_ms -= passed_ms;
                    if front.left_ms == 0 {
                        self.buffer.pop_front();
                    }
                }
            }
            State::Rebuffering | State::SeekWaiting => self.waited_ms += passed_ms,
            _ => {}
        }
        self.recorder.advance(to_ms);
    }

    /// Does what is due now. A segment that arrives in the very millisecond in which the buffer runs dry avoids the stall.
    fn happen(&mut self) {
        let now_ms = self.recorder.now_ms();
        if self.download.as_ref().is_some_and(|download| download.ends_ms <= now_ms) {
            self.end_download();
        }
        if self.recorder.state() != State::Ended && self.next_heartbeat_ms <= now_ms {
            self.next_heartbeat_ms += self.intent.heartbeat_interval_ms;
            self.heartbeat();
        }
        if self.resumes_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.resumes_at_ms = None;
            self.recorder.enter(State::Playing, Payload::Resume(Resume {}));
        }
        match self.recorder.state() {
            State::Startup if now_ms >= self.intent.startup_patience_ms => self.leave("exit_before_start"),
            State::Rebuffering | State::SeekWaiting if self.waited_ms >= self.intent.stall_patience_ms => {
                self.leave("user_exit");
            }
            State::Playing => self.play_on(),
            _ => {}
        }
    }

    fn play_on(&mut self) {
        if self.recorder.playhead_ms >= self.intent.duration_ms {
            self.leave("ended");
        } else if self.played_ms >= self.intent.play_ms {
            self.leave("user_exit");
        } else if let Some((_, action)) = self.next_action().filter(|(after_ms, _)| *after_ms <= self.played_ms) {
            self.actions_done += 1;
            self.act(action);
        } else if self.buffer.is_empty() {
            self.may_fall = true;
            self.recorder.enter(State::Rebuffering, Payload::RebufferStart(RebufferStart {}));
        } else {
            self.show_rung();
            if self.gives_up_when_low() && self.buffered_ms() < LOW_BUFFER_MS {
                self.hurry();
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Pause(length_ms) => {
                self.recorder.enter(State::Paused, Payload::Pause(Pause {}));
                self.resumes_at_ms = Some(self.recorder.now_ms() + length_ms);
            }
            Action::Seek(by_ms) => {
                self.recorder.enter(State::SeekWaiting, Payload::SeekStart(SeekStart {}));
                let latest_ms = (self.intent.duration_ms - SEEK_MARGIN_MS).max(0);
                self.recorder.playhead_ms = (self.recorder.playhead_ms + by_ms).clamp(0, latest_ms);
                self.fetched_to_ms = self.recorder.playhead_ms;
                self.buffer.clear();
                self.download = None;
                self.may_fall = false;
            }
            Action::Fail => self.fail("playback_decode"),
        }
    }

    fn download_if_there_is_room(&mut self) {
        let media_ms = SEGMENT_MS.min(self.intent.duration_ms - self.fetched_to_ms);
        let buffered_ms = self.buffered_ms();
        if self.download.is_some() || media_ms <= 0 || buffered_ms > MAX_BUFFER_MS {
            return;
        }
        if self.may_fall && buffered_ms < LOW_BUFFER_MS {
            self.rung = self.rung.saturating_sub(1);
        } else if buffered_ms >= LOW_BUFFER_MS
            && let Some((.., next_bps)) = LADDER.get(self.rung + 1)
            && self.throughput_bps as f64 > UP_FACTOR * *next_bps as f64
        {
            self.rung += 1;
        }
        self.begin_download(media_ms, buffered_ms);
    }

    fn begin_download(&mut self, media_ms: i64, buffered_ms: i64) {
        let begun_ms = self.recorder.now_ms().max(self.intent.setup_ms);
        let spread = 1.0 + self.intent.segment_spread * (2.0 * self.rng.random::<f64>() - 1.0);
        let bits = (LADDER[self.rung].2 as f64 * media_ms as f64 / 1_000.0 * spread) as u64;
        let gives_up_ms = begun_ms + SEGMENT_TIMEOUT_MS;
        let arrival_ms = self.trace.arrival_ms(begun_ms + REQUEST_MS, bits, gives_up_ms);
        self.download = Some(Download {
            begun_ms,
            ends_ms: arrival_ms.unwrap_or(gives_up_ms),
            rung: self.rung,
            media_ms,
            bits,
            times_out: arrival_ms.is_none(),
            may_be_given_up: buffered_ms >= LOW_BUFFER_MS,
        });
    }

    fn end_download(&mut self) {
        let Some(download) = self.download.take() else { return };
        if download.times_out {
            self.rung = 0;
            self.timeouts += 1;
            if self.timeouts == MAX_TIMEOUTS {
                self.fail(if self.recorder.has_started() { "playback_network" } else { "start_network" });
            } else {
                self.recorder.survived_error("segment_timeout");
            }
            return;
        }
        self.timeouts = 0;
        let took_ms = (download.ends_ms - download.begun_ms).max(1) as u64;
        self.throughput_bps = download.bits * 1_000 / took_ms;
        self.fetched_to_ms += download.media_ms;
        self.buffer.push_back(Buffered { rung: download.rung, left_ms: download.media_ms });
        self.may_fall |= self.buffered_ms() >= LOW_BUFFER_MS;
        match self.recorder.state() {
            State::Startup => {
                self.show_rung();
                self.recorder.first_frame();
            }
            State::Rebuffering => self.recorder.enter(State::Playing, Payload::RebufferEnd(RebufferEnd {})),
            State::SeekWaiting => self.recorder.enter(State::Playing, Payload::SeekEnd(SeekEnd {})),
            _ => {}
        }
    }

    fn gives_up_when_low(&self) -> bool {
        self.download.as_ref().is_some_and(|download| download.may_be_given_up && download.rung > 0)
    }

    /// The buffer has got low. If the segment under way, at the bandwidth that it has had so far, would come after the
    /// buffer has run dry, it is begun anew on the best lower rung that this bandwidth carries.
    fn hurry(&mut self) {
        let Some(mut download) = self.download.take() else { return };
        let (now_ms, buffered_ms) = (self.recorder.now_ms(), self.buffered_ms());
        let took_ms = (now_ms - download.begun_ms).max(1) as u64;
        let came_bits = self.trace.bits_between(download.begun_ms + REQUEST_MS, now_ms);
        let bandwidth_bps = came_bits * 1_000 / took_ms;
        let in_time_bits = bandwidth_bps * buffered_ms as u64 / 1_000;
        if came_bits + in_time_bits >= download.bits {
            download.may_be_given_up = false;
            self.download = Some(download);
            return;
        }
        self.throughput_bps = bandwidth_bps;
        let lower = &LADDER[..download.rung];
        self.rung = lower.iter().rposition(|(.., bps)| *bps <= bandwidth_bps).unwrap_or(0);
        self.begin_download(download.media_ms, buffered_ms);
    }

    /// Says so when the picture changes.
    fn show_rung(&mut self) {
        let Some(front) = self.buffer.front() else { return };
        if self.shown_rung != Some(front.rung) {
            self.shown_rung = Some(front.rung);
            self.recorder.rendition(front.rung, self.cdn);
        }
    }

    fn heartbeat(&mut self) {
        let heartbeat = Heartbeat {
            buffer_ms: self.buffered_ms() as u32,
            throughput_bps: self.throughput_bps,
            dropped_frames: u32::from(self.rng.random_range(0..20_u8) == 0),
            ..Default::default()
        };
        self.recorder.event(Payload::Heartbeat(heartbeat));
    }

    fn fail(&mut self, code: &str) {
        self.recorder.fatal_error(code.to_owned(), false);
        let later_ms = self.recorder.now_ms() + self.rng.random_range(1..=1_500);
        self.recorder.advance(later_ms);
        self.leave("error");
    }

    /// Ends the session, with a word or without.
    fn leave(&mut self, reason: &str) {
        self.resumes_at_ms = None;
        if self.intent.says_goodbye {
            self.recorder.enter(State::Ended, Payload::SessionEnd(SessionEnd { reason: reason.to_owned() }));
        } else {
            self.recorder.vanish();
        }
    }
}

#[cfg(test)]
mod tests;
