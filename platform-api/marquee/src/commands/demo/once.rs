//! `marquee demo --once`: one round of the whole loop. The lake is compared with what the viewers did, or with what was
//! imported; then a model is trained on it, put in service, and asked for a page.

use std::path::Path;
use std::sync::Arc;

use marquee_catalogue::Catalogue as _;
use marquee_catalogue::movielens::read_titles;
use marquee_dashboards::HomePage;
use marquee_events::{Clock as _, SystemClock};
use marquee_jobs::{IMPORT_TOPIC, PLAYBACK_TOPIC};
use marquee_lake_delta::DeltaLake;
use marquee_sources::{SimulatorSettings, Truth, check_movielens, simulate};
use marquee_stream::{NewRecord, PartitionLog, RecordHeader, RecordType, Route};
use serde::Serialize;
use tokio::sync::watch;

use super::live_line::LiveLine;
use super::recommend_round::{ModelFigures, Recommended, recommend};
use super::true_taste::TrueTaste;
use super::{DRAIN_TIMEOUT, show_queries, show_tables, world};
use crate::cli::DemoOptions;
use crate::commands::import;
use crate::failure::Failure;
use crate::recommend::read_import_end;
use crate::services::Services;
use crate::settings::Settings;
use crate::tables_output::{one_int, print_json};

/// Folders of real input below `--data`.
const WATERLOO: &str = "waterloo-sqoe4";
const MOVIELENS: &str = "ml-latest-small";

/// Whose page is shown after an import.
const MOVIELENS_PROFILE: &str = "ml-1";

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
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truth: Option<TruthSummary>,
    checks: Vec<Check>,
    model: ModelFigures,
    page: HomePage,
}

#[derive(Serialize)]
struct P99 {
    collector_ack: Option<f64>,
    freshness: Option<f64>,
    home_page: f64,
}

/// What a round has found in the lake, before there is a model.
struct Round {
    events: u64,
    log_events: u64,
    found: LakeFigures,
    seed: Option<u64>,
    truth: Option<TruthSummary>,
    checks: Vec<Check>,
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
    /// What the viewers did, or what the files hold.
    viewers: i64,
    lake: i64,
    equal: bool,
}

fn check(name: &'static str, viewers: u64, lake: i64) -> Check {
    Check { name, viewers: viewers as i64, lake, equal: viewers as i64 == lake }
}

pub(super) fn once(
    runtime: &tokio::runtime::Runtime,
    services: Services,
    clock: &Arc<SystemClock>,
    seed: u64,
    options: &DemoOptions,
    settings: &Settings,
) -> Result<(), Failure> {
    let summary = play(runtime, &services, clock, seed, options, settings);
    let lake = services.lake.clone();
    let stopped = services.stop(runtime.handle());
    // The cause of a failed job is what matters, not that the round waited for it.
    stopped?;
    let summary = summary?;
    if options.json {
        print_json(&summary)?;
    } else {
        print_summary(&summary);
        show_tables(runtime, &lake)?;
        show_queries(&settings.home.display().to_string());
    }
    let wrong: Vec<_> = summary.checks.iter().filter(|check| !check.equal).map(|check| check.name).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::internal(format!("the lake differs from what was sent: {}", wrong.join(", "))))
}

fn play(
    runtime: &tokio::runtime::Runtime,
    services: &Services,
    clock: &Arc<SystemClock>,
    seed: u64,
    options: &DemoOptions,
    settings: &Settings,
) -> Result<Summary, Failure> {
    let (round, world, profile_id) = match &options.data {
        None => {
            let round = simulated(runtime, services, clock, seed, options)?;
            let prepared = world::prepare(runtime, services, settings, &world::small(clock.now_ms()), seed)?;
            (round, Some(prepared.world), world::FIRST_PROFILE)
        }
        Some(data) => (imported(runtime, services, data)?, None, MOVIELENS_PROFILE),
    };
    let Recommended { model, page, page_p99_ms } =
        recommend(runtime, services, settings, clock, world.as_deref(), profile_id)?;
    let found = round.found;
    Ok(Summary {
        events: round.events,
        log_events: round.log_events,
        bronze: found.bronze as u64,
        duplicates: (found.bronze - found.distinct) as u64,
        dead_letters: found.dead_letters as u64,
        sessions: found.sessions as u64,
        epochs: found.epochs as u64,
        p99_ms: P99 {
            collector_ack: services.collector.stats().acknowledge_p99_ms,
            freshness: services.progress().freshness.quantile_ms(0.99),
            home_page: page_p99_ms,
        },
        seed: round.seed,
        truth: round.truth,
        checks: round.checks,
        model,
        page,
    })
}

/// Simulated viewers with everything that can go wrong between player and collector.
fn simulated(
    runtime: &tokio::runtime::Runtime,
    services: &Services,
    clock: &Arc<SystemClock>,
    seed: u64,
    options: &DemoOptions,
) -> Result<Round, Failure> {
    let topic = PLAYBACK_TOPIC;
    // Viewers of an earlier demo may have vanished: their sessions end here, before the figures are taken.
    let leftovers = end_records(services.log.as_ref(), clock.now_ms())?;
    runtime.block_on(services.log.append(topic, leftovers))?;
    services.drain(DRAIN_TIMEOUT)?;
    let before = runtime.block_on(LakeFigures::read(&services.lake, topic))?;
    let offsets = end_offsets(services.log.as_ref(), topic)?;
    let mut viewers = SimulatorSettings::once(seed);
    viewers.sessions = options.sessions;
    let line = LiveLine::start(services, clock.clone())?;
    let (_stop, stopped) = watch::channel(false);
    let truth = runtime.block_on(simulate(viewers, &services.url(), clock.clone(), stopped));
    line.stop();
    let truth = truth?;
    let ends = end_records(services.log.as_ref(), clock.now_ms())?;
    runtime.block_on(services.log.append(topic, ends))?;
    drain(services)?;
    let found = runtime.block_on(LakeFigures::read(&services.lake, topic))?.since(&before);
    let log_events = events_in_log(services.log.as_ref(), topic, &offsets)?;
    Ok(Round {
        events: truth.events_sent,
        log_events,
        checks: checks(&truth, &found, log_events),
        found,
        seed: Some(seed),
        truth: Some(TruthSummary {
            distinct_events: truth.distinct_events,
            lost_events: truth.lost_events,
            unsure_attempts: truth.unsure_attempts,
        }),
    })
}

/// The Waterloo sessions and the MovieLens histories instead of simulated viewers.
fn imported(runtime: &tokio::runtime::Runtime, services: &Services, data: &Path) -> Result<Round, Failure> {
    let topic = IMPORT_TOPIC;
    let folder = data.join(MOVIELENS);
    // Bad input is told before anything is sent.
    let titles = read_titles(&folder)?;
    check_movielens(&folder)?;
    let before = runtime.block_on(LakeFigures::read(&services.lake, topic))?;
    let offsets = end_offsets(services.log.as_ref(), topic)?;
    let sessions = runtime.block_on(import::send_waterloo(data.join(WATERLOO), services.url()))?;
    let recommend = services.recommend.as_ref().expect("the demo starts everything");
    runtime.block_on(recommend.stores.catalogue.put_titles(titles))?;
    let histories = runtime.block_on(import::send_movielens(folder, services.url()))?;
    runtime.block_on(import::add_profiles(&services.lake, recommend.stores.catalogue.as_ref()))?;
    runtime.block_on(read_import_end(&services.lake, &recommend.status))?;
    let found = runtime.block_on(LakeFigures::read(&services.lake, topic))?.since(&before);
    let log_events = events_in_log(services.log.as_ref(), topic, &offsets)?;
    let count = |query: &str| runtime.block_on(int(&services.lake, query));
    let interactions = count("SELECT count(*) FROM interactions WHERE is_imported AND profile_id LIKE 'ml-%'")?;
    let mut checks = vec![
        check("events in the log = bronze + dead letters", log_events, found.bronze + found.dead_letters),
        check("interactions", histories.interactions, interactions),
    ];
    // A second time nothing is sent, and the lake has not grown.
    let (new_sessions, new_events) = if sessions.duplicate { (0, 0) } else { (sessions.sessions, sessions.events) };
    checks.push(check("sessions", new_sessions, found.sessions));
    checks.push(check("events", new_events, found.bronze));
    checks.push(check("distinct events in sessions", new_events, found.folded));
    Ok(Round { events: new_events, log_events, found, seed: None, truth: None, checks })
}

fn drain(services: &Services) -> Result<(), Failure> {
    if services.drain(DRAIN_TIMEOUT)? {
        return Ok(());
    }
    Err(Failure::internal("the lake did not take in all events in two minutes"))
}

/// Declares the figures that are read from the lake and compared, each with its query.
macro_rules! lake_figures {
    ($($name:ident: $sql:literal,)*) => {
        #[derive(Debug, Clone, Copy)]
        struct LakeFigures { $($name: i64,)* }

        impl LakeFigures {
            async fn read(lake: &DeltaLake, topic: &str) -> Result<Self, Failure> {
                Ok(Self { $($name: int(lake, &$sql.replace("TOPIC", topic)).await?,)* })
            }

            fn since(&self, before: &Self) -> Self {
                Self { $($name: self.$name - before.$name,)* }
            }
        }
    };
}

lake_figures! {
    bronze: "SELECT count(*) FROM events WHERE topic = 'TOPIC'",
    distinct: "SELECT count(*) FROM (SELECT DISTINCT session_id, player_instance, sequence FROM events WHERE topic = 'TOPIC')",
    dead_letters: "SELECT sum(event_count) FROM dead_letters WHERE topic = 'TOPIC'",
    sessions: "SELECT count(*) FROM sessions WHERE topic = 'TOPIC'",
    folded: "SELECT sum(event_count) FROM sessions WHERE topic = 'TOPIC'",
    epochs: "SELECT count(*) FROM epochs",
    played: "SELECT count(*) FROM sessions WHERE topic = 'TOPIC' AND outcome = 'played'",
    start_failures: "SELECT count(*) FROM sessions WHERE topic = 'TOPIC' AND outcome = 'start_failure'",
    exits_before_start: "SELECT count(*) FROM sessions WHERE topic = 'TOPIC' AND outcome = 'exit_before_start'",
    playback_failures: "SELECT count(*) FROM sessions WHERE topic = 'TOPIC' AND outcome = 'playback_failure'",
    startup_ms: "SELECT sum(startup_ms) FROM sessions WHERE topic = 'TOPIC'",
    playing_ms: "SELECT sum(playing_ms) FROM sessions WHERE topic = 'TOPIC'",
    rebuffer_ms: "SELECT sum(rebuffer_ms) FROM sessions WHERE topic = 'TOPIC'",
    rebuffer_count: "SELECT sum(rebuffer_count) FROM sessions WHERE topic = 'TOPIC'",
    seek_waiting_ms: "SELECT sum(seek_waiting_ms) FROM sessions WHERE topic = 'TOPIC'",
    paused_ms: "SELECT sum(paused_ms) FROM sessions WHERE topic = 'TOPIC'",
    ad_ms: "SELECT sum(ad_ms) FROM sessions WHERE topic = 'TOPIC'",
    background_ms: "SELECT sum(background_ms) FROM sessions WHERE topic = 'TOPIC'",
    minutes_rebuffer_ms: "SELECT sum(rebuffer_ms) FROM qoe_minutes WHERE topic = 'TOPIC' AND cube_name = 'audience'",
    minutes_exits: "SELECT sum(exits_before_start) FROM qoe_minutes WHERE topic = 'TOPIC' AND cube_name = 'title'",
}

/// One integer; NULL (the sum of nothing) is 0.
async fn int(lake: &DeltaLake, query: &str) -> Result<i64, Failure> {
    let (_, rows) = lake.sql(&format!("SELECT CAST(x AS BIGINT) AS x FROM ({query}) AS t(x)")).await?;
    Ok(one_int(&rows).unwrap_or_default())
}

fn checks(truth: &Truth, found: &LakeFigures, log_events: u64) -> Vec<Check> {
    let duplicates = found.bronze - found.distinct;
    let ms = |ms: i64| ms as u64;
    let outcomes = &truth.outcomes;
    vec![
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
    ]
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
        "{} epochs; p99: acknowledgement {}, received until visible live {}, home page {:.1} ms",
        summary.epochs,
        ms(summary.p99_ms.collector_ack),
        ms(summary.p99_ms.freshness),
        summary.p99_ms.home_page
    );
    if let Some(found) = &summary.model.true_taste {
        print_true_taste(found);
    }
    println!("\nthe page of {} by model {}", summary.page.served.profile_id, summary.model.version);
    for row in &summary.page.rows {
        let names: Vec<&str> = row.items.iter().take(4).map(|item| item.name.as_str()).collect();
        println!("  {:<34} {}", row.heading, names.join(" · "));
    }
    println!();
}

fn print_true_taste(found: &TrueTaste) {
    println!("\nthe last title of {} viewers, held out: NDCG@10", found.cases);
    for (name, ndcg) in found.by_quality() {
        println!("  {name:<34} {ndcg:.4}");
    }
    println!("  the model above popularity         {:.4} ± {:.4}", found.lead, found.lead_standard_error);
    println!("  the true tastes above the model    {:.4} ± {:.4}", found.gap, found.gap_standard_error);
}

fn end_offsets(log: &dyn PartitionLog, topic: &str) -> Result<Vec<u64>, Failure> {
    let partitions = log.partitions(topic)?;
    (0..partitions).map(|p| Ok(log.bounds(topic, p)?.end)).collect()
}

fn end_records(log: &dyn PartitionLog, now_ms: i64) -> Result<Vec<NewRecord>, Failure> {
    let header = RecordHeader { record_type: RecordType::EndOfInput, received_at_ms: now_ms, event_count: 0 };
    let record = |partition| NewRecord { route: Route::Partition(partition), header, payload: Vec::new().into() };
    Ok(log.generations(PLAYBACK_TOPIC)?.newest().map(record).collect())
}

/// Counts the events from these offsets on, as the records' headers say.
fn events_in_log(log: &dyn PartitionLog, topic: &str, from: &[u64]) -> Result<u64, Failure> {
    let mut events = 0;
    for (partition, start) in from.iter().enumerate() {
        let mut at = *start;
        loop {
            let records = log.read(topic, partition as u32, at, 1 << 20)?;
            let Some(last) = records.last() else { break };
            at = last.offset + 1;
            events += records.iter().map(|r| u64::from(r.header.event_count)).sum::<u64>();
        }
    }
    Ok(events)
}
