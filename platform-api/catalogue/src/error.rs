//! What can go wrong with the catalogue.

use marquee_events::ErrorKind;

/// Why the catalogue could not do it.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// A title, a profile or a line of a file to import breaks a rule.
    #[error("{what}, field `{field}`: {problem}")]
    Invalid {
        /// Such as "title `t-1`" or "ml/movies.csv, line 3".
        what: String,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A file to import cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// What is stored is not what was written.
    #[error("the catalogue in {location} is damaged: {problem}")]
    Damaged {
        /// Where it is.
        location: String,
        /// What is wrong.
        problem: String,
    },
    /// The store below failed.
    #[error("the catalogue failed while {operation}")]
    Storage {
        /// What was being done.
        operation: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl CatalogueError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            CatalogueError::Invalid { .. } | CatalogueError::Unreadable { .. } => ErrorKind::Invalid,
            CatalogueError::Damaged { .. } => ErrorKind::Damaged,
            CatalogueError::Storage { .. } => ErrorKind::Unavailable,
        }
    }
}
