//! One line of live figures on stderr.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use marquee_events::{Clock as _, SystemClock};
use marquee_jobs::{Cube, LiveView};
use marquee_qoe::{Measure, SLOTS_PER_MINUTE};
use tokio::sync::watch;

use crate::failure::Failure;
use crate::live_reader::LiveReader;
use crate::services::Services;

/// The live line sums the minutes since this long ago (minutes).
const LIVE_MINUTES: i64 = 5;

/// One line of live figures on stderr, drawn anew every second.
pub(super) struct LiveLine {
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
}

impl LiveLine {
    pub(super) fn start(services: &Services, clock: Arc<SystemClock>) -> Result<Self, Failure> {
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

    pub(super) fn stop(self) {
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
    let start_failures = of(Measure::StartFailures) + of(Measure::StartFailuresBusiness);
    // Those that are pending have no outcome to be a share of.
    let resolved = of(Measure::Starts) + start_failures + of(Measure::ExitsBeforeStart);
    let average_startup_ms = of(Measure::StartupMs) / of(Measure::Startups).max(1);
    format!(
        "viewers {:>4} │ attempts {attempts:>5} │ startup {:.2} s │ rebuffering {:.2} % │ start failures {:.1} % │ exits before start {:.1} % │ p99 freshness {}",
        viewers(view, now_ms),
        average_startup_ms as f64 / 1000.0,
        share(of(Measure::RebufferMs), of(Measure::PlayingMs) + of(Measure::RebufferMs)),
        share(start_failures, resolved),
        share(of(Measure::ExitsBeforeStart), resolved),
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
