//! The routes over real sockets, against a log in memory. The contract between collector and a durable log is tested
//! in `tests/it`.

mod cmcd;
mod events;
mod fakes;
mod imports;
mod interactions;
mod limits;
mod locations;
mod operations;
mod traces;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use marquee_events::proto::{Context, ViewEvent, ViewEventBatch};
use marquee_events::{ManualClock, to_json};
use marquee_stream::PartitionLog;
use prost::Message as _;
use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::{Collector, CollectorError, CollectorSettings, Locator};
use fakes::{FixedProgress, MemoryLog};

const NOW_MS: i64 = 1_700_000_000_000;
const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";

/// A collector that listens on a port of its own.
struct Server {
    collector: Arc<Collector>,
    client: reqwest::Client,
    base: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), CollectorError>>,
}

impl Server {
    async fn start(log: Arc<dyn PartitionLog>, change: impl FnOnce(&mut CollectorSettings)) -> Server {
        Server::start_with(log, change, Locator::default()).await
    }

    async fn start_with(
        log: Arc<dyn PartitionLog>,
        change: impl FnOnce(&mut CollectorSettings),
        locator: Locator,
    ) -> Server {
        let mut settings = CollectorSettings::default();
        change(&mut settings);
        let clock = Arc::new(ManualClock::new(NOW_MS));
        let collector = Collector::new(log, clock, Arc::new(FixedProgress), settings).with_locator(locator);
        let collector = Arc::new(collector);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let serving = tokio::spawn(Arc::clone(&collector).serve(listener, shutdown));
        Server { collector, client: reqwest::Client::new(), base, stop, serving }
    }

    fn post(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.base)).header("content-type", content_type).body(body)
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.base))
    }

    /// Posts a good batch.
    fn post_events(&self, session_id: &str) -> RequestBuilder {
        self.post("/v1/events", JSON, to_json(&batch(session_id, 2)))
    }
}

fn batch(session_id: &str, events: u64) -> ViewEventBatch {
    ViewEventBatch {
        context: Some(Context { session_id: session_id.to_owned(), ..Default::default() }),
        sent_at_ms: NOW_MS,
        events: (0..events).map(|sequence| ViewEvent { sequence, ..Default::default() }).collect(),
        ..Default::default()
    }
}

fn protobuf(batch: &ViewEventBatch) -> Vec<u8> {
    batch.encode_to_vec()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Sends, checks the status, returns the answer's JSON.
async fn check(request: RequestBuilder, status: u16) -> Value {
    json_of(request.send().await.expect("is answered"), status).await
}

async fn json_of(response: Response, status: u16) -> Value {
    let (found, text) = (response.status().as_u16(), response.text().await.unwrap());
    assert_eq!(found, status, "{text}");
    serde_json::from_str(&text).expect(&text)
}

/// Sends and checks that the request is refused because of `field`, with these words in the problem.
async fn check_field(request: RequestBuilder, status: u16, field: Option<&str>, words: &str) {
    let answer = check(request, status).await;
    assert_eq!(answer["error"]["field"].as_str(), field, "{answer}");
    let problem = answer["error"]["problem"].as_str().expect("a problem");
    assert!(problem.contains(words), "{problem}");
}

/// Waits until `condition` holds, with a deadline.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect(what);
}

/// A log with the topics of the default settings.
fn memory_log() -> Arc<MemoryLog> {
    let topics = [("playback", 4), ("playback-import", 3), ("interactions", 4), ("interactions-import", 3)];
    Arc::new(MemoryLog::new(&topics))
}
