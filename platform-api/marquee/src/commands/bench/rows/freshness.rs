//! From an event to a changed page: a viewer finishes or rates the first of its top picks, the event goes to the
//! collector over HTTP, and its page is asked for until a top pick is gone that can only be gone because of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use marquee_events::Clock as _;
use marquee_events::interactions::interactions_to_json;
use marquee_events::interactions::proto::interaction::Payload;
use marquee_events::interactions::proto::{Context, Interaction, InteractionBatch, Rating, ViewFinished};
use marquee_rows_proto::v1::RowKind;
use marquee_stream::LatencyHistogram;

use super::load::{Tally, pace, time_pages};
use super::{Bench, PAGE_TIMEOUT};
use crate::failure::Failure;

/// Events a second: the pages that wait for them are few beside the others.
const EVENTS_PER_S: u32 = 10;

/// Between two looks at the page: it is found changed at most this much too late.
const LOOK: Duration = Duration::from_millis(10);

/// A page that has not changed by then never will.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Stars that an event gives.
const STARS: f64 = 4.5;

/// What came of events, and of the pages meanwhile.
pub(super) struct Timed {
    /// From the moment that an event is sent to the arrival of a page that knows it.
    pub(super) latency: LatencyHistogram,
    /// The pages that were asked for beside the events.
    pub(super) pages: Arc<Tally>,
    /// Looks at an actor's page that found it degraded: such a page proves nothing, so it is asked for again.
    pub(super) degraded_looks: u64,
}

/// Times one event of each actor while pages from number `first` on are asked for.
///
/// # Errors
/// When the collector refuses an event, a page does not change, or a page is wrong.
pub(super) fn time_events(bench: &Arc<Bench>, first: u64) -> Result<Timed, Failure> {
    let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build();
    let http = http.map_err(|e| Failure::unavailable(format!("no HTTP client: {e}")))?;
    let (latency, problem) = (Arc::new(LatencyHistogram::default()), Arc::new(OnceLock::new()));
    let degraded_looks = Arc::new(AtomicU64::new(0));
    let is_over = AtomicBool::new(false);
    let (paced, pages) = std::thread::scope(|scope| {
        let pages = scope.spawn(|| time_pages(bench, first, |_| !is_over.load(Ordering::Relaxed)));
        let count = bench.actors.len() as u64;
        let paced = pace(
            &bench.handle,
            EVENTS_PER_S,
            |number| number < count,
            |number, _| {
                let (bench, http) = (bench.clone(), http.clone());
                let (latency, problem, degraded) = (latency.clone(), problem.clone(), degraded_looks.clone());
                async move {
                    match time_event(&bench, &http, number as usize, &degraded).await {
                        Ok(took) => latency.record(took),
                        Err(failure) => drop(problem.set(failure)), // the first is told
                    }
                }
            },
        );
        is_over.store(true, Ordering::Relaxed);
        (paced, pages.join())
    });
    paced?;
    let pages = pages.map_err(|_| Failure::internal("the load of pages ended unexpectedly"))??;
    if let Some(failure) = Arc::into_inner(problem).and_then(OnceLock::into_inner) {
        return Err(failure);
    }
    let latency = Arc::into_inner(latency).expect("all tasks have ended");
    Ok(Timed { latency, pages, degraded_looks: degraded_looks.load(Ordering::Relaxed) })
}

async fn time_event(
    bench: &Bench,
    http: &reqwest::Client,
    number: usize,
    degraded: &AtomicU64,
) -> Result<Duration, Failure> {
    let actor = bench.actors[number];
    let picks = wait_for(bench, actor, degraded, |picks| !picks.is_empty()).await?;
    let title_id = &picks[0];
    let sent = Instant::now();
    send(bench, http, actor, event(number, title_id)).await?;
    wait_for(bench, actor, degraded, |picks| !picks.contains(title_id)).await?;
    Ok(sent.elapsed())
}

/// The top picks of a whole page, once they are as wanted.
async fn wait_for(
    bench: &Bench,
    profile: usize,
    degraded: &AtomicU64,
    is_wanted: impl Fn(&[String]) -> bool,
) -> Result<Vec<String>, Failure> {
    let began = Instant::now();
    loop {
        match top_picks(bench, profile).await? {
            None => {
                degraded.fetch_add(1, Ordering::Relaxed);
            }
            Some(picks) if is_wanted(&picks) => return Ok(picks),
            Some(_) => {}
        }
        if began.elapsed() > TIMEOUT {
            let profile_id = bench.profile_id(profile);
            return Err(Failure::internal(format!("the top picks of {profile_id} do not change for {TIMEOUT:?}")));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Half of the events end a view, half give stars; either makes a title one that the viewer has seen.
fn event(number: usize, title_id: &str) -> Payload {
    let title_id = title_id.to_owned();
    if number.is_multiple_of(2) {
        Payload::ViewFinished(ViewFinished { title_id, session_id: String::new(), watched_fraction: 1.0 })
    } else {
        Payload::Rating(Rating { title_id, value: STARS })
    }
}

async fn send(bench: &Bench, http: &reqwest::Client, actor: usize, payload: Payload) -> Result<(), Failure> {
    let now_ms = bench.clock.now_ms();
    let profile_id = bench.profile_id(actor).to_owned();
    let interaction =
        Interaction { interaction_id: format!("bench-{profile_id}"), event_time_ms: now_ms, payload: Some(payload) };
    let batch = InteractionBatch {
        context: Some(Context { profile_id, ..Context::default() }),
        sent_at_ms: now_ms,
        interactions: vec![interaction],
    };
    let request = http
        .post(format!("{}/v1/interactions", bench.collector_url))
        .header("content-type", "application/json")
        .body(interactions_to_json(&batch));
    let answer =
        request.send().await.map_err(|e| Failure::unavailable(format!("the collector does not answer: {e}")))?;
    if answer.status().as_u16() == 202 {
        return Ok(());
    }
    let (status, text) = (answer.status(), answer.text().await.unwrap_or_default());
    Err(Failure::internal(format!("the collector answers an event with {status}: {text}")))
}

/// The titles of a profile's top picks, of a page that is checked as far as it can be after an event; `None` when it is
/// degraded.
async fn top_picks(bench: &Bench, profile: usize) -> Result<Option<Vec<String>>, Failure> {
    let profile_id = bench.profile_id(profile);
    let page = bench.client.page_within(profile_id, PAGE_TIMEOUT).await;
    let page = page.map_err(|status| Failure::unavailable(format!("no page for {profile_id}: {status}")))?;
    if let Some(problem) = bench.world.ineligible(profile, &page) {
        return Err(Failure::internal(format!("the page of {profile_id}: {problem}")));
    }
    if page.served.as_ref().is_none_or(|served| !served.degraded.is_empty()) {
        return Ok(None);
    }
    let picks = page.rows.into_iter().filter(|row| row.kind() == RowKind::TopPicks).flat_map(|row| row.items);
    Ok(Some(picks.map(|item| item.title_id).collect()))
}
