//! The requests of the logs, compact: a log has millions. Sessions are numbers here, in the order of their first line.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use marquee_cmcd::{Arrival, RecordContext};
use marquee_events::proto::view_event::Payload;
use marquee_events::proto::{Context, Heartbeat, PlayerState, ViewEvent, ViewEventBatch};
use marquee_events::{ContextView, MAX_EVENTS_PER_BATCH, PayloadView, PlayerState as State};

use super::line;
use crate::csv_table::HashingReader;
use crate::{RefusedLine, SourceError};

/// More refused lines than this are only counted: a log of another kind would be all of them.
const MAX_REFUSED: usize = 1_000;

/// Longer lines are refused: an address has 8 KiB at most nearly everywhere, and a line a few of them (bytes).
const MAX_LOG_LINE_BYTES: u64 = 64 << 10;

/// What gzip files begin with.
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// A request.
#[derive(Debug, Clone, Copy)]
struct Request {
    session: u32,
    at_ms: i64,
    playhead_ms: Option<i64>,
    /// `None`: a heartbeat.
    state: Option<State>,
    buffer_ms: u32,
    bitrate_bps: u64,
    throughput_bps: u64,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pub(super) import_id: String,
    pub(super) lines: u64,
    pub(super) lines_without_cmcd: u64,
    pub(super) refused_lines: u64,
    pub(super) refused: Vec<RefusedLine>,
    /// By number: what the session's requests say of it.
    contexts: Vec<ContextView<'static>>,
    numbers: HashMap<String, u32>,
    /// By session, then by time.
    requests: Vec<Request>,
}

impl Requests {
    /// Reads every file to its end.
    pub(super) fn read(files: &[PathBuf]) -> Result<Self, SourceError> {
        let mut requests = Self::default();
        let mut hasher = None;
        for path in files {
            let read_error = |source| SourceError::ReadFile { path: path.clone(), source };
            let file = File::open(path).map_err(read_error)?;
            let mut reader = BufReader::new(HashingReader::new(file, hasher.take()));
            requests.read_file(path, &mut reader).map_err(read_error)?;
            // Behind the end of a gzip stream there may be more; it belongs to the file's identity.
            std::io::copy(&mut reader, &mut std::io::sink()).map_err(read_error)?;
            hasher = Some(reader.into_inner().end_of_file());
        }
        requests.import_id = hasher.unwrap_or_default().import_id("cdn-log");
        requests.requests.sort_by_key(|request| (request.session, request.at_ms)); // stable
        Ok(requests)
    }

    fn read_file(&mut self, path: &Path, reader: &mut impl BufRead) -> std::io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if reader.fill_buf()?.starts_with(GZIP_MAGIC) {
            self.read_lines(&name, &mut BufReader::new(MultiGzDecoder::new(reader)))
        } else {
            self.read_lines(&name, reader)
        }
    }

    fn read_lines(&mut self, file: &str, reader: &mut impl BufRead) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        for number in 1.. {
            bytes.clear();
            if reader.by_ref().take(MAX_LOG_LINE_BYTES).read_until(b'\n', &mut bytes)? == 0 {
                break;
            }
            if bytes.len() as u64 == MAX_LOG_LINE_BYTES && bytes.last() != Some(&b'\n') {
                skip_line(reader)?;
                self.lines += 1;
                self.refuse(file, number, format!("has more than {MAX_LOG_LINE_BYTES} bytes"));
                continue;
            }
            self.push(file, number, bytes.trim_ascii_end());
        }
        Ok(())
    }

    fn push(&mut self, file: &str, number: u64, line: &[u8]) {
        if line.is_empty() || line.starts_with(b"#") {
            return; // a header, as in the logs of CloudFront
        }
        self.lines += 1;
        match line::read(line) {
            None => self.lines_without_cmcd += 1,
            Some(Err(reason)) => self.refuse(file, number, reason),
            Some(Ok(line)) => self.take(&line),
        }
    }

    fn take(&mut self, line: &line::Line) {
        let session = self.session(line);
        let event = line.report.event(Arrival { received_at_ms: line.at_ms, index: 0 });
        let (state, buffer_ms, bitrate_bps, throughput_bps) = match event.payload {
            Some(PayloadView::PlayerState { state, bitrate_bps, buffer_ms, .. }) => (state, buffer_ms, bitrate_bps, 0),
            Some(PayloadView::Heartbeat { buffer_ms, throughput_bps, bitrate_bps, .. }) => {
                (None, buffer_ms, bitrate_bps, throughput_bps)
            }
            _ => unreachable!("a report of a request is a state or a heartbeat"),
        };
        let (at_ms, playhead_ms) = (line.at_ms, event.media_time_ms);
        self.requests.push(Request { session, at_ms, playhead_ms, state, buffer_ms, bitrate_bps, throughput_bps });
    }

    /// The session's number; what the line says of it that no earlier line said is kept.
    fn session(&mut self, line: &line::Line) -> u32 {
        let context = line.report.context(&RecordContext::default());
        let Some(number) = self.numbers.get(line.report.session_id()) else {
            let number = self.contexts.len() as u32;
            self.numbers.insert(line.report.session_id().to_owned(), number);
            self.contexts.push(context);
            return number;
        };
        let known = &mut self.contexts[*number as usize];
        for (index, value) in context.fields().into_iter().enumerate() {
            if known.fields()[index].is_empty() {
                value.clone_into(known.field_mut(index));
            }
        }
        *number
    }

    fn refuse(&mut self, file: &str, line: u64, reason: String) {
        self.refused_lines += 1;
        if self.refused.len() < MAX_REFUSED {
            self.refused.push(RefusedLine::new(file, line, reason));
        }
    }

    pub(super) fn session_count(&self) -> u64 {
        self.contexts.len() as u64
    }

    /// Requests, each an event.
    pub(super) fn count(&self) -> u64 {
        self.requests.len() as u64
    }

    /// The batches of each chunk, each chunk with at least so many events but the last.
    pub(super) fn chunks(&self, events_per_chunk: usize) -> impl Iterator<Item = Vec<ViewEventBatch>> {
        let mut batches = self.batches();
        std::iter::from_fn(move || {
            let mut chunk = Vec::new();
            let mut events = 0;
            while events < events_per_chunk {
                let Some(batch) = batches.next() else { break };
                events += batch.events.len();
                chunk.push(batch);
            }
            (!chunk.is_empty()).then_some(chunk)
        })
    }

    /// Sequences count from 0 within a session.
    fn batches(&self) -> impl Iterator<Item = ViewEventBatch> {
        let of_sessions = self.requests.chunk_by(|a, b| a.session == b.session);
        of_sessions.flat_map(|requests| {
            let batches = requests.chunks(MAX_EVENTS_PER_BATCH).enumerate();
            batches.map(|(index, requests)| self.batch(requests, (index * MAX_EVENTS_PER_BATCH) as u64))
        })
    }

    fn batch(&self, requests: &[Request], first_sequence: u64) -> ViewEventBatch {
        let context = requests.first().map(|request| &self.contexts[request.session as usize]);
        let events = (first_sequence..).zip(requests).map(|(sequence, request)| event(sequence, request)).collect();
        ViewEventBatch { context: context.map(proto_context), events, ..ViewEventBatch::default() }
    }
}

fn event(sequence: u64, request: &Request) -> ViewEvent {
    let Request { buffer_ms, bitrate_bps, throughput_bps, .. } = *request;
    let payload = match request.state {
        Some(state) => {
            let (state, code) = (state.name().to_owned(), String::new());
            Payload::PlayerState(PlayerState { state, code, bitrate_bps, buffer_ms })
        }
        None => Payload::Heartbeat(Heartbeat { buffer_ms, throughput_bps, dropped_frames: 0, bitrate_bps }),
    };
    ViewEvent {
        event_id: String::new(),
        sequence,
        event_time_ms: request.at_ms,
        media_time_ms: request.playhead_ms,
        payload: Some(payload),
    }
}

/// Of the fields that a request can tell.
fn proto_context(context: &ContextView<'_>) -> Context {
    Context {
        session_id: context.session_id.to_string(),
        player_instance: context.player_instance.to_string(),
        title_id: context.title_id.to_string(),
        asset_id: context.asset_id.to_string(),
        cdn: context.cdn.to_string(),
        protocol: context.protocol.to_string(),
        stream_type: context.stream_type.to_string(),
        ..Context::default()
    }
}

/// Reads on to the next line feed and forgets what it reads.
fn skip_line(reader: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let bytes = reader.fill_buf()?;
        let (length, is_end) = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (bytes.len(), bytes.is_empty()),
        };
        reader.consume(length);
        if is_end {
            return Ok(());
        }
    }
}
