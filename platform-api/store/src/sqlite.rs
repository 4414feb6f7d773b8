//! The catalogue in one `SQLite` file. One connection writes and a few read beside it (write-ahead log); a commit is on
//! disk before a `put` returns (`synchronous = FULL`).

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use marquee_catalogue::{Catalogue, CatalogueError, CatalogueSnapshot, Profile, Title};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, Error, SqliteConnection};

use crate::new_file;
use crate::sqlite_error::{damaged, from_migration, from_sqlx};
use crate::sqlite_rows::{ROWS_PER_STATEMENT, profile_of, title_of, upsert_profiles, upsert_titles};

/// The schema, built into the program.
static MIGRATIONS: Migrator = sqlx::migrate!();

/// Connections that read, each with a thread and 2 MB of cache. A profile takes a tenth of a millisecond, so that more
/// would only wait for the processor.
const READERS: u32 = 4;

/// How long to wait for another process (a backup, a shell) to let go of the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for one of our own connections: longer than the largest import holds the one that writes.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);

/// Titles and profiles in one `SQLite` file.
#[derive(Debug)]
pub struct SqliteCatalogue {
    path: PathBuf,
    /// One connection, so that writers wait in order instead of trying again.
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteCatalogue {
    /// Opens the catalogue in the file `path`, checks it and brings its schema up to date; makes it (mode 0600, and its
    /// folder) when it is not there. `SQLite` keeps two more files beside it, of the same mode: `-wal` and `-shm`.
    ///
    /// # Errors
    /// [`CatalogueError::Damaged`] when the file is not what was written, [`CatalogueError::Storage`] when it cannot be
    /// opened or made.
    pub async fn open(path: &Path) -> Result<Self, CatalogueError> {
        let io = |operation| move |error| CatalogueError::Storage { operation, source: Box::new(error) };
        if !path.try_exists().map_err(io("looking for its file"))? {
            refuse_leftovers(path)?;
            create(path).await?;
        }
        if !begins_like_sqlite(path).map_err(io("reading its file"))? {
            return Err(damaged(path, "the file is not an SQLite database".to_owned()));
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        // A local file needs no pings, and its connections do not age.
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        let writer =
            pool(1).connect_with(options.clone()).await.map_err(|error| from_sqlx(path, "opening its file", error))?;
        check(path, &writer).await?;
        MIGRATIONS.run(&writer).await.map_err(|error| from_migration(path, error))?;
        let readers = pool(READERS).connect_lazy_with(options.read_only(true));
        Ok(Self { path: path.to_owned(), writer, readers })
    }

    fn failed(&self, operation: &'static str) -> impl Fn(Error) -> CatalogueError + Copy + '_ {
        move |error| from_sqlx(&self.path, operation, error)
    }
}

#[async_trait]
impl Catalogue for SqliteCatalogue {
    async fn put_titles(&self, titles: Vec<Title>) -> Result<(), CatalogueError> {
        titles.iter().try_for_each(Title::validate)?;
        let failed = self.failed("writing titles");
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let mut changed = 0;
        for some in titles.chunks(ROWS_PER_STATEMENT) {
            let mut statement = upsert_titles(some);
            // Not kept prepared: the last one of a call has another length each time.
            let done = statement.build().persistent(false).execute(&mut *transaction).await.map_err(failed)?;
            changed += done.rows_affected();
        }
        if changed > 0 {
            let grow = sqlx::query("UPDATE titles_version SET version = version + 1");
            grow.execute(&mut *transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn put_profiles(&self, profiles: Vec<Profile>) -> Result<(), CatalogueError> {
        profiles.iter().try_for_each(Profile::validate)?;
        let failed = self.failed("writing profiles");
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        for some in profiles.chunks(ROWS_PER_STATEMENT) {
            let mut statement = upsert_profiles(some);
            statement.build().persistent(false).execute(&mut *transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn version(&self) -> Result<u64, CatalogueError> {
        let mut reader = self.readers.acquire().await.map_err(self.failed("connecting"))?;
        read_version(&mut reader).await.map_err(self.failed("reading the version of the titles"))
    }

    async fn snapshot(&self) -> Result<CatalogueSnapshot, CatalogueError> {
        let failed = self.failed("reading all titles");
        // A transaction sees one version, whatever is written meanwhile.
        let mut transaction = self.readers.begin().await.map_err(failed)?;
        let version = read_version(&mut transaction).await.map_err(failed)?;
        let titles = sqlx::query("SELECT * FROM titles")
            .try_map(|row| title_of(&row))
            .fetch_all(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(CatalogueSnapshot::new(version, titles))
    }

    async fn profile(&self, profile_id: &str) -> Result<Option<Profile>, CatalogueError> {
        sqlx::query("SELECT * FROM profiles WHERE profile_id = ?")
            .bind(profile_id)
            .try_map(|row| profile_of(&row))
            .fetch_optional(&self.readers)
            .await
            .map_err(self.failed("reading a profile"))
    }

    async fn profiles(&self, search: &str, after: &str, limit: u32) -> Result<Vec<Profile>, CatalogueError> {
        let query =
            "SELECT * FROM profiles WHERE profile_id > ? AND instr(search_text, ?) > 0 ORDER BY profile_id LIMIT ?";
        sqlx::query(query)
            .bind(after)
            .bind(search.to_lowercase())
            .bind(i64::from(limit))
            .try_map(|row| profile_of(&row))
            .fetch_all(&self.readers)
            .await
            .map_err(self.failed("listing profiles"))
    }
}

/// Makes an empty catalogue at `path`, whole or not at all: a file without its schema is taken for damage.
async fn create(path: &Path) -> Result<(), CatalogueError> {
    const OPERATION: &str = "making its file";
    let io = |error| CatalogueError::Storage { operation: OPERATION, source: Box::new(error) };
    let file = new_file::begin(path).map_err(io)?;
    let options = SqliteConnectOptions::new().filename(file.path());
    let failed = |error| from_sqlx(path, OPERATION, error);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(failed)?;
    MIGRATIONS.run(&mut connection).await.map_err(|error| from_migration(path, error))?;
    connection.close().await.map_err(failed)?;
    new_file::finish(file, path).map_err(io)
}

/// `SQLite` would read a log that is left of another file into a new one, and destroy it.
fn refuse_leftovers(path: &Path) -> Result<(), CatalogueError> {
    for suffix in ["-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        // Unless another process has made the catalogue meanwhile.
        if Path::new(&name).exists() && !path.exists() {
            let problem = format!(
                "the file is missing, but {} is there: restore the file, or remove both to begin anew",
                name.display()
            );
            return Err(damaged(path, problem));
        }
    }
    Ok(())
}

/// `SQLite` itself takes a file of a few bytes for an empty database, and so a catalogue that was cut off.
fn begins_like_sqlite(path: &Path) -> std::io::Result<bool> {
    const MAGIC: &[u8] = b"SQLite format 3\0";
    let mut start = Vec::with_capacity(MAGIC.len());
    File::open(path)?.take(MAGIC.len() as u64).read_to_end(&mut start)?;
    Ok(start == MAGIC)
}

/// Reads every page once: 10,000 titles and 100,000 profiles (13 MB) in 0.15 s.
async fn check(path: &Path, writer: &SqlitePool) -> Result<(), CatalogueError> {
    let found: String = sqlx::query_scalar("PRAGMA quick_check(1)")
        .fetch_one(writer)
        .await
        .map_err(|error| from_sqlx(path, "checking its file", error))?;
    if found == "ok" { Ok(()) } else { Err(damaged(path, found)) }
}

async fn read_version(connection: &mut SqliteConnection) -> Result<u64, Error> {
    let version: i64 = sqlx::query_scalar("SELECT version FROM titles_version").fetch_one(connection).await?;
    u64::try_from(version).map_err(|error| Error::Decode(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers are `SQLite`'s: `synchronous` 2 is FULL.
    #[tokio::test]
    async fn every_connection_is_set_up() {
        let dir = tempfile::tempdir().unwrap();
        let catalogue = SqliteCatalogue::open(&dir.path().join("catalogue.sqlite")).await.unwrap();
        for pool in [&catalogue.writer, &catalogue.readers] {
            let text = sqlx::query_scalar::<_, String>("PRAGMA journal_mode").fetch_one(pool).await.unwrap();
            assert_eq!(text, "wal");
            for (pragma, expected) in
                [("PRAGMA synchronous", 2), ("PRAGMA foreign_keys", 1), ("PRAGMA busy_timeout", 5000)]
            {
                let number = sqlx::query_scalar::<_, i64>(pragma).fetch_one(pool).await.unwrap();
                assert_eq!(number, expected, "{pragma}");
            }
        }
        let written = sqlx::query("DELETE FROM titles").execute(&catalogue.readers).await;
        assert!(written.is_err(), "a reader cannot write");
    }
}
