//! Where the time of a page goes: the same load again, but asked for in the process, because a page over gRPC does not
//! carry its trace. The difference to a page over gRPC is tokens, encoding, transport and decoding.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use marquee_retrieval::{
    AsOf, DEFAULT_ITEMS, DEFAULT_ROWS, HomeRequest, Page, PageError, RequestContext, RequestId, Stage,
};
use marquee_stream::LatencyHistogram;
use serde::Serialize;

use super::load::pace;
use super::{Bench, PAGE_TIMEOUT};
use crate::failure::Failure;

/// What a page spends in one stage, all rows together.
#[derive(Debug, Serialize)]
pub(super) struct StageTimes {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

#[derive(Default)]
struct Traces {
    stages: BTreeMap<(Stage, &'static str), LatencyHistogram>,
    whole: LatencyHistogram,
    failure: Option<PageError>,
}

/// Times the stages of `count` pages from number `first` on; `page` is everything. Stages of several rows run side by
/// side, so that they do not add up to it.
pub(super) fn time_stages(bench: &Arc<Bench>, first: u64, count: u64) -> Result<BTreeMap<String, StageTimes>, Failure> {
    let traces = Arc::new(Mutex::new(Traces::default()));
    pace(
        &bench.handle,
        bench.rate,
        |number| number < count,
        |number, intended| {
            let (bench, traces) = (bench.clone(), traces.clone());
            async move {
                let number = first + number;
                let context = RequestContext {
                    // The server's ids are hashes: these small numbers are none of them.
                    request_id: RequestId(u128::from(number)),
                    profile_id: bench.profile_id(bench.reader(number)).to_owned(),
                    as_of: AsOf::Data,
                    deadline: Instant::now() + PAGE_TIMEOUT,
                };
                let request = HomeRequest { context, max_rows: DEFAULT_ROWS, max_items: DEFAULT_ITEMS };
                let page = bench.recommender.home(&request).await;
                let took = intended.elapsed();
                traces.lock().unwrap_or_else(PoisonError::into_inner).add(page, took);
            }
        },
    )?;
    let traces = std::mem::take(&mut *traces.lock().unwrap_or_else(PoisonError::into_inner));
    if let Some(error) = traces.failure {
        return Err(Failure::internal(format!("a page was not made: {error}")));
    }
    let name = |(stage, name): (Stage, &str)| format!("{}.{name}", format!("{stage:?}").to_lowercase());
    let stages = traces.stages.into_iter().map(|(stage, times)| (name(stage), times));
    let times = stages.chain([("page".to_owned(), traces.whole)]).filter_map(|(name, times)| {
        let times = times.snapshot();
        Some((name, StageTimes { p50_ms: times.quantile_ms(0.5)?, p99_ms: times.quantile_ms(0.99)? }))
    });
    Ok(times.collect())
}

impl Traces {
    fn add(&mut self, page: Result<Page, PageError>, took: Duration) {
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                self.failure.get_or_insert(error);
                return;
            }
        };
        self.whole.record(took);
        let mut spent: BTreeMap<(Stage, &'static str), Duration> = BTreeMap::new();
        for run in &page.trace.stages {
            *spent.entry((run.stage, run.name)).or_default() += run.took;
        }
        for (stage, took) in spent {
            self.stages.entry(stage).or_default().record(took);
        }
    }
}
