//! `marquee jobs` and `marquee collector`: one role a process, for clusters. They meet in a log that processes share.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use marquee_collector::{Collector, Locator, Progress};
use marquee_events::{Clock, SystemClock};
use marquee_log_kafka::{KafkaMembership, MembershipOptions};
use marquee_stream::{LogicalMembership, Runtime, ShardProgress};

use super::up::Signals;
use crate::failure::Failure;
use crate::home::Home;
use crate::services::{bind, collector_settings, open_lake, open_log, open_made_log, runtime_env, runtime_settings};
use crate::settings::{LogAdapter, Settings};

/// How often the partitions are looked at, to tell people and the cluster's tools.
const REPORT: Duration = Duration::from_secs(1);

pub(crate) fn jobs(runtime: &tokio::runtime::Runtime, settings: &Settings, names: &[String]) -> Result<(), Failure> {
    needs_kafka(settings, "jobs")?;
    if let Some(name) = names.iter().find(|name| name.as_str() != "playback") {
        return Err(Failure::settings(format!(
            "job `{name}` cannot be shared: `playback` can; the features jobs keep their online store in one process (`marquee up`)"
        )));
    }
    let home = Home::new(&settings.home)?;
    let _lock = home.share()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let bucket = settings.lake.bucket()?;
    let log = open_log(runtime.handle(), &home, settings, bucket.as_ref())?;
    let lake = Arc::new(open_lake(runtime.handle(), &home, settings, clock.clone())?);
    let env = runtime_env(runtime.handle(), &home, settings, log.clone(), &lake, &clock)?;
    let instances = marquee_jobs::shareable();
    let topics: Vec<String> = instances.iter().map(|(_, topic)| topic.clone()).collect();
    let mut below = Vec::new();
    for topic in &topics {
        below.extend(log.topics_below(topic)?);
    }
    let kafka = &settings.log.kafka;
    let group = MembershipOptions::new(format!("{}{}-jobs", kafka.topic_prefix, kafka.client_id), below);
    let member = Arc::new(KafkaMembership::join(&settings.log.kafka.options()?, &group)?);
    let membership = Arc::new(LogicalMembership::new(member.clone(), log, &topics)?);
    let jobs = Runtime::start_shared(&env, &runtime_settings(settings), &instances, membership.clone())?;
    let mut signals = Signals::listen(runtime.handle())?;
    eprintln!("jobs       playback, in group {}", group.group);
    eprintln!("home       {}", home.root().display());
    if let Some(bucket) = &bucket {
        eprintln!("lake       {}", bucket.url());
    }
    eprintln!("Ctrl-C stops: the open epoch is written first, then others take over.");
    let progress = jobs.progress();
    let watch = runtime.spawn({
        let (progress, member, membership) = (progress.clone(), member.clone(), membership.clone());
        async move {
            let mut told = None;
            loop {
                let shards = progress.shards();
                let partitions: BTreeSet<String> =
                    shards.iter().map(|s| format!("{}/{}", s.shard.topic, s.shard.partition)).collect();
                if told.as_ref() != Some(&partitions) {
                    let names: Vec<&str> = partitions.iter().map(String::as_str).collect();
                    eprintln!("partitions {}", if names.is_empty() { "none yet".to_owned() } else { names.join(" ") });
                    told = Some(partitions);
                }
                let offset = |s: &Arc<ShardProgress>| {
                    membership.below(&s.shard.topic, s.shard.partition, s.committed_offset()).ok()
                };
                let offsets: Vec<(String, u32, u64)> = shards.iter().filter_map(offset).collect();
                if let Err(error) = member.report_progress(&offsets) {
                    tracing::debug!(%error, "the cluster's tools do not see the progress");
                }
                tokio::time::sleep(REPORT).await;
            }
        }
    });
    runtime.block_on(signals.until_one_or(|| progress.has_failed()));
    watch.abort();
    eprintln!("stopping …");
    jobs.stop()?;
    Ok(())
}

/// A process without jobs knows nothing of what is in the lake.
struct Elsewhere;

impl Progress for Elsewhere {
    fn committed(&self, _: &str) -> Option<Vec<u64>> {
        None
    }
}

pub(crate) fn collector(runtime: &tokio::runtime::Runtime, settings: &Settings) -> Result<(), Failure> {
    needs_kafka(settings, "collector")?;
    let home = Home::new(&settings.home)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let (listener, address) = bind(runtime.handle(), "collector", settings.collector.listen)?;
    let log = open_made_log(runtime.handle(), &home, settings, None)?;
    let collector_settings = collector_settings(settings);
    let locator = Locator::open(&collector_settings.location)?;
    let collector = Collector::new(log, clock, Arc::new(Elsewhere), collector_settings).with_locator(locator);
    let mut signals = Signals::listen(runtime.handle())?;
    eprintln!("collector  http://{address}   (POST /v1/events, /v1/interactions, /v1/cmcd)");
    let shutdown = async move { signals.until_one_or(|| false).await };
    Ok(runtime.block_on(Arc::new(collector).serve(listener, shutdown))?)
}

fn needs_kafka(settings: &Settings, role: &str) -> Result<(), Failure> {
    match settings.log.adapter {
        LogAdapter::Kafka => Ok(()),
        LogAdapter::Embedded => Err(Failure::settings(format!(
            "`marquee {role}` works on a log that processes share: set log.adapter = \"kafka\" and log.kafka.bootstrap_servers; \
             `marquee up` runs every service in one process on the embedded log"
        ))),
    }
}
