//! From fjall's errors to the port's: what is damage, and what may pass.

use std::any::Any;
use std::io::{Error as IoError, ErrorKind as IoKind};

use marquee_definitions::OnlineError;

/// A cause in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Cause(pub(crate) String);

/// The port's error for a failure of fjall's at `key` (or in a folder) while `operation` was going on.
pub(crate) fn from_fjall(key: &str, operation: &'static str, error: fjall::Error) -> OnlineError {
    match damage(&error) {
        Some(what) => OnlineError::Damaged { key: key.to_owned(), problem: format!("{what}, found while {operation}") },
        None => OnlineError::Storage { operation, source: Box::new(error) },
    }
}

/// The port's error for an I/O failure.
pub(crate) fn from_io(operation: &'static str, error: IoError) -> OnlineError {
    OnlineError::Storage { operation, source: Box::new(error) }
}

/// The port's error for a panic inside fjall, which is how it reports some contradictions in its own files.
pub(crate) fn from_panic(key: &str, operation: &'static str, panic: &(dyn Any + Send)) -> OnlineError {
    let what = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let problem = format!("the storage engine gave up while {operation} ({})", what.unwrap_or("no reason given"));
    OnlineError::Damaged { key: key.to_owned(), problem }
}

/// What is wrong with the stored bytes, when that is what the error says.
fn damage(error: &fjall::Error) -> Option<String> {
    use fjall::{Error, LsmError};
    match error {
        Error::JournalRecovery(why) => Some(format!("its journal contradicts itself ({why:?})")),
        Error::InvalidVersion(_) | Error::Storage(LsmError::InvalidVersion(_)) => {
            Some("its files have a version that this program does not read".to_owned())
        }
        Error::Storage(LsmError::ChecksumMismatch { .. }) => Some("a block does not match its checksum".to_owned()),
        Error::Decompress(_)
        | Error::InvalidTrailer
        | Error::InvalidTag(_)
        | Error::Storage(
            LsmError::Decompress(_)
            | LsmError::InvalidTag(_)
            | LsmError::InvalidTrailer
            | LsmError::InvalidHeader(_)
            | LsmError::Utf8(_),
        ) => Some("a block is not what was written".to_owned()),
        Error::Unrecoverable | Error::Storage(LsmError::Unrecoverable) => {
            Some("files are missing or unreadable".to_owned())
        }
        Error::Io(io) | Error::Storage(LsmError::Io(io)) => match io.kind() {
            IoKind::NotFound => Some("a file is missing".to_owned()),
            IoKind::UnexpectedEof => Some("a file is shorter than it was".to_owned()),
            IoKind::InvalidData => Some("a file holds invalid bytes".to_owned()),
            _ => None,
        },
        _ => None,
    }
}
