//! What can go wrong when models are compared.

use marquee_events::ErrorKind;

use crate::FitError;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// The interactions leave nobody to test on.
    #[error("{protocol} leaves nothing to test among {users} users and {events} events: {needed}")]
    NothingToTest {
        /// The protocol's name.
        protocol: &'static str,
        /// Users in the interactions.
        users: usize,
        /// Events in the interactions.
        events: usize,
        /// What the protocol needs.
        needed: &'static str,
    },
    /// A model could not be fitted.
    #[error("fitting {model} failed")]
    Fit {
        /// Its name.
        model: &'static str,
        /// The cause.
        #[source]
        source: FitError,
    },
    /// A model gave a score that cannot be ranked.
    #[error("{model} gives item {item} a score that is not a number")]
    NotANumber {
        /// Its name.
        model: &'static str,
        /// The item's number.
        item: u32,
    },
}

impl EvaluationError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            EvaluationError::NothingToTest { .. } => ErrorKind::Invalid,
            EvaluationError::Fit { .. } | EvaluationError::NotANumber { .. } => ErrorKind::Internal,
        }
    }
}
