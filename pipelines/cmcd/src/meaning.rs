//! What a report means to the fold. A report is looked at by itself, whatever came before: that is what makes replays,
//! repetitions and re-ordering harmless.

use marquee_events::{ContextView, EventView, PayloadView, PlayerState, Text};

use crate::report::State;
use crate::{EventKind, RecordContext, Report, SEQUENCE_INDEX_BITS, UNCOUNTED_FROM};

/// CMCD has no instances: a player that starts anew has a new session.
pub const PLAYER_INSTANCE: &str = "cmcd";

/// What claims to have taken longer is no length of a download (ms); dash.js has a time of day in `ttfb`.
const MAX_DOWNLOAD_MS: i64 = 10 * 60 * 1000;

/// Where and when a line came, for lines of version 1, which say neither when nor which they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The collector's clock (ms since the epoch).
    pub received_at_ms: i64,
    /// The line's position among those that came together, from 0.
    pub index: u32,
}

impl Arrival {
    /// A sequence that no player counts (2^32 and more) and that grows with time and position.
    pub fn sequence(self) -> u64 {
        let at_ms = u64::try_from(self.received_at_ms).unwrap_or_default();
        ((at_ms << SEQUENCE_INDEX_BITS) | u64::from(self.index)).max(UNCOUNTED_FROM)
    }
}

impl Report {
    /// The event that the report stands for.
    pub fn event(&self, arrival: Arrival) -> EventView<'static> {
        let (sequence, event_time_ms) = match (self.event, self.sequence, self.time_ms) {
            (Some(event), Some(sequence), Some(time_ms)) => (sequence, time_ms + self.since_time_ms(event)),
            _ => (arrival.sequence(), arrival.received_at_ms),
        };
        EventView {
            // A repeated report has the same time. A player that counts from 0 again within one session does not: it
            // shows up as a conflict instead of vanishing as a repetition.
            event_id: Text::Owned(event_time_ms.to_string()),
            sequence,
            event_time_ms,
            media_time_ms: self.playhead_ms,
            payload: Some(self.payload()),
        }
    }

    /// How long after `ts` the report was made (ms). A response is reported when it has come, with the time at which it
    /// was asked for: taken as it is, it would turn the session's clock back by the length of a download.
    fn since_time_ms(&self, event: EventKind) -> i64 {
        match event {
            EventKind::ResponseReceived => self.to_last_byte_ms.filter(|ms| *ms <= MAX_DOWNLOAD_MS).unwrap_or_default(),
            _ => 0,
        }
    }

    /// What happened.
    pub fn payload(&self) -> PayloadView<'static> {
        let Some(event) = self.event else { return self.request() };
        match event {
            EventKind::PlayState => match self.state {
                Some(state) => self.player_state(player_state(state)),
                None => self.heartbeat(),
            },
            // The state rides along: an error in it is the one that ended everything.
            EventKind::Error if self.state == Some(State::Fatal) => self.player_state(PlayerState::Failed),
            EventKind::Error => PayloadView::Error { code: self.code(), fatal: false, business: false },
            EventKind::BitrateChange => {
                let bitrate_bps = bps(self.bitrate_kbps.watched());
                PayloadView::Rendition {
                    representation_id: Text::Owned(format!("cmcd:{bitrate_bps}")),
                    bitrate_bps,
                    width: 0,
                    height: 0,
                    codec: Text::default(),
                    cdn: Text::Owned(self.cdn.clone()),
                }
            }
            EventKind::PlaybackRate => {
                // A rate of 1 is left out by the library that the web players share. Reverse play is as fast.
                let rate_per_mille = self.rate_per_mille.map_or(1000, i64::unsigned_abs) as u32;
                PayloadView::PlaybackRate { rate_per_mille }
            }
            EventKind::Backgrounded if self.is_background => PayloadView::Background,
            EventKind::Backgrounded => PayloadView::Foreground,
            EventKind::AdStart => PayloadView::AdStart { ad_id: Text::default() },
            EventKind::AdEnd => PayloadView::AdEnd,
            EventKind::AdBreakStart => PayloadView::AdBreakStart,
            EventKind::AdBreakEnd => PayloadView::AdBreakEnd,
            EventKind::TimeInterval
            | EventKind::ContentId
            | EventKind::Mute
            | EventKind::Unmute
            | EventKind::PlayerExpand
            | EventKind::PlayerCollapse
            | EventKind::Skip
            | EventKind::ResponseReceived
            | EventKind::Custom
            | EventKind::Hostname => self.heartbeat(),
        }
    }

    /// What is true of the line, with what the integrator said for all lines: the latter wins.
    pub fn context(&self, given: &RecordContext) -> ContextView<'static> {
        let text = |text: &str| Text::Owned(text.to_owned());
        let mut context = ContextView {
            session_id: text(&self.session_id),
            player_instance: Text::Borrowed(PLAYER_INSTANCE),
            title_id: text(&self.content_id),
            asset_id: text(&self.content_id),
            cdn: text(&self.cdn),
            protocol: Text::Borrowed(match self.format {
                Some("d") => "dash",
                Some("h") => "hls",
                Some("s") => "smooth",
                Some(_) => "other",
                None => "",
            }),
            stream_type: Text::Borrowed(match self.stream_type {
                Some("v") => "vod",
                Some("l") => "live",
                Some("ll") => "low_latency_live",
                _ => "",
            }),
            ..ContextView::default()
        };
        for (index, value) in given.fields() {
            *context.field_mut(index) = text(value);
        }
        context
    }

    /// What the request of a media object says of the player. Only this is certain: it has stalled (`bs`), it is not
    /// playing yet or again (`su`), or it fetches ahead, and then it plays.
    fn request(&self) -> PayloadView<'static> {
        let is_media = match self.object_type {
            Some("v" | "a" | "av") => true,
            Some(_) => false,
            None => self.bitrate_kbps.watched().is_some(),
        };
        match () {
            () if self.is_starved => self.player_state(PlayerState::Stalled),
            () if self.is_startup => self.player_state(PlayerState::Starting),
            () if is_media => self.player_state(PlayerState::Playing),
            () => self.heartbeat(),
        }
    }

    fn player_state(&self, state: PlayerState) -> PayloadView<'static> {
        let code = if state == PlayerState::Failed { self.code() } else { Text::default() };
        PayloadView::PlayerState {
            state: Some(state),
            code,
            bitrate_bps: self.bitrate_bps(),
            buffer_ms: self.least_buffer_ms(),
        }
    }

    fn heartbeat(&self) -> PayloadView<'static> {
        PayloadView::Heartbeat {
            buffer_ms: self.least_buffer_ms(),
            throughput_bps: bps(self.throughput_kbps.watched()),
            // `dfa` counts from the start of the session; a report alone does not tell how many are new.
            dropped_frames: 0,
            bitrate_bps: self.bitrate_bps(),
        }
    }

    /// Of what is on the screen, else of what is selected; 0 when unknown. A request for audio says nothing of it.
    fn bitrate_bps(&self) -> u64 {
        if self.event.is_none() && !matches!(self.object_type, None | Some("v" | "av")) {
            return 0;
        }
        bps(self.playhead_bitrate_kbps.watched().or_else(|| self.bitrate_kbps.watched()))
    }

    fn least_buffer_ms(&self) -> u32 {
        self.buffer_ms.least().and_then(|ms| u32::try_from(ms).ok()).unwrap_or_default()
    }

    /// The first code: the list is sorted by nobody.
    fn code(&self) -> Text<'static> {
        Text::Owned(self.codes.first().cloned().unwrap_or_default())
    }
}

fn player_state(state: State) -> PlayerState {
    match state {
        State::Starting => PlayerState::Starting,
        State::Playing => PlayerState::Playing,
        State::Seeking => PlayerState::Seeking,
        State::Rebuffering | State::Waiting => PlayerState::Rebuffering,
        State::Paused => PlayerState::Paused,
        State::Ended => PlayerState::Ended,
        State::Fatal => PlayerState::Failed,
        State::Quit => PlayerState::Quit,
        State::Preloading => PlayerState::Preloading,
    }
}

fn bps(kbps: Option<i64>) -> u64 {
    kbps.and_then(|kbps| u64::try_from(kbps).ok()).unwrap_or_default() * 1000
}
