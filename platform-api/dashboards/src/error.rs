//! What can go wrong with the dashboards, and with the parts that the binary hands in.

use marquee_events::ErrorKind;

/// Why the dashboards do not start or do not go on.
#[derive(Debug, thiserror::Error)]
pub enum DashboardsError {
    /// A setting makes no sense.
    #[error("dashboards: setting `{setting}` {problem}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The server failed.
    #[error("the dashboards' server failed")]
    Serve(#[source] std::io::Error),
}

impl DashboardsError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            DashboardsError::Setting { .. } => ErrorKind::Invalid,
            DashboardsError::Serve(_) => ErrorKind::Unavailable,
        }
    }
}

/// Why a part did not answer; the browser is told `problem`, so it holds nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct PartError {
    /// What to do about it; the HTTP status follows from it.
    pub kind: ErrorKind,
    /// As people read it.
    pub problem: String,
}

impl PartError {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, problem: impl Into<String>) -> Self {
        Self { kind, problem: problem.into() }
    }
}
