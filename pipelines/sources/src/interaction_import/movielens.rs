//! Reads the ratings of MovieLens (<https://grouplens.org/datasets/movielens/>): `ratings.csv` with a header, times in
//! seconds, or `ratings.dat` of the sets up to 10M, `UserID::MovieID::Rating::Timestamp` without one.

use std::path::Path;

use marquee_events::interactions::RATING_RANGE;

use super::histories::{Histories, Line, instant, number};
use crate::SourceError;
use crate::csv_table::{FileHasher, Table, read_file, read_first_line};

const CSV_FILE: &str = "ratings.csv";
const DAT_FILE: &str = "ratings.dat";
const COLUMNS: [&str; 4] = ["userId", "movieId", "rating", "timestamp"];

/// The name of the file of ratings.
fn ratings_file(dir: &Path) -> &'static str {
    if !dir.join(CSV_FILE).exists() && dir.join(DAT_FILE).exists() { DAT_FILE } else { CSV_FILE }
}

/// Whether [`read`] would find a file with the right header.
pub(super) fn check(dir: &Path) -> Result<(), SourceError> {
    let name = ratings_file(dir);
    let path = dir.join(name);
    let first_line = read_first_line(&path)?;
    if name == CSV_FILE {
        Table::new(&path, &first_line, COLUMNS)?;
    }
    Ok(())
}

pub(super) fn read(dir: &Path) -> Result<Histories, SourceError> {
    let name = ratings_file(dir);
    let path = dir.join(name);
    let bytes = read_file(&path)?;
    let mut hasher = FileHasher::default();
    hasher.add(name, &bytes);
    let mut histories = Histories::new(hasher.import_id("movielens"));
    if name == DAT_FILE {
        for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() {
                histories.push(name, number, dat_fields(line).and_then(|fields| rating(&fields)));
            }
        }
    } else {
        let mut table = Table::new(&path, &bytes, COLUMNS)?;
        while let Some((number, fields)) = table.next_line() {
            histories.push(name, number, fields.and_then(|fields| rating(&fields)));
        }
    }
    histories.sort();
    Ok(histories)
}

fn dat_fields(line: &[u8]) -> Result<[String; 4], String> {
    let line = std::str::from_utf8(line).map_err(|_| "is not UTF-8".to_owned())?;
    let fields: Vec<String> = line.split("::").map(|field| field.trim().to_owned()).collect();
    let found = fields.len();
    fields.try_into().map_err(|_| format!("has {found} fields, `UserID::MovieID::Rating::Timestamp` has 4"))
}

fn rating([user, movie, stars, timestamp]: &[String; 4]) -> Result<Line, String> {
    Ok(Line {
        profile_id: format!("ml-{}", whole("userId", user)?),
        title_id: format!("ml-{}", whole("movieId", movie)?),
        at_ms: instant("timestamp", timestamp, 1000)?,
        watched_fraction: 1.0,
        stars: Some(number("rating", stars, RATING_RANGE)?),
    })
}

fn whole(column: &str, text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{column} `{text}` is not a whole number"))
}
