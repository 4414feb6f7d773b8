//! One line: read as a dictionary, every key checked, what the rest of the crate needs kept.

use std::borrow::Cow;

use sfv::{Dictionary, Parser, Version};

use crate::problem::quoted;
use crate::value::{Measures, Value, check};
use crate::{MAX_LINE_BYTES, Problem, keys};

/// The tokens of [`EventKind`], in its order.
pub(crate) const EVENT_TOKENS: &[&str] =
    &["ps", "e", "t", "c", "b", "bc", "pr", "m", "um", "pe", "pc", "as", "ae", "abs", "abe", "sk", "rr", "ce", "h"];

/// The tokens of [`State`], in its order.
pub(crate) const STATE_TOKENS: &[&str] = &["s", "p", "k", "r", "w", "a", "e", "f", "q", "d"];

/// What a report is about: key `e`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the specification's events")]
pub enum EventKind {
    PlayState,
    Error,
    TimeInterval,
    ContentId,
    Backgrounded,
    BitrateChange,
    PlaybackRate,
    Mute,
    Unmute,
    PlayerExpand,
    PlayerCollapse,
    AdStart,
    AdEnd,
    AdBreakStart,
    AdBreakEnd,
    Skip,
    ResponseReceived,
    Custom,
    Hostname,
}

const EVENTS: [EventKind; 19] = [
    EventKind::PlayState,
    EventKind::Error,
    EventKind::TimeInterval,
    EventKind::ContentId,
    EventKind::Backgrounded,
    EventKind::BitrateChange,
    EventKind::PlaybackRate,
    EventKind::Mute,
    EventKind::Unmute,
    EventKind::PlayerExpand,
    EventKind::PlayerCollapse,
    EventKind::AdStart,
    EventKind::AdEnd,
    EventKind::AdBreakStart,
    EventKind::AdBreakEnd,
    EventKind::Skip,
    EventKind::ResponseReceived,
    EventKind::Custom,
    EventKind::Hostname,
];

/// The player's state: key `sta`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Starting,
    Playing,
    Seeking,
    Rebuffering,
    /// In no edition of the specification; dash.js waits in it before it plays and after a seek.
    Waiting,
    Paused,
    Ended,
    Fatal,
    Quit,
    Preloading,
}

const STATES: [State; 10] = [
    State::Starting,
    State::Playing,
    State::Seeking,
    State::Rebuffering,
    State::Waiting,
    State::Paused,
    State::Ended,
    State::Fatal,
    State::Quit,
    State::Preloading,
];

/// A line that keeps every rule. Keys that nothing is made of are checked and forgotten.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    pub(crate) session_id: String,
    pub(crate) event: Option<EventKind>,
    pub(crate) state: Option<State>,
    pub(crate) sequence: Option<u64>,
    pub(crate) time_ms: Option<i64>,
    pub(crate) playhead_ms: Option<i64>,
    pub(crate) to_last_byte_ms: Option<i64>,
    pub(crate) content_id: String,
    pub(crate) cdn: String,
    pub(crate) format: Option<&'static str>,
    pub(crate) stream_type: Option<&'static str>,
    pub(crate) object_type: Option<&'static str>,
    pub(crate) bitrate_kbps: Measures,
    pub(crate) playhead_bitrate_kbps: Measures,
    pub(crate) buffer_ms: Measures,
    pub(crate) throughput_kbps: Measures,
    pub(crate) rate_per_mille: Option<i64>,
    pub(crate) codes: Vec<String>,
    pub(crate) is_background: bool,
    pub(crate) is_starved: bool,
    pub(crate) is_startup: bool,
    version: Option<i64>,
}

impl Report {
    /// Reads a line that was posted, without its line end: a report of version 2 is about an event, one of version 1
    /// about a request.
    ///
    /// # Errors
    /// The first problem of the line: its syntax, then its values in the order of the line, then what is missing.
    pub fn parse(line: &[u8]) -> Result<Report, Problem> {
        match Report::parse_request(line)? {
            Report { event: None, version: Some(2), .. } => Err(Problem::MissingKey("e")),
            report => Ok(report),
        }
    }

    /// Reads what goes with the request of a media object: version 1, or 2 without an event.
    ///
    /// # Errors
    /// As [`Report::parse`].
    pub fn parse_request(line: &[u8]) -> Result<Report, Problem> {
        if line.len() > MAX_LINE_BYTES {
            return Err(Problem::LineTooLong);
        }
        let (line, is_escaped) = escape_non_ascii(line)?;
        let text_of = |text: String| if is_escaped { percent_decoded(&text) } else { text };
        let dictionary: Dictionary = Parser::new(line.as_ref())
            .with_version(Version::Rfc8941)
            .parse()
            .map_err(|error| Problem::Syntax(error.to_string()))?;
        let mut report = Report::default();
        for (name, entry) in dictionary {
            match keys::find(name.as_str()) {
                Some(key) => {
                    let value = check(&key.kind, entry, text_of);
                    report.put(key.name, value.map_err(|problem| Problem::Key { key: key.name, problem })?);
                }
                None if is_custom(name.as_str()) => {}
                None => return Err(Problem::UnknownKey(quoted(name.as_str()))),
            }
        }
        report.check_complete()?;
        Ok(report)
    }

    /// The session, never empty.
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// What the report is about; `None` for the report that goes with a request: version 1, and what the log of a CDN
    /// holds.
    pub fn event_kind(&self) -> Option<EventKind> {
        self.event
    }

    /// The session of a line that may be wrong otherwise; such a line goes where its session is. `None` when there is
    /// none to be read.
    pub(crate) fn session_id_of(line: &[u8]) -> Option<String> {
        if line.len() > MAX_LINE_BYTES {
            return None;
        }
        let (line, is_escaped) = escape_non_ascii(line).ok()?;
        let mut dictionary: Dictionary = Parser::new(line.as_ref()).with_version(Version::Rfc8941).parse().ok()?;
        let key = keys::find("sid")?;
        let entry = dictionary.swap_remove(key.name)?;
        let text_of = |text: String| if is_escaped { percent_decoded(&text) } else { text };
        match check(&key.kind, entry, text_of) {
            Ok(Value::Text(session_id)) if !session_id.is_empty() => Some(session_id),
            _ => None,
        }
    }

    fn put(&mut self, key: &str, value: Value) {
        match (key, value) {
            ("sid", Value::Text(text)) => self.session_id = text,
            ("cid", Value::Text(text)) => self.content_id = text,
            ("cdn", Value::Text(text)) => self.cdn = text,
            ("e", Value::Token(token)) => self.event = at(EVENT_TOKENS, &EVENTS, token),
            ("sta", Value::Token(token)) => self.state = at(STATE_TOKENS, &STATES, token),
            ("sf", Value::Token(token)) => self.format = Some(token),
            ("st", Value::Token(token)) => self.stream_type = Some(token),
            ("ot", Value::Token(token)) => self.object_type = Some(token),
            ("sn", Value::Number(number)) => self.sequence = Some(number as u64),
            ("ts", Value::Number(number)) => self.time_ms = Some(number),
            ("pt", Value::Number(number)) => self.playhead_ms = Some(number),
            ("ttlb", Value::Number(number)) => self.to_last_byte_ms = Some(number),
            ("pr", Value::Number(number)) => self.rate_per_mille = Some(number),
            ("v", Value::Number(number)) => self.version = Some(number),
            ("br", Value::Measures(measures)) => self.bitrate_kbps = measures,
            ("pb", Value::Measures(measures)) => self.playhead_bitrate_kbps = measures,
            ("bl", Value::Measures(measures)) => self.buffer_ms = measures,
            ("mtp", Value::Measures(measures)) => self.throughput_kbps = measures,
            ("ec", Value::Texts(texts)) => self.codes = texts,
            ("bg", Value::Flag(flag)) => self.is_background = flag,
            ("bs", Value::Flag(flag)) => self.is_starved = flag,
            ("su", Value::Flag(flag)) => self.is_startup = flag,
            _ => {}
        }
    }

    /// Whether everything is there that a report of its kind needs.
    fn check_complete(&self) -> Result<(), Problem> {
        let missing = |key| Err(Problem::MissingKey(key));
        if self.session_id.is_empty() {
            return missing("sid");
        }
        match self.event {
            Some(_) if self.time_ms.is_none() => missing("ts"),
            Some(_) if self.sequence.is_none() => missing("sn"),
            Some(EventKind::PlayState) if self.state.is_none() => missing("sta"),
            Some(EventKind::BitrateChange) if self.bitrate_kbps.watched().is_none() => missing("br"),
            _ => Ok(()),
        }
    }
}

fn at<T: Copy>(tokens: &[&str], values: &[T], token: &str) -> Option<T> {
    tokens.iter().position(|known| *known == token).map(|index| values[index])
}

/// CTA-5004: keys of one's own have a hyphenated prefix, such as `com.example-rating`.
fn is_custom(name: &str) -> bool {
    name.contains('-')
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// RFC 8941 has no letters beyond ASCII, but the library that hls.js, dash.js and Shaka share writes them as they are:
/// a title `"Amélie"` must not cost the whole report. Such a line (and no other) is read with these bytes, and the
/// percent sign, as `%XX`, and [`percent_decoded`] gives the texts back.
fn escape_non_ascii(line: &[u8]) -> Result<(Cow<'_, [u8]>, bool), Problem> {
    if line.is_ascii() {
        return Ok((Cow::Borrowed(line), false));
    }
    std::str::from_utf8(line).map_err(|error| Problem::Syntax(format!("it is no UTF-8: {error}")))?;
    let mut escaped = Vec::with_capacity(line.len() + 64);
    for byte in line {
        if byte.is_ascii() && *byte != b'%' {
            escaped.push(*byte);
        } else {
            escaped.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    Ok((Cow::Owned(escaped), true))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let hex = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if let (Some(high), Some(low)) = (hex(*high), hex(*low)) => {
                bytes.push(high << 4 | low);
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_has_a_value() {
        assert_eq!(EVENT_TOKENS.len(), EVENTS.len());
        assert_eq!(STATE_TOKENS.len(), STATES.len());
        assert_eq!(at(EVENT_TOKENS, &EVENTS, "h"), Some(EventKind::Hostname));
        assert_eq!(at(EVENT_TOKENS, &EVENTS, "abe"), Some(EventKind::AdBreakEnd));
        assert_eq!(at(STATE_TOKENS, &STATES, "d"), Some(State::Preloading));
        assert_eq!(at(STATE_TOKENS, &STATES, "w"), Some(State::Waiting));
    }
}
