//! The routes, each in a file of its own, with what they share: the bound on queries of the lake.

mod config;
mod live;
mod media;
mod sessions;
mod viewer;
mod window;

use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::get;

use crate::refusal::Refusal;
use crate::{Dashboards, assets, guard};

/// How long a query waits for those before it (ms): a person has reloaded the page by then.
const QUEUE_TIMEOUT_MS: u64 = 10_000;

/// How long a query may take (ms); what runs longer belongs into `marquee lake sql`.
const QUERY_TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) fn router(dashboards: Arc<Dashboards>) -> Router {
    Router::new()
        .route("/healthz", get(config::get_health))
        .route("/api/config", get(config::get_config))
        .route("/api/live/stream", get(live::get_stream))
        .route("/api/live/window", get(window::get_live))
        .route("/api/sql/window", get(window::get_sql))
        .route("/api/sessions", get(sessions::get_list))
        .route("/api/sessions/{session_id}", get(sessions::get_one))
        .route("/api/profiles", get(viewer::get_profiles))
        .route("/api/profiles/{profile_id}", get(viewer::get_profile))
        .route("/api/profiles/{profile_id}/home", get(viewer::get_home))
        .route("/media/demo/{*path}", get(media::get_file))
        .fallback(get(assets::serve))
        .method_not_allowed_fallback(|| async {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "everything here is read by GET")
        })
        .layer(from_fn_with_state(Arc::clone(&dashboards), guard::guard))
        .with_state(dashboards)
}

impl Dashboards {
    /// Runs a query of the lake when it is its turn, for so long at most.
    async fn query(&self, sql: &str, timeout: Duration) -> Result<Vec<RecordBatch>, Refusal> {
        let turn = tokio::time::timeout(Duration::from_millis(QUEUE_TIMEOUT_MS), self.queries.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(Refusal::busy("the lake is busy with other queries: try again")) };
        match tokio::time::timeout(timeout, self.parts.lake.sql(sql)).await {
            Ok(rows) => Ok(rows?),
            Err(_) => Err(Refusal::new(
                StatusCode::GATEWAY_TIMEOUT,
                format!("the lake did not answer within {} s: ask for less", timeout.as_secs()),
            )),
        }
    }
}
