//! Sessions in which every kind of event and every rule occurs, in about the mix of a player with a heartbeat every
//! ten seconds. Deterministic: the same for the bench and for the test of allocations.

use marquee_events::{PayloadView, PlayerState, Text};

/// An event as the fold takes it.
pub struct Event {
    /// Corrected event time, ms since the epoch.
    pub time_ms: i64,
    /// The playhead.
    pub media_time_ms: Option<i64>,
    /// What happened.
    pub payload: PayloadView<'static>,
}

/// 500 sessions of about 120 events.
pub fn sessions() -> Vec<Vec<Event>> {
    (0..500).map(session).collect()
}

fn session(number: u64) -> Vec<Event> {
    let mut player = Player { time_ms: 1_790_000_000_000 + number as i64 * 977, playhead_ms: 0, events: Vec::new() };
    player.send(0, PayloadView::Viewport { width: 1920, height: 1080 });
    player.send(0, PayloadView::PlayRequested { autoplay: number.is_multiple_of(5) });
    if number.is_multiple_of(7) {
        player.send(300, PayloadView::AdBreakStart);
        player.send(200, PayloadView::AdStart { ad_id: text("ad-1") });
        player.send(700, PayloadView::RebufferStart);
        player.send(400, PayloadView::RebufferEnd);
        player.send(5000, PayloadView::AdEnd);
        player.send(100, PayloadView::AdBreakEnd);
    }
    player.rendition(1);
    player.send(900, PayloadView::FirstFrame);
    for round in 0..16 {
        for _ in 0..5 {
            player.play(10_000, HEARTBEAT);
        }
        match (round + number) % 8 {
            0 => {
                player.play(2000, PayloadView::RebufferStart);
                player.send(1500, PayloadView::RebufferEnd);
            }
            1 => {
                player.play(1000, PayloadView::SeekStart);
                player.send(800, PayloadView::SeekEnd);
            }
            2 => {
                player.play(1000, PayloadView::Pause);
                player.send(20_000, PayloadView::Resume);
            }
            3 => {
                player.play(500, PayloadView::Background);
                player.play(30_000, PayloadView::Foreground);
            }
            4 => player.play(500, PayloadView::Error { code: text("NETWORK_SEGMENT"), fatal: false, business: false }),
            5 => player.play(100, PayloadView::PlaybackRate { rate_per_mille: 1500 }),
            6 => {
                player.play(100, state(PlayerState::Rebuffering));
                player.send(700, state(PlayerState::Playing));
            }
            _ => player.rendition(2 + round % 3),
        }
    }
    player.play(3000, PayloadView::SessionEnd { reason: text("ended") });
    player.events
}

const HEARTBEAT: PayloadView<'static> =
    PayloadView::Heartbeat { buffer_ms: 8000, throughput_bps: 12_000_000, dropped_frames: 1, bitrate_bps: 0 };

fn text(text: &'static str) -> Text<'static> {
    Text::Borrowed(text)
}

fn state(state: PlayerState) -> PayloadView<'static> {
    PayloadView::PlayerState { state: Some(state), code: text(""), bitrate_bps: 0, buffer_ms: 0 }
}

struct Player {
    time_ms: i64,
    playhead_ms: i64,
    events: Vec<Event>,
}

impl Player {
    fn send(&mut self, after_ms: i64, payload: PayloadView<'static>) {
        self.time_ms += after_ms;
        self.events.push(Event { time_ms: self.time_ms, media_time_ms: Some(self.playhead_ms), payload });
    }

    fn play(&mut self, for_ms: i64, payload: PayloadView<'static>) {
        self.playhead_ms += for_ms;
        self.send(for_ms, payload);
    }

    fn rendition(&mut self, level: u64) {
        let ids = ["0", "360p", "540p", "720p", "1080p"];
        let height = 180 * (level as u32 + 1);
        let rendition = PayloadView::Rendition {
            representation_id: text(ids[level as usize]),
            bitrate_bps: 1_000_000 * level,
            width: height * 16 / 9,
            height,
            codec: text("avc1.640028"),
            cdn: text("cdn-a"),
        };
        self.play(2000, rendition);
    }
}
