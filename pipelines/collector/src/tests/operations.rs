//! Progress, health, CORS, start and stop.

use std::sync::Arc;

use marquee_events::ErrorKind;
use marquee_stream::LogError;
use reqwest::Method;
use serde_json::json;

use super::fakes::{FailingLog, MemoryLog};
use super::{Server, check, check_field, json_of, memory_log, until};
use crate::CollectorError;

const ORIGIN: &str = "https://play.example.com";

#[tokio::test]
async fn progress_tells_what_is_committed_and_what_there_is() {
    let log = memory_log();
    let server = Server::start(log.clone(), |_| {}).await;
    check(server.post_events("a"), 202).await;
    let mut end = [0, 0, 0, 0];
    end[log.records("playback")[0].0] = 1;
    let progress = check(server.get("/v1/progress?topic=playback"), 200).await;
    assert_eq!(progress, json!({"topic": "playback", "committed": [0, 0, 0, 0], "end": end}));
    check_field(server.get("/v1/progress?topic=nothing"), 404, None, "no topic `nothing`").await;
    check_field(server.get("/v1/progress?topic=playback-import"), 404, None, "no job reads").await;
    check_field(server.get("/v1/progress"), 400, Some("topic"), "missing field").await;
    let failing = Server::start(Arc::new(FailingLog(|| LogError::Damaged("/secret".to_owned()))), |_| {}).await;
    check_field(failing.get("/v1/progress?topic=playback"), 503, None, "reading the progress failed").await;
}

#[tokio::test]
async fn health_is_the_logs_health() {
    let server = Server::start(memory_log(), |_| {}).await;
    assert_eq!(check(server.get("/healthz"), 200).await, json!({"status": "ok"}));
    let failing = Server::start(Arc::new(FailingLog(|| LogError::Damaged("/secret".to_owned()))), |_| {}).await;
    check_field(failing.get("/healthz"), 503, None, "reading the log failed").await;
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused_in_json() {
    let server = Server::start(memory_log(), |_| {}).await;
    check_field(server.get("/v2/events"), 404, None, "no such path").await;
    check_field(server.get("/v1/events"), 405, None, "method").await;
}

#[tokio::test]
async fn configured_origins_may_post() {
    let server = Server::start(memory_log(), |s| s.allowed_origins = vec![ORIGIN.to_owned()]).await;
    let preflight = |origin: &str| {
        let url = format!("{}/v1/events", server.base);
        let request = server.client.request(Method::OPTIONS, url).header("origin", origin.to_owned());
        request.header("access-control-request-method", "POST")
    };
    let response = preflight(ORIGIN).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("access-control-allow-origin"), ORIGIN);
    assert_eq!(header("access-control-allow-methods"), "POST");
    assert_eq!(header("access-control-allow-headers"), "content-type,content-encoding,traceparent");
    let other = preflight("https://evil.example.com").send().await.unwrap();
    assert_eq!(other.headers().get("access-control-allow-origin"), None);

    let posted = server.post_events("a").header("origin", ORIGIN).send().await.unwrap();
    assert_eq!(posted.headers()["access-control-allow-origin"], ORIGIN);
    assert_eq!(posted.headers()["access-control-expose-headers"], "retry-after");
    json_of(posted, 202).await;
}

#[tokio::test]
async fn without_origins_there_is_no_cors() {
    let server = Server::start(memory_log(), |_| {}).await;
    let preflight = server.client.request(Method::OPTIONS, format!("{}/v1/events", server.base));
    let preflight = preflight.header("origin", ORIGIN).header("access-control-request-method", "POST");
    let response = preflight.send().await.unwrap();
    assert_eq!(response.status(), 405);
    let posted = server.post_events("a").header("origin", ORIGIN).send().await.unwrap();
    for response in [response, posted] {
        assert_eq!(response.headers().get("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn stopping_lets_requests_end() {
    let log = memory_log();
    let server = Server::start(log.clone(), |_| {}).await;
    log.hold();
    let answer = tokio::spawn(server.post_events("a").send());
    until("the append begins", || log.waiting() == 1).await;
    server.stop.send(()).unwrap();
    let url = format!("{}/healthz", server.base);
    let refuses_new = async { while reqwest::get(&url).await.is_ok() {} };
    tokio::time::timeout(std::time::Duration::from_secs(10), refuses_new).await.expect("takes nothing new");
    log.release();
    json_of(answer.await.unwrap().unwrap(), 202).await;
    server.serving.await.unwrap().expect("stops without an error");
}

#[tokio::test]
async fn wrong_settings_stop_the_start() {
    let server = Server::start(memory_log(), |s| s.max_body_bytes = 0).await;
    let error = server.serving.await.unwrap().expect_err("is refused");
    assert!(matches!(error, CollectorError::Setting { setting: "max_body_bytes", .. }), "{error}");
    let without_import = Arc::new(MemoryLog::new(&[("playback", 1)]));
    let server = Server::start(without_import, |_| {}).await;
    let error = server.serving.await.unwrap().expect_err("is refused");
    assert!(matches!(&error, CollectorError::Topic { topic, .. } if topic == "playback-import"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}
