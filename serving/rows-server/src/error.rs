//! Why the rows server does not run. What a single request is told is a [`refusal`](crate::refusal).

use marquee_events::ErrorKind;

/// Why the rows server does not run.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// A setting makes no sense.
    #[error("setting `{setting}` {problem}")]
    Setting {
        /// Its name within the rows server's settings.
        setting: &'static str,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// The committed description of the contract cannot be read.
    #[error("the description of the rows contract is damaged")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// The gRPC server failed.
    #[error("serving gRPC failed")]
    Serve(#[source] tonic::transport::Error),
}

impl RowsError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            RowsError::Setting { .. } => ErrorKind::Invalid,
            RowsError::Reflection(_) => ErrorKind::Internal,
            RowsError::Serve(_) => ErrorKind::Unavailable,
        }
    }
}
