//! Why the collector does not run. What a single request is told is a [`Refusal`](crate::refusal::Refusal).

use marquee_events::ErrorKind;
use marquee_stream::LogError;

/// Why the collector does not run.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// A setting makes no sense.
    #[error("setting `{setting}` {problem}")]
    Setting {
        /// Its name within the collector's settings.
        setting: &'static str,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// A topic that the collector writes to is not there, or the log does not answer.
    #[error("the collector cannot write to topic `{topic}`")]
    Topic {
        /// The topic.
        topic: String,
        /// What the log says.
        #[source]
        source: LogError,
    },
    /// The HTTP server failed.
    #[error("serving HTTP failed")]
    Serve(#[source] std::io::Error),
    /// A thread of the collector panicked.
    #[error("the collector met a defect")]
    Defect(#[source] tokio::task::JoinError),
}

impl CollectorError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            CollectorError::Setting { .. } => ErrorKind::Invalid,
            CollectorError::Topic { source, .. } => source.kind(),
            CollectorError::Serve(_) => ErrorKind::Unavailable,
            CollectorError::Defect(_) => ErrorKind::Internal,
        }
    }
}
