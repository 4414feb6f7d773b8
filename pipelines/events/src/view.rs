//! A batch of view events as borrowed from a record's bytes. Nothing here allocates per event but a JSON string that
//! holds an escape.

use std::borrow::Cow;

/// A string of a record: borrowed, unless unescaping it made a new one.
pub type Text<'a> = Cow<'a, str>;

/// One decoded record: one player's events.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BatchView<'a> {
    /// What is true of every event of the batch.
    pub context: ContextView<'a>,
    /// The player's clock when the request was sent, ms since the epoch; 0 when the player did not say.
    pub sent_at_ms: i64,
    /// The events as sent.
    pub events: Vec<EventView<'a>>,
    /// A location came with the batch; the context holds it already.
    pub is_located: bool,
}

/// The context of a batch; an empty text is an unknown value.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "the names are those of the wire contract, documented in the .proto file")]
pub struct ContextView<'a> {
    pub session_id: Text<'a>,
    pub player_instance: Text<'a>,
    pub profile_id: Text<'a>,
    pub title_id: Text<'a>,
    pub device_type: Text<'a>,
    pub os: Text<'a>,
    pub player: Text<'a>,
    pub player_version: Text<'a>,
    pub app_version: Text<'a>,
    pub country: Text<'a>,
    pub region: Text<'a>,
    pub isp: Text<'a>,
    pub cdn: Text<'a>,
    pub protocol: Text<'a>,
    pub asset_id: Text<'a>,
    pub series_id: Text<'a>,
    pub city: Text<'a>,
    pub asn: Text<'a>,
    pub edge: Text<'a>,
    pub codec: Text<'a>,
    pub drm: Text<'a>,
    pub plan: Text<'a>,
    pub experiment_arm: Text<'a>,
    pub stream_type: Text<'a>,
}

/// The names of the context's fields, in the order of [`ContextView::fields`] and of their protobuf numbers.
pub const CONTEXT_FIELDS: [&str; 24] = [
    "session_id",
    "player_instance",
    "profile_id",
    "title_id",
    "device_type",
    "os",
    "player",
    "player_version",
    "app_version",
    "country",
    "region",
    "isp",
    "cdn",
    "protocol",
    "asset_id",
    "series_id",
    "city",
    "asn",
    "edge",
    "codec",
    "drm",
    "plan",
    "experiment_arm",
    "stream_type",
];

/// The fields of message `Location`, in the order of their protobuf numbers: what the collector knows better.
pub(crate) const LOCATION_FIELDS: [&str; 5] = ["country", "region", "city", "isp", "asn"];

impl<'a> ContextView<'a> {
    /// Every field in the order of [`CONTEXT_FIELDS`].
    pub fn fields(&self) -> [&Text<'a>; 24] {
        [
            &self.session_id,
            &self.player_instance,
            &self.profile_id,
            &self.title_id,
            &self.device_type,
            &self.os,
            &self.player,
            &self.player_version,
            &self.app_version,
            &self.country,
            &self.region,
            &self.isp,
            &self.cdn,
            &self.protocol,
            &self.asset_id,
            &self.series_id,
            &self.city,
            &self.asn,
            &self.edge,
            &self.codec,
            &self.drm,
            &self.plan,
            &self.experiment_arm,
            &self.stream_type,
        ]
    }

    /// The field with this name, one of [`CONTEXT_FIELDS`].
    pub(crate) fn named_mut(&mut self, name: &str) -> &mut Text<'a> {
        let index = CONTEXT_FIELDS.iter().position(|field| *field == name);
        self.field_mut(index.expect("the decoders pass a name of CONTEXT_FIELDS"))
    }

    /// The field at `index` of [`CONTEXT_FIELDS`].
    ///
    /// # Panics
    /// When there are not so many.
    pub fn field_mut(&mut self, index: usize) -> &mut Text<'a> {
        match index {
            0 => &mut self.session_id,
            1 => &mut self.player_instance,
            2 => &mut self.profile_id,
            3 => &mut self.title_id,
            4 => &mut self.device_type,
            5 => &mut self.os,
            6 => &mut self.player,
            7 => &mut self.player_version,
            8 => &mut self.app_version,
            9 => &mut self.country,
            10 => &mut self.region,
            11 => &mut self.isp,
            12 => &mut self.cdn,
            13 => &mut self.protocol,
            14 => &mut self.asset_id,
            15 => &mut self.series_id,
            16 => &mut self.city,
            17 => &mut self.asn,
            18 => &mut self.edge,
            19 => &mut self.codec,
            20 => &mut self.drm,
            21 => &mut self.plan,
            22 => &mut self.experiment_arm,
            23 => &mut self.stream_type,
            _ => unreachable!("the decoders pass an index of CONTEXT_FIELDS"),
        }
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EventView<'a> {
    /// Chosen by the client; empty when the sequence number is identity enough.
    pub event_id: Text<'a>,
    /// Position within (session, player instance), from 0.
    pub sequence: u64,
    /// The player's clock, ms since the epoch.
    pub event_time_ms: i64,
    /// The playhead, ms from the start of the title.
    pub media_time_ms: Option<i64>,
    /// What happened; `None` for an event of a kind this version does not know.
    pub payload: Option<PayloadView<'a>>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the wire contract, documented in the .proto file")]
pub enum PayloadView<'a> {
    PlayRequested {
        autoplay: bool,
    },
    FirstFrame,
    RebufferStart,
    RebufferEnd,
    Pause,
    Resume,
    SeekStart,
    SeekEnd,
    Rendition {
        representation_id: Text<'a>,
        bitrate_bps: u64,
        width: u32,
        height: u32,
        codec: Text<'a>,
        cdn: Text<'a>,
    },
    AdStart {
        ad_id: Text<'a>,
    },
    AdEnd,
    Error {
        code: Text<'a>,
        fatal: bool,
        business: bool,
    },
    Heartbeat {
        buffer_ms: u32,
        throughput_bps: u64,
        dropped_frames: u32,
        bitrate_bps: u64,
    },
    Background,
    Foreground,
    SessionEnd {
        reason: Text<'a>,
    },
    AdBreakStart,
    AdBreakEnd,
    PlaybackRate {
        rate_per_mille: u32,
    },
    Viewport {
        width: u32,
        height: u32,
    },
    /// `state` is `None` when this version does not know it.
    PlayerState {
        state: Option<PlayerState>,
        code: Text<'a>,
        bitrate_bps: u64,
        buffer_ms: u32,
    },
}

/// A state that a player reports of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are those of the wire contract, documented in docs/qoe.md")]
pub enum PlayerState {
    Preloading = 1,
    Starting = 2,
    Playing = 3,
    Seeking = 4,
    Rebuffering = 5,
    Paused = 6,
    Ended = 7,
    Failed = 8,
    Quit = 9,
    /// A stall of unknown length has happened.
    Stalled = 10,
}

impl PlayerState {
    /// Every state, in the order of their numbers.
    pub const ALL: [PlayerState; 10] = [
        PlayerState::Preloading,
        PlayerState::Starting,
        PlayerState::Playing,
        PlayerState::Seeking,
        PlayerState::Rebuffering,
        PlayerState::Paused,
        PlayerState::Ended,
        PlayerState::Failed,
        PlayerState::Quit,
        PlayerState::Stalled,
    ];

    /// The name on the wire and in the column `player_state` of table `events`.
    pub fn name(self) -> &'static str {
        match self {
            PlayerState::Preloading => "preloading",
            PlayerState::Starting => "starting",
            PlayerState::Playing => "playing",
            PlayerState::Seeking => "seeking",
            PlayerState::Rebuffering => "rebuffering",
            PlayerState::Paused => "paused",
            PlayerState::Ended => "ended",
            PlayerState::Failed => "failed",
            PlayerState::Quit => "quit",
            PlayerState::Stalled => "stalled",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<PlayerState> {
        PlayerState::ALL.into_iter().find(|state| state.name() == name)
    }

    /// The state with this number, as [`FlatPayload`](crate::FlatPayload) keeps it.
    pub(crate) fn from_number(number: u64) -> Option<PlayerState> {
        PlayerState::ALL.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
    }
}

/// The kind of a payload: the wire's number and the name that tables and JSON use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are those of the wire contract, documented in the .proto file")]
pub enum PayloadKind {
    PlayRequested = 10,
    FirstFrame = 11,
    RebufferStart = 12,
    RebufferEnd = 13,
    Pause = 14,
    Resume = 15,
    SeekStart = 16,
    SeekEnd = 17,
    Rendition = 18,
    AdStart = 19,
    AdEnd = 20,
    Error = 21,
    Heartbeat = 22,
    Background = 23,
    Foreground = 24,
    SessionEnd = 25,
    AdBreakStart = 26,
    AdBreakEnd = 27,
    PlaybackRate = 28,
    Viewport = 29,
    PlayerState = 30,
}

impl PayloadKind {
    /// Every kind, in the order of the wire's numbers.
    pub const ALL: [PayloadKind; 21] = [
        PayloadKind::PlayRequested,
        PayloadKind::FirstFrame,
        PayloadKind::RebufferStart,
        PayloadKind::RebufferEnd,
        PayloadKind::Pause,
        PayloadKind::Resume,
        PayloadKind::SeekStart,
        PayloadKind::SeekEnd,
        PayloadKind::Rendition,
        PayloadKind::AdStart,
        PayloadKind::AdEnd,
        PayloadKind::Error,
        PayloadKind::Heartbeat,
        PayloadKind::Background,
        PayloadKind::Foreground,
        PayloadKind::SessionEnd,
        PayloadKind::AdBreakStart,
        PayloadKind::AdBreakEnd,
        PayloadKind::PlaybackRate,
        PayloadKind::Viewport,
        PayloadKind::PlayerState,
    ];

    /// The name in JSON and in the column `type` of table `events`.
    pub fn name(self) -> &'static str {
        match self {
            PayloadKind::PlayRequested => "play_requested",
            PayloadKind::FirstFrame => "first_frame",
            PayloadKind::RebufferStart => "rebuffer_start",
            PayloadKind::RebufferEnd => "rebuffer_end",
            PayloadKind::Pause => "pause",
            PayloadKind::Resume => "resume",
            PayloadKind::SeekStart => "seek_start",
            PayloadKind::SeekEnd => "seek_end",
            PayloadKind::Rendition => "rendition",
            PayloadKind::AdStart => "ad_start",
            PayloadKind::AdEnd => "ad_end",
            PayloadKind::Error => "error",
            PayloadKind::Heartbeat => "heartbeat",
            PayloadKind::Background => "background",
            PayloadKind::Foreground => "foreground",
            PayloadKind::SessionEnd => "session_end",
            PayloadKind::AdBreakStart => "ad_break_start",
            PayloadKind::AdBreakEnd => "ad_break_end",
            PayloadKind::PlaybackRate => "playback_rate",
            PayloadKind::Viewport => "viewport",
            PayloadKind::PlayerState => "player_state",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<PayloadKind> {
        PayloadKind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind with this protobuf field number.
    pub fn from_number(number: u32) -> Option<PayloadKind> {
        PayloadKind::ALL.get(usize::try_from(number).ok()?.checked_sub(10)?).copied()
    }
}

impl PayloadView<'_> {
    /// The kind of this payload.
    pub fn kind(&self) -> PayloadKind {
        match self {
            PayloadView::PlayRequested { .. } => PayloadKind::PlayRequested,
            PayloadView::FirstFrame => PayloadKind::FirstFrame,
            PayloadView::RebufferStart => PayloadKind::RebufferStart,
            PayloadView::RebufferEnd => PayloadKind::RebufferEnd,
            PayloadView::Pause => PayloadKind::Pause,
            PayloadView::Resume => PayloadKind::Resume,
            PayloadView::SeekStart => PayloadKind::SeekStart,
            PayloadView::SeekEnd => PayloadKind::SeekEnd,
            PayloadView::Rendition { .. } => PayloadKind::Rendition,
            PayloadView::AdStart { .. } => PayloadKind::AdStart,
            PayloadView::AdEnd => PayloadKind::AdEnd,
            PayloadView::Error { .. } => PayloadKind::Error,
            PayloadView::Heartbeat { .. } => PayloadKind::Heartbeat,
            PayloadView::Background => PayloadKind::Background,
            PayloadView::Foreground => PayloadKind::Foreground,
            PayloadView::SessionEnd { .. } => PayloadKind::SessionEnd,
            PayloadView::AdBreakStart => PayloadKind::AdBreakStart,
            PayloadView::AdBreakEnd => PayloadKind::AdBreakEnd,
            PayloadView::PlaybackRate { .. } => PayloadKind::PlaybackRate,
            PayloadView::Viewport { .. } => PayloadKind::Viewport,
            PayloadView::PlayerState { .. } => PayloadKind::PlayerState,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_states_are_found_by_name_and_number() {
        for kind in PayloadKind::ALL {
            assert_eq!(PayloadKind::from_name(kind.name()), Some(kind));
            assert_eq!(PayloadKind::from_number(kind as u32), Some(kind));
        }
        for state in PlayerState::ALL {
            assert_eq!(PlayerState::from_name(state.name()), Some(state));
            assert_eq!(PlayerState::from_number(state as u64), Some(state));
        }
        assert_eq!(PlayerState::from_number(0), None);
        let mut context = ContextView::default();
        for (index, name) in CONTEXT_FIELDS.iter().enumerate() {
            *context.field_mut(index) = Text::Borrowed(name);
        }
        assert_eq!(context.fields().map(Text::as_ref), CONTEXT_FIELDS);
    }
}
