//! The HTTP entry of view events and interactions: players, pages and importers post batches here, and a batch is
//! acknowledged only after the log has made it durable.
//!
//! A request that cannot be decoded is refused with a 4xx that names the field; a batch that decodes but breaks a rule
//! of values (a time in the future, an unknown payload) is accepted, because the playback job decides about it on
//! every replay alike. Everything that waits or grows here is bounded: see [`CollectorSettings`].

mod body;
mod budget;
mod chunk;
mod connections;
mod error;
mod location;
mod refusal;
mod routes;
mod settings;
mod stats;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use marquee_events::Clock;
use marquee_stream::{LogError, NewRecord, PartitionLog, Position, TraceParent};
use tokio::net::TcpListener;

pub use error::CollectorError;
pub use location::{LocationSettings, Locator};
pub use settings::CollectorSettings;
pub use stats::CollectorStats;

use budget::Budget;
use connections::Connections;
use location::Peer;
use refusal::Refusal;
use stats::Metrics;

/// How long requests in progress may go on after the shutdown signal (ms). Orchestrators kill after 30 s, so the log
/// below must get its turn before that.
const DRAIN_TIMEOUT_MS: u64 = 10_000;

/// Knows how far the jobs have come.
pub trait Progress: Send + Sync {
    /// Per partition: the next offset that is not yet committed to the lake; `None` when no job reads the topic.
    /// May block.
    fn committed(&self, topic: &str) -> Option<Vec<u64>>;
}

/// The collector.
pub struct Collector {
    log: Arc<dyn PartitionLog>,
    clock: Arc<dyn Clock>,
    progress: Arc<dyn Progress>,
    settings: CollectorSettings,
    metrics: Metrics,
    bytes_in_flight: Arc<Budget>,
    locator: Locator,
    /// Whether the log took what it was last given.
    takes_events: AtomicBool,
}

impl Collector {
    /// A collector that appends to `log`, stamps with `clock` and answers `GET /v1/progress` from `progress`.
    pub fn new(
        log: Arc<dyn PartitionLog>,
        clock: Arc<dyn Clock>,
        progress: Arc<dyn Progress>,
        settings: CollectorSettings,
    ) -> Self {
        let bytes_in_flight = Arc::new(Budget::new(settings.max_bytes_in_flight));
        let (metrics, takes_events) = (Metrics::default(), AtomicBool::new(true));
        Self { log, clock, progress, settings, metrics, bytes_in_flight, locator: Locator::default(), takes_events }
    }

    /// The same collector, which looks up where its clients are.
    #[must_use]
    pub fn with_locator(self, locator: Locator) -> Self {
        Self { locator, ..self }
    }

    /// Every route, with its limits and CORS.
    pub fn router(self: Arc<Self>) -> Router {
        routes::router(self)
    }

    /// Serves until `shutdown` completes, then lets the requests in progress end, for 10 s at most.
    ///
    /// # Errors
    /// [`CollectorError::Setting`] and [`CollectorError::Topic`] before the first connection is accepted,
    /// [`CollectorError::Serve`] when the server fails.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), CollectorError> {
        self.settings.check()?;
        self.check_topics().await?;
        let (stopping, stopped) = tokio::sync::oneshot::channel();
        let signal = async move {
            shutdown.await;
            let _ = stopping.send(()); // nobody listens any more only when serving has ended
        };
        let drained = async move {
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_millis(DRAIN_TIMEOUT_MS)).await;
        };
        let server =
            axum::serve(Connections::new(listener), self.router().into_make_service_with_connect_info::<Peer>())
                .with_graceful_shutdown(signal);
        tokio::select! {
            served = server => served.map_err(CollectorError::Serve),
            () = drained => {
                tracing::warn!(after_ms = DRAIN_TIMEOUT_MS, "stopping although requests are still in progress");
                Ok(())
            }
        }
    }

    /// What has happened since the start.
    pub fn stats(&self) -> CollectorStats {
        self.metrics.stats()
    }

    /// Whether the log took the last batch that it was given, in time. A log that is only full takes the next one.
    pub fn takes_events(&self) -> bool {
        self.takes_events.load(Ordering::Relaxed)
    }

    /// A misspelt topic stops the start, instead of failing every request.
    async fn check_topics(&self) -> Result<(), CollectorError> {
        for (_, topic) in self.settings.topics() {
            let (log, topic) = (Arc::clone(&self.log), topic.to_owned());
            let name = topic.clone();
            let found = tokio::task::spawn_blocking(move || log.partitions(&name)).await;
            match found {
                Ok(Ok(_)) => {}
                Ok(Err(source)) => return Err(CollectorError::Topic { topic, source }),
                Err(panic) => return Err(CollectorError::Defect(panic)),
            }
        }
        Ok(())
    }

    /// Per partition: the offset that the next record will get. Blocks.
    fn end_offsets(&self, topic: &str) -> Result<Vec<u64>, LogError> {
        let partitions = self.log.partitions(topic)?;
        (0..partitions).map(|partition| Ok(self.log.bounds(topic, partition)?.end)).collect()
    }

    /// Appends and returns once the records are durable.
    async fn append(
        &self,
        topic: &str,
        records: Vec<NewRecord>,
        trace_parent: Option<TraceParent>,
    ) -> Result<Vec<Position>, Refusal> {
        let appended = match trace_parent {
            Some(trace_parent) => self.log.append_traced(topic, records, trace_parent),
            None => self.log.append(topic, records),
        };
        self.in_time("storing the events", appended).await
    }

    /// Appends unless `ledger_key` is known, and returns once the records are durable; `None` when it is known.
    async fn append_once(
        &self,
        topic: &str,
        ledger_key: &str,
        records: Vec<NewRecord>,
    ) -> Result<Option<Vec<Position>>, Refusal> {
        self.in_time("storing the import", self.log.append_once(topic, ledger_key, records)).await
    }

    /// Reads from the log on a thread that may block.
    async fn read_log<T, F>(self: &Arc<Self>, operation: &'static str, read: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&Collector) -> Result<T, LogError> + Send + 'static,
    {
        let collector = Arc::clone(self);
        let reading = async { tokio::task::spawn_blocking(move || read(&collector)).await };
        match self.within(reading).await.ok_or(Refusal::LogTimeout { operation })? {
            Ok(read) => read.map_err(|source| Refusal::log(operation, source)),
            Err(panic) => Err(Refusal::defect(&panic)),
        }
    }

    async fn in_time<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, LogError>>,
    ) -> Result<T, Refusal> {
        let outcome = self.within(work).await;
        match &outcome {
            Some(Err(LogError::Full { .. })) => {}
            Some(stored) => self.takes_events.store(stored.is_ok(), Ordering::Relaxed),
            None => self.takes_events.store(false, Ordering::Relaxed),
        }
        outcome.ok_or(Refusal::LogTimeout { operation })?.map_err(|source| Refusal::log(operation, source))
    }

    /// `None` when the log takes too long.
    async fn within<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(Duration::from_millis(self.settings.log_timeout_ms), work).await.ok()
    }
}
