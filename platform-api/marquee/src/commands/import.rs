//! `marquee import`: real data through the collector of the running services, or of services started for that time.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray as _;
use indicatif::{ProgressBar, ProgressStyle};
use marquee_catalogue::movielens::read_titles;
use marquee_catalogue::{Catalogue, Maturity, Profile};
use marquee_events::SystemClock;
use marquee_lake_delta::DeltaLake;
use marquee_sources::{
    CdnLogImportReport, ImportOptions, ImportReport, InteractionImportReport, RefusedLine, check_cdn_log,
    check_interactions, check_movielens, import_cdn_log, import_interactions, import_movielens, import_waterloo,
    read_waterloo, wait_until_committed,
};
use marquee_store::SqliteCatalogue;

use crate::commands::up::Signals;
use crate::failure::Failure;
use crate::home::Home;
use crate::services::{Scope, Services, open_lake};
use crate::settings::Settings;
use crate::tables_output::print_json;

/// Services that run for one import end their epochs this often (ms): its end should not wait half a minute.
const EPOCH_MS: u32 = 2_000;

/// What people are told when their folder or file is something else.
const MOVIELENS_FOLDER: &str = "DIR must hold MovieLens's movies.csv and ratings.csv, as ml-latest-small does";
const INTERACTIONS_FILE: &str = "FILE must begin with the line `profile_id,title_id,timestamp_ms[,watched_fraction]`";

/// Refused lines that people see; programs get them all.
const REFUSED_SHOWN: usize = 20;

/// The jobs need seconds for what an import sends; after this they are stuck.
const COMMIT_DEADLINE: Duration = Duration::from_secs(600);

pub(crate) fn waterloo(
    runtime: &tokio::runtime::Runtime,
    settings: &Settings,
    dir: &Path,
    json: bool,
) -> Result<(), Failure> {
    // Bad input is told before anything is started.
    read_waterloo(dir)?;
    let report = with_collector(runtime, settings, |collector| send_waterloo(dir.to_owned(), collector))?;
    if json {
        print_json(&report)?;
    } else {
        print_report(&report);
    }
    if report.sessions == 0 {
        return Err(Failure::bad_input(format!("no session of {} could be used", dir.display())));
    }
    Ok(())
}

pub(crate) fn cdn_log(
    runtime: &tokio::runtime::Runtime,
    settings: &Settings,
    files: &[PathBuf],
    json: bool,
) -> Result<(), Failure> {
    // Bad input is told before anything is started.
    check_cdn_log(files)?;
    let report = with_collector(runtime, settings, |collector| send_cdn_log(files.to_owned(), collector))?;
    if json {
        print_json(&report)?;
    } else {
        print_cdn_log_report(&report);
    }
    if report.events == 0 {
        let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        return Err(Failure::bad_input(format!("no line of {} could be used", names.join(", "))));
    }
    Ok(())
}

pub(crate) fn movielens(
    runtime: &tokio::runtime::Runtime,
    settings: &Settings,
    dir: &Path,
    json: bool,
) -> Result<(), Failure> {
    // Bad input is told before anything is started.
    let titles = read_titles(dir).map_err(|error| refused(error, MOVIELENS_FOLDER))?;
    check_movielens(dir).map_err(|error| refused(error, MOVIELENS_FOLDER))?;
    let home = Home::new(&settings.home)?;
    home.make()?;
    let catalogue = runtime.block_on(SqliteCatalogue::open(&home.catalogue()))?;
    // Before the ratings: what a title is decides what its ratings say of a taste.
    runtime.block_on(catalogue.put_titles(titles))?;
    let report = with_collector(runtime, settings, |collector| send_movielens(dir.to_owned(), collector))?;
    let lake = open_lake(runtime.handle(), &home, settings, Arc::new(SystemClock::default()))?;
    runtime.block_on(add_profiles(&lake, &catalogue))?;
    finish_interactions(&report, &dir.display().to_string(), json)
}

pub(crate) fn interactions(
    runtime: &tokio::runtime::Runtime,
    settings: &Settings,
    file: &Path,
    json: bool,
) -> Result<(), Failure> {
    check_interactions(file).map_err(|error| refused(error, INTERACTIONS_FILE))?;
    let report = with_collector(runtime, settings, |collector| send_interactions(file.to_owned(), collector))?;
    finish_interactions(&report, &file.display().to_string(), json)
}

/// Why an input was refused as a whole, and what it must be.
fn refused(error: impl Into<Failure>, must_be: &str) -> Failure {
    let Failure { message, exit_code } = error.into();
    Failure { message: format!("{message}; nothing was imported: {must_be}"), exit_code }
}

/// A profile for each imported user. They are adults somewhere: nothing that is licensed for some countries only is for
/// them.
pub(crate) async fn add_profiles(lake: &DeltaLake, catalogue: &dyn Catalogue) -> Result<(), Failure> {
    let (_, rows) =
        lake.sql("SELECT DISTINCT profile_id FROM interactions WHERE is_imported AND profile_id LIKE 'ml-%'").await?;
    let profile = |profile_id: &str| Profile {
        display_name: format!("MovieLens {}", profile_id.trim_start_matches("ml-")),
        profile_id: profile_id.to_owned(),
        max_maturity: Maturity::Age18,
        country: String::new(),
    };
    let profiles = rows.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten()).map(profile);
    Ok(catalogue.put_profiles(profiles.collect()).await?)
}

/// Sends through the collector that runs on the home, or through services that are started for it.
pub(crate) fn with_collector<R, F>(
    runtime: &tokio::runtime::Runtime,
    settings: &Settings,
    send: impl FnOnce(String) -> F,
) -> Result<R, Failure>
where
    F: Future<Output = Result<R, Failure>>,
{
    let home = Home::new(&settings.home)?;
    if let Some(address) = home.running_collector() {
        return runtime.block_on(send(format!("http://{address}")));
    }
    let mut settings = settings.clone();
    settings.collector.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    settings.jobs.epoch_interval_ms = settings.jobs.epoch_interval_ms.min(EPOCH_MS);
    let clock = Arc::new(SystemClock::default());
    let services = Services::start(runtime.handle(), &settings, clock, 1.0, Scope::Ingest)?;
    let sending = send(services.url());
    let mut signals = Signals::listen(runtime.handle())?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            report = sending => Some(report),
            () = signals.until_one_or(|| services.has_failed()) => None,
        }
    });
    // The cause of a failed job is what matters, not that the importer waited for it.
    services.stop(runtime.handle())?;
    outcome.unwrap_or_else(|| Err(Failure::unavailable("the import was stopped before its end: run it again to go on")))
}

/// Sends the Waterloo sessions and waits until they are in the lake.
pub(crate) async fn send_waterloo(dir: PathBuf, collector: String) -> Result<ImportReport, Failure> {
    let bar = progress_bar("sending sessions");
    let report = import_waterloo(&dir, &collector, &ImportOptions::default(), &bar).await?;
    bar.finish_and_clear();
    if report.chunks > 0 {
        wait(&collector, &report.topic, &report.end_offsets).await?;
    }
    Ok(report)
}

/// Sends the requests of access logs and waits until they are in the lake.
pub(crate) async fn send_cdn_log(files: Vec<PathBuf>, collector: String) -> Result<CdnLogImportReport, Failure> {
    let bar = progress_bar("sending requests");
    let report = import_cdn_log(&files, &collector, &bar).await?;
    bar.finish_and_clear();
    if report.chunks > 0 {
        wait(&collector, &report.topic, &report.end_offsets).await?;
    }
    Ok(report)
}

/// Sends MovieLens ratings and waits until they are in the lake.
pub(crate) async fn send_movielens(dir: PathBuf, collector: String) -> Result<InteractionImportReport, Failure> {
    let bar = progress_bar("sending ratings ");
    let report = import_movielens(&dir, &collector, &bar).await?;
    bar.finish_and_clear();
    if report.chunks > 0 {
        wait(&collector, &report.topic, &report.end_offsets).await?;
    }
    Ok(report)
}

/// Sends a file of interactions and waits until they are in the lake.
pub(crate) async fn send_interactions(file: PathBuf, collector: String) -> Result<InteractionImportReport, Failure> {
    let bar = progress_bar("sending history ");
    let report = import_interactions(&file, &collector, &bar).await?;
    bar.finish_and_clear();
    if report.chunks > 0 {
        wait(&collector, &report.topic, &report.end_offsets).await?;
    }
    Ok(report)
}

async fn wait(collector: &str, topic: &str, end_offsets: &[u64]) -> Result<(), Failure> {
    let bar = progress_bar("into the lake   ");
    wait_until_committed(collector, topic, end_offsets, COMMIT_DEADLINE, &bar).await?;
    bar.finish_and_clear();
    Ok(())
}

fn finish_interactions(report: &InteractionImportReport, input: &str, json: bool) -> Result<(), Failure> {
    if json {
        print_json(report)?;
    } else {
        if report.duplicate {
            println!("This import was in the lake already: nothing changed.");
        }
        println!(
            "{} interactions of {} profiles with {} titles are in the lake.",
            report.interactions, report.profiles, report.titles
        );
        print_refused(report.refused_lines, "lines", &report.refused);
        println!("Try: marquee train --publish");
    }
    if report.interactions == 0 {
        return Err(Failure::bad_input(format!("no line of {input} could be used")));
    }
    Ok(())
}

fn print_cdn_log_report(report: &CdnLogImportReport) {
    if report.duplicate {
        println!("This import was in the lake already: nothing changed.");
    }
    println!("{} sessions with {} requests are in the lake.", report.sessions, report.events);
    if report.lines_without_cmcd > 0 {
        println!("{} of {} lines have no CMCD.", report.lines_without_cmcd, report.lines);
    }
    print_refused(report.refused_lines, "lines", &report.refused);
    println!("Try: marquee lake sql \"SELECT title_id, count(*), sum(rebuffer_count) FROM sessions GROUP BY 1\"");
}

fn print_refused(count: u64, what: &str, refused: &[RefusedLine]) {
    if count == 0 {
        return;
    }
    println!("{count} {what} were refused:");
    for line in refused.iter().take(REFUSED_SHOWN) {
        println!("  {}:{}: {}", line.file, line.line, line.reason);
    }
    if count > REFUSED_SHOWN as u64 {
        println!("  … and {} more; --json lists more", count - REFUSED_SHOWN as u64);
    }
}

fn progress_bar(what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style).with_message(what)
}

fn print_report(report: &ImportReport) {
    if report.duplicate {
        println!("This import was in the lake already: nothing changed.");
    }
    println!("{} sessions with {} events are in the lake.", report.sessions, report.events);
    if report.ignored_files > 0 {
        println!("{} files were left aside: the list of sessions does not name them.", report.ignored_files);
    }
    print_refused(report.refused.len() as u64, "sessions", &report.refused);
    println!("Try: marquee lake sql \"SELECT device_type, count(*), avg(rebuffer_ms) FROM sessions GROUP BY 1\"");
}
