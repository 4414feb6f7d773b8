//! Players that post while something goes wrong: each posts its batches one after the other, and a batch again and again
//! until it is acknowledged. New ones come until there are enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use marquee_events::proto::ViewEventBatch;
use marquee_events::{Clock as _, SystemClock};
use marquee_sources::{BenchPlan, generate_bench};
use prost::Message as _;

use crate::child::DEADLINE;

/// Posts that are under way together.
const THREADS: u64 = 4;

/// Players of a thread that watch at the same time; then others come.
const SESSIONS: u64 = 10;

const EVENTS_PER_SESSION: u64 = 20;
const EVENTS_PER_BATCH: usize = 5;

/// Between two posts of a thread: a fault lasts for many epochs, and the lake is compared event by event.
const PAUSE: Duration = Duration::from_millis(20);

/// Between two attempts.
const RETRY: Duration = Duration::from_millis(100);

/// What was sent and acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    pub events: u64,
    pub sessions: u64,
    /// Of attempts that were not acknowledged: each may be in the log all the same.
    pub refused_events: u64,
}

/// Players at work.
pub struct Players {
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    sessions: AtomicU64,
    /// Batches.
    acknowledged: AtomicU64,
    acknowledged_events: AtomicU64,
    /// Attempts.
    refused: AtomicU64,
    refused_events: AtomicU64,
    enough: AtomicBool,
    abandoned: AtomicBool,
}

impl Players {
    /// Begins to post. Players of another seed are others.
    pub fn start(address: &str, seed: u64) -> Self {
        let counts = Arc::new(Counts::default());
        let threads = (0..THREADS).map(|thread| {
            let (counts, address) = (Arc::clone(&counts), address.to_owned());
            std::thread::spawn(move || post_until_enough(&address, seed * THREADS + thread, &counts))
        });
        let threads = threads.collect();
        Self { counts, threads }
    }

    /// Waits until so many more batches were acknowledged.
    pub fn acknowledged(&self, more: u64) {
        wait_for_more("acknowledged", &self.counts.acknowledged, more);
    }

    /// Waits until so many more attempts were refused.
    pub fn refused(&self, more: u64) {
        wait_for_more("refused", &self.counts.refused, more);
    }

    /// Waits until those who watch have ended.
    pub fn finish(mut self) -> Sent {
        self.counts.enough.store(true, Ordering::Release);
        for thread in std::mem::take(&mut self.threads) {
            thread.join().expect("every batch is acknowledged in the end");
        }
        let count = |count: &AtomicU64| count.load(Ordering::Acquire);
        Sent {
            events: count(&self.counts.acknowledged_events),
            sessions: count(&self.counts.sessions),
            refused_events: count(&self.counts.refused_events),
        }
    }
}

impl Drop for Players {
    /// Whoever still posts gives up.
    fn drop(&mut self) {
        self.counts.abandoned.store(true, Ordering::Release);
    }
}

fn wait_for_more(what: &str, count: &AtomicU64, more: u64) {
    let (started, goal) = (Instant::now(), count.load(Ordering::Acquire) + more);
    while count.load(Ordering::Acquire) < goal {
        let found = count.load(Ordering::Acquire);
        assert!(started.elapsed() < DEADLINE, "{found} posts were {what} and not {goal}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn post_until_enough(address: &str, seed: u64, counts: &Counts) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().expect("a client");
    let attempt = |body: Vec<u8>| {
        let request = client.post(format!("{address}/v1/events")).header("content-type", "application/x-protobuf");
        let answer = runtime.block_on(async { request.body(body).send().await });
        match answer.map(|answer| answer.status().as_u16()) {
            Ok(202) => true,
            // The log is full, or does not answer.
            Ok(429 | 503) | Err(_) => false,
            Ok(status) => panic!("the collector answers {status}"),
        }
    };
    for round in 0.. {
        if counts.enough.load(Ordering::Acquire) || counts.abandoned.load(Ordering::Acquire) {
            return;
        }
        counts.sessions.fetch_add(SESSIONS, Ordering::AcqRel);
        for batch in batches(seed << 32 | round) {
            let (started, events) = (Instant::now(), batch.events.len() as u64);
            while !attempt(batch.encode_to_vec()) {
                counts.refused_events.fetch_add(events, Ordering::AcqRel);
                counts.refused.fetch_add(1, Ordering::AcqRel);
                if counts.abandoned.load(Ordering::Acquire) {
                    return;
                }
                assert!(started.elapsed() < DEADLINE, "the collector takes a batch no more");
                std::thread::sleep(RETRY);
            }
            counts.acknowledged_events.fetch_add(events, Ordering::AcqRel);
            counts.acknowledged.fetch_add(1, Ordering::AcqRel);
            std::thread::sleep(PAUSE);
        }
    }
}

/// Whole sessions that began an hour ago.
fn batches(seed: u64) -> impl Iterator<Item = ViewEventBatch> {
    let start_ms = SystemClock::default().now_ms() - 3_600_000;
    let plan = BenchPlan::new(SESSIONS * EVENTS_PER_SESSION, start_ms, seed);
    let plan = BenchPlan { sessions: SESSIONS, events_per_batch: EVENTS_PER_BATCH, ..plan };
    generate_bench(plan).map(|batch| ViewEventBatch { sent_at_ms: 0, ..batch })
}
