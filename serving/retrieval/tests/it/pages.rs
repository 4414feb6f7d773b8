//! What rows hold when nothing is broken.

use std::collections::BTreeSet;

use marquee_catalogue::{Maturity, Regions};
use marquee_definitions::SignalKind;
use marquee_retrieval::{PageError, RowKind, Stage};

use crate::scene::{DAY_MS, HOUR_MS, NOW_MS, Scene, all_ids, degraded, ids, row, sources, title};

#[tokio::test]
async fn what_was_watched_decides() {
    let scene = Scene::new().await;
    scene.crowd(&[4, 8, 10, 12, 14], HOUR_MS / 2);
    scene.watched("adult", 0, 1.0, 2 * HOUR_MS);
    scene.watched("adult", 2, 0.4, HOUR_MS);
    scene.recommender.refresh().await.unwrap();
    let page = scene.home("adult").await;
    assert_eq!(degraded(&page), []);
    assert_eq!(page.served.model_version, "m-1");
    assert_eq!(page.served.as_of_ms, NOW_MS);

    let unfinished = row(&page, "continue_watching");
    assert_eq!(ids(unfinished), ["t-02"]);
    let fraction = unfinished.items[0].watched_fraction.unwrap();
    assert!((fraction - 0.4).abs() < 1e-6, "{fraction}");
    assert_eq!(page.rows[0].row_id, "continue_watching", "it stands above all");

    let picks = row(&page, "top_picks");
    assert_eq!(picks.kind, RowKind::TopPicks);
    assert_eq!(sources(picks), BTreeSet::from(["vectors"]));
    assert!(picks.items[0].genres.contains(&"Comedy".to_owned()), "nearest to what was watched");

    let because = row(&page, "because_you_watched:t-00");
    assert_eq!(because.heading, "Because you watched Title 0");
    assert!(because.items.iter().all(|item| item.reason.because_title_id.as_deref() == Some("t-00")));

    let all = all_ids(&page);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "no title twice: {all:?}");
    assert!(!all.contains(&"t-00"), "seen");
    assert_eq!(all.iter().filter(|&&id| id == "t-02").count(), 1, "begun: continue watching only");
}

#[tokio::test]
async fn the_next_page_knows_what_was_just_watched() {
    let scene = Scene::new().await;
    scene.watched("adult", 0, 1.0, HOUR_MS);
    let before = scene.home("adult").await;
    scene.watched("adult", 1, 1.0, 0);
    let after = scene.home("adult").await; // no refresh: the viewer's own history never waits for one
    assert_ne!(ids(row(&before, "top_picks")), ids(row(&after, "top_picks")));
    assert_eq!(row(&after, "because_you_watched:t-01").kind, RowKind::BecauseYouWatched);
    assert!(row(&after, "top_picks").items.iter().any(|item| item.genres[0] == "Crime"));
}

#[tokio::test]
async fn maturity_and_region_are_the_profiles() {
    let scene = Scene::new().await;
    let offered = |page: &marquee_retrieval::Page| {
        let mut all: Vec<usize> = all_ids(page).iter().map(|id| id[2..].parse().unwrap()).collect();
        all.sort_unstable();
        all
    };
    let child = offered(&scene.home("child").await);
    assert!(!child.is_empty());
    for number in child {
        assert_eq!(title(number).maturity, Maturity::AllAges, "{number}");
        assert_eq!(title(number).regions, Regions::Everywhere, "{number}");
    }
    // All of the row: an adult in Germany may have every title.
    let request = scene.row_request("adult", "exploration", 60);
    assert_eq!(scene.recommender.row(&request).await.unwrap().row.items.len(), 24);
    let request = scene.row_request("child", "exploration", 60);
    let eligible = (0..24).map(title).filter(|t| t.maturity == Maturity::AllAges && t.regions == Regions::Everywhere);
    assert_eq!(scene.recommender.row(&request).await.unwrap().row.items.len(), eligible.count());
}

#[tokio::test]
async fn not_interested_is_for_good() {
    let scene = Scene::new().await;
    scene.watched("adult", 0, 1.0, HOUR_MS);
    scene.watched("adult", 2, 0.5, HOUR_MS);
    let before = scene.home("adult").await;
    let unwanted = row(&before, "top_picks").items[0].title_id.clone();
    for number in [unwanted[2..].parse().unwrap(), 2] {
        scene.signal("adult", number, SignalKind::NotInterested, 0);
    }
    let after = scene.home("adult").await;
    let all = all_ids(&after);
    assert!(!all.contains(&unwanted.as_str()) && !all.contains(&"t-02"), "{all:?}");
}

#[tokio::test]
async fn a_new_viewer_gets_what_is_popular_trending_new_and_something_different() {
    let scene = Scene::new().await;
    scene.crowd(&[20, 18, 16, 14, 12, 10, 8, 6, 4, 2], 3 * DAY_MS);
    scene.crowd(&[13, 15, 19], HOUR_MS / 2);
    scene.recommender.refresh().await.unwrap();
    let page = scene.home("adult").await;
    assert_eq!(degraded(&page), [], "being new is no fault");
    let picks = row(&page, "top_picks");
    assert_eq!((picks.heading.as_str(), sources(picks)), ("Popular", BTreeSet::from(["popular_decayed"])));
    assert!(ids(picks).contains(&"t-20"));
    let kinds: BTreeSet<&str> = page.rows.iter().map(|row| row.row_id.as_str()).collect();
    assert!(kinds.contains("new") && kinds.contains("exploration"), "{kinds:?}");
    let request = scene.row_request("adult", "trending_now", 3);
    let trending = scene.recommender.row(&request).await.unwrap().row;
    assert_eq!(ids(&trending), ["t-13", "t-15", "t-19"], "the last hour counts more than three days ago");
}

#[tokio::test]
async fn imported_profiles_are_served_as_of_the_end_of_their_data() {
    let scene = Scene::new().await;
    let end_ms = NOW_MS - 400 * DAY_MS;
    scene.crowd(&[3, 5, 9, 11], 400 * DAY_MS + HOUR_MS / 2);
    scene.watched("adult", 1, 1.0, 400 * DAY_MS + HOUR_MS);
    scene.parts.status.imported_through(end_ms);
    scene.recommender.refresh().await.unwrap();
    let page = scene.home("adult").await;
    assert_eq!(page.served.as_of_ms, end_ms);
    let request = scene.row_request("adult", "trending_now", 4);
    let trending = scene.recommender.row(&request).await.unwrap().row;
    assert_eq!(ids(&trending), ["t-03", "t-05", "t-09", "t-11"], "what was trending then");
    assert_eq!(scene.home("child").await.served.as_of_ms, NOW_MS, "nothing is known of this one");
    scene.watched("adult", 3, 1.0, 0);
    assert_eq!(scene.home("adult").await.served.as_of_ms, NOW_MS, "from its first live signal on");
}

#[tokio::test]
async fn parts_of_a_row_fit_together() {
    let scene = Scene::new().await;
    scene.watched("adult", 0, 1.0, HOUR_MS);
    for row_id in ["top_picks", "new", "exploration", "because_you_watched:t-00"] {
        let whole = scene.recommender.row(&scene.row_request("adult", row_id, 60)).await.unwrap();
        let mut request = scene.row_request("adult", row_id, 4);
        if row_id == "exploration" {
            request.continues = Some(("m-1".to_owned(), whole.seed)); // chance, but the same
        }
        let mut pieces: Vec<String> = Vec::new();
        loop {
            let part = scene.recommender.row(&request).await.unwrap();
            assert_eq!(part.offset, pieces.len());
            pieces.extend(part.row.items.iter().map(|item| item.title_id.clone()));
            let Some(next) = part.next_offset else { break };
            request.offset = next;
            request.context = scene.request("adult", 5_000);
            request.continues = Some((part.served.model_version, part.seed));
        }
        assert_eq!(pieces, ids(&whole.row), "{row_id}");
        assert!(pieces.len() > 8, "{row_id} has several parts");
    }
}

#[tokio::test]
async fn a_row_that_was_begun_with_another_model_is_refused() {
    let scene = Scene::new().await;
    let mut request = scene.row_request("adult", "new", 4);
    request.continues = Some(("m-1".to_owned(), 1));
    scene.recommender.row(&request).await.unwrap();
    scene.put_model("m-2");
    let error = scene.recommender.row(&request).await.unwrap_err();
    assert!(matches!(error, PageError::ModelChanged { ref pinned } if pinned == "m-1"), "{error}");
}

#[tokio::test]
async fn strangers_and_unknown_rows_are_errors() {
    let scene = Scene::new().await;
    let home = marquee_retrieval::HomeRequest { context: scene.request("nobody", 5_000), max_rows: 8, max_items: 6 };
    let error = scene.recommender.home(&home).await.unwrap_err();
    assert!(matches!(error, PageError::UnknownProfile { .. }), "{error}");
    // A title that exists but was not finished names no row; it would also tell a child what there is for adults.
    for row_id in ["", "nonsense", "because_you_watched", "because_you_watched:", "because_you_watched:t-05", "new:x"] {
        let error = scene.recommender.row(&scene.row_request("child", row_id, 4)).await.unwrap_err();
        assert!(matches!(error, PageError::UnknownRow { .. }), "{row_id}: {error}");
    }
}

#[tokio::test]
async fn every_stage_is_timed_and_counted() {
    let scene = Scene::new().await;
    scene.watched("adult", 0, 1.0, HOUR_MS);
    let page = scene.home("adult").await;
    let picks: Vec<_> = page.trace.stages.iter().filter(|run| run.row_id == "top_picks").collect();
    let kinds: Vec<Stage> = picks.iter().map(|run| run.stage).collect();
    let expected =
        [Stage::Source, Stage::Filter, Stage::Filter, Stage::Filter, Stage::Scorer, Stage::Selector, Stage::Check];
    assert_eq!(kinds, expected);
    assert_eq!((picks[0].name, picks[0].candidates_out), ("vectors", 23), "all but the one that was seen");
    assert_eq!((picks[5].name, picks[5].candidates_in, picks[5].candidates_out), ("diverse", 23, 6));
    assert!(page.trace.stages.iter().any(|run| run.stage == Stage::Read && !run.took.is_zero()));
    let new: Vec<Stage> = page.trace.stages.iter().filter(|r| r.row_id == "new").map(|run| run.stage).collect();
    assert!(new.contains(&Stage::Hydrator));
}
