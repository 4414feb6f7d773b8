//! A record of the log with CMCD lines: the context that the integrator gave, as a query string on the first line, then
//! the lines of one session as they were sent, each behind a line feed.

use marquee_events::{BatchView, CONTEXT_FIELDS, ContextView, DecodeError, context_text_problem};

use crate::problem::quoted;
use crate::{Arrival, Problem, Report};

/// What the integrator says of all lines, in the URL that the player posts to: fields of the context by their names.
/// `session_id` and `player_instance` are the player's to say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordContext {
    /// By index of [`CONTEXT_FIELDS`], rising; no value is empty.
    fields: Vec<(usize, String)>,
}

/// Why a query string is no context.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("query parameter `{name}` {problem}")]
pub struct QueryError {
    /// The parameter.
    pub name: String,
    /// What is wrong with it.
    pub problem: String,
}

impl RecordContext {
    /// Reads the query string of a request, without its question mark.
    ///
    /// # Errors
    /// When a parameter is no field of the context, is there twice or is a text that no context may
    /// have ([`context_text_problem`]).
    pub fn from_query(query: &str) -> Result<Self, QueryError> {
        let mut context = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let refuse = |problem: String| Err(QueryError { name: quoted(&name), problem });
            let given_by_player = matches!(name.as_ref(), "session_id" | "player_instance");
            let Some(index) = CONTEXT_FIELDS.iter().position(|field| *field == name).filter(|_| !given_by_player)
            else {
                return refuse("is no field of the context that an integrator can give".to_owned());
            };
            if let Some(problem) = context_text_problem(&value) {
                return refuse(problem);
            }
            if context.fields.iter().any(|(known, _)| *known == index) {
                return refuse("is there twice".to_owned());
            }
            context.put(index, value.into_owned());
        }
        Ok(context)
    }

    /// Sets a field of [`CONTEXT_FIELDS`] to what is known better than the integrator does; empty for unknown.
    ///
    /// # Panics
    /// When `name` is no field.
    pub fn set(&mut self, name: &str, value: &str) {
        let index = CONTEXT_FIELDS.iter().position(|field| *field == name).expect("a field of the context");
        self.put(index, value.to_owned());
    }

    /// The fields that are given, by index of [`CONTEXT_FIELDS`].
    pub(crate) fn fields(&self) -> impl Iterator<Item = (usize, &str)> {
        self.fields.iter().map(|(index, value)| (*index, value.as_str()))
    }

    /// The first line of a record, without its line feed.
    pub(crate) fn to_line(&self) -> String {
        let mut line = form_urlencoded::Serializer::new(String::new());
        for (index, value) in self.fields() {
            line.append_pair(CONTEXT_FIELDS[index], value);
        }
        line.finish()
    }

    fn put(&mut self, index: usize, value: String) {
        self.fields.retain(|(known, _)| *known != index);
        if !value.is_empty() {
            let at = self.fields.partition_point(|(known, _)| *known < index);
            self.fields.insert(at, (index, value));
        }
    }
}

/// What a record holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DecodedRecord {
    /// The good lines, in order.
    pub parts: Vec<Part>,
    /// The others.
    pub dead: Vec<DeadLine>,
}

/// Lines that follow each other and do not contradict each other's context.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Their events; the context is what any of the lines knows. The time of sending is unknown, so no clock is
    /// corrected.
    pub batch: BatchView<'static>,
    /// For each event its line's position in the record, from 0.
    pub indexes: Vec<u32>,
}

/// A line that is no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLine {
    /// Its position in the record, from 0.
    pub index: u32,
    /// Why.
    pub problem: Problem,
}

/// Decodes a record that [`split_body`](crate::split_body) made, received at `received_at_ms` (ms since the epoch).
///
/// # Errors
/// When its first line is no context; a line that is wrong is no error but a [`DeadLine`].
pub fn decode_record(bytes: &[u8], received_at_ms: i64) -> Result<DecodedRecord, DecodeError> {
    let (context, lines) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len()));
    let context = std::str::from_utf8(context)
        .map_err(|_| "is no UTF-8".to_owned())
        .and_then(|query| RecordContext::from_query(query).map_err(|error| error.to_string()))
        .map_err(|problem| DecodeError { field: "context".to_owned(), problem })?;
    let mut decoded = DecodedRecord::default();
    for (index, line) in lines_of(lines).enumerate() {
        let index = index as u32;
        match Report::parse(line) {
            Ok(report) => decoded.push(&report, &context, Arrival { received_at_ms, index }),
            Err(problem) => decoded.dead.push(DeadLine { index, problem }),
        }
    }
    Ok(decoded)
}

/// The lines of a body or of a record: behind each a line feed, before it perhaps a carriage return. Empty ones are
/// none.
pub(crate) fn lines_of(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.trim_ascii().is_empty())
}

impl DecodedRecord {
    fn push(&mut self, report: &Report, given: &RecordContext, arrival: Arrival) {
        let context = report.context(given);
        let fits = self.parts.last_mut().is_some_and(|part| join(&mut part.batch.context, &context));
        if !fits {
            let batch = BatchView { context, ..BatchView::default() };
            self.parts.push(Part { batch, indexes: Vec::new() });
        }
        let part = self.parts.last_mut().expect("there is one");
        part.batch.events.push(report.event(arrival));
        part.indexes.push(arrival.index);
    }
}

/// Adds what `other` knows, unless the two contradict each other; whether they agree.
fn join(known: &mut ContextView<'static>, other: &ContextView<'static>) -> bool {
    let differ = |(a, b): (&_, &_)| !str::is_empty(a) && !str::is_empty(b) && a != b;
    if known.fields().into_iter().zip(other.fields()).any(|(a, b)| differ((a.as_ref(), b.as_ref()))) {
        return false;
    }
    for (index, value) in other.fields().into_iter().enumerate() {
        if !value.is_empty() {
            value.clone_into(known.field_mut(index));
        }
    }
    true
}
