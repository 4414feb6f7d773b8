//! The one promise that holds in every mode: no response ever holds, or names, a title that its viewer may not see.
//! A hundred thousand random cases: catalogues, profiles, histories and models that point at anything, profiles and
//! licences that change, an index that lies, and every part broken at random.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use marquee_catalogue::{CatalogueSnapshot, Maturity, Profile, Regions, Title, Viewer};
use marquee_definitions::{Signal, SignalKind};
use marquee_retrieval::rehearsal::{Fault, Rehearsal};
use marquee_retrieval::{
    AsOf, Degraded, HomeRequest, NeighbourLists, PageError, Recommender, RequestContext, RequestId, Row, RowKind,
    RowRequest, Served,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::scene::{DAY_MS, NOW_MS, profile};

const CASES: u64 = 100_000;
const CASES_PER_WORLD: u64 = 50;
const WORKERS: u64 = 4;
const COUNTRIES: [&str; 4] = ["", "DE", "FR", "US"];
const PROFILES: [&str; 3] = ["p-0", "p-1", "p-2"];
const GENRES: [&str; 5] = ["Comedy", "Crime", "Drama", "Children", "Horror"];

/// What was seen, to know that the test looked at something.
#[derive(Default)]
struct Seen {
    items: u64,
    kinds: BTreeSet<&'static str>,
    degraded: BTreeMap<Degraded, u64>,
    unavailable: u64,
}

#[test]
fn no_response_holds_or_names_what_its_viewer_may_not_see() {
    let default_hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload_as_str() != Some("broken on purpose") {
            default_hook(info);
        }
    }));
    let workers: Vec<_> = (0..WORKERS).map(|worker| std::thread::spawn(move || work(worker))).collect();
    let mut all = Seen::default();
    for worker in workers {
        let seen = worker.join().expect("a failed worker has said which seed");
        all.items += seen.items;
        all.kinds.extend(seen.kinds);
        all.unavailable += seen.unavailable;
        for (reason, count) in seen.degraded {
            *all.degraded.entry(reason).or_default() += count;
        }
    }
    println!("{} items, {} unavailable, {:?}", all.items, all.unavailable, all.degraded);
    assert!(all.items > 2 * CASES, "only {} items were looked at", all.items);
    assert_eq!(all.kinds.len(), 6, "{:?}", all.kinds);
    assert_eq!(all.degraded.len(), Degraded::ALL.len(), "{:?}", all.degraded);
    assert!(all.degraded.values().all(|&count| count > 500), "{:?}", all.degraded);
    assert!(all.unavailable > 0);
}

fn work(worker: u64) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut seen = Seen::default();
    for world in 0..CASES / CASES_PER_WORLD / WORKERS {
        let seed = worker << 32 | world;
        println!("world of seed {seed}"); // the last one is the one that failed
        runtime.block_on(play(seed, &mut seen));
    }
    seen
}

/// One world and its cases.
async fn play(seed: u64, seen: &mut Seen) {
    let mut random = StdRng::seed_from_u64(seed);
    let parts = Rehearsal::new(NOW_MS);
    let titles = random.random_range(1..=24);
    parts.catalogue.replace_titles((0..titles).map(|number| any_title(&mut random, number)).collect());
    let mut profiles: HashMap<&str, Profile> = HashMap::new();
    for id in PROFILES {
        profiles.insert(id, any_profile(&mut random, id));
        parts.catalogue.put_profile(profiles[id].clone());
    }
    let mut unwanted: HashMap<&str, HashSet<String>> = HashMap::new();
    for _ in 0..random.random_range(0..40) {
        any_signal(&mut random, &parts, &mut unwanted);
    }
    if random.random_bool(0.8) {
        any_model(&mut random, &parts);
    }
    let recommender = Recommender::new(parts.parts());
    let mut known: Option<CatalogueSnapshot> = None;
    for case in 0..CASES_PER_WORLD {
        any_change(&mut random, &parts, &mut profiles, &mut unwanted);
        if random.random_bool(0.3) {
            let is_read = parts.catalogue.titles_fault.get() == Fault::None;
            if parts.online.fault.get() == Fault::Hangs {
                // A hung store of features must not keep a new catalogue from being used.
                let _ = tokio::time::timeout(Duration::from_millis(5), recommender.refresh()).await;
            } else {
                let _ = recommender.refresh().await; // without a catalogue it says so, and requests do below
            }
            if is_read {
                known = Some(CatalogueSnapshot::new(1, parts.catalogue.titles()));
            }
        }
        let profile_id = *PROFILES.choose(&mut random).expect("there are some");
        let viewer = match parts.catalogue.profiles_fault.get() {
            Fault::None => Viewer::of(&profiles[profile_id]),
            _ => Viewer::FAIL_CLOSED,
        };
        let context = RequestContext {
            request_id: RequestId(u128::from(seed) << 64 | u128::from(case)),
            profile_id: profile_id.to_owned(),
            as_of: if random.random_bool(0.9) { AsOf::Data } else { AsOf::Now },
            deadline: Instant::now() + Duration::from_millis(any_deadline_ms(&mut random, &parts)),
        };
        let before = recommender.is_ready();
        let answer = ask(&mut random, &recommender, context, seen).await;
        if !before && recommender.is_ready() {
            known = Some(CatalogueSnapshot::new(1, parts.catalogue.titles())); // the request was the first to read it
        }
        let Some((served, rows)) = answer else { continue };
        let known = known.as_ref().expect("a page was made");
        check(&rows, &served, &viewer, known, &unwanted.get(profile_id).cloned().unwrap_or_default(), seen);
        if parts.catalogue.profiles_fault.get() != Fault::None {
            assert!(served.degraded.contains(&Degraded::FailedClosed));
        }
        assert_eq!(parts.models.current().is_none(), served.degraded.contains(&Degraded::NoModel));
    }
}

/// A page or a row; `None` when there is none, which must have its reason.
async fn ask(
    random: &mut StdRng,
    recommender: &Recommender,
    context: RequestContext,
    seen: &mut Seen,
) -> Option<(Served, Vec<Row>)> {
    let answer = if random.random_bool(0.7) {
        let (max_rows, max_items) = (random.random_range(1..=12), random.random_range(1..=20));
        let page = recommender.home(&HomeRequest { context, max_rows, max_items }).await;
        page.map(|page| (page.served, page.rows))
    } else {
        let kinds = ["continue_watching", "top_picks", "trending_now", "new", "exploration"];
        let row_id = match random.random_range(0..8) {
            kind @ 0..5 => kinds[kind].to_owned(),
            _ => format!("because_you_watched:t-{}", random.random_range(0..24)),
        };
        let (offset, max_items) = (random.random_range(0..3), random.random_range(1..=20));
        let row = recommender.row(&RowRequest { context, row_id, offset, max_items, continues: None }).await;
        row.map(|slice| (slice.served, vec![slice.row]))
    };
    match answer {
        Ok(answer) => Some(answer),
        Err(PageError::UnknownRow { .. }) => None,
        Err(PageError::Catalogue(_) | PageError::Deadline) => {
            assert!(!recommender.is_ready(), "what was once read is always good for a page");
            seen.unavailable += 1;
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The promise, against the catalogue as it was last read and the profile as it is.
fn check(
    rows: &[Row],
    served: &Served,
    viewer: &Viewer,
    known: &CatalogueSnapshot,
    unwanted: &HashSet<String>,
    seen: &mut Seen,
) {
    let is_history_known =
        !served.degraded.contains(&Degraded::FeaturesUnavailable) && !served.degraded.contains(&Degraded::Deadline);
    let may_be_named = |title_id: &str| known.title(title_id).is_some_and(|title| viewer.may_see(title));
    let mut shown: HashSet<&str> = HashSet::new();
    for row in rows {
        if let Some((_, about)) = row.row_id.split_once(':')
            && !row.heading.ends_with("watched")
        {
            assert!(may_be_named(about), "{viewer:?} reads the heading {:?}", row.heading);
        }
        if !row.items.is_empty() {
            seen.kinds.insert(name(row.kind));
        }
        for item in &row.items {
            seen.items += 1;
            assert!(may_be_named(&item.title_id), "{viewer:?} is shown {item:?} in {} ({served:?})", row.row_id);
            if let Some(because) = &item.reason.because_title_id {
                assert!(may_be_named(because), "{viewer:?} reads of {because} at {item:?}");
            }
            for title in known.titles().iter().filter(|title| !viewer.may_see(title)) {
                assert!(!item.reason.text.ends_with(&title.name), "{viewer:?} reads {:?}", item.reason.text);
            }
            assert!(!is_history_known || !unwanted.contains(&item.title_id), "unwanted: {item:?} in {}", row.row_id);
            assert!(shown.insert(&item.title_id), "twice on a page: {item:?}");
            assert!(item.propensity > 0.0 && item.propensity <= 1.0, "{item:?}");
            assert!(item.score.is_finite(), "{item:?}");
        }
    }
    for &reason in &served.degraded {
        *seen.degraded.entry(reason).or_default() += 1;
    }
}

fn name(kind: RowKind) -> &'static str {
    match kind {
        RowKind::ContinueWatching => "continue_watching",
        RowKind::TopPicks => "top_picks",
        RowKind::BecauseYouWatched => "because_you_watched",
        RowKind::TrendingNow => "trending_now",
        RowKind::New => "new",
        RowKind::Exploration => "exploration",
    }
}

fn any_title(random: &mut StdRng, number: usize) -> Title {
    let regions = match random.random_range(0..4) {
        0 => Regions::Only(COUNTRIES[1..].iter().filter(|_| random.random_bool(0.5)).map(|&c| c.to_owned()).collect()),
        _ => Regions::Everywhere,
    };
    let genres = GENRES.iter().filter(|_| random.random_bool(0.3)).map(|&genre| genre.to_owned()).collect();
    Title {
        title_id: format!("t-{number}"),
        name: format!("No. {number}."),
        year: None,
        genres,
        tags: Vec::new(),
        maturity: *Maturity::ALL.choose(random).expect("there are some"),
        regions,
        duration_ms: None,
        added_at_ms: NOW_MS - random.random_range(-30..300) * DAY_MS,
    }
}

fn any_profile(random: &mut StdRng, profile_id: &str) -> Profile {
    profile(
        profile_id,
        *Maturity::ALL.choose(random).expect("there are some"),
        COUNTRIES.choose(random).expect("there are some"),
    )
}

fn any_signal(random: &mut StdRng, parts: &Rehearsal, unwanted: &mut HashMap<&str, HashSet<String>>) {
    let profile_id = *PROFILES.choose(random).expect("there are some");
    let title_id = format!("t-{}", random.random_range(0..26)); // some are not in the catalogue
    let watched_fraction = random.random_range(0.0..=1.0_f32);
    let kind = match random.random_range(0..10) {
        0..3 => SignalKind::ViewStarted, // what trends is what was started
        3..6 => SignalKind::ViewFinished { watched_fraction: 1.0 },
        6..8 => SignalKind::ViewProgress { watched_fraction },
        8 => SignalKind::Rating { value: 5.0 },
        _ => {
            unwanted.entry(profile_id).or_default().insert(title_id.clone());
            SignalKind::NotInterested
        }
    };
    let ago_ms = if random.random_bool(0.5) { DAY_MS } else { 20 * DAY_MS };
    let at_ms = NOW_MS - random.random_range(0..ago_ms);
    let genres = &[GENRES.choose(random).copied().unwrap_or_default().to_owned()];
    let (event_time_ms, available_ms) = (at_ms, at_ms);
    parts.online.signal(&Signal { profile_id, title_id: &title_id, genres, kind, event_time_ms, available_ms });
}

fn any_model(random: &mut StdRng, parts: &Rehearsal) {
    let id = |number: usize| format!("t-{number}");
    let vectors =
        (0..26).map(|n| (id(n), vec![random.random_range(-1.0..1.0), random.random_range(-1.0..1.0)])).collect();
    let mut next = || (0..8).map(|_| (id(random.random_range(0..26)), random.random_range(0.0..1.0))).collect();
    let lists = (0..26).map(|number| (id(number), next())).collect();
    let popular = (0..26).map(|number| (id(number), 1.0 / (1.0 + number as f32))).collect();
    let version = format!("m-{}", random.random_range(0..1_000));
    parts.put_model(&version, vectors, NeighbourLists { lists, decay: 0.9, window: 10 }, popular);
}

/// Something changes between two requests, and something breaks or is mended.
fn any_change<'a>(
    random: &mut StdRng,
    parts: &Rehearsal,
    profiles: &mut HashMap<&'a str, Profile>,
    unwanted: &mut HashMap<&'a str, HashSet<String>>,
) {
    match random.random_range(0..12) {
        0 => {
            let titles = random.random_range(1..=24);
            parts.catalogue.replace_titles((0..titles).map(|number| any_title(random, number)).collect());
        }
        1 | 2 => {
            let (id, profile) = profiles.iter_mut().nth(random.random_range(0..PROFILES.len())).expect("one of them");
            *profile = any_profile(random, id);
            parts.catalogue.put_profile(profile.clone());
        }
        3 | 4 => any_signal(random, parts, unwanted),
        5 => any_model(random, parts),
        6 => parts.models.switch(None),
        7 => parts.status.set_takes_events(random.random_bool(0.5)),
        8 => parts.status.imported_through(NOW_MS - random.random_range(0..20 * DAY_MS)),
        _ => {}
    }
    let mut any = |faults: &[Fault]| match random.random_range(0..10) {
        0..7 => Fault::None,
        _ => *faults.choose(random).expect("there are some"),
    };
    parts.catalogue.titles_fault.set(any(&[Fault::Fails]));
    parts.catalogue.profiles_fault.set(any(&[Fault::Fails]));
    parts.online.fault.set(any(&[Fault::Fails, Fault::Fails, Fault::Fails, Fault::Panics]));
    parts.index.fault.set(any(&[Fault::Fails, Fault::Lies, Fault::Lies, Fault::Lies, Fault::Panics]));
    if random.random_bool(0.004) {
        let fault = if random.random_bool(0.5) { &parts.index.fault } else { &parts.online.fault };
        fault.set(Fault::Hangs);
    }
    if random.random_bool(0.004) {
        parts.catalogue.profiles_fault.set(Fault::Hangs);
    }
}

/// Nothing, next to nothing, or plenty; what hangs is not waited for long.
fn any_deadline_ms(random: &mut StdRng, parts: &Rehearsal) -> u64 {
    let is_hung = [parts.index.fault.get(), parts.online.fault.get(), parts.catalogue.profiles_fault.get()]
        .contains(&Fault::Hangs);
    match random.random_range(0..10) {
        0 => random.random_range(0..=5),
        _ if is_hung => 7,
        _ => 10_000,
    }
}
