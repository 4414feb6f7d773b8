//! What is bounded: bodies, time, requests under way, memory.

use std::time::{Duration, Instant};

use marquee_events::to_json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{JSON, Server, batch, check, check_field, gzip, json_of, memory_log, until};

#[tokio::test]
async fn large_bodies_are_refused() {
    let server = Server::start(memory_log(), |_| {}).await;
    let large = || vec![b' '; (4 << 20) + 1];
    check_field(server.post("/v1/events", JSON, large()), 413, None, "4194304 bytes").await;
    let fits = format!("{}{}", to_json(&batch("a", 1)), " ".repeat(3 << 20));
    check(server.post("/v1/events", JSON, fits), 202).await;
}

#[tokio::test]
async fn large_bodies_of_unknown_length_are_refused() {
    let server = Server::start(memory_log(), |_| {}).await;
    let mut stream = connect(&server).await;
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {JSON}\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = [b"100000\r\n".as_slice(), &vec![b' '; 1 << 20], b"\r\n"].concat();
    for _ in 0..5 {
        stream.write_all(&piece).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert_answer(&mut stream, 413).await;
}

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.base.trim_start_matches("http://")).await.unwrap()
}

/// Reads to the end of the connection and checks the status.
async fn assert_answer(stream: &mut TcpStream, status: u16) {
    let mut answer = String::new();
    let reading = stream.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(10), reading).await.expect("the connection is closed").unwrap();
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
}

#[tokio::test]
async fn a_gzip_bomb_is_refused_without_being_unpacked() {
    let server = Server::start(memory_log(), |s| s.max_bytes_in_flight = 128 << 20).await;
    let bomb = gzip(&vec![b' '; 256 << 20]);
    assert!(bomb.len() < 1 << 20, "the bomb is small on the wire");
    let request = || server.post("/v1/events", JSON, bomb.clone()).header("content-encoding", "gzip");
    // More than the budget, so unpacking it would be answered with 429.
    check_field(request(), 413, None, "4194304 bytes").await;
    let small_bomb = server.post("/v1/events", JSON, gzip(&vec![b' '; 8 << 20])).header("content-encoding", "gzip");
    check_field(small_bomb, 413, None, "4194304 bytes").await;
    let inflated = gzip(format!("{}{}", to_json(&batch("a", 1)), " ".repeat(3 << 20)).as_bytes());
    check(server.post("/v1/events", JSON, inflated).header("content-encoding", "gzip"), 202).await;
}

#[tokio::test]
async fn too_many_requests_are_told_to_come_back() {
    let log = memory_log();
    let server = Server::start(log.clone(), |s| s.max_concurrent_requests = 1).await;
    log.hold();
    let first = tokio::spawn(server.post_events("a").send());
    until("the append begins", || log.waiting() == 1).await;
    let refused = server.post_events("b").send().await.unwrap();
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(json_of(refused, 429).await["error"]["problem"], "too many requests are under way, try again");
    check(server.get("/healthz"), 200).await;
    log.release();
    json_of(first.await.unwrap().unwrap(), 202).await;
    check(server.post_events("b"), 202).await;
    assert_eq!(server.collector.stats().responses.into_iter().collect::<Vec<_>>(), [(202, 2), (429, 1)]);
}

#[tokio::test]
async fn bodies_under_way_share_a_budget() {
    let log = memory_log();
    let server = Server::start(log.clone(), |s| {
        s.max_body_bytes = 1000;
        s.max_import_chunk_bytes = 1000;
        s.max_bytes_in_flight = 2000;
    })
    .await;
    let body = || {
        let json = to_json(&batch("a", 1));
        format!("{json}{}", " ".repeat(900 - json.len()))
    };
    log.hold();
    let waiting: Vec<_> = (0..2).map(|_| tokio::spawn(server.post("/v1/events", JSON, body()).send())).collect();
    until("both appends begin", || log.waiting() == 2).await;
    check_field(server.post("/v1/events", JSON, body()), 429, None, "too many bodies").await;
    let unpacked = server.post("/v1/events", JSON, gzip(body().as_bytes())).header("content-encoding", "gzip");
    check_field(unpacked, 429, None, "too many bodies").await;
    log.release();
    for answer in waiting {
        json_of(answer.await.unwrap().unwrap(), 202).await;
    }
    check(server.post("/v1/events", JSON, body()), 202).await;
}

#[tokio::test]
async fn a_slow_body_is_given_up() {
    let server = Server::start(memory_log(), |s| s.body_timeout_ms = 50).await;
    let mut stream = connect(&server).await;
    let head = format!("POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON}\r\ncontent-length: 100\r\n\r\n{{");
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_answer(&mut stream, 408).await;
}

#[tokio::test]
async fn a_slow_log_is_given_up() {
    let log = memory_log();
    let server = Server::start(log.clone(), |s| s.log_timeout_ms = 50).await;
    log.hold();
    check_field(server.post_events("a"), 503, None, "took too long, try again").await;
    assert_eq!(log.waiting(), 0);
    assert!(log.records("playback").is_empty());
    assert!(!server.collector.takes_events());
    log.release();
    check(server.post_events("a"), 202).await;
    assert!(server.collector.takes_events());
}

#[tokio::test]
async fn a_client_that_expects_a_go_ahead_is_refused_at_once() {
    let server = Server::start(memory_log(), |_| {}).await;
    let mut stream = connect(&server).await;
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON}\r\ncontent-length: 99999999\r\n\
         expect: 100-continue\r\n\r\n"
    );
    let begun = Instant::now();
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_answer(&mut stream, 413).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "it did not wait for the body");
}
