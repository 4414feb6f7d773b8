//! `POST /v1/interactions` and `/v1/interaction-imports/…`: the same entry as view events, onto topics of their own, by
//! profile.

use marquee_events::interactions::proto::interaction::Payload;
use marquee_events::interactions::proto::{Context, Interaction, InteractionBatch, InteractionBatches, Rating};
use marquee_events::{ContentType, interactions_to_json};
use marquee_stream::{RecordHeader, RecordType, partition_of};
use prost::Message as _;
use serde_json::json;

use super::{JSON, NOW_MS, PROTOBUF, Server, check, check_field, gzip, memory_log};

pub(super) fn ratings(profile_id: &str, values: &[f64]) -> InteractionBatch {
    let rating = |value: &f64| Interaction {
        interaction_id: format!("i{value}"),
        event_time_ms: NOW_MS,
        payload: Some(Payload::Rating(Rating { title_id: "t".to_owned(), value: *value })),
    };
    InteractionBatch {
        context: Some(Context { profile_id: profile_id.to_owned(), ..Default::default() }),
        sent_at_ms: NOW_MS,
        interactions: values.iter().map(rating).collect(),
    }
}

#[tokio::test]
async fn interactions_are_stored_as_they_came_by_profile() {
    let log = memory_log();
    let server = Server::start(log.clone(), |_| {}).await;
    let batch = ratings("p1", &[1.0, 4.5]);
    let (text, bytes) = (interactions_to_json(&batch).into_bytes(), batch.encode_to_vec());
    let post = |content_type: &str, body: Vec<u8>| server.post("/v1/interactions", content_type, body);
    assert_eq!(check(post(JSON, text.clone()), 202).await, json!({"accepted": 2}));
    check(post(PROTOBUF, bytes.clone()), 202).await;
    check(post(JSON, gzip(&text)).header("content-encoding", "gzip"), 202).await;
    let records = log.records("interactions");
    let header = |content_type| RecordHeader {
        record_type: RecordType::Interactions(content_type),
        received_at_ms: NOW_MS,
        event_count: 2,
    };
    let found: Vec<_> = records.iter().map(|(_, record)| (record.header, record.payload.to_vec())).collect();
    let expected = [
        (header(ContentType::Json), text.clone()),
        (header(ContentType::Protobuf), bytes),
        (header(ContentType::Json), text),
    ];
    assert_eq!(found, expected);
    let partition = partition_of(b"p1", 4) as usize;
    assert!(records.iter().all(|(found, _)| *found == partition));
    assert!(log.records("playback").is_empty());
    assert_eq!(server.collector.stats().accepted_events, 6);
}

#[tokio::test]
async fn bad_interactions_are_refused_by_field() {
    let log = memory_log();
    let server = Server::start(log.clone(), |s| s.max_body_bytes = 1000).await;
    let post = |body: String| server.post("/v1/interactions", JSON, body);
    let seven = interactions_to_json(&ratings("p", &[5.0, 7.0]));
    check_field(post(seven), 400, Some("interactions[1].rating.value"), "7 is not between 0.5 and 5").await;
    check_field(post(interactions_to_json(&ratings("", &[5.0]))), 400, Some("context.profile_id"), "missing").await;
    let one = |fields: &str| format!(r#"{{"context":{{"profile_id":"p"}},"interactions":[{{{fields}}}]}}"#);
    let negative = one(r#""event_time_ms":-5,"search":{"query":"x"}"#);
    check_field(post(negative), 400, Some("interactions[0].event_time_ms"), "-5 is not").await;
    let unknown = one(r#""event_time_ms":5,"search":{"query":"x","page":1}"#);
    check_field(post(unknown), 400, Some("interactions[0].search.page"), "unknown field").await;
    check_field(post(" ".repeat(1001)), 413, None, "1000 bytes").await;
    check_field(server.post("/v1/interactions", "text/plain", "{}"), 415, None, "application/json").await;
    assert!(log.records("interactions").is_empty());
}

#[tokio::test]
async fn imports_have_a_topic_and_a_ledger_of_their_own() {
    let log = memory_log();
    let server = Server::start(log.clone(), |_| {}).await;
    let chunk = InteractionBatches { batches: vec![ratings("a", &[1.0]), ratings("b", &[2.0, 3.0])] }.encode_to_vec();
    let post = |path: &str| server.post(&format!("/v1/{path}"), PROTOBUF, chunk.clone());
    assert_eq!(check(post("interaction-imports/ml/chunks/0"), 202).await, json!({"accepted": 3, "duplicate": false}));
    assert_eq!(check(post("interaction-imports/ml/chunks/0"), 202).await, json!({"accepted": 3, "duplicate": true}));
    let finish = |chunks: u32| {
        let body = format!("{{\"chunks\":{chunks}}}");
        server.post("/v1/interaction-imports/ml/finish", JSON, body)
    };
    check_field(finish(2), 409, None, "chunk 1 of import `ml`").await;
    let finished = check(finish(1), 200).await;
    assert_eq!((&finished["topic"], &finished["duplicate"]), (&json!("interactions-import"), &json!(false)));
    assert_eq!(check(finish(1), 200).await["duplicate"], true);
    check_field(post("interaction-imports/ml/chunks/1"), 409, None, "is finished").await;
    let records = log.records("interactions-import");
    assert_eq!(records.len(), 2 + 3, "two batches and the end of three partitions");
    assert!(log.records("playback-import").is_empty());

    let seven = InteractionBatches { batches: vec![ratings("a", &[1.0]), ratings("b", &[7.0])] }.encode_to_vec();
    let refused = server.post("/v1/interaction-imports/other/chunks/0", PROTOBUF, seven);
    check_field(refused, 400, Some("batches[1].interactions[0].rating.value"), "7 is not").await;
    assert_eq!(log.records("interactions-import").len(), 5);
}
