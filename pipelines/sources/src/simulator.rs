//! Seeded viewers in real time: what they do, what goes wrong on the way to the collector, and the truth about both.
//!
//! A session is planned as a whole when it begins ([`plan_session`], pure); the loop here only delivers plans by the
//! injected clock. Whatever the truth counts was accepted by the collector, or the run fails.

mod context;
mod plan;
mod player;
pub(crate) mod random;
mod settings;
mod truth;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use marquee_events::{Clock, ContentType, to_json};
use prost::Message as _;
use rand::rngs::StdRng;
use reqwest::Url;
use serde::de::IgnoredAny;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};

use crate::SourceError;
use crate::collector::{Body, Collector};

pub use context::{profile_id, title_id};
pub use plan::{PlannedBatch, PlannedEvent, SessionPlan, Transport, plan_session};
pub use settings::{Behaviour, Faults, SimulatorSettings};
pub use truth::{DeadLetters, Outcome, Outcomes, SessionCounts, SessionTruth, Truth};

/// How often the loop asks the clock. An injected clock may run faster than life or stand still, so nothing can be
/// slept until.
const TICK: Duration = Duration::from_millis(5);

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
    let collector = Collector::new(collector)?;
    let events_url = collector.url("v1/events")?;
    let began_ms = clock.now_ms();
    let run = Run {
        sender: Sender {
            collector,
            events_url,
            clock,
            permits: Arc::new(Semaphore::new(settings.concurrent_requests)),
        },
        began_ms,
        now_ms: began_ms,
        arrivals: Arrivals { rng: random::generator(settings.seed, 0, "arrivals"), next_ms: began_ms as f64, index: 0 },
        queue: BinaryHeap::new(),
        running: HashMap::new(),
        requests: JoinSet::new(),
        truth: Truth::default(),
        settings,
    };
    run.run(&stop).await
}

/// A delivery that is due, ordered by time; the rest of the key makes the order total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at_ms: i64,
    session: u64,
    batch: usize,
    /// 0 is the delivery itself, the others are duplicates.
    copy: usize,
}

struct Running {
    plan: Arc<SessionPlan>,
    started_ms: i64,
    deliveries_left: usize,
}

struct Arrivals {
    rng: StdRng,
    next_ms: f64,
    /// The next session.
    index: u64,
}

/// What an accepted request adds to the truth.
struct Sent {
    events: u64,
    is_copy: bool,
    doomed: DeadLetters,
    unsure_attempts: u32,
}

struct Run {
    settings: SimulatorSettings,
    sender: Sender,
    began_ms: i64,
    /// The clock as last read; it never goes back here.
    now_ms: i64,
    arrivals: Arrivals,
    queue: BinaryHeap<Reverse<Due>>,
    running: HashMap<u64, Running>,
    requests: JoinSet<Result<Sent, SourceError>>,
    truth: Truth,
}

impl Run {
    async fn run(mut self, stop: &watch::Receiver<bool>) -> Result<Truth, SourceError> {
        loop {
            self.now_ms = self.now_ms.max(self.sender.clock.now_ms());
            if *stop.borrow() {
                self.stop_players().await;
                break;
            }
            self.start_sessions();
            while let Some(Reverse(due)) = self.queue.peek().copied() {
                if due.at_ms > self.now_ms {
                    break;
                }
                self.queue.pop();
                self.deliver(due).await;
            }
            while let Some(result) = self.requests.try_join_next() {
                self.account(result)?;
            }
            if self.running.is_empty() && !self.more_arrive() {
                break;
            }
            tokio::time::sleep(TICK).await;
        }
        while let Some(result) = self.requests.join_next().await {
            self.account(result)?;
        }
        self.truth.sort_sessions();
        Ok(self.truth)
    }

    fn more_arrive(&self) -> bool {
        self.settings.sessions == 0 || self.arrivals.index < self.settings.sessions
    }

    fn start_sessions(&mut self) {
        while self.more_arrive()
            && self.arrivals.next_ms <= self.now_ms as f64
            && self.running.len() < self.settings.concurrent_sessions
        {
            let session = self.arrivals.index;
            let plan = plan_session(&self.settings, self.began_ms, session);
            let mut deliveries_left = 0;
            for (batch, planned) in plan.batches.iter().enumerate() {
                for (copy, at_ms) in planned.deliveries_ms.iter().enumerate() {
                    self.queue.push(Reverse(Due { at_ms: self.now_ms + at_ms, session, batch, copy }));
                    deliveries_left += 1;
                }
            }
            let running = Running { plan: Arc::new(plan), started_ms: self.now_ms, deliveries_left };
            self.running.insert(session, running);
            self.arrivals.index += 1;
            self.arrivals.next_ms += random::exponential(&mut self.arrivals.rng, self.settings.arrival_gap_ms);
        }
    }

    async fn deliver(&mut self, due: Due) {
        let Some(running) = self.running.get_mut(&due.session) else { return };
        let (plan, started_ms) = (Arc::clone(&running.plan), running.started_ms);
        running.deliveries_left -= 1;
        if running.deliveries_left == 0 {
            self.running.remove(&due.session);
            self.truth.lost_events += plan.lost_until(i64::MAX);
            self.truth.add_session(plan.truth());
        }
        self.request(plan, started_ms, due).await;
    }

    /// Waits for a free sender, so that a slow collector slows the simulation down instead of filling the memory.
    async fn request(&mut self, plan: Arc<SessionPlan>, started_ms: i64, due: Due) {
        let permits = Arc::clone(&self.sender.permits);
        let permit = permits.acquire_owned().await.expect("the semaphore is never closed");
        let sender = self.sender.clone();
        self.requests.spawn(async move {
            let sent = sender.send(&plan, started_ms, due).await;
            drop(permit);
            sent
        });
    }

    /// Every player sends what it has collected, also what was held back, and is never heard of again.
    async fn stop_players(&mut self) {
        let queue = std::mem::take(&mut self.queue).into_sorted_vec();
        for Reverse(due) in queue.into_iter().rev() {
            let Some(running) = self.running.get(&due.session) else { continue };
            let elapsed_ms = self.now_ms - running.started_ms;
            if due.copy == 0 && running.plan.batches[due.batch].closes_ms <= elapsed_ms {
                let (plan, started_ms) = (Arc::clone(&running.plan), running.started_ms);
                self.request(plan, started_ms, due).await;
            }
        }
        for running in std::mem::take(&mut self.running).into_values() {
            let elapsed_ms = self.now_ms - running.started_ms;
            if let Some(session) = running.plan.truth_until(elapsed_ms) {
                self.truth.lost_events += running.plan.lost_until(elapsed_ms);
                self.truth.add_session(session);
            }
        }
    }

    fn account(&mut self, result: Result<Result<Sent, SourceError>, JoinError>) -> Result<(), SourceError> {
        let sent = match result {
            Ok(sent) => sent?,
            // Nothing cancels a request; a panic in one is a panic here.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let truth = &mut self.truth;
        truth.events_sent += sent.events;
        truth.unsure_attempts += u64::from(sent.unsure_attempts);
        if sent.is_copy {
            truth.duplicates += sent.events;
        } else {
            truth.distinct_events += sent.events - sent.doomed.total();
            truth.dead_letters.future_time += sent.doomed.future_time;
            truth.dead_letters.unknown_payload += sent.doomed.unknown_payload;
        }
        Ok(())
    }
}

#[derive(Clone)]
struct Sender {
    collector: Collector,
    events_url: Url,
    clock: Arc<dyn Clock>,
    permits: Arc<Semaphore>,
}

impl Sender {
    async fn send(&self, plan: &SessionPlan, started_ms: i64, due: Due) -> Result<Sent, SourceError> {
        let body = || {
            let batch = plan.wire_batch(due.batch, started_ms, self.clock.now_ms());
            let (content_type, bytes) = match plan.transport {
                Transport::Json => (ContentType::Json, to_json(&batch).into_bytes()),
                Transport::Protobuf => (ContentType::Protobuf, batch.encode_to_vec()),
            };
            let bytes = if plan.gzip { compress(&bytes) } else { bytes };
            Body { content_type: content_type.mime(), gzip: plan.gzip, bytes }
        };
        let accepted = self.collector.post::<IgnoredAny>(&self.events_url, body).await?;
        Ok(Sent {
            events: plan.batches[due.batch].events.len() as u64,
            is_copy: due.copy > 0,
            doomed: plan.doomed(due.batch),
            unsure_attempts: accepted.unsure_attempts,
        })
    }
}

fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 2), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("writing to memory does not fail")
}

#[cfg(test)]
mod tests;
