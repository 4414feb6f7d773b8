//! What can go wrong with a source of events. Retries happen below; what is reported here has been tried often enough.

use std::path::PathBuf;

use marquee_events::ErrorKind;

/// Why a source could not deliver its events.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A file of the input could not be read.
    #[error("cannot read {}", path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file of the input lacks a column. Nothing was sent.
    #[error("{} has no column `{column}`", path.display())]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The column that is needed.
        column: &'static str,
    },
    /// A file of the input has a column that nobody knows: a misspelt one would be left out in silence. Nothing was sent.
    #[error("{} has an unknown column `{column}`, known are {known}", path.display())]
    UnknownColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// The columns that are known, joined by commas.
        known: String,
    },
    /// The settings of a source contradict themselves.
    #[error("setting `{setting}`: {problem}")]
    Settings {
        /// The setting's name.
        setting: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The collector's address is no `http://` address.
    #[error("`{address}` is no collector address such as http://127.0.0.1:7070: {problem}")]
    CollectorAddress {
        /// The address as given.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The HTTP client could not be built.
    #[error("cannot build the HTTP client")]
    BuildClient(#[source] reqwest::Error),
    /// The collector did not answer.
    #[error("no answer from {url} after {attempts} attempts; is the collector running?")]
    Unreachable {
        /// The address that was tried.
        url: String,
        /// How often.
        attempts: u32,
        /// What the last attempt ended with.
        source: reqwest::Error,
    },
    /// The collector answered that it is full, not ready or broken, again and again.
    #[error("{url} answered {status} to {attempts} attempts")]
    Busy {
        /// The address that was tried.
        url: String,
        /// The last HTTP status.
        status: u16,
        /// How often.
        attempts: u32,
    },
    /// The collector refused a request; sending it again would change nothing.
    #[error("{url} refused the request with {status}: {problem}")]
    Refused {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The field and the problem as the collector named them, or the beginning of its answer.
        problem: String,
    },
    /// The collector answered with something that is not in the contract.
    #[error("{url} answered with something unexpected: {problem}")]
    Answer {
        /// The address.
        url: String,
        /// What is wrong with the answer.
        problem: String,
    },
    /// A CSV file could not be written.
    #[error("cannot write CSV")]
    WriteCsv(#[source] csv::Error),
    /// A page held what its viewer may not see; the simulated audience refuses to go on.
    #[error(transparent)]
    Leak(#[from] crate::audience::Leak),
    /// The jobs have not committed what was sent within the deadline.
    #[error("topic {topic} is {behind} records behind after {waited_s} s; are the jobs running?")]
    NotCommitted {
        /// The topic.
        topic: String,
        /// Records that are not committed yet, over all partitions.
        behind: u64,
        /// How long was waited (s).
        waited_s: u64,
    },
}

impl SourceError {
    /// What to do about it: `Invalid` for input and settings, `Unavailable` for a collector that is not there or full,
    /// `Conflict` when the collector's state contradicts the request, `Internal` for a broken contract.
    pub fn kind(&self) -> ErrorKind {
        match self {
            SourceError::Refused { status: 409, .. } => ErrorKind::Conflict,
            SourceError::ReadFile { .. }
            | SourceError::MissingColumn { .. }
            | SourceError::UnknownColumn { .. }
            | SourceError::Settings { .. }
            | SourceError::CollectorAddress { .. }
            | SourceError::Refused { .. } => ErrorKind::Invalid,
            SourceError::Unreachable { .. } | SourceError::Busy { .. } | SourceError::NotCommitted { .. } => {
                ErrorKind::Unavailable
            }
            SourceError::BuildClient(_)
            | SourceError::Answer { .. }
            | SourceError::WriteCsv(_)
            | SourceError::Leak(_) => ErrorKind::Internal,
        }
    }
}
