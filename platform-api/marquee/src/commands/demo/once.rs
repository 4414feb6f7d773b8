//! `marquee demo --once`: one round, then the lake is compared with what the viewers did.

use std::sync::Arc;

use marquee_events::{Clock as _, SystemClock};
use marquee_jobs::PLAYBACK_TOPIC;
use marquee_lake_delta::DeltaLake;
use marquee_sources::{SimulatorSettings, Truth, simulate};
use marquee_stream::{NewRecord, PartitionLog, RecordHeader, RecordType, Route};
use serde::Serialize;
use tokio::sync::watch;

use super::live_line::LiveLine;
use super::{DRAIN_TIMEOUT, show_queries, show_tables};
use crate::cli::DemoOptions;
use crate::failure::Failure;
use crate::services::Services;
use crate::tables_output::{one_int, print_json};

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

pub(super) fn once(
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
    Ok(one_int(&rows).unwrap_or_default())
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

