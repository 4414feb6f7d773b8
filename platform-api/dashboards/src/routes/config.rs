//! `GET /api/config`: what the app has to know before it starts. `GET /healthz`: that we answer.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::Dashboards;
use crate::routes::media;

#[derive(Serialize)]
pub(super) struct Config {
    version: &'static str,
    /// Players post here.
    collector_url: String,
    /// The clock of the parts now (ms since the epoch), and how many times faster than life it runs.
    now_ms: i64,
    clock_speed: f64,
    media: Media,
}

#[derive(Serialize)]
struct Media {
    /// The clip to play; `null` when there is none.
    manifest: Option<String>,
    /// What to do about it when there is none.
    problem: Option<String>,
}

pub(super) async fn get_config(State(dashboards): State<Arc<Dashboards>>) -> Json<Config> {
    let settings = &dashboards.settings;
    let media = match media::missing_clip(settings.media_folder.as_deref()).await {
        None => Media { manifest: Some(format!("/media/demo/{}", media::MANIFEST)), problem: None },
        Some(problem) => Media { manifest: None, problem: Some(problem) },
    };
    Json(Config {
        version: env!("CARGO_PKG_VERSION"),
        collector_url: settings.collector_url.clone(),
        now_ms: dashboards.parts.clock.now_ms(),
        clock_speed: settings.clock_speed,
        media,
    })
}

#[derive(Serialize)]
pub(super) struct Health {
    status: &'static str,
}

pub(super) async fn get_health() -> Json<Health> {
    Json(Health { status: "ok" })
}
