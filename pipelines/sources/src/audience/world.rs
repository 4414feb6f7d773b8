//! The world: titles, viewers and what lies behind both, made from a seed. It is never told what anybody does in it, so
//! that it can say what a recommender should have known.
//!
//! Each title and each viewer is drawn by a generator of its own: another number of titles changes no viewer, and the
//! first hundred titles of two worlds with one seed are the same.

use std::collections::{BTreeSet, HashMap, HashSet};

use rand::Rng;
use rand::rngs::StdRng;

use super::genres::{ADJECTIVES, FIRST_NAMES, GENRES, Genre, PLACES};
use super::latent::Latent;
use super::settings::WorldSettings;
use crate::SourceError;
use crate::simulator::context::countries;
use crate::simulator::random::{chance, generator, log_normal, normal, pick, weighted};

/// The ages that maturity levels stand for.
pub const AGES: [u8; 5] = [0, 7, 12, 16, 18];

/// Profiles up to this age are kids' profiles: they like what is made for them.
const KIDS_AGE: u8 = 7;

/// (`max_age`, weight): one profile in eight is a kids' profile.
const MAX_AGES: [(u8, u32); 5] = [(0, 5), (7, 8), (12, 9), (16, 13), (18, 65)];

/// The share of titles that are licensed in some countries only.
const REGIONAL_SHARE: f64 = 0.15;
/// The share of titles that came in during the last [`NEW_WITHIN_DAYS`].
const NEW_SHARE: f64 = 0.10;
const NEW_WITHIN_DAYS: f64 = 60.0;
/// The oldest titles came in so long ago (days).
const CATALOGUE_AGE_DAYS: f64 = 1_500.0;

/// How much of a title's direction its genres decide; the rest is its own. A content model can learn no more than this.
const GENRE_SHARE: f64 = 0.75;
/// The standard deviation of a title's lasting popularity, in units of affinity.
const POPULARITY_SIGMA: f64 = 1.2;

/// The median of viewers' networks (bit/s) and its spread: one in five has less than 3 Mbit/s.
const NETWORK_MEDIAN_BPS: f64 = 8_000_000.0;
const NETWORK_SIGMA: f64 = 1.1;

/// The median of views in a history, and their spread; they stay within [`VIEWS`](super::history::VIEWS).
const VIEWS_MEDIAN: f64 = 24.0;
const VIEWS_SIGMA: f64 = 0.7;

pub(crate) const DAY_MS: i64 = 86_400_000;
const YEAR_DAYS: f64 = 365.25;

/// A title, as a catalogue would describe it.
#[derive(Debug, Clone, PartialEq)]
pub struct WorldTitle {
    /// `t-0001` and on.
    pub title_id: String,
    /// As people read it; unique.
    pub name: String,
    /// Of first release.
    pub year: i32,
    /// One to three, the most telling first.
    pub genres: Vec<String>,
    /// Two to five.
    pub tags: Vec<String>,
    /// The youngest age it is for, one of [`AGES`].
    pub min_age: u8,
    /// The countries that it is licensed for; `None` for everywhere.
    pub countries: Option<BTreeSet<String>>,
    /// Running time (ms).
    pub duration_ms: i64,
    /// When it came into the catalogue (ms since the epoch), in the last 60 days for one in ten.
    pub added_at_ms: i64,
}

/// A viewer, as an account would describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldProfile {
    /// `p-0001` and on.
    pub profile_id: String,
    /// As people read it.
    pub display_name: String,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    /// The oldest age of titles that it may see, one of [`AGES`].
    pub max_age: u8,
}

/// What lies behind a title.
#[derive(Debug, Clone)]
pub(crate) struct Nature {
    pub(crate) latent: Latent,
    /// In units of affinity, mean 0.
    pub(crate) popularity: f64,
}

/// What lies behind a viewer.
#[derive(Debug, Clone)]
pub(crate) struct Character {
    pub(crate) latent: Latent,
    /// The genres that the viewer would name when asked, the dearest first.
    pub(crate) favourites: Vec<&'static str>,
    /// The median of the viewer's network (bit/s).
    pub(crate) network_bps: f64,
    /// Views in a history.
    pub(crate) views: f64,
    /// The viewer's stars are so much higher than others'.
    pub(crate) generosity: f64,
}

/// Titles, viewers and the truth about their tastes.
#[derive(Debug)]
pub struct World {
    pub(crate) settings: WorldSettings,
    pub(crate) seed: u64,
    titles: Vec<WorldTitle>,
    pub(crate) natures: Vec<Nature>,
    profiles: Vec<WorldProfile>,
    pub(crate) characters: Vec<Character>,
    title_numbers: HashMap<String, usize>,
    profile_numbers: HashMap<String, usize>,
}

impl World {
    /// Makes a world. The same settings and seed make the same one.
    ///
    /// # Errors
    /// [`SourceError::Settings`].
    pub fn new(settings: WorldSettings, seed: u64) -> Result<Self, SourceError> {
        settings.check()?;
        let mut rng = generator(seed, 0, "genres");
        let directions: Vec<Latent> = GENRES.iter().map(|_| Latent::direction(&mut rng)).collect();
        let mut names = HashSet::new();
        let (mut titles, mut natures) = (Vec::new(), Vec::new());
        for number in 1..=settings.titles {
            let mut rng = generator(seed, u64::from(number), "title");
            let (title, nature) = make_title(&mut rng, number, settings.as_of_ms, &directions, &mut names);
            titles.push(title);
            natures.push(nature);
        }
        let (mut profiles, mut characters) = (Vec::new(), Vec::new());
        for number in 1..=settings.viewers {
            let mut rng = generator(seed, u64::from(number), "viewer");
            let (profile, character) = make_viewer(&mut rng, number, &directions);
            profiles.push(profile);
            characters.push(character);
        }
        let title_numbers = titles.iter().enumerate().map(|(n, title)| (title.title_id.clone(), n)).collect();
        let profile_numbers = profiles.iter().enumerate().map(|(n, p)| (p.profile_id.clone(), n)).collect();
        Ok(Self { settings, seed, titles, natures, profiles, characters, title_numbers, profile_numbers })
    }

    /// Every title, in the order of the ids.
    pub fn titles(&self) -> &[WorldTitle] {
        &self.titles
    }

    /// Every viewer, in the order of the ids.
    pub fn profiles(&self) -> &[WorldProfile] {
        &self.profiles
    }

    /// Whether a viewer may see a title.
    pub fn may_see(profile: &WorldProfile, title: &WorldTitle) -> bool {
        title.min_age <= profile.max_age && title.countries.as_ref().is_none_or(|c| c.contains(&profile.country))
    }

    pub(crate) fn title_number(&self, title_id: &str) -> Option<usize> {
        self.title_numbers.get(title_id).copied()
    }

    pub(crate) fn profile_number(&self, profile_id: &str) -> Option<usize> {
        self.profile_numbers.get(profile_id).copied()
    }
}

fn make_title(
    rng: &mut StdRng,
    number: u32,
    as_of_ms: i64,
    directions: &[Latent],
    names: &mut HashSet<String>,
) -> (WorldTitle, Nature) {
    let genres = draw_genres(rng);
    let main = &GENRES[genres[0]];
    let mut latent = Latent::ZERO;
    for (place, genre) in genres.iter().enumerate() {
        latent = latent.plus(1.0 / (place + 1) as f64, directions[*genre]);
    }
    let own = Latent::direction(rng);
    let latent = Latent::ZERO.plus(GENRE_SHARE.sqrt(), latent.unit()).plus((1.0 - GENRE_SHARE).sqrt(), own).unit();
    let age_days = if chance(rng, NEW_SHARE) {
        rng.random::<f64>() * NEW_WITHIN_DAYS
    } else {
        NEW_WITHIN_DAYS + rng.random::<f64>() * (CATALOGUE_AGE_DAYS - NEW_WITHIN_DAYS)
    };
    let added_at_ms = (as_of_ms - (age_days * DAY_MS as f64) as i64).max(0);
    // Half of all titles are at most ten years older than their arrival.
    let release_age_years = age_days / YEAR_DAYS + log_normal(rng, 10.0, 1.0).min(80.0) - 1.0;
    let this_year = 1970.0 + as_of_ms as f64 / (YEAR_DAYS * DAY_MS as f64);
    let ages: Vec<(u8, u32)> = AGES.into_iter().zip(main.ages).collect();
    let title = WorldTitle {
        title_id: format!("t-{number:04}"),
        name: draw_name(rng, main, names),
        year: (this_year - release_age_years.max(0.0)) as i32,
        tags: draw_tags(rng, &genres),
        genres: genres.iter().map(|genre| GENRES[*genre].name.to_owned()).collect(),
        min_age: weighted(rng, &ages),
        countries: draw_countries(rng),
        duration_ms: draw_duration_ms(rng),
        added_at_ms,
    };
    (title, Nature { latent, popularity: POPULARITY_SIGMA * normal(rng) })
}

/// One to three different genres as indices, by how common they are.
fn draw_genres(rng: &mut StdRng) -> Vec<usize> {
    let weights: Vec<(usize, u32)> = GENRES.iter().enumerate().map(|(index, genre)| (index, genre.weight)).collect();
    let count = weighted(rng, &[(1, 35), (2, 45), (3, 20)]);
    let mut genres: Vec<usize> = Vec::new();
    while genres.len() < count {
        let genre = weighted(rng, &weights);
        // Nothing that is made for children is also a horror film.
        let for_kids = |genre: usize| GENRES[genre].ages[0] >= 8;
        let for_adults = |genre: usize| GENRES[genre].ages[0] == 0;
        let clashes = genres
            .iter()
            .any(|g| *g == genre || (for_kids(*g) && for_adults(genre)) || (for_adults(*g) && for_kids(genre)));
        if !clashes {
            genres.push(genre);
        }
    }
    genres
}

fn draw_name(rng: &mut StdRng, genre: &Genre, names: &mut HashSet<String>) -> String {
    loop {
        let (adjective, noun) = (pick(rng, &ADJECTIVES), pick(rng, &genre.nouns));
        let place = pick(rng, &PLACES);
        let name = match rng.random_range(0..4) {
            0 => format!("The {adjective} {noun}"),
            1 => format!("{adjective} {noun}"),
            2 => format!("The {noun} of {place}"),
            _ => format!("The {adjective} {noun} of {place}"),
        };
        if names.insert(name.clone()) {
            return name;
        }
    }
}

fn draw_tags(rng: &mut StdRng, genres: &[usize]) -> Vec<String> {
    let count = rng.random_range(2..=5);
    let mut tags: Vec<String> = Vec::new();
    while tags.len() < count {
        let genre = genres[rng.random_range(0..genres.len())];
        let tag = pick(rng, &GENRES[genre].tags);
        if !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
    }
    tags
}

fn draw_countries(rng: &mut StdRng) -> Option<BTreeSet<String>> {
    if !chance(rng, REGIONAL_SHARE) {
        return None;
    }
    let all = countries();
    let count = rng.random_range(1..=all.len() - 2);
    let mut chosen = BTreeSet::new();
    while chosen.len() < count {
        chosen.insert(weighted(rng, &all).to_owned());
    }
    Some(chosen)
}

/// Short episodes, long episodes, films; whole minutes.
fn draw_duration_ms(rng: &mut StdRng) -> i64 {
    let (median, sigma) = weighted(rng, &[((24.0, 0.12), 25), ((48.0, 0.15), 25), ((104.0, 0.16), 50)]);
    let minutes: f64 = log_normal(rng, median, sigma);
    minutes.clamp(5.0, 240.0).round() as i64 * 60_000
}

fn make_viewer(rng: &mut StdRng, number: u32, directions: &[Latent]) -> (WorldProfile, Character) {
    let max_age = weighted(rng, &MAX_AGES);
    let is_kid = max_age <= KIDS_AGE;
    let country = weighted(rng, &countries());
    let weights: Vec<(usize, u32)> = GENRES
        .iter()
        .enumerate()
        // Kids like what is made for kids; grown-ups like anything, most of all what most is made of.
        .map(|(index, genre)| (index, if is_kid { genre.ages[0] * genre.ages[0] } else { genre.weight + 3 }))
        .collect();
    let count = rng.random_range(1..=4);
    let mut liked: Vec<(usize, f64)> = Vec::new();
    while liked.len() < count {
        let genre = weighted(rng, &weights);
        if liked.iter().all(|(known, _)| *known != genre) {
            liked.push((genre, 0.4 + 0.6 * rng.random::<f64>()));
        }
    }
    liked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut latent = Latent::ZERO;
    for (genre, weight) in &liked {
        latent = latent.plus(*weight, directions[*genre]);
    }
    let latent = latent.unit().plus(0.5, Latent::direction(rng)).unit();
    let first = pick(rng, &FIRST_NAMES);
    let initial = char::from(b'A' + rng.random_range(0..26));
    let profile = WorldProfile {
        profile_id: format!("p-{number:04}"),
        display_name: if is_kid { format!("{first} (kids)") } else { format!("{first} {initial}.") },
        country: country.to_owned(),
        max_age,
    };
    let character = Character {
        latent,
        favourites: liked.iter().map(|(genre, _)| GENRES[*genre].name).collect(),
        network_bps: log_normal(rng, NETWORK_MEDIAN_BPS, NETWORK_SIGMA),
        views: log_normal(rng, VIEWS_MEDIAN, VIEWS_SIGMA),
        generosity: 0.4 * normal(rng),
    };
    (profile, character)
}
