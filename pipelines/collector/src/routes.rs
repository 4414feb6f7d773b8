//! The routes, each in a file of its own, with what is common to them: the bound on requests under way, the counts by
//! status, CORS.

mod cmcd;
mod events;
mod health;
mod imports;
mod progress;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use marquee_stream::TraceParent;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::Collector;
use crate::budget::{Budget, Spent};
use crate::refusal::Refusal;

/// Requests that read are few (operators, importers that wait) and each takes a thread that may block, of which tokio
/// has 512. They have a bound of their own so that a health check is answered while players are refused.
const MAX_CONCURRENT_READS: usize = 64;

/// Browsers ask again after this time whether they may post (s). Chromium takes no more than two hours.
const CORS_MAX_AGE_S: u64 = 3600;

/// W3C Trace Context.
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

pub(crate) fn router(collector: Arc<Collector>) -> Router {
    let writes = Router::new()
        .route("/v1/events", post(events::post_events))
        .route("/v1/cmcd", post(cmcd::post_cmcd))
        .route("/v1/interactions", post(events::post_interactions))
        .route("/v1/imports/{import}/chunks/{chunk}", post(imports::post_playback_chunk))
        .route("/v1/imports/{import}/finish", post(imports::post_playback_finish))
        .route("/v1/interaction-imports/{import}/chunks/{chunk}", post(imports::post_interactions_chunk))
        .route("/v1/interaction-imports/{import}/finish", post(imports::post_interactions_finish))
        .layer(from_fn_with_state(Gate::writes(&collector), guard));
    let reads = Router::new()
        .route("/v1/progress", get(progress::get_progress))
        .route("/healthz", get(health::get_health))
        .layer(from_fn_with_state(Gate::reads(), guard));
    let router = writes
        .merge(reads)
        .fallback(|| async { Refusal::NotFound { problem: "there is no such path".to_owned() } })
        .method_not_allowed_fallback(|| async { Refusal::Method });
    let router = match cors(&collector.settings.allowed_origins) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router.with_state(collector)
}

/// The bound of a group of routes, and where their answers are counted.
#[derive(Clone)]
struct Gate {
    requests: Arc<Budget>,
    counted: Option<Arc<Collector>>,
}

impl Gate {
    fn writes(collector: &Arc<Collector>) -> Self {
        let requests = Arc::new(Budget::new(collector.settings.max_concurrent_requests));
        Self { requests, counted: Some(Arc::clone(collector)) }
    }

    fn reads() -> Self {
        Self { requests: Arc::new(Budget::new(MAX_CONCURRENT_READS)), counted: None }
    }
}

/// Whose work a request is part of. What is not valid is left aside, as the standard wants it: two of them are not, either.
fn trace_parent(headers: &HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all(TRACE_PARENT).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    TraceParent::parse(value.as_bytes())
}

async fn guard(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let mut reservation = gate.requests.reservation();
    let response = match reservation.grow(1) {
        Ok(()) => next.run(request).await,
        Err(Spent) => Refusal::Busy { problem: "too many requests are under way, try again" }.into_response(),
    };
    if let Some(collector) = &gate.counted {
        collector.metrics.answered(response.status());
    }
    response
}

/// Lets web players of these origins post; `None` when there are none.
fn cors(allowed_origins: &[String]) -> Option<CorsLayer> {
    if allowed_origins.is_empty() {
        return None;
    }
    let allowed_origins = allowed_origins.to_vec();
    let is_allowed = move |origin: &HeaderValue| allowed_origins.iter().any(|allowed| allowed == origin);
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| is_allowed(origin)))
        .allow_methods([Method::POST])
        .allow_headers([header::CONTENT_TYPE, header::CONTENT_ENCODING, TRACE_PARENT])
        // A player that may not read it cannot obey it.
        .expose_headers([header::RETRY_AFTER])
        .max_age(std::time::Duration::from_secs(CORS_MAX_AGE_S));
    Some(layer)
}
