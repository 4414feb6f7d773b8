//! The audience in real time: viewers arrive, ask for a page, react, watch, and ask again. The loop only keeps the
//! agenda by the injected clock; what a visit holds is decided as a whole when its page comes.

use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::sync::Arc;

use marquee_events::interactions::proto::{Context, Interaction, InteractionBatch};
use marquee_events::{Clock, interactions_to_json};
use rand::Rng;
use rand::rngs::StdRng;
use serde::Serialize;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};

use super::interaction_counts::InteractionCounts;
use super::page::{Page, Pages};
use super::settings::AudienceSettings;
use super::viewer::{Memory, Visit};
use super::world::World;
use crate::SourceError;
use crate::collector::Collector;
use crate::simulator::delivery::Delivery;
use crate::simulator::plan::Wire;
use crate::simulator::random::{exponential, generator};
use crate::simulator::{TICK, Truth};

/// What a page's own requests say of the device; players have contexts of their own.
const PAGE_DEVICE: &str = "tv";
const PAGE_APP_VERSION: &str = "8.0.0";

/// From the end of one view to the next page (ms): time for the page to learn of it.
const BETWEEN_VIEWS_MS: i64 = 1_500;

/// What an audience did. Everything counted here was accepted by the collector.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AudienceTruth {
    /// The playback sessions.
    pub playback: Truth,
    /// Viewers who came.
    pub sittings: u64,
    /// Pages that viewers reacted to.
    pub pages: u64,
    /// Requests for pages that failed; the viewer browsed instead.
    pub pages_failed: u64,
    /// Visits without a page, failed ones included.
    pub browsed: u64,
    /// Accepted interactions.
    pub interactions: InteractionCounts,
    /// Attempts to post interactions that failed without saying whether they were accepted, and were made again.
    pub unsure_interaction_attempts: u64,
}

/// Simulates an audience against the collector at `collector` (`http://host:port`) until all sittings are over, or until
/// `stop` becomes true: then players and pages send what they have, and the truth is about what was sent. Without
/// `pages` viewers browse by popularity. `memories`: of [`History::into_memories`](super::History::into_memories), or
/// empty.
///
/// # Errors
/// [`SourceError::Settings`] and [`SourceError::CollectorAddress`] at once; [`SourceError::Leak`]; any request that the
/// collector refused, or did not accept after all retries.
pub async fn simulate_audience(
    world: Arc<World>,
    memories: Vec<Memory>,
    settings: AudienceSettings,
    collector: &str,
    pages: Option<Arc<dyn Pages>>,
    clock: Arc<dyn Clock>,
    stop: watch::Receiver<bool>,
) -> Result<AudienceTruth, SourceError> {
    settings.check()?;
    let collector = Collector::new(collector)?;
    let delivery = Delivery::new(collector.clone(), Arc::clone(&clock), settings.concurrent_requests)?;
    let began_ms = clock.now_ms();
    let mut memories = memories;
    memories.resize(world.profiles().len(), Memory::default());
    let run = Run {
        arrivals: Arrivals { rng: generator(settings.seed, 0, "arrivals"), next_ms: began_ms as f64, index: 0 },
        page_permits: Arc::new(Semaphore::new(settings.concurrent_pages)),
        post_permits: Arc::new(Semaphore::new(settings.concurrent_requests)),
        now_ms: began_ms,
        world,
        memories,
        settings,
        collector,
        pages,
        clock,
        delivery,
        present: HashSet::new(),
        agenda: BTreeMap::new(),
        entries: 0,
        asked: JoinSet::new(),
        posts: JoinSet::new(),
        sessions: 0,
        truth: AudienceTruth::default(),
    };
    run.run(&stop).await
}

struct Arrivals {
    rng: StdRng,
    next_ms: f64,
    /// The next sitting.
    index: u64,
}

/// A viewer who has come and not left.
struct Sitting {
    viewer: usize,
    rng: StdRng,
    /// That the viewer may still ask for.
    pages_left: u32,
}

enum Entry {
    AskForPage(Sitting),
    Post { viewer: usize, interactions: Vec<Interaction> },
    Leave(Sitting),
}

type Asked = (Sitting, Result<Page, Box<dyn Error + Send + Sync>>);

struct Posted {
    interactions: Vec<Interaction>,
    unsure_attempts: u32,
}

struct Run {
    world: Arc<World>,
    memories: Vec<Memory>,
    settings: AudienceSettings,
    collector: Collector,
    pages: Option<Arc<dyn Pages>>,
    clock: Arc<dyn Clock>,
    delivery: Delivery,
    /// The clock as last read; it never goes back here.
    now_ms: i64,
    arrivals: Arrivals,
    /// Viewers with a sitting: one at a time each.
    present: HashSet<usize>,
    /// By time; the second number makes the order total.
    agenda: BTreeMap<(i64, u64), Entry>,
    entries: u64,
    asked: JoinSet<Asked>,
    posts: JoinSet<Result<Posted, SourceError>>,
    page_permits: Arc<Semaphore>,
    post_permits: Arc<Semaphore>,
    /// The next playback session.
    sessions: u64,
    truth: AudienceTruth,
}

impl Run {
    async fn run(mut self, stop: &watch::Receiver<bool>) -> Result<AudienceTruth, SourceError> {
        loop {
            self.now_ms = self.now_ms.max(self.clock.now_ms());
            if *stop.borrow() {
                self.stop().await;
                break;
            }
            self.let_viewers_in();
            while let Some(entry) = self.agenda.first_entry().filter(|entry| entry.key().0 <= self.now_ms) {
                match entry.remove() {
                    Entry::AskForPage(sitting) => self.ask_for_page(sitting),
                    Entry::Post { viewer, interactions } => self.post(viewer, interactions).await,
                    Entry::Leave(sitting) => {
                        self.present.remove(&sitting.viewer);
                    }
                }
            }
            while let Some(asked) = self.asked.try_join_next() {
                let (sitting, page) = joined(asked);
                self.react(sitting, page)?;
            }
            self.delivery.send_due(self.now_ms).await?;
            while let Some(posted) = self.posts.try_join_next() {
                self.account(&joined(posted)?);
            }
            let all_left = self.present.is_empty() && self.agenda.is_empty() && self.delivery.running() == 0;
            if all_left && !self.more_arrive() {
                break;
            }
            tokio::time::sleep(TICK).await;
        }
        while let Some(posted) = self.posts.join_next().await {
            self.account(&joined(posted)?);
        }
        self.truth.playback = self.delivery.finish().await?;
        Ok(self.truth)
    }

    fn more_arrive(&self) -> bool {
        self.settings.sittings == 0 || self.arrivals.index < self.settings.sittings
    }

    fn let_viewers_in(&mut self) {
        let room = self.settings.concurrent_viewers.min(self.memories.len());
        while self.more_arrive() && self.arrivals.next_ms <= self.now_ms as f64 && self.present.len() < room {
            let mut viewer = self.arrivals.rng.random_range(0..self.memories.len());
            while !self.present.insert(viewer) {
                viewer = (viewer + 1) % self.memories.len();
            }
            let rng = generator(self.settings.seed, self.arrivals.index, "sitting");
            let sitting = Sitting { viewer, rng, pages_left: self.settings.pages_per_sitting };
            self.note(self.now_ms, Entry::AskForPage(sitting));
            self.truth.sittings += 1;
            self.arrivals.index += 1;
            self.arrivals.next_ms += exponential(&mut self.arrivals.rng, self.settings.arrival_gap_ms);
        }
    }

    fn note(&mut self, at_ms: i64, entry: Entry) {
        self.entries += 1;
        self.agenda.insert((at_ms, self.entries), entry);
    }

    fn ask_for_page(&mut self, mut sitting: Sitting) {
        let Some(pages) = self.pages.clone() else {
            let visit = self.browse(&mut sitting);
            self.follow(sitting, visit);
            return;
        };
        let profile_id = self.world.profiles()[sitting.viewer].profile_id.clone();
        let permits = Arc::clone(&self.page_permits);
        self.asked.spawn(async move {
            let permit = permits.acquire_owned().await.expect("the semaphore is never closed");
            let page = pages.home_page(&profile_id).await;
            drop(permit);
            (sitting, page)
        });
    }

    fn react(
        &mut self,
        mut sitting: Sitting,
        page: Result<Page, Box<dyn Error + Send + Sync>>,
    ) -> Result<(), SourceError> {
        let visit = match page {
            Ok(page) => {
                self.truth.pages += 1;
                let profile_id = &self.world.profiles()[sitting.viewer].profile_id;
                let viewer = self.world.viewer(profile_id).expect("a viewer of this world");
                let memory = &mut self.memories[sitting.viewer];
                viewer.react(memory, &page, &self.settings.watching, &mut sitting.rng, self.now_ms)?
            }
            Err(error) => {
                self.truth.pages_failed += 1;
                tracing::debug!(%error, "a viewer got no page and browses");
                self.browse(&mut sitting)
            }
        };
        self.follow(sitting, visit);
        Ok(())
    }

    fn browse(&mut self, sitting: &mut Sitting) -> Visit {
        self.truth.browsed += 1;
        let profile_id = &self.world.profiles()[sitting.viewer].profile_id;
        let viewer = self.world.viewer(profile_id).expect("a viewer of this world");
        let memory = &mut self.memories[sitting.viewer];
        viewer.browse(memory, &self.settings.watching, &mut sitting.rng, self.now_ms)
    }

    /// Puts what comes of a visit on the agenda.
    fn follow(&mut self, mut sitting: Sitting, visit: Visit) {
        sitting.pages_left -= 1;
        if let Some(view) = visit.view {
            let settings = &self.settings;
            let wire = Wire {
                seed: settings.seed,
                json_share: settings.json_share,
                gzip_share: settings.gzip_share,
                flush_interval_ms: settings.flush_interval_ms,
                faults: &settings.faults,
            };
            self.delivery.begin(wire.plan(self.sessions, view.context, view.played), view.started_ms);
            self.sessions += 1;
        }
        let mut batch: Vec<Interaction> = Vec::new();
        let mut due_ms = 0;
        for interaction in visit.interactions {
            if !batch.is_empty() && interaction.event_time_ms >= due_ms {
                let interactions = std::mem::take(&mut batch);
                self.note(due_ms, Entry::Post { viewer: sitting.viewer, interactions });
            }
            if batch.is_empty() {
                due_ms = interaction.event_time_ms + self.settings.flush_interval_ms;
            }
            batch.push(interaction);
        }
        if !batch.is_empty() {
            self.note(due_ms, Entry::Post { viewer: sitting.viewer, interactions: batch });
        }
        if visit.goes_on && sitting.pages_left > 0 {
            self.note(visit.ends_ms + BETWEEN_VIEWS_MS, Entry::AskForPage(sitting));
        } else {
            self.note(visit.ends_ms, Entry::Leave(sitting));
        }
    }

    /// Waits for a free sender, so that a slow collector slows the simulation down instead of filling the memory.
    async fn post(&mut self, viewer: usize, interactions: Vec<Interaction>) {
        let permits = Arc::clone(&self.post_permits);
        let permit = permits.acquire_owned().await.expect("the semaphore is never closed");
        let context = Context {
            profile_id: self.world.profiles()[viewer].profile_id.clone(),
            device_type: PAGE_DEVICE.to_owned(),
            app_version: PAGE_APP_VERSION.to_owned(),
        };
        let (collector, clock) = (self.collector.clone(), Arc::clone(&self.clock));
        self.posts.spawn(async move {
            let mut batch = InteractionBatch { context: Some(context), sent_at_ms: 0, interactions };
            let json = || {
                batch.sent_at_ms = clock.now_ms();
                interactions_to_json(&batch)
            };
            let unsure_attempts = collector.post_interactions(json).await?;
            drop(permit);
            Ok(Posted { interactions: batch.interactions, unsure_attempts })
        });
    }

    fn account(&mut self, posted: &Posted) {
        self.truth.unsure_interaction_attempts += u64::from(posted.unsure_attempts);
        for payload in posted.interactions.iter().filter_map(|interaction| interaction.payload.as_ref()) {
            self.truth.interactions.add(payload);
        }
    }

    /// Players and pages send what has happened so far, and are never heard of again.
    async fn stop(&mut self) {
        self.delivery.stop_players(self.now_ms).await;
        for (_, entry) in std::mem::take(&mut self.agenda) {
            let Entry::Post { viewer, mut interactions } = entry else { continue };
            interactions.retain(|interaction| interaction.event_time_ms <= self.now_ms);
            if !interactions.is_empty() {
                self.post(viewer, interactions).await;
            }
        }
    }
}

/// Nothing cancels these tasks; a panic in one is a panic here.
fn joined<T>(result: Result<T, JoinError>) -> T {
    result.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

#[cfg(test)]
mod tests;
