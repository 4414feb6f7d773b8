//! `POST /v1/events`: one batch of one player; `POST /v1/interactions`: one batch of one profile. Answered with 202 once
//! the batch is durable.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use marquee_events::ContentType;
use serde::Serialize;
use tokio::time::Instant;

use crate::body::{self, BodyHead};
use crate::chunk::BatchRecord;
use crate::refusal::Refusal;
use crate::{Collector, chunk};

#[derive(Serialize)]
struct Accepted {
    /// Events.
    accepted: u32,
}

pub(super) async fn post_events(
    State(collector): State<Arc<Collector>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    post_batch(&collector, &collector.settings.topic, chunk::view_events_record, headers, body).await
}

pub(super) async fn post_interactions(
    State(collector): State<Arc<Collector>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    post_batch(&collector, &collector.settings.interactions_topic, chunk::interactions_record, headers, body).await
}

async fn post_batch(
    collector: &Collector,
    topic: &str,
    record: BatchRecord,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let head = match BodyHead::parse(&headers, &[ContentType::Json, ContentType::Protobuf]) {
        Ok(head) => head,
        Err(refusal) => return body::refuse(&headers, body, refusal).await,
    };
    let received = body::receive(collector, &head, &headers, body, collector.settings.max_body_bytes).await?;
    let (arrived, received_at_ms) = (Instant::now(), collector.clock.now_ms());
    let (record, _unpacked) = received
        .unpack(move |unpacked| {
            let record = record(head.content_type, unpacked.bytes.clone(), received_at_ms)?;
            Ok((record, unpacked))
        })
        .await?;
    let accepted = record.header.event_count;
    collector.append(topic, vec![record]).await?;
    collector.metrics.accepted(accepted.into());
    let response = (StatusCode::ACCEPTED, Json(Accepted { accepted })).into_response();
    collector.metrics.acknowledged(arrived.elapsed());
    Ok(response)
}
