//! `traceparent`: what a request says of its trace goes with its records, if it is valid.

use marquee_events::interactions_to_json;
use reqwest::RequestBuilder;

use super::cmcd::{CMCD, line};
use super::interactions::ratings;
use super::{JSON, Server, check, memory_log};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The traces of what is in the log after a request with these headers.
async fn traces_of(request: impl Fn(&Server) -> (RequestBuilder, u16), values: &[&str]) -> Vec<String> {
    let log = memory_log();
    let server = Server::start(log.clone(), |_| {}).await;
    let (mut request, status) = request(&server);
    for value in values {
        request = request.header("traceparent", *value);
    }
    check(request, status).await;
    log.traces().iter().map(|trace| trace.as_str().to_owned()).collect()
}

#[tokio::test]
async fn a_valid_trace_goes_with_the_records() {
    assert_eq!(traces_of(|server| (server.post_events("a"), 202), &[TRACE]).await, [TRACE]);
    let ratings = interactions_to_json(&ratings("p", &[4.5]));
    let interactions = |server: &Server| (server.post("/v1/interactions", JSON, ratings.clone()), 202);
    assert_eq!(traces_of(interactions, &[TRACE]).await, [TRACE]);
    let cmcd = |server: &Server| (server.post("/v1/cmcd", CMCD, line("a", 0)), 200);
    assert_eq!(traces_of(cmcd, &[TRACE]).await, [TRACE]);
}

#[tokio::test]
async fn without_a_valid_one_there_is_none() {
    let events = |server: &Server| (server.post_events("a"), 202);
    for values in [&[][..], &["of no use"], &[&TRACE[1..]], &[TRACE, TRACE]] {
        assert!(traces_of(events, values).await.is_empty(), "{values:?}");
    }
}
