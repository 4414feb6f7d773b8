//! Plans of sessions on their way to the collector: each batch when it is due, the truth as it is accepted. It never
//! asks what the time is; the loop that drives it does.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::Write as _;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use marquee_events::{Clock, ContentType, to_json};
use prost::Message as _;
use reqwest::Url;
use serde::de::IgnoredAny;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use super::plan::{SessionPlan, Transport};
use super::truth::{DeadLetters, Truth};
use crate::SourceError;
use crate::collector::{Body, Collector};

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

/// What an accepted request adds to the truth.
struct Sent {
    events: u64,
    is_copy: bool,
    doomed: DeadLetters,
    unsure_attempts: u32,
}

pub(crate) struct Delivery {
    sender: Sender,
    queue: BinaryHeap<Reverse<Due>>,
    /// By [`SessionPlan::index`].
    running: HashMap<u64, Running>,
    requests: JoinSet<Result<Sent, SourceError>>,
    truth: Truth,
}

impl Delivery {
    pub(crate) fn new(
        collector: Collector,
        clock: Arc<dyn Clock>,
        concurrent_requests: usize,
    ) -> Result<Self, SourceError> {
        let events_url = collector.url("v1/events")?;
        let permits = Arc::new(Semaphore::new(concurrent_requests));
        Ok(Self {
            sender: Sender { collector, events_url, clock, permits },
            queue: BinaryHeap::new(),
            running: HashMap::new(),
            requests: JoinSet::new(),
            truth: Truth::default(),
        })
    }

    /// Sessions that are not over yet.
    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// Takes a session over that begins at `started_ms`; it may lie ahead.
    pub(crate) fn begin(&mut self, plan: SessionPlan, started_ms: i64) {
        let session = plan.index;
        let mut deliveries_left = 0;
        for (batch, planned) in plan.batches.iter().enumerate() {
            for (copy, at_ms) in planned.deliveries_ms.iter().enumerate() {
                self.queue.push(Reverse(Due { at_ms: started_ms + at_ms, session, batch, copy }));
                deliveries_left += 1;
            }
        }
        self.running.insert(session, Running { plan: Arc::new(plan), started_ms, deliveries_left });
    }

    /// Sends what is due, and counts what was accepted since it was last called.
    pub(crate) async fn send_due(&mut self, now_ms: i64) -> Result<(), SourceError> {
        while let Some(Reverse(due)) = self.queue.peek().copied() {
            if due.at_ms > now_ms {
                break;
            }
            self.queue.pop();
            self.deliver(due).await;
        }
        while let Some(result) = self.requests.try_join_next() {
            self.account(result)?;
        }
        Ok(())
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
    pub(crate) async fn stop_players(&mut self, now_ms: i64) {
        let queue = std::mem::take(&mut self.queue).into_sorted_vec();
        for Reverse(due) in queue.into_iter().rev() {
            let Some(running) = self.running.get(&due.session) else { continue };
            let elapsed_ms = now_ms - running.started_ms;
            if due.copy == 0 && running.plan.batches[due.batch].closes_ms <= elapsed_ms {
                let (plan, started_ms) = (Arc::clone(&running.plan), running.started_ms);
                self.request(plan, started_ms, due).await;
            }
        }
        for running in std::mem::take(&mut self.running).into_values() {
            let elapsed_ms = now_ms - running.started_ms;
            if let Some(session) = running.plan.truth_until(elapsed_ms) {
                self.truth.lost_events += running.plan.lost_until(elapsed_ms);
                self.truth.add_session(session);
            }
        }
    }

    /// Waits for the requests in flight.
    pub(crate) async fn finish(mut self) -> Result<Truth, SourceError> {
        while let Some(result) = self.requests.join_next().await {
            self.account(result)?;
        }
        self.truth.sort_sessions();
        Ok(self.truth)
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
