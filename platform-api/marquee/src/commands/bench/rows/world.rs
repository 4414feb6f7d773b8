//! What the bench serves: titles, profiles and their histories, all from one seed. A history is drawn anew whenever it
//! is asked for, so that those of a hundred thousand profiles need no memory.

use std::collections::{BTreeSet, HashSet};

use marquee_catalogue::{Maturity, Profile, Regions, Title, Viewer};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// `MovieLens`'s genres but "IMAX" and "(no genres listed)".
const GENRES: [&str; 18] = [
    "Action",
    "Adventure",
    "Animation",
    "Children",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
];

const TAGS: [&str; 12] = [
    "based on a book",
    "cult",
    "dark",
    "ensemble",
    "feel-good",
    "heist",
    "slow",
    "small town",
    "space",
    "true story",
    "twist",
    "visually stunning",
];

const COUNTRIES: [&str; 12] = ["BR", "DE", "ES", "FR", "GB", "IN", "IT", "JP", "KR", "MX", "PL", "US"];

/// (level, share in %) of titles.
const TITLE_MATURITIES: [(Maturity, u32); 5] = [
    (Maturity::AllAges, 25),
    (Maturity::Age7, 15),
    (Maturity::Age12, 20),
    (Maturity::Age16, 20),
    (Maturity::Age18, 20),
];

/// (level, share in %) of profiles: one in eight is a child's, as in the demo.
const PROFILE_MATURITIES: [(Maturity, u32); 5] =
    [(Maturity::AllAges, 5), (Maturity::Age7, 8), (Maturity::Age12, 9), (Maturity::Age16, 13), (Maturity::Age18, 65)];

/// The share of titles that are licensed in some countries only, as in the demo.
const REGIONAL_SHARE: f64 = 0.15;

/// Titles that a profile has watched: as in the demo, where half of the profiles have 24 or fewer.
const VIEWS: std::ops::RangeInclusive<usize> = 5..=45;

/// The share of views that were not finished: what "continue watching" shows.
const BEGUN_SHARE: f64 = 0.3;

/// Not finished by one profile at most: features keep 20 such titles and let a title in that is finished at once, so that
/// all of fewer than that stay.
const MAX_BEGUN: usize = 15;

/// A child may see a quarter of the titles, so that 40 draws find one that was not drawn before.
const DRAWS_PER_VIEW: usize = 40;

/// How much past there is (ms): four weeks.
const HISTORY_MS: i64 = 28 * DAY_MS;
/// The oldest titles came into the catalogue so long ago (days).
const CATALOGUE_DAYS: i64 = 1_500;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

const SEED: u64 = 1;

/// Titles and profiles.
pub(super) struct World {
    pub(super) titles: Vec<Title>,
    pub(super) profiles: Vec<Profile>,
    /// Histories end here (ms since the epoch).
    as_of_ms: i64,
}

/// A title that a profile has watched.
pub(super) struct View {
    /// Its number in the world.
    pub(super) title: usize,
    /// When (ms since the epoch).
    pub(super) at_ms: i64,
    /// How much of it, 0 to 1; from 0.9 on it is finished.
    pub(super) watched_fraction: f32,
}

impl View {
    pub(super) fn is_finished(&self) -> bool {
        self.watched_fraction >= 0.9
    }
}

impl World {
    pub(super) fn new(titles: u32, profiles: u32, as_of_ms: i64) -> Self {
        let titles = (0..titles).map(|number| title(number, as_of_ms)).collect();
        Self { titles, profiles: (0..profiles).map(profile).collect(), as_of_ms }
    }

    /// The number of a title.
    pub(super) fn number(&self, title_id: &str) -> Option<usize> {
        let number: usize = title_id.strip_prefix("t-")?.parse().ok()?;
        self.titles.get(number).is_some_and(|title| title.title_id == title_id).then_some(number)
    }

    /// Whether a profile may see a title.
    pub(super) fn may_see(&self, profile: usize, title: usize) -> bool {
        Viewer::of(&self.profiles[profile]).may_see(&self.titles[title])
    }

    /// What a profile has watched, oldest first, each title once. The two newest views are finished: rows are named
    /// after them.
    pub(super) fn history(&self, profile: usize) -> Vec<View> {
        let mut rng = generator(profile as u64, "history");
        let viewer = Viewer::of(&self.profiles[profile]);
        let wanted = rng.random_range(VIEWS);
        let mut watched = Vec::with_capacity(wanted);
        let mut is_drawn = HashSet::with_capacity(wanted);
        for _ in 0..wanted * DRAWS_PER_VIEW {
            // Zipf's law with exponent 1: the title of rank k in proportion to ln((k + 1) / k).
            let rank = ((self.titles.len() + 1) as f64).powf(rng.random());
            let title = (rank as usize - 1).min(self.titles.len() - 1);
            if viewer.may_see(&self.titles[title]) && is_drawn.insert(title) {
                watched.push(title);
                if watched.len() == wanted {
                    break;
                }
            }
        }
        let mut instants: Vec<i64> = watched.iter().map(|_| self.as_of_ms - rng.random_range(1..HISTORY_MS)).collect();
        instants.sort_unstable();
        let newest_two = watched.len().saturating_sub(2);
        let mut begun = 0;
        let view = |(index, (title, at_ms)): (usize, (usize, i64))| {
            let is_begun = rng.random_bool(BEGUN_SHARE) && index < newest_two && begun < MAX_BEGUN;
            begun += usize::from(is_begun);
            let watched_fraction = if is_begun { rng.random_range(0.05..0.85) } else { 1.0 };
            View { title, at_ms, watched_fraction }
        };
        watched.into_iter().zip(instants).enumerate().map(view).collect()
    }
}

fn title(number: u32, as_of_ms: i64) -> Title {
    let mut rng = generator(u64::from(number), "title");
    let (genres, tags) = (rng.random_range(1..=3), rng.random_range(2..=5));
    let words = |words: Vec<&&str>| words.into_iter().map(|&word| word.to_owned()).collect();
    Title {
        title_id: format!("t-{number:05}"),
        name: format!("Title {number}"),
        year: Some(rng.random_range(1950..=2025)),
        genres: words(GENRES.choose_multiple(&mut rng, genres).collect()),
        tags: words(TAGS.choose_multiple(&mut rng, tags).collect()),
        maturity: level(&mut rng, &TITLE_MATURITIES),
        regions: regions(&mut rng),
        duration_ms: Some(rng.random_range(20..=150) * 60_000),
        added_at_ms: as_of_ms - rng.random_range(0..CATALOGUE_DAYS) * DAY_MS,
    }
}

fn regions(rng: &mut StdRng) -> Regions {
    if !rng.random_bool(REGIONAL_SHARE) {
        return Regions::Everywhere;
    }
    let count = rng.random_range(1..COUNTRIES.len());
    let countries: BTreeSet<String> =
        COUNTRIES.choose_multiple(rng, count).map(|&country| country.to_owned()).collect();
    Regions::Only(countries)
}

fn profile(number: u32) -> Profile {
    let mut rng = generator(u64::from(number), "profile");
    Profile {
        profile_id: format!("p-{number:06}"),
        display_name: format!("Profile {number}"),
        max_maturity: level(&mut rng, &PROFILE_MATURITIES),
        country: COUNTRIES[rng.random_range(0..COUNTRIES.len())].to_owned(),
    }
}

fn level(rng: &mut StdRng, shares: &[(Maturity, u32)]) -> Maturity {
    shares.choose_weighted(rng, |(_, share)| *share).expect("the shares are not all 0").0
}

/// A generator of its own for each thing: another number of titles changes no profile.
fn generator(number: u64, what: &str) -> StdRng {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&SEED.to_le_bytes());
    seed[8..16].copy_from_slice(&number.to_le_bytes());
    seed[16..16 + what.len()].copy_from_slice(what.as_bytes());
    StdRng::from_seed(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_are_the_same_each_time_and_hold_only_what_may_be_seen() {
        let world = World::new(1_000, 300, 1_700_000_000_000);
        for profile in 0..world.profiles.len() {
            let history = world.history(profile);
            let titles: Vec<usize> = history.iter().map(|view| view.title).collect();
            assert_eq!(titles, world.history(profile).iter().map(|view| view.title).collect::<Vec<_>>());
            assert_eq!(titles.iter().collect::<HashSet<_>>().len(), titles.len(), "each once");
            assert!(titles.len() >= *VIEWS.start(), "{} views of profile {profile}", titles.len());
            assert!(titles.iter().all(|&title| world.may_see(profile, title)));
            assert!(history.iter().rev().take(2).all(View::is_finished));
            assert!(history.is_sorted_by_key(|view| view.at_ms));
        }
        assert_eq!(world.number("t-00007"), Some(7));
        assert_eq!(world.number("t-7"), None);
        assert_eq!(world.number("t-01000"), None);
    }
}
