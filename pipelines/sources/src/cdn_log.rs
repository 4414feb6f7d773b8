//! Imports what the access logs of a CDN hold of playback: players that speak CMCD add it to the address of each request
//! (`?CMCD=…`), and the address is in the log. Each request becomes an event of its session, at the log's time; a
//! session's requests are sorted by time, and ties keep the order of the file.
//!
//! Requests tell less than a player does; docs/cmcd.md says what such a session holds. As with the other imports the
//! contents of the files decide what is in a chunk and what the import is called, so that a repetition is a no-op.

mod line;
mod requests;

use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use marquee_events::proto::ViewEventBatches;
use prost::Message as _;
use serde::Serialize;

use crate::collector::Collector;
use crate::import::{Chunk, Sent, send};
use crate::{RefusedLine, SourceError};

use requests::Requests;

/// Events in a chunk, about 300 kB; a batch is never divided. A chunk's number stands for its contents for ever:
/// changing this makes every import a new one, so the import's name must change with it.
const EVENTS_PER_CHUNK: usize = 5_000;

/// What an import of access logs did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CdnLogImportReport {
    /// The import's id: the same files in the same order have the same one.
    pub import_id: String,
    /// Lines of the files, comments (`#…`) left aside.
    pub lines: u64,
    /// Lines without CMCD: requests of something else.
    pub lines_without_cmcd: u64,
    /// Sessions in the import, whether they were sent now or before.
    pub sessions: u64,
    /// Events in the import: one for each line that could be used.
    pub events: u64,
    /// Lines whose CMCD or whose time could not be read.
    pub refused_lines: u64,
    /// The first thousand of them, with the reason.
    pub refused: Vec<RefusedLine>,
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

/// Imports access logs, plain or gzip, through the collector at `collector` (`http://host:port`), as one import: a
/// session whose requests lie in several files needs them together. Returns when the collector has everything; use
/// [`wait_until_committed`](crate::wait_until_committed) to wait until it is in the lake.
///
/// A line's CMCD is the value of the first query parameter `CMCD`, percent-encoded once or, as CloudFront logs it,
/// twice. Its time is the first of these that the line holds: `[10/Oct/2000:13:55:36 -0700]`, `2000-10-10` and
/// `20:55:36` with a tab or a blank between them (UTC), `2000-10-10T20:55:36.123Z` or with another offset than `Z`.
///
/// `progress` counts events.
///
/// # Errors
/// [`SourceError::ReadFile`] before anything is sent; the collector's refusals and its absence.
pub async fn import_cdn_log(
    files: &[PathBuf],
    collector: &str,
    progress: &ProgressBar,
) -> Result<CdnLogImportReport, SourceError> {
    let collector = Collector::new(collector)?;
    send_requests(Requests::read(files)?, &collector, EVENTS_PER_CHUNK, progress).await
}

/// Whether [`import_cdn_log`] could open its files: a look before anything is started for it.
///
/// # Errors
/// [`SourceError::ReadFile`].
pub fn check_cdn_log(files: &[PathBuf]) -> Result<(), SourceError> {
    let open = |path: &Path| {
        let is_file = std::fs::File::open(path)?.metadata()?.is_file();
        is_file.then_some(()).ok_or_else(|| std::io::Error::other("it is no file"))
    };
    files.iter().try_for_each(|path| open(path).map_err(|source| SourceError::ReadFile { path: path.clone(), source }))
}

async fn send_requests(
    requests: Requests,
    collector: &Collector,
    events_per_chunk: usize,
    progress: &ProgressBar,
) -> Result<CdnLogImportReport, SourceError> {
    progress.set_length(requests.count());
    let chunks = requests.chunks(events_per_chunk).map(|batches| Chunk {
        progress: batches.iter().map(|batch| batch.events.len() as u64).sum(),
        bytes: ViewEventBatches { batches }.encode_to_vec(),
    });
    let path = format!("v1/imports/{}", requests.import_id);
    let Sent { chunks, duplicate_chunks, duplicate, topic, end_offsets } =
        send(collector, &path, chunks, progress).await?;
    Ok(CdnLogImportReport {
        lines: requests.lines,
        lines_without_cmcd: requests.lines_without_cmcd,
        sessions: requests.session_count(),
        events: requests.count(),
        refused_lines: requests.refused_lines,
        refused: requests.refused,
        import_id: requests.import_id,
        chunks,
        duplicate_chunks,
        duplicate,
        topic,
        end_offsets,
    })
}

#[cfg(test)]
mod tests;
