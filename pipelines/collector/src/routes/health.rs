//! `GET /healthz`: whether the log answers. A collector whose log does not must get no traffic.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::Collector;
use crate::refusal::Refusal;

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

pub(super) async fn get_health(State(collector): State<Arc<Collector>>) -> Result<Response, Refusal> {
    collector
        .read_log("reading the log", |collector| {
            collector.end_offsets(&collector.settings.topic)?;
            collector.end_offsets(&collector.settings.import_topic)
        })
        .await?;
    Ok(Json(Health { status: "ok" }).into_response())
}
