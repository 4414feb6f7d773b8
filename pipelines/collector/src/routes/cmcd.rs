//! `POST /v1/cmcd`: lines of CMCD as media players send them, in version 1 or 2, of one session or of several. Answered
//! with 200 once the good lines are durable, and with them the bad ones, which become dead letters.
//!
//! The answers are those that players understand. 200 and not 202, as the other routes have it: Shaka takes 202 for a
//! failure and sends every report again. Reports that break a rule are answered with 200 too, for dash.js takes a 400 for a
//! 500 and sends again, line by line, for ever; only what no player sends is a 400. Players send again what was answered
//! with 429 or 5xx; 410 silences them for the rest of the session and is never given (`refusal.rs` has the test).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use marquee_cmcd::{BodyError, RecordContext, SplitSession, split_body};
use marquee_events::ContentType;
use marquee_stream::{NewRecord, RecordHeader, RecordType, Route};
use serde::Serialize;
use tokio::time::Instant;

use crate::Collector;
use crate::body::{self, BodyHead};
use crate::location::{self, Peer};
use crate::refusal::Refusal;
use crate::routes::trace_parent;

#[derive(Serialize)]
struct Accepted {
    /// Lines that are events.
    accepted: u32,
    /// Lines that are kept as dead letters.
    dead_letters: u32,
    /// The first of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_dead_letter: Option<DeadLetter>,
}

#[derive(Serialize)]
struct DeadLetter {
    field: String,
    problem: String,
}

pub(super) async fn post_cmcd(
    State(collector): State<Arc<Collector>>,
    RawQuery(query): RawQuery,
    peer: Option<Extension<ConnectInfo<Peer>>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let parsed = || Ok((head(&headers)?, context(query.as_deref())?));
    let (head, mut context) = match parsed() {
        Ok(parsed) => parsed,
        Err(refusal) => return body::refuse(&headers, body, refusal).await,
    };
    if let Some(location) = collector.locator.locate(&headers, peer.map(|peer| peer.0.0.0)) {
        for (name, value) in location::fields(&location) {
            context.set(name, value);
        }
    }
    let received = body::receive(&collector, &head, &headers, body, collector.settings.max_body_bytes).await?;
    let (arrived, received_at_ms) = (Instant::now(), collector.clock.now_ms());
    let (split, _reservation) = received
        .unpack(move |unpacked| {
            let split = split_body(&unpacked.bytes, &context).map_err(|error| refusal(&error))?;
            Ok((split, unpacked.into_reservation()))
        })
        .await?;
    let (accepted, dead_letters) = (split.good, split.dead);
    let first_dead_letter = split.first_dead.as_ref().map(|(index, problem)| {
        let key = problem.key().map(|key| format!(".{key}")).unwrap_or_default();
        DeadLetter { field: format!("lines[{index}]{key}"), problem: format!("{}: {problem}", problem.reason()) }
    });
    let records = split.sessions.into_iter().map(|session| record(session, received_at_ms)).collect();
    collector.append(&collector.settings.topic, records, trace_parent(&headers)).await?;
    collector.metrics.accepted(accepted.into());
    let response = Json(Accepted { accepted, dead_letters, first_dead_letter }).into_response();
    collector.metrics.acknowledged(arrived.elapsed());
    Ok(response)
}

/// A string that `navigator.sendBeacon` is given goes as `text/plain`, and a page that closes has no time to ask first
/// whether it may send another type.
fn head(headers: &HeaderMap) -> Result<BodyHead, Refusal> {
    let is_plain = |mime: &str| mime.split(';').next().is_some_and(|mime| mime.trim() == "text/plain");
    BodyHead::parse_with(headers, &[ContentType::Cmcd], |mime| is_plain(mime).then_some(ContentType::Cmcd))
}

fn context(query: Option<&str>) -> Result<RecordContext, Refusal> {
    RecordContext::from_query(query.unwrap_or_default())
        .map_err(|error| Refusal::field(format!("query.{}", error.name), error.problem))
}

fn refusal(error: &BodyError) -> Refusal {
    match error {
        BodyError::NoCmcd(_) => Refusal::field("lines[0]", error.to_string()),
        BodyError::Empty | BodyError::TooManyLines | BodyError::TooManySessions => {
            Refusal::field("lines", error.to_string())
        }
    }
}

fn record(session: SplitSession, received_at_ms: i64) -> NewRecord {
    let record_type = RecordType::ViewEvents(ContentType::Cmcd);
    NewRecord {
        route: Route::Key(Bytes::from(session.session_id.into_bytes())),
        header: RecordHeader { record_type, received_at_ms, event_count: session.lines },
        payload: session.payload.into(),
    }
}
