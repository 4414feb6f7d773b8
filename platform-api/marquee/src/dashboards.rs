//! The browser's side of a process: adapters from the dashboards' ports to lake, live topic, catalogue and rows server.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use marquee_catalogue::{Catalogue, Profile};
use marquee_dashboards::{
    Dashboards, DashboardsError, DashboardsSettings, HomePage, LakeQuery, LiveFollower, PartError, Parts, Rows,
};
use marquee_events::{Clock, ErrorKind};
use marquee_jobs::{LIVE_TOPIC, LiveRecord};
use marquee_lake_delta::DeltaLake;
use marquee_store::SqliteCatalogue;
use marquee_stream::{LogError, PartitionLog};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::failure::Failure;
use crate::recommend::RowsClient;

/// Bytes of live records read at once.
const READ_BYTES: usize = 1 << 20;

/// How long the follower waits for records before it looks whether it has to stop.
const FOLLOW_WAIT: Duration = Duration::from_millis(200);

/// Dashboards being served.
pub(crate) struct Browser {
    pub(crate) address: SocketAddr,
    stop_serving: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), DashboardsError>>,
    stop_following: Arc<AtomicBool>,
    following: std::thread::JoinHandle<()>,
}

/// What the dashboards stand on.
pub(crate) struct BrowserParts {
    pub(crate) lake: Arc<DeltaLake>,
    pub(crate) log: Arc<dyn PartitionLog>,
    pub(crate) catalogue: Arc<SqliteCatalogue>,
    pub(crate) pages: RowsClient,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Browser {
    /// Serves on a listener that is bound already: the collector has to allow its origin.
    pub(crate) fn start(
        handle: &tokio::runtime::Handle,
        listener: TcpListener,
        settings: DashboardsSettings,
        parts: BrowserParts,
    ) -> Result<Self, Failure> {
        let address =
            listener.local_addr().map_err(|e| Failure::unavailable(format!("the dashboards have no address: {e}")))?;
        let now_ms = parts.clock.now_ms();
        // The first minute that is seen from its beginning is the next one.
        let follower = Arc::new(LiveFollower::new(now_ms.div_euclid(60_000) + 1));
        let stop_following = Arc::new(AtomicBool::new(false));
        let following = follow(parts.log, follower.clone(), parts.clock.clone(), stop_following.clone())?;
        let rows = Arc::new(CatalogueAndPages { catalogue: parts.catalogue, pages: parts.pages });
        let lake = Arc::new(Lake(parts.lake));
        let dashboards = Dashboards::new(Parts { lake, live: follower, rows, clock: parts.clock }, settings)?;
        let (stop_serving, stopped) = oneshot::channel();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let serving = handle.spawn(Arc::new(dashboards).serve(listener, shutdown));
        Ok(Self { address, stop_serving, serving, stop_following, following })
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.serving.is_finished() || self.following.is_finished()
    }

    pub(crate) fn stop(self, handle: &tokio::runtime::Handle) -> Result<(), Failure> {
        self.stop_following.store(true, Ordering::Release);
        let _ = self.stop_serving.send(());
        let served = handle.block_on(self.serving);
        let followed = self.following.join();
        match served {
            Ok(served) => served?,
            Err(panic) => return Err(Failure::internal(format!("the dashboards ended unexpectedly: {panic}"))),
        }
        followed.map_err(|_| Failure::internal("the reader of live figures ended unexpectedly"))
    }
}

/// Hands the live topic to the follower until told to stop; ends by itself only when the log fails.
fn follow(
    log: Arc<dyn PartitionLog>,
    follower: Arc<LiveFollower>,
    clock: Arc<dyn Clock>,
    stop: Arc<AtomicBool>,
) -> Result<std::thread::JoinHandle<()>, Failure> {
    let mut next = log.bounds(LIVE_TOPIC, 0)?.end;
    let run = move || {
        while !stop.load(Ordering::Acquire) {
            match follow_once(log.as_ref(), &follower, clock.as_ref(), next) {
                Ok(end) => next = end,
                Err(error) => {
                    tracing::error!(%error, "the live figures stand still");
                    return;
                }
            }
        }
    };
    std::thread::Builder::new()
        .name("live-figures".to_owned())
        .spawn(run)
        .map_err(|e| Failure::unavailable(format!("cannot start a thread: {e}")))
}

fn follow_once(log: &dyn PartitionLog, follower: &LiveFollower, clock: &dyn Clock, next: u64) -> Result<u64, LogError> {
    log.wait(LIVE_TOPIC, 0, next, FOLLOW_WAIT)?;
    let asked_ms = clock.now_ms();
    let records = log.read(LIVE_TOPIC, 0, next, READ_BYTES)?;
    follower.take_in(records.iter().filter_map(|record| LiveRecord::from_bytes(&record.payload)), asked_ms);
    Ok(records.last().map_or(next, |record| record.offset + 1))
}

struct Lake(Arc<DeltaLake>);

#[async_trait]
impl LakeQuery for Lake {
    async fn sql(&self, query: &str) -> Result<Vec<RecordBatch>, PartError> {
        let found = self.0.sql(query).await;
        found.map(|(_, rows)| rows).map_err(|error| PartError::new(error.kind(), error.to_string()))
    }
}

struct CatalogueAndPages {
    catalogue: Arc<SqliteCatalogue>,
    pages: RowsClient,
}

fn catalogue_error(error: &marquee_catalogue::CatalogueError) -> PartError {
    PartError::new(error.kind(), error.to_string())
}

#[async_trait]
impl Rows for CatalogueAndPages {
    async fn home_page(&self, profile_id: &str) -> Result<Option<HomePage>, PartError> {
        let page = self.pages.home_page(profile_id).await;
        page.map_err(|status| PartError::new(ErrorKind::Unavailable, status.message()))
    }

    async fn profile(&self, profile_id: &str) -> Result<Option<Profile>, PartError> {
        self.catalogue.profile(profile_id).await.map_err(|error| catalogue_error(&error))
    }

    async fn profiles(&self, search: &str, limit: u32) -> Result<Vec<Profile>, PartError> {
        self.catalogue.profiles(search, "", limit).await.map_err(|error| catalogue_error(&error))
    }

    async fn title_names(&self, title_ids: &[String]) -> Result<HashMap<String, String>, PartError> {
        let snapshot = self.catalogue.snapshot().await.map_err(|error| catalogue_error(&error))?;
        let name = |id: &String| Some((id.clone(), snapshot.title(id)?.name.clone()));
        Ok(title_ids.iter().filter_map(name).collect())
    }
}
