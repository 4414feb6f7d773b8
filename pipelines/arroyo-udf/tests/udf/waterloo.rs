//! The 1,350 measured sessions of the Waterloo Streaming QoE Database IV through the C interface, against numbers
//! worked out from the raw files in decimals (as `tests/oracle/waterloo.py` does) and against the fold without Arroyo.

use std::fs;
use std::path::{Path, PathBuf};

use marquee_events::PayloadView as P;
use serde_json::{Value, json};

use crate::call::{Sent, session_row};
use crate::fold;

const SESSIONS: usize = 1350;

/// The wire carries whole bit/s.
const BITRATE_TOLERANCE: f64 = 1e-6;

/// As the importer lays sessions out: 2018-01-01, an hour each.
const BASE_MS: i64 = 1_514_764_800_000;
const STEP_MS: i64 = 3_600_000;

/// A line of a log, as written.
struct Chunk {
    representation: String,
    wait_s: String,
    kbit_per_s: String,
    duration_s: String,
    width: String,
    height: String,
}

fn data() -> Option<PathBuf> {
    let given = std::env::var_os("MARQUEE_DATA").map(|data| PathBuf::from(data).join("waterloo-sqoe4"));
    assert!(given.is_some() || std::env::var_os("CI").is_none(), "CI must set MARQUEE_DATA");
    if given.is_none() {
        println!("left out: MARQUEE_DATA is not set, there is no real data to test with");
    }
    given
}

/// The values of these columns, line by line; the files quote nothing.
fn read<const N: usize>(path: &Path, names: [&str; N]) -> Vec<[String; N]> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let columns = names.map(|name| header.iter().position(|column| *column == name).expect(name));
    let fields = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        columns.map(|column| fields[column].to_owned())
    };
    lines.map(fields).collect()
}

/// File stem and chunks of every session.
fn sessions(data: &Path) -> Vec<(String, Vec<Chunk>)> {
    const COLUMNS: [&str; 6] =
        ["representation_index", "rebuffering_duration", "video_bitrate", "chunk_duration", "width", "height"];
    let chunk = |[representation, wait_s, kbit_per_s, duration_s, width, height]: [String; 6]| Chunk {
        representation,
        wait_s,
        kbit_per_s,
        duration_s,
        width,
        height,
    };
    let read_session = |[file]: [String; 1]| {
        let chunks = read(&data.join("streaming_logs").join(&file), COLUMNS).into_iter().map(chunk).collect();
        (file.trim_end_matches(".csv").to_owned(), chunks)
    };
    read(&data.join("sessions.csv"), ["streaming_log"]).into_iter().map(read_session).collect()
}

/// What a player would have sent.
fn events(stem: &str, chunks: &[Chunk]) -> Vec<Sent> {
    let float = |text: &str| text.parse::<f64>().expect("a number");
    #[expect(clippy::cast_possible_truncation, reason = "of measured seconds")]
    let ms = |seconds: &str| (float(seconds) * 1000.0).round() as i64;
    let mut events: Vec<Sent> = Vec::new();
    let mut now_ms = BASE_MS + STEP_MS * stem.parse::<i64>().expect("a number");
    let mut media_ms = 0;
    let mut push = |time_ms, media_ms, payload| {
        let sequence = events.len() as u64;
        let event_id = format!("waterloo-{stem}-{sequence}");
        events.push(Sent { sequence, event_id, time_ms, media_time_ms: Some(media_ms), payload });
    };
    push(now_ms, media_ms, P::PlayRequested { autoplay: false });
    for (index, chunk) in chunks.iter().enumerate() {
        let is_stall = index > 0 && float(&chunk.wait_s) > 0.0;
        if is_stall {
            push(now_ms, media_ms, P::RebufferStart);
        }
        now_ms += ms(&chunk.wait_s);
        if is_stall {
            push(now_ms, media_ms, P::RebufferEnd);
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "of measured bitrates and sizes")]
        let rendition = P::Rendition {
            representation_id: chunk.representation.clone().into(),
            bitrate_bps: (float(&chunk.kbit_per_s) * 1000.0).round() as u64,
            width: float(&chunk.width) as u32,
            height: float(&chunk.height) as u32,
            codec: "".into(),
            cdn: "".into(),
        };
        push(now_ms, media_ms, rendition);
        if index == 0 {
            push(now_ms, media_ms, P::FirstFrame);
        }
        now_ms += ms(&chunk.duration_s);
        media_ms += ms(&chunk.duration_s);
    }
    push(now_ms, media_ms, P::SessionEnd { reason: "ended".into() });
    events
}

/// A decimal as written, exactly, in units of 10⁻²⁰.
fn decimal(text: &str) -> i128 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    assert!(fraction.len() <= 20, "{text}");
    format!("{whole}{fraction:0<20}").parse().expect("a decimal number")
}

/// Seconds as written to the nearest millisecond, half up.
fn exact_ms(seconds: &str) -> i64 {
    const MS: i128 = 100_000_000_000_000_000;
    i64::try_from((decimal(seconds) + MS / 2) / MS).expect("a duration")
}

/// The columns that the raw file decides.
fn expected(chunks: &[Chunk]) -> Value {
    let stalls: Vec<i64> =
        chunks[1..].iter().filter(|chunk| decimal(&chunk.wait_s) > 0).map(|chunk| exact_ms(&chunk.wait_s)).collect();
    let media_ms: i64 = chunks.iter().map(|chunk| exact_ms(&chunk.duration_s)).sum();
    let switches = chunks.windows(2).filter(|pair| pair[0].representation != pair[1].representation).count();
    json!({
        "startup_ms": exact_ms(&chunks[0].wait_s), "rebuffer_count": stalls.len(), "rebuffer_ms": stalls.iter().sum::<i64>(),
        "media_ms": media_ms, "playing_ms": media_ms, "rendition_switch_count": switches,
        "event_count": 3 + chunks.len() + 2 * stalls.len(), "lost_events": 0, "outcome": "played", "end_reason": "ended",
        "height_px_ms": chunks.iter().map(|chunk| exact_ms(&chunk.height) * exact_ms(&chunk.duration_s) / 1000).sum::<i64>(),
    })
}

fn avg_bitrate_kbps(chunks: &[Chunk]) -> f64 {
    let float = |text: &str| text.parse::<f64>().expect("a number");
    let kbit: f64 = chunks.iter().map(|chunk| float(&chunk.kbit_per_s) * float(&chunk.duration_s)).sum();
    kbit / chunks.iter().map(|chunk| float(&chunk.duration_s)).sum::<f64>()
}

#[test]
fn every_session_equals_the_raw_file_and_the_fold_without_arroyo() {
    let Some(data) = data() else { return };
    let sessions = sessions(&data);
    assert_eq!(sessions.len(), SESSIONS);
    for (number, (stem, chunks)) in sessions.iter().enumerate() {
        let events = events(stem, chunks);
        let row = session_row(&events);
        for (name, value) in expected(chunks).as_object().expect("columns") {
            assert_eq!(&row[name], value, "{name} of session {stem}");
        }
        let bitrate_kbps = (row["avg_bitrate_kbps"].as_f64().expect("a bitrate"), avg_bitrate_kbps(chunks));
        assert!((bitrate_kbps.0 / bitrate_kbps.1 - 1.0).abs() <= BITRATE_TOLERANCE, "{bitrate_kbps:?} of {stem}");
        assert_eq!(fold::without_calendar(row.clone()), fold::row(&events), "session {stem}");

        let mut mixed = events.clone();
        mixed.extend(events.iter().skip(number % 3).step_by(3).cloned());
        let duplicates = mixed.len() - events.len();
        mixed.rotate_left(number % events.len());
        mixed.reverse();
        let mut repeated = row;
        repeated["duplicates"] = json!(duplicates);
        assert_eq!(session_row(&mixed), repeated, "session {stem}, permuted and duplicated");
    }
}
