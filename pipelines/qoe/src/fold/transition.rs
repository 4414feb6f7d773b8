//! What an event does to the flags, and what it counts.

use marquee_events::{PayloadView, PlayerState};

use super::{MINUTE_MS, SessionFold, State};
use crate::minutes::{Measure, MinuteSink};
use crate::outcome::SessionError;
use crate::startup_buckets::startup_bucket;

impl SessionFold {
    pub(super) fn transition(&mut self, time_ms: i64, payload: &PayloadView<'_>, minutes: &mut impl MinuteSink) {
        let minute = time_ms.div_euclid(MINUTE_MS);
        match payload {
            PayloadView::PlayRequested { autoplay } => self.request(time_ms, *autoplay, minutes),
            PayloadView::FirstFrame => self.first_frame(minutes),
            PayloadView::RebufferStart => self.rebuffer_start(),
            PayloadView::RebufferEnd => self.flags.rebuffering = false,
            PayloadView::Pause => self.pause(),
            PayloadView::Resume => self.flags.paused = false,
            PayloadView::SeekStart => self.seek_start(minute, minutes),
            PayloadView::SeekEnd => self.flags.seeking = false,
            PayloadView::Rendition { representation_id, bitrate_bps, width, height, .. } => {
                if self.set_rendition(representation_id, *bitrate_bps, *width, *height) {
                    self.rendition_switch_count += 1;
                    minutes.add(minute, Measure::RenditionSwitchCount as usize, 1);
                }
            }
            PayloadView::AdBreakStart => {
                self.enter_ad();
                self.flags.ad_break = true;
            }
            PayloadView::AdStart { .. } => {
                self.enter_ad();
                self.flags.ad = true;
                self.ad_count += 1;
                self.first_picture(minutes);
            }
            PayloadView::AdEnd => {
                self.flags.rebuffering &= !self.flags.ad || self.flags.ad_break;
                self.flags.ad = false;
            }
            PayloadView::AdBreakEnd => {
                self.flags.rebuffering &= !self.flags.in_ad();
                self.flags.ad = false;
                self.flags.ad_break = false;
            }
            PayloadView::Error { code, fatal, business } => {
                self.error(minute, code, *fatal, *business, minutes);
            }
            PayloadView::Heartbeat { dropped_frames, bitrate_bps, .. } => {
                self.dropped_frames += u64::from(*dropped_frames);
                self.set_bitrate(*bitrate_bps);
            }
            PayloadView::Background => {
                self.flags.background = true;
                self.interrupt_startup();
            }
            PayloadView::Foreground => self.flags.background = false,
            PayloadView::SessionEnd { reason } => self.end(time_ms, reason),
            PayloadView::PlaybackRate { rate_per_mille } => self.set_rate(*rate_per_mille),
            PayloadView::Viewport { width, height } => self.set_viewport(*width, *height),
            PayloadView::PlayerState { state, code, bitrate_bps, .. } => {
                self.set_bitrate(*bitrate_bps);
                if let Some(state) = state {
                    self.player_state(time_ms, *state, code, minutes);
                }
            }
        }
    }

    /// Of what comes after the end two things count: the code of a fatal error that came without one (rule 32), and the
    /// play request to a player that has failed already (rule 34).
    pub(super) fn after_end(&mut self, time_ms: i64, payload: &PayloadView<'_>, minutes: &mut impl MinuteSink) {
        match payload {
            PayloadView::PlayRequested { autoplay } => self.request_in_vain(time_ms, *autoplay, minutes),
            PayloadView::PlayerState { state: Some(PlayerState::Starting), .. } => {
                self.request_in_vain(time_ms, false, minutes);
            }
            _ => {}
        }
        let (PayloadView::Error { code, .. } | PayloadView::PlayerState { code, .. }) = payload else { return };
        if let Some(error) = self.error.as_mut().filter(|error| error.fatal && error.code.is_empty()) {
            error.code = code.as_ref().into();
        }
    }

    /// A player that reports states says only where it is now: how it came there is what it did not say before.
    fn player_state(&mut self, time_ms: i64, state: PlayerState, code: &str, minutes: &mut impl MinuteSink) {
        let minute = time_ms.div_euclid(MINUTE_MS);
        match state {
            PlayerState::Preloading => {}
            PlayerState::Starting => self.request(time_ms, false, minutes),
            PlayerState::Playing => {
                if !self.flags.in_ad() {
                    if self.requested_at_ms.is_none() {
                        self.flags.startup_interrupted = true; // when it was asked for was not seen
                        self.request(time_ms, false, minutes);
                    }
                    self.first_frame(minutes);
                }
                self.flags.paused = false;
                self.flags.seeking = false;
                self.flags.rebuffering = false;
            }
            PlayerState::Seeking => {
                if !self.flags.seeking {
                    self.seek_start(minute, minutes);
                }
            }
            PlayerState::Rebuffering => {
                self.flags.paused = false;
                self.rebuffer_start();
            }
            PlayerState::Paused => {
                self.pause();
                self.flags.seeking = false;
                self.flags.rebuffering = false;
            }
            PlayerState::Ended | PlayerState::Quit => self.end(time_ms, state.name()),
            PlayerState::Failed => self.error(minute, code, true, false, minutes),
            PlayerState::Stalled => {
                if matches!(self.state(), Some(State::Playing | State::Rebuffering)) {
                    self.add_stall(minute, minutes);
                }
            }
        }
    }

    fn request(&mut self, time_ms: i64, autoplay: bool, minutes: &mut impl MinuteSink) {
        if self.requested_at_ms.is_some() {
            return;
        }
        self.requested_at_ms = Some(time_ms);
        self.autoplay = autoplay;
        // What is in force at the request interrupts its startup as what comes later does.
        self.flags.startup_interrupted |= self.flags.background || self.flags.paused || self.flags.seeking;
        self.add_at_request(Measure::Attempts, 1, minutes);
        if self.flags.started {
            // After the first frame: what it asked for has started, but how long that took was not seen.
            self.flags.startup_interrupted = true;
            self.resolve(Measure::Starts, 1, minutes);
        }
    }

    /// The attempt has an outcome.
    pub(super) fn resolve(&self, outcome: Measure, count: i64, minutes: &mut impl MinuteSink) {
        self.add_at_request(outcome, count, minutes);
        if self.autoplay {
            self.add_at_request(Measure::ResolvedAutoplays, count, minutes);
        }
    }

    fn rebuffer_start(&mut self) {
        let possible = (self.flags.started || self.flags.in_ad()) && !self.flags.seeking;
        if possible && !self.flags.rebuffering {
            self.flags.rebuffering = true;
            self.flags.stall_counted = false;
        }
    }

    fn pause(&mut self) {
        self.pause_count += u32::from(!self.flags.paused);
        self.flags.paused = true;
        self.interrupt_startup();
    }

    fn seek_start(&mut self, minute: i64, minutes: &mut impl MinuteSink) {
        self.flags.seeking = true;
        self.flags.rebuffering = false;
        self.seek_count += 1;
        minutes.add(minute, Measure::SeekCount as usize, 1);
        self.interrupt_startup();
    }

    fn request_in_vain(&mut self, time_ms: i64, autoplay: bool, minutes: &mut impl MinuteSink) {
        let Some(SessionError { fatal: true, business, .. }) = self.error else { return };
        if self.requested_at_ms.is_none() && !self.flags.started {
            self.request(time_ms, autoplay, minutes);
            self.fail(time_ms.div_euclid(MINUTE_MS), business, minutes);
        }
    }

    fn enter_ad(&mut self) {
        self.flags.rebuffering &= self.flags.in_ad();
    }

    fn interrupt_startup(&mut self) {
        if !self.flags.started && self.requested_at_ms.is_some() {
            self.flags.startup_interrupted = true;
        }
    }

    pub(super) fn first_frame(&mut self, minutes: &mut impl MinuteSink) {
        if self.flags.started {
            return;
        }
        self.first_picture(minutes);
        self.flags.started = true;
        let Some(requested_at_ms) = self.requested_at_ms else { return };
        self.resolve(Measure::Starts, 1, minutes);
        if self.flags.startup_interrupted {
            return;
        }
        let startup_ms = self.duration_ms(State::Startup);
        self.startup_ms = Some(startup_ms);
        self.add_at_request(Measure::Startups, 1, minutes);
        self.add_at_request(Measure::StartupMs, startup_ms, minutes);
        minutes.add_startup_bucket(requested_at_ms.div_euclid(MINUTE_MS), startup_bucket(startup_ms), 1);
    }

    /// The first frame of an ad or of the content.
    fn first_picture(&mut self, minutes: &mut impl MinuteSink) {
        let is_first = !std::mem::replace(&mut self.flags.pictured, true);
        if is_first && self.requested_at_ms.is_some() && !self.flags.startup_interrupted {
            let first_picture_ms = self.duration_ms(State::Startup);
            self.first_picture_ms = Some(first_picture_ms);
            self.add_at_request(Measure::FirstPictures, 1, minutes);
            self.add_at_request(Measure::FirstPictureMs, first_picture_ms, minutes);
        }
    }

    fn end(&mut self, time_ms: i64, reason: &str) {
        self.flags.ended = true;
        self.end_reason = Some(reason.into());
        if !self.flags.started {
            self.exit_after_ms = self.requested_at_ms.map(|requested_at_ms| (time_ms - requested_at_ms).max(0));
        }
    }

    fn error(&mut self, minute: i64, code: &str, fatal: bool, business: bool, minutes: &mut impl MinuteSink) {
        self.interrupt_startup();
        if fatal || self.error.is_none() {
            self.error = Some(SessionError { code: code.into(), fatal, business });
        }
        if !fatal {
            self.error_count += 1;
            minutes.add(minute, Measure::ErrorCount as usize, 1);
            return;
        }
        self.flags.ended = true;
        if self.requested_at_ms.is_some() {
            self.fail(minute, business, minutes);
        } // else no attempt failed: nobody has asked yet
    }

    fn fail(&mut self, minute: i64, business: bool, minutes: &mut impl MinuteSink) {
        let measure = match (self.flags.started, business) {
            (true, false) => Measure::PlaybackFailures,
            (true, true) => Measure::PlaybackFailuresBusiness,
            (false, false) => Measure::StartFailures,
            (false, true) => Measure::StartFailuresBusiness,
        };
        if self.flags.started {
            minutes.add(minute, measure as usize, 1);
        } else {
            self.resolve(measure, 1, minutes);
        }
    }

    /// A stall is counted once, when the session first *is* in a rebuffering state after a rebuffer start.
    pub(super) fn count_stall(&mut self, time_ms: i64, minutes: &mut impl MinuteSink) {
        if !self.flags.rebuffering || self.flags.stall_counted {
            return;
        }
        if matches!(self.state(), Some(State::Rebuffering | State::AdRebuffering)) {
            self.flags.stall_counted = true;
            self.stall_started_at_ms = time_ms;
            self.add_stall(time_ms.div_euclid(MINUTE_MS), minutes);
        }
    }

    fn add_stall(&mut self, minute: i64, minutes: &mut impl MinuteSink) {
        let (count, measure) = match () {
            () if self.flags.in_ad() => (&mut self.ad_rebuffer_count, Measure::AdRebufferCount),
            () if self.flags.background => (&mut self.background_rebuffer_count, Measure::BackgroundRebufferCount),
            () => (&mut self.rebuffer_count, Measure::RebufferCount),
        };
        *count += 1;
        minutes.add(minute, measure as usize, 1);
    }
}
