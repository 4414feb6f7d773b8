//! The dashboards over a real log, real jobs and a real lake, with made-up viewers and rows: for the browser tests and
//! for working on the pages. `cargo run -p marquee-dashboards --example fake -- [PORT] [CLIP FOLDER]` prints
//! `ready http://127.0.0.1:PORT` on stdout and runs until Ctrl-C.

mod rows;
mod viewers;
mod world;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::post;
use marquee_collector::{Collector, CollectorSettings, Progress};
use marquee_dashboards::{Dashboards, DashboardsSettings, Parts};
use marquee_events::proto::ViewEventBatch;
use marquee_events::{Clock, SystemClock};
use rows::FakeRows;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use world::{Lake, World};

const SEED: u64 = 20;

/// Seconds between the beginnings of two sessions, and how long they have been going on when the pages open.
const SESSION_EVERY_MS: i64 = 5_000;
const HISTORY_MS: i64 = 35 * 60_000;

/// How long new viewers come.
const FUTURE_MS: i64 = 60 * 60_000;

struct NoProgress;

impl Progress for NoProgress {
    fn committed(&self, _topic: &str) -> Option<Vec<u64>> {
        None
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().map_or(8090, |port| port.parse().expect("a port"));
    let media_folder = arguments.next().map(PathBuf::from);
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(SystemClock::default());
    let world = World::start(folder.path(), clock.clone(), 2_000).await;
    let now_ms = clock.now_ms();
    let mut future = history(now_ms);
    let past = future.iter().take_while(|batch| batch.sent_at_ms <= now_ms).count();
    world.append(&future.drain(..past).collect::<Vec<_>>()).await;
    world.settle();

    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
    let origin = format!("http://127.0.0.1:{}", listener.local_addr().expect("an address").port());
    let rows = Arc::new(FakeRows::default());
    let collector_url = start_collector(&world, clock.clone(), rows.clone(), &origin).await;
    let parts =
        Parts { lake: Arc::new(Lake(world.lake.clone())), live: world.follower.clone(), rows, clock: clock.clone() };
    let settings = DashboardsSettings { collector_url, media_folder, ..DashboardsSettings::default() };
    let dashboards = Arc::new(Dashboards::new(parts, settings).expect("good settings"));
    println!("ready {origin}");
    let shutdown = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    tokio::select! {
        served = dashboards.serve(listener, shutdown) => served.expect("the server serves"),
        () = go_on(&world, clock.as_ref(), future) => {}
    }
    world.stop();
}

/// All batches of all viewers, in the order of sending.
fn history(now_ms: i64) -> Vec<ViewEventBatch> {
    let starts = (now_ms - HISTORY_MS..now_ms + FUTURE_MS).step_by(SESSION_EVERY_MS as usize);
    let mut batches: Vec<_> =
        (0..).zip(starts).flat_map(|(index, start_ms)| viewers::session(SEED, index, start_ms)).collect();
    batches.sort_by_key(|batch| batch.sent_at_ms);
    batches
}

async fn go_on(world: &World, clock: &dyn Clock, mut future: Vec<ViewEventBatch>) {
    loop {
        let due = future.iter().take_while(|batch| batch.sent_at_ms <= clock.now_ms()).count();
        world.append(&future.drain(..due).collect::<Vec<_>>()).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// The real collector, with made-up interactions in front of it.
async fn start_collector(world: &World, clock: Arc<SystemClock>, rows: Arc<FakeRows>, origin: &str) -> String {
    let settings = CollectorSettings { allowed_origins: vec![origin.to_owned()], ..CollectorSettings::default() };
    let collector = Arc::new(Collector::new(world.log.clone(), clock, Arc::new(NoProgress), settings));
    let allow = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.to_owned()),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type".to_owned()),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "POST".to_owned()),
    ];
    let preflight = allow.clone();
    let interactions = post(move |State(rows): State<Arc<FakeRows>>, Json(batch): Json<Value>| async move {
        let accepted = rows.take_in(&batch);
        (StatusCode::ACCEPTED, allow, Json(json!({ "accepted": accepted }))).into_response()
    })
    .options(move || async move { (StatusCode::NO_CONTENT, preflight) });
    let router =
        Router::new().route("/v1/interactions", interactions).with_state(rows).fallback_service(collector.router());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}
