//! Every reason for which a request is refused, and in one place its HTTP status and JSON body:
//! `{"error":{"field":…,"problem":…}}`, without `field` where none is to blame.

use std::error::Error;
use std::fmt::Write as _;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use marquee_events::DecodeError;
use marquee_stream::LogError;
use serde::Serialize;

/// The log's queue empties within one fsync, which is far below a second; a second also spreads the retries.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// Why a request is refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The request is wrong: 400.
    Field { field: String, problem: String },
    /// The body's format is not known here: 415.
    Format { problem: String },
    /// The body is too large: 413.
    TooLarge { limit_bytes: usize },
    /// The body took too long to arrive: 408.
    SlowBody,
    /// Too much is under way: 429.
    Busy { problem: &'static str },
    /// The import is not in the state that the request assumes: 409.
    Conflict { problem: String },
    /// Nothing is there under this name: 404.
    NotFound { problem: String },
    /// The path knows other methods: 405.
    Method,
    /// The log did not do it: 503.
    Log { operation: &'static str },
    /// The log took too long; what was to be stored may be stored: 503.
    LogTimeout { operation: &'static str },
    /// A defect: 500.
    Defect,
}

impl Refusal {
    pub(crate) fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Refusal::Field { field: field.into(), problem: problem.into() }
    }

    /// Reports the log's error to the operator; the client learns no paths or other insides.
    pub(crate) fn log(operation: &'static str, error: LogError) -> Self {
        match error {
            LogError::Full { waiting_bytes } => {
                tracing::debug!(operation, waiting_bytes, "the log is full");
                Refusal::Busy { problem: "the log is full, try again" }
            }
            error => {
                tracing::error!(operation, error = with_sources(&error), "the log failed");
                Refusal::Log { operation }
            }
        }
    }

    /// Reports a panic.
    pub(crate) fn defect(panic: &tokio::task::JoinError) -> Self {
        tracing::error!(%panic, "a request met a defect");
        Refusal::Defect
    }

    fn status(&self) -> StatusCode {
        match self {
            Refusal::Field { .. } => StatusCode::BAD_REQUEST,
            Refusal::Format { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Refusal::Busy { .. } => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Conflict { .. } => StatusCode::CONFLICT,
            Refusal::NotFound { .. } => StatusCode::NOT_FOUND,
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Log { .. } | Refusal::LogTimeout { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Defect => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn into_field_and_problem(self) -> (Option<String>, String) {
        match self {
            Refusal::Field { field, problem } => (Some(field), problem),
            Refusal::Format { problem } | Refusal::Conflict { problem } | Refusal::NotFound { problem } => {
                (None, problem)
            }
            Refusal::TooLarge { limit_bytes } => {
                (None, format!("the body is too large: at most {limit_bytes} bytes are accepted, after decompression"))
            }
            Refusal::SlowBody => (None, "the body did not arrive in time".to_owned()),
            Refusal::Busy { problem } => (None, problem.to_owned()),
            Refusal::Method => (None, "this path does not know the method".to_owned()),
            Refusal::Log { operation } => (None, format!("{operation} failed, try again later")),
            Refusal::LogTimeout { operation } => (None, format!("{operation} took too long, try again")),
            Refusal::Defect => (None, "the collector met a defect".to_owned()),
        }
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Refusal::Field { field: error.field, problem: error.problem }
    }
}

#[derive(Serialize)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Serialize)]
struct ErrorDetail {
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    problem: String,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let (field, problem) = self.into_field_and_problem();
        let mut response = (status, Json(ErrorBody { error: ErrorDetail { field, problem } })).into_response();
        if status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_S);
        }
        response
    }
}

fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A CMCD player that is told 410 sends nothing more for the rest of its session.
    #[test]
    fn nothing_is_ever_gone() {
        let refusals = [
            Refusal::field("a", "b"),
            Refusal::Format { problem: String::new() },
            Refusal::TooLarge { limit_bytes: 1 },
            Refusal::SlowBody,
            Refusal::Busy { problem: "" },
            Refusal::Conflict { problem: String::new() },
            Refusal::NotFound { problem: String::new() },
            Refusal::Method,
            Refusal::Log { operation: "" },
            Refusal::LogTimeout { operation: "" },
            Refusal::Defect,
        ];
        for refusal in refusals {
            // A new variant does not compile here: put it into the list above.
            match &refusal {
                Refusal::Field { .. }
                | Refusal::Format { .. }
                | Refusal::TooLarge { .. }
                | Refusal::SlowBody
                | Refusal::Busy { .. }
                | Refusal::Conflict { .. }
                | Refusal::NotFound { .. }
                | Refusal::Method
                | Refusal::Log { .. }
                | Refusal::LogTimeout { .. }
                | Refusal::Defect => {}
            }
            assert_ne!(refusal.status(), StatusCode::GONE, "{refusal:?}");
        }
    }
}
