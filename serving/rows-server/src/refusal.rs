//! What a refused request is told: code, a sentence, and details that a program can read (`google.rpc`). The code
//! follows from the error's kind in one place, [`code`].

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use marquee_catalogue::token::TokenError;
use marquee_events::ErrorKind;
use marquee_retrieval::PageError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Who says so, in `google.rpc.ErrorInfo`.
const DOMAIN: &str = "rows.marquee";

/// Stores are looked at again once a second; sooner nothing has changed (s).
const RETRY_AFTER_S: u64 = 1;

/// The gRPC code of an error kind.
fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::Invalid => Code::InvalidArgument,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::Conflict => Code::Aborted,
        ErrorKind::Damaged => Code::DataLoss,
        ErrorKind::Internal => Code::Internal,
    }
}

/// No page.
pub(crate) fn of_page(error: &PageError) -> Status {
    let (code, reason) = match error {
        PageError::UnknownProfile { .. } => (Code::NotFound, "UNKNOWN_PROFILE"),
        PageError::UnknownRow { .. } => (Code::NotFound, "UNKNOWN_ROW"),
        PageError::ModelChanged { .. } => (code(error.kind()), "MODEL_CHANGED"),
        PageError::Catalogue(_) => (code(error.kind()), "CATALOGUE_UNAVAILABLE"),
        PageError::Deadline => (Code::DeadlineExceeded, "CATALOGUE_LATE"),
    };
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata(error));
    if code == Code::Unavailable {
        details.set_retry_info(Some(Duration::from_secs(RETRY_AFTER_S)));
    }
    // Sources are for the operator's log: they name places that a client has no business with.
    if let Some(source) = error.source() {
        tracing::warn!(error = source, "a request got no page");
    }
    Status::with_error_details(code, sentence(error), details)
}

fn metadata(error: &PageError) -> HashMap<String, String> {
    let (name, value) = match error {
        PageError::UnknownProfile { profile_id } => ("profile_id", profile_id),
        PageError::UnknownRow { row_id } => ("row_id", row_id),
        PageError::ModelChanged { pinned } => ("model_version", pinned),
        PageError::Catalogue(_) | PageError::Deadline => return HashMap::new(),
    };
    HashMap::from([(name.to_owned(), value.clone())])
}

fn sentence(error: &PageError) -> String {
    match error {
        PageError::ModelChanged { .. } => format!("{error}; ask for the row anew, without a page token"),
        _ => error.to_string(),
    }
}

/// A field of the request that does not fit.
pub(crate) fn of_field(field: &str, problem: impl Into<String>) -> Status {
    let problem = problem.into();
    let message = format!("field `{field}`: {problem}");
    Status::with_error_details(
        code(ErrorKind::Invalid),
        message,
        ErrorDetails::with_bad_request_violation(field, problem),
    )
}

/// No profile token that is believed.
pub(crate) fn of_token(error: Option<TokenError>) -> Status {
    let (reason, message) = match error {
        None => ("TOKEN_MISSING", "send `authorization: Bearer <profile token>`".to_owned()),
        Some(TokenError::Expired) => ("TOKEN_EXPIRED", TokenError::Expired.to_string()),
        Some(error) => ("TOKEN_REFUSED", error.to_string()),
    };
    let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    Status::with_error_details(Code::Unauthenticated, message, details)
}

/// Too many requests at once.
pub(crate) fn of_load() -> Status {
    let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(RETRY_AFTER_S)));
    Status::with_error_details(Code::ResourceExhausted, "too many requests are under way", details)
}
