//! How a command fails: one sentence, its causes behind colons, and an exit code. Errors of all crates are folded into
//! this one at the edge.

use std::error::Error;
use std::fmt;

use marquee_catalogue::CatalogueError;
use marquee_collector::CollectorError;
use marquee_dashboards::DashboardsError;
use marquee_definitions::OnlineError;
use marquee_events::ErrorKind;
use marquee_lake::LakeError;
use marquee_lake_s3::S3Error;
use marquee_rows_server::RowsError;
use marquee_sources::SourceError;
use marquee_store::KeyError;
use marquee_stream::{LogError, StreamError};
use marquee_trainer::TrainerError;

/// What a person is told, and the exit code: 2 usage or settings, 3 bad input, 4 a dependency is unavailable, 5 data is
/// damaged.
#[derive(Debug)]
pub struct Failure {
    /// What failed, where, and what to do.
    pub message: String,
    /// The process's exit code.
    pub exit_code: u8,
}

impl Failure {
    pub(crate) fn settings(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: 2 }
    }

    pub(crate) fn bad_input(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: ErrorKind::Invalid.exit_code() }
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: ErrorKind::Unavailable.exit_code() }
    }

    pub(crate) fn damaged(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: ErrorKind::Damaged.exit_code() }
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: ErrorKind::Internal.exit_code() }
    }

    fn of(error: &dyn Error, kind: ErrorKind) -> Self {
        Self { message: with_causes(error), exit_code: kind.exit_code() }
    }
}

/// The error and its causes; a cause that repeats what is already said is left out.
fn with_causes(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(text.trim_end());
        }
        cause = error.source();
    }
    message.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<S3Error> for Failure {
    fn from(error: S3Error) -> Self {
        match error.kind() {
            // Whatever is wrong with a bucket that answers is a setting.
            ErrorKind::Invalid => Self::settings(with_causes(&error)),
            kind => Self::of(&error, kind),
        }
    }
}

macro_rules! from_errors {
    ($($error:ty),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::of(&error, error.kind())
            }
        })*
    };
}

from_errors!(
    LakeError,
    LogError,
    StreamError,
    SourceError,
    CollectorError,
    CatalogueError,
    KeyError,
    OnlineError,
    RowsError,
    DashboardsError,
    TrainerError
);
