//! `POST /v1/events`: one batch of one player; `POST /v1/interactions`: one batch of one profile. Answered with 202 once
//! the batch is durable.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use marquee_events::ContentType;
use marquee_events::proto::Location;
use serde::Serialize;
use tokio::time::Instant;

use crate::body::{self, BodyHead};
use crate::chunk::BatchRecord;
use crate::location::Peer;
use crate::refusal::Refusal;
use crate::routes::trace_parent;
use crate::{Collector, chunk, location};

#[derive(Serialize)]
struct Accepted {
    /// Events.
    accepted: u32,
}

pub(super) async fn post_events(
    State(collector): State<Arc<Collector>>,
    peer: Option<Extension<ConnectInfo<Peer>>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let location = collector.locator.locate(&headers, peer.map(|peer| peer.0.0.0));
    post_batch(&collector, &collector.settings.topic, chunk::view_events_record, location, headers, body).await
}

pub(super) async fn post_interactions(
    State(collector): State<Arc<Collector>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    post_batch(&collector, &collector.settings.interactions_topic, chunk::interactions_record, None, headers, body)
        .await
}

async fn post_batch(
    collector: &Collector,
    topic: &str,
    record: BatchRecord,
    location: Option<Location>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let trace_parent = trace_parent(&headers);
    let head = match BodyHead::parse(&headers, &[ContentType::Json, ContentType::Protobuf]) {
        Ok(head) => head,
        Err(refusal) => return body::refuse(&headers, body, refusal).await,
    };
    let received = body::receive(collector, &head, &headers, body, collector.settings.max_body_bytes).await?;
    let (arrived, received_at_ms) = (Instant::now(), collector.clock.now_ms());
    let (record, _unpacked) = received
        .unpack(move |unpacked| {
            let mut record = record(head.content_type, unpacked.bytes.clone(), received_at_ms)?;
            if let Some(location) = location {
                record.payload = location::append(head.content_type, &record.payload, location);
            }
            Ok((record, unpacked))
        })
        .await?;
    let accepted = record.header.event_count;
    collector.append(topic, vec![record], trace_parent).await?;
    collector.metrics.accepted(accepted.into());
    let response = (StatusCode::ACCEPTED, Json(Accepted { accepted })).into_response();
    collector.metrics.acknowledged(arrived.elapsed());
    Ok(response)
}
