//! From a record's bytes to a [`BatchView`], whichever of our two wire formats they are in. The third format, CMCD, is
//! not ours: `pipelines/cmcd` decodes it.

use crate::{BatchView, ContextView, ErrorKind, MAX_EVENTS_PER_BATCH, MAX_ID_BYTES, json, protobuf};

/// The format of a record, as its header and the HTTP request name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ContentType {
    /// `application/json`
    Json = 1,
    /// `application/x-protobuf`, message `marquee.events.v1.ViewEventBatch`
    Protobuf = 2,
    /// `application/cmcd`: lines of one session as a media player sent them, see docs/cmcd.md. Of view events only.
    Cmcd = 3,
}

impl ContentType {
    /// The MIME type.
    pub fn mime(self) -> &'static str {
        match self {
            ContentType::Json => "application/json",
            ContentType::Protobuf => "application/x-protobuf",
            ContentType::Cmcd => "application/cmcd",
        }
    }

    /// The format with this MIME type, parameters such as `; charset` left aside.
    pub fn from_mime(mime: &str) -> Option<ContentType> {
        match mime.split(';').next().unwrap_or_default().trim() {
            "application/json" => Some(ContentType::Json),
            "application/x-protobuf" | "application/protobuf" => Some(ContentType::Protobuf),
            "application/cmcd" => Some(ContentType::Cmcd),
            _ => None,
        }
    }

    /// The format with this number in a record's header.
    pub fn from_number(number: u8) -> Option<ContentType> {
        match number {
            1 => Some(ContentType::Json),
            2 => Some(ContentType::Protobuf),
            3 => Some(ContentType::Cmcd),
            _ => None,
        }
    }
}

/// Why bytes are no batch of view events.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
#[error("field `{field}`: {problem}")]
pub struct DecodeError {
    /// The path of the offending field, such as `events[3].rendition.bitrate_bps`; `batch` for the whole.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

/// So much of a field and of a problem is told (characters).
const MAX_TOLD_CHARS: usize = 500;

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_TOLD_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

impl DecodeError {
    /// Long texts are cut: serde quotes what it did not expect, and that may be megabytes.
    pub(crate) fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: cut(field.into()), problem: cut(problem.into()) }
    }

    /// Always [`ErrorKind::Invalid`].
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Decodes one record.
///
/// # Errors
/// When the bytes are not a batch in this format, when `context.session_id` is missing, when an identifier is longer
/// than [`MAX_ID_BYTES`] or has a NUL, or there are no events or more than [`MAX_EVENTS_PER_BATCH`]; the error names the
/// field. A CMCD record is no batch: `marquee_cmcd::decode_record` reads it.
pub fn decode(content_type: ContentType, bytes: &[u8]) -> Result<BatchView<'_>, DecodeError> {
    let batch = match content_type {
        ContentType::Json => json::decode(bytes)?,
        ContentType::Protobuf => protobuf::decode(bytes)?,
        ContentType::Cmcd => return Err(no_batch()),
    };
    check_bounds(&batch)?;
    Ok(batch)
}

fn check_bounds(batch: &BatchView<'_>) -> Result<(), DecodeError> {
    check_context(&batch.context)?;
    if batch.events.is_empty() {
        return Err(DecodeError::new("events", "is empty"));
    }
    Ok(())
}

pub(crate) fn check_context(context: &ContextView<'_>) -> Result<(), DecodeError> {
    if context.session_id.is_empty() {
        return Err(DecodeError::new("context.session_id", "is missing"));
    }
    for (name, value) in crate::CONTEXT_FIELDS.iter().zip(context.fields()) {
        if let Some(problem) = context_text_problem(value) {
            return Err(DecodeError::new(format!("context.{name}"), problem));
        }
    }
    Ok(())
}

/// What is wrong with a text of a context, however it came.
pub fn context_text_problem(text: &str) -> Option<String> {
    match () {
        () if text.len() > MAX_ID_BYTES => {
            Some(format!("has {} bytes, at most {MAX_ID_BYTES} are accepted", text.len()))
        }
        () if text.contains('\0') => Some("has a NUL, where many readers end a text".to_owned()),
        () => None,
    }
}

/// Of a format that holds no batches of this kind.
pub(crate) fn no_batch() -> DecodeError {
    DecodeError::new("batch", "is in a format that holds none")
}

pub(crate) fn too_many_events() -> DecodeError {
    DecodeError::new("events", format!("has too many events, at most {MAX_EVENTS_PER_BATCH} are accepted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer to a request and the detail of a dead letter do not repeat what was sent.
    #[test]
    fn problems_are_short_however_long_the_value() {
        let value = "é".repeat(1 << 20);
        for members in [format!("\"sequence\":\"{value}\""), format!("\"{value}\":1")] {
            let record = format!("{{\"context\":{{\"session_id\":\"a\"}},\"events\":[{{{members}}}]}}");
            let error = decode(ContentType::Json, record.as_bytes()).expect_err("is refused");
            assert!(error.field.starts_with("events[0]") && error.to_string().len() < 1100, "{}", error.field);
            assert!(error.problem.ends_with('…'));
        }
        let record = format!("{{\"context\":{{\"profile_id\":\"p\"}},\"interactions\":[{{\"{value}\":1}}]}}");
        let error = crate::decode_interactions(ContentType::Json, record.as_bytes()).expect_err("is refused");
        assert!(error.field.starts_with("interactions[0].é") && error.to_string().len() < 2200, "{}", error.field);
    }
}
