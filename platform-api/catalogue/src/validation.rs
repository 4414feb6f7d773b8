//! The rules that titles and profiles keep. Adapters and importers check with these and with nothing else. Before
//! making a rule stricter: what is stored already stays readable, but can no longer be written back.

use std::ops::RangeInclusive;

use marquee_events::MAX_ID_BYTES;

use crate::{CatalogueError, Profile, Regions, Title};

/// The longest name of a title (bytes of UTF-8): the longest in MovieLens has about 170.
pub const MAX_NAME_BYTES: usize = 1024;

/// The longest display name of a profile (bytes of UTF-8): what fits a line on a screen, in any script.
pub const MAX_DISPLAY_NAME_BYTES: usize = 256;

/// The longest genre or tag (bytes of UTF-8).
pub const MAX_WORD_BYTES: usize = 256;

/// The most genres of one title; MovieLens knows 19 in all. Affinities are kept by genre, so this bounds an update.
pub const MAX_GENRES: usize = 32;

/// The most tags of one title; it bounds a title's size in the snapshot that every server holds in memory.
pub const MAX_TAGS: usize = 100;

/// The longest running time (ms): 1000 hours; *Logistics* (2012) runs 857.
pub const MAX_DURATION_MS: i64 = 1000 * 60 * 60 * 1000;

/// Years of release, and of `added_at_ms`, that are believed. The oldest film is of 1874; a time in seconds or
/// microseconds lies outside.
pub const YEARS: RangeInclusive<i32> = 1800..=2200;

impl Title {
    /// Checks every field: ids of 1 to 256 bytes, names of 1 to [`MAX_NAME_BYTES`], both without control characters;
    /// years in [`YEARS`]; at most [`MAX_GENRES`] genres and [`MAX_TAGS`] tags, none twice; countries of two upper-case
    /// letters; a running time of 1 ms to [`MAX_DURATION_MS`].
    ///
    /// # Errors
    /// [`CatalogueError::Invalid`] naming the title and the first field that breaks its rule.
    pub fn validate(&self) -> Result<(), CatalogueError> {
        let invalid = |field, problem| Err(invalid("title", &self.title_id, field, problem));
        if let Err(problem) = check_text(&self.title_id, MAX_ID_BYTES) {
            return invalid("title_id", problem);
        }
        if let Err(problem) = check_text(&self.name, MAX_NAME_BYTES) {
            return invalid("name", problem);
        }
        if let Some(year) = self.year.filter(|year| !YEARS.contains(year)) {
            return invalid("year", format!("{year} is not a year from {} to {}", YEARS.start(), YEARS.end()));
        }
        if let Err(problem) = check_words(&self.genres, MAX_GENRES) {
            return invalid("genres", problem);
        }
        if let Err(problem) = check_words(&self.tags, MAX_TAGS) {
            return invalid("tags", problem);
        }
        if let Regions::Only(countries) = &self.regions
            && let Some(country) = countries.iter().find(|country| !is_country(country))
        {
            return invalid("regions", country_problem(country));
        }
        if let Some(duration_ms) = self.duration_ms.filter(|ms| !(1..=MAX_DURATION_MS).contains(ms)) {
            return invalid("duration_ms", format!("{duration_ms} ms is not from 1 ms to {MAX_DURATION_MS} ms"));
        }
        let (first_ms, end_ms) = (year_start_ms(*YEARS.start()), year_start_ms(YEARS.end() + 1));
        if !(first_ms..end_ms).contains(&self.added_at_ms) {
            let years = format!("the years {} to {}", YEARS.start(), YEARS.end());
            return invalid("added_at_ms", format!("{} ms since the epoch is not in {years}", self.added_at_ms));
        }
        Ok(())
    }
}

impl Profile {
    /// Checks every field: an id of 1 to 256 bytes, a display name of 1 to [`MAX_DISPLAY_NAME_BYTES`], both without
    /// control characters; a country of two upper-case letters, or none.
    ///
    /// # Errors
    /// [`CatalogueError::Invalid`] naming the profile and the first field that breaks its rule.
    pub fn validate(&self) -> Result<(), CatalogueError> {
        let invalid = |field, problem| Err(invalid("profile", &self.profile_id, field, problem));
        if let Err(problem) = check_text(&self.profile_id, MAX_ID_BYTES) {
            return invalid("profile_id", problem);
        }
        if let Err(problem) = check_text(&self.display_name, MAX_DISPLAY_NAME_BYTES) {
            return invalid("display_name", problem);
        }
        if !self.country.is_empty() && !is_country(&self.country) {
            return invalid("country", country_problem(&self.country));
        }
        Ok(())
    }
}

/// The first instant of a year from 1 on (ms since the epoch, UTC), in the proleptic Gregorian calendar.
pub(crate) fn year_start_ms(year: i32) -> i64 {
    /// Days from 0001-01-01 to 1970-01-01.
    const EPOCH_DAYS: i64 = 719_162;
    let past = i64::from(year) - 1;
    let days = past * 365 + past / 4 - past / 100 + past / 400 - EPOCH_DAYS;
    days * 24 * 60 * 60 * 1000
}

fn check_text(text: &str, max_bytes: usize) -> Result<(), String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.len() > max_bytes {
        return Err(format!("it has {} bytes, at most {max_bytes} are taken", text.len()));
    }
    if let Some(control) = text.chars().find(|c| c.is_control()) {
        return Err(format!("it holds the control character {control:?}"));
    }
    Ok(())
}

fn check_words(words: &[String], max: usize) -> Result<(), String> {
    if words.len() > max {
        return Err(format!("there are {}, at most {max} are taken", words.len()));
    }
    for (index, word) in words.iter().enumerate() {
        check_text(word, MAX_WORD_BYTES).map_err(|problem| format!("number {}: {problem}", index + 1))?;
        if words[..index].contains(word) {
            return Err(format!("number {}: `{word}` is there twice", index + 1));
        }
    }
    Ok(())
}

fn is_country(code: &str) -> bool {
    code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn country_problem(code: &str) -> String {
    format!("`{}` is not a country of two upper-case letters (ISO 3166-1 alpha-2)", readable(code))
}

fn invalid(what: &str, id: &str, field: &'static str, problem: String) -> CatalogueError {
    CatalogueError::Invalid { what: format!("{what} `{}`", readable(id)), field, problem }
}

/// As much of a bad value as a message should repeat, on one line.
fn readable(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    text.chars().take(MAX_CHARS).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Maturity;

    /// The start of some years, as `date -u -d YEAR-01-01 +%s` prints it.
    #[test]
    fn years_start_where_the_calendar_says() {
        for (year, start_s) in [
            (1800, -5_364_662_400_i64),
            (1874, -3_029_443_200),
            (1900, -2_208_988_800),
            (1901, -2_177_452_800),
            (1970, 0),
            (1972, 63_072_000),
            (1973, 94_694_400),
            (1995, 788_918_400),
            (2000, 946_684_800),
            (2001, 978_307_200),
            (2201, 7_289_654_400),
        ] {
            assert_eq!(year_start_ms(year), start_s * 1000, "{year}");
        }
    }

    #[test]
    fn a_message_stays_on_one_short_line() {
        let profile = Profile {
            profile_id: "a\nb".repeat(200),
            display_name: String::new(),
            max_maturity: Maturity::Age18,
            country: String::new(),
        };
        let message = profile.validate().unwrap_err().to_string();
        assert!(message.starts_with(r"profile `a\nba\nb"), "{message}");
        assert!(message.ends_with("field `profile_id`: it has 600 bytes, at most 256 are taken"), "{message}");
        assert!(!message.contains('\n') && message.len() < 200, "{message}");
    }
}
