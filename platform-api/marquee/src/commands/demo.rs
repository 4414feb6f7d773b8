//! `marquee demo`: an audience with tastes against the real services; live figures in the terminal and in the browser,
//! pages that change with what was watched. With `--once` it ends by itself and compares the lake with what the viewers
//! did.

mod live_line;
mod once;
mod recommend_round;
mod true_taste;
mod world;

use std::sync::Arc;
use std::time::Duration;

use marquee_events::{Clock as _, SystemClock};
use marquee_lake_delta::DeltaLake;
use marquee_sources::audience::{AudienceSettings, Pages, WorldSettings, simulate_audience};
use tokio::sync::watch;

use crate::cli::DemoOptions;
use crate::commands::train::READS_FILES;
use crate::commands::up::{Signals, print_addresses};
use crate::failure::Failure;
use crate::services::{Scope, Services};
use crate::settings::Settings;

use live_line::LiveLine;
use world::DemoWorld;

/// A demo shows rows in SQL soon (ms, of the person who waits: with `--speed` more of its clock).
const EPOCH_MS: u32 = 5_000;

/// The lake needs seconds for a demo's events; after this it is stuck.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(120);

const QUERIES: [(&str, &str); 3] = [
    (
        "how sessions went",
        "SELECT outcome, count(*) AS sessions, round(avg(startup_ms)) AS startup_ms FROM sessions GROUP BY outcome ORDER BY sessions DESC",
    ),
    (
        "rebuffering by CDN, as CTA-2066 defines it",
        "SELECT cdn, sum(stall_ms) AS stall_ms, sum(watched_ms) AS watched_ms, round(100.0 * sum(stall_ms) / sum(watched_ms), 2) AS stalled_percent FROM qoe_cta_2066 GROUP BY cdn ORDER BY stalled_percent DESC",
    ),
    (
        "the last minutes, from the deltas",
        "SELECT minute, sum(attempts) AS attempts, sum(playing_ms) AS playing_ms, sum(rebuffer_ms) AS rebuffer_ms FROM qoe_minutes WHERE cube_name = 'audience' GROUP BY minute ORDER BY minute DESC LIMIT 5",
    ),
];

pub(crate) fn run(
    runtime: &tokio::runtime::Runtime,
    settings: &Settings,
    options: &DemoOptions,
) -> Result<(), Failure> {
    if !(options.speed.is_finite() && (0.1..=60.0).contains(&options.speed)) {
        return Err(Failure::settings("--speed must be from 0.1 to 60"));
    }
    settings.lake.must_be_local("demo", READS_FILES)?;
    let mut settings = settings.clone();
    let epoch_ms = (f64::from(EPOCH_MS) * options.speed.max(1.0)) as u32;
    settings.jobs.epoch_interval_ms = settings.jobs.epoch_interval_ms.min(epoch_ms);
    let clock = Arc::new(SystemClock::new(options.speed));
    let seed = options.seed.unwrap_or(clock.now_ms() as u64);
    let services = Services::start(runtime.handle(), &settings, clock.clone(), options.speed, Scope::Everything)?;
    print_addresses(&services);
    eprintln!("home       {}", settings.home.display());
    eprintln!("viewers    simulated, seed {seed}");
    if options.once {
        once::once(runtime, services, &clock, seed, options, &settings)
    } else {
        forever(runtime, services, clock, seed, &settings)
    }
}

fn forever(
    runtime: &tokio::runtime::Runtime,
    services: Services,
    clock: Arc<SystemClock>,
    seed: u64,
    settings: &Settings,
) -> Result<(), Failure> {
    let prepared = world::prepare(runtime, &services, settings, &WorldSettings::demo(clock.now_ms()), seed);
    let DemoWorld { world, memories } = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => {
            services.stop(runtime.handle())?;
            return Err(failure);
        }
    };
    let mut signals = Signals::listen(runtime.handle())?;
    eprintln!("Ctrl-C stops.");
    let (stop, stopped) = watch::channel(false);
    let pages = services.recommend.as_ref().map(|recommend| -> Arc<dyn Pages> { Arc::new(recommend.client()) });
    let (url, audience, viewers_clock) = (services.url(), AudienceSettings::continuous(seed), clock.clone());
    let viewers = runtime
        .spawn(async move { simulate_audience(world, memories, audience, &url, pages, viewers_clock, stopped).await });
    let training = world::train_beside(runtime, &services, settings, clock.clone())?;
    let line = LiveLine::start(&services, clock)?;
    runtime.block_on(signals.until_one_or(|| services.has_failed() || viewers.is_finished()));
    let _ = stop.send(true);
    line.stop();
    let simulated = runtime.block_on(viewers);
    let lake = services.lake.clone();
    services.stop(runtime.handle())?;
    drop(training); // it ends with the process: what it has not finished is begun again
    match simulated {
        Ok(truth) => truth?,
        Err(panic) => return Err(Failure::internal(format!("the viewers ended unexpectedly: {panic}"))),
    };
    show_tables(runtime, &lake)?;
    show_queries(&settings.home.display().to_string());
    Ok(())
}

pub(super) fn show_tables(runtime: &tokio::runtime::Runtime, lake: &DeltaLake) -> Result<(), Failure> {
    for table in runtime.block_on(lake.tables())? {
        let rows = table.rows.map_or_else(|| "?".to_owned(), |rows| rows.to_string());
        println!("{:<18} {rows:>10} rows  {}", table.name, table.doc);
    }
    Ok(())
}

pub(super) fn show_queries(home: &str) {
    println!("\nTry:");
    for (what, query) in QUERIES {
        println!("\n  # {what}\n  marquee --home {home} lake sql \"{query}\"");
    }
}
