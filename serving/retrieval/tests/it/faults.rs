//! What a broken part does to a page: the reason that is given, and what is shown instead.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use marquee_catalogue::Maturity;
use marquee_retrieval::rehearsal::Fault;
use marquee_retrieval::{Degraded, HomeRequest, PageError, Recommender};

use crate::scene::{HOUR_MS, Scene, all_ids, degraded, ids, profile, row, sources};

async fn scene() -> Scene {
    let scene = Scene::new().await;
    scene.crowd(&[4, 8, 10, 12, 14], HOUR_MS / 2);
    scene.watched("adult", 0, 1.0, 2 * HOUR_MS);
    scene.recommender.refresh().await.expect("the catalogue is read");
    scene
}

#[tokio::test]
async fn no_model() {
    let scene = scene().await;
    scene.parts.models.switch(None);
    let page = scene.home("adult").await;
    assert_eq!((degraded(&page), page.served.model_version.as_str()), ([Degraded::NoModel].as_slice(), ""));
    let picks = row(&page, "top_picks");
    assert_eq!((picks.heading.as_str(), sources(picks)), ("Popular", BTreeSet::from(["popular_decayed"])));
}

#[tokio::test]
async fn a_broken_index_leaves_the_neighbours() {
    let scene = scene().await;
    for fault in [Fault::Fails, Fault::Panics] {
        scene.parts.index.fault.set(fault);
        let page = scene.home("adult").await;
        assert_eq!(degraded(&page), [Degraded::IndexUnavailable]);
        let picks = row(&page, "top_picks");
        assert_eq!(sources(picks), BTreeSet::from(["neighbours"]));
        assert!(picks.items.iter().all(|item| item.reason.because_title_id.as_deref() == Some("t-00")));
    }
    scene.parts.index.fault.set(Fault::None);
    assert_eq!(degraded(&scene.home("adult").await), []);
}

#[tokio::test]
async fn a_closed_online_store() {
    let scene = scene().await;
    for fault in [Fault::Fails, Fault::Panics] {
        scene.parts.online.fault.set(fault);
        let page = scene.home("adult").await;
        assert_eq!(degraded(&page), [Degraded::FeaturesUnavailable]);
        assert_eq!(sources(row(&page, "top_picks")), BTreeSet::from(["popular_decayed"]), "as last known");
    }
    let again = Recommender::new(scene.parts.parts());
    again.refresh().await.expect("the catalogue is read");
    let home = HomeRequest { context: scene.request("adult", 5_000), max_rows: 8, max_items: 6 };
    let page = again.home(&home).await.unwrap();
    assert_eq!(degraded(&page), [Degraded::FeaturesUnavailable]);
    assert_eq!(sources(row(&page, "top_picks")), BTreeSet::from(["popular_of_model"]), "nothing was ever known");
    // A row that depends on the history is not unknown, only empty.
    let request = scene.row_request("adult", "because_you_watched:t-00", 4);
    let part = scene.recommender.row(&request).await.unwrap();
    assert_eq!((part.row.items.len(), part.served.degraded), (0, vec![Degraded::FeaturesUnavailable]));
}

#[tokio::test]
async fn unreadable_profiles_fail_closed() {
    let scene = scene().await;
    scene.parts.catalogue.profiles_fault.set(Fault::Fails);
    let page = scene.home("adult").await;
    assert_eq!(degraded(&page), [Degraded::FailedClosed]);
    let all = all_ids(&page);
    assert!(!all.is_empty());
    for adults_or_germany in ["t-05", "t-07", "t-11", "t-15", "t-17", "t-23"] {
        assert!(!all.contains(&adults_or_germany), "{all:?}");
    }
}

#[tokio::test]
async fn a_lost_catalogue_is_remembered() {
    let scene = scene().await;
    scene.parts.catalogue.titles_fault.set(Fault::Fails);
    scene.recommender.refresh().await.expect("the catalogue is read");
    let page = scene.home("adult").await;
    assert_eq!(degraded(&page), [Degraded::CatalogueUnavailable]);
    assert!(!page.rows.is_empty());
    scene.parts.catalogue.titles_fault.set(Fault::None);
    scene.recommender.refresh().await.expect("the catalogue is read");
    assert_eq!(degraded(&scene.home("adult").await), []);
}

/// A licence that ends must not wait for a store of features that hangs.
#[tokio::test]
async fn a_new_catalogue_does_not_wait_for_features() {
    let scene = scene().await;
    let popular = |page: &marquee_retrieval::Page| row(page, "top_picks").items[0].title_id.clone();
    scene.parts.models.switch(None);
    assert_eq!(popular(&scene.home("child").await), "t-04");
    scene.parts.online.fault.set(Fault::Hangs);
    let mut titles = scene.parts.catalogue.titles();
    titles.retain(|title| title.title_id != "t-02");
    titles.iter_mut().find(|title| title.title_id == "t-04").unwrap().maturity = Maturity::Age18;
    scene.parts.catalogue.replace_titles(titles);
    let refresh = tokio::time::timeout(Duration::from_millis(20), scene.recommender.refresh());
    assert!(refresh.await.is_err(), "the features hang");
    scene.parts.online.fault.set(Fault::None);
    let page = scene.home("child").await;
    assert!(!all_ids(&page).contains(&"t-04"));
    assert_eq!(popular(&page), "t-08", "what was popular stays known, under other numbers");
}

#[tokio::test]
async fn a_catalogue_that_never_answered_is_an_error() {
    let scene = scene().await;
    let again = Recommender::new(scene.parts.parts());
    let home = |deadline_ms| HomeRequest { context: scene.request("adult", deadline_ms), max_rows: 8, max_items: 6 };
    scene.parts.catalogue.titles_fault.set(Fault::Fails);
    assert!(matches!(again.home(&home(1_000)).await, Err(PageError::Catalogue(_))));
    scene.parts.catalogue.titles_fault.set(Fault::Hangs);
    assert!(matches!(again.home(&home(20)).await, Err(PageError::Deadline)));
    assert!(!again.is_ready());
    scene.parts.catalogue.titles_fault.set(Fault::None);
    assert!(again.home(&home(5_000)).await.is_ok(), "the first request reads it");
}

#[tokio::test]
async fn events_that_are_not_taken_in() {
    let scene = scene().await;
    scene.parts.status.set_takes_events(false);
    assert_eq!(degraded(&scene.home("adult").await), [Degraded::EventsUnavailable]);
    scene.parts.status.set_takes_events(true);
    assert_eq!(degraded(&scene.home("adult").await), []);
}

#[tokio::test]
async fn a_hung_part_costs_the_deadline_and_no_more() {
    let scene = scene().await;
    let began = Instant::now();
    scene.parts.index.fault.set(Fault::Hangs);
    let page = scene.home_within("adult", 60).await;
    assert_eq!(degraded(&page), [Degraded::Deadline]);
    assert_eq!(sources(row(&page, "top_picks")), BTreeSet::from(["neighbours"]));
    scene.parts.index.fault.set(Fault::None);
    scene.parts.catalogue.profiles_fault.set(Fault::Hangs);
    let page = scene.home_within("adult", 60).await;
    assert_eq!(degraded(&page), [Degraded::FailedClosed, Degraded::Deadline]);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn without_any_time_there_is_the_last_good_page_then_what_is_popular() {
    let scene = scene().await;
    let page = scene.home_within("adult", 1).await;
    assert_eq!(degraded(&page), [Degraded::Deadline]);
    assert_eq!(sources(row(&page, "top_picks")), BTreeSet::from(["popular_decayed"]), "no page is kept yet");

    let good = scene.home("adult").await;
    assert_eq!(degraded(&good), []);
    let late = scene.home_within("adult", 1).await;
    assert_eq!(degraded(&late), [Degraded::Deadline]);
    assert_eq!(all_ids(&late), all_ids(&good));
    assert_ne!(late.served.request_id, good.served.request_id);

    // The profile has become a child's: the page kept for the adult is looked through anew.
    scene.parts.catalogue.put_profile(profile("adult", Maturity::AllAges, "FR"));
    let late = scene.home_within("adult", 1).await;
    let all = all_ids(&late);
    assert!(!all.is_empty() && all.iter().all(|id| all_ids(&good).contains(id)));
    for adults_or_germany in ["t-05", "t-07", "t-11", "t-15", "t-17", "t-23"] {
        assert!(!all.contains(&adults_or_germany), "{all:?}");
    }
    scene.recommender.forget("adult");
    let late = scene.home_within("adult", 1).await;
    assert_eq!(sources(row(&late, "top_picks")), BTreeSet::from(["popular_decayed"]), "nothing is kept any more");
    assert!(!ids(row(&late, "top_picks")).is_empty());
}
