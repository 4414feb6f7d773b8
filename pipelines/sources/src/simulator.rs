//! Seeded viewers in real time: what they do, what goes wrong on the way to the collector, and the truth about both.
//!
//! A session is planned as a whole when it begins ([`plan_session`], pure); the loop here only delivers plans by the
//! injected clock. Whatever the truth counts was accepted by the collector, or the run fails.

pub(crate) mod context;
pub(crate) mod delivery;
pub(crate) mod plan;
mod player;
pub(crate) mod random;
pub(crate) mod recorder;
pub(crate) mod settings;
mod truth;

use std::sync::Arc;
use std::time::Duration;

use marquee_events::Clock;
use rand::rngs::StdRng;
use tokio::sync::watch;

use crate::SourceError;
use crate::collector::Collector;
use delivery::Delivery;

pub use context::{profile_id, title_id};
pub use plan::{PlannedBatch, PlannedEvent, SessionPlan, Transport, plan_session};
pub use settings::{Behaviour, Faults, SimulatorSettings};
pub use truth::{DeadLetters, Outcome, Outcomes, SessionCounts, SessionTruth, Truth};

/// How often the loop asks the clock. An injected clock may run faster than life or stand still, so nothing can be
/// slept until.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// Simulates viewers against the collector at `collector` (`http://host:port`) until all sessions are over, or until
/// `stop` becomes true: then players send what they have, vanish, and the truth is about what was sent.
///
/// # Errors
/// [`SourceError::Settings`] and [`SourceError::CollectorAddress`] at once; any request that the collector refused, or
/// did not accept after all retries.
pub async fn simulate(
    settings: SimulatorSettings,
    collector: &str,
    clock: Arc<dyn Clock>,
    stop: watch::Receiver<bool>,
) -> Result<Truth, SourceError> {
    settings.check()?;
    let delivery = Delivery::new(Collector::new(collector)?, Arc::clone(&clock), settings.concurrent_requests)?;
    let began_ms = clock.now_ms();
    let run = Run {
        delivery,
        clock,
        began_ms,
        now_ms: began_ms,
        arrivals: Arrivals { rng: random::generator(settings.seed, 0, "arrivals"), next_ms: began_ms as f64, index: 0 },
        settings,
    };
    run.run(&stop).await
}

struct Arrivals {
    rng: StdRng,
    next_ms: f64,
    /// The next session.
    index: u64,
}

struct Run {
    settings: SimulatorSettings,
    delivery: Delivery,
    clock: Arc<dyn Clock>,
    began_ms: i64,
    /// The clock as last read; it never goes back here.
    now_ms: i64,
    arrivals: Arrivals,
}

impl Run {
    async fn run(mut self, stop: &watch::Receiver<bool>) -> Result<Truth, SourceError> {
        loop {
            self.now_ms = self.now_ms.max(self.clock.now_ms());
            if *stop.borrow() {
                self.delivery.stop_players(self.now_ms).await;
                break;
            }
            self.start_sessions();
            self.delivery.send_due(self.now_ms).await?;
            if self.delivery.running() == 0 && !self.more_arrive() {
                break;
            }
            tokio::time::sleep(TICK).await;
        }
        self.delivery.finish().await
    }

    fn more_arrive(&self) -> bool {
        self.settings.sessions == 0 || self.arrivals.index < self.settings.sessions
    }

    fn start_sessions(&mut self) {
        while self.more_arrive()
            && self.arrivals.next_ms <= self.now_ms as f64
            && self.delivery.running() < self.settings.concurrent_sessions
        {
            let plan = plan_session(&self.settings, self.began_ms, self.arrivals.index);
            self.delivery.begin(plan, self.now_ms);
            self.arrivals.index += 1;
            self.arrivals.next_ms += random::exponential(&mut self.arrivals.rng, self.settings.arrival_gap_ms);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
