//! `POST /v1/cmcd`.

use std::sync::Arc;

use marquee_cmcd::decode_record;
use marquee_events::ContentType;
use marquee_stream::{LogError, RecordHeader, RecordType, partition_of};
use reqwest::Method;
use serde_json::json;

use super::fakes::FailingLog;
use super::{NOW_MS, Server, check, check_field, gzip, json_of, memory_log, until};

pub(super) const CMCD: &str = "application/cmcd";

pub(super) fn line(session: &str, sequence: u64) -> String {
    format!("br=(2400;v),e=ps,sid=\"{session}\",sn={sequence},sta=p,ts={NOW_MS},v=2")
}

/// Shaka 5.2 takes 202 for a failure: `shaka.net.HttpPluginUtils.isSuccessStatus`.
#[tokio::test]
async fn shaka_is_answered_with_200() {
    let server = Server::start(memory_log(), |_| {}).await;
    let answer = server.post("/v1/cmcd", CMCD, line("one", 0)).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
}

#[tokio::test]
async fn lines_are_stored_by_session() {
    let log = memory_log();
    let server = Server::start(log.clone(), |_| {}).await;
    let body = format!("{}\n{}\n{}\r\n", line("one", 0), line("two", 0), line("one", 1));
    let path = "/v1/cmcd?player=hls.js&player_version=1.7.4";
    assert_eq!(check(server.post(path, CMCD, body.clone()), 200).await, json!({"accepted": 3, "dead_letters": 0}));
    let mut records = log.records("playback");
    records.sort_by_key(|(_, record)| record.header.event_count);
    let expected = [("two", vec![line("two", 0)]), ("one", vec![line("one", 0), line("one", 1)])];
    assert_eq!(records.len(), expected.len());
    for ((partition, record), (session, lines)) in records.iter().zip(expected) {
        assert_eq!(*partition as u32, partition_of(session.as_bytes(), 4));
        let text = format!("player=hls.js&player_version=1.7.4\n{}", lines.join("\n"));
        assert_eq!(record.payload, text);
        let record_type = RecordType::ViewEvents(ContentType::Cmcd);
        let event_count = lines.len() as u32;
        assert_eq!(record.header, RecordHeader { record_type, received_at_ms: NOW_MS, event_count });
        let decoded = decode_record(&record.payload, NOW_MS).expect("is a record");
        assert_eq!(decoded.parts[0].batch.context.player, "hls.js");
    }
    let stats = server.collector.stats();
    assert_eq!((stats.accepted_events, stats.acknowledged_batches), (3, 1));
}

#[tokio::test]
async fn gzip_and_beacons_are_taken() {
    let log = memory_log();
    let server = Server::start(log.clone(), |_| {}).await;
    let body = gzip(line("one", 0).as_bytes());
    check(server.post("/v1/cmcd", "Application/CMCD", body).header("content-encoding", "gzip"), 200).await;
    check(server.post("/v1/cmcd", "text/plain;charset=UTF-8", line("one", 1)), 200).await;
    assert_eq!(log.records("playback").len(), 2);
    check_field(server.post("/v1/cmcd", "application/json", "{}"), 415, None, "takes application/cmcd").await;
    check_field(server.post("/v1/events", CMCD, line("one", 1)), 415, None, "takes application/json").await;
    check_field(server.post("/v1/events", "text/plain", line("one", 1)), 415, None, "takes application/json").await;
}

#[tokio::test]
async fn bad_lines_are_kept_with_the_good_ones() {
    let log = memory_log();
    let server = Server::start(log.clone(), |_| {}).await;
    let long = "x".repeat(1 << 20);
    let body = [line("one", 0), "sid=\"one\",e=zz".to_owned(), "tru=\"nca".to_owned(), long].join("\n");
    let answer = check(server.post("/v1/cmcd", CMCD, body), 200).await;
    let first = json!({"field": "lines[1].e", "problem": "cmcd_key: key `e` has the unknown value `zz`"});
    assert_eq!(answer, json!({"accepted": 1, "dead_letters": 3, "first_dead_letter": first}));
    let mut reasons = Vec::new();
    for (_, record) in log.records("playback") {
        assert!(record.payload.len() < 40_000, "the long line is cut");
        let decoded = decode_record(&record.payload, NOW_MS).expect("is a record");
        reasons.extend(decoded.dead.into_iter().map(|dead| dead.problem.reason()));
    }
    reasons.sort_unstable();
    assert_eq!(reasons, ["cmcd_key", "cmcd_line_too_long", "cmcd_syntax"]);
}

/// dash.js 5.2 takes a 400 for a 500 and sends the line again with each event.
#[tokio::test]
async fn dash_js_is_not_made_to_send_again() {
    let log = memory_log();
    let server = Server::start(log.clone(), |_| {}).await;
    let post = |body: &str| server.post("/v1/cmcd", CMCD, body.to_owned());
    for (body, field) in [
        ("e=ps,ts=5,v=2", "lines[0].sid"),
        ("e=t,sid=\"a\",ts=5,v=2", "lines[0].sn"),
        ("sid=\"a\",zz=1", "lines[0].zz"),
        ("sid=\"a\",br=\"x\"", "lines[0].br"),
    ] {
        let answer = check(post(body), 200).await;
        assert_eq!((&answer["accepted"], &answer["dead_letters"]), (&json!(0), &json!(1)));
        assert_eq!(answer["first_dead_letter"]["field"], field);
    }
    assert_eq!(log.records("playback").len(), 4);
}

#[tokio::test]
async fn what_no_player_sends_is_refused_and_not_stored() {
    let log = memory_log();
    let server = Server::start(log.clone(), |_| {}).await;
    let post = |body: &str| server.post("/v1/cmcd", CMCD, body.to_owned());
    check_field(post(""), 400, Some("lines"), "no lines").await;
    check_field(post("\r\n"), 400, Some("lines"), "no lines").await;
    check_field(post("e=ps,sid=\"a"), 400, Some("lines[0]"), "cmcd_syntax: the line is no dictionary").await;
    check_field(post("{\"events\": []}\n<html>"), 400, Some("lines[0]"), "cmcd_syntax").await;
    check_field(post(&"x".repeat(1 << 20)), 400, Some("lines[0]"), "cmcd_line_too_long").await;
    let sessions: Vec<String> = (0..65).map(|n| line(&format!("s{n}"), 0)).collect();
    check_field(post(&sessions.join("\n")), 400, Some("lines"), "more than 64 sessions").await;
    let context = server.post("/v1/cmcd?plyer=x", CMCD, line("a", 0));
    check_field(context, 400, Some("query.plyer"), "no field of the context").await;
    assert!(log.records("playback").is_empty());
}

#[tokio::test]
async fn large_bodies_are_refused() {
    let server = Server::start(memory_log(), |_| {}).await;
    let body = format!("{}\n", line("a", 0)).repeat(80_000);
    check_field(server.post("/v1/cmcd", CMCD, body), 413, None, "4194304 bytes").await;
    let body = format!("{}\n", line("a", 0)).repeat(5_000);
    check_field(server.post("/v1/cmcd", CMCD, body), 400, Some("lines"), "more than 4096 lines").await;
}

/// A player of another origin may post the type, and read when to come back.
#[tokio::test]
async fn browsers_may_post_and_are_told_to_come_back() {
    const ORIGIN: &str = "https://play.example.com";
    let log = memory_log();
    let server = Server::start(log.clone(), |s| {
        s.allowed_origins = vec![ORIGIN.to_owned()];
        s.max_concurrent_requests = 1;
    })
    .await;
    let preflight = server.client.request(Method::OPTIONS, format!("{}/v1/cmcd?player=x", server.base));
    let preflight = preflight.header("origin", ORIGIN).header("access-control-request-method", "POST");
    let preflight = preflight.header("access-control-request-headers", "content-type").send().await.unwrap();
    assert_eq!(preflight.status(), 200);
    assert_eq!(preflight.headers()["access-control-allow-origin"], ORIGIN);
    let allowed = preflight.headers()["access-control-allow-headers"].to_str().unwrap().to_owned();
    assert!(allowed.contains("content-type"), "{allowed}");

    log.hold();
    let first = tokio::spawn(server.post("/v1/cmcd", CMCD, line("a", 0)).header("origin", ORIGIN).send());
    until("the append begins", || log.waiting() == 1).await;
    let refused = server.post("/v1/cmcd", CMCD, line("a", 1)).header("origin", ORIGIN).send().await.unwrap();
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(refused.headers()["access-control-expose-headers"], "retry-after");
    json_of(refused, 429).await;
    log.release();
    json_of(first.await.unwrap().unwrap(), 200).await;
}

#[tokio::test]
async fn a_log_that_fails_is_no_reason_to_be_silent() {
    let full = Server::start(Arc::new(FailingLog(|| LogError::Full { waiting_bytes: 1 })), |_| {}).await;
    let refused = full.post("/v1/cmcd", CMCD, line("a", 0)).send().await.unwrap();
    assert_eq!(refused.headers()["retry-after"], "1");
    json_of(refused, 429).await;
    let broken = Server::start(Arc::new(FailingLog(|| LogError::Damaged("/secret".to_owned()))), |_| {}).await;
    check_field(broken.post("/v1/cmcd", CMCD, line("a", 0)), 503, None, "storing the events failed").await;
}
