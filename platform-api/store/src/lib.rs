//! What the platform keeps on a single machine: the catalogue in SQLite ([`SqliteCatalogue`]) and the secret that signs
//! profile tokens ([`load_or_create_key`]). Both files hold what must not leak, so both are created for their owner only
//! (mode 0600), and whole or not at all.

mod key;
mod new_file;
mod sqlite;
mod sqlite_error;
mod sqlite_rows;

pub use key::{KEY_BYTES, KeyError, load_or_create_key};
pub use sqlite::SqliteCatalogue;
