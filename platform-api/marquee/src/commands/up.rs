//! `marquee up`: every service in one process until a signal comes.

use std::sync::Arc;
use std::time::Duration;

use marquee_events::SystemClock;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;
use crate::services::{Scope, Services};
use crate::settings::Settings;

/// How often a failure is looked for.
const CHECK: Duration = Duration::from_millis(100);

pub(crate) fn run(runtime: &tokio::runtime::Runtime, settings: &Settings) -> Result<(), Failure> {
    let clock = Arc::new(SystemClock::default());
    let services = Services::start(runtime.handle(), settings, clock, 1.0, Scope::Everything)?;
    // Whoever has read the addresses may send a signal.
    let mut signals = Signals::listen(runtime.handle())?;
    print_addresses(&services);
    eprintln!("home       {}", settings.home.display());
    if let Some(bucket) = settings.lake.bucket()? {
        eprintln!("lake       {}", bucket.url());
    }
    eprintln!("Ctrl-C stops: everything taken in is written to the lake first.");
    runtime.block_on(signals.until_one_or(|| services.has_failed()));
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

/// SIGINT and SIGTERM, which end the process by themselves no more.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on none is missed.
    pub(crate) fn listen(handle: &Handle) -> Result<Self, Failure> {
        let _runtime = handle.enter();
        let listen = |kind| signal(kind).map_err(|e| Failure::unavailable(format!("cannot listen for signals: {e}")));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Returns when one has come, or when `done` says so.
    pub(crate) async fn until_one_or(&mut self, done: impl Fn() -> bool) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                () = tokio::time::sleep(CHECK) => if done() { return },
            }
        }
    }
}
