//! `marquee demo`: simulated viewers against the real collector, live figures in the terminal, then the tables and
//! queries to try. With `--once` it ends by itself and compares the lake with what the viewers did.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use marquee_events::{Clock, SystemClock};
use marquee_jobs::{Cube, LiveView, PLAYBACK_TOPIC};
use marquee_lake_delta::DeltaLake;
use marquee_qoe::{Measure, SLOTS_PER_MINUTE};
use marquee_sources::{SimulatorSettings, Truth, simulate};
use marquee_stream::{NewRecord, PartitionLog, RecordHeader, RecordType, Route};
use serde::Serialize;
use tokio::sync::watch;

use crate::cli::DemoOptions;
use crate::commands::up::until_signal_or;
use crate::failure::Failure;
use crate::live_reader::LiveReader;
use crate::services::Services;
use crate::settings::Settings;
use crate::tables_output::print_json;

/// A demo shows rows in SQL soon (ms).
const EPOCH_MS: u32 = 5_000;

/// The lake needs seconds for a demo's events; after this it is stuck.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(120);

/// The live line sums the minutes since this long ago (minutes).
const LIVE_MINUTES: i64 = 5;

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
    let mut settings = settings.clone();
    settings.jobs.epoch_interval_ms = settings.jobs.epoch_interval_ms.min(EPOCH_MS);
    let clock = Arc::new(SystemClock::new(options.speed));
    let seed = options.seed.unwrap_or(clock.now_ms() as u64);
    let services = Services::start(runtime.handle(), &settings, clock.clone())?;
    eprintln!("collector  {}   (POST /v1/events)", services.url());
    eprintln!("home       {}", settings.home.display());
    eprintln!("viewers    simulated, seed {seed}");
    let home = settings.home.display().to_string();
    if options.once {
        once(runtime, services, &clock, seed, options, &home)
    } else {
        forever(runtime, services, clock, seed, &home)
    }
}

fn forever(
    runtime: &tokio::runtime::Runtime,
    services: Services,
    clock: Arc<SystemClock>,
    seed: u64,
    home: &str,
) -> Result<(), Failure> {
    eprintln!("Ctrl-C stops.");
    let (stop, stopped) = watch::channel(false);
    let (url, viewers_clock) = (services.url(), clock.clone());
    let viewers =
        runtime.spawn(async move { simulate(SimulatorSettings::continuous(seed), &url, viewers_clock, stopped).await });
    let line = LiveLine::start(&services, clock)?;
    runtime.block_on(until_signal_or(|| services.has_failed() || viewers.is_finished()))?;
    let _ = stop.send(true);
    line.stop();
    let simulated = runtime.block_on(viewers);
    let lake = services.lake.clone();
    services.stop(runtime.handle())?;
    match simulated {
        Ok(truth) => truth?,
        Err(panic) => return Err(Failure::internal(format!("the viewers ended unexpectedly: {panic}"))),
    };
    show_tables(runtime, &lake)?;
    show_queries(home);
    Ok(())
}

#[derive(Serialize)]
struct Summary {
    events: u64,
    log_events: u64,
    bronze: u64,
    duplicates: u64,
    dead_letters: u64,
    sessions: u64,
    epochs: u64,
    p99_ms: P99,
    seed: u64,
    truth: TruthSummary,
    checks: Vec<Check>,
}

#[derive(Serialize)]
struct P99 {
    collector_ack: Option<f64>,
    freshness: Option<f64>,
}

#[derive(Serialize)]
struct TruthSummary {
    distinct_events: u64,
    lost_events: u64,
    unsure_attempts: u64,
}

#[derive(Serialize)]
struct Check {
    name: &'static str,
    viewers: i64,
    lake: i64,
    equal: bool,
}

fn once(
    runtime: &tokio::runtime::Runtime,
    services: Services,
    clock: &Arc<SystemClock>,
    seed: u64,
    options: &DemoOptions,
    home: &str,
) -> Result<(), Failure> {
    // Viewers of an earlier demo may have vanished: their sessions end here, before the figures are taken.
    let leftovers = end_records(services.log.as_ref(), clock.now_ms())?;
    runtime.block_on(services.log.append(PLAYBACK_TOPIC, leftovers))?;
    services.drain(DRAIN_TIMEOUT)?;
    let before = runtime.block_on(LakeFigures::read(&services.lake))?;
    let offsets = end_offsets(services.log.as_ref())?;
    let mut viewers = SimulatorSettings::once(seed);
    viewers.sessions = options.sessions;
    let line = LiveLine::start(&services, clock.clone())?;
    let (_stop, stopped) = watch::channel(false);
    let truth = runtime.block_on(simulate(viewers, &services.url(), clock.clone(), stopped));
    let truth = match truth {
        Ok(truth) => truth,
        Err(error) => {
            line.stop();
            services.stop(runtime.handle())?;
            return Err(error.into());
        }
    };
    let ends = end_records(services.log.as_ref(), clock.now_ms())?;
    runtime.block_on(services.log.append(PLAYBACK_TOPIC, ends))?;
    let drained = services.drain(DRAIN_TIMEOUT)?;
    line.stop();
    if !drained {
        services.stop(runtime.handle())?;
        return Err(Failure::internal("the lake did not take in all events in two minutes"));
    }
    let found = runtime.block_on(LakeFigures::read(&services.lake))?.since(&before);
    let log_events = events_in_log(services.log.as_ref(), &offsets)?;
    let summary = summary(&services, &truth, &found, log_events, seed);
    let lake = services.lake.clone();
    services.stop(runtime.handle())?;
    if options.json {
        print_json(&summary)?;
    } else {
        print_summary(&summary);
        show_tables(runtime, &lake)?;
        show_queries(home);
    }
    let wrong: Vec<_> = summary.checks.iter().filter(|check| !check.equal).map(|check| check.name).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::internal(format!("the lake differs from what the viewers did: {}", wrong.join(", "))))
}

/// Declares the figures that are read from the lake and compared, each with its query.
macro_rules! lake_figures {
    ($($name:ident: $sql:literal,)*) => {
        #[derive(Debug, Clone, Copy)]
        struct LakeFigures { $($name: i64,)* }

        impl LakeFigures {
            async fn read(lake: &DeltaLake) -> Result<Self, Failure> {
                Ok(Self { $($name: int(lake, $sql).await?,)* })
            }

            fn since(&self, before: &Self) -> Self {
                Self { $($name: self.$name - before.$name,)* }
            }
        }
    };
}

lake_figures! {
    bronze: "SELECT count(*) FROM events WHERE topic = 'playback'",
    distinct: "SELECT count(*) FROM (SELECT DISTINCT session_id, player_instance, sequence FROM events WHERE topic = 'playback')",
    dead_letters: "SELECT sum(event_count) FROM dead_letters WHERE topic = 'playback'",
    sessions: "SELECT count(*) FROM sessions WHERE topic = 'playback'",
    folded: "SELECT sum(event_count) FROM sessions WHERE topic = 'playback'",
    epochs: "SELECT count(*) FROM epochs",
    played: "SELECT count(*) FROM sessions WHERE topic = 'playback' AND outcome = 'played'",
    start_failures: "SELECT count(*) FROM sessions WHERE topic = 'playback' AND outcome = 'start_failure'",
    exits_before_start: "SELECT count(*) FROM sessions WHERE topic = 'playback' AND outcome = 'exit_before_start'",
    playback_failures: "SELECT count(*) FROM sessions WHERE topic = 'playback' AND outcome = 'playback_failure'",
    startup_ms: "SELECT sum(startup_ms) FROM sessions WHERE topic = 'playback'",
    playing_ms: "SELECT sum(playing_ms) FROM sessions WHERE topic = 'playback'",
    rebuffer_ms: "SELECT sum(rebuffer_ms) FROM sessions WHERE topic = 'playback'",
    rebuffer_count: "SELECT sum(rebuffer_count) FROM sessions WHERE topic = 'playback'",
    seek_waiting_ms: "SELECT sum(seek_waiting_ms) FROM sessions WHERE topic = 'playback'",
    paused_ms: "SELECT sum(paused_ms) FROM sessions WHERE topic = 'playback'",
    ad_ms: "SELECT sum(ad_ms) FROM sessions WHERE topic = 'playback'",
    background_ms: "SELECT sum(background_ms) FROM sessions WHERE topic = 'playback'",
    minutes_rebuffer_ms: "SELECT sum(rebuffer_ms) FROM qoe_minutes WHERE topic = 'playback' AND cube_name = 'audience'",
    minutes_exits: "SELECT sum(exits_before_start) FROM qoe_minutes WHERE topic = 'playback' AND cube_name = 'title'",
}

/// One integer; NULL (the sum of nothing) is 0.
async fn int(lake: &DeltaLake, query: &str) -> Result<i64, Failure> {
    let (_, rows) = lake.sql(&format!("SELECT CAST(x AS BIGINT) AS x FROM ({query}) AS t(x)")).await?;
    let value = rows.iter().find(|batch| batch.num_rows() > 0).and_then(|batch| {
        let column = batch.column(0).as_primitive_opt::<Int64Type>()?;
        column.iter().next().flatten()
    });
    Ok(value.unwrap_or_default())
}

fn summary(services: &Services, truth: &Truth, found: &LakeFigures, log_events: u64, seed: u64) -> Summary {
    let duplicates = found.bronze - found.distinct;
    let check =
        |name, viewers: u64, lake: i64| Check { name, viewers: viewers as i64, lake, equal: viewers as i64 == lake };
    let ms = |ms: i64| ms as u64;
    let outcomes = &truth.outcomes;
    let checks = vec![
        check("events sent = events in the log", truth.events_sent, log_events as i64),
        check("events in the log = bronze + dead letters", log_events, found.bronze + found.dead_letters),
        check("distinct events", truth.distinct_events, found.distinct),
        check("distinct events in sessions", truth.distinct_events, found.folded),
        check("duplicates", truth.duplicates, duplicates),
        check("dead letters", truth.dead_letters.total(), found.dead_letters),
        check("sessions", truth.sessions, found.sessions),
        check("played", outcomes.played, found.played),
        check("start failures", outcomes.start_failure, found.start_failures),
        check("exits before start", outcomes.exit_before_start, found.exits_before_start),
        check("playback failures", outcomes.playback_failure, found.playback_failures),
        check("startup ms", ms(truth.startup_ms), found.startup_ms),
        check("playing ms", ms(truth.playing_ms), found.playing_ms),
        check("rebuffering ms", ms(truth.rebuffer_ms), found.rebuffer_ms),
        check("rebuffering ms in minutes", ms(truth.rebuffer_ms), found.minutes_rebuffer_ms),
        check("stalls", truth.rebuffer_count, found.rebuffer_count),
        check("seek waiting ms", ms(truth.seek_waiting_ms), found.seek_waiting_ms),
        check("paused ms", ms(truth.paused_ms), found.paused_ms),
        check("ad ms", ms(truth.ad_ms), found.ad_ms),
        check("background ms", ms(truth.background_ms), found.background_ms),
        check("exits before start in minutes", outcomes.exit_before_start, found.minutes_exits),
    ];
    Summary {
        events: truth.events_sent,
        log_events,
        bronze: found.bronze as u64,
        duplicates: duplicates as u64,
        dead_letters: found.dead_letters as u64,
        sessions: found.sessions as u64,
        epochs: found.epochs as u64,
        p99_ms: P99 {
            collector_ack: services.collector.stats().acknowledge_p99_ms,
            freshness: services.progress().freshness.quantile_ms(0.99),
        },
        seed,
        truth: TruthSummary {
            distinct_events: truth.distinct_events,
            lost_events: truth.lost_events,
            unsure_attempts: truth.unsure_attempts,
        },
        checks,
    }
}

fn print_summary(summary: &Summary) {
    println!("{:<44} {:>14} {:>14}", "what the viewers did against the lake", "viewers", "lake");
    for check in &summary.checks {
        let mark = if check.equal { "=" } else { "DIFFERENT" };
        println!("  {:<42} {:>14} {:>14}  {mark}", check.name, check.viewers, check.lake);
    }
    let ms = |ms: Option<f64>| ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.1} ms"));
    println!();
    println!(
        "{} epochs; p99: acknowledgement {}, received until visible live {}",
        summary.epochs,
        ms(summary.p99_ms.collector_ack),
        ms(summary.p99_ms.freshness)
    );
    println!();
}

fn show_tables(runtime: &tokio::runtime::Runtime, lake: &DeltaLake) -> Result<(), Failure> {
    for table in runtime.block_on(lake.tables())? {
        let rows = table.rows.map_or_else(|| "?".to_owned(), |rows| rows.to_string());
        println!("{:<18} {rows:>10} rows  {}", table.name, table.doc);
    }
    Ok(())
}

fn show_queries(home: &str) {
    println!("\nTry:");
    for (what, query) in QUERIES {
        println!("\n  # {what}\n  marquee --home {home} lake sql \"{query}\"");
    }
}

fn end_offsets(log: &dyn PartitionLog) -> Result<Vec<u64>, Failure> {
    let partitions = log.partitions(PLAYBACK_TOPIC)?;
    (0..partitions).map(|p| Ok(log.bounds(PLAYBACK_TOPIC, p)?.end)).collect()
}

fn end_records(log: &dyn PartitionLog, now_ms: i64) -> Result<Vec<NewRecord>, Failure> {
    let header = RecordHeader { record_type: RecordType::EndOfInput, received_at_ms: now_ms, event_count: 0 };
    let record = |partition| NewRecord { route: Route::Partition(partition), header, payload: Vec::new().into() };
    Ok((0..log.partitions(PLAYBACK_TOPIC)?).map(record).collect())
}

/// Counts the events from these offsets on, as the records' headers say.
fn events_in_log(log: &dyn PartitionLog, from: &[u64]) -> Result<u64, Failure> {
    let mut events = 0;
    for (partition, start) in from.iter().enumerate() {
        let mut at = *start;
        loop {
            let records = log.read(PLAYBACK_TOPIC, partition as u32, at, 1 << 20)?;
            let Some(last) = records.last() else { break };
            at = last.offset + 1;
            events += records.iter().map(|r| u64::from(r.header.event_count)).sum::<u64>();
        }
    }
    Ok(events)
}

/// One line of live figures on stderr, drawn anew every second.
struct LiveLine {
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
}

impl LiveLine {
    fn start(services: &Services, clock: Arc<SystemClock>) -> Result<Self, Failure> {
        let mut reader = LiveReader::start(services.log.clone())?;
        let (stop, stopped) = watch::channel(false);
        let progress = services.progress();
        let thread = std::thread::spawn(move || {
            let terminal = std::io::stderr().is_terminal();
            let mut seconds = 0_u64;
            while !*stopped.borrow() {
                if reader.follow(Duration::from_secs(1)).is_err() {
                    return; // the log's own failure is reported by who writes to it
                }
                std::thread::sleep(Duration::from_millis(500));
                reader.view.forget_before(clock.now_ms().div_euclid(60_000) - LIVE_MINUTES);
                let text = live_line(&reader.view, clock.now_ms(), progress.freshness.quantile_ms(0.99));
                seconds += 1;
                if terminal {
                    eprint!("\r\x1b[K{text}");
                    let _ = std::io::stderr().flush();
                } else if seconds.is_multiple_of(10) {
                    eprintln!("{text}");
                }
            }
            if terminal {
                eprintln!();
            }
        });
        Ok(Self { stop, thread })
    }

    fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.thread.join();
    }
}

fn live_line(view: &LiveView, now_ms: i64, freshness_p99_ms: Option<f64>) -> String {
    let now_minute = now_ms.div_euclid(60_000);
    let recent = view.total(|cell| cell.dimensions.cube == Cube::Audience && cell.minute > now_minute - LIVE_MINUTES);
    let of = |measure: Measure| recent.values.get(measure as usize).copied().unwrap_or_default();
    let share = |part: i64, whole: i64| if whole > 0 { 100.0 * part as f64 / whole as f64 } else { 0.0 };
    let attempts = of(Measure::Attempts);
    let average_startup_ms = of(Measure::StartupMs) / of(Measure::Startups).max(1);
    format!(
        "viewers {:>4} │ attempts {attempts:>5} │ startup {:.2} s │ rebuffering {:.2} % │ start failures {:.1} % │ exits before start {:.1} % │ p99 freshness {}",
        viewers(view, now_ms),
        average_startup_ms as f64 / 1000.0,
        share(of(Measure::RebufferMs), of(Measure::PlayingMs) + of(Measure::RebufferMs)),
        share(of(Measure::StartFailures) + of(Measure::StartFailuresBusiness), attempts),
        share(of(Measure::ExitsBeforeStart), attempts),
        freshness_p99_ms.map_or_else(|| "–".to_owned(), |ms| format!("{:.2} s", ms / 1000.0)),
    )
}

/// Viewers at the last 5 s slot that is old enough to have been reported.
fn viewers(view: &LiveView, now_ms: i64) -> i64 {
    let slot = (now_ms - 10_000).div_euclid(5_000);
    let (minute, index) = (slot.div_euclid(SLOTS_PER_MINUTE as i64), slot.rem_euclid(SLOTS_PER_MINUTE as i64));
    let at = view.total(|cell| cell.dimensions.cube == Cube::Audience && cell.minute == minute);
    at.values.get(Measure::Concurrent00 as usize + index as usize).copied().unwrap_or_default()
}
