//! The recommendation half of a process: catalogue, online features, the model in service, and pages from them. What
//! is in service is watched, not told: `marquee publish` in another process takes effect here within a second.

mod genres;
mod model_watch;
mod pages;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use marquee_collector::Collector;
use marquee_definitions::OnlineStore;
use marquee_events::Clock;
use marquee_jobs::TitleGenres;
use marquee_lake_delta::DeltaLake;
use marquee_online::EmbeddedOnlineStore;
use marquee_retrieval::{DataStatus, ModelSlot, Parts, Recommender, SealKey};
use marquee_rows_server::{RowsError, RowsParts, RowsServer, RowsSettings};
use marquee_store::{SqliteCatalogue, load_or_create_key, load_or_create_secret};
use marquee_trainer::Registry;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::failure::Failure;
use crate::home::Home;
use crate::settings::Settings;

pub(crate) use genres::CatalogueGenres;
pub(crate) use pages::RowsClient;

/// What the jobs need of this half; made before them.
pub(crate) struct RecommendStores {
    pub(crate) catalogue: Arc<SqliteCatalogue>,
    pub(crate) online: Arc<dyn OnlineStore>,
    pub(crate) genres: Arc<CatalogueGenres>,
}

impl RecommendStores {
    /// Opens catalogue and online store of a home.
    pub(crate) fn open(handle: &tokio::runtime::Handle, home: &Home) -> Result<Self, Failure> {
        let catalogue = Arc::new(handle.block_on(SqliteCatalogue::open(&home.catalogue()))?);
        let online: Arc<dyn OnlineStore> = Arc::new(EmbeddedOnlineStore::open(&home.online())?);
        let genres = CatalogueGenres::read(catalogue.clone(), handle)?;
        Ok(Self { catalogue, online, genres })
    }

    pub(crate) fn title_genres(&self) -> Arc<dyn TitleGenres> {
        self.genres.clone()
    }
}

/// Pages being served.
pub(crate) struct Recommend {
    pub(crate) stores: RecommendStores,
    client: RowsClient,
    pub(crate) rows_address: SocketAddr,
    pub(crate) status: Arc<DataStatus>,
    pub(crate) models: Arc<ModelSlot>,
    pub(crate) recommender: Arc<Recommender>,
    stop_rows: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), RowsError>>,
    stop_watching: Arc<AtomicBool>,
}

impl Recommend {
    /// Starts the rows server and what keeps it current.
    pub(crate) fn start(
        handle: &tokio::runtime::Handle,
        settings: &Settings,
        home: &Home,
        stores: RecommendStores,
        lake: Arc<DeltaLake>,
        collector: Arc<Collector>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        let tokens = load_or_create_key(&home.profile_token_key())?;
        let listener = handle.block_on(TcpListener::bind(settings.rows.listen)).map_err(|e| {
            Failure::unavailable(format!(
                "the rows server cannot listen on {}: {e}; choose another address with MARQUEE_ROWS__LISTEN",
                settings.rows.listen
            ))
        })?;
        let rows_address =
            listener.local_addr().map_err(|e| Failure::unavailable(format!("the rows server has no address: {e}")))?;
        let (models, status) = (Arc::new(ModelSlot::default()), Arc::new(DataStatus::default()));
        let recommender = Arc::new(Recommender::new(Parts {
            catalogue: stores.catalogue.clone(),
            online: stores.online.clone(),
            models: models.clone(),
            status: status.clone(),
            clock: clock.clone(),
        }));
        let secret = load_or_create_secret(&home.tracking_key())?;
        let seal = SealKey::new(&secret).expect("the store makes keys that are long enough");
        let parts = RowsParts {
            recommender: recommender.clone(),
            tokens: tokens.clone(),
            seal,
            clock: clock.clone(),
            seed: fresh_seed(),
        };
        let rows_settings =
            RowsSettings { allowed_origins: settings.rows.allowed_origins.clone(), ..RowsSettings::default() };
        let server = RowsServer::new(parts, rows_settings)?;
        let (stop_rows, stopped) = oneshot::channel();
        let serving = handle.spawn(async move {
            let shutdown = async move {
                let _ = stopped.await;
            };
            server.serve(listener, shutdown).await
        });
        let stop_watching = Arc::new(AtomicBool::new(false));
        let registry = Registry::open(&home.models())?;
        handle.spawn(model_watch::watch_models(registry, models.clone(), stop_watching.clone()));
        handle.spawn(watch_data(stores.genres.clone(), lake, status.clone(), stop_watching.clone()));
        handle.spawn(watch_intake(collector, status.clone(), stop_watching.clone()));
        let client = {
            let _entered = handle.enter(); // the channel's own task runs there
            RowsClient::new(rows_address, tokens, clock)
        };
        Ok(Self { stores, client, rows_address, status, models, recommender, stop_rows, serving, stop_watching })
    }

    /// Asks for pages as any client would.
    pub(crate) fn client(&self) -> RowsClient {
        self.client.clone()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.serving.is_finished()
    }

    pub(crate) fn stop(self, handle: &tokio::runtime::Handle) -> Result<(), Failure> {
        self.stop_watching.store(true, Ordering::Release);
        let _ = self.stop_rows.send(());
        match handle.block_on(self.serving) {
            Ok(served) => Ok(served?),
            Err(panic) => Err(Failure::internal(format!("the rows server ended unexpectedly: {panic}"))),
        }
    }
}

/// Names the responses of this process apart from those of every other; no replay depends on it.
#[expect(clippy::disallowed_methods, reason = "must differ at every start")]
fn fresh_seed() -> u64 {
    rand::random()
}

/// How often the catalogue's version is looked at (ms).
const LOOK_INTERVAL_MS: u64 = 1_000;

/// Once in so many looks the end of imported data is read: a query, and imports are rare.
const IMPORT_LOOKS: u64 = 10;

/// How often the collector is asked whether the log takes events (ms): reads a flag.
const INTAKE_INTERVAL_MS: u64 = 100;

/// Tells pages whether new events are taken in, until told to stop.
async fn watch_intake(collector: Arc<Collector>, status: Arc<DataStatus>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Acquire) {
        status.set_takes_events(collector.takes_events());
        tokio::time::sleep(std::time::Duration::from_millis(INTAKE_INTERVAL_MS)).await;
    }
}

/// Keeps genres and the end of imported data current until told to stop.
async fn watch_data(
    genres: Arc<CatalogueGenres>,
    lake: Arc<DeltaLake>,
    status: Arc<DataStatus>,
    stop: Arc<AtomicBool>,
) {
    let mut look = 0_u64;
    while !stop.load(Ordering::Acquire) {
        if let Err(error) = genres.refresh().await {
            tracing::warn!(%error, "the catalogue cannot be read: features go on with what was known of it");
        }
        if look.is_multiple_of(IMPORT_LOOKS)
            && let Err(failure) = read_import_end(&lake, &status).await
        {
            tracing::warn!(%failure, "the end of imported data cannot be read");
        }
        look += 1;
        tokio::time::sleep(std::time::Duration::from_millis(LOOK_INTERVAL_MS)).await;
    }
}

/// Reads how far imports reach.
pub(crate) async fn read_import_end(lake: &DeltaLake, status: &DataStatus) -> Result<(), Failure> {
    let query = "SELECT CAST(max(event_time) AS BIGINT) / 1000 FROM interactions WHERE is_imported";
    if let Some(end_ms) = crate::tables_output::one_int(&lake.sql(query).await?.1) {
        status.imported_through(end_ms);
    }
    Ok(())
}
