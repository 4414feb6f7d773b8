//! One payload of every kind and the contexts of players, for tests that draw sessions.

use marquee_events::PlayerState;
use marquee_events::proto::{
    self, AdBreakEnd, AdBreakStart, AdEnd, AdStart, Background, Context, Error, FirstFrame, Foreground, Heartbeat,
    Pause, PlayRequested, PlaybackRate, RebufferEnd, RebufferStart, Rendition, Resume, SeekEnd, SeekStart, SessionEnd,
    Viewport, view_event::Payload,
};

/// The context of a player. Two players may share a session id.
pub fn context(player: usize) -> Context {
    Context {
        session_id: format!("s{}", player / 2),
        player_instance: format!("p{player}"),
        title_id: format!("t{}", player % 3),
        country: "DE".into(),
        ..Default::default()
    }
}

/// How many kinds [`payload`] tells apart; heartbeats, the last, come twice.
const KINDS: u8 = 26;

/// The payload of a kind, a little different from place to place.
pub fn payload(kind: u8, sequence: usize) -> Payload {
    let state = |state: PlayerState| {
        Payload::PlayerState(proto::PlayerState {
            state: state.name().to_owned(),
            code: "E0".into(),
            bitrate_bps: 500_000 * (sequence as u64 % 3),
            buffer_ms: 7,
        })
    };
    match kind % KINDS {
        0 => Payload::PlayRequested(PlayRequested { autoplay: sequence.is_multiple_of(2) }),
        1 | 2 => Payload::FirstFrame(FirstFrame {}),
        3 => Payload::RebufferStart(RebufferStart {}),
        4 => Payload::RebufferEnd(RebufferEnd {}),
        5 => Payload::Pause(Pause {}),
        6 => Payload::Resume(Resume {}),
        7 => Payload::SeekStart(SeekStart {}),
        8 => Payload::SeekEnd(SeekEnd {}),
        9 => Payload::Rendition(Rendition {
            representation_id: format!("r{}", sequence % 3),
            bitrate_bps: 1_000_000 + sequence as u64,
            width: 640,
            height: 360,
            codec: "avc1".into(),
            cdn: "a".into(),
        }),
        10 if sequence > 8 => Payload::SessionEnd(SessionEnd { reason: "ended".into() }),
        11 if sequence > 6 => Payload::Error(Error { code: format!("E{sequence}"), fatal: true, business: false }),
        12 => Payload::Error(Error { code: format!("W{sequence}"), fatal: false, business: true }),
        13 => Payload::AdBreakStart(AdBreakStart {}),
        14 => Payload::AdStart(AdStart { ad_id: "ad".into() }),
        15 => Payload::AdEnd(AdEnd {}),
        16 => Payload::AdBreakEnd(AdBreakEnd {}),
        17 => Payload::Background(Background {}),
        18 => Payload::Foreground(Foreground {}),
        19 => Payload::PlaybackRate(PlaybackRate { rate_per_mille: 1500 }),
        20 => Payload::Viewport(Viewport { width: 1920, height: 1080 }),
        21 => state(PlayerState::Playing),
        22 => state(PlayerState::Rebuffering),
        23 if sequence > 8 => state(PlayerState::Quit),
        _ => Payload::Heartbeat(Heartbeat {
            buffer_ms: 1,
            throughput_bps: 2,
            dropped_frames: 3,
            bitrate_bps: 700_000 * (sequence as u64 % 2),
        }),
    }
}
