//! `marquee bench rows`: how long pages take at a fixed rate, stage by stage, and how soon an event changes one. Every
//! service of `marquee up` runs on a temporary home, with as many titles and profiles as wanted; pages come over gRPC
//! and events go through the collector, as those of any client. Every page is checked before a time is told.
//!
//! The one thing to know: histories go straight into the online store, as the features jobs would have left them. What
//! the jobs themselves hold in memory is only what the bench sends.

mod freshness;
mod home;
mod load;
mod page_check;
mod stage_times;
mod world;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use marquee_events::{Clock as _, SystemClock};
use marquee_retrieval::Recommender;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde::Serialize;

use super::{folder, peak_memory, reset_peak_memory};
use crate::cli::BenchRowsOptions;
use crate::failure::Failure;
use crate::recommend::RowsClient;
use crate::services::{Scope, Services};
use crate::settings::Settings;
use crate::tables_output::print_json;

use freshness::{Timed, time_events};
use load::{Tally, time_pages};
use stage_times::{StageTimes, time_stages};
use world::World;

/// Pages before the first that counts (s): connections are made and statements prepared by then.
const WARM_UP_S: u32 = 1;

/// Stages are timed for so long at most (s).
const MAX_STAGES_S: u32 = 10;

/// A page is given more time than clients give it: it is then told how long it took, not that it was cut off.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Model, features and catalogue are in service within this time, or something is broken.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// Between two looks whether they are.
const LOOK: Duration = Duration::from_millis(100);

/// Decides in which order profiles ask.
const ORDER_SEED: u64 = 2;

#[derive(Debug, Serialize)]
struct Report {
    rate: u32,
    seconds: u32,
    titles: usize,
    profiles: usize,
    model_version: String,
    pages: u64,
    rows_per_page: f64,
    page_p50_ms: Option<f64>,
    page_p99_ms: Option<f64>,
    page_max_ms: Option<f64>,
    degraded: u64,
    cache_hits: u64,
    /// Milliseconds that a page spends in each stage, and in all of them.
    stages: BTreeMap<String, StageTimes>,
    events: u64,
    event_to_page_p50_ms: Option<f64>,
    event_to_page_p99_ms: Option<f64>,
    /// Of the pages that were asked for while events changed features.
    page_with_events_p50_ms: Option<f64>,
    page_with_events_p99_ms: Option<f64>,
    peak_rss_bytes: u64,
}

/// What is asked for pages, and by whom.
pub(super) struct Bench {
    handle: tokio::runtime::Handle,
    world: World,
    client: RowsClient,
    recommender: Arc<Recommender>,
    clock: Arc<SystemClock>,
    collector_url: String,
    rate: u32,
    /// Numbers of profiles in random order, so that none asks twice before all have.
    readers: Vec<usize>,
    /// Those whose events are timed; they ask for no other pages.
    actors: Vec<usize>,
}

pub(crate) fn run(
    runtime: &tokio::runtime::Runtime,
    settings: &Settings,
    options: &BenchRowsOptions,
) -> Result<(), Failure> {
    if options.events > options.profiles / 2 {
        return Err(Failure::settings(
            "--events is more than half of --profiles: each event needs a profile of its own",
        ));
    }
    let folder = folder(options.dir.as_deref())?;
    let settings = settings_of_run(settings, folder.path());
    let clock = Arc::new(SystemClock::default());
    let services = Services::start(runtime.handle(), &settings, clock.clone(), 1.0, Scope::Everything)?;
    let measured = measure(runtime.handle(), &services, &settings, clock, options);
    let stopped = services.stop(runtime.handle());
    // What a service ended with says more than that no page came.
    stopped?;
    let report = measured?;
    if options.json {
        print_json(&report)?;
    } else {
        print_report(&report);
    }
    if report.degraded > 0 {
        return Err(Failure::internal(format!("{} of {} pages were degraded", report.degraded, report.pages)));
    }
    Ok(())
}

fn settings_of_run(settings: &Settings, folder: &Path) -> Settings {
    let mut settings = settings.clone();
    settings.home = folder.join("home");
    settings.lake.url = None;
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    for listen in [&mut settings.collector.listen, &mut settings.rows.listen, &mut settings.dashboards.listen] {
        *listen = any_port;
    }
    settings
}

fn measure(
    handle: &tokio::runtime::Handle,
    services: &Services,
    settings: &Settings,
    clock: Arc<SystemClock>,
    options: &BenchRowsOptions,
) -> Result<Report, Failure> {
    let recommend = services.recommend.as_ref().expect("the bench starts everything");
    let world = World::new(options.titles, options.profiles, clock.now_ms());
    home::fill(handle, recommend, &world, settings.log.partitions)?;
    let model_version = home::train_and_publish(handle, recommend, settings, &world, clock.as_ref())?;
    let mut readers: Vec<usize> = (0..world.profiles.len()).collect();
    readers.shuffle(&mut StdRng::seed_from_u64(ORDER_SEED));
    let actors = readers.split_off(readers.len() - options.events as usize);
    let bench = Arc::new(Bench {
        handle: handle.clone(),
        world,
        client: recommend.client(),
        recommender: recommend.recommender.clone(),
        clock,
        collector_url: services.url(),
        rate: options.rate,
        readers,
        actors,
    });
    bench.wait_until_ready(&model_version)?;
    let pages_in = |seconds: u32| u64::from(options.rate) * u64::from(seconds);
    eprintln!("pages      {} a second for {} s", options.rate, options.seconds);
    let mut asked = pages_in(WARM_UP_S);
    time_pages(&bench, 0, |number| number < pages_in(WARM_UP_S))?;
    reset_peak_memory();
    let pages = time_pages(&bench, asked, |number| number < pages_in(options.seconds))?;
    asked += pages_in(options.seconds);
    let stage_seconds = options.seconds.min(MAX_STAGES_S);
    eprintln!("stages     the same for {stage_seconds} s, in the process");
    let stages = time_stages(&bench, asked, pages_in(stage_seconds))?;
    asked += pages_in(stage_seconds);
    eprintln!("events     {} through the collector, beside the same pages", options.events);
    let Timed { latency: events, pages: with_events, degraded_looks } = time_events(&bench, asked)?;
    let count = |tally: &Tally, of: fn(&Tally) -> &std::sync::atomic::AtomicU64| of(tally).load(Ordering::Relaxed);
    let timed = pages.latency.snapshot();
    let events = events.snapshot();
    Ok(Report {
        rate: options.rate,
        seconds: options.seconds,
        titles: bench.world.titles.len(),
        profiles: bench.world.profiles.len(),
        model_version,
        pages: timed.count(),
        rows_per_page: count(&pages, |tally| &tally.rows) as f64 / timed.count().max(1) as f64,
        page_p50_ms: timed.quantile_ms(0.5),
        page_p99_ms: timed.quantile_ms(0.99),
        page_max_ms: timed.quantile_ms(1.0),
        degraded: count(&pages, |tally| &tally.degraded)
            + count(&with_events, |tally| &tally.degraded)
            + degraded_looks,
        cache_hits: count(&pages, |tally| &tally.cache_hits) + count(&with_events, |tally| &tally.cache_hits),
        stages,
        events: events.count(),
        event_to_page_p50_ms: events.quantile_ms(0.5),
        event_to_page_p99_ms: events.quantile_ms(0.99),
        page_with_events_p50_ms: with_events.latency.quantile_ms(0.5),
        page_with_events_p99_ms: with_events.latency.quantile_ms(0.99),
        peak_rss_bytes: peak_memory(),
    })
}

impl Bench {
    /// The profile that asks for the page of this number.
    fn reader(&self, number: u64) -> usize {
        self.readers[(number % self.readers.len() as u64) as usize]
    }

    fn profile_id(&self, profile: usize) -> &str {
        &self.world.profiles[profile].profile_id
    }

    /// Waits until a page is whole: the rows server reads catalogue and features once a second.
    fn wait_until_ready(&self, model_version: &str) -> Result<(), Failure> {
        let until = Instant::now() + READY_TIMEOUT;
        loop {
            let profile = self.reader(0);
            let asked = self.handle.block_on(self.client.page_within(self.profile_id(profile), PAGE_TIMEOUT));
            let problem = match asked {
                Ok(page) => {
                    let served = page.served.clone().unwrap_or_default();
                    if !served.degraded.is_empty() {
                        format!("it is degraded: {:?}", served.degraded().collect::<Vec<_>>())
                    } else if served.model_version != model_version {
                        format!("model {model_version} is not in service")
                    } else if let Some(problem) = self.world.problem(profile, &page) {
                        problem
                    } else {
                        return Ok(());
                    }
                }
                Err(status) => status.message().to_owned(),
            };
            if Instant::now() > until {
                return Err(Failure::internal(format!("no page is whole after {READY_TIMEOUT:?}: {problem}")));
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn print_report(report: &Report) {
    let ms = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.2} ms"));
    println!("{} pages of {:.1} rows, {} a second", report.pages, report.rows_per_page, report.rate);
    println!("  {} titles, {} profiles, model {}", report.titles, report.profiles, report.model_version);
    println!(
        "  page           p50 {}, p99 {}, max {}",
        ms(report.page_p50_ms),
        ms(report.page_p99_ms),
        ms(report.page_max_ms)
    );
    println!("  degraded       {}, from the cache {}", report.degraded, report.cache_hits);
    for (stage, times) in &report.stages {
        println!("    {stage:<32} p50 {:>7.3} ms, p99 {:>7.3} ms", times.p50_ms, times.p99_ms);
    }
    println!(
        "  event to page  p50 {}, p99 {} over {} events",
        ms(report.event_to_page_p50_ms),
        ms(report.event_to_page_p99_ms),
        report.events
    );
    println!("  page meanwhile p50 {}, p99 {}", ms(report.page_with_events_p50_ms), ms(report.page_with_events_p99_ms));
    println!("  peak memory    {:.1} MB", report.peak_rss_bytes as f64 / 1e6);
}
