//! Titles and profiles as rows: the statements that write them and the way back. Columns are described in
//! `migrations/`.

use std::collections::BTreeSet;

use marquee_catalogue::{Maturity, Profile, Regions, Title};
use serde_json::{from_str, to_string};
use sqlx::sqlite::SqliteRow;
use sqlx::{Error, QueryBuilder, Row as _, Sqlite};

/// Rows in one statement: enough that its overhead is small beside them; with nine columns 4,500 values, of which
/// `SQLite` takes 32,766.
pub(crate) const ROWS_PER_STATEMENT: usize = 500;

/// A statement that adds or replaces titles; rows that stay as they are do not count as affected.
pub(crate) fn upsert_titles(titles: &[Title]) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(
        "INSERT INTO titles \
         (title_id, name, year, genres, tags, maturity, regions, duration_ms, added_at_ms) ",
    );
    query.push_values(titles, |mut row, title| {
        let regions = match &title.regions {
            Regions::Everywhere => None,
            Regions::Only(countries) => Some(list(countries)),
        };
        row.push_bind(&title.title_id)
            .push_bind(&title.name)
            .push_bind(title.year)
            .push_bind(list(&title.genres))
            .push_bind(list(&title.tags))
            .push_bind(i64::from(title.maturity.age()))
            .push_bind(regions)
            .push_bind(title.duration_ms)
            .push_bind(title.added_at_ms);
    });
    query.push(
        " ON CONFLICT (title_id) DO UPDATE SET \
         name = excluded.name, year = excluded.year, genres = excluded.genres, tags = excluded.tags, \
         maturity = excluded.maturity, regions = excluded.regions, duration_ms = excluded.duration_ms, \
         added_at_ms = excluded.added_at_ms \
         WHERE (name, year, genres, tags, maturity, regions, duration_ms, added_at_ms) IS NOT \
         (excluded.name, excluded.year, excluded.genres, excluded.tags, excluded.maturity, excluded.regions, \
         excluded.duration_ms, excluded.added_at_ms)",
    );
    query
}

/// A statement that adds or replaces profiles.
pub(crate) fn upsert_profiles(profiles: &[Profile]) -> QueryBuilder<Sqlite> {
    let mut query =
        QueryBuilder::new("INSERT INTO profiles (profile_id, display_name, max_maturity, country, search_text) ");
    query.push_values(profiles, |mut row, profile| {
        row.push_bind(&profile.profile_id)
            .push_bind(&profile.display_name)
            .push_bind(i64::from(profile.max_maturity.age()))
            .push_bind(&profile.country)
            .push_bind(profile.search_text());
    });
    query.push(
        " ON CONFLICT (profile_id) DO UPDATE SET \
         display_name = excluded.display_name, max_maturity = excluded.max_maturity, country = excluded.country, \
         search_text = excluded.search_text",
    );
    query
}

/// The title in a row of `titles`.
pub(crate) fn title_of(row: &SqliteRow) -> Result<Title, Error> {
    let regions: Option<&str> = row.try_get("regions")?;
    let countries = regions.map(from_str::<BTreeSet<String>>).transpose().map_err(|error| decode("regions", error))?;
    Ok(Title {
        title_id: row.try_get("title_id")?,
        name: row.try_get("name")?,
        year: row.try_get("year")?,
        genres: words(row, "genres")?,
        tags: words(row, "tags")?,
        maturity: maturity(row, "maturity")?,
        regions: countries.map_or(Regions::Everywhere, Regions::Only),
        duration_ms: row.try_get("duration_ms")?,
        added_at_ms: row.try_get("added_at_ms")?,
    })
}

/// The profile in a row of `profiles`.
pub(crate) fn profile_of(row: &SqliteRow) -> Result<Profile, Error> {
    Ok(Profile {
        profile_id: row.try_get("profile_id")?,
        display_name: row.try_get("display_name")?,
        max_maturity: maturity(row, "max_maturity")?,
        country: row.try_get("country")?,
    })
}

fn list<'a>(words: impl IntoIterator<Item = &'a String>) -> String {
    let words: Vec<_> = words.into_iter().collect();
    to_string(&words).expect("a list of strings is JSON")
}

fn words(row: &SqliteRow, column: &'static str) -> Result<Vec<String>, Error> {
    from_str(row.try_get(column)?).map_err(|error| decode(column, error))
}

fn maturity(row: &SqliteRow, column: &'static str) -> Result<Maturity, Error> {
    let age: i64 = row.try_get(column)?;
    let level = u8::try_from(age).ok().and_then(Maturity::from_age);
    level.ok_or_else(|| decode(column, format!("{age} is no age of a maturity level")))
}

fn decode(column: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::ColumnDecode { index: column.to_owned(), source: source.into() }
}
