//! What can go wrong with a model.

use marquee_events::ErrorKind;

/// Why a model could not be built, fitted, kept or read.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No model has this name.
    #[error("there is no model `{name}`; there are: {}", known_names())]
    Unknown {
        /// The name that was asked for.
        name: String,
    },
    /// A parameter is out of its range.
    #[error("{model}: {parameter} is {value}, it must be {range}")]
    Parameter {
        /// The model.
        model: &'static str,
        /// The parameter.
        parameter: &'static str,
        /// What it is.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// The training has nothing that the model could learn from.
    #[error("{model} has nothing to learn from: {needed}")]
    NothingToLearn {
        /// The model.
        model: &'static str,
        /// What it needs.
        needed: &'static str,
    },
    /// More items than the model is made for.
    #[error("{model} takes at most {max} items, there are {found}")]
    TooManyItems {
        /// The model.
        model: &'static str,
        /// The bound.
        max: usize,
        /// In the training.
        found: usize,
    },
    /// The solver or candle failed.
    #[error("{model} failed while {operation}")]
    Numeric {
        /// The model.
        model: &'static str,
        /// What was being done.
        operation: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file could not be written or read.
    #[error("cannot {operation} {path}")]
    File {
        /// Such as "write".
        operation: &'static str,
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What is stored is not what was written.
    #[error("the model in {path} is damaged: {problem}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
}

impl ModelError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ModelError::Unknown { .. }
            | ModelError::Parameter { .. }
            | ModelError::NothingToLearn { .. }
            | ModelError::TooManyItems { .. } => ErrorKind::Invalid,
            ModelError::Numeric { .. } => ErrorKind::Internal,
            ModelError::File { .. } => ErrorKind::Unavailable,
            ModelError::Damaged { .. } => ErrorKind::Damaged,
        }
    }
}

fn known_names() -> String {
    crate::all().map(|model| model.name).join(", ")
}
