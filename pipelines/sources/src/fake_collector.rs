//! The collector's contract in a few lines, for tests: it keeps what it accepted and can be told to be full.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use flate2::read::GzDecoder;
use marquee_events::interactions::proto::InteractionBatches;
use marquee_events::proto::ViewEventBatches;
use marquee_events::{
    ContentType, DecodeError, InteractionBatch, PayloadKind, PayloadView, decode, decode_interactions,
};
use prost::Message as _;
use serde_json::{Value, json};

/// One accepted event, with what of its batch matters.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) session_id: String,
    pub(crate) player_instance: String,
    pub(crate) sent_at_ms: i64,
    pub(crate) sequence: u64,
    pub(crate) event_time_ms: i64,
    pub(crate) kind: Option<PayloadKind>,
    pub(crate) fatal: bool,
    pub(crate) representation_id: Option<String>,
}

#[derive(Default)]
pub(crate) struct Received {
    pub(crate) events: Vec<Seen>,
    pub(crate) chunks: BTreeMap<(String, u64), ViewEventBatches>,
    pub(crate) interaction_chunks: BTreeMap<(String, u64), InteractionBatches>,
    pub(crate) finished: Vec<String>,
    pub(crate) interactions: Vec<InteractionBatch>,
    pub(crate) formats: BTreeMap<(&'static str, bool), u64>,
    /// The statuses of the next requests for events; then they are accepted.
    pub(crate) refuse: Vec<StatusCode>,
    pub(crate) progress_asked: u64,
}

pub(crate) type Shared = Arc<Mutex<Received>>;

/// Starts one on a free port; it lives as long as the runtime.
pub(crate) async fn start() -> (String, Shared) {
    let received = Shared::default();
    let router = Router::new()
        .route("/v1/events", post(events))
        .route("/v1/interactions", post(interactions))
        .route("/v1/imports/{import}/chunks/{chunk}", post(chunk))
        .route("/v1/imports/{import}/finish", post(finish))
        .route("/v1/interaction-imports/{import}/chunks/{chunk}", post(interaction_chunk))
        .route("/v1/interaction-imports/{import}/finish", post(finish_interactions))
        .route("/v1/progress", get(progress))
        .with_state(Arc::clone(&received));
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, received)
}

/// What the collector accepts of a record.
pub(crate) fn seen(content_type: ContentType, bytes: &[u8]) -> Result<Vec<Seen>, (StatusCode, Json<Value>)> {
    let batch = decode(content_type, bytes).map_err(|error| refusal(&error))?;
    Ok(batch
        .events
        .iter()
        .map(|event| Seen {
            session_id: batch.context.session_id.to_string(),
            player_instance: batch.context.player_instance.to_string(),
            sent_at_ms: batch.sent_at_ms,
            sequence: event.sequence,
            event_time_ms: event.event_time_ms,
            kind: event.payload.as_ref().map(PayloadView::kind),
            fatal: matches!(&event.payload, Some(PayloadView::Error { fatal: true, .. })),
            representation_id: match &event.payload {
                Some(PayloadView::Rendition { representation_id, .. }) => Some(representation_id.to_string()),
                _ => None,
            },
        })
        .collect())
}

async fn events(
    State(received): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), (StatusCode, Json<Value>)> {
    let mut received = received.lock().unwrap();
    if let Some(status) = received.refuse.pop() {
        return Err((status, Json(json!({ "error": { "field": "batch", "problem": "not now" } }))));
    }
    let content_type = ContentType::from_mime(headers["content-type"].to_str().unwrap()).unwrap();
    let gzip = headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip");
    let mut bytes = body.to_vec();
    if gzip {
        bytes.clear();
        GzDecoder::new(&body[..]).read_to_end(&mut bytes).unwrap();
    }
    let seen = seen(content_type, &bytes)?;
    let accepted = seen.len();
    received.events.extend(seen);
    *received.formats.entry((content_type.mime(), gzip)).or_default() += 1;
    Ok((StatusCode::ACCEPTED, Json(json!({ "accepted": accepted }))))
}

async fn interactions(
    State(received): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), (StatusCode, Json<Value>)> {
    let content_type = ContentType::from_mime(headers["content-type"].to_str().unwrap()).unwrap();
    let batch = decode_interactions(content_type, &body).map_err(|error| refusal(&error))?;
    let accepted = batch.interactions.len();
    received.lock().unwrap().interactions.push(batch);
    Ok((StatusCode::ACCEPTED, Json(json!({ "accepted": accepted }))))
}

fn refusal(error: &DecodeError) -> (StatusCode, Json<Value>) {
    let body = json!({ "error": { "field": error.field, "problem": error.problem } });
    (StatusCode::BAD_REQUEST, Json(body))
}

async fn chunk(
    State(received): State<Shared>,
    Path((import, chunk)): Path<(String, u64)>,
    body: Bytes,
) -> (StatusCode, Json<Value>) {
    let batches = ViewEventBatches::decode(body).unwrap();
    let mut received = received.lock().unwrap();
    let accepted: usize = batches.batches.iter().map(|batch| batch.events.len()).sum();
    let duplicate = received.chunks.insert((import, chunk), batches).is_some();
    (StatusCode::ACCEPTED, Json(json!({ "accepted": accepted, "duplicate": duplicate })))
}

async fn interaction_chunk(
    State(received): State<Shared>,
    Path((import, chunk)): Path<(String, u64)>,
    body: Bytes,
) -> (StatusCode, Json<Value>) {
    let batches = InteractionBatches::decode(body).unwrap();
    let mut received = received.lock().unwrap();
    let accepted: usize = batches.batches.iter().map(|batch| batch.interactions.len()).sum();
    let duplicate = received.interaction_chunks.insert((import, chunk), batches).is_some();
    (StatusCode::ACCEPTED, Json(json!({ "accepted": accepted, "duplicate": duplicate })))
}

async fn finish(
    State(received): State<Shared>,
    Path(import): Path<String>,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let mut received = received.lock().unwrap();
    let chunks = received.chunks.keys().filter(|(of, _)| *of == import).count();
    finished(&mut received, import, chunks, &body, "playback-import")
}

async fn finish_interactions(
    State(received): State<Shared>,
    Path(import): Path<String>,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let mut received = received.lock().unwrap();
    let chunks = received.interaction_chunks.keys().filter(|(of, _)| *of == import).count();
    finished(&mut received, import, chunks, &body, "interactions-import")
}

fn finished(
    received: &mut Received,
    import: String,
    chunks: usize,
    body: &Value,
    topic: &str,
) -> (StatusCode, Json<Value>) {
    if body["chunks"] != json!(chunks) {
        return (StatusCode::CONFLICT, Json(json!({ "error": { "field": "chunks", "problem": "one is missing" } })));
    }
    let duplicate = received.finished.contains(&import);
    received.finished.push(import);
    let body = json!({ "duplicate": duplicate, "topic": topic, "end_offsets": [3, 4] });
    (StatusCode::OK, Json(body))
}

/// No job reads the topic at first, then one record more is committed each time somebody asks.
async fn progress(
    State(received): State<Shared>,
    Query(query): Query<BTreeMap<String, String>>,
) -> (StatusCode, Json<Value>) {
    let mut received = received.lock().unwrap();
    received.progress_asked += 1;
    if received.progress_asked == 1 {
        let problem = json!({ "error": { "problem": "no job reads the topic" } });
        return (StatusCode::NOT_FOUND, Json(problem));
    }
    let committed = [received.progress_asked.min(3), received.progress_asked.min(4)];
    (StatusCode::OK, Json(json!({ "topic": query["topic"], "committed": committed, "end": [3, 4] })))
}
