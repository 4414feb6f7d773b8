//! `POST /v1/imports/{import}/chunks/{chunk}` and `POST /v1/imports/{import}/finish`: recorded playback, each chunk
//! stored at most once however often it is sent. `/v1/interaction-imports/…` takes recorded interactions alike.
//!
//! The ledger of an import topic holds `{import}/{chunk}` for a stored chunk and `{import}/end` for a finished import.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use marquee_events::ContentType;
use marquee_stream::{LogError, NewRecord, Position, RecordHeader, RecordType, Route};
use serde::{Deserialize, Serialize};

use crate::body::{self, BodyHead};
use crate::chunk::BatchRecord;
use crate::refusal::Refusal;
use crate::{Collector, chunk};

/// An import's name becomes part of ledger keys, which live for ever.
const MAX_IMPORT_NAME_BYTES: usize = 128;

/// `{"chunks":4294967295}` has 21 bytes; the rest is for white space.
const MAX_FINISH_BYTES: usize = 1024;

/// What is imported.
#[derive(Debug, Clone, Copy)]
enum Imported {
    Playback,
    Interactions,
}

impl Imported {
    fn topic(self, collector: &Collector) -> &str {
        match self {
            Imported::Playback => &collector.settings.import_topic,
            Imported::Interactions => &collector.settings.interactions_import_topic,
        }
    }

    fn batch_record(self) -> BatchRecord {
        match self {
            Imported::Playback => chunk::view_events_record,
            Imported::Interactions => chunk::interactions_record,
        }
    }
}

/// The name of an import, which is good as a part of a ledger key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ImportName(String);

impl ImportName {
    fn parse(name: String) -> Result<Self, Refusal> {
        let is_good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if (1..=MAX_IMPORT_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_good) {
            return Ok(Self(name));
        }
        Err(Refusal::field("import", format!("must be 1 to {MAX_IMPORT_NAME_BYTES} of the characters A-Za-z0-9_-")))
    }

    fn chunk_key(&self, chunk: u32) -> String {
        format!("{}/{chunk}", self.0)
    }

    fn end_key(&self) -> String {
        format!("{}/end", self.0)
    }
}

fn parse_chunk_number(text: &str) -> Result<u32, Refusal> {
    text.parse().map_err(|_| Refusal::field("chunk", format!("must be a number from 0 to {}", u32::MAX)))
}

#[derive(Serialize)]
struct ChunkAccepted {
    /// Events.
    accepted: u64,
    /// Whether the chunk was stored before.
    duplicate: bool,
}

pub(super) async fn post_playback_chunk(
    State(collector): State<Arc<Collector>>,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    post_chunk(&collector, Imported::Playback, path, headers, body).await
}

pub(super) async fn post_interactions_chunk(
    State(collector): State<Arc<Collector>>,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    post_chunk(&collector, Imported::Interactions, path, headers, body).await
}

async fn post_chunk(
    collector: &Arc<Collector>,
    imported: Imported,
    (import, chunk): (String, String),
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let parsed = || {
        let import = ImportName::parse(import)?;
        Ok((import, parse_chunk_number(&chunk)?, BodyHead::parse(&headers, &[ContentType::Protobuf])?))
    };
    let (import, chunk, head) = match parsed() {
        Ok(parsed) => parsed,
        Err(refusal) => return body::refuse(&headers, body, refusal).await,
    };
    let limit_bytes = collector.settings.max_import_chunk_bytes;
    let received = body::receive(collector, &head, &headers, body, limit_bytes).await?;
    let received_at_ms = collector.clock.now_ms();
    let max_batch_bytes = collector.settings.max_body_bytes;
    let (parsed, _unpacked) = received
        .unpack(move |unpacked| {
            let record = imported.batch_record();
            let parsed = chunk::parse(unpacked.bytes.clone(), received_at_ms, max_batch_bytes, record)?;
            Ok((parsed, unpacked))
        })
        .await?;
    check_open(collector, imported, &import, chunk).await?;
    let accepted = parsed.event_count;
    let topic = imported.topic(collector);
    let positions = collector.append_once(topic, &import.chunk_key(chunk), parsed.records).await?;
    let duplicate = positions.is_none();
    if !duplicate {
        collector.metrics.accepted(accepted);
    }
    Ok((StatusCode::ACCEPTED, Json(ChunkAccepted { accepted, duplicate })).into_response())
}

/// A new chunk behind the end of its import would be late as a whole: that is a mistake of the importer. A chunk that
/// was stored before may be sent again at any time.
async fn check_open(
    collector: &Arc<Collector>,
    imported: Imported,
    import: &ImportName,
    chunk: u32,
) -> Result<(), Refusal> {
    let (chunk_key, end_key) = (import.chunk_key(chunk), import.end_key());
    let closed = collector
        .read_log("reading the import's ledger", move |collector| {
            let topic = imported.topic(collector);
            Ok(collector.log.ledger_contains(topic, &end_key)? && !collector.log.ledger_contains(topic, &chunk_key)?)
        })
        .await?;
    if closed {
        let problem = format!("import `{}` is finished and chunk {chunk} is not part of it", import.0);
        return Err(Refusal::Conflict { problem });
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Finish {
    chunks: u32,
}

#[derive(Serialize)]
struct Finished<'a> {
    duplicate: bool,
    topic: &'a str,
    /// Per partition: the offset after the end record, or for a duplicate the log's present end.
    end_offsets: Vec<u64>,
}

pub(super) async fn post_playback_finish(
    State(collector): State<Arc<Collector>>,
    Path(import): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    post_finish(&collector, Imported::Playback, import, headers, body).await
}

pub(super) async fn post_interactions_finish(
    State(collector): State<Arc<Collector>>,
    Path(import): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    post_finish(&collector, Imported::Interactions, import, headers, body).await
}

async fn post_finish(
    collector: &Arc<Collector>,
    imported: Imported,
    import: String,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let parsed = || Ok((ImportName::parse(import)?, BodyHead::parse(&headers, &[ContentType::Json])?));
    let (import, head) = match parsed() {
        Ok(parsed) => parsed,
        Err(refusal) => return body::refuse(&headers, body, refusal).await,
    };
    let received = body::receive(collector, &head, &headers, body, MAX_FINISH_BYTES).await?;
    let received_at_ms = collector.clock.now_ms();
    let finish = received.unpack(|unpacked| parse_finish(&unpacked.bytes)).await?;

    let asked = import.clone();
    let (missing, partitions) = collector
        .read_log("reading the import's ledger", move |collector| {
            let topic = imported.topic(collector);
            let partitions = collector.log.generations(topic)?.newest();
            Ok((first_missing(collector, topic, &asked, finish.chunks)?, partitions))
        })
        .await?;
    if let Some(chunk) = missing {
        return Err(Refusal::Conflict { problem: format!("chunk {chunk} of import `{}` is not stored", import.0) });
    }

    let topic = imported.topic(collector);
    let ends = partitions.map(|partition| end_record(partition, received_at_ms)).collect();
    let positions = collector.append_once(topic, &import.end_key(), ends).await?;
    let duplicate = positions.is_none();
    let read = move |collector: &Collector| collector.end_offsets(imported.topic(collector));
    let mut end_offsets = collector.read_log("reading the ends of the log", read).await?;
    // Of partitions that have ended, the end; others may have got more since.
    for Position { partition, offset } in positions.into_iter().flatten() {
        if let Some(end) = end_offsets.get_mut(partition as usize) {
            *end = offset + 1;
        }
    }
    Ok(Json(Finished { duplicate, topic, end_offsets }).into_response())
}

fn parse_finish(bytes: &[u8]) -> Result<Finish, Refusal> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let finish: Finish = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        // Without a field to blame the path is `.` (the whole) or `?` (a key that did not end).
        let path = Some(error.path().to_string()).filter(|path| !matches!(path.as_str(), "." | "?"));
        Refusal::field(path.unwrap_or_else(|| "body".to_owned()), error.inner().to_string())
    })?;
    deserializer.end().map_err(|_| Refusal::field("body", "has something after its end"))?;
    Ok(finish)
}

/// The first of the chunks 0..`chunks` that is not stored. Stops there, so a made-up count costs nothing.
fn first_missing(
    collector: &Collector,
    topic: &str,
    import: &ImportName,
    chunks: u32,
) -> Result<Option<u32>, LogError> {
    for chunk in 0..chunks {
        if !collector.log.ledger_contains(topic, &import.chunk_key(chunk))? {
            return Ok(Some(chunk));
        }
    }
    Ok(None)
}

fn end_record(partition: u32, received_at_ms: i64) -> NewRecord {
    NewRecord {
        route: Route::Partition(partition),
        header: RecordHeader { record_type: RecordType::EndOfInput, received_at_ms, event_count: 0 },
        payload: Bytes::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_imports_are_plain() {
        for good in ["a", "waterloo-2024_v1", &"x".repeat(MAX_IMPORT_NAME_BYTES)] {
            assert!(ImportName::parse(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", "a/b", "a b", "é", "a.b", &"x".repeat(MAX_IMPORT_NAME_BYTES + 1)] {
            assert!(ImportName::parse(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_chunk_has_one_key() {
        let import = ImportName("a".to_owned());
        let key = |text| import.chunk_key(parse_chunk_number(text).expect("is a number"));
        assert_eq!(key("007"), key("7"));
        assert!(parse_chunk_number("4294967296").is_err());
        assert!(parse_chunk_number("end").is_err());
    }
}
