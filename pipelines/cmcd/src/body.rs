//! From the body of a request to one record for each session in it.

use std::collections::HashMap;

use crate::record::lines_of;
use crate::{MAX_LINE_BYTES, MAX_LINES_PER_BODY, MAX_SESSIONS_PER_BODY, Problem, RecordContext, Report};

/// A body's lines by session, in the order in which the sessions come. The lines without a session that can be read are
/// one of their own, with an empty id: they are dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SplitBody {
    /// At most [`MAX_SESSIONS_PER_BODY`], and those without a session.
    pub sessions: Vec<SplitSession>,
    /// Lines that are events.
    pub good: u32,
    /// The others.
    pub dead: u32,
}

/// The record of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitSession {
    /// Empty when the lines have none.
    pub session_id: String,
    /// What [`decode_record`](crate::decode_record) reads.
    pub payload: Vec<u8>,
    /// How many lines it has.
    pub lines: u32,
}

/// Why a body is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It has no line that is an event; this is what is wrong with the first one.
    #[error("line {} {}: {problem}", index + 1, problem.reason())]
    NothingUsable {
        /// The line's position, from 0.
        index: u32,
        /// What is wrong with it.
        problem: Problem,
    },
    /// It has no lines.
    #[error("the body has no lines")]
    Empty,
    /// It has more than [`MAX_LINES_PER_BODY`] lines.
    #[error("the body has more than {MAX_LINES_PER_BODY} lines")]
    TooManyLines,
    /// It has lines of more than [`MAX_SESSIONS_PER_BODY`] sessions.
    #[error("the body has lines of more than {MAX_SESSIONS_PER_BODY} sessions")]
    TooManySessions,
}

/// Splits a body by session. A line beyond [`MAX_LINE_BYTES`] is cut to one byte more, so that who decodes the record
/// finds it too long as well.
///
/// # Errors
/// When nothing of it is usable, or there is too much of it: a body is stored as a whole or not at all.
pub fn split_body(body: &[u8], context: &RecordContext) -> Result<SplitBody, BodyError> {
    let first_line = context.to_line();
    let mut split = SplitBody::default();
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut first_problem = None;
    for (index, line) in lines_of(body).enumerate() {
        if index == MAX_LINES_PER_BODY {
            return Err(BodyError::TooManyLines);
        }
        let session_id = match Report::parse(line) {
            Ok(report) => {
                split.good += 1;
                report.session_id
            }
            Err(problem) => {
                split.dead += 1;
                first_problem.get_or_insert(BodyError::NothingUsable { index: index as u32, problem });
                Report::session_id_of(line).unwrap_or_default()
            }
        };
        let next = split.sessions.len();
        let number = *numbers.entry(session_id.clone()).or_insert(next);
        if number == next {
            // One more for the lines without a session.
            if next == MAX_SESSIONS_PER_BODY + usize::from(numbers.contains_key("")) {
                return Err(BodyError::TooManySessions);
            }
            split.sessions.push(SplitSession { session_id, payload: first_line.clone().into_bytes(), lines: 0 });
        }
        let session = &mut split.sessions[number];
        session.payload.push(b'\n');
        session.payload.extend_from_slice(&line[..line.len().min(MAX_LINE_BYTES + 1)]);
        session.lines += 1;
    }
    match first_problem {
        Some(error) if split.good == 0 => Err(error),
        None if split.good == 0 => Err(BodyError::Empty),
        _ => Ok(split),
    }
}
