//! Why a line is no event. The reason is what table `dead_letters` is grouped by, the text is for people.

use marquee_events::ErrorKind;

/// Why a line cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is no RFC 8941 dictionary.
    #[error("the line is no dictionary: {0}")]
    Syntax(String),
    /// It is longer than [`MAX_LINE_BYTES`](crate::MAX_LINE_BYTES); the rest was cut off.
    #[error("the line has more than {} bytes", crate::MAX_LINE_BYTES)]
    LineTooLong,
    /// A key that must be there is not.
    #[error("key `{0}` is missing")]
    MissingKey(&'static str),
    /// A key that the specification does not know, and that is no custom key either (those have a hyphen).
    #[error("key `{0}` is not known; keys of one's own have a hyphen")]
    UnknownKey(String),
    /// A key's value is of the wrong type or out of range.
    #[error("key `{key}` {problem}")]
    Key {
        /// The key.
        key: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
}

impl Problem {
    /// The reason in table `dead_letters`.
    pub fn reason(&self) -> &'static str {
        match self {
            Problem::Syntax(_) => "cmcd_syntax",
            Problem::LineTooLong => "cmcd_line_too_long",
            Problem::MissingKey(_) => "cmcd_missing_key",
            Problem::UnknownKey(_) => "cmcd_unknown_key",
            Problem::Key { .. } => "cmcd_key",
        }
    }

    /// The key to blame, if one is.
    pub fn key(&self) -> Option<&str> {
        match self {
            Problem::Syntax(_) | Problem::LineTooLong => None,
            Problem::MissingKey(key) | Problem::Key { key, .. } => Some(key),
            Problem::UnknownKey(key) => Some(key),
        }
    }

    /// Always [`ErrorKind::Invalid`].
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// So much of a value or of an unknown key is quoted (characters): a line may hold 16 KiB of it.
const QUOTED_CHARS: usize = 40;

/// The beginning of a text that somebody else wrote.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
