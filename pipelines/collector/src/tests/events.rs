//! `POST /v1/events`.

use std::time::Duration;

use marquee_events::{ContentType, MAX_EVENTS_PER_BATCH, to_json};
use marquee_stream::{LogError, RecordHeader, RecordType, partition_of};
use serde_json::json;

use super::fakes::FailingLog;
use super::{JSON, NOW_MS, PROTOBUF, Server, batch, check, check_field, gzip, json_of, memory_log, protobuf};

/// Posts and checks what the log holds afterwards: the decompressed body, stamped, in the session's partition.
async fn check_stored(content_type: ContentType, body: Vec<u8>, encoding: Option<&str>) {
    let log = memory_log();
    let server = Server::start(log.clone(), |_| {}).await;
    let sent = if encoding == Some("gzip") { gzip(&body) } else { body.clone() };
    let mut request = server.post("/v1/events", content_type.mime(), sent);
    if let Some(encoding) = encoding {
        request = request.header("content-encoding", encoding);
    }
    assert_eq!(check(request, 202).await, json!({"accepted": 3}));
    let records = log.records("playback");
    assert_eq!(records.len(), 1);
    let (partition, record) = &records[0];
    assert_eq!(*partition as u32, partition_of(b"session-1", 4));
    assert_eq!(record.payload, body);
    let record_type = RecordType::ViewEvents(content_type);
    assert_eq!(record.header, RecordHeader { record_type, received_at_ms: NOW_MS, event_count: 3 });
}

#[tokio::test]
async fn json_and_protobuf_are_stored_as_they_came() {
    let batch = batch("session-1", 3);
    check_stored(ContentType::Json, to_json(&batch).into_bytes(), None).await;
    check_stored(ContentType::Json, to_json(&batch).into_bytes(), Some("identity")).await;
    check_stored(ContentType::Protobuf, protobuf(&batch), None).await;
}

#[tokio::test]
async fn gzip_is_stored_decompressed() {
    let batch = batch("session-1", 3);
    check_stored(ContentType::Json, to_json(&batch).into_bytes(), Some("gzip")).await;
    check_stored(ContentType::Protobuf, protobuf(&batch), Some("gzip")).await;
}

#[tokio::test]
async fn rules_of_values_are_not_the_collectors_business() {
    let server = Server::start(memory_log(), |_| {}).await;
    let far_future = r#"{"context":{"session_id":"a"},"events":[{"sequence":0,"event_time_ms":99999999999999}]}"#;
    check(server.post("/v1/events", "Application/JSON; charset=utf-8", far_future), 202).await;
}

#[tokio::test]
async fn what_cannot_be_decoded_is_refused_by_field() {
    let log = memory_log();
    let server = Server::start(log.clone(), |_| {}).await;
    let post = |body: &str| server.post("/v1/events", JSON, body.to_owned());
    check_field(post("{"), 400, Some("batch"), "EOF").await;
    check_field(post(r#"{"context":{"session_id":1}}"#), 400, Some("context.session_id"), "invalid type").await;
    check_field(post(r#"{"context":{"session_id":"a"},"events":[]}"#), 400, Some("events"), "empty").await;
    let events = |sequence: &str| format!(r#"{{"context":{{"session_id":"a"}},"events":[{{"sequence":{sequence}}}]}}"#);
    check_field(post(&events("-1")), 400, Some("events[0].sequence"), "invalid value").await;
    let many = server.post("/v1/events", PROTOBUF, protobuf(&batch("a", MAX_EVENTS_PER_BATCH as u64 + 1)));
    check_field(many, 400, Some("events"), "at most").await;
    let no_gzip = server.post("/v1/events", JSON, "{}").header("content-encoding", "gzip");
    check_field(no_gzip, 400, Some("body"), "no gzip").await;
    let cut = gzip(to_json(&batch("a", 1)).as_bytes());
    let cut = server.post("/v1/events", JSON, cut[..cut.len() / 2].to_vec()).header("content-encoding", "gzip");
    check_field(cut, 400, Some("body"), "no gzip").await;
    assert!(log.records("playback").is_empty());
    assert_eq!(server.collector.stats().responses[&400], 7);
}

#[tokio::test]
async fn bodies_packed_otherwise_than_they_say_are_refused() {
    let log = memory_log();
    let server = Server::start(log.clone(), |_| {}).await;
    let (json, bytes) = (to_json(&batch("a", 1)).into_bytes(), protobuf(&batch("a", 1)));
    let post = |content_type, body: &[u8], encoding| {
        server.post("/v1/events", content_type, body.to_vec()).header("content-encoding", encoding)
    };
    // Packed, and the header says nothing of it.
    check_field(post(JSON, &gzip(&json), "identity"), 400, Some("batch"), "expected value").await;
    check_field(post(PROTOBUF, &gzip(&bytes), "identity"), 400, Some("batch"), "protobuf").await;
    // Not packed, or packed twice.
    check_field(post(JSON, &json, "gzip"), 400, Some("body"), "no gzip").await;
    check_field(post(PROTOBUF, &bytes, "x-gzip"), 400, Some("body"), "no gzip").await;
    check_field(post(JSON, &gzip(&gzip(&json)), "gzip"), 400, Some("batch"), "expected value").await;
    let broken = [&gzip(&json)[..], b"rubbish"].concat();
    check_field(post(JSON, &broken, "gzip"), 400, Some("body"), "no gzip").await;
    for encoding in ["deflate", "zstd", "gzip, gzip", ""] {
        check_field(post(JSON, &json, encoding), 415, None, "the content encoding is unknown").await;
    }
    // The other format than the header says.
    check_field(post(JSON, &bytes, "identity"), 400, Some("batch"), "expected value").await;
    check_field(post(PROTOBUF, &json, "identity"), 400, Some("batch"), "protobuf").await;
    assert!(log.records("playback").is_empty());
}

#[tokio::test]
async fn texts_that_are_none_are_refused_by_field() {
    let log = memory_log();
    let server = Server::start(log.clone(), |_| {}).await;
    let json = |session_id: &[u8]| {
        let body = [br#"{"context":{"session_id":""#, session_id, br#""},"events":[{"sequence":0}]}"#].concat();
        server.post("/v1/events", JSON, body)
    };
    check_field(json(b"a\0b"), 400, Some("context.session_id"), "control character").await;
    check_field(json(b"a\xffb"), 400, Some("context.session_id"), "invalid unicode").await;
    check_field(json(b"\\ud800"), 400, Some("context.session_id"), "hex escape").await;
    check_field(json(&[b'x'; 257]), 400, Some("context.session_id"), "has 257 bytes").await;
    check_field(json(&vec![b'x'; 3 << 20]), 400, Some("context.session_id"), "has 3145728 bytes").await;
    check_field(json(&vec![b'x'; 10 << 20]), 413, None, "4194304 bytes").await;
    let protobuf = server.post("/v1/events", PROTOBUF, b"\x0a\x03\x0a\x01\xff".to_vec());
    check_field(protobuf, 400, Some("context"), "not UTF-8").await;
    // The answer does not send the megabytes back.
    let sequence = format!(r#"{{"events":[{{"sequence":"{}"}}]}}"#, "x".repeat(3 << 20));
    let answer = check(server.post("/v1/events", JSON, sequence), 400).await;
    assert_eq!(answer["error"]["field"], "events[0].sequence");
    assert!(answer.to_string().len() < 2_000);
    assert!(log.records("playback").is_empty());
}

#[tokio::test]
async fn unknown_formats_are_refused() {
    let server = Server::start(memory_log(), |_| {}).await;
    check_field(server.post("/v1/events", "text/plain", "{}"), 415, None, "application/x-protobuf").await;
    let missing = server.client.post(format!("{}/v1/events", server.base)).body("{}");
    check_field(missing, 415, None, "missing").await;
    let brotli = server.post_events("a").header("content-encoding", "br");
    check_field(brotli, 415, None, "gzip").await;
    let large = server.post("/v1/events", "text/plain", vec![b' '; 8 << 20]);
    check_field(large, 415, None, "`text/plain`").await;
}

#[tokio::test]
async fn the_answer_waits_for_durability() {
    let log = memory_log();
    let server = Server::start(log.clone(), |_| {}).await;
    log.hold();
    let mut answer = tokio::spawn(server.post_events("a").send());
    super::until("the append begins", || log.waiting() == 1).await;
    // An answer that does not wait would arrive within this time.
    tokio::time::timeout(Duration::from_millis(200), &mut answer).await.expect_err("is not durable yet");
    assert!(log.records("playback").is_empty());
    log.release();
    assert_eq!(json_of(answer.await.unwrap().unwrap(), 202).await, json!({"accepted": 2}));
    assert_eq!(log.records("playback").len(), 1);
    let stats = server.collector.stats();
    assert!(stats.acknowledge_p50_ms.is_some_and(|ms| ms >= 200.0), "{stats:?}");
}

#[tokio::test]
async fn a_full_log_asks_for_a_retry() {
    let server = Server::start(std::sync::Arc::new(FailingLog(|| LogError::Full { waiting_bytes: 1 })), |_| {}).await;
    let response = server.post_events("a").send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "1");
    let answer = json_of(response, 429).await;
    assert_eq!(answer, json!({"error": {"problem": "the log is full, try again"}}));
    assert!(server.collector.takes_events(), "the next batch may fit");
}

#[tokio::test]
async fn a_failing_log_is_unavailable_and_tells_no_insides() {
    let failures: [fn() -> LogError; 4] = [
        || LogError::Storage { operation: "syncing /secret/segment", source: "disk".into() },
        || LogError::Damaged("/secret/segment".to_owned()),
        || LogError::InUse("/secret".to_owned()),
        || LogError::UnknownTopic("secret".to_owned()),
    ];
    for failure in failures {
        let server = Server::start(std::sync::Arc::new(FailingLog(failure)), |_| {}).await;
        let answer = check(server.post_events("a"), 503).await;
        assert_eq!(answer, json!({"error": {"problem": "storing the events failed, try again later"}}));
        assert_eq!(server.collector.stats().accepted_events, 0);
        assert!(!server.collector.takes_events());
    }
}

#[tokio::test]
async fn statistics_count_what_happened() {
    let server = Server::start(memory_log(), |_| {}).await;
    assert_eq!(server.collector.stats().acknowledge_p99_ms, None);
    for session_id in ["a", "b", "c"] {
        check(server.post_events(session_id), 202).await;
    }
    check(server.post("/v1/events", JSON, "{"), 400).await;
    check(server.get("/healthz"), 200).await;
    let stats = server.collector.stats();
    assert_eq!((stats.accepted_events, stats.acknowledged_batches), (6, 3));
    assert_eq!(stats.responses.into_iter().collect::<Vec<_>>(), [(202, 3), (400, 1)]);
    assert!(stats.acknowledge_p50_ms <= stats.acknowledge_p99_ms && stats.acknowledge_p50_ms > Some(0.0));
}
