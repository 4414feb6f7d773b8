//! The published definitions as views: figures worked out by hand, sums over minutes equal to sums over sessions, and
//! every column of every view as an oracle works it out.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use marquee_events::proto::{
    AdEnd, AdStart, Background, Context, Error, FirstFrame, Foreground, Heartbeat, Pause, PlayRequested, RebufferEnd,
    RebufferStart, Rendition, Resume, SeekEnd, SeekStart, SessionEnd, ViewEvent, ViewEventBatch, Viewport,
    view_event::Payload,
};
use marquee_events::{ContentType, SystemClock};
use marquee_jobs::{Cube, PLAYBACK_TOPIC};
use marquee_lake_delta::{DeltaLake, LakeOptions};
use marquee_stream::{NewRecord, RecordHeader, RecordType, Route};
use object_store::memory::InMemory;
use prost::Message as _;

use crate::child::events_in;
use crate::live::{PARTITIONS, env, log, start};
use crate::memory_lake::text_rows;
use crate::oracle;

const START_MS: i64 = 1_790_000_000_000;

/// A session's events at ms after its start.
type Script = Vec<(i64, Payload)>;

fn requested() -> Payload {
    Payload::PlayRequested(PlayRequested::default())
}

fn first_frame() -> Payload {
    Payload::FirstFrame(FirstFrame {})
}

fn end() -> Payload {
    Payload::SessionEnd(SessionEnd { reason: "ended".into() })
}

fn fatal(business: bool) -> Payload {
    Payload::Error(Error { code: "E".into(), fatal: true, business })
}

fn rendition(id: &str, bitrate_bps: u64, height: u32) -> Payload {
    let representation_id = id.to_owned();
    Payload::Rendition(Rendition {
        representation_id,
        bitrate_bps,
        width: height * 16 / 9,
        height,
        ..Default::default()
    })
}

/// Startup 2 s, play 60 s, stall 5 s, seek wait 3 s, pause 10 s: the definitions disagree about it.
fn worked_example() -> Script {
    vec![
        (0, requested()),
        (0, Payload::Viewport(Viewport { width: 1920, height: 1080 })),
        (0, rendition("720", 2_000_000, 720)),
        (2_000, first_frame()),
        (22_000, Payload::RebufferStart(RebufferStart {})),
        (27_000, Payload::RebufferEnd(RebufferEnd {})),
        (47_000, Payload::SeekStart(SeekStart {})),
        (50_000, Payload::SeekEnd(SeekEnd {})),
        (60_000, Payload::Pause(Pause {})),
        (70_000, Payload::Resume(Resume {})),
        (80_000, end()),
    ]
}

/// Every outcome, and what stands apart: ads, the background, titles that start by themselves.
fn scripts() -> Vec<(&'static str, Script)> {
    let autoplay = Payload::PlayRequested(PlayRequested { autoplay: true });
    vec![
        ("worked", worked_example()),
        (
            "autoplay",
            vec![
                (0, autoplay),
                (1_000, Payload::AdStart(AdStart { ad_id: "ad".into() })),
                (2_000, Payload::RebufferStart(RebufferStart {})),
                (5_000, Payload::RebufferEnd(RebufferEnd {})),
                (9_000, Payload::AdEnd(AdEnd {})),
                (9_500, first_frame()),
                (70_000, Payload::Background(Background {})),
                (72_000, Payload::RebufferStart(RebufferStart {})),
                (76_000, Payload::RebufferEnd(RebufferEnd {})),
                (80_000, Payload::Foreground(Foreground {})),
                (90_000, rendition("360", 900_000, 360)),
                (100_000, end()),
            ],
        ),
        ("failed_start", vec![(0, requested()), (4_000, fatal(false))]),
        ("refused_start", vec![(0, requested()), (500, fatal(true))]),
        ("failed", vec![(0, requested()), (1_000, first_frame()), (61_000, fatal(false))]),
        ("refused", vec![(0, requested()), (7_000, first_frame()), (9_000, fatal(true))]),
        ("quick_exit", vec![(0, requested()), (999, end())]),
        ("exit", vec![(0, requested()), (6_000, end())]),
        ("vanished", vec![(0, requested()), (3_000, Payload::Heartbeat(Heartbeat::default()))]),
        ("dropped", vec![(0, requested()), (1_000, first_frame()), (30_000, Payload::Heartbeat(Heartbeat::default()))]),
        ("unknown", vec![(0, first_frame()), (5_000, end())]),
    ]
}

/// The lake after these sessions, and in each partition one that was asked for an hour later and has not started yet; how
/// many events they have.
fn lake(runtime: &tokio::runtime::Runtime, folder: &Path) -> (Arc<DeltaLake>, u64) {
    let log = log(&folder.join("log"));
    let lake_folder = folder.join("lake");
    std::fs::create_dir(&lake_folder).expect("a folder");
    let open = DeltaLake::open(&lake_folder, Arc::new(SystemClock::default()), LakeOptions::default());
    let lake = Arc::new(runtime.block_on(open).expect("a lake"));
    let jobs = start(&env(&log, lake.clone(), runtime, Arc::new(InMemory::new()), "a"), false);
    let later = (0..PARTITIONS).map(|_| ("pending", vec![(3_600_000, requested())]));
    for (number, (id, script)) in scripts().into_iter().chain(later).enumerate() {
        let partition = number as u32 % PARTITIONS;
        let context = Context {
            session_id: id.to_owned(),
            player_instance: if id == "pending" { partition.to_string() } else { String::new() },
            title_id: format!("t{}", number % 2),
            country: "DE".into(),
            device_type: ["tv", "phone"][number % 2].into(),
            ..Default::default()
        };
        let event = |(sequence, (after_ms, payload)): (usize, (i64, Payload))| ViewEvent {
            sequence: sequence as u64,
            event_time_ms: START_MS + after_ms,
            payload: Some(payload),
            ..Default::default()
        };
        let events: Vec<ViewEvent> = script.into_iter().enumerate().map(event).collect();
        let header = RecordHeader {
            record_type: RecordType::ViewEvents(ContentType::Protobuf),
            received_at_ms: START_MS + 3_600_000,
            event_count: events.len() as u32,
        };
        let batch = ViewEventBatch { context: Some(context), events, ..Default::default() };
        let record = NewRecord { route: Route::Partition(partition), header, payload: batch.encode_to_vec().into() };
        runtime.block_on(log.append(PLAYBACK_TOPIC, vec![record])).expect("the log takes it");
    }
    assert!(jobs.drain(log.as_ref(), Duration::from_secs(60)).expect("the log answers"));
    jobs.stop().expect("a graceful stop");
    (lake, events_in(log, PLAYBACK_TOPIC))
}

struct World {
    runtime: tokio::runtime::Runtime,
    lake: Arc<DeltaLake>,
    folder: tempfile::TempDir,
    log_events: u64,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let (lake, log_events) = lake(&runtime, folder.path());
        Self { runtime, lake, folder, log_events }
    }

    /// The only row of a query, by its columns.
    fn row(&self, columns: &[&str], rest: &str) -> Vec<String> {
        let query = format!("SELECT {} {rest}", columns.join(", "));
        let (_, rows) = self.runtime.block_on(self.lake.sql(&query)).unwrap_or_else(|e| panic!("{query}: {e}"));
        let names: Vec<&str> = columns.iter().map(|column| column.rsplit(" AS ").next().unwrap_or(column)).collect();
        let mut rows = text_rows(&rows, &names);
        assert_eq!(rows.len(), 1, "{query}");
        rows.remove(0)
    }

    fn number(&self, column: &str, view: &str, session: &str) -> Option<f64> {
        let row = self.row(&[&format!("{column} AS value")], &format!("FROM {view} WHERE session_id = '{session}'"));
        (!row[0].is_empty()).then(|| row[0].parse().expect("a number"))
    }

    fn check(&self, view: &str, session: &str, column: &str, expected: Option<f64>) {
        let found = self.number(column, view, session);
        let agree = match (found, expected) {
            (Some(found), Some(expected)) => (found - expected).abs() < 1e-9 * expected.abs().max(1.0),
            (found, expected) => found == expected,
        };
        assert!(agree, "{view}.{column} of {session}: {found:?}, not {expected:?}");
    }

    fn columns(&self, view: &str) -> Vec<String> {
        let (schema, _) = self
            .runtime
            .block_on(self.lake.sql(&format!("SELECT * FROM {view} WHERE false")))
            .unwrap_or_else(|e| panic!("{view}: {e}"));
        schema.fields().iter().map(|field| field.name().clone()).collect()
    }
}

#[test]
fn definitions_by_hand_and_minutes_equal_sessions() {
    let world = World::new();
    the_worked_example(&world);
    outcomes(&world);
    scores(&world);
    minutes_equal_sessions(&world);
    let lake = world.folder.path().join("lake");
    let found = oracle::recompute(&lake, PLAYBACK_TOPIC, world.log_events);
    let rows = found["view_rows"].as_object().expect("the rows of each view");
    assert!(rows.values().all(|rows| rows.as_u64() >= Some(10)), "{found:#}");
    a_lost_commit_is_found(&lake, world.log_events);
}

/// The oracle sees it in the views over the table, too: whatever a fault loses, they are not what it makes of bronze.
fn a_lost_commit_is_found(lake: &Path, log_events: u64) {
    // Each has four views.
    for table in ["session_revisions", "qoe_minutes"] {
        let commits = lake.join(table).join("_delta_log");
        let files = std::fs::read_dir(&commits).expect("a folder").map(|entry| entry.expect("an entry").path());
        let newest = files.filter(|file| file.extension().is_some_and(|e| e == "json")).max().expect("a commit");
        let lost = lake.join("lost");
        std::fs::rename(&newest, &lost).expect("a file");
        let (agrees, found) = oracle::compare(lake, PLAYBACK_TOPIC, log_events, &[]);
        assert!(!agrees && found["view_mismatches"].as_u64() >= Some(4), "without {}: {found:#}", newest.display());
        std::fs::rename(&lost, &newest).expect("a file");
    }
}

/// facts: CTA-2066 and Mux 5 of 70, Conviva's CIRR 5 of 68, its rebuffering ratio 8 of 68; Marquee 5 of 65.
fn the_worked_example(world: &World) {
    world.check("qoe_cta_2066", "worked", "stalled_ratio", Some(5.0 / 70.0));
    world.check("qoe_mux", "worked", "rebuffer_ratio", Some(5.0 / 70.0));
    world.check("qoe_conviva", "worked", "cirr", Some(5.0 / 68.0));
    world.check("qoe_conviva", "worked", "rebuffering_ratio", Some(8.0 / 68.0));
    world.check("qoe_marquee", "worked", "rebuffering_ratio", Some(5.0 / 65.0));
    let percent = |ratio: f64| format!("{:.1} %", ratio * 100.0);
    assert_eq!([5.0 / 70.0, 5.0 / 68.0, 8.0 / 68.0].map(percent), ["7.1 %", "7.4 %", "11.8 %"]);
    world.check("qoe_cta_2066", "worked", "avg_bitrate_kbps", Some(2000.0));
    world.check("qoe_cta_2066", "worked", "initial_startup_ms", Some(2000.0));
    world.check("qoe_mux", "worked", "avg_upscale", Some(0.5));
    // The background counts for those who watch time, not for those who watch the screen: 60.5 s + 10 s in sight, 10 s not.
    world.check("qoe_cta_2066", "autoplay", "watched_ms", Some(1_500.0 + 90_500.0));
    world.check("qoe_cta_2066", "autoplay", "stall_ms", Some(4_000.0));
    world.check("qoe_marquee", "autoplay", "playing_or_rebuffering_ms", Some(80_500.0));
    world.check("qoe_marquee", "autoplay", "rebuffering_ratio", Some(0.0));
    world.check("qoe_marquee", "autoplay", "ad_rebuffering_ratio", Some(3.0 / 8.0));
    world.check("qoe_mux", "autoplay", "video_startup_ms", Some(1_000.0));
    world.check("qoe_mux", "autoplay", "content_startup_ms", Some(1_500.0));
    world.check("qoe_conviva", "exit", "rebuffering_ratio", None);
}

/// Eleven sessions: nine attempts with an outcome but the unknown one, of them … ; three are pending.
fn outcomes(world: &World) {
    let check = |view: &str, expected: &[(&str, &str)]| {
        let columns: Vec<String> = expected.iter().map(|(column, _)| format!("sum({column}) AS {column}")).collect();
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let found = world.row(&columns, &format!("FROM {view}"));
        assert_eq!(found, expected.iter().map(|(_, value)| *value).collect::<Vec<_>>(), "{view} {expected:?}");
    };
    // One of the ten attempts continues a session.
    check("qoe_cta_2066", &[("sessions", "9"), ("failed_sessions", "4"), ("initial_startups", "5")]);
    check(
        "qoe_mux",
        &[
            ("views", "10"),
            ("started_views", "5"),
            ("exits_before_start", "3"),
            ("start_failures", "1"),
            ("playback_failures", "2"),
            ("business_exceptions", "2"),
            ("dropped_views", "2"),
        ],
    );
    check(
        "qoe_conviva",
        &[
            ("attempts", "10"),
            ("plays", "5"),
            ("ended_plays", "5"),
            ("vsf_technical", "1"),
            ("vsf_business", "1"),
            ("ebvs", "3"),
            ("vpf_technical", "1"),
            ("vpf_business", "1"),
            // Neither the two business errors nor the exit after a second.
            ("spi_streams", "7"),
            // "worked" rebuffered for more than 1 %, "autoplay" has less than 1 Mbit/s: "dropped" alone is good.
            ("spi_good_streams", "1"),
        ],
    );
    check(
        "qoe_marquee",
        &[
            ("attempts", "10"),
            ("starts", "5"),
            ("start_failures", "1"),
            ("start_failures_business", "1"),
            ("exits_before_start", "3"),
            ("quick_exits", "1"),
            ("playback_failures", "1"),
            ("playback_failures_business", "1"),
        ],
    );
    assert_eq!(world.row(&["count(*) AS n"], "FROM sessions WHERE outcome = 'pending'"), ["3"]);
}

/// Mux's published formulas.
fn scores(world: &World) {
    let check = |session: &str, column: &str, expected: Option<f64>| world.check("qoe_mux", session, column, expected);
    check("worked", "startup_score", Some(80.0)); // 800 ÷ (8 + 2)
    check("refused", "startup_score", Some(800.0 / 15.0));
    check("exit", "startup_score", None);
    // One stall, 5 of 70.
    check("worked", "smoothness_score", Some(f64::midpoint(100.0 / 1.25_f64.sqrt(), 100.0 * (-50.0 / 70.0_f64).exp())));
    check("failed", "smoothness_score", Some(100.0));
    check("exit", "smoothness_score", None);
    check("worked", "video_quality_score", Some(100.0 * (-0.33 * 0.5_f64).exp()));
    check("failed", "video_quality_score", None);
    let success = [
        ("worked", Some(100.0)),
        ("failed", Some(0.0)),
        ("failed_start", Some(0.0)),
        ("refused", None),
        ("refused_start", None),
        ("quick_exit", None),
        ("exit", Some(50.0)),
        ("vanished", Some(50.0)), // when it was left is not known
        ("unknown", None),
    ];
    for (session, expected) in success {
        check(session, "success_score", expected);
    }
}

fn minutes_equal_sessions(world: &World) {
    for view in ["qoe_cta_2066", "qoe_mux", "qoe_conviva", "qoe_marquee"] {
        let minutes = format!("{view}_minutes");
        let of_minutes: BTreeSet<String> = world.columns(&minutes).into_iter().collect();
        let is_sum = |name: &String| {
            let is_ratio =
                name.ends_with("_ratio") || name.starts_with("avg_") || name == "cirr" || name.contains("weighted");
            of_minutes.contains(name) && !is_ratio && !marquee_jobs::dimension_names().contains(&name.as_str())
        };
        let common: Vec<String> = world.columns(view).into_iter().filter(is_sum).collect();
        assert!(common.len() >= 9, "{view}: {common:?}");
        let sums: Vec<String> = common.iter().map(|name| format!("coalesce(sum({name}), 0) AS {name}")).collect();
        let sums: Vec<&str> = sums.iter().map(String::as_str).collect();
        let by_sessions = world.row(&sums, &format!("FROM {view}"));
        for cube in Cube::ALL {
            let by_minutes = world.row(&sums, &format!("FROM {minutes} WHERE cube_name = '{}'", cube.name()));
            assert_eq!(by_minutes, by_sessions, "{view} {common:?} of cube {}", cube.name());
        }
        // By a dimension, too.
        let by_device =
            |view: &str, filter: &str| world.row(&sums, &format!("FROM {view} WHERE device_type = 'tv' {filter}"));
        assert_eq!(by_device(&minutes, "AND cube_name = 'title'"), by_device(view, ""), "{view} on TVs");
    }
}
