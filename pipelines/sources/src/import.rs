//! Sends recorded sessions as one import: numbered chunks whose contents depend on the input alone, then a finish.
//! The collector's ledger makes every repetition a no-op, so an import that broke off is simply started again.

use std::path::Path;
use std::time::Duration;

use indicatif::ProgressBar;
use marquee_events::ContentType;
use marquee_events::proto::ViewEventBatches;
use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::collector::{Body, Collector};
use crate::{SourceError, WaterlooData, read_waterloo};

/// Between two looks at how far the jobs are.
const PROGRESS_POLL: Duration = Duration::from_millis(100);

/// How an import is sent.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// Sessions in one request, at least 1. The contents of a chunk follow from it, and the ledger knows a chunk by its
    /// number: an import that broke off must be resumed with the same value.
    pub sessions_per_chunk: usize,
}

impl Default for ImportOptions {
    /// 50 sessions, about 100 kB.
    fn default() -> Self {
        Self { sessions_per_chunk: 50 }
    }
}

/// A line of the input that was refused, and with it its session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedLine {
    /// The file, relative to the folder of the import.
    pub file: String,
    /// The line in it, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

impl RefusedLine {
    pub(crate) fn new(file: &str, line: u64, reason: String) -> Self {
        Self { file: file.to_owned(), line, reason }
    }
}

/// What an import did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// The import's id: the same input has the same one.
    pub import_id: String,
    /// Sessions in the import, whether they were sent now or before.
    pub sessions: u64,
    /// Events in the import.
    pub events: u64,
    /// Sessions that were left out, with the reason.
    pub refused: Vec<RefusedLine>,
    /// Files that the input's list does not name; they were not read.
    pub ignored_files: u64,
    /// Chunks in the import.
    pub chunks: u64,
    /// Chunks that the collector had already.
    pub duplicate_chunks: u64,
    /// Whether the whole import had been finished before.
    pub duplicate: bool,
    /// The topic that the import went to; empty when there was nothing to send.
    pub topic: String,
    /// Per partition of the topic, the offset after the import's last record.
    pub end_offsets: Vec<u64>,
}

/// Imports the Waterloo Streaming QoE Database IV from folder `dir` through the collector at `collector`
/// (`http://host:port`); see [`read_waterloo`] for what becomes of it. Returns when the collector has everything; use
/// [`wait_until_committed`] to wait until it is in the lake.
///
/// `progress` counts sessions.
///
/// # Errors
/// Those of [`read_waterloo`], before anything is sent; [`SourceError::Settings`] for empty chunks; the collector's
/// refusals and its absence.
pub async fn import_waterloo(
    dir: &Path,
    collector: &str,
    options: &ImportOptions,
    progress: &ProgressBar,
) -> Result<ImportReport, SourceError> {
    if options.sessions_per_chunk == 0 {
        let problem = "a chunk holds at least one session".to_owned();
        return Err(SourceError::Settings { setting: "sessions_per_chunk", problem });
    }
    let collector = Collector::new(collector)?;
    let WaterlooData { sessions, refused, ignored_files, import_id } = read_waterloo(dir)?;
    let report = ImportReport {
        import_id,
        sessions: sessions.len() as u64,
        events: sessions.iter().flatten().map(|batch| batch.events.len() as u64).sum(),
        refused,
        ignored_files,
        ..ImportReport::default()
    };
    let chunks = sessions.chunks(options.sessions_per_chunk).map(|chunk| Chunk {
        bytes: ViewEventBatches { batches: chunk.iter().flatten().cloned().collect() }.encode_to_vec(),
        progress: chunk.len() as u64,
    });
    progress.set_length(report.sessions);
    let sent = send(&collector, &format!("v1/imports/{}", report.import_id), chunks, progress).await?;
    let Sent { chunks, duplicate_chunks, duplicate, topic, end_offsets } = sent;
    Ok(ImportReport { chunks, duplicate_chunks, duplicate, topic, end_offsets, ..report })
}

/// A chunk of an import.
pub(crate) struct Chunk {
    /// Its message (protobuf).
    pub(crate) bytes: Vec<u8>,
    /// What it adds to the progress bar.
    pub(crate) progress: u64,
}

/// How an import went; the fields are those of [`ImportReport`].
#[derive(Default)]
pub(crate) struct Sent {
    pub(crate) chunks: u64,
    pub(crate) duplicate_chunks: u64,
    pub(crate) duplicate: bool,
    pub(crate) topic: String,
    pub(crate) end_offsets: Vec<u64>,
}

/// Sends the chunks of the import at `path` (such as `v1/imports/{import}`) one after the other, then finishes it.
pub(crate) async fn send(
    collector: &Collector,
    path: &str,
    chunks: impl Iterator<Item = Chunk>,
    progress: &ProgressBar,
) -> Result<Sent, SourceError> {
    #[derive(Deserialize)]
    struct ChunkAnswer {
        duplicate: bool,
    }
    #[derive(Deserialize)]
    struct FinishAnswer {
        duplicate: bool,
        topic: String,
        end_offsets: Vec<u64>,
    }
    let mut sent = Sent::default();
    for Chunk { bytes, progress: units } in chunks {
        let url = collector.url(&format!("{path}/chunks/{}", sent.chunks))?;
        let body = || Body { content_type: ContentType::Protobuf.mime(), gzip: false, bytes: bytes.clone() };
        let answer: ChunkAnswer = collector.post(&url, body).await?.answer;
        sent.chunks += 1;
        sent.duplicate_chunks += u64::from(answer.duplicate);
        progress.inc(units);
    }
    if sent.chunks == 0 {
        // Nothing could be read: there is no import to finish, only reasons to report.
        return Ok(sent);
    }
    let url = collector.url(&format!("{path}/finish"))?;
    let bytes = serde_json::json!({ "chunks": sent.chunks }).to_string().into_bytes();
    let body = || Body { content_type: ContentType::Json.mime(), gzip: false, bytes: bytes.clone() };
    let answer: FinishAnswer = collector.post(&url, body).await?.answer;
    Ok(Sent { duplicate: answer.duplicate, topic: answer.topic, end_offsets: answer.end_offsets, ..sent })
}

/// Waits until the jobs have committed `topic` up to `end_offsets` (per partition, the offset after the last record),
/// at most for `deadline`. `progress` counts the records that were waited for.
///
/// # Errors
/// [`SourceError::NotCommitted`] when the deadline passes first; the collector's absence.
pub async fn wait_until_committed(
    collector: &str,
    topic: &str,
    end_offsets: &[u64],
    deadline: Duration,
    progress: &ProgressBar,
) -> Result<(), SourceError> {
    #[derive(Deserialize)]
    struct ProgressAnswer {
        committed: Vec<u64>,
    }
    let collector = Collector::new(collector)?;
    let mut url = collector.url("v1/progress")?;
    url.query_pairs_mut().append_pair("topic", topic);

    let started = tokio::time::Instant::now();
    let mut first_behind = None;
    let mut last_behind = end_offsets.iter().sum();
    loop {
        let waited = started.elapsed();
        let not_committed = |behind| SourceError::NotCommitted {
            topic: topic.to_owned(),
            behind,
            waited_s: started.elapsed().as_secs(),
        };
        let Ok(answer) = tokio::time::timeout(deadline.saturating_sub(waited), collector.get(&url)).await else {
            return Err(not_committed(last_behind));
        };
        let committed = match answer {
            Ok(ProgressAnswer { committed }) => committed,
            // No job reads the topic yet; it is behind by everything.
            Err(SourceError::Refused { status: 404, .. }) => vec![0; end_offsets.len()],
            Err(error) => return Err(error),
        };
        if committed.len() != end_offsets.len() {
            let (found, wanted) = (committed.len(), end_offsets.len());
            let problem = format!("topic {topic} has {found} partitions, {wanted} are waited for");
            return Err(SourceError::Answer { url: url.to_string(), problem });
        }
        last_behind = end_offsets.iter().zip(&committed).map(|(end, at)| end.saturating_sub(*at)).sum();
        let total = *first_behind.get_or_insert(last_behind);
        progress.set_length(total);
        progress.set_position(total.saturating_sub(last_behind));
        if last_behind == 0 {
            return Ok(());
        }
        if started.elapsed() >= deadline {
            return Err(not_committed(last_behind));
        }
        tokio::time::sleep(PROGRESS_POLL).await;
    }
}

#[cfg(test)]
mod tests;
