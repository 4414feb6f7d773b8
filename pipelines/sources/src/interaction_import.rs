//! Imports histories as interactions: each line becomes a finished view, a line with stars a rating after it. Lines may
//! come in any order; a profile's are sorted by time, and ties keep the order of the file.
//!
//! What goes into a chunk follows from the files alone and the import is named after them, so the collector's ledger
//! makes every repetition a no-op, and an import that broke off is simply started again.

mod histories;
mod movielens;
mod table;

use std::path::Path;

use indicatif::ProgressBar;
use marquee_events::interactions::proto::InteractionBatches;
use prost::Message as _;
use serde::Serialize;

use crate::collector::Collector;
use crate::import::{Chunk, Sent, send};
use crate::{RefusedLine, SourceError};

use histories::Histories;

/// Interactions in a chunk, about 200 kB. A chunk's number stands for its contents for ever: changing this makes every
/// import a new one, so the import's name must change with it.
const INTERACTIONS_PER_CHUNK: usize = 5_000;

/// What an import of interactions did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct InteractionImportReport {
    /// The import's id: the same input has the same one.
    pub import_id: String,
    /// Profiles in the import.
    pub profiles: u64,
    /// Titles in the import.
    pub titles: u64,
    /// Interactions in the import, whether they were sent now or before.
    pub interactions: u64,
    /// Lines that were left out.
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

/// Imports the ratings of a MovieLens folder (`ratings.csv`, or `ratings.dat` with `::` in older ones) through the
/// collector at `collector` (`http://host:port`): profile `ml-USER`, title `ml-MOVIE`, a view that was watched to its end
/// and the rating. Returns when the collector has everything; use
/// [`wait_until_committed`](crate::wait_until_committed) to wait until it is in the lake.
///
/// `progress` counts interactions. A line that cannot be read is left out and reported.
///
/// # Errors
/// [`SourceError::ReadFile`] when there is neither file, [`SourceError::MissingColumn`] when the header is not
/// MovieLens's, both before anything is sent; the collector's refusals and its absence.
pub async fn import_movielens(
    dir: &Path,
    collector: &str,
    progress: &ProgressBar,
) -> Result<InteractionImportReport, SourceError> {
    let collector = Collector::new(collector)?;
    import(movielens::read(dir)?, &collector, INTERACTIONS_PER_CHUNK, progress).await
}

/// Whether [`import_movielens`] would find ratings with the right header: a look before anything is started for it.
///
/// # Errors
/// [`SourceError::ReadFile`], [`SourceError::MissingColumn`].
pub fn check_movielens(dir: &Path) -> Result<(), SourceError> {
    movielens::check(dir)
}

/// Imports a CSV file with columns `profile_id`, `title_id`, `timestamp_ms` (since the epoch) and, if it has one,
/// `watched_fraction` (0 to 1; otherwise everything counts as watched to its end). See [`import_movielens`].
///
/// # Errors
/// [`SourceError::ReadFile`], [`SourceError::MissingColumn`] or [`SourceError::UnknownColumn`] before anything is sent;
/// the collector's refusals and its absence.
pub async fn import_interactions(
    file: &Path,
    collector: &str,
    progress: &ProgressBar,
) -> Result<InteractionImportReport, SourceError> {
    let collector = Collector::new(collector)?;
    import(table::read(file)?, &collector, INTERACTIONS_PER_CHUNK, progress).await
}

/// Whether [`import_interactions`] would find a file with the right header: a look before anything is started for it.
///
/// # Errors
/// [`SourceError::ReadFile`], [`SourceError::MissingColumn`], [`SourceError::UnknownColumn`].
pub fn check_interactions(file: &Path) -> Result<(), SourceError> {
    table::check(file)
}

async fn import(
    histories: Histories,
    collector: &Collector,
    interactions_per_chunk: usize,
    progress: &ProgressBar,
) -> Result<InteractionImportReport, SourceError> {
    let interactions = histories.interactions();
    progress.set_length(interactions);
    let chunks = histories.chunks(interactions_per_chunk).map(|batches| Chunk {
        progress: batches.iter().map(|batch| batch.interactions.len() as u64).sum(),
        bytes: InteractionBatches { batches }.encode_to_vec(),
    });
    let path = format!("v1/interaction-imports/{}", histories.import_id);
    let Sent { chunks, duplicate_chunks, duplicate, topic, end_offsets } =
        send(collector, &path, chunks, progress).await?;
    Ok(InteractionImportReport {
        profiles: histories.profile_count(),
        titles: histories.title_count(),
        interactions,
        refused_lines: histories.refused_lines,
        refused: histories.refused,
        import_id: histories.import_id,
        chunks,
        duplicate_chunks,
        duplicate,
        topic,
        end_offsets,
    })
}

#[cfg(test)]
mod tests;
