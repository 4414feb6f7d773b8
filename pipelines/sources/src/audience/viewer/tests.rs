//! Viewers in front of pages: better pages are liked more, nobody sees what it may not, waits cost views.

use std::collections::HashSet;

use marquee_events::interactions::proto::interaction::Payload;
use marquee_events::interactions::proto::{Click, Impression, ViewStarted};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::audience::tests::{AS_OF_MS, demo_world, page_of, rng, small_world, visible, watching};
use crate::audience::{Memory, Page, Viewer, Visit, World};

/// Reactions of every viewer of a world to pages made for each.
fn visits(world: &World, page: impl Fn(&Viewer<'_>, &mut StdRng) -> Page) -> Vec<Visit> {
    world
        .viewers()
        .enumerate()
        .map(|(number, viewer)| {
            let mut rng = rng(number as u64);
            let page = page(&viewer, &mut rng);
            viewer.react(&mut Memory::default(), &page, &watching(), &mut rng, AS_OF_MS).unwrap()
        })
        .collect()
}

fn count(visits: &[Visit], what: impl Fn(&Payload) -> bool) -> usize {
    visits
        .iter()
        .flat_map(|visit| &visit.interactions)
        .filter(|interaction| interaction.payload.as_ref().is_some_and(&what))
        .count()
}

fn random_page(world: &World, viewer: &Viewer<'_>, rng: &mut StdRng) -> Page {
    let mut titles = visible(world, viewer.profile());
    titles.shuffle(rng);
    page_of(titles, 6, 20)
}

#[test]
fn better_pages_are_clicked_more_and_the_top_left_is_looked_at_most() {
    let world = demo_world(5);
    let random = visits(&world, |viewer, rng| random_page(&world, viewer, rng));
    let true_to_taste = visits(&world, |viewer, _| {
        let titles = visible(&world, viewer.profile());
        page_of(world.true_ranking(&viewer.profile().profile_id, &titles, AS_OF_MS), 6, 20)
    });
    let clicks = |visits: &[Visit]| count(visits, |payload| matches!(payload, Payload::Click(_)));
    let searches = |visits: &[Visit]| count(visits, |payload| matches!(payload, Payload::Search(_)));
    println!(
        "of {}: clicks {} and {}, searches {} and {} (random and true pages)",
        random.len(),
        clicks(&random),
        clicks(&true_to_taste),
        searches(&random),
        searches(&true_to_taste)
    );
    let share = |clicks: usize| clicks as f64 / world.profiles().len() as f64;
    assert!((0.35..0.60).contains(&share(clicks(&random))) && share(clicks(&true_to_taste)) > 0.85);
    assert!(searches(&true_to_taste) < searches(&random), "who finds nothing searches");

    let seen = |row: &str, at: u32| {
        count(
            &random,
            |payload| matches!(payload, Payload::Impression(seen) if seen.row_id == row && seen.position == at),
        )
    };
    assert_eq!(seen("row-0", 0), world.profiles().len(), "the first item is always looked at");
    assert!(seen("row-0", 0) > seen("row-0", 3) && seen("row-0", 3) > seen("row-0", 15));
    assert!(seen("row-0", 0) > seen("row-2", 0) && seen("row-2", 0) > seen("row-5", 0));
    assert!(seen("row-5", 19) > 0, "nothing is never seen: every position teaches something");
}

#[test]
fn clicks_carry_the_token_of_what_was_seen() {
    let world = small_world(6);
    for visit in visits(&world, |viewer, rng| random_page(&world, viewer, rng)) {
        let mut seen = HashSet::new();
        let mut clicked = None;
        for interaction in &visit.interactions {
            match interaction.payload.as_ref().unwrap() {
                Payload::Impression(Impression { tracking_token, title_id, .. }) => {
                    assert_eq!(*tracking_token, format!("token-{title_id}"));
                    seen.insert(title_id.clone());
                }
                Payload::Click(Click { tracking_token, title_id }) => {
                    assert!(seen.contains(title_id) && *tracking_token == format!("token-{title_id}"));
                    clicked = Some(tracking_token.clone());
                }
                Payload::ViewStarted(ViewStarted { tracking_token, session_id, .. }) => {
                    assert_eq!(*tracking_token, clicked.clone().unwrap_or_default(), "found by searching: no token");
                    assert_eq!(*session_id, visit.view.as_ref().unwrap().truth().session_id);
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_bad_network_costs_views() {
    let mut world = demo_world(8);
    let mut watched = |network_bps: f64| {
        world.characters.iter_mut().for_each(|character| character.network_bps = network_bps);
        let visits = visits(&world, |viewer, rng| random_page(&world, viewer, rng));
        let views: Vec<f64> =
            visits.iter().filter_map(|v| v.view.as_ref()).map(|v| v.watched_fraction.unwrap_or(0.0)).collect();
        views.iter().sum::<f64>() / views.len() as f64
    };
    let (good, bad) = (watched(30_000_000.0), watched(350_000.0));
    println!("mean watched fraction: {good:.3} at 30 Mbit/s, {bad:.3} at 350 kbit/s");
    assert!(good > bad + 0.05, "{good} {bad}");
}

#[test]
fn what_is_unfinished_calls_and_what_is_finished_does_not() {
    let world = small_world(9);
    let mut chosen = [0, 0, 0];
    for viewer in world.viewers() {
        let titles = visible(&world, viewer.profile());
        for seed in 0..20 {
            for (index, at) in [None, Some(0.5), Some(1.0)].into_iter().enumerate() {
                let mut memory = Memory::default();
                if let Some(at) = at {
                    memory.remember(world.title_number(titles[0]).unwrap(), at, AS_OF_MS - 86_400_000);
                }
                let page = page_of(titles.iter().copied().take(5), 1, 5);
                let visit = viewer.react(&mut memory, &page, &watching(), &mut rng(seed), AS_OF_MS).unwrap();
                let found = visit.view.is_some_and(|view| view.title_id == titles[0]);
                chosen[index] += usize::from(found);
            }
        }
    }
    let [fresh, unfinished, finished] = chosen;
    assert!(unfinished > fresh && fresh > finished, "{chosen:?}");
}

#[test]
fn a_session_that_was_begun_elsewhere_ends_where_the_viewer_stops() {
    let world = small_world(15);
    let mut short = watching();
    short.longest_play_ms = 8_000;
    let mut long_views = 0;
    for (number, viewer) in world.viewers().enumerate() {
        let mut rng = rng(number as u64);
        let page = random_page(&world, &viewer, &mut rng);
        let visit = viewer.react(&mut Memory::default(), &page, &short, &mut rng, AS_OF_MS).unwrap();
        let Some(view) = visit.view else { continue };
        assert!(view.truth().counts.playing_ms <= 8_000);
        long_views += usize::from(view.watched_fraction.is_some_and(|fraction| fraction > 0.2));
    }
    assert!(long_views > 5, "{long_views}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// The same page, memory and generator make the same visit, and nobody is shown what it may not see.
    #[test]
    fn a_reaction_is_a_function(seed: u64) {
        let world = small_world(seed);
        for viewer in world.viewers() {
            let page = page_of(visible(&world, viewer.profile()), 6, 20);
            let (mut memory, mut again) = (Memory::default(), Memory::default());
            let visit = viewer.react(&mut memory, &page, &watching(), &mut rng(seed), AS_OF_MS).unwrap();
            let same = viewer.react(&mut again, &page, &watching(), &mut rng(seed), AS_OF_MS).unwrap();
            prop_assert_eq!(&visit, &same);
            prop_assert_eq!(memory, again);
            let times: Vec<i64> = visit.interactions.iter().map(|interaction| interaction.event_time_ms).collect();
            prop_assert!(times.is_sorted() && times.iter().all(|at_ms| (AS_OF_MS..=visit.ends_ms).contains(at_ms)));
            if let Some(view) = &visit.view {
                let title = world.titles().iter().find(|title| title.title_id == view.title_id).unwrap();
                prop_assert!(World::may_see(viewer.profile(), title), "searching included");
            }
        }
    }

    /// One title too many, anywhere on the page, is found, whether the viewer would have looked at it or not.
    #[test]
    fn a_leak_is_found(seed: u64, at in 0..120_usize) {
        let world = small_world(seed);
        for viewer in world.viewers() {
            let hidden = world.titles().iter().find(|title| !World::may_see(viewer.profile(), title));
            let Some(hidden) = hidden else { continue };
            let mut titles = visible(&world, viewer.profile());
            titles.truncate(119);
            titles.insert(at.min(titles.len()), &hidden.title_id);
            let page = page_of(titles, 6, 20);
            let leak = viewer.react(&mut Memory::default(), &page, &watching(), &mut rng(seed), AS_OF_MS).unwrap_err();
            prop_assert_eq!(leak.title_id, hidden.title_id.clone());
            prop_assert_eq!(leak.profile_id, viewer.profile().profile_id.clone());
        }
    }
}
