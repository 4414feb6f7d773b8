//! Pages at a fixed rate, open loop: one is asked for at each intended instant whether or not earlier ones have come,
//! and its time counts from there. So a stall shows up in the time of every page that it keeps waiting.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use marquee_events::Clock as _;
use marquee_rows_proto::v1::GetHomePageResponse;
use marquee_stream::LatencyHistogram;
use tokio::task::JoinSet;

use super::{Bench, PAGE_TIMEOUT};
use crate::failure::Failure;

/// What has come of pages.
#[derive(Default)]
pub(super) struct Tally {
    /// From the intended instant to the decoded page.
    pub(super) latency: LatencyHistogram,
    pub(super) rows: AtomicU64,
    /// Pages with any reason.
    pub(super) degraded: AtomicU64,
    /// Pages made before they were asked for: the server keeps last pages for when it is late.
    pub(super) cache_hits: AtomicU64,
    wrong: AtomicU64,
    first_problem: OnceLock<String>,
}

/// Times pages from number `first` on while `goes_on` says so of how many were asked for.
///
/// # Errors
/// When a page did not come, or was wrong: no time is worth telling then.
pub(super) fn time_pages(bench: &Arc<Bench>, first: u64, goes_on: impl Fn(u64) -> bool) -> Result<Arc<Tally>, Failure> {
    let tally = Arc::new(Tally::default());
    pace(&bench.handle, bench.rate, goes_on, |number, intended| {
        let (bench, tally) = (bench.clone(), tally.clone());
        let profile = bench.reader(first + number);
        async move {
            let asked_ms = bench.clock.now_ms();
            match bench.client.page_within(bench.profile_id(profile), PAGE_TIMEOUT).await {
                Ok(page) => {
                    tally.latency.record(intended.elapsed());
                    tally.check(&bench, profile, asked_ms, &page);
                }
                Err(status) => tally.wrong(format!("no page for {}: {status}", bench.profile_id(profile))),
            }
        }
    })?;
    tally.all_right()?;
    Ok(tally)
}

impl Tally {
    fn check(&self, bench: &Bench, profile: usize, asked_ms: i64, page: &GetHomePageResponse) {
        let (is_degraded, as_of_ms) =
            page.served.as_ref().map_or((true, 0), |served| (!served.degraded.is_empty(), served.as_of_ms));
        self.rows.fetch_add(page.rows.len() as u64, Ordering::Relaxed);
        self.degraded.fetch_add(u64::from(is_degraded), Ordering::Relaxed);
        self.cache_hits.fetch_add(u64::from(as_of_ms < asked_ms), Ordering::Relaxed);
        // Without a part that it is made of, a page may well lack rows.
        let problem =
            if is_degraded { bench.world.ineligible(profile, page) } else { bench.world.problem(profile, page) };
        if let Some(problem) = problem {
            self.wrong(format!("the page of {}: {problem}", bench.profile_id(profile)));
        }
    }

    fn wrong(&self, problem: String) {
        self.wrong.fetch_add(1, Ordering::Relaxed);
        let _ = self.first_problem.set(problem); // the first is told
    }

    fn all_right(&self) -> Result<(), Failure> {
        match self.first_problem.get() {
            None => Ok(()),
            Some(problem) => Err(Failure::internal(format!(
                "the output is wrong, no time is worth telling: {} pages, the first: {problem}",
                self.wrong.load(Ordering::Relaxed)
            ))),
        }
    }
}

/// Starts a task at each of the instants `began + number / rate` while `goes_on` says so of its number, and waits for
/// all of them. The thread that calls this keeps the time.
pub(super) fn pace<F: Future<Output = ()> + Send + 'static>(
    handle: &tokio::runtime::Handle,
    rate: u32,
    goes_on: impl Fn(u64) -> bool,
    task: impl Fn(u64, Instant) -> F,
) -> Result<(), Failure> {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    let mut number = 0;
    while goes_on(number) {
        let intended = began + Duration::from_secs_f64(number as f64 / f64::from(rate));
        std::thread::sleep(intended.saturating_duration_since(Instant::now()));
        tasks.spawn_on(task(number, intended), handle);
        number += 1;
    }
    handle.block_on(async {
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(|panic| Failure::internal(format!("a client ended unexpectedly: {panic}")))?;
        }
        Ok(())
    })
}
