//! The training set: every finished view and rating beside the features as they were known just before it.
//!
//! The one thing to know: an example must not see itself or anything later. Rows of one profile are ordered by
//! (`available_at`, `sequence`), the order of the log; an example gets the newest features row strictly before it in
//! that order. The features row of a signal bears the signal's own place, so a label never meets its own.
//!
//! A profile with an imported history has features in two parts: the newest row before the example of each, put together
//! as of the example's instant, is what serving read from the merged states at that instant (`together`).

mod together;

use std::collections::HashSet;
use std::path::PathBuf;

use polars::prelude::*;

use crate::{TrainerError, Watch};

use together::{FEATURES, PARTS, of_part, put_together};

/// Types of interactions that become examples.
const LABELS: [&str; 2] = ["view_finished", "rating"];

/// A view that ended before this share of the title is no example: it shows that a title was tried and left.
pub const MIN_WATCHED_FRACTION: f64 = 0.1;

/// Columns of `interactions` that an example keeps.
const EXAMPLE: [&str; 11] = [
    "profile_id",
    "title_id",
    "type",
    "event_time",
    "available_at",
    "topic",
    "partition",
    "sequence",
    "is_imported",
    "watched_fraction",
    "rating_value",
];

/// What orders a profile's rows, most significant first. A sequence counts within (topic, partition); a profile has at
/// most one partition in each topic.
const ORDER: [&str; 4] = ["available_at", "topic", "partition", "sequence"];

/// A row's place among the rows of both tables.
const PLACE: &str = "place";

/// The Parquet files of one version of each table. Partition columns are not in the files and not needed.
#[derive(Debug, Clone, Default)]
pub struct LakeFiles {
    /// Of `interactions`.
    pub interactions: Vec<PathBuf>,
    /// Of `profile_features`.
    pub profile_features: Vec<PathBuf>,
}

/// Examples in the order of profile and log.
#[derive(Debug, Clone)]
pub struct TrainingSet {
    frame: DataFrame,
}

impl TrainingSet {
    /// Joins the two tables point in time.
    ///
    /// # Errors
    /// [`TrainerError::TrainingSet`] when a file cannot be read or lacks a column; [`TrainerError::TooLittle`] when
    /// there is no example.
    pub fn build(files: &LakeFiles) -> Result<Self, TrainerError> {
        let nothing = || TrainerError::TooLittle("nobody has finished or rated a title yet".to_owned());
        if files.interactions.is_empty() {
            return Err(nothing());
        }
        let examples = read_examples(&files.interactions).map_err(failed("reading interactions"))?;
        if examples.height() == 0 {
            return Err(nothing());
        }
        let features = if files.profile_features.is_empty() {
            examples.clear().lazy().select(no_features()).collect()
        } else {
            read_features(&files.profile_features)
        };
        let features = features.map_err(failed("reading profile features"))?;
        let frame = join(examples, features).map_err(failed("joining features to examples"))?;
        Ok(Self { frame })
    }

    /// The examples: the columns of `interactions`, then `features_available_at` and `features_sequence` of both parts
    /// (`imported_…`, `live_…`), which tell the rows that the features are from, then the features: `genres`,
    /// `genre_affinities_millionths`, `recent_titles`, `recent_titles_at_ms` and `session_titles`, as `profile_features`
    /// explains them, at the example's `available_at`. NULL where nothing was known yet.
    pub fn frame(&self) -> &DataFrame {
        &self.frame
    }

    /// What each profile watched, profile by profile, in the order in which it did; a title that comes again counts
    /// where it came first, because it can be recommended only once.
    ///
    /// # Errors
    /// [`TrainerError::TrainingSet`] when a column is not what the table says.
    pub fn watches(&self) -> Result<Vec<Watch>, TrainerError> {
        self.read_watches().map_err(failed("reading the examples"))
    }

    fn read_watches(&self) -> PolarsResult<Vec<Watch>> {
        let by = ["profile_id", "event_time", "topic", "partition", "sequence"];
        let sorted = self.frame.sort(by, SortMultipleOptions::default())?;
        let times = sorted.column("event_time")?.cast(&DataType::Datetime(TimeUnit::Milliseconds, None))?;
        let times = times.cast(&DataType::Int64)?;
        let (profiles, titles) = (sorted.column("profile_id")?.str()?, sorted.column("title_id")?.str()?);
        let (times, fractions) = (times.i64()?, sorted.column("watched_fraction")?.f64()?);
        let mut seen = HashSet::new();
        let mut watches = Vec::new();
        for (((profile, title), at_ms), fraction) in
            profiles.iter().zip(titles.iter()).zip(times.iter()).zip(fractions.iter())
        {
            let (Some(profile), Some(title), Some(at_ms)) = (profile, title, at_ms) else { continue };
            if seen.insert((profile, title)) {
                watches.push(Watch {
                    profile_id: profile.to_owned(),
                    title_id: title.to_owned(),
                    at_ms,
                    watched_fraction: fraction.map(|fraction| fraction as f32),
                });
            }
        }
        Ok(watches)
    }
}

fn scan(paths: &[PathBuf]) -> PolarsResult<LazyFrame> {
    let paths: PolarsResult<Vec<PlRefPath>> = paths.iter().map(|path| PlRefPath::try_from_path(path)).collect();
    // A file's name may hold `[`: it is a name, no pattern.
    LazyFrame::scan_parquet_files(paths?.into(), ScanArgsParquet { glob: false, ..ScanArgsParquet::default() })
}

fn read_examples(paths: &[PathBuf]) -> PolarsResult<DataFrame> {
    let is_label = LABELS.map(|label| col("type").eq(lit(label))).into_iter().reduce(Expr::or);
    let is_label = is_label.expect("there are labels");
    let watched = col("watched_fraction").is_null().or(col("watched_fraction").gt_eq(lit(MIN_WATCHED_FRACTION)));
    let kept = is_label.and(col("title_id").is_not_null()).and(watched);
    scan(paths)?.filter(kept).select(EXAMPLE.map(col)).collect()
}

fn read_features(paths: &[PathBuf]) -> PolarsResult<DataFrame> {
    let columns = FEATURES.iter().chain(&ORDER).chain(&["profile_id", "is_imported"]).map(|column| col(*column));
    scan(paths)?.select(columns.collect::<Vec<_>>()).collect()
}

/// The columns of features for a table without files.
fn no_features() -> Vec<Expr> {
    let null = |name: &'static str| {
        let kind = match name {
            "genres" | "recent_titles" | "touched_titles" => DataType::String,
            _ => DataType::List(Box::new(DataType::Int64)),
        };
        lit(NULL).cast(kind).alias(name)
    };
    FEATURES.map(null).into_iter().chain(ORDER.map(col)).chain([col("profile_id"), col("is_imported")]).collect()
}

/// The as-of joins on places: polars joins as of one column, so the order is turned into numbers first.
fn join(examples: DataFrame, features: DataFrame) -> PolarsResult<DataFrame> {
    let (example_places, feature_places) = places(&examples, &features)?;
    let examples = examples.lazy().with_column(lit(example_places)).sort([PLACE], SortMultipleOptions::default());
    let features = features.lazy().with_column(lit(feature_places)).sort([PLACE], SortMultipleOptions::default());
    let features = features.collect()?;
    let mut joined = examples.collect()?;
    for (part, is_imported) in PARTS {
        let of_this_part = features.clone().lazy().filter(col("is_imported").eq(lit(is_imported)));
        let kept = FEATURES.into_iter().map(|column| col(column).alias(of_part(part, column))).chain([
            col("available_at").alias(of_part(part, "features_available_at")),
            col("sequence").alias(of_part(part, "features_sequence")),
            col("profile_id"),
            col(PLACE),
        ]);
        let of_this_part = of_this_part.select(kept.collect::<Vec<_>>()).collect()?;
        let by = ["profile_id"];
        let newest_before = AsofStrategy::Backward;
        // Both are in order of place; polars cannot check that within groups and would warn.
        joined = joined.join_asof_by(&of_this_part, PLACE, PLACE, by, by, newest_before, None, false, false)?;
    }
    put_together(joined.drop(PLACE)?)
}

/// Places of the rows of both tables in one order: by profile and log; a label comes before the features row of the
/// same signal.
fn places(examples: &DataFrame, features: &DataFrame) -> PolarsResult<(Series, Series)> {
    let keys = |frame: &DataFrame, is_features: bool| {
        let keys: Vec<Expr> = ["profile_id"].into_iter().chain(ORDER).map(col).collect();
        let keys = frame.clone().lazy().select(keys).with_column(lit(is_features).alias("is_features"));
        keys.with_row_index("row", None)
    };
    let by: Vec<&str> = ["profile_id"].into_iter().chain(ORDER).chain(["is_features", "row"]).collect();
    let placed = concat([keys(examples, false), keys(features, true)], UnionArgs::default())?
        .sort(by, SortMultipleOptions::default())
        .with_row_index(PLACE, None)
        .sort(["is_features", "row"], SortMultipleOptions::default())
        .select([col(PLACE).cast(DataType::Int64)])
        .collect()?;
    let places = placed.column(PLACE)?.as_materialized_series().clone();
    Ok((places.slice(0, examples.height()), places.slice(examples.height() as i64, features.height())))
}

fn failed(operation: &str) -> impl FnOnce(PolarsError) -> TrainerError {
    let operation = operation.to_owned();
    move |source| TrainerError::TrainingSet { operation, source }
}

#[cfg(test)]
mod tests;
