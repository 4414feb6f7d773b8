//! The features of an example out of the rows of its profile's parts: what is imported and what clients send are folded
//! apart, serving merges their states, so training puts their rows together, as of the example's own instant.

use marquee_definitions::{KnownFeatures, Touched};
use polars::prelude::*;

/// A part of a profile: the prefix of its columns in the joined frame, and `is_imported` of its rows. In the order in
/// which the online store merges them: that of the topics' names.
pub(super) const PARTS: [(&str, bool); 2] = [("imported", true), ("live", false)];

/// Columns of `profile_features` that a part's features are made of.
pub(super) const FEATURES: [&str; 7] = [
    "genres",
    "genre_affinities_millionths",
    "recent_titles",
    "recent_titles_at_ms",
    "touched_titles",
    "touched_first_at_ms",
    "touched_last_at_ms",
];

/// Joins the elements of a list in a text column, as the table's documentation says.
const LIST_SEPARATOR: char = '\u{1f}';

/// A column of a part.
pub(super) fn of_part(part: &str, column: &str) -> PlSmallStr {
    format!("{part}_{column}").into()
}

/// Replaces the columns of the parts by those of the profile as it was known at `available_at`; the places of the rows
/// that they are from stay.
pub(super) fn put_together(mut frame: DataFrame) -> PolarsResult<DataFrame> {
    let at_ms = millis(&frame, "available_at")?;
    let mut features = Columns::default();
    {
        let parts = PARTS.map(|(part, _)| Part::of(&frame, part));
        let [imported, live] = parts;
        let parts = [imported?, live?];
        for (row, at_ms) in at_ms.iter().enumerate() {
            let known: Vec<KnownFeatures> = parts.iter().filter_map(|part| part.known(row)).collect();
            let at_ms = at_ms.filter(|_| !known.is_empty());
            features.push(at_ms.map(|at_ms| KnownFeatures::together(&known, at_ms)).as_ref());
        }
    }
    for (part, _) in PARTS {
        for column in FEATURES {
            frame.drop_in_place(&of_part(part, column))?;
        }
    }
    for column in features.finish() {
        frame.with_column(column)?;
    }
    Ok(frame)
}

/// The columns of one part.
struct Part {
    at_ms: Int64Chunked,
    genres: StringChunked,
    affinities: ListChunked,
    recent: StringChunked,
    recent_at_ms: ListChunked,
    touched: StringChunked,
    first_ms: ListChunked,
    last_ms: ListChunked,
}

impl Part {
    fn of(frame: &DataFrame, part: &str) -> PolarsResult<Self> {
        let text = |column: &str| Ok::<_, PolarsError>(frame.column(&of_part(part, column))?.str()?.clone());
        let list = |column: &str| Ok::<_, PolarsError>(frame.column(&of_part(part, column))?.list()?.clone());
        let [genres, affinities, recent, recent_at_ms, touched, first_ms, last_ms] = FEATURES;
        Ok(Self {
            at_ms: millis(frame, &of_part(part, "features_available_at"))?,
            genres: text(genres)?,
            affinities: list(affinities)?,
            recent: text(recent)?,
            recent_at_ms: list(recent_at_ms)?,
            touched: text(touched)?,
            first_ms: list(first_ms)?,
            last_ms: list(last_ms)?,
        })
    }

    /// What the row tells; `None` where the part was not known yet.
    fn known(&self, row: usize) -> Option<KnownFeatures> {
        let at_ms = self.at_ms.get(row)?;
        let affinities = ints(&self.affinities, row).into_iter().map(|millionths| millionths as f64 / 1e6);
        let touches = ints(&self.first_ms, row).into_iter().zip(ints(&self.last_ms, row));
        let touched = texts(&self.touched, row).zip(touches);
        Some(KnownFeatures {
            at_ms,
            genre_affinity: texts(&self.genres, row).zip(affinities).collect(),
            recent_titles: texts(&self.recent, row).zip(ints(&self.recent_at_ms, row)).collect(),
            touched: touched.map(|(title_id, (first_ms, last_ms))| Touched { title_id, first_ms, last_ms }).collect(),
        })
    }
}

/// The columns that come of it.
struct Columns {
    genres: Vec<Option<String>>,
    affinities: ListPrimitiveChunkedBuilder<Int64Type>,
    recent: Vec<Option<String>>,
    recent_at_ms: ListPrimitiveChunkedBuilder<Int64Type>,
    session: Vec<Option<String>>,
}

impl Default for Columns {
    fn default() -> Self {
        let ints = |name: &str| ListPrimitiveChunkedBuilder::<Int64Type>::new(name.into(), 0, 0, DataType::Int64);
        Self {
            genres: Vec::new(),
            affinities: ints("genre_affinities_millionths"),
            recent: Vec::new(),
            recent_at_ms: ints("recent_titles_at_ms"),
            session: Vec::new(),
        }
    }
}

impl Columns {
    fn push(&mut self, known: Option<&KnownFeatures>) {
        let Some(known) = known else {
            self.genres.push(None);
            self.affinities.append_null();
            self.recent.push(None);
            self.recent_at_ms.append_null();
            self.session.push(None);
            return;
        };
        let (affinities, recent) = (&known.genre_affinity, &known.recent_titles);
        self.genres.push(joined(affinities.iter().map(|(genre, _)| genre.as_str())));
        let millionths = affinities.iter().map(|(_, affinity)| (affinity * 1e6).round() as i64);
        self.affinities.append_slice(&millionths.collect::<Vec<_>>());
        self.recent.push(joined(recent.iter().map(|(title_id, _)| title_id.as_str())));
        self.recent_at_ms.append_slice(&recent.iter().map(|(_, at_ms)| *at_ms).collect::<Vec<_>>());
        self.session.push(joined(known.session_titles().into_iter()));
    }

    fn finish(mut self) -> [Column; 5] {
        [
            Column::new("genres".into(), self.genres),
            self.affinities.finish().into_series().into(),
            Column::new("recent_titles".into(), self.recent),
            self.recent_at_ms.finish().into_series().into(),
            Column::new("session_titles".into(), self.session),
        ]
    }
}

/// An instant in ms since the epoch.
fn millis(frame: &DataFrame, column: &str) -> PolarsResult<Int64Chunked> {
    let times = frame.column(column)?.cast(&DataType::Datetime(TimeUnit::Milliseconds, None))?;
    Ok(times.cast(&DataType::Int64)?.i64()?.clone())
}

fn texts(column: &StringChunked, row: usize) -> impl Iterator<Item = String> {
    column.get(row).into_iter().flat_map(|text| text.split(LIST_SEPARATOR)).map(str::to_owned)
}

fn ints(column: &ListChunked, row: usize) -> Vec<i64> {
    let list = column.get_as_series(row);
    list.and_then(|list| list.i64().ok().map(|ints| ints.iter().flatten().collect())).unwrap_or_default()
}

/// NULL when there are none, as in the lake.
fn joined<'a>(elements: impl Iterator<Item = &'a str>) -> Option<String> {
    let elements: Vec<&str> = elements.collect();
    (!elements.is_empty()).then(|| elements.join(LIST_SEPARATOR.encode_utf8(&mut [0; 4])))
}
