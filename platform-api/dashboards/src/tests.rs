//! The routes over a real socket, with the real jobs and the real lake behind them (the world of `examples/fake`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use marquee_catalogue::{Maturity, Profile};
use marquee_events::proto::view_event::Payload;
use marquee_events::proto::{
    self, AdBreakEnd, AdBreakStart, AdEnd, AdStart, Background, Context, Error, FirstFrame, Foreground, Heartbeat,
    Pause, PlayRequested, RebufferEnd, RebufferStart, Rendition, Resume, SeekEnd, SeekStart, SessionEnd, ViewEvent,
    ViewEventBatch,
};
use marquee_events::{Clock, ErrorKind, PlayerState, SystemClock};
use proptest::test_runner::{Config, TestRunner};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::{Dashboards, DashboardsSettings, HomePage, PartError, Parts, Rows, Served, quote};

#[path = "../examples/fake/world.rs"]
mod world;

use world::{Lake, World};

const MINUTE_MS: i64 = 60_000;

/// 2023-11-14, at the start of a minute.
const START_MS: i64 = 1_700_000_040_000;

struct OneProfile;

#[async_trait]
impl Rows for OneProfile {
    async fn home_page(&self, profile_id: &str) -> Result<Option<HomePage>, PartError> {
        let served = Served { profile_id: profile_id.to_owned(), ..Served::default() };
        match profile_id {
            "p/1" => Ok(Some(HomePage { served, rows: Vec::new() })),
            "broken" => Err(PartError::new(ErrorKind::Unavailable, "the rows are away")),
            _ => Ok(None),
        }
    }

    async fn profile(&self, profile_id: &str) -> Result<Option<Profile>, PartError> {
        let profile = Profile {
            profile_id: profile_id.to_owned(),
            display_name: "Ada".to_owned(),
            max_maturity: Maturity::Age12,
            country: "DE".to_owned(),
        };
        Ok((profile_id == "p/1").then_some(profile))
    }

    async fn profiles(&self, _: &str, _: u32) -> Result<Vec<Profile>, PartError> {
        Ok(self.profile("p/1").await?.into_iter().collect())
    }

    async fn title_names(&self, ids: &[String]) -> Result<HashMap<String, String>, PartError> {
        Ok(ids.iter().map(|id| (id.clone(), format!("Name of {id}"))).collect())
    }
}

/// Dashboards that listen on a port of their own.
struct Server {
    world: World,
    client: reqwest::Client,
    base: String,
    stop: oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<Result<(), crate::DashboardsError>>,
    _folder: tempfile::TempDir,
}

/// Runs as the system's clock does, from another instant on: figures are kept for two hours, so who looks at made-up
/// sessions has to live when they happen.
struct Elsewhen {
    system: SystemClock,
    shift_ms: i64,
}

impl Elsewhen {
    /// A clock that shows `now_ms` now.
    fn starting_at(now_ms: i64) -> Self {
        let system = SystemClock::default();
        Self { shift_ms: now_ms - system.now_ms(), system }
    }
}

impl Clock for Elsewhen {
    fn now_ms(&self) -> i64 {
        self.system.now_ms() + self.shift_ms
    }
}

impl Server {
    async fn start(change: impl FnOnce(&mut DashboardsSettings)) -> Self {
        Self::start_at(Arc::new(SystemClock::default()), change).await
    }

    async fn start_at(clock: Arc<dyn Clock>, change: impl FnOnce(&mut DashboardsSettings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = World::start(folder.path(), clock.clone(), 200).await;
        let (lake, live) = (Arc::new(Lake(world.lake.clone())), world.follower.clone());
        let parts = Parts { lake, live, rows: Arc::new(OneProfile), clock };
        let mut settings = DashboardsSettings { live_interval_ms: 100, ..DashboardsSettings::default() };
        change(&mut settings);
        let dashboards = Arc::new(Dashboards::new(parts, settings).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(dashboards.serve(listener, async move {
            let _ = stopped.await;
        }));
        Self { world, client: reqwest::Client::new(), base, stop, serving, _folder: folder }
    }

    fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(format!("{}{path}", self.base))
    }

    /// Asks, checks the status, returns the answer's JSON.
    async fn json(&self, path: &str, status: u16) -> Value {
        let response = self.get(path).send().await.unwrap();
        let (found, text) = (response.status().as_u16(), response.text().await.unwrap());
        assert_eq!(found, status, "{path}: {text}");
        serde_json::from_str(&text).expect(&text)
    }

    async fn stop(self) {
        let _ = self.stop.send(());
        self.serving.await.unwrap().unwrap();
        tokio::task::spawn_blocking(move || self.world.stop()).await.unwrap();
    }
}

/// Blocks until everything is in the lake, without blocking the runtime.
fn settle(world: &World) {
    tokio::task::block_in_place(|| world.settle());
}

/// A player that does anything at any time: what the fold has a rule for, in no sensible order.
fn random_session(rng: &mut StdRng, number: u64) -> Vec<ViewEventBatch> {
    let context = Context {
        session_id: format!("session-{number}"),
        player_instance: if number.is_multiple_of(5) { "second".to_owned() } else { String::new() },
        title_id: format!("title-{}", number % 7),
        profile_id: format!("profile-{}", number % 3),
        device_type: if number.is_multiple_of(2) { "tv" } else { "phone" }.to_owned(),
        ..Context::default()
    };
    let mut time_ms = START_MS + rng.random_range(0..4 * MINUTE_MS);
    let mut media_ms = 0;
    let mut events = Vec::new();
    let length = rng.random_range(1..60);
    // A third of the players report states, as CMCD has them.
    let reports_states = number % 3 == 1;
    for sequence in 0..length {
        // Long silences, steps back in time and events at the same instant are all told apart by the fold.
        let gap_ms = match rng.random_range(0..40) {
            0 => 6 * MINUTE_MS,
            1 => -rng.random_range(1..20_000),
            2 => 40_000,
            3 => 0,
            4 => 1_000,
            _ => rng.random_range(1..9_000),
        };
        time_ms += gap_ms;
        // Playheads go on, stand or jump: two heartbeats show by them whether the session was playing.
        media_ms += match rng.random_range(0..9) {
            0 => 0,
            1 => gap_ms / 2,
            2 => 5 * gap_ms,
            _ => gap_ms,
        };
        let payload = match (sequence, rng.random_range(0..44)) {
            (_, 34..44) if reports_states => player_state(rng),
            (0, 0..30) | (_, 24) => Payload::PlayRequested(PlayRequested::default()),
            (1..4, 0..10) | (_, 0..2) => Payload::FirstFrame(FirstFrame {}),
            (_, 2..6) => Payload::RebufferStart(RebufferStart {}),
            (_, 6..10) => Payload::RebufferEnd(RebufferEnd {}),
            (_, 10) => Payload::Pause(Pause {}),
            (_, 11..13) => Payload::Resume(Resume {}),
            (_, 13) => Payload::SeekStart(SeekStart {}),
            (_, 14..16) => Payload::SeekEnd(SeekEnd {}),
            (_, 16) => Payload::AdStart(AdStart { ad_id: "ad".to_owned() }),
            (_, 17..19) => Payload::AdEnd(AdEnd {}),
            (_, 19) => Payload::Background(Background {}),
            (_, 20..22) => Payload::Foreground(Foreground {}),
            (_, 22) => Payload::Error(Error {
                code: "code".to_owned(),
                fatal: rng.random_bool(0.4),
                business: rng.random_bool(0.3),
            }),
            (_, 23) => Payload::SessionEnd(SessionEnd { reason: "closed".to_owned() }),
            (_, 26) => Payload::AdBreakStart(AdBreakStart {}),
            (_, 27) => Payload::AdBreakEnd(AdBreakEnd {}),
            (_, 25) => Payload::Rendition(Rendition { bitrate_bps: 1_000_000, ..Rendition::default() }),
            _ => Payload::Heartbeat(Heartbeat::default()),
        };
        events.push(ViewEvent {
            event_id: format!("{number}-{sequence}"),
            sequence,
            event_time_ms: time_ms,
            media_time_ms: rng.random_bool(0.9).then_some(media_ms),
            payload: Some(payload),
        });
    }
    let mut batches: Vec<_> = events
        .chunks(4)
        .map(|events| ViewEventBatch {
            context: Some(context.clone()),
            sent_at_ms: events.iter().map(|event| event.event_time_ms).max().unwrap_or_default(),
            events: events.to_vec(),
            ..Default::default()
        })
        .filter(|_| !rng.random_bool(0.05)) // lost
        .collect();
    if batches.len() > 2 && rng.random_bool(0.3) {
        let last = batches.len() - 1;
        batches.swap(last - 1, last);
        batches.push(batches[0].clone());
    }
    batches
}

/// Any state; what ends a session seldom.
fn player_state(rng: &mut StdRng) -> Payload {
    use PlayerState::{Ended, Failed, Paused, Playing, Preloading, Quit, Rebuffering, Seeking, Stalled, Starting};
    let lasting = [Preloading, Starting, Playing, Playing, Playing, Seeking, Rebuffering, Rebuffering, Paused, Stalled];
    let states = if rng.random_bool(0.06) { &[Ended, Quit, Failed][..] } else { &lasting };
    let state = states.choose(rng).expect("there are states").name().to_owned();
    Payload::PlayerState(proto::PlayerState { state, ..Default::default() })
}

/// What chance hardly makes, at its seconds; playheads go on.
fn rare_sessions() -> Vec<ViewEventBatch> {
    let beat = || Payload::Heartbeat(Heartbeat::default());
    let request = || Payload::PlayRequested(PlayRequested::default());
    let end = || Payload::SessionEnd(SessionEnd::default());
    let state = |state: PlayerState| {
        Payload::PlayerState(proto::PlayerState { state: state.name().to_owned(), ..Default::default() })
    };
    let paused = || vec![(90, request()), (91, Payload::FirstFrame(FirstFrame {})), (100, Payload::Pause(Pause {}))];
    // The first two heartbeats of a pause end it, though they may be farther apart than the gap of 5 min …
    let mut long_pause = paused();
    long_pause.extend([(110, beat()), (522, beat()), (560, end())]);
    // … and after that the gap holds, for a seek too.
    let mut short_pause = paused();
    short_pause.extend([(110, beat()), (120, beat()), (121, Payload::SeekStart(SeekStart {}))]);
    short_pause.extend([(122, beat()), (522, beat()), (560, end())]);
    // A player that says `playing` inside an ad has not been asked for the content.
    let ad_first = vec![
        (30, Payload::AdStart(AdStart { ad_id: "ad".to_owned() })),
        (40, state(PlayerState::Playing)),
        (50, Payload::AdEnd(AdEnd {})),
        (150, state(PlayerState::Starting)),
        (152, state(PlayerState::Playing)),
        (170, state(PlayerState::Quit)),
    ];
    // A player that says that it is paused seeks no more.
    let paused_seek = vec![
        (90, request()),
        (91, state(PlayerState::Playing)),
        (100, state(PlayerState::Seeking)),
        (105, state(PlayerState::Paused)),
        (110, Payload::Resume(Resume {})),
        (170, end()),
    ];
    let batch = |(number, script): (usize, Vec<(i64, Payload)>)| {
        let events = script.into_iter().enumerate().map(|(sequence, (at_s, payload))| ViewEvent {
            sequence: sequence as u64,
            event_time_ms: START_MS + at_s * 1000,
            media_time_ms: Some(at_s * 1000),
            payload: Some(payload),
            ..Default::default()
        });
        let context = Context { session_id: format!("rare-{number}"), ..Context::default() };
        let sent_at_ms = START_MS + 10 * MINUTE_MS;
        ViewEventBatch { context: Some(context), sent_at_ms, events: events.collect(), ..Default::default() }
    };
    [long_pause, short_pause, ad_first, paused_seek].into_iter().enumerate().map(batch).collect()
}

/// The central promise: for a closed window, what Live shows is what SQL over the lake gives; also for windows that cut
/// sessions.
#[tokio::test(flavor = "multi_thread")]
async fn live_equals_sql_for_closed_windows() {
    const SEED: u64 = 31;
    let clock = Elsewhen::starting_at(START_MS + 60 * MINUTE_MS);
    let server = Server::start_at(Arc::new(clock), |_| ()).await;
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut batches: Vec<ViewEventBatch> = (0..400).flat_map(|number| random_session(&mut rng, number)).collect();
    batches.extend(rare_sessions());
    // Sessions run beside each other; what a session says out of order stays so.
    batches.sort_by_key(|batch| batch.sent_at_ms / MINUTE_MS);
    for part in batches.chunks(400) {
        server.world.append(part).await;
        settle(&server.world);
    }
    server.world.end_input(START_MS + 60 * MINUTE_MS).await;
    settle(&server.world);
    let mut seen = BTreeMap::new();
    for (from, to) in [(0, 60), (0, 2), (1, 2), (2, 5), (3, 20), (5, 6), (8, 12), (59, 60)] {
        let query = format!("from={}&to={}", START_MS + from * MINUTE_MS, START_MS + to * MINUTE_MS);
        let live = server.json(&format!("/api/live/window?{query}"), 200).await;
        let sql = server.json(&format!("/api/sql/window?{query}"), 200).await;
        assert_eq!(sql["open_sessions"], 0);
        assert_eq!(live["figures"], sql["figures"], "seed {SEED}, minutes {from} to {to}\n{}", sql["sql"]);
        for (name, value) in live["figures"].as_object().unwrap() {
            *seen.entry(name.clone()).or_insert(0) += i32::from(value.as_f64().is_some_and(|value| value > 0.0));
        }
    }
    assert!(seen.values().all(|windows| *windows >= 3), "every figure is put to the test: {seen:?}");
    // What the live view no longer knows is refused, not shown as less than it was.
    let forgotten = START_MS - 120 * MINUTE_MS;
    let query = format!("from={forgotten}&to={}", forgotten + MINUTE_MS);
    let refused = server.json(&format!("/api/live/window?{query}"), 400).await;
    assert_eq!(refused["error"]["field"], "from", "{refused}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_found_and_its_states_are_its_durations() {
    let server = Server::start(|_| ()).await;
    let mut rng = StdRng::seed_from_u64(5);
    let batches: Vec<ViewEventBatch> = (0..30).flat_map(|number| random_session(&mut rng, number)).collect();
    server.world.append(&batches).await;
    server.world.end_input(START_MS + 60 * MINUTE_MS).await;
    settle(&server.world);

    let mut listed = Vec::new();
    let mut after = String::new();
    loop {
        let page = server.json(&format!("/api/sessions?limit=7{after}"), 200).await;
        let sessions = page["sessions"].as_array().unwrap().clone();
        assert!(sessions.len() <= 7);
        listed.extend(sessions);
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={}", next.replace('/', "%2F"));
    }
    let times: Vec<i64> = listed.iter().map(|session| session["started_at_ms"].as_i64().unwrap()).collect();
    assert!(listed.len() >= 28 && times.is_sorted_by(|a, b| a >= b), "{} sessions, newest first", listed.len());

    let stalled = server.json("/api/sessions?stalled=true&device_type=tv&limit=200", 200).await;
    let expected = listed.iter().filter(|s| s["device_type"] == "tv" && s["rebuffer_count"].as_i64() > Some(0)).count();
    assert!(expected > 0 && stalled["sessions"].as_array().unwrap().len() == expected);
    assert_eq!(stalled["facets"]["device_type"][0]["sessions"].as_u64(), Some(expected as u64));
    let title = stalled["sessions"][0]["title_id"].as_str().unwrap().to_owned();
    assert_eq!(stalled["title_names"][&title], format!("Name of {title}"));

    for session in &listed {
        let (id, instance) = (session["session_id"].as_str().unwrap(), session["player_instance"].as_str().unwrap());
        let found = server.json(&format!("/api/sessions/{id}?player_instance={instance}"), 200).await;
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        for span in found["states"].as_array().unwrap() {
            let length_ms = span["to_ms"].as_i64().unwrap() - span["from_ms"].as_i64().unwrap();
            *sums.entry(format!("{}_ms", span["state"].as_str().unwrap())).or_default() += length_ms;
        }
        for column in ["startup_waiting", "playing", "rebuffer", "seek_waiting", "paused", "ad", "background", "silent"]
        {
            let column = format!("{column}_ms");
            let sum = sums.get(&column).copied().unwrap_or_default();
            assert_eq!(found["session"][&column].as_i64(), Some(sum), "{column} of {id}: {found:#}");
        }
    }
    server.json("/api/sessions/nobody", 404).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_get_what_they_may_and_nothing_else() {
    let clip = tempfile::tempdir().unwrap();
    std::fs::write(clip.path().join("main.m3u8"), "#EXTM3U\n").unwrap();
    let secret = tempfile::NamedTempFile::with_suffix(".mp4").unwrap();
    std::os::unix::fs::symlink(secret.path(), clip.path().join("link.mp4")).unwrap();
    let folder = clip.path().to_path_buf();
    let server = Server::start(|settings| {
        settings.media_folder = Some(folder);
        settings.allowed_hosts = vec!["marquee.example".to_owned()];
    })
    .await;

    for (host, status) in [("localhost:1", 200), ("[::1]", 200), ("Marquee.Example", 200), ("evil.example", 421)] {
        let response = server.get("/api/config").header("host", host).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{host}");
    }
    for (path, status) in [("/api/config", 403), ("/media/demo/main.m3u8", 403), ("/live", 200)] {
        let response = server.get(path).header("sec-fetch-site", "cross-site").send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
        let headers = response.headers();
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("script-src 'self';") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert!(!headers.contains_key("access-control-allow-origin"));
    }
    let clip = server.get("/media/demo/main.m3u8").send().await.unwrap();
    assert_eq!(clip.headers()["content-type"], "application/vnd.apple.mpegurl");
    assert_eq!(clip.text().await.unwrap(), "#EXTM3U\n");
    for path in ["link.mp4", "absent.ts", "..%2Fmain.m3u8", "main.txt"] {
        server.json(&format!("/media/demo/{path}"), 404).await;
    }
    assert_eq!(server.json("/api/config", 200).await["media"]["manifest"], "/media/demo/main.m3u8");

    assert_eq!(server.json("/api/profiles/p%2F1", 200).await["max_age"], 12);
    assert_eq!(server.json("/api/profiles/p%2F1/home", 200).await["served"]["profile_id"], "p/1");
    server.json("/api/profiles/nobody/home", 404).await;
    server.json("/api/profiles/broken/home", 503).await;
    for (path, field) in [
        ("/api/sessions?outcome=fine", "outcome"),
        ("/api/sessions?limit=201", "limit"),
        ("/api/live/window?from=1&to=60000", "from"),
        ("/api/sql/window?from=60000&to=60000", "to"),
        ("/api/live/stream?minutes=0", "minutes"),
        ("/api/profiles?limit=0", "limit"),
    ] {
        assert_eq!(server.json(path, 400).await["error"]["field"], field, "{path}");
    }
    server.json("/api/sessions?colour=red", 400).await;
    server.json("/api/nothing", 404).await;
    let posted = server.client.post(format!("{}/api/config", server.base)).send().await.unwrap();
    assert_eq!(posted.status().as_u16(), 405);
    server.stop().await;
}

/// The messages of a live stream.
struct Messages {
    stream: reqwest::Response,
    buffer: String,
}

impl Messages {
    /// The next one; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.find("\n\n") {
                let text: String = self.buffer.drain(..end + 2).collect();
                let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
                return Some(serde_json::from_str(data).unwrap());
            }
            let chunk = self.stream.chunk().await.unwrap()?;
            self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

/// A new browser gets everything, later messages only what has changed; a stop ends the stream.
#[tokio::test(flavor = "multi_thread")]
async fn live_streams_changes_and_ends_with_the_server() {
    let server = Server::start(|_| ()).await;
    let now_ms = SystemClock::default().now_ms();
    let attempt = |number: u64| {
        let event = ViewEvent {
            event_time_ms: now_ms,
            payload: Some(Payload::PlayRequested(PlayRequested::default())),
            ..ViewEvent::default()
        };
        let context = Context { session_id: format!("session-{number}"), ..Context::default() };
        ViewEventBatch { context: Some(context), sent_at_ms: now_ms, events: vec![event], ..Default::default() }
    };
    server.world.append(&[attempt(1)]).await;
    settle(&server.world);
    let stream = server.get("/api/live/stream?minutes=10").send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut messages = Messages { stream, buffer: String::new() };
    let first = messages.next().await.unwrap();
    assert_eq!((&first["reset"], &first["minutes"][0]["figures"]["attempts"]), (&true.into(), &1.into()));
    assert_eq!(first["recent"]["figures"]["attempts"], 1);
    let second = messages.next().await.unwrap();
    assert_eq!((&second["reset"], second["minutes"].as_array().unwrap().len()), (&false.into(), 0));

    server.world.append(&[attempt(2)]).await;
    let changed = loop {
        let message = messages.next().await.unwrap();
        if message["minutes"] != Value::Array(Vec::new()) {
            break message;
        }
    };
    assert_eq!((&changed["reset"], &changed["minutes"][0]["figures"]["attempts"]), (&false.into(), &2.into()));
    server.stop().await;
    while messages.next().await.is_some() {}
}

/// Whatever a browser sends comes back from the lake as it was: no text ends its own quotes.
#[tokio::test(flavor = "multi_thread")]
async fn quoted_texts_survive_the_parser() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path(), Arc::new(SystemClock::default()), 1_000).await;
    let lake = Lake(world.lake.clone());
    let handle = tokio::runtime::Handle::current();
    let check = |text: &str| {
        let query = format!("SELECT {} AS x, 'end' AS y", quote::text(text));
        let rows = tokio::task::block_in_place(|| handle.block_on(crate::LakeQuery::sql(&lake, &query)));
        let objects = crate::sessions_sql::objects(&rows.expect(&query)).unwrap();
        assert_eq!((objects[0]["x"].as_str(), objects[0]["y"].as_str()), (Some(text), Some("end")), "{query}");
    };
    for text in
        ["", "'", "''", "\\'", "\\", "a\\", "--", "/*", "\u{0}", "\n", "$1", "{}", "E'x'", "ä'; DROP TABLE x; --"]
    {
        check(text);
    }
    let mut runner = TestRunner::new(Config { cases: 60, ..Config::default() });
    let texts = proptest::string::string_regex("['\\\\\"a-c$;\u{0}-\u{7f}ä]{0,30}").unwrap();
    runner
        .run(&texts, |text| {
            check(&text);
            Ok(())
        })
        .unwrap();
    tokio::task::spawn_blocking(move || world.stop()).await.unwrap();
}
