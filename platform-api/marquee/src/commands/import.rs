//! `marquee import`: real data through the collector of the running services, or of services started for that time.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use marquee_events::SystemClock;
use marquee_sources::{ImportOptions, ImportReport, import_waterloo, read_waterloo, wait_until_committed};

use crate::commands::up::until_signal_or;
use crate::failure::Failure;
use crate::home::Home;
use crate::services::Services;
use crate::settings::Settings;
use crate::tables_output::print_json;

/// Services that run for one import end their epochs this often (ms): its end should not wait half a minute.
const EPOCH_MS: u32 = 2_000;

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
    let home = Home::new(&settings.home)?;
    let report = if let Some(address) = home.running_collector() {
        runtime.block_on(send(dir, &format!("http://{address}")))?
    } else {
        let mut settings = settings.clone();
        settings.collector.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        settings.jobs.epoch_interval_ms = settings.jobs.epoch_interval_ms.min(EPOCH_MS);
        let services = Services::start(runtime.handle(), &settings, Arc::new(SystemClock::default()))?;
        let url = services.url();
        let outcome = runtime.block_on(async {
            tokio::select! {
                report = send(dir, &url) => Some(report),
                _ = until_signal_or(|| services.has_failed()) => None,
            }
        });
        // The cause of a failed job is what matters, not that the importer waited for it.
        services.stop(runtime.handle())?;
        match outcome {
            Some(report) => report?,
            None => return Err(Failure::unavailable("the import was stopped before its end: run it again to go on")),
        }
    };
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

async fn send(dir: &Path, collector: &str) -> Result<ImportReport, Failure> {
    let bar = progress_bar("sending sessions");
    let report = import_waterloo(dir, collector, &ImportOptions::default(), &bar).await?;
    bar.finish_and_clear();
    if report.chunks > 0 {
        let bar = progress_bar("into the lake   ");
        wait_until_committed(collector, &report.topic, &report.end_offsets, COMMIT_DEADLINE, &bar).await?;
        bar.finish_and_clear();
    }
    Ok(report)
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
    if !report.refused.is_empty() {
        println!("{} sessions were refused:", report.refused.len());
        for line in report.refused.iter().take(20) {
            println!("  {}:{}: {}", line.file, line.line, line.reason);
        }
        if report.refused.len() > 20 {
            println!("  … and {} more; --json lists all", report.refused.len() - 20);
        }
    }
    println!("Try: marquee lake sql \"SELECT device_type, count(*), avg(rebuffer_ms) FROM sessions GROUP BY 1\"");
}
