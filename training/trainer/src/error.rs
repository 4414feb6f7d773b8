//! Why the trainer or the registry could not do it.

use std::io;
use std::path::PathBuf;

use marquee_events::ErrorKind;
use marquee_index_qdrant::BuildError;
use marquee_retrieval::IndexError;

use crate::gate::Comparison;

/// An error of the trainer, named after the operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum TrainerError {
    /// A file or folder could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file or folder could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file is not what was written.
    #[error("{} is damaged: {problem}; publish another version or restore it from a copy", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A line of an input file is wrong.
    #[error("{}, line {line}: {problem}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// No such entry.
    #[error("there is no model `{version}`; there are: {}", list(known))]
    UnknownVersion {
        /// What was asked for.
        version: String,
        /// What there is.
        known: Vec<String>,
    },
    /// There is no version to go back to.
    #[error("there is no version before {} to go back to", current.as_deref().unwrap_or("the first"))]
    NothingBefore {
        /// What is in service.
        current: Option<String>,
    },
    /// Measured against what is in service, it is not good enough.
    #[error("`{version}` is not good enough to replace `{live}`: {comparison}; --force publishes it all the same")]
    NotGoodEnough {
        /// What was to be published.
        version: String,
        /// What is in service.
        live: String,
        /// The numbers.
        comparison: Comparison,
    },
    /// It was not measured beside what is in service.
    #[error(
        "`{version}` was not measured beside `{live}`, which is in service: train it again, or --force publishes it"
    )]
    NotCompared {
        /// What was to be published.
        version: String,
        /// What is in service.
        live: String,
    },
    /// Another process writes.
    #[error("another process is writing to the registry in {}; try again", folder.display())]
    Busy {
        /// The registry.
        folder: PathBuf,
    },
    /// The training set could not be made.
    #[error("cannot make the training set: {operation}")]
    TrainingSet {
        /// What was being done.
        operation: String,
        /// The cause.
        #[source]
        source: polars::error::PolarsError,
    },
    /// There is too little to learn from.
    #[error("there is too little to learn from: {0}")]
    TooLittle(String),
    /// A model could not be fitted, written or read.
    #[error(transparent)]
    Model(#[from] marquee_models::ModelError),
    /// Models could not be compared.
    #[error(transparent)]
    Evaluation(#[from] marquee_evaluation::EvaluationError),
    /// The index could not be built.
    #[error(transparent)]
    BuildIndex(#[from] BuildError),
    /// The index could not be opened.
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl TrainerError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            TrainerError::Read { .. } | TrainerError::Write { .. } | TrainerError::TrainingSet { .. } => {
                ErrorKind::Unavailable
            }
            TrainerError::Damaged { .. } => ErrorKind::Damaged,
            TrainerError::Input { .. }
            | TrainerError::UnknownVersion { .. }
            | TrainerError::NothingBefore { .. }
            | TrainerError::NotGoodEnough { .. }
            | TrainerError::NotCompared { .. }
            | TrainerError::TooLittle(_) => ErrorKind::Invalid,
            TrainerError::Busy { .. } => ErrorKind::Conflict,
            TrainerError::Model(error) => error.kind(),
            TrainerError::Evaluation(error) => error.kind(),
            TrainerError::BuildIndex(error) => error.kind(),
            TrainerError::Index(error) => error.kind(),
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
