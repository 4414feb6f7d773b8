//! Titles out of MovieLens: `movies.csv` and `tags.csv`, or the older `movies.dat` and `tags.dat` with `::` between
//! fields. Two things that MovieLens does not say are derived here and affect what children are shown: see
//! [`maturity_of`] before changing them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Error as IoError, ErrorKind as IoKind};
use std::path::Path;

use csv::StringRecord;

use crate::validation::year_start_ms;
use crate::{CatalogueError, MAX_WORD_BYTES, Maturity, Regions, Title, YEARS};

/// Tags that are kept of a title: the most frequent. The tail is names and typing errors of single users.
pub const MAX_TAGS_OF_A_MOVIE: usize = 20;

/// `added_at_ms` of a movie without a year: such a movie is never new.
const ADDED_WITHOUT_YEAR_MS: i64 = 0;

/// What MovieLens writes instead of an empty list.
const NO_GENRES: &str = "(no genres listed)";

const MOVIE_COLUMNS: [&str; 3] = ["movieId", "title", "genres"];
const TAG_COLUMNS: [&str; 4] = ["userId", "movieId", "tag", "timestamp"];

/// Reads the movies in `dir`, in the order of the file, with their most frequent tags if there is a file of tags.
///
/// `title_id` is `ml-` and the movie's number. The year comes from the end of the name, `(1995)`, or the first of
/// `(2006–2007)`, and is cut off there; `added_at_ms` is the start of that year, or of 1970 without one. Tags are
/// trimmed, lower-cased and counted over all users, ties in the order of the alphabet; sentences longer than
/// [`MAX_WORD_BYTES`] are no tags. Every movie may be shown [`Everywhere`](Regions::Everywhere); for its maturity see
/// [`maturity_of`]. `.dat` files are taken as UTF-8 and, line by line, as ISO 8859-1 where they are not.
///
/// # Errors
/// [`CatalogueError::Unreadable`] when there are no movies or a file cannot be read; [`CatalogueError::Invalid`] naming
/// file, line and column: a missing column, a number that is none, a movie that is there twice, a tag for a movie that
/// is not there, a title that breaks a rule of [`Title::validate`].
pub fn read_titles(dir: &Path) -> Result<Vec<Title>, CatalogueError> {
    let layout = Layout::of(dir);
    let mut titles = Vec::new();
    let mut places = HashMap::new();
    read_rows(&dir.join(layout.movies), layout.format, &MOVIE_COLUMNS, |row| {
        let movie = row.number(0)?;
        let title = title_of(movie, row.text(1)?, row.text(2)?);
        title.validate().map_err(|error| row.broken_by(error))?;
        if places.insert(movie, titles.len()).is_some() {
            return Err(row.invalid(0, format!("movie {movie} is there twice")));
        }
        titles.push(title);
        Ok(())
    })?;

    let tags_path = dir.join(layout.tags);
    if tags_path.exists() {
        let mut counts: Vec<HashMap<String, u32>> = vec![HashMap::new(); titles.len()];
        read_rows(&tags_path, layout.format, &TAG_COLUMNS, |row| {
            let movie = row.number(1)?;
            let place =
                places.get(&movie).ok_or_else(|| row.invalid(1, format!("there is no movie {movie} in the movies")))?;
            let tag = row.text(2)?.trim().to_lowercase();
            if (1..=MAX_WORD_BYTES).contains(&tag.len()) {
                *counts[*place].entry(tag).or_default() += 1;
            }
            Ok(())
        })?;
        for (title, counts) in titles.iter_mut().zip(counts) {
            title.tags = most_frequent(counts);
            title.validate()?;
        }
    }
    Ok(titles)
}

/// For whom a movie is, as far as its genres tell. MovieLens has no ratings of age, so this errs on the strict side:
///
/// - `Horror`, or no genres at all (nothing is known): [`Maturity::Age18`];
/// - `Children` (alone or with `Animation`) without `Crime`, `War` and `Thriller`: [`Maturity::AllAges`];
/// - everything else, animation for adults included: [`Maturity::Age16`].
///
/// Genres may be spelt as in the older data sets (`Children's`).
pub fn maturity_of(genres: &[String]) -> Maturity {
    let has = |name: &str| genres.iter().any(|genre| genre == name);
    if genres.is_empty() || has("Horror") {
        return Maturity::Age18;
    }
    let for_children = has("Children") || has("Children's");
    if for_children && !["Crime", "War", "Thriller"].into_iter().any(has) {
        return Maturity::AllAges;
    }
    Maturity::Age16
}

/// The two layouts in which MovieLens has been published.
struct Layout {
    movies: &'static str,
    tags: &'static str,
    format: Format,
}

#[derive(Clone, Copy)]
enum Format {
    /// RFC 4180 with a header.
    Csv,
    /// `::` between fields, no quotes, no header.
    DoubleColon,
}

impl Layout {
    fn of(dir: &Path) -> Self {
        if !dir.join("movies.csv").exists() && dir.join("movies.dat").exists() {
            return Self { movies: "movies.dat", tags: "tags.dat", format: Format::DoubleColon };
        }
        Self { movies: "movies.csv", tags: "tags.csv", format: Format::Csv }
    }
}

fn title_of(movie: u32, name_and_year: &str, genres: &str) -> Title {
    let (name, year) = split_year(name_and_year);
    let genres: Vec<_> = match genres.trim() {
        NO_GENRES | "" => Vec::new(),
        listed => listed.split('|').map(|genre| genre.trim().to_owned()).collect(),
    };
    Title {
        title_id: format!("ml-{movie}"),
        name: name.to_owned(),
        year,
        maturity: maturity_of(&genres),
        genres,
        tags: Vec::new(),
        regions: Regions::Everywhere,
        duration_ms: None,
        added_at_ms: year.map_or(ADDED_WITHOUT_YEAR_MS, year_start_ms),
    }
}

/// Name and year of "Toy Story (1995)". What is not a year stays in the name, as does everything when only a year is
/// left.
fn split_year(text: &str) -> (&str, Option<i32>) {
    let text = text.trim();
    let year = || {
        let (name, years) = text.strip_suffix(')')?.rsplit_once('(')?;
        let (first, rest) = years.split_at_checked(4)?;
        let goes_on = rest.is_empty() || rest.starts_with(['-', '–']);
        let rest_is_years = rest.chars().all(|c| c.is_ascii_digit() || ['-', '–', ' '].contains(&c));
        let first = first.bytes().all(|byte| byte.is_ascii_digit()).then(|| first.parse::<i32>().ok())??;
        let name = name.trim_end();
        (goes_on && rest_is_years && YEARS.contains(&first) && !name.is_empty()).then_some((name, Some(first)))
    };
    year().unwrap_or((text, None))
}

fn most_frequent(counts: HashMap<String, u32>) -> Vec<String> {
    let mut tags: Vec<_> = counts.into_iter().collect();
    tags.sort_unstable_by(|(a, count_a), (b, count_b)| count_b.cmp(count_a).then_with(|| a.cmp(b)));
    tags.into_iter().take(MAX_TAGS_OF_A_MOVIE).map(|(tag, _)| tag).collect()
}

/// One line of a file, and how to complain about it.
struct Row<'a> {
    path: &'a Path,
    line: u64,
    columns: &'static [&'static str],
    /// Where each of the columns is in `fields`.
    places: &'a [usize],
    fields: &'a StringRecord,
}

impl Row<'_> {
    fn text(&self, column: usize) -> Result<&str, CatalogueError> {
        self.fields.get(self.places[column]).ok_or_else(|| self.invalid(column, "it is missing".to_owned()))
    }

    fn number(&self, column: usize) -> Result<u32, CatalogueError> {
        let text = self.text(column)?.trim();
        text.parse().map_err(|_| self.invalid(column, format!("`{text:.40}` is not a number from 0 to {}", u32::MAX)))
    }

    fn invalid(&self, column: usize, problem: String) -> CatalogueError {
        invalid(self.path, self.line, self.columns[column], problem)
    }

    /// The line's error for a title made of it that breaks a rule.
    fn broken_by(&self, error: CatalogueError) -> CatalogueError {
        match error {
            CatalogueError::Invalid { what, field, problem } => {
                let column = self.columns.iter().find(|column| **column == field).copied();
                let column = column.unwrap_or(if field == "name" || field == "year" { "title" } else { field });
                invalid(self.path, self.line, column, format!("{problem} ({what})"))
            }
            other => other,
        }
    }
}

fn invalid(path: &Path, line: u64, field: &'static str, problem: String) -> CatalogueError {
    CatalogueError::Invalid { what: format!("{}, line {line}", path.display()), field, problem }
}

fn unreadable(path: &Path, source: IoError) -> CatalogueError {
    CatalogueError::Unreadable { path: path.display().to_string(), source }
}

fn read_rows(
    path: &Path,
    format: Format,
    columns: &'static [&'static str],
    take: impl FnMut(&Row<'_>) -> Result<(), CatalogueError>,
) -> Result<(), CatalogueError> {
    match format {
        Format::Csv => {
            let bytes = std::fs::read(path).map_err(|error| unreadable(path, error))?;
            read_csv(path, &bytes, columns, take)
        }
        Format::DoubleColon => {
            let file = File::open(path).map_err(|error| unreadable(path, error))?;
            read_double_colon(path, file, columns, take)
        }
    }
}

fn read_csv(
    path: &Path,
    bytes: &[u8],
    columns: &'static [&'static str],
    mut take: impl FnMut(&Row<'_>) -> Result<(), CatalogueError>,
) -> Result<(), CatalogueError> {
    // Lines of other lengths than the header's are found below, where the missing column can be named.
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let header = reader.byte_headers().map_err(|error| csv_failed(path, error))?.clone();
    let places = columns
        .iter()
        .map(|column| {
            let place = header.iter().position(|name| name == column.as_bytes());
            place.ok_or_else(|| invalid(path, 1, column, "the header has no such column".to_owned()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let last = columns[columns.len() - 1];
    for record in reader.byte_records() {
        let record = record.map_err(|error| csv_failed(path, error))?;
        let line = record.position().map_or(0, |at| line_of(bytes, at));
        if record.len() > header.len() {
            let problem = format!("the line has {} fields, its header {}", record.len(), header.len());
            return Err(invalid(path, line, last, problem));
        }
        let fields = StringRecord::from_byte_record(record).map_err(|error| {
            let place = error.utf8_error().field();
            let column = places.iter().position(|other| *other == place).map_or(last, |index| columns[index]);
            invalid(path, line, column, "it is not UTF-8".to_owned())
        })?;
        take(&Row { path, line, columns, places: &places, fields: &fields })?;
    }
    Ok(())
}

/// The line of a record as people count them. The reader's is the one where it stopped before: it has yet to skip the
/// second half of `\r\n`, which MovieLens's lines end with, and empty lines.
fn line_of(bytes: &[u8], at: &csv::Position) -> u64 {
    let rest = bytes.get(at.byte() as usize..).unwrap_or_default();
    let breaks = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    at.line() + breaks.filter(|byte| **byte == b'\n').count() as u64
}

fn csv_failed(path: &Path, error: csv::Error) -> CatalogueError {
    let message = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(source) => unreadable(path, source),
        _ => unreadable(path, IoError::new(IoKind::InvalidData, message)),
    }
}

fn read_double_colon(
    path: &Path,
    file: File,
    columns: &'static [&'static str],
    mut take: impl FnMut(&Row<'_>) -> Result<(), CatalogueError>,
) -> Result<(), CatalogueError> {
    let places: Vec<_> = (0..columns.len()).collect();
    for (line, bytes) in (1..).zip(BufReader::new(file).split(b'\n')) {
        let bytes = bytes.map_err(|error| unreadable(path, error))?;
        // Every byte of ISO 8859-1 is the code point of the same number.
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|error| error.as_bytes().iter().map(|byte| char::from(*byte)).collect());
        let text = text.trim_end_matches('\r');
        if text.is_empty() {
            continue;
        }
        let fields: StringRecord = text.split("::").collect();
        if fields.len() > columns.len() {
            let problem = format!("the line has {} fields instead of {}", fields.len(), columns.len());
            return Err(invalid(path, line, columns[columns.len() - 1], problem));
        }
        take(&Row { path, line, columns, places: &places, fields: &fields })?;
    }
    Ok(())
}
