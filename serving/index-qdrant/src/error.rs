//! Why an index could not be built. Reading one fails with the port's `IndexError`.

use std::io;
use std::path::PathBuf;

use marquee_events::ErrorKind;
use marquee_retrieval::IndexError;

/// Why an index could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A title's point breaks a rule.
    #[error("cannot index title `{title_id}`: {problem}")]
    Point {
        /// The title.
        title_id: String,
        /// What is wrong.
        problem: String,
    },
    /// The folder could not be made or written.
    #[error("cannot write the index folder {}", folder.display())]
    Folder {
        /// Where.
        folder: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The engine failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// What was built does not answer as it must.
    #[error("the index that was built is wrong: {problem}")]
    Validation {
        /// What is wrong.
        problem: String,
    },
}

impl BuildError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            BuildError::Point { .. } => ErrorKind::Invalid,
            BuildError::Folder { .. } => ErrorKind::Unavailable,
            BuildError::Index(error) => error.kind(),
            BuildError::Validation { .. } => ErrorKind::Internal,
        }
    }
}
