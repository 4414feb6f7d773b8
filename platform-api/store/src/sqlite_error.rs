//! From sqlx's errors to the port's: what is damage, and what may pass.

use std::path::Path;

use marquee_catalogue::CatalogueError;
use sqlx::Error;
use sqlx::migrate::MigrateError;

/// `SQLite`'s result codes (the lower byte) that say that the file is not what was written:
/// `SQLITE_CORRUPT`, `SQLITE_NOTADB`.
const DAMAGE: [u32; 2] = [11, 26];

/// `SQLITE_IOERR_SHORT_READ`: the file ends too early.
const SHORT_READ: u32 = 522;

/// The port's error for one of sqlx's while `operation` was going on.
pub(crate) fn from_sqlx(path: &Path, operation: &'static str, error: Error) -> CatalogueError {
    let says_damage = match &error {
        Error::Database(database) => {
            let code = database.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or_default();
            DAMAGE.contains(&(code & 0xff)) || code == SHORT_READ
        }
        // What this crate has written has the types, and the one row, that it reads.
        Error::ColumnDecode { .. } | Error::Decode(_) | Error::RowNotFound => true,
        _ => false,
    };
    if says_damage {
        return damaged(path, format!("{error}, found while {operation}"));
    }
    CatalogueError::Storage { operation, source: Box::new(error) }
}

/// The port's error for a schema that cannot be brought up to date.
pub(crate) fn from_migration(path: &Path, error: MigrateError) -> CatalogueError {
    const OPERATION: &str = "bringing its schema up to date";
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => from_sqlx(path, OPERATION, error),
        MigrateError::VersionMissing(version) => {
            damaged(path, format!("its schema {version} is unknown to this program: use the newer one that wrote it"))
        }
        MigrateError::VersionMismatch(_) | MigrateError::Dirty(_) => {
            damaged(path, format!("{error}, found while {OPERATION}"))
        }
        other => CatalogueError::Storage { operation: OPERATION, source: Box::new(other) },
    }
}

pub(crate) fn damaged(path: &Path, problem: String) -> CatalogueError {
    CatalogueError::Damaged { location: path.display().to_string(), problem }
}
