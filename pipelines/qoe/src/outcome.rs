//! How a session turned out, and what it shows for an error.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// How a session turned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The first frame was shown and no fatal error followed.
    Played,
    /// A fatal error came before the first frame.
    StartFailure,
    /// The session is over without first frame and without fatal error.
    ExitBeforeStart,
    /// A fatal error came after the first frame.
    PlaybackFailure,
    /// Still open, no first frame yet.
    Pending,
    /// No play request was seen.
    Unknown,
}

impl Outcome {
    /// The value of column `outcome`.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Played => "played",
            Outcome::StartFailure => "start_failure",
            Outcome::ExitBeforeStart => "exit_before_start",
            Outcome::PlaybackFailure => "playback_failure",
            Outcome::Pending => "pending",
            Outcome::Unknown => "unknown",
        }
    }
}

/// The error that a session row shows: the first fatal one, else the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionError {
    /// The player's code; up to 23 bytes cost no allocation.
    pub code: SmolStr,
    /// It ended playback.
    pub fatal: bool,
    /// It was a business error.
    pub business: bool,
}
