//! Reads the Waterloo Streaming QoE Database IV: measured adaptive-streaming sessions, one log file each, one line per
//! chunk. A log becomes the events that a player would have sent; stalls and rendition changes keep their measured
//! length to the millisecond.
//!
//! The database has no wall clock, so session number `n` begins at [`WATERLOO_BASE_MS`] + `n` ×
//! [`WATERLOO_SESSION_STEP_MS`]: a second import gives the same events.

use std::collections::HashSet;
use std::path::Path;

use marquee_events::MAX_EVENTS_PER_BATCH;
use marquee_events::proto::view_event::Payload;
use marquee_events::proto::{
    Context, FirstFrame, PlayRequested, RebufferEnd, RebufferStart, Rendition, SessionEnd, ViewEvent, ViewEventBatch,
};

use crate::csv_table::{FileHasher, Table, read_file};
use crate::{RefusedLine, SourceError};

/// The instant from which sessions are laid out (ms since the epoch): 2018-01-01T00:00:00Z, about when the database was
/// measured.
pub const WATERLOO_BASE_MS: i64 = 1_514_764_800_000;

/// From one session's beginning to the next one's (ms). No session is as long, so minutes hold one session at a time.
pub const WATERLOO_SESSION_STEP_MS: i64 = 10 * 60 * 1000;

/// No wait and no chunk is longer than this (s); a larger number is a broken line.
const MAX_DURATION_S: f64 = 86_400.0;

const SESSIONS_FILE: &str = "sessions.csv";
const LOGS_FOLDER: &str = "streaming_logs";

/// What [`read_waterloo`] found.
#[derive(Debug, Clone, Default)]
pub struct WaterlooData {
    /// The batches of each session that could be read, sessions in the order of their file names, each session's
    /// batches in the order of their events (one batch but for sessions beyond [`MAX_EVENTS_PER_BATCH`] events).
    pub sessions: Vec<Vec<ViewEventBatch>>,
    /// Sessions that were left out, each with the line that was the reason.
    pub refused: Vec<RefusedLine>,
    /// Files in the folder of logs that `sessions.csv` does not name; they were not read.
    pub ignored_files: u64,
    /// `waterloo-` and 32 hexadecimal digits of the SHA-256 over name and contents of every file that was read, in the
    /// order of the names: the same input is the same import.
    pub import_id: String,
}

impl WaterlooData {
    /// Every batch of every session.
    pub fn into_batches(self) -> Vec<ViewEventBatch> {
        self.sessions.into_iter().flatten().collect()
    }
}

/// Reads the database in folder `dir`: `sessions.csv` and `streaming_logs/NNNN.csv`.
///
/// A line that cannot be read refuses its session and no other.
///
/// # Errors
/// [`SourceError::ReadFile`] when `sessions.csv` or the folder of logs cannot be read, [`SourceError::MissingColumn`]
/// when `sessions.csv` or a log lacks a column.
pub fn read_waterloo(dir: &Path) -> Result<WaterlooData, SourceError> {
    let sessions_path = dir.join(SESSIONS_FILE);
    let sessions_csv = read_file(&sessions_path)?;
    let mut hasher = FileHasher::default();
    hasher.add(SESSIONS_FILE, &sessions_csv);

    let mut data = WaterlooData::default();
    let mut listed = read_listing(&sessions_path, &sessions_csv, &mut data.refused)?;
    listed.sort_by(|a, b| a.file.cmp(&b.file));
    let logs = dir.join(LOGS_FOLDER);
    for session in &listed {
        let path = logs.join(&session.file);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let reason = format!("names {LOGS_FOLDER}/{}, which cannot be read: {error}", session.file);
                data.refused.push(RefusedLine::new(SESSIONS_FILE, session.line, reason));
                continue;
            }
        };
        hasher.add(&session.file, &bytes);
        match read_chunks(&path, &bytes)? {
            Ok(chunks) => data.sessions.push(session_batches(session, &chunks)),
            Err((line, reason)) => {
                data.refused.push(RefusedLine::new(&format!("{LOGS_FOLDER}/{}", session.file), line, reason));
            }
        }
    }
    data.ignored_files = count_ignored(&logs, &listed)?;
    data.import_id = hasher.import_id("waterloo");
    Ok(data)
}

/// A line of `sessions.csv`.
struct Listed {
    line: u64,
    file: String,
    /// `NNNN` of `NNNN.csv`.
    stem: String,
    number: i64,
    abr: String,
    content: String,
    encoding_profile: String,
    device: String,
}

/// A line of a log: one chunk.
#[derive(Debug, Clone)]
struct Chunk {
    representation_index: u32,
    wait_s: f64,
    bitrate_bps: u64,
    duration_ms: i64,
    width: u32,
    height: u32,
}

fn read_listing(path: &Path, bytes: &[u8], refused: &mut Vec<RefusedLine>) -> Result<Vec<Listed>, SourceError> {
    const COLUMNS: [&str; 6] = ["streaming_log", "abr", "content", "encoding_profile", "device", "trace"];
    let mut table = Table::new(path, bytes, COLUMNS)?;
    let mut listed = Vec::new();
    let mut named = HashSet::new();
    while let Some((line, fields)) = table.next_line() {
        let session = fields.and_then(|[file, abr, content, encoding_profile, device, _trace]| {
            let (stem, number) = session_number(&file)?;
            if !named.insert(file.clone()) {
                return Err(format!("names {file} a second time"));
            }
            Ok(Listed { line, file, stem, number, abr, content, encoding_profile, device })
        });
        match session {
            Ok(session) => listed.push(session),
            Err(reason) => refused.push(RefusedLine::new(SESSIONS_FILE, line, reason)),
        }
    }
    Ok(listed)
}

fn session_number(file: &str) -> Result<(String, i64), String> {
    let stem = file.strip_suffix(".csv").unwrap_or_default();
    // Digits alone: no path leads out of the folder of logs, and every session has its own time.
    match stem.parse::<u32>() {
        Ok(number) if stem.bytes().all(|b| b.is_ascii_digit()) => Ok((stem.to_owned(), i64::from(number))),
        _ => Err(format!("streaming_log `{file}` is not a number and .csv")),
    }
}

/// The chunks of a log, or the line and the reason for which it cannot be used.
fn read_chunks(path: &Path, bytes: &[u8]) -> Result<Result<Vec<Chunk>, (u64, String)>, SourceError> {
    const COLUMNS: [&str; 6] =
        ["representation_index", "rebuffering_duration", "video_bitrate", "chunk_duration", "width", "height"];
    if bytes.is_empty() {
        return Ok(Err((1, "is empty".to_owned())));
    }
    let mut table = Table::new(path, bytes, COLUMNS)?;
    let mut chunks = Vec::new();
    while let Some((line, fields)) = table.next_line() {
        match fields.and_then(|fields| chunk(&fields)) {
            Ok(chunk) => chunks.push(chunk),
            Err(reason) => return Ok(Err((line, reason))),
        }
    }
    if chunks.is_empty() {
        return Ok(Err((1, "has no chunks".to_owned())));
    }
    Ok(Ok(chunks))
}

fn chunk(fields: &[String; 6]) -> Result<Chunk, String> {
    let [representation, wait, bitrate, duration, width, height] = fields;
    let representation_index =
        representation.parse().map_err(|_| format!("representation_index `{representation}` is not a whole number"))?;
    let duration_s = number("chunk_duration", duration, MAX_DURATION_S)?;
    if duration_s == 0.0 {
        return Err("chunk_duration is 0".to_owned());
    }
    Ok(Chunk {
        representation_index,
        wait_s: number("rebuffering_duration", wait, MAX_DURATION_S)?,
        bitrate_bps: (number("video_bitrate", bitrate, 1e9)? * 1000.0).round() as u64,
        duration_ms: ms(duration_s),
        width: number("width", width, 1e5)?.round() as u32,
        height: number("height", height, 1e5)?.round() as u32,
    })
}

fn number(column: &str, text: &str, max: f64) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=max).contains(&value) => Ok(value),
        Ok(_) => Err(format!("{column} `{text}` is not between 0 and {max}")),
        Err(_) => Err(format!("{column} `{text}` is not a number")),
    }
}

fn ms(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

fn session_batches(session: &Listed, chunks: &[Chunk]) -> Vec<ViewEventBatch> {
    let session_id = format!("waterloo-{}", session.stem);
    let mut script = Script {
        session_id: &session_id,
        now_ms: WATERLOO_BASE_MS + session.number * WATERLOO_SESSION_STEP_MS,
        media_ms: 0,
        events: Vec::with_capacity(3 + 2 * chunks.len()),
    };
    script.push(Payload::PlayRequested(PlayRequested::default()));
    for (index, chunk) in chunks.iter().enumerate() {
        let rendition = Payload::Rendition(Rendition {
            representation_id: chunk.representation_index.to_string(),
            bitrate_bps: chunk.bitrate_bps,
            width: chunk.width,
            height: chunk.height,
            codec: session.encoding_profile.clone(),
            cdn: String::new(),
        });
        if index == 0 {
            script.now_ms += ms(chunk.wait_s);
            script.push(rendition);
            script.push(Payload::FirstFrame(FirstFrame {}));
        } else {
            // A wait that rounds to 0 ms is still a stall that was measured.
            if chunk.wait_s > 0.0 {
                script.push(Payload::RebufferStart(RebufferStart {}));
                script.now_ms += ms(chunk.wait_s);
                script.push(Payload::RebufferEnd(RebufferEnd {}));
            }
            script.push(rendition);
        }
        script.now_ms += chunk.duration_ms;
        script.media_ms += chunk.duration_ms;
    }
    script.push(Payload::SessionEnd(SessionEnd { reason: "ended".to_owned() }));

    let context = Context {
        session_id: session_id.clone(),
        player_instance: "0".to_owned(),
        title_id: format!("waterloo-{}", session.content),
        device_type: session.device.clone(),
        player: session.abr.clone(),
        ..Context::default()
    };
    script
        .events
        .chunks(MAX_EVENTS_PER_BATCH)
        .map(|events| ViewEventBatch {
            context: Some(context.clone()),
            sent_at_ms: events.last().map_or(0, |event| event.event_time_ms),
            events: events.to_vec(),
            ..Default::default()
        })
        .collect()
}

struct Script<'a> {
    session_id: &'a str,
    now_ms: i64,
    media_ms: i64,
    events: Vec<ViewEvent>,
}

impl Script<'_> {
    fn push(&mut self, payload: Payload) {
        let sequence = self.events.len() as u64;
        self.events.push(ViewEvent {
            event_id: format!("{}-{sequence}", self.session_id),
            sequence,
            event_time_ms: self.now_ms,
            media_time_ms: Some(self.media_ms),
            payload: Some(payload),
        });
    }
}

fn count_ignored(logs: &Path, listed: &[Listed]) -> Result<u64, SourceError> {
    let read_error = |source| SourceError::ReadFile { path: logs.to_owned(), source };
    let known: HashSet<&str> = listed.iter().map(|session| session.file.as_str()).collect();
    let mut ignored = 0;
    for entry in std::fs::read_dir(logs).map_err(read_error)? {
        let name = entry.map_err(read_error)?.file_name();
        ignored += u64::from(!name.to_str().is_some_and(|name| known.contains(name)));
    }
    Ok(ignored)
}

#[cfg(test)]
mod tests;
