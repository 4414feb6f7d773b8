//! What a browser is told when it does not get what it asked for: `{"error": {"field", "problem"}}`, as the collector
//! does it.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use marquee_events::ErrorKind;
use serde::Serialize;

use crate::PartError;

/// Why a request is not answered.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    field: Option<String>,
    problem: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, problem: impl Into<String>) -> Self {
        Self { status, field: None, problem: problem.into() }
    }

    pub(crate) fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, field: Some(field.into()), problem: problem.into() }
    }

    pub(crate) fn not_found(problem: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, problem)
    }

    pub(crate) fn busy(problem: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, problem)
    }
}

impl From<(&'static str, &'static str)> for Refusal {
    fn from((field, problem): (&'static str, &'static str)) -> Self {
        Self::field(field, problem)
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, rejection.body_text())
    }
}

impl From<PartError> for Refusal {
    fn from(error: PartError) -> Self {
        let status = match error.kind {
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Damaged | ErrorKind::Internal => {
                tracing::error!(%error, "a part of the dashboards failed");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self::new(status, error.problem)
    }
}

#[derive(Serialize)]
struct Body<'a> {
    error: Problem<'a>,
}

#[derive(Serialize)]
struct Problem<'a> {
    field: Option<&'a str>,
    problem: &'a str,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Body { error: Problem { field: self.field.as_deref(), problem: &self.problem } };
        (self.status, Json(body)).into_response()
    }
}
