//! What the platform keeps on a single machine: the catalogue in `SQLite` ([`SqliteCatalogue`]) and secrets such as the
//! one that signs profile tokens ([`load_or_create_key`]). Their files hold what must not leak, so they are created for
//! their owner only (mode 0600), and whole or not at all.

mod key;
mod new_file;
mod sqlite;
mod sqlite_error;
mod sqlite_rows;

pub use key::{KEY_BYTES, KeyError, load_or_create_key, load_or_create_secret};
pub use sqlite::SqliteCatalogue;
