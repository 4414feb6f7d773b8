//! The services of one process on one home: log, lake, jobs and collector; and pages and dashboards where they are wanted.

use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::TryStreamExt as _;
use marquee_collector::{Collector, CollectorError, CollectorSettings, Locator, Progress};
use marquee_dashboards::DashboardsSettings;
use marquee_events::Clock;
use marquee_jobs::{IMPORT_TOPIC, INTERACTIONS_IMPORT_TOPIC, INTERACTIONS_TOPIC, LIVE_TOPIC, PLAYBACK_TOPIC};
use marquee_lake::DurableLocalStore;
use marquee_lake_delta::{DeltaLake, LakeOptions};
use marquee_lake_s3::Bucket;
use marquee_log_embedded::{EmbeddedLog, EmbeddedLogOptions};
use marquee_log_kafka::KafkaLog;
use marquee_stream::{
    GrowingLog, LogError, PartitionLog, Runtime, RuntimeEnv, RuntimeProgress, RuntimeSettings, TopicSpec,
};
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::dashboards::{Browser, BrowserParts};
use crate::failure::Failure;
use crate::home::{Home, HomeLock};
use crate::recommend::{Recommend, RecommendStores};
use crate::settings::{LogAdapter, Settings};

/// Live deltas repeat what the lake has soon after: an hour is plenty (ms).
const LIVE_RETENTION_MS: i64 = 60 * 60 * 1000;

/// More than the largest import chunk (64 MiB): an append larger than this would be refused for ever.
pub(crate) const MAX_WAITING_BYTES: usize = 128 << 20;

/// The topics whose jobs can share a shard's state out to several.
pub(crate) const CAN_GROW: [&str; 2] = [PLAYBACK_TOPIC, IMPORT_TOPIC];

/// How often old segments of the log are looked for.
const RETENTION_CHECK: Duration = Duration::from_secs(60);

/// A replay of an epoch takes seconds; after a long standstill it is better to serve old pages than none.
const FEATURES_WAIT: Duration = Duration::from_secs(30);

/// Which services a command needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Collector and jobs: what an import needs.
    Ingest,
    /// Pages and dashboards, too.
    Everything,
}

/// Services at work.
pub(crate) struct Services {
    pub(crate) log: Arc<dyn PartitionLog>,
    pub(crate) lake: Arc<DeltaLake>,
    pub(crate) collector: Arc<Collector>,
    pub(crate) address: SocketAddr,
    /// With [`Scope::Everything`].
    pub(crate) recommend: Option<Recommend>,
    pub(crate) browser: Option<Browser>,
    runtime: Runtime,
    stop_collector: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), CollectorError>>,
    stop_retention: Arc<AtomicBool>,
    _lock: HomeLock,
}

struct CommittedOffsets(Arc<RuntimeProgress>);

impl Progress for CommittedOffsets {
    fn committed(&self, topic: &str) -> Option<Vec<u64>> {
        self.0.committed(topic)
    }
}

impl Services {
    /// Starts what is in the scope; returns when it listens. `clock_speed` is the clock's, for players in a browser.
    pub(crate) fn start(
        handle: &tokio::runtime::Handle,
        settings: &Settings,
        clock: Arc<dyn Clock>,
        clock_speed: f64,
        scope: Scope,
    ) -> Result<Self, Failure> {
        let home = Home::new(&settings.home)?;
        let mut lock = home.lock()?;
        let (listener, address) = bind(handle, "collector", settings.collector.listen)?;
        // Bound before anything is opened, like the collector: a port in use is told at once.
        let browser_listener = match scope {
            Scope::Ingest => None,
            Scope::Everything => Some(bind(handle, "dashboards", settings.dashboards.listen)?),
        };
        // First, because it claims a bucket before anything is written there.
        let log: Arc<dyn PartitionLog> = open_log(handle, &home, settings, settings.lake.bucket()?.as_ref())?;
        let lake = Arc::new(open_lake(handle, &home, settings, clock.clone())?);
        let stores = RecommendStores::open(handle, &home)?;
        let jobs = marquee_jobs::all(&stores.online, &stores.title_genres());
        let env = runtime_env(handle, &home, settings, log.clone(), &lake, &clock)?;
        let runtime_settings = runtime_settings(settings);
        let runtime = Runtime::start(&env, &runtime_settings, &jobs)?;
        let progress = runtime.progress();
        let mut collector_settings = collector_settings(settings);
        if let Some((_, dashboards)) = &browser_listener {
            // The viewer's player posts its events from the dashboards' pages.
            let origins = [format!("http://{dashboards}"), format!("http://localhost:{}", dashboards.port())];
            collector_settings.allowed_origins.extend(origins);
        }
        let locator = Locator::open(&collector_settings.location)?;
        let offsets = Arc::new(CommittedOffsets(progress));
        let collector = Collector::new(log.clone(), clock.clone(), offsets, collector_settings).with_locator(locator);
        let collector = Arc::new(collector);
        let (stop_collector, stopped) = oneshot::channel();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let serving = handle.spawn(collector.clone().serve(listener, shutdown));
        let stop_retention = keep_retention(log.clone(), runtime.progress(), clock.clone(), handle)?;
        let (mut recommend, mut browser) = (None, None);
        if let Some((listener, _)) = browser_listener {
            wait_for_features(&runtime.progress(), log.as_ref())?;
            let started =
                Recommend::start(handle, settings, &home, stores, lake.clone(), collector.clone(), clock.clone())?;
            let dashboards = DashboardsSettings {
                collector_url: format!("http://{address}"),
                media_folder: Some(settings.dashboards.media_folder.clone().unwrap_or_else(|| home.media())),
                allowed_hosts: settings.dashboards.allowed_hosts.clone(),
                clock_speed,
                ..DashboardsSettings::default()
            };
            let parts = BrowserParts {
                lake: lake.clone(),
                log: log.clone(),
                catalogue: started.stores.catalogue.clone(),
                pages: started.client(),
                clock,
            };
            browser = Some(Browser::start(handle, listener, dashboards, parts)?);
            recommend = Some(started);
        }
        lock.announce(address)?;
        Ok(Self {
            log,
            lake,
            collector,
            address,
            recommend,
            browser,
            runtime,
            stop_collector,
            serving,
            stop_retention,
            _lock: lock,
        })
    }

    /// Where players post.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn progress(&self) -> Arc<RuntimeProgress> {
        self.runtime.progress()
    }

    /// Whether something has stopped by itself; [`stop`](Self::stop) tells why.
    pub(crate) fn has_failed(&self) -> bool {
        self.runtime.progress().has_failed()
            || self.serving.is_finished()
            || self.recommend.as_ref().is_some_and(Recommend::has_failed)
            || self.browser.as_ref().is_some_and(Browser::has_failed)
    }

    /// Blocks until all that is in the log is in the lake; false when that takes longer than `timeout` or fails.
    pub(crate) fn drain(&self, timeout: Duration) -> Result<bool, Failure> {
        Ok(self.runtime.drain(self.log.as_ref(), timeout)?)
    }

    /// Stops taking requests, writes everything out, gives the home back.
    pub(crate) fn stop(self, handle: &tokio::runtime::Handle) -> Result<(), Failure> {
        self.stop_retention.store(true, Ordering::Release);
        let _ = self.stop_collector.send(());
        let served = handle.block_on(self.serving);
        let stopped = self.runtime.stop();
        let browsed = self.browser.map_or(Ok(()), |browser| browser.stop(handle));
        let recommended = self.recommend.map_or(Ok(()), |recommend| recommend.stop(handle));
        stopped?;
        browsed?;
        recommended?;
        match served {
            Ok(served) => Ok(served?),
            Err(panic) => Err(Failure::internal(format!("the collector ended unexpectedly: {panic}"))),
        }
    }
}

/// Waits until the online store is no longer behind nor set back by a crash: the features jobs have taken in what was in
/// the log at the start. A failed job ends the wait; whoever looks at the services finds it.
fn wait_for_features(progress: &RuntimeProgress, log: &dyn PartitionLog) -> Result<(), Failure> {
    let of_features = |topic: &str| [INTERACTIONS_TOPIC, INTERACTIONS_IMPORT_TOPIC].contains(&topic);
    let mut shards = Vec::new();
    for shard in progress.shards().iter().filter(|shard| of_features(&shard.shard.topic)) {
        shards.push((shard.clone(), log.bounds(&shard.shard.topic, shard.shard.partition)?.end));
    }
    let caught_up = |_: &RuntimeProgress| shards.iter().all(|(shard, end)| shard.read_offset() >= *end);
    if !progress.wait_until(FEATURES_WAIT, caught_up) && !progress.has_failed() {
        tracing::warn!("much is waiting in the log: pages lag behind what was watched until it is taken in");
    }
    Ok(())
}

/// What jobs of this process stand on.
pub(crate) fn runtime_env(
    handle: &tokio::runtime::Handle,
    home: &Home,
    settings: &Settings,
    log: Arc<dyn PartitionLog>,
    lake: &Arc<DeltaLake>,
    clock: &Arc<dyn Clock>,
) -> Result<RuntimeEnv, Failure> {
    let (store, state_root) = state(home, settings)?;
    Ok(RuntimeEnv {
        log,
        lake: lake.clone(),
        store,
        state_root,
        clock: clock.clone(),
        handle: handle.clone(),
        writer_id: writer_id(clock.as_ref()),
    })
}

/// The folder of manifests, snapshots and index segments, and the store that it is in.
pub(crate) fn state(home: &Home, settings: &Settings) -> Result<(Arc<dyn ObjectStore>, Path), Failure> {
    if let Some(bucket) = settings.lake.bucket()? {
        return Ok((bucket.store(), bucket.state_root()));
    }
    let root = Path::from_absolute_path(home.state())
        .map_err(|e| Failure::settings(format!("home {} cannot be used: {e}", home.root().display())))?;
    Ok((Arc::new(DurableLocalStore::new()), root))
}

/// Names this process in manifests. Containers that are started together have equal times and process ids.
pub(crate) fn writer_id(clock: &dyn Clock) -> String {
    format!("{}-{:016x}", clock.now_ms(), RandomState::new().hash_one(std::process::id()))
}

pub(crate) fn runtime_settings(settings: &Settings) -> RuntimeSettings {
    RuntimeSettings {
        epoch_interval_ms: i64::from(settings.jobs.epoch_interval_ms),
        live_interval_ms: i64::from(settings.jobs.live_interval_ms),
        live_topic: Some(LIVE_TOPIC.to_owned()),
        write_threads: settings.jobs.write_threads,
    }
}

pub(crate) fn collector_settings(settings: &Settings) -> CollectorSettings {
    CollectorSettings {
        topic: PLAYBACK_TOPIC.to_owned(),
        import_topic: IMPORT_TOPIC.to_owned(),
        interactions_topic: INTERACTIONS_TOPIC.to_owned(),
        interactions_import_topic: INTERACTIONS_IMPORT_TOPIC.to_owned(),
        max_body_bytes: settings.collector.max_body_bytes,
        allowed_origins: settings.collector.allowed_origins.clone(),
        location: settings.collector.location.clone(),
        ..Default::default()
    }
}

pub(crate) fn bind(
    handle: &tokio::runtime::Handle,
    what: &str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), Failure> {
    let listener = handle.block_on(TcpListener::bind(address)).map_err(|e| {
        Failure::unavailable(format!(
            "the {what} cannot listen on {address}: {e}; choose another address with MARQUEE_{}__LISTEN",
            what.to_uppercase()
        ))
    })?;
    let bound = listener.local_addr().map_err(|e| Failure::unavailable(format!("the {what} has no address: {e}")))?;
    Ok((listener, bound))
}

pub(crate) fn open_lake(
    handle: &tokio::runtime::Handle,
    home: &Home,
    settings: &Settings,
    clock: Arc<dyn Clock>,
) -> Result<DeltaLake, Failure> {
    let options = LakeOptions { query_memory_bytes: settings.lake.query_memory_bytes };
    let lake = match settings.lake.bucket()? {
        None => handle.block_on(DeltaLake::open(&home.lake(), clock, options)),
        Some(bucket) => handle.block_on(DeltaLake::open_in(bucket.store(), bucket.lake_url(), clock, options)),
    };
    Ok(lake?)
}

/// Opens the log and makes its topics; a bucket that its jobs write to is claimed for it. A topic that jobs have read from is
/// not made again: its records would be others under the offsets that the manifests know, and those below them would never
/// be read.
pub(crate) fn open_log(
    handle: &tokio::runtime::Handle,
    home: &Home,
    settings: &Settings,
    bucket: Option<&Bucket>,
) -> Result<Arc<GrowingLog>, Failure> {
    let log = open_made_log(handle, home, settings, bucket)?;
    let (store, state_root) = state(home, settings)?;
    for spec in topics(settings) {
        let there = match log.partitions(&spec.name) {
            Err(LogError::UnknownTopic(_)) => 0,
            there => there?,
        };
        // All of it, or a generation of one that has grown.
        if let Some(partition) = handle.block_on(last_read(store.as_ref(), &state_root, &spec.name))?
            && partition >= there
        {
            let topic = if there == 0 { spec.name } else { format!("{}/{partition}", spec.name) };
            let written = settings.lake.url.clone().unwrap_or_else(|| format!("home {}", home.root().display()));
            return Err(Failure::damaged(format!(
                "the log has no topic `{topic}`, from which {written} was written: restore the topic, or begin with a new \
                 home; it is not made again here, since its offsets would mean other records",
            )));
        }
        log.ensure_topic(&spec)?;
    }
    Ok(log)
}

/// The last partition of a topic from which jobs have read: offsets of it are in manifests.
async fn last_read(store: &dyn ObjectStore, state_root: &Path, topic: &str) -> Result<Option<u32>, Failure> {
    let unavailable = |e| Failure::unavailable(format!("the state of the jobs cannot be listed: {e}"));
    let jobs = store.list_with_delimiter(Some(state_root)).await.map_err(unavailable)?.common_prefixes;
    let mut last = None;
    for job in jobs {
        let folders = store.list_with_delimiter(Some(&job.join(topic))).await.map_err(unavailable)?.common_prefixes;
        for folder in folders {
            let partition = folder.filename().and_then(|name| name.parse::<u32>().ok());
            let mut kept = store.list(Some(&folder));
            if last < partition && kept.try_next().await.map_err(unavailable)?.is_some() {
                last = partition;
            }
        }
    }
    Ok(last)
}

/// Opens the log and makes nothing: who does not know what was read from a topic cannot know that it never was.
pub(crate) fn open_made_log(
    handle: &tokio::runtime::Handle,
    home: &Home,
    settings: &Settings,
    bucket: Option<&Bucket>,
) -> Result<Arc<GrowingLog>, Failure> {
    let claim = |log: String| bucket.map_or(Ok(()), |bucket| handle.block_on(bucket.claim(&log)));
    let log: Arc<dyn PartitionLog> = match settings.log.adapter {
        LogAdapter::Embedded => {
            if bucket.is_some() {
                claim(format!("the log in the home with id {}", home.id()?))?;
            }
            let options = EmbeddedLogOptions { max_waiting_bytes: MAX_WAITING_BYTES, ..Default::default() };
            Arc::new(EmbeddedLog::open(&home.log(), options)?)
        }
        LogAdapter::Kafka => {
            let log = KafkaLog::open(settings.log.kafka.options()?)?;
            if bucket.is_some() {
                let prefix = &settings.log.kafka.topic_prefix;
                claim(format!("the topics {prefix}* of the Kafka cluster {}", log.cluster_id()?))?;
            }
            Arc::new(log)
        }
    };
    Ok(Arc::new(GrowingLog::new(log, &CAN_GROW)))
}

/// How long records of events are kept (ms).
pub(crate) fn retention_ms(settings: &Settings) -> i64 {
    i64::from(settings.log.retention_hours) * 60 * 60 * 1000
}

fn topics(settings: &Settings) -> impl Iterator<Item = TopicSpec> {
    let retention_ms = retention_ms(settings);
    let partitions = settings.log.partitions;
    let durable = [PLAYBACK_TOPIC, IMPORT_TOPIC, INTERACTIONS_TOPIC, INTERACTIONS_IMPORT_TOPIC];
    let durable = durable.map(|name| TopicSpec { name: name.to_owned(), partitions, retention_ms });
    let live = TopicSpec { name: LIVE_TOPIC.to_owned(), partitions: 1, retention_ms: LIVE_RETENTION_MS };
    durable.into_iter().chain([live])
}

/// Drops expired records once in a while until told to stop. Not before everything that was in the log at the start is
/// in the lake: after a long standstill, what was acknowledged and never read is old and still needed.
fn keep_retention(
    log: Arc<dyn PartitionLog>,
    progress: Arc<RuntimeProgress>,
    clock: Arc<dyn Clock>,
    handle: &tokio::runtime::Handle,
) -> Result<Arc<AtomicBool>, Failure> {
    let mut ends = Vec::new();
    for shard in progress.shards() {
        ends.push(log.bounds(&shard.shard.topic, shard.shard.partition)?.end);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    handle.spawn(async move {
        while !stopped.load(Ordering::Acquire) {
            if progress.shards().iter().zip(&ends).all(|(shard, end)| shard.committed_offset() >= *end) {
                let (log, now_ms) = (log.clone(), clock.now_ms());
                match tokio::task::spawn_blocking(move || log.enforce_retention(now_ms)).await {
                    Ok(Ok(dropped)) => tracing::debug!(dropped, "expired records dropped"),
                    Ok(Err(error)) => tracing::warn!(%error, "expired records could not be dropped"),
                    Err(_) => return,
                }
            }
            tokio::time::sleep(RETENTION_CHECK).await;
        }
    });
    Ok(stop)
}
