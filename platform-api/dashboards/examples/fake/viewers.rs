//! Made-up viewers, seeded: sessions that look like real ones, as batches with the time at which each is sent.

use marquee_events::PlayerState;
use marquee_events::proto::view_event::Payload;
use marquee_events::proto::{
    self, AdBreakEnd, AdBreakStart, AdEnd, AdStart, Background, Context, Error, FirstFrame, Foreground, Heartbeat,
    Pause, PlayRequested, RebufferEnd, RebufferStart, Rendition, Resume, SeekEnd, SeekStart, SessionEnd, ViewEvent,
    ViewEventBatch,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::rows::TITLES;

const HEARTBEAT_MS: i64 = 5_000;

/// (device type, operating system, player)
const DEVICES: [(&str, &str, &str); 5] = [
    ("tv", "tizen", "shaka"),
    ("tv", "android_tv", "media3"),
    ("phone", "android", "media3"),
    ("phone", "ios", "avplayer"),
    ("browser", "windows", "hls.js"),
];

/// (country, region, internet provider)
const PLACES: [(&str, &str, &str); 5] = [
    ("DE", "BY", "isar-kabel"),
    ("FR", "IDF", "seine-fibre"),
    ("GB", "LND", "thames-broadband"),
    ("US", "CA", "bay-cable"),
    ("JP", "13", "sumida-hikari"),
];

/// bit/s, height (px)
const LADDER: [(u64, u32); 4] = [(600_000, 360), (1_500_000, 540), (3_000_000, 720), (6_000_000, 1080)];

/// The batches of session `index` of a run, which begins at `start_ms` (ms since the epoch), in the order of sending.
pub fn session(seed: u64, index: u64, start_ms: i64) -> Vec<ViewEventBatch> {
    let mut rng = StdRng::seed_from_u64(seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (device_type, os, player) = *DEVICES.choose(&mut rng).expect("there are devices");
    let (country, region, isp) = *PLACES.choose(&mut rng).expect("there are places");
    let cdn = if rng.random_bool(0.3) { "edge-c" } else { "edge-a" };
    let title = 1 + (rng.random::<f64>().powi(3) * f64::from(TITLES - 1)) as u32;
    let context = Context {
        session_id: format!("{:08x}-{index:04x}-4{:03x}", rng.random::<u32>(), rng.random_range(0..4096)),
        profile_id: format!("profile-{:04}", rng.random_range(1..=40)),
        title_id: format!("title-{title:04}"),
        device_type: device_type.to_owned(),
        os: os.to_owned(),
        player: player.to_owned(),
        player_version: "2.1.3".to_owned(),
        app_version: "8.0.0".to_owned(),
        country: country.to_owned(),
        region: region.to_owned(),
        isp: isp.to_owned(),
        cdn: cdn.to_owned(),
        protocol: "hls".to_owned(),
        asset_id: format!("asset-{title:04}"),
        ..Context::default()
    };
    // Shaka reports states, as CMCD has them.
    let reports_states = player == "shaka";
    let mut script = Script { rng, events: Vec::new(), now_ms: start_ms, media_ms: 0, playing: false, reports_states };
    script.play(if cdn == "edge-c" { 0.10 } else { 0.03 });
    batches(&context, script.events)
}

/// One batch for each stretch of five seconds in which something happened.
fn batches(context: &Context, events: Vec<ViewEvent>) -> Vec<ViewEventBatch> {
    let mut batches: Vec<ViewEventBatch> = Vec::new();
    for event in events {
        let sent_at_ms = (event.event_time_ms.div_euclid(HEARTBEAT_MS) + 1) * HEARTBEAT_MS;
        match batches.last_mut() {
            Some(batch) if batch.sent_at_ms == sent_at_ms => batch.events.push(event),
            _ => batches.push(ViewEventBatch {
                context: Some(context.clone()),
                sent_at_ms,
                events: vec![event],
                ..Default::default()
            }),
        }
    }
    batches
}

struct Script {
    rng: StdRng,
    events: Vec<ViewEvent>,
    now_ms: i64,
    media_ms: i64,
    playing: bool,
    reports_states: bool,
}

impl Script {
    fn play(&mut self, stalls: f64) {
        self.say(Payload::PlayRequested(PlayRequested::default()));
        let startup_ms = (600.0 * (self.rng.random::<f64>() * 1.8).exp()) as i64;
        match self.rng.random_range(0..100) {
            0..4 => {
                self.pass(startup_ms / 2);
                return self.fail("manifest_timeout", false);
            }
            4..5 => {
                self.pass(startup_ms / 3);
                return self.fail("no_entitlement", true);
            }
            5..10 => {
                self.pass(startup_ms);
                return self.say(Payload::SessionEnd(SessionEnd { reason: "closed".to_owned() }));
            }
            _ => {}
        }
        self.rendition();
        if self.rng.random_bool(0.2) {
            self.ads();
        }
        self.pass(startup_ms);
        self.say(Payload::FirstFrame(FirstFrame {}));
        self.playing = true;
        let ends_ms = self.now_ms + self.rng.random_range(40_000..720_000);
        while self.now_ms < ends_ms {
            self.pass(HEARTBEAT_MS);
            self.heartbeat();
            if self.rng.random_bool(stalls) {
                self.interlude(
                    Payload::RebufferStart(RebufferStart {}),
                    Payload::RebufferEnd(RebufferEnd {}),
                    400..4_000,
                );
            }
            if self.rng.random_bool(0.02) {
                self.interlude(Payload::Pause(Pause {}), Payload::Resume(Resume {}), 2_000..40_000);
            }
            if self.rng.random_bool(0.015) {
                self.interlude(Payload::SeekStart(SeekStart {}), Payload::SeekEnd(SeekEnd {}), 200..1_500);
            }
            if self.rng.random_bool(0.005) {
                self.interlude(Payload::Background(Background {}), Payload::Foreground(Foreground {}), 3_000..30_000);
            }
            if self.rng.random_bool(0.05) {
                self.rendition();
            }
            if self.rng.random_bool(0.005) {
                self.ads();
            }
            if self.rng.random_bool(0.0006) {
                return self.fail("decode", false);
            }
        }
        // One in ten vanishes without a word.
        if self.rng.random_bool(0.9) {
            self.say(Payload::SessionEnd(SessionEnd { reason: "closed".to_owned() }));
        }
    }

    fn interlude(&mut self, begin: Payload, end: Payload, lengths_ms: std::ops::Range<i64>) {
        self.pass(700);
        self.say(begin);
        self.playing = false;
        let length_ms = self.rng.random_range(lengths_ms);
        self.pass(length_ms);
        self.say(end);
        self.playing = true;
    }

    /// A break of two ads.
    fn ads(&mut self) {
        let was_playing = std::mem::replace(&mut self.playing, false);
        self.say(Payload::AdBreakStart(AdBreakStart {}));
        for ad in ["ad-1", "ad-2"] {
            self.pass(300);
            self.say(Payload::AdStart(AdStart { ad_id: ad.to_owned() }));
            self.pass(6_000);
            self.say(Payload::AdEnd(AdEnd {}));
        }
        self.say(Payload::AdBreakEnd(AdBreakEnd {}));
        self.playing = was_playing;
    }

    fn rendition(&mut self) {
        let (bitrate_bps, height) = *LADDER.choose(&mut self.rng).expect("there are renditions");
        self.say(Payload::Rendition(Rendition {
            representation_id: format!("{height}p"),
            bitrate_bps,
            width: height * 16 / 9,
            height,
            codec: "avc1.640028".to_owned(),
            cdn: String::new(),
        }));
    }

    fn heartbeat(&mut self) {
        let beat = Heartbeat {
            buffer_ms: self.rng.random_range(4_000..28_000),
            throughput_bps: self.rng.random_range(3_000_000..24_000_000),
            dropped_frames: u32::from(self.rng.random_bool(0.1)),
            ..Default::default()
        };
        self.say(Payload::Heartbeat(beat));
    }

    fn fail(&mut self, code: &str, business: bool) {
        self.say(Payload::Error(Error { code: code.to_owned(), fatal: true, business }));
    }

    fn pass(&mut self, ms: i64) {
        self.now_ms += ms;
        self.media_ms += if self.playing { ms } else { 0 };
    }

    fn say(&mut self, payload: Payload) {
        let payload = if self.reports_states { as_state(payload) } else { payload };
        self.events.push(ViewEvent {
            event_id: String::new(),
            sequence: self.events.len() as u64,
            event_time_ms: self.now_ms,
            media_time_ms: Some(self.media_ms),
            payload: Some(payload),
        });
    }
}

/// What a player that reports states says instead.
fn as_state(payload: Payload) -> Payload {
    let (state, code) = match &payload {
        Payload::PlayRequested(_) => (PlayerState::Starting, ""),
        Payload::FirstFrame(_) | Payload::RebufferEnd(_) | Payload::Resume(_) | Payload::SeekEnd(_) => {
            (PlayerState::Playing, "")
        }
        Payload::RebufferStart(_) => (PlayerState::Rebuffering, ""),
        Payload::Pause(_) => (PlayerState::Paused, ""),
        Payload::SeekStart(_) => (PlayerState::Seeking, ""),
        Payload::SessionEnd(_) => (PlayerState::Quit, ""),
        Payload::Error(error) if error.fatal && !error.business => (PlayerState::Failed, error.code.as_str()),
        _ => return payload,
    };
    let (state, code) = (state.name().to_owned(), code.to_owned());
    Payload::PlayerState(proto::PlayerState { state, code, ..Default::default() })
}
