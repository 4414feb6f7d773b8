//! Why the lake could not do it.

use marquee_events::ErrorKind;

/// An error of the lake, named after the operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// A table's folder or log could not be opened or made.
    #[error("cannot open table `{table}` at {location}")]
    Open {
        /// The table.
        table: String,
        /// Its folder.
        location: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What is stored contradicts itself.
    #[error("table `{table}` is damaged: {problem}; restore its folder from a copy, nothing was changed")]
    Damaged {
        /// The table.
        table: String,
        /// What is wrong.
        problem: String,
    },
    /// Rows could not be written.
    #[error("cannot write rows of table `{table}`")]
    Write {
        /// The table.
        table: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Rows could not be read.
    #[error("cannot read rows of table `{table}`")]
    Read {
        /// The table.
        table: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A commit did not land; it is safe to try again.
    #[error("cannot commit to table `{table}`")]
    Commit {
        /// The table.
        table: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A query is wrong or failed.
    #[error("the query failed: {0}")]
    Query(String),
}

impl LakeError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            LakeError::Open { .. } | LakeError::Write { .. } | LakeError::Read { .. } | LakeError::Commit { .. } => {
                ErrorKind::Unavailable
            }
            LakeError::Damaged { .. } => ErrorKind::Damaged,
            LakeError::Query(_) => ErrorKind::Invalid,
        }
    }
}
