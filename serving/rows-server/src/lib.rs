//! Personalised rows over gRPC: `marquee.rows.v1`, with health, reflection and grpc-web on the same port.
//!
//! The server answers whenever anything can be answered: it is healthy once the catalogue was read, with or without a
//! model, and unhealthy while it drains. What it may show is decided in `serving/retrieval` only.

mod connections;
mod convert;
mod deadline;
mod error;
mod page_token;
mod refusal;
mod service;
mod settings;
mod stats;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use marquee_catalogue::token::TokenKey;
use marquee_events::Clock;
use marquee_retrieval::{Recommender, SealKey};
use marquee_rows_proto::FILE_DESCRIPTOR_SET;
use marquee_rows_proto::v1::rows_service_server::{RowsServiceServer, SERVICE_NAME};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tonic::codegen::http::{HeaderName, HeaderValue, Method, header};
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tonic_web::GrpcWebLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

pub use error::RowsError;
pub use settings::RowsSettings;
pub use stats::{RowsStats, StageStats};

use service::{RequestIds, Rows};
use stats::Metrics;

/// The largest request (bytes): its longest field is a page token of 2 KB.
const MAX_REQUEST_BYTES: usize = 16 << 10;

/// The largest response (bytes): twelve rows of sixty items with ids of 256 bytes and long names.
const MAX_RESPONSE_BYTES: usize = 4 << 20;

/// Requests under way on one connection; a gateway has several connections.
const MAX_STREAMS_PER_CONNECTION: u32 = 128;

/// The largest header list (bytes): a token of 1 KB and what browsers add.
const MAX_HEADER_LIST_BYTES: u32 = 16 << 10;

/// A connection without traffic is asked so often whether it lives (s), and given up when it does not answer.
const KEEPALIVE_S: u64 = 30;

/// Between saying "not serving" and refusing connections (ms): balancers that watch health stop sending meanwhile.
const DRAIN_NOTICE_MS: u64 = 200;

/// How long requests in progress may go on after that (ms). None takes longer than its deadline, 10 s at most.
const DRAIN_TIMEOUT_MS: u64 = 10_000;

/// How often a server that is not yet ready looks whether it is (ms).
const READY_POLL_MS: u64 = 20;

/// Browsers may keep a preflight's answer for so long (s).
const PREFLIGHT_MAX_AGE_S: u64 = 3600;

/// What the server answers from.
pub struct RowsParts {
    /// Makes the pages. The server keeps it fresh while it serves.
    pub recommender: Arc<Recommender>,
    /// Checks profile tokens.
    pub tokens: TokenKey,
    /// Seals tracking tokens and page tokens; whoever attributes events opens them with the same.
    pub seal: SealKey,
    /// Tells whether tokens have expired.
    pub clock: Arc<dyn Clock>,
    /// Seeds request ids, and by them what is random in a page: another for every process and start.
    pub seed: u64,
}

/// The rows server.
pub struct RowsServer {
    rows: Arc<Rows>,
    metrics: Arc<Metrics>,
}

impl RowsServer {
    /// A server over `parts`.
    ///
    /// # Errors
    /// [`RowsError::Setting`].
    pub fn new(parts: RowsParts, settings: RowsSettings) -> Result<Self, RowsError> {
        settings.check()?;
        let RowsParts { recommender, tokens, seal, clock, seed } = parts;
        let metrics = Arc::new(Metrics::default());
        let rows = Arc::new(Rows {
            recommender,
            tokens,
            seal,
            clock,
            slots: Semaphore::new(settings.max_concurrent_requests),
            settings,
            metrics: Arc::clone(&metrics),
            request_ids: RequestIds::new(seed),
        });
        Ok(Self { rows, metrics })
    }

    /// What has happened since the start.
    pub fn stats(&self) -> RowsStats {
        self.metrics.stats()
    }

    /// Serves until `shutdown` completes; then says so to health checks, takes no more connections, and lets the
    /// requests in progress end, for 10 s at most.
    ///
    /// # Errors
    /// [`RowsError::Serve`] when the server fails.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), RowsError> {
        let (health, health_service) = tonic_health::server::health_reporter();
        report(&health, ServingStatus::NotServing).await;
        let is_draining = Arc::new(AtomicBool::new(false));
        let (stopping, stopped) = tokio::sync::oneshot::channel();
        let signal = {
            let (mut health, is_draining) = (health.clone(), Arc::clone(&is_draining));
            async move {
                shutdown.await;
                is_draining.store(true, Ordering::Relaxed);
                report(&health, ServingStatus::NotServing).await;
                tokio::time::sleep(Duration::from_millis(DRAIN_NOTICE_MS)).await;
                // Those who watch get the end of their stream; it would keep their connection open.
                health.clear_service_status(SERVICE_NAME).await;
                health.clear_service_status("").await;
                let _ = stopping.send(()); // nobody listens any more only when serving has ended
            }
        };
        let drained = async move {
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_millis(DRAIN_TIMEOUT_MS)).await;
        };
        let ready = async {
            while !self.rows.recommender.is_ready() {
                tokio::time::sleep(Duration::from_millis(READY_POLL_MS)).await;
            }
            if !is_draining.load(Ordering::Relaxed) {
                report(&health, ServingStatus::Serving).await;
            }
            std::future::pending::<()>().await;
        };
        let rows = RowsServiceServer::from_arc(Arc::clone(&self.rows))
            .max_decoding_message_size(MAX_REQUEST_BYTES)
            .max_encoding_message_size(MAX_RESPONSE_BYTES);
        let server = Server::builder()
            .accept_http1(true)
            .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
            .http2_max_header_list_size(MAX_HEADER_LIST_BYTES)
            .http2_keepalive_interval(Some(Duration::from_secs(KEEPALIVE_S)))
            .layer(cors(&self.rows.settings.allowed_origins))
            .layer(GrpcWebLayer::new())
            .add_service(rows)
            .add_service(health_service)
            .add_service(reflection().build_v1().map_err(RowsError::Reflection)?)
            .add_service(reflection().build_v1alpha().map_err(RowsError::Reflection)?);
        let incoming = connections::bounded(listener, self.rows.settings.max_connections);
        tokio::select! {
            served = server.serve_with_incoming_shutdown(incoming, signal) => served.map_err(RowsError::Serve),
            () = self.rows.recommender.keep_fresh() => unreachable!("it goes on until dropped"),
            () = ready => unreachable!("it goes on until dropped"),
            () = drained => {
                tracing::warn!(after_ms = DRAIN_TIMEOUT_MS, "stopping although requests are still in progress");
                Ok(())
            }
        }
    }
}

/// Of the service and of the server as a whole: they are the same.
async fn report(health: &HealthReporter, status: ServingStatus) {
    health.set_service_status(SERVICE_NAME, status).await;
    health.set_service_status("", status).await;
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// What grpc-web clients of these origins send and read; of no origin by default.
fn cors(allowed_origins: &[String]) -> CorsLayer {
    let origins = allowed_origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    let sent = ["x-grpc-web", "x-user-agent", "grpc-timeout"].map(HeaderName::from_static);
    let read = ["grpc-status", "grpc-message", "grpc-status-details-bin"].map(HeaderName::from_static);
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::POST])
        .allow_headers(sent.into_iter().chain([header::CONTENT_TYPE, header::AUTHORIZATION]).collect::<Vec<_>>())
        .expose_headers(read)
        .max_age(Duration::from_secs(PREFLIGHT_MAX_AGE_S))
}
