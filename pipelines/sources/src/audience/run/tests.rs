//! The audience in time, against a collector that keeps what it accepted.

use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use marquee_events::interactions::proto::interaction::Payload;
use marquee_events::{Clock, ErrorKind, SystemClock};
use tokio::sync::watch;

use super::BETWEEN_VIEWS_MS;
use crate::SourceError;
use crate::audience::tests::{AS_OF_MS, page_of, small_world, visible};
use crate::audience::{AudienceSettings, Memory, Page, Pages, World, simulate_audience};
use crate::fake_collector;
use crate::simulator::random::generator;
use crate::simulator::tests::compare;

/// Pages in the order of the oracle; every seventh request fails.
struct TruePages {
    world: Arc<World>,
    asked: Mutex<u64>,
}

#[async_trait]
impl Pages for TruePages {
    async fn home_page(&self, profile_id: &str) -> Result<Page, Box<dyn Error + Send + Sync>> {
        let asked = {
            let mut asked = self.asked.lock().unwrap();
            *asked += 1;
            *asked
        };
        if asked % 7 == 0 {
            return Err("no page today".into());
        }
        let profile = self.world.profiles().iter().find(|profile| profile.profile_id == profile_id).unwrap();
        let titles = visible(&self.world, profile);
        Ok(page_of(self.world.true_ranking(profile_id, &titles, AS_OF_MS), 5, 12))
    }
}

/// Pages for grown-ups, whoever asks.
struct CarelessPages(Arc<World>);

#[async_trait]
impl Pages for CarelessPages {
    async fn home_page(&self, _: &str) -> Result<Page, Box<dyn Error + Send + Sync>> {
        Ok(page_of(self.0.titles().iter().map(|title| title.title_id.as_str()), 20, 20))
    }
}

/// A demo's clock, forty times as fast as life.
fn fast_clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new(40.0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_tells_the_truth_about_what_the_collector_received() {
    let (address, received) = fake_collector::start().await;
    let world = Arc::new(small_world(11));
    let pages = Arc::new(TruePages { world: Arc::clone(&world), asked: Mutex::default() });
    let mut settings = AudienceSettings::once(11);
    settings.sittings = 80;
    let memories = world.history(14, 1).into_memories();
    let (_keep, stop) = watch::channel(false);
    let truth = simulate_audience(world, memories, settings, &address, Some(pages), fast_clock(), stop).await.unwrap();
    let received = received.lock().unwrap();
    compare(&truth.playback, &received.events);
    assert_eq!(truth.sittings, 80);
    assert!(truth.pages > 80 && truth.pages_failed > 5 && truth.browsed == truth.pages_failed, "{truth:?}");

    let (mut kinds, mut total) = (BTreeMap::new(), 0);
    let (mut ids, mut started) = (HashSet::new(), HashSet::new());
    for batch in &received.interactions {
        let times: Vec<i64> = batch.interactions.iter().map(|interaction| interaction.event_time_ms).collect();
        assert!(times.is_sorted() && times[times.len() - 1] <= batch.sent_at_ms, "nothing is sent before it happens");
        for interaction in &batch.interactions {
            assert!(ids.insert((&batch.context.profile_id, &interaction.interaction_id)));
            let payload = interaction.payload.as_ref().unwrap();
            *kinds.entry(payload.name()).or_insert(0) += 1;
            total += 1;
            if let Payload::ViewStarted(view) = payload {
                started.insert(view.session_id.clone());
            }
        }
    }
    let counts = truth.interactions;
    assert_eq!(counts.total(), total);
    assert_eq!((kinds["impression"], kinds["click"]), (counts.impressions, counts.clicks));
    assert_eq!((kinds["view_started"], kinds["view_finished"]), (counts.views_started, counts.views_finished));
    assert_eq!(counts.views_started, counts.views_finished, "nobody is left watching");
    assert!(counts.clicks > 40 && counts.ratings > 0 && counts.views_progressed > 0, "{counts:?}");
    let sessions = &truth.playback.per_session;
    let with_picture = sessions.iter().filter(|s| s.counts.playing_ms > 0 || s.counts.startup_ms.is_some());
    assert!(with_picture.clone().count() > 40);
    for session in with_picture {
        assert!(started.contains(&session.session_id), "every playback is somebody's view: {session:?}");
    }
}

/// The sittings of `once`, one after the other and without a collector.
#[test]
fn once_is_over_in_about_a_minute() {
    let (settings, world) = (AudienceSettings::once(3), small_world(3));
    let mut ends_ms: Vec<i64> = Vec::new();
    for (index, viewer) in (0..settings.sittings).zip(world.viewers().cycle()) {
        let mut rng = generator(settings.seed, index, "sitting");
        let mut memory = Memory::default();
        let page = page_of(visible(&world, viewer.profile()), 5, 12);
        let mut at_ms = AS_OF_MS + (index as f64 * settings.arrival_gap_ms) as i64;
        for _ in 0..settings.pages_per_sitting {
            let visit = viewer.react(&mut memory, &page, &settings.watching, &mut rng, at_ms).unwrap();
            at_ms = visit.ends_ms + BETWEEN_VIEWS_MS;
            if !visit.goes_on {
                break;
            }
        }
        ends_ms.push(at_ms - AS_OF_MS);
    }
    ends_ms.sort_unstable();
    let (most, all) = (ends_ms[ends_ms.len() * 95 / 100], ends_ms[ends_ms.len() - 1]);
    println!("95 % of the sittings are over after {most} ms, the last after {all} ms");
    assert!(most < 45_000 && all < 90_000, "{most} {all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_audience_tells_the_truth_about_what_was_sent() {
    let (address, received) = fake_collector::start().await;
    let world = Arc::new(small_world(12));
    let mut settings = AudienceSettings::continuous(12);
    settings.arrival_gap_ms = 200.0;
    let (stopper, stop) = watch::channel(false);
    let run = tokio::spawn({
        let address = address.clone();
        async move { simulate_audience(world, Vec::new(), settings, &address, None, fast_clock(), stop).await }
    });
    let enough = async {
        while received.lock().unwrap().events.len() < 1_000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(2), enough).await.expect("a thousand events");
    stopper.send(true).unwrap();
    let truth = run.await.unwrap().unwrap();
    let received = received.lock().unwrap();
    compare(&truth.playback, &received.events);
    let sent: usize = received.interactions.iter().map(|batch| batch.interactions.len()).sum();
    assert_eq!(truth.interactions.total(), sent as u64);
    assert!(truth.interactions.views_started > 0 && truth.browsed > 0 && truth.pages == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaking_page_ends_the_run() {
    let (address, _received) = fake_collector::start().await;
    let world = Arc::new(small_world(13));
    let pages = Arc::new(CarelessPages(Arc::clone(&world)));
    let (_keep, stop) = watch::channel(false);
    let settings = AudienceSettings::once(13);
    let error =
        simulate_audience(world, Vec::new(), settings, &address, Some(pages), fast_clock(), stop).await.unwrap_err();
    assert!(matches!(error, SourceError::Leak(_)), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Internal);
}
