//! Imports: chunks and their end.

use std::sync::Arc;

use marquee_events::ContentType;
use marquee_events::proto::{ViewEventBatch, ViewEventBatches};
use marquee_stream::{LogError, RecordHeader, RecordType, partition_of};
use prost::Message as _;
use reqwest::RequestBuilder;
use serde_json::json;

use super::fakes::FailingLog;
use super::{JSON, NOW_MS, PROTOBUF, Server, batch, check, check_field, gzip, memory_log, protobuf};

const TOPIC: &str = "playback-import";

fn chunk(batches: &[ViewEventBatch]) -> Vec<u8> {
    ViewEventBatches { batches: batches.to_vec() }.encode_to_vec()
}

impl Server {
    fn post_chunk(&self, chunk_path: &str, body: Vec<u8>) -> RequestBuilder {
        let (import, chunk) = chunk_path.split_once('/').unwrap();
        self.post(&format!("/v1/imports/{import}/chunks/{chunk}"), PROTOBUF, body)
    }

    fn finish(&self, import: &str, chunks: u32) -> RequestBuilder {
        self.post(&format!("/v1/imports/{import}/finish"), JSON, format!("{{\"chunks\": {chunks}}}"))
    }
}

#[tokio::test]
async fn a_chunk_is_stored_once_with_a_record_for_each_batch() {
    let log = memory_log();
    let server = Server::start(log.clone(), |_| {}).await;
    let batches = [batch("a", 2), batch("b", 3), batch("a", 1)];
    let post = || server.post_chunk("w/0", chunk(&batches));
    assert_eq!(check(post(), 202).await, json!({"accepted": 6, "duplicate": false}));
    assert_eq!(check(post(), 202).await, json!({"accepted": 6, "duplicate": true}));
    let again = server.post_chunk("w/00", gzip(&chunk(&batches))).header("content-encoding", "gzip");
    assert_eq!(check(again, 202).await, json!({"accepted": 6, "duplicate": true}));
    assert_eq!(server.collector.stats().accepted_events, 6);

    let mut found: Vec<_> = log.records(TOPIC).into_iter().map(|(p, r)| (p as u32, r.header, r.payload)).collect();
    let mut expected: Vec<_> = batches
        .iter()
        .map(|batch| {
            let session_id = batch.context.clone().unwrap().session_id;
            let record_type = RecordType::ViewEvents(ContentType::Protobuf);
            let event_count = batch.events.len() as u32;
            let header = RecordHeader { record_type, received_at_ms: NOW_MS, event_count };
            (partition_of(session_id.as_bytes(), 3), header, protobuf(batch).into())
        })
        .collect();
    found.sort_by_key(|(_, header, _)| header.event_count);
    expected.sort_by_key(|(_, header, _)| header.event_count);
    assert_eq!(found, expected);
    assert!(log.records("playback").is_empty());
}

#[tokio::test]
async fn bad_chunks_are_refused_as_a_whole() {
    let log = memory_log();
    let server = Server::start(log.clone(), |s| {
        s.max_body_bytes = 100;
        s.max_import_chunk_bytes = 300;
    })
    .await;
    let bad = server.post_chunk("w/0", chunk(&[batch("a", 1), batch("", 1)]));
    check_field(bad, 400, Some("batches[1].context.session_id"), "missing").await;
    check_field(server.post_chunk("w/0", Vec::new()), 400, Some("batches"), "empty").await;
    let large_batch = server.post_chunk("w/0", chunk(&[batch("a", 60)]));
    check_field(large_batch, 400, Some("batches[0]"), "at most 100").await;
    check_field(server.post_chunk("w/0", vec![0; 301]), 413, None, "300 bytes").await;
    let bomb = server.post_chunk("w/0", gzip(&[0; 301])).header("content-encoding", "gzip");
    check_field(bomb, 413, None, "300 bytes").await;
    let good = chunk(&[batch("a", 1)]);
    check_field(server.post_chunk("a.b/0", good.clone()), 400, Some("import"), "A-Za-z0-9_-").await;
    let long = format!("{}/0", "x".repeat(129));
    check_field(server.post_chunk(&long, good.clone()), 400, Some("import"), "128").await;
    check_field(server.post_chunk("w/-1", good.clone()), 400, Some("chunk"), "number").await;
    check_field(server.post("/v1/imports/w/chunks/0", JSON, "{}"), 415, None, PROTOBUF).await;
    assert!(log.records(TOPIC).is_empty());
    check(server.post_chunk("w/0", good), 202).await;
}

#[tokio::test]
async fn finishing_needs_every_chunk_and_ends_every_partition_once() {
    let log = memory_log();
    let server = Server::start(log.clone(), |_| {}).await;
    for number in [0, 2] {
        check(server.post_chunk(&format!("w/{number}"), chunk(&[batch("a", 1)])), 202).await;
    }
    check_field(server.finish("w", 3), 409, None, "chunk 1 of import `w`").await;
    check_field(server.finish("w", u32::MAX), 409, None, "chunk 1 of import `w`").await;
    check_field(server.finish("other", 1), 409, None, "chunk 0 of import `other`").await;
    assert_eq!(log.records(TOPIC).len(), 2, "nothing ended yet");

    check(server.post_chunk("w/1", chunk(&[batch("a", 1)])), 202).await;
    let session_partition = partition_of(b"a", 3) as usize;
    let mut end_offsets = [1, 1, 1];
    end_offsets[session_partition] = 4;
    let finished = check(server.finish("w", 3), 200).await;
    assert_eq!(finished, json!({"duplicate": false, "topic": TOPIC, "end_offsets": end_offsets}));
    let header = RecordHeader { record_type: RecordType::EndOfInput, received_at_ms: NOW_MS, event_count: 0 };
    let ends: Vec<_> = log.records(TOPIC).into_iter().filter(|(_, record)| record.header == header).collect();
    assert_eq!(ends.iter().map(|(partition, _)| *partition).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(ends.iter().all(|(_, record)| record.payload.is_empty()));

    let finished = check(server.finish("w", 3), 200).await;
    assert_eq!(finished, json!({"duplicate": true, "topic": TOPIC, "end_offsets": end_offsets}));
    assert_eq!(log.records(TOPIC).len(), 6);
}

#[tokio::test]
async fn behind_the_end_only_known_chunks_are_taken() {
    let server = Server::start(memory_log(), |_| {}).await;
    let good = || chunk(&[batch("a", 1)]);
    check(server.post_chunk("w/0", good()), 202).await;
    check(server.finish("w", 1), 200).await;
    assert_eq!(check(server.post_chunk("w/0", good()), 202).await["duplicate"], true);
    check_field(server.post_chunk("w/1", good()), 409, None, "is finished").await;
    assert_eq!(check(server.post_chunk("x/1", good()), 202).await["duplicate"], false);
    // An import without any chunk is an import.
    check(server.finish("empty", 0), 200).await;
}

#[tokio::test]
async fn finishing_takes_a_count_in_json() {
    let server = Server::start(memory_log(), |_| {}).await;
    let finish = |body: &str| server.post("/v1/imports/w/finish", JSON, body.to_owned());
    check_field(finish("{"), 400, Some("body"), "EOF").await;
    check_field(finish("{}"), 400, Some("body"), "missing field `chunks`").await;
    check_field(finish(r#"{"chunks": -1}"#), 400, Some("chunks"), "invalid value").await;
    check_field(finish(r#"{"chunks": 1, "more": 1}"#), 400, Some("more"), "unknown field").await;
    check_field(finish(r#"{"chunks": 1} x"#), 400, Some("body"), "after its end").await;
    check_field(finish(&" ".repeat(2000)), 413, None, "1024 bytes").await;
    check_field(server.post("/v1/imports/a.b/finish", JSON, "{}"), 400, Some("import"), "A-Z").await;
    check_field(server.post("/v1/imports/w/finish", PROTOBUF, "{}"), 415, None, JSON).await;
}

#[tokio::test]
async fn a_log_that_fails_is_told_apart_from_a_full_one() {
    let failing = Server::start(Arc::new(FailingLog(|| LogError::Damaged("/secret".to_owned()))), |_| {}).await;
    let good = || chunk(&[batch("a", 1)]);
    check_field(failing.post_chunk("w/0", good()), 503, None, "failed").await;
    check_field(failing.finish("w", 0), 503, None, "failed").await;
    let full = Server::start(Arc::new(FailingLog(|| LogError::Full { waiting_bytes: 1 })), |_| {}).await;
    check_field(full.finish("w", 0), 429, None, "the log is full").await;
}
