//! Hundreds of random sessions through the playback job into a Delta lake, each session and minute of it folded once
//! more in DuckDB, and the definitions worked out of them: what no hand-made case thought of. `ORACLE_SEED` chooses other
//! sessions.

use std::sync::Arc;
use std::time::Duration;

use marquee_events::proto::{
    self, AdBreakEnd, AdBreakStart, AdEnd, AdStart, Background, Context, Error, FirstFrame, Foreground, Heartbeat,
    Pause, PlayRequested, PlaybackRate, RebufferEnd, RebufferStart, Rendition, Resume, SeekEnd, SeekStart, SessionEnd,
    ViewEvent, ViewEventBatch, Viewport, view_event::Payload,
};
use marquee_events::{ContentType, PlayerState, SystemClock};
use marquee_jobs::PLAYBACK_TOPIC;
use marquee_lake_delta::{DeltaLake, LakeOptions};
use marquee_stream::{NewRecord, PartitionLog, RecordHeader, RecordType, Route};
use object_store::memory::InMemory;
use prost::Message as _;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::disorder::disorder;
use crate::live::{PARTITIONS, env, log, start};
use crate::memory_lake::text_rows;
use crate::oracle;

const SEED: u64 = 2066;

const SESSIONS: u64 = 600;

/// 2023-11-14, some seconds into a minute.
const START_MS: i64 = 1_700_000_000_000;

const HOUR_MS: i64 = 60 * 60 * 1000;

/// More than the horizon: what is older than this when it comes is late.
const PAST_THE_HORIZON_MS: i64 = 50 * HOUR_MS;

/// More than the watermark stays behind, less than a session may be silent.
const PAST_THE_DELAY_MS: i64 = 60_000;

/// The input of this partition ends, so that every session of it is final.
const ENDED_PARTITION: u32 = 0;

/// The input of this partition stops while players play: their sessions are open.
const OPEN_PARTITION: u32 = PARTITIONS - 1;

/// … after what happened before this instant.
const STOPPED_MS: i64 = START_MS + HOUR_MS * 3 / 4;

#[test]
fn random_sessions_are_what_the_oracle_makes_of_them() {
    let seed = std::env::var("ORACLE_SEED").map_or(SEED, |text| text.parse().expect("a number"));
    println!("ORACLE_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let input = Input::new(&mut rng);
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let lake_folder = folder.path().join("lake");
    std::fs::create_dir(&lake_folder).expect("a folder");
    let open = DeltaLake::open(&lake_folder, Arc::new(SystemClock::default()), LakeOptions::default());
    let lake = Arc::new(runtime.block_on(open).expect("a lake"));
    let log = log(&folder.path().join("log"));
    let jobs = start(&env(&log, lake.clone(), &runtime, Arc::new(InMemory::new()), "a"), false);
    let mut events = 0;
    for step in [&input.first, &input.again, &input.much_later, &input.too_late] {
        // Cut by epochs: sessions go on, close, open again and are folded anew.
        for part in step.chunks(step.len().div_ceil(3).max(1)) {
            events += append(&runtime, log.as_ref(), part);
            assert!(jobs.drain(log.as_ref(), Duration::from_secs(60)).expect("the log answers"), "ORACLE_SEED={seed}");
        }
    }
    let end = RecordHeader { record_type: RecordType::EndOfInput, received_at_ms: START_MS, event_count: 0 };
    let end = NewRecord { route: Route::Partition(ENDED_PARTITION), header: end, payload: Vec::new().into() };
    runtime.block_on(log.append(PLAYBACK_TOPIC, vec![end])).expect("the log takes it");
    assert!(jobs.drain(log.as_ref(), Duration::from_secs(60)).expect("the log answers"), "ORACLE_SEED={seed}");
    jobs.stop().expect("a graceful stop");

    let found = oracle::recompute(&lake_folder, PLAYBACK_TOPIC, events);
    assert!(found["sessions"].as_u64() > Some(SESSIONS * 3 / 4), "{found}");
    let seen = |query: &str| -> u64 {
        let (_, rows) = runtime.block_on(lake.sql(query)).unwrap_or_else(|e| panic!("{query}: {e}"));
        text_rows(&rows, &["n"])[0][0].parse().expect("a number")
    };
    // Seeds on which the oracle has little to say would prove little.
    for what in [
        "outcome = 'played'",
        "outcome = 'start_failure'",
        "outcome = 'exit_before_start'",
        "outcome = 'playback_failure'",
        "outcome = 'unknown'",
        "NOT is_final",
        "startup_ms > 0",
        "first_picture_ms > 0 AND startup_ms IS NULL",
        "inferred_count > 0",
        "silent_ms > 0",
        "ad_rebuffer_count > 0",
        "background_rebuffer_ms > 0",
        "max_upscale_per_mille > 0",
        "duplicates > 0",
        "conflicts > 0",
        "revision > 2",
        "late_events > 0",
    ] {
        let count = seen(&format!("SELECT count(*) AS n FROM sessions WHERE {what}"));
        assert!(count > 0, "ORACLE_SEED={seed}: no session with {what}");
    }
}

/// Appends the batches; how many events they have.
fn append(runtime: &tokio::runtime::Runtime, log: &dyn PartitionLog, batches: &[Batch]) -> u64 {
    let record = |Batch { partition, batch, .. }: &Batch| NewRecord {
        route: Route::Partition(*partition),
        header: RecordHeader {
            record_type: RecordType::ViewEvents(ContentType::Protobuf),
            received_at_ms: START_MS + 3 * PAST_THE_HORIZON_MS,
            event_count: batch.events.len() as u32,
        },
        payload: batch.encode_to_vec().into(),
    };
    runtime.block_on(log.append(PLAYBACK_TOPIC, batches.iter().map(record).collect())).expect("the log takes it");
    batches.iter().map(|batch| batch.batch.events.len() as u64).sum()
}

#[derive(Clone)]
struct Batch {
    partition: u32,
    batch: ViewEventBatch,
}

/// What arrives, in this order.
struct Input {
    /// Sessions beside each other, out of order, with repetitions.
    first: Vec<Batch>,
    /// What was held back beyond the end of its session.
    again: Vec<Batch>,
    /// Moves the watermark on, but for the open partition by days.
    much_later: Vec<Batch>,
    /// What was held back beyond the horizon.
    too_late: Vec<Batch>,
}

impl Input {
    fn new(rng: &mut StdRng) -> Self {
        let mut batches: Vec<Batch> = (0..SESSIONS).flat_map(|number| session(rng, number)).collect();
        batches.sort_by_key(|batch| batch.batch.events.iter().map(|event| event.event_time_ms).max());
        let mut input = Self { first: Vec::new(), again: Vec::new(), much_later: Vec::new(), too_late: Vec::new() };
        for batch in batches {
            match rng.random_range(0..100) {
                0..3 => {} // lost
                3..7 => input.again.push(batch),
                7..9 => input.too_late.push(batch),
                _ => input.first.push(batch),
            }
        }
        disorder(&mut input.first, rng);
        disorder(&mut input.again, rng);
        for partition in 0..PARTITIONS {
            let number = 6_000_000 + u64::from(partition);
            // What waits for lost events in the open sessions is folded once the watermark has passed it.
            let is_open = partition == OPEN_PARTITION;
            let at_ms = if is_open { STOPPED_MS + PAST_THE_DELAY_MS } else { START_MS + PAST_THE_HORIZON_MS };
            let player = &mut Player::new(rng, at_ms);
            let events = (0..3).map(|sequence| player.event(sequence, 0, payload_at(0, sequence))).collect();
            let batch = ViewEventBatch { context: Some(context(player.rng, number)), events, ..Default::default() };
            input.much_later.push(Batch { partition, batch });
        }
        input
    }
}

/// The events of a session, in batches.
fn session(rng: &mut StdRng, number: u64) -> Vec<Batch> {
    let started_ms = START_MS + rng.random_range(0..HOUR_MS);
    let length = rng.random_range(1..50);
    let partition = (number % u64::from(PARTITIONS)) as u32;
    let mut events = Vec::new();
    let mut player = Player::new(rng, started_ms);
    let manner = player.rng.random_range(0..4);
    for sequence in 0..length {
        let gap_ms = player.gap_ms();
        if partition == OPEN_PARTITION && player.now_ms + gap_ms > STOPPED_MS {
            break;
        }
        let payload = player.payload(manner, sequence);
        events.push(player.event(sequence, gap_ms, payload));
        // Another event under the same sequence, as of a player that was restored from its own past.
        if player.rng.random_bool(0.02) {
            let payload = player.any(sequence);
            let event_id = ["", "a", "z"][player.rng.random_range(0..3)].to_owned();
            events.push(ViewEvent { event_id, ..player.event(sequence, 0, payload) });
        }
    }
    let mut batches = Vec::new();
    while !events.is_empty() {
        let length = rng.random_range(1..=events.len().min(9));
        let batch = ViewEventBatch {
            context: Some(context(rng, number)),
            events: events.drain(..length).collect(),
            ..Default::default()
        };
        batches.push(Batch { partition, batch });
    }
    batches
}

/// Of a session its key stays; everything else may change: the first event's counts.
fn context(rng: &mut StdRng, number: u64) -> Context {
    let mut one_of = |values: &[&str]| (*values.choose(rng).expect("there are values")).to_owned();
    Context {
        session_id: format!("s{}", number / 6), // two players of a partition share a session id
        player_instance: if number.is_multiple_of(6) { String::new() } else { format!("p{}", number % 6) },
        title_id: one_of(&["t1", "t2", ""]),
        series_id: one_of(&["", "series"]),
        country: one_of(&["DE", "FR", ""]),
        region: one_of(&["BY", "", ""]),
        asn: one_of(&["64496", ""]),
        cdn: one_of(&["a", "b"]),
        device_type: one_of(&["tv", "phone"]),
        codec: one_of(&["avc1", "", ""]),
        plan: one_of(&["ads", ""]),
        ..Default::default()
    }
}

struct Player<'a> {
    rng: &'a mut StdRng,
    now_ms: i64,
    media_ms: i64,
}

impl<'a> Player<'a> {
    fn new(rng: &'a mut StdRng, now_ms: i64) -> Self {
        Self { rng, now_ms, media_ms: 0 }
    }

    /// Mostly seconds. The bounds of the rules and what is one past them come more often than by chance.
    fn gap_ms(&mut self) -> i64 {
        match self.rng.random_range(0..60) {
            0..3 => 0,
            3 => -self.rng.random_range(1..20_000),
            4..8 => *[999, 1_000, 1_001, 2_000].choose(self.rng).expect("there are values"),
            8 => *[300_000, 300_001].choose(self.rng).expect("there are values"),
            9 => *[1_800_000, 1_800_001].choose(self.rng).expect("there are values"),
            10..12 => self.rng.random_range(30_000..330_000),
            _ => self.rng.random_range(1..12_000),
        }
    }

    /// An event after `gap_ms`. The playhead moves as in playing, stands, is at a bound of what playing may do, jumps or
    /// is unknown.
    fn event(&mut self, sequence: u64, gap_ms: i64, payload: Payload) -> ViewEvent {
        self.now_ms += gap_ms;
        self.media_ms += match self.rng.random_range(0..20) {
            0..9 => gap_ms,
            9..13 => 0,
            13 => gap_ms / 2,
            14 => (gap_ms + 1) / 2,
            15 => 4 * gap_ms,
            16 => 4 * gap_ms + 1,
            17 => self.rng.random_range(-20_000..200_000),
            _ => gap_ms + self.rng.random_range(-50..50),
        };
        ViewEvent {
            event_id: format!("e{sequence}"),
            sequence,
            event_time_ms: self.now_ms,
            media_time_ms: self.rng.random_bool(0.9).then_some(self.media_ms),
            payload: Some(payload),
        }
    }

    /// Players that make sense, that report states, and that do anything.
    fn payload(&mut self, manner: u32, sequence: u64) -> Payload {
        match (manner, sequence) {
            (0, _) => self.any(sequence),
            (1, _) => self.state(),
            _ if self.rng.random_bool(0.35) => self.any(sequence),
            (_, 0..2) => payload_at(manner, sequence),
            _ => self.heartbeat(),
        }
    }

    fn heartbeat(&mut self) -> Payload {
        Payload::Heartbeat(Heartbeat {
            buffer_ms: 1,
            throughput_bps: 2,
            dropped_frames: self.rng.random_range(0..3),
            bitrate_bps: self.bitrate_bps(),
        })
    }

    fn bitrate_bps(&mut self) -> u64 {
        *[0, 0, 800_000, 1_500_000].choose(self.rng).expect("there are values")
    }

    fn code(&mut self) -> String {
        (*["", "", "E1", "E2"].choose(self.rng).expect("there are values")).to_owned()
    }

    fn state(&mut self) -> Payload {
        let state = match self.rng.random_range(0..60) {
            0..4 => PlayerState::Preloading,
            4..9 => PlayerState::Starting,
            9..24 => PlayerState::Playing,
            24..30 => PlayerState::Seeking,
            30..38 => PlayerState::Rebuffering,
            38..44 => PlayerState::Paused,
            44..48 => PlayerState::Stalled,
            48 => PlayerState::Ended,
            49 => PlayerState::Quit,
            50 => PlayerState::Failed,
            _ => return self.any(0),
        };
        Payload::PlayerState(proto::PlayerState {
            state: state.name().to_owned(),
            code: self.code(),
            bitrate_bps: self.bitrate_bps(),
            buffer_ms: 7,
        })
    }

    /// Every kind; what ends a session seldom.
    fn any(&mut self, sequence: u64) -> Payload {
        match self.rng.random_range(0..64) {
            0..3 => Payload::PlayRequested(PlayRequested { autoplay: sequence.is_multiple_of(2) }),
            3..7 => Payload::FirstFrame(FirstFrame {}),
            7..12 => Payload::RebufferStart(RebufferStart {}),
            12..15 => Payload::RebufferEnd(RebufferEnd {}),
            15..18 => Payload::Pause(Pause {}),
            18..21 => Payload::Resume(Resume {}),
            21..24 => Payload::SeekStart(SeekStart {}),
            24..27 => Payload::SeekEnd(SeekEnd {}),
            27..30 => self.rendition(),
            30..32 => Payload::AdBreakStart(AdBreakStart {}),
            32..35 => Payload::AdStart(AdStart { ad_id: "ad".into() }),
            35..38 => Payload::AdEnd(AdEnd {}),
            38..40 => Payload::AdBreakEnd(AdBreakEnd {}),
            40..42 => Payload::Background(Background {}),
            42..45 => Payload::Foreground(Foreground {}),
            45 => Payload::PlaybackRate(PlaybackRate {
                rate_per_mille: *[0, 500, 1500, 8000].choose(self.rng).expect("there are values"),
            }),
            46..48 => {
                let (width, height) = *[(0, 0), (1280, 720), (1920, 1200)].choose(self.rng).expect("there are values");
                Payload::Viewport(Viewport { width, height })
            }
            48..50 => Payload::Error(Error { code: self.code(), fatal: false, business: self.rng.random_bool(0.3) }),
            50 => Payload::Error(Error { code: self.code(), fatal: true, business: self.rng.random_bool(0.3) }),
            51 => Payload::SessionEnd(SessionEnd { reason: "closed".into() }),
            52..54 => self.state(),
            _ => self.heartbeat(),
        }
    }

    fn rendition(&mut self) -> Payload {
        let (name, height) = *[("low", 360), ("high", 1080), ("", 0)].choose(self.rng).expect("there are values");
        Payload::Rendition(Rendition {
            representation_id: name.into(),
            bitrate_bps: self.bitrate_bps(),
            width: height * 16 / 9,
            height,
            codec: "avc1".into(),
            cdn: "a".into(),
        })
    }
}

/// How players that make sense begin.
fn payload_at(manner: u32, sequence: u64) -> Payload {
    match sequence {
        0 => Payload::PlayRequested(PlayRequested { autoplay: manner == 2 }),
        1 => Payload::FirstFrame(FirstFrame {}),
        _ => Payload::Heartbeat(Heartbeat::default()),
    }
}
