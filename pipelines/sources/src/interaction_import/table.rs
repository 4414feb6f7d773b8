//! Reads the CSV file of `marquee import interactions`: `profile_id,title_id,timestamp_ms[,watched_fraction]`, in any
//! order of columns. A column of another name is refused: it would be a misspelt one.

use std::path::Path;

use super::histories::{Histories, Line, id, instant, number};
use crate::SourceError;
use crate::csv_table::{FileHasher, Table, column_names, read_file, read_first_line};

const REQUIRED: [&str; 3] = ["profile_id", "title_id", "timestamp_ms"];
const ALL: [&str; 4] = ["profile_id", "title_id", "timestamp_ms", "watched_fraction"];

/// Whether [`read`] would find a file with the right header.
pub(super) fn check(path: &Path) -> Result<(), SourceError> {
    has_fractions(path, &read_first_line(path)?)?;
    Ok(())
}

pub(super) fn read(path: &Path) -> Result<Histories, SourceError> {
    let bytes = read_file(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut hasher = FileHasher::default();
    // The name is no part of it: a copy of the file is the same import.
    hasher.add("interactions", &bytes);
    let mut histories = Histories::new(hasher.import_id("interactions"));
    if has_fractions(path, &bytes)? {
        let mut table = Table::new(path, &bytes, ALL)?;
        while let Some((number, fields)) = table.next_line() {
            let read = fields.and_then(|[profile, title, at, fraction]| line(profile, title, &at, Some(&fraction)));
            histories.push(&name, number, read);
        }
    } else {
        let mut table = Table::new(path, &bytes, REQUIRED)?;
        while let Some((number, fields)) = table.next_line() {
            histories.push(&name, number, fields.and_then(|[profile, title, at]| line(profile, title, &at, None)));
        }
    }
    histories.sort();
    Ok(histories)
}

/// Whether there is a column of fractions; refuses a header that lacks a column or has a strange one.
fn has_fractions(path: &Path, bytes: &[u8]) -> Result<bool, SourceError> {
    Table::new(path, bytes, REQUIRED)?;
    let columns = column_names(path, bytes)?;
    if let Some(column) = columns.iter().find(|column| !ALL.contains(&column.as_str())) {
        let (path, column) = (path.to_owned(), column.clone());
        return Err(SourceError::UnknownColumn { path, column, known: ALL.join(", ") });
    }
    Ok(columns.iter().any(|column| column == ALL[3]))
}

fn line(profile_id: String, title_id: String, timestamp: &str, fraction: Option<&str>) -> Result<Line, String> {
    Ok(Line {
        profile_id: id("profile_id", profile_id)?,
        title_id: id("title_id", title_id)?,
        at_ms: instant("timestamp_ms", timestamp, 1)?,
        watched_fraction: fraction.map_or(Ok(1.0), |text| number("watched_fraction", text, 0.0..=1.0))?,
        stars: None,
    })
}
