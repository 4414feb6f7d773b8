//! Interactions from a CSV file: Marquee's own columns or MovieLens' `ratings.csv`, told apart by the header. Rows may
//! come in any order; rows of one profile with the same time keep the order of the file.

use std::fs;
use std::path::Path;

use csv::{Reader, StringRecord};

use crate::{TrainerError, Watch};

enum Layout {
    /// `profile_id,title_id,timestamp_ms[,watched_fraction]`
    Marquee { has_fraction: bool },
    /// `userId,movieId,rating,timestamp` with seconds.
    MovieLens,
}

/// Reads a file; profiles and titles of MovieLens get the prefix `ml-`, as its importer gives them.
///
/// # Errors
/// [`TrainerError::Read`] when it cannot be read; [`TrainerError::Input`] naming the first bad line, the header
/// included.
pub fn read_interactions(path: &Path) -> Result<Vec<Watch>, TrainerError> {
    let bytes = fs::read(path).map_err(|source| TrainerError::Read { path: path.to_owned(), source })?;
    parse_interactions(&bytes, path)
}

fn parse_interactions(bytes: &[u8], path: &Path) -> Result<Vec<Watch>, TrainerError> {
    let bad = |line, problem| TrainerError::Input { path: path.to_owned(), line, problem };
    let mut reader = Reader::from_reader(bytes);
    let headers = reader.headers().map_err(|error| bad(1, error.to_string()))?;
    let layout = layout(headers).map_err(|problem| bad(1, problem))?;
    let mut interactions = Vec::new();
    let mut record = StringRecord::new();
    loop {
        match reader.read_record(&mut record) {
            Ok(false) => return Ok(interactions),
            Ok(true) => {}
            Err(error) => {
                let line = error.position().map_or(0, |at| line_of(bytes, at));
                let problem = match error.kind() {
                    csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                        format!("it has {len} fields, the header {expected_len}")
                    }
                    csv::ErrorKind::Utf8 { .. } => "it is not UTF-8".to_owned(),
                    _ => error.to_string(),
                };
                return Err(bad(line, problem));
            }
        }
        let interaction = layout
            .interaction(&record)
            .map_err(|problem| bad(record.position().map_or(0, |at| line_of(bytes, at)), problem))?;
        interactions.push(interaction);
    }
}

/// The line of a record as people count them. The reader's is the one where it stopped before: it has yet to skip the
/// second half of `\r\n`, which MovieLens's lines end with, and empty lines.
fn line_of(bytes: &[u8], at: &csv::Position) -> u64 {
    let rest = bytes.get(at.byte() as usize..).unwrap_or_default();
    let breaks = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    at.line() + breaks.filter(|byte| **byte == b'\n').count() as u64
}

fn layout(headers: &StringRecord) -> Result<Layout, String> {
    let names: Vec<&str> = headers.iter().map(str::trim).collect();
    match names[..] {
        ["profile_id", "title_id", "timestamp_ms"] => Ok(Layout::Marquee { has_fraction: false }),
        ["profile_id", "title_id", "timestamp_ms", "watched_fraction"] => Ok(Layout::Marquee { has_fraction: true }),
        ["userId", "movieId", "rating", "timestamp"] => Ok(Layout::MovieLens),
        _ => Err(format!(
            "the header is `{}`; it must be `profile_id,title_id,timestamp_ms[,watched_fraction]` or MovieLens' \
             `userId,movieId,rating,timestamp`",
            names.join(",")
        )),
    }
}

impl Layout {
    /// One row; the reader has made sure that it is as long as the header.
    fn interaction(&self, record: &StringRecord) -> Result<Watch, String> {
        let id = |place: usize, name: &str| match record[place].trim() {
            "" => Err(format!("`{name}` is empty")),
            id if id.len() > marquee_events::MAX_ID_BYTES => {
                Err(format!("`{name}` is longer than {} bytes", marquee_events::MAX_ID_BYTES))
            }
            id => Ok(id),
        };
        match self {
            Layout::Marquee { has_fraction } => Ok(Watch {
                profile_id: id(0, "profile_id")?.to_owned(),
                title_id: id(1, "title_id")?.to_owned(),
                at_ms: time(&record[2], "timestamp_ms")?,
                watched_fraction: if *has_fraction { fraction(&record[3])? } else { None },
            }),
            Layout::MovieLens => {
                let rating: f64 = number(&record[2], "rating")?;
                if !marquee_events::interactions::RATING_RANGE.contains(&rating) {
                    return Err(format!("`rating` is {rating}, not 0.5 to 5"));
                }
                let seconds = time(&record[3], "timestamp")?;
                Ok(Watch {
                    profile_id: format!("ml-{}", id(0, "userId")?),
                    title_id: format!("ml-{}", id(1, "movieId")?),
                    at_ms: seconds.checked_mul(1000).ok_or("`timestamp` is too large")?,
                    watched_fraction: None,
                })
            }
        }
    }
}

fn number<T: std::str::FromStr>(text: &str, name: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("`{name}` is `{text}`, which is no number"))
}

fn time(text: &str, name: &str) -> Result<i64, String> {
    let time: i64 = number(text, name)?;
    if time < 0 { Err(format!("`{name}` is {time}; times before 1970 are not accepted")) } else { Ok(time) }
}

fn fraction(text: &str) -> Result<Option<f32>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let fraction: f32 = number(text, "watched_fraction")?;
    if (0.0..=1.0).contains(&fraction) {
        Ok(Some(fraction))
    } else {
        Err(format!("`watched_fraction` is {fraction}, not 0 to 1"))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(csv: &str, expect: &Expect) {
        let text = match parse_interactions(csv.as_bytes(), Path::new("in.csv")) {
            Ok(rows) => rows.iter().fold(String::new(), |text, row| text + &format!("{row:?}\n")),
            Err(error) => format!("{error}\n"),
        };
        expect.assert_eq(&text);
    }

    #[test]
    fn both_layouts_are_read_in_the_order_of_the_file() {
        check(
            "profile_id,title_id,timestamp_ms,watched_fraction\np1,b,2000,0.5\np1,a,1000,\n",
            &expect![[r#"
                Watch { profile_id: "p1", title_id: "b", at_ms: 2000, watched_fraction: Some(0.5) }
                Watch { profile_id: "p1", title_id: "a", at_ms: 1000, watched_fraction: None }
            "#]],
        );
        check(
            "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n",
            &expect![[r#"
                Watch { profile_id: "ml-1", title_id: "ml-31", at_ms: 1260759144000, watched_fraction: None }
            "#]],
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        check(
            "a,b\n1,2\n",
            &expect![[r"
            in.csv, line 1: the header is `a,b`; it must be `profile_id,title_id,timestamp_ms[,watched_fraction]` or MovieLens' `userId,movieId,rating,timestamp`
        "]],
        );
        for (row, problem) in [
            (",t,1", "`profile_id` is empty"),
            ("p,t,-1", "`timestamp_ms` is -1; times before 1970 are not accepted"),
            ("p,t,soon", "`timestamp_ms` is `soon`, which is no number"),
            ("p,t", "it has 2 fields, the header 3"),
        ] {
            for end in ["\n", "\r\n"] {
                let csv = ["profile_id,title_id,timestamp_ms", "p,t,1", row, ""].join(end);
                let error = parse_interactions(csv.as_bytes(), Path::new("in.csv")).unwrap_err();
                assert_eq!(error.to_string(), format!("in.csv, line 3: {problem}"));
            }
        }
        let error = parse_interactions(b"profile_id,title_id,timestamp_ms\np,\xff,1\n", Path::new("in.csv"));
        assert_eq!(error.unwrap_err().to_string(), "in.csv, line 2: it is not UTF-8");
        for (row, problem) in [
            ("1,31,7,1260759144", "`rating` is 7, not 0.5 to 5"),
            ("1,31,3,9223372036854775807", "`timestamp` is too large"),
        ] {
            let csv = format!("userId,movieId,rating,timestamp\n{row}\n");
            let error = parse_interactions(csv.as_bytes(), Path::new("in.csv")).unwrap_err();
            assert_eq!(error.to_string(), format!("in.csv, line 2: {problem}"));
        }
        let csv = "profile_id,title_id,timestamp_ms,watched_fraction\np,t,1,1.5\n";
        let error = parse_interactions(csv.as_bytes(), Path::new("in.csv")).unwrap_err();
        assert_eq!(error.to_string(), "in.csv, line 2: `watched_fraction` is 1.5, not 0 to 1");
    }
}
