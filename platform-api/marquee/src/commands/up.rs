//! `marquee up`: every service in one process until a signal comes.

use std::sync::Arc;
use std::time::Duration;

use marquee_events::SystemClock;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;
use crate::services::{Scope, Services};
use crate::settings::Settings;

/// How often a failure is looked for.
const CHECK: Duration = Duration::from_millis(100);

pub(crate) fn run(runtime: &tokio::runtime::Runtime, settings: &Settings) -> Result<(), Failure> {
    let clock = Arc::new(SystemClock::default());
    let services = Services::start(runtime.handle(), settings, clock, 1.0, Scope::Everything)?;
    print_addresses(&services);
    eprintln!("home       {}", settings.home.display());
    if let Some(bucket) = settings.lake.bucket()? {
        eprintln!("lake       {}", bucket.url());
    }
    eprintln!("Ctrl-C stops: everything taken in is written to the lake first.");
    runtime.block_on(until_signal_or(|| services.has_failed()))?;
    eprintln!("stopping …");
    services.stop(runtime.handle())
}

/// Says where everything listens.
pub(crate) fn print_addresses(services: &Services) {
    if let Some(browser) = &services.browser {
        eprintln!("pages      http://{}   (Live, Sessions, Viewer)", browser.address);
    }
    if let Some(recommend) = &services.recommend {
        eprintln!("rows       http://{}   (gRPC marquee.rows.v1)", recommend.rows_address);
    }
    eprintln!("collector  {}   (POST /v1/events, /v1/interactions)", services.url());
}

/// Returns at SIGINT, at SIGTERM, or when `done` says so.
pub(crate) async fn until_signal_or(done: impl Fn() -> bool) -> Result<(), Failure> {
    let listen = |kind| signal(kind).map_err(|e| Failure::unavailable(format!("cannot listen for signals: {e}")));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            () = tokio::time::sleep(CHECK) => if done() { return Ok(()) },
        }
    }
}
