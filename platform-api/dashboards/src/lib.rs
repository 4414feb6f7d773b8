//! The browser's side of Marquee: three pages (Live, Sessions, Viewer) and the JSON and events that they live on. The
//! one thing to know before changing it: what Live shows must equal SQL over the lake for a closed window, so a new
//! figure is added to [`figures`] and to `window_sql.rs` together, and the tests compare both on a real lake.
//!
//! Nothing here knows where data comes from: the binary hands in [`Parts`]. Every answer is read-only; nothing is served
//! to another origin; a request whose `Host` is not this machine's is refused (DNS rebinding).

#[cfg(test)]
extern crate self as marquee_dashboards; // the tests share the world of `examples/fake`

mod assets;
mod error;
mod figures;
mod guard;
mod live;
mod page;
mod parts;
mod quote;
mod refusal;
mod routes;
mod sessions_sql;
mod settings;
#[cfg(test)]
mod tests;
mod timeline;
mod window;
mod window_sql;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

pub use error::{DashboardsError, PartError};
pub use figures::Figures;
pub use live::{EpochMark, LiveFollower, LiveMinute, LiveMinutes};
pub use page::{HomePage, Item, Reason, Row, Served};
pub use parts::{LakeQuery, LiveSource, Parts, Rows};
pub use settings::DashboardsSettings;
pub use window::Window;

/// How long requests in progress may go on after the shutdown signal (ms): a query, but no operator's patience.
const DRAIN_TIMEOUT_MS: u64 = 5_000;

/// Queries of the lake at a time; each may use every core, and more of them only take memory from each other.
const MAX_CONCURRENT_QUERIES: usize = 4;

/// Browsers that follow Live at a time. Each is asked for once a second.
const MAX_LIVE_STREAMS: usize = 64;

/// The dashboards.
pub struct Dashboards {
    parts: Parts,
    settings: DashboardsSettings,
    /// As sent with every answer; made once from the settings.
    content_security_policy: String,
    queries: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
}

impl Dashboards {
    /// Dashboards over these parts.
    ///
    /// # Errors
    /// [`DashboardsError::Setting`], naming the first setting that makes no sense.
    pub fn new(parts: Parts, settings: DashboardsSettings) -> Result<Self, DashboardsError> {
        settings.check()?;
        Ok(Self {
            parts,
            content_security_policy: guard::content_security_policy(&settings),
            settings,
            queries: Arc::new(Semaphore::new(MAX_CONCURRENT_QUERIES)),
            streams: Arc::new(Semaphore::new(MAX_LIVE_STREAMS)),
            stopping: watch::Sender::new(false),
        })
    }

    /// Every route, guarded.
    pub fn router(self: Arc<Self>) -> Router {
        routes::router(self)
    }

    /// Serves until `shutdown` completes; then live streams end at once and other requests have 5 s.
    ///
    /// # Errors
    /// [`DashboardsError::Serve`] when the server fails.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), DashboardsError> {
        let stopping = self.stopping.clone();
        let mut stopped = self.stopping.subscribe();
        let signal = async move {
            shutdown.await;
            stopping.send_replace(true);
        };
        let drained = async move {
            if stopped.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_millis(DRAIN_TIMEOUT_MS)).await;
        };
        let server = axum::serve(listener, self.router()).with_graceful_shutdown(signal);
        tokio::select! {
            served = server => served.map_err(DashboardsError::Serve),
            () = drained => {
                tracing::warn!(after_ms = DRAIN_TIMEOUT_MS, "stopping although requests are still in progress");
                Ok(())
            }
        }
    }
}
