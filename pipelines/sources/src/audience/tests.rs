//! The world's promises: the same for the same seed, plausible, skewed; and its truth worth measuring against.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::LazyLock;

use marquee_events::ErrorKind;
use marquee_events::interactions::proto::interaction::Payload;
use marquee_events::interactions::proto::{Rating, ViewFinished};
use proptest::prelude::*;
use rand::rngs::StdRng;

use super::history::VIEWS;
use super::*;
use crate::simulator::random::generator;

/// 2025-06-01 12:34:56.789 UTC
pub(super) const AS_OF_MS: i64 = 1_748_781_296_789;
const DAY_MS: i64 = 86_400_000;

pub(super) fn demo_world(seed: u64) -> World {
    World::new(WorldSettings::demo(AS_OF_MS), seed).unwrap()
}

/// A world and four weeks of it, made once: it takes a while without optimisation.
fn demo() -> &'static (World, History) {
    static DEMO: LazyLock<(World, History)> = LazyLock::new(|| {
        let world = demo_world(3);
        let history = world.history(28, 3);
        (world, history)
    });
    &DEMO
}

pub(super) fn small_world(seed: u64) -> World {
    World::new(WorldSettings { titles: 300, viewers: 60, as_of_ms: AS_OF_MS }, seed).unwrap()
}

pub(super) fn watching() -> Watching {
    AudienceSettings::continuous(0).watching
}

pub(super) fn rng(seed: u64) -> StdRng {
    generator(seed, 0, "test")
}

/// A page of `rows` × `items` titles that the viewer may see, in the order in which they are given.
pub(super) fn page_of<'a>(titles: impl IntoIterator<Item = &'a str>, rows: usize, items: usize) -> Page {
    let mut titles = titles.into_iter();
    let row = |number: usize| PageRow {
        row_id: format!("row-{number}"),
        items: titles
            .by_ref()
            .take(items)
            .map(|title_id| PageItem { title_id: title_id.to_owned(), tracking_token: format!("token-{title_id}") })
            .collect(),
    };
    Page { rows: (0..rows).map(row).collect() }
}

pub(super) fn visible<'w>(world: &'w World, profile: &WorldProfile) -> Vec<&'w str> {
    world.titles().iter().filter(|title| World::may_see(profile, title)).map(|title| title.title_id.as_str()).collect()
}

/// 0 when all are equal, towards 1 when one has everything.
fn gini(mut counts: Vec<u64>) -> f64 {
    counts.sort_unstable();
    let (n, total) = (counts.len() as f64, counts.iter().sum::<u64>() as f64);
    let weighted: f64 = counts.iter().zip(1..).map(|(count, rank)| f64::from(rank) * *count as f64).sum();
    2.0 * weighted / (n * total) - (n + 1.0) / n
}

#[test]
fn the_demo_world_is_large_and_varied() {
    let world = demo_world(1);
    assert!(world.titles().len() >= 2_000 && world.profiles().len() >= 1_000);
    assert_eq!(world.titles()[0].title_id, "t-0001");
    assert_eq!(world.profiles()[0].profile_id, "p-0001");
    let names: HashSet<&str> = world.titles().iter().map(|title| title.name.as_str()).collect();
    assert_eq!(names.len(), world.titles().len(), "names are unique");
    let share = |found: usize| found as f64 / world.titles().len() as f64;
    for age in AGES {
        let found = world.titles().iter().filter(|title| title.min_age == age).count();
        assert!(share(found) > 0.03, "{found} titles from {age}");
        assert!(world.profiles().iter().any(|profile| profile.max_age == age));
    }
    let genres: BTreeSet<&str> = world.titles().iter().flat_map(|t| &t.genres).map(String::as_str).collect();
    assert_eq!(genres.len(), 18);
    for title in world.titles() {
        assert!((1..=3).contains(&title.genres.len()) && (2..=5).contains(&title.tags.len()), "{title:?}");
        assert!((1880..=2025).contains(&title.year), "{title:?}");
        assert!((5 * 60_000..=240 * 60_000).contains(&title.duration_ms), "{title:?}");
        assert!((0..=AS_OF_MS).contains(&title.added_at_ms), "{title:?}");
        let for_kids = title.genres.iter().any(|genre| genre == "Family" || genre == "Animation");
        assert!(!for_kids || title.genres.iter().all(|genre| genre != "Horror"), "{title:?}");
    }
    let regional = world.titles().iter().filter(|title| title.countries.is_some()).count();
    assert!((0.10..0.20).contains(&share(regional)), "{regional} are regional");
    let new = world.titles().iter().filter(|title| title.added_at_ms > AS_OF_MS - 60 * DAY_MS).count();
    assert!((0.05..0.15).contains(&share(new)), "{new} are new");
    let kids = world.profiles().iter().filter(|profile| profile.max_age <= 7).count();
    assert!((80..250).contains(&kids), "{kids} kids' profiles");
    for profile in world.profiles() {
        assert!(visible(&world, profile).len() > 200, "{profile:?}");
    }
}

#[test]
fn odd_worlds_are_refused() {
    for (titles, viewers, as_of_ms) in [(0, 1, 0), (1, 0, 0), (10_000, 1, 0), (1, 1, -1)] {
        let error = World::new(WorldSettings { titles, viewers, as_of_ms }, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    let mut settings = AudienceSettings::once(1);
    settings.watching.vanish = 1.5;
    assert_eq!(settings.check().unwrap_err().to_string(), "setting `vanish`: 1.5 is no probability");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_same_seed_makes_the_same_world_and_past(seed: u64) {
        let (world, again) = (small_world(seed), small_world(seed));
        prop_assert_eq!(world.titles(), again.titles());
        prop_assert_eq!(world.profiles(), again.profiles());
        prop_assert_eq!(world.history(20, 5), again.history(20, 5));
        prop_assert_ne!(world.history(20, 5), world.history(20, 6), "another past of the same world");
        let other = small_world(seed ^ 1);
        prop_assert_ne!(world.titles(), other.titles());
        let larger = World::new(WorldSettings { titles: 350, viewers: 90, as_of_ms: AS_OF_MS }, seed).unwrap();
        prop_assert_eq!(world.titles(), &larger.titles()[..300]);
        prop_assert_eq!(world.profiles(), &larger.profiles()[..60]);
    }

    /// Every view is of a title that the viewer may see and that was there, within the time that the history is about.
    #[test]
    fn a_history_is_possible(seed: u64, days in 14_u32..60) {
        let world = small_world(seed);
        let titles: HashMap<&str, &WorldTitle> = world.titles().iter().map(|t| (t.title_id.as_str(), t)).collect();
        for (past, profile) in world.history(days, seed).profiles.iter().zip(world.profiles()) {
            prop_assert_eq!(&past.profile_id, &profile.profile_id);
            let mut ids = HashSet::new();
            let mut views = 0;
            let mut last_ms = AS_OF_MS - (i64::from(days) + 1) * DAY_MS;
            for interaction in &past.interactions {
                prop_assert!(ids.insert(&interaction.interaction_id));
                prop_assert!((last_ms..AS_OF_MS).contains(&interaction.event_time_ms), "{:?}", interaction);
                last_ms = interaction.event_time_ms;
                let title_id = match interaction.payload.as_ref().unwrap() {
                    Payload::ViewFinished(ViewFinished { title_id, watched_fraction, .. }) => {
                        prop_assert!((0.0..=1.0).contains(watched_fraction));
                        views += 1;
                        title_id
                    }
                    Payload::Rating(Rating { title_id, value }) => {
                        prop_assert!((0.5..=5.0).contains(value) && (value * 2.0).fract() == 0.0);
                        title_id
                    }
                    other => panic!("{other:?} in a history"),
                };
                prop_assert!(World::may_see(profile, titles[title_id.as_str()]));
                prop_assert!(titles[title_id.as_str()].added_at_ms <= interaction.event_time_ms);
            }
            prop_assert!(VIEWS.contains(&views), "{} views of {}", views, past.profile_id);
        }
    }
}

#[test]
fn popularity_is_skewed_and_histories_are_of_plausible_length() {
    let (world, history) = demo();
    let views = history.views();
    let mut by_title: BTreeMap<&str, u64> = world.titles().iter().map(|title| (title.title_id.as_str(), 0)).collect();
    let mut by_profile: BTreeMap<&str, u64> = BTreeMap::new();
    for view in &views {
        *by_title.get_mut(view.title_id).unwrap() += 1;
        *by_profile.entry(view.profile_id).or_default() += 1;
    }
    let gini = gini(by_title.values().copied().collect());
    println!("{} views, Gini {gini:.3}", views.len());
    assert!((0.50..0.75).contains(&gini), "Gini {gini}");
    let unseen = by_title.values().filter(|count| **count == 0).count();
    assert!((20..1_000).contains(&unseen), "{unseen} titles were never watched: cold titles are part of the world");
    let mut lengths: Vec<u64> = by_profile.values().copied().collect();
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!((15..40).contains(&median) && lengths[lengths.len() - 1] > 60, "median {median}");
    let ties = history
        .profiles
        .iter()
        .filter(|p| p.interactions.windows(2).any(|pair| pair[0].event_time_ms == pair[1].event_time_ms))
        .count();
    assert!(ties > 300, "{ties} profiles have ties");
    let finished = views.iter().filter(|view| view.watched_fraction >= 0.9).count() as f64 / views.len() as f64;
    assert!((0.3..0.8).contains(&finished), "{finished} of views are finished");
}

#[test]
fn the_history_is_written_as_the_importer_reads_it() {
    let world = small_world(2);
    let history = world.history(14, 2);
    let mut csv = Vec::new();
    history.write_csv(&mut csv).unwrap();
    let text = String::from_utf8(csv).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("profile_id,title_id,timestamp_ms,watched_fraction"));
    assert_eq!(lines.clone().count(), history.views().len());
    let first = history.views()[0];
    let expected =
        format!("{},{},{},{:.4}", first.profile_id, first.title_id, first.finished_at_ms, first.watched_fraction);
    assert_eq!(lines.next(), Some(expected.as_str()));
}

/// NDCG@10 of an order with one right answer.
fn ndcg_at_10(ranking: &[&str], answer: &str) -> f64 {
    ranking.iter().take(10).position(|title| *title == answer).map_or(0.0, |rank| 1.0 / (rank as f64 + 2.0).log2())
}

/// Leave-one-out: the last view of each profile, among all titles that it has not watched before. The oracle knows tastes
/// and popularity but no moods and no whims, so it is far from 1; what matters is how far it is above popularity.
#[test]
fn the_oracle_is_far_better_than_popularity() {
    let (world, history) = demo();
    let mut popularity: HashMap<&str, u64> = HashMap::new();
    let views = history.views();
    for view in &views {
        *popularity.entry(view.title_id).or_default() += 1;
    }
    let mut by_profile: BTreeMap<&str, Vec<&PastView<'_>>> = BTreeMap::new();
    for view in &views {
        by_profile.entry(view.profile_id).or_default().push(view);
    }
    let (mut oracle, mut popular, mut random, mut users) = (0.0, 0.0, 0.0, 0.0);
    for (profile_id, views) in by_profile {
        let (last, context) = views.split_last().unwrap();
        let seen: HashSet<&str> = context.iter().map(|view| view.title_id).collect();
        if seen.contains(last.title_id) {
            continue;
        }
        let mut candidates: Vec<&str> =
            world.titles().iter().map(|t| t.title_id.as_str()).filter(|t| !seen.contains(t)).collect();
        oracle += ndcg_at_10(&world.true_ranking(profile_id, &candidates, last.finished_at_ms), last.title_id);
        random += ndcg_at_10(&candidates, last.title_id);
        candidates.sort_by_key(|title| std::cmp::Reverse(popularity.get(title).copied().unwrap_or_default()));
        popular += ndcg_at_10(&candidates, last.title_id);
        users += 1.0;
    }
    let (oracle, popular, random) = (oracle / users, popular / users, random / users);
    println!("NDCG@10 over {users} users: oracle {oracle:.4}, popularity {popular:.4}, by id {random:.4}");
    assert!(oracle > 2.5 * popular && popular > 2.0 * random, "{oracle} {popular} {random}");
}

#[test]
fn the_oracle_puts_forbidden_and_unknown_titles_last() {
    let world = small_world(4);
    let kid = world.profiles().iter().find(|profile| profile.max_age <= 7).unwrap();
    let mut candidates: Vec<&str> = world.titles().iter().map(|title| title.title_id.as_str()).collect();
    candidates.push("ml-1");
    let allowed = visible(&world, kid).len();
    let ranking = world.true_ranking(&kid.profile_id, &candidates, AS_OF_MS);
    assert_eq!(ranking.len(), candidates.len());
    let affinity = |title: &&str| world.true_affinity(&kid.profile_id, title, AS_OF_MS).unwrap();
    assert!(ranking[..allowed].is_sorted_by(|a, b| affinity(a) >= affinity(b)));
    let first: HashSet<&str> = ranking[..allowed].iter().copied().collect();
    assert_eq!(first, visible(&world, kid).into_iter().collect());
    assert!(ranking[allowed..].is_sorted() && ranking.contains(&"ml-1"));
    assert_eq!(world.true_affinity("ml-1", "t-0001", 0), None);
}

/// Genres explain tastes: there is something to learn for a model that knows only them.
#[test]
fn titles_of_a_liked_genre_are_liked_more() {
    let world = demo_world(14);
    let (mut liked, mut others) = ((0.0, 0.0), (0.0, 0.0));
    for viewer in world.viewers() {
        let number = world.profile_number(&viewer.profile().profile_id).unwrap();
        let character = &world.characters[number];
        for (title, described) in world.titles().iter().enumerate().step_by(7) {
            let sum = if described.genres[0] == character.favourites[0] { &mut liked } else { &mut others };
            sum.0 += world.match_of(character.latent, title);
            sum.1 += 1.0;
        }
    }
    let (liked, others) = (liked.0 / liked.1, others.0 / others.1);
    assert!(liked > others + 0.3, "{liked} {others}");
}
