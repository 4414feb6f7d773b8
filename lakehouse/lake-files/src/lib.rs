//! Rows to Parquet files and their Delta statistics. Files carry plain Parquet types and no embedded arrow schema, so that
//! rows built from dictionary or view arrays make the same file and every reader sees plain text.
//!
//! The pages are made here, because what the rows know already (dictionaries, runs, absence) is most of the work of the
//! library's writer; pages, statistics and indexes are those that it would have made. What these encoders do not know
//! goes through it (`library.rs`).

mod bounds;
mod chunk;
mod dictionary;
mod file;
mod flags;
mod hybrid;
mod ints;
pub mod library;
mod split;
mod stats;
#[cfg(test)]
mod tests;
mod texts;
mod validity;

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use marquee_lake::TableSpec;
use parquet::errors::ParquetError;

use crate::file::Sizes;

/// Why rows could not become files.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The rows are not those of the table.
    #[error("{0}")]
    Rows(String),
    /// Arrow could not rearrange the rows.
    #[error("cannot arrange the rows")]
    Arrange(#[from] ArrowError),
    /// The parquet library refused.
    #[error("cannot encode the rows")]
    Encode(#[from] ParquetError),
}

/// A file, not yet anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedFile {
    /// The value of the table's partition column; `None` for a table without partitions.
    pub partition: Option<String>,
    /// Parquet.
    pub bytes: Vec<u8>,
    /// How many rows it has.
    pub rows: u64,
    /// The `stats` of an `add` action: JSON.
    pub stats: String,
}

/// Encodes rows, one file for each partition value; none for no rows.
///
/// # Errors
/// When the rows are not those of the table, or cannot be encoded.
pub fn encode(spec: &TableSpec, rows: &RecordBatch) -> Result<Vec<EncodedFile>, FileError> {
    let parts = split::split(spec, rows)?.into_iter().map(|(partition, rows)| {
        let (bytes, metadata) = file::encode(spec, &rows, Sizes::default())?;
        let stats = stats::from_parquet(spec, &metadata);
        Ok(EncodedFile { partition, bytes, rows: rows.num_rows() as u64, stats })
    });
    parts.collect()
}

/// Names and partition values become folders, URLs and log entries: only what means itself in all three.
///
/// # Errors
/// When it has other characters; `what` is what the message calls it.
pub fn check_path_part(what: &str, part: &str) -> Result<(), FileError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if part.is_empty() || part.starts_with('.') || !part.chars().all(plain) {
        return Err(FileError::Rows(format!("{what} `{part}` needs to consist of letters, digits, `-`, `_` and `.`")));
    }
    Ok(())
}
