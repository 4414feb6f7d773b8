//! The measured Waterloo sessions through collector, log, jobs and lake, against numbers computed from the raw files.

use std::path::Path;

use marquee_events::proto::ViewEventBatch;
use marquee_sources::read_waterloo;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{child, oracle};

const COLUMNS: &str =
    "session_id, startup_ms, rebuffer_count, rebuffer_ms, media_ms, avg_bitrate_kbps, rendition_switch_count";

fn check_sessions(home: &Path, data: &Path, folder: &Path) {
    let sessions =
        child::stdout(home, &["lake", "sql", &format!("SELECT {COLUMNS} FROM sessions"), "--format", "json"]);
    let file = folder.join("sessions.json");
    std::fs::write(&file, sessions).expect("a file");
    let found = oracle::check("waterloo.py", &[data.to_str().expect("text"), file.to_str().expect("text")]);
    assert_eq!((found["sessions"].as_u64(), found["mismatches"].as_u64()), (Some(1350), Some(0)));
}

#[test]
fn an_import_equals_the_files_and_a_second_one_changes_nothing() {
    let Some(data) = oracle::data().map(|data| data.join("waterloo-sqoe4")) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    let import = |arguments: &[&str]| -> serde_json::Value {
        let text = child::stdout(
            &home,
            &[&["import", "waterloo", data.to_str().expect("text"), "--json"], arguments].concat(),
        );
        serde_json::from_str(&text).expect("one JSON document")
    };
    let first = import(&[]);
    assert_eq!((first["sessions"].as_u64(), first["duplicate"].as_bool()), (Some(1350), Some(false)));
    assert_eq!(first["refused"].as_array().map(Vec::len), Some(0));
    check_sessions(&home, &data, folder.path());
    let log_events = child::log_events(&home, "playback-import");
    assert_eq!(Some(log_events), first["events"].as_u64());
    oracle::recompute(&home.join("lake"), "playback-import", log_events);
    let rows = |home: &Path| {
        ["events", "session_revisions", "qoe_minutes", "dead_letters"]
            .map(|table| child::number(home, &format!("SELECT count(*) FROM {table}")))
    };
    let before = rows(&home);
    let second = import(&[]);
    assert_eq!(second["duplicate"].as_bool(), Some(true));
    assert_eq!(rows(&home), before);
}

/// The same events as many small batches, permuted, some twice, some held back until the end.
fn mixed(batches: Vec<ViewEventBatch>, seed: u64) -> Vec<ViewEventBatch> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut pieces = Vec::new();
    for batch in batches {
        let mut events = batch.events.clone();
        events.shuffle(&mut rng);
        while !events.is_empty() {
            let length = rng.random_range(1..=events.len().min(9));
            let piece = ViewEventBatch { events: events.drain(..length).collect(), ..batch.clone() };
            if rng.random_bool(0.2) {
                pieces.push(piece.clone());
            }
            pieces.push(piece);
        }
    }
    pieces.shuffle(&mut rng);
    pieces
}

#[test]
fn permuted_duplicated_and_delayed_events_give_the_same_sessions() {
    let Some(data) = oracle::data().map(|data| data.join("waterloo-sqoe4")) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    let batches = read_waterloo(&data).expect("the data reads").into_batches();
    let pieces = mixed(batches, 5);
    let mut up = child::Up::start(&home, &[]).expect("up starts");
    // Two imports: the second holds a tenth of the events back until every session has been closed once.
    let (early, late) = pieces.split_at(pieces.len() * 9 / 10);
    for (import, pieces) in [("early", early), ("late", late)] {
        let chunks: Vec<_> = pieces.chunks(500).collect();
        for (number, chunk) in chunks.iter().enumerate() {
            up.post_chunk(import, number, chunk);
        }
        up.finish_import(import, chunks.len());
        assert!(up.drained("playback-import"));
    }
    up.stop();
    check_sessions(&home, &data, folder.path());
    let log_events = child::log_events(&home, "playback-import");
    oracle::recompute(&home.join("lake"), "playback-import", log_events);
    assert!(child::number(&home, "SELECT max(revision) FROM sessions") > 1);
    assert!(child::number(&home, "SELECT sum(duplicates) FROM sessions") > 0);
}
