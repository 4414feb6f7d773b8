//! Made-up profiles and pages: a page changes with what its profile watches, by genre, so that the browser tests see the
//! loop turn. One profile's pages are degraded, one is for children.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

use async_trait::async_trait;
use marquee_catalogue::{Maturity, Profile};
use marquee_dashboards::{HomePage, Item, PartError, Reason, Row, Rows, Served};
use serde_json::Value;

/// Titles `title-0001` …
pub const TITLES: u32 = 160;

const GENRES: [&str; 8] =
    ["Drama", "Comedy", "Thriller", "Science fiction", "Documentary", "Romance", "Animation", "Crime"];
const FIRST: [&str; 20] = [
    "The Quiet",
    "A Distant",
    "Seven",
    "The Last",
    "Paper",
    "Midnight",
    "Salt &",
    "The Glass",
    "Northern",
    "Golden",
    "The Second",
    "Hollow",
    "Electric",
    "Winter's",
    "The Borrowed",
    "Little",
    "The Long",
    "Velvet",
    "Open",
    "The Secret",
];
const SECOND: [&str; 16] = [
    "Harbour",
    "Letters",
    "Orchard",
    "Signal",
    "Lighthouse",
    "Divide",
    "Kingdom",
    "Summer",
    "Cartographer",
    "Parade",
    "Machine",
    "Tide",
    "Archive",
    "Garden",
    "Ferry",
    "Observatory",
];
const NAMES: [&str; 20] = [
    "Ada", "Bruno", "Chiara", "Dmitri", "Esther", "Farid", "Greta", "Hiro", "Ines", "Jonas", "Kavya", "Luca", "Maren",
    "Noor", "Otto", "Priya", "Quentin", "Rosa", "Sami", "Tove",
];

#[derive(Default)]
pub struct FakeRows {
    /// Profile → title → watched share.
    watched: Mutex<HashMap<String, Vec<(String, f64)>>>,
    requests: std::sync::atomic::AtomicU64,
}

struct Title {
    id: String,
    name: String,
    year: i32,
    genres: Vec<String>,
    for_children: bool,
}

fn title(number: u32) -> Title {
    let n = number as usize;
    let first = GENRES[n * 7 % GENRES.len()];
    let second = GENRES[(n * 5 + 3) % GENRES.len()];
    let genres: BTreeSet<&str> = [first, second].into();
    Title {
        id: format!("title-{number:04}"),
        name: format!("{} {}", FIRST[n * 13 % FIRST.len()], SECOND[n * 11 % SECOND.len()]),
        year: 1960 + (n * 37 % 66) as i32,
        genres: genres.into_iter().map(str::to_owned).collect(),
        for_children: first == "Animation",
    }
}

fn by_id(title_id: &str) -> Option<Title> {
    let number = title_id.strip_prefix("title-")?.parse().ok()?;
    (1..=TITLES).contains(&number).then(|| title(number))
}

fn profile(number: u32) -> Profile {
    let (display_name, max_maturity) = match number {
        1 => ("Mila (children)".to_owned(), Maturity::Age7),
        2 => ("Edda (degraded)".to_owned(), Maturity::Age18),
        _ => (NAMES[number as usize % NAMES.len()].to_owned(), Maturity::Age18),
    };
    let country = ["DE", "FR", "GB", "US"][number as usize % 4].to_owned();
    Profile { profile_id: format!("profile-{number:04}"), display_name, max_maturity, country }
}

impl FakeRows {
    /// Takes in a batch of `POST /v1/interactions`.
    pub fn take_in(&self, batch: &Value) -> usize {
        let profile_id = batch["context"]["profile_id"].as_str().unwrap_or_default().to_owned();
        let interactions = batch["interactions"].as_array().cloned().unwrap_or_default();
        let mut watched = self.watched.lock().expect("nobody panics with it");
        let seen = watched.entry(profile_id).or_default();
        for interaction in &interactions {
            for kind in ["view_started", "view_progress", "view_finished"] {
                let view = &interaction[kind];
                let Some(title_id) = view["title_id"].as_str() else { continue };
                let fraction = view["watched_fraction"].as_f64().unwrap_or_default();
                let before = seen.iter().find(|(id, _)| id == title_id).map_or(0.0, |(_, fraction)| *fraction);
                seen.retain(|(id, _)| id != title_id);
                seen.push((title_id.to_owned(), before.max(fraction)));
            }
        }
        interactions.len()
    }

    fn page(&self, profile: &Profile, number: u32) -> HomePage {
        let watched = self.watched.lock().expect("nobody panics with it").get(&profile.profile_id).cloned();
        let watched = watched.unwrap_or_default();
        let mut affinity: BTreeMap<String, f64> = BTreeMap::new();
        affinity.insert(GENRES[number as usize % GENRES.len()].to_owned(), 0.8);
        affinity.insert(GENRES[(number as usize + 3) % GENRES.len()].to_owned(), 0.5);
        for (title_id, fraction) in watched.iter().filter(|(_, fraction)| *fraction >= 0.2) {
            for genre in by_id(title_id).map(|title| title.genres).unwrap_or_default() {
                *affinity.entry(genre).or_default() += 2.0 * fraction;
            }
        }
        let is_seen = |id: &str| watched.iter().any(|(seen, _)| seen == id);
        let may_see = |title: &Title| profile.max_maturity > Maturity::Age7 || title.for_children;
        let all: Vec<Title> = (1..=TITLES).map(title).filter(may_see).collect();
        let score = |title: &Title| {
            let taste: f64 = title.genres.iter().filter_map(|genre| affinity.get(genre)).sum();
            taste
                + f64::from(title.id.bytes().fold(number, |hash, b| hash.wrapping_mul(31).wrapping_add(b.into())) % 997)
                    / 3000.0
        };
        let mut page = Page { used: BTreeSet::new(), rows: Vec::new(), request: self.request() };
        let started = watched.iter().rev().filter(|(_, fraction)| *fraction < 0.9);
        page.row(
            "continue_watching",
            "continue_watching",
            "Continue watching",
            started.filter_map(|(id, fraction)| {
                Some((
                    by_id(id)?,
                    *fraction,
                    Reason {
                        source: "continue_watching".into(),
                        text: format!("{:.0} % watched", fraction * 100.0),
                        ..Reason::default()
                    },
                    Some(*fraction),
                ))
            }),
        );
        let mut ranked: Vec<(&Title, f64)> =
            all.iter().filter(|title| !is_seen(&title.id)).map(|title| (title, score(title))).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        page.row(
            "top_picks",
            "top_picks",
            "Top picks for you",
            ranked.iter().map(|(title, score)| {
                let best = title
                    .genres
                    .iter()
                    .max_by(|a, b| affinity.get(*a).unwrap_or(&0.0).total_cmp(affinity.get(*b).unwrap_or(&0.0)));
                let text = format!("You watch {}", best.map_or("this", String::as_str).to_lowercase());
                (
                    by_id(&title.id).expect("is a title"),
                    *score,
                    Reason { source: "vectors".into(), text, ..Reason::default() },
                    None,
                )
            }),
        );
        if let Some(last) = watched.iter().rev().find(|(_, fraction)| *fraction >= 0.2).and_then(|(id, _)| by_id(id)) {
            let near = all.iter().filter(|title| !is_seen(&title.id) && title.genres == last.genres);
            page.row(
                &format!("because_you_watched:{}", last.id),
                "because_you_watched",
                &format!("Because you watched {}", last.name),
                near.map(|title| {
                    let reason = Reason {
                        source: "neighbours".into(),
                        because_title_id: last.id.clone(),
                        text: format!("Often watched after {}", last.name),
                    };
                    (by_id(&title.id).expect("is a title"), 1.0, reason, None)
                }),
            );
        }
        for (kind, heading, source, text, step) in [
            ("trending_now", "Trending now", "trending_24h", "Watched a lot today", 7_usize),
            ("new", "New in the catalogue", "new", "Came this week", 11),
            ("exploration", "Something different", "exploration", "Unlike what you usually watch", 13),
        ] {
            let items: Vec<_> = (0..all.len()).map(|n| &all[(n * step + 5) % all.len()]).collect();
            page.row(
                kind,
                kind,
                heading,
                items.into_iter().map(|title| {
                    (
                        by_id(&title.id).expect("is a title"),
                        0.5,
                        Reason { source: source.into(), text: text.into(), ..Reason::default() },
                        None,
                    )
                }),
            );
        }
        let degraded =
            if number == 2 { vec!["no_model".to_owned(), "features_unavailable".to_owned()] } else { Vec::new() };
        HomePage {
            served: Served {
                request_id: format!("request-{}", page.request),
                profile_id: profile.profile_id.clone(),
                model_version: if number == 2 { String::new() } else { "two-tower@7".to_owned() },
                as_of_ms: 1_800_000_000_000,
                degraded,
                experiment_arms: BTreeMap::new(),
            },
            rows: page.rows,
        }
    }

    fn request(&self) -> u64 {
        self.requests.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }
}

struct Page {
    used: BTreeSet<String>,
    rows: Vec<Row>,
    request: u64,
}

impl Page {
    fn row(
        &mut self,
        row_id: &str,
        kind: &str,
        heading: &str,
        titles: impl Iterator<Item = (Title, f64, Reason, Option<f64>)>,
    ) {
        let mut items = Vec::new();
        for (title, score, reason, watched_fraction) in titles {
            if items.len() == 12 || !self.used.insert(title.id.clone()) {
                continue;
            }
            let tracking_token = format!("t.{}.{row_id}.{}", self.request, items.len());
            let Title { id: title_id, name, year, genres, .. } = title;
            items.push(Item { title_id, name, year, genres, score, reason, tracking_token, watched_fraction });
        }
        if !items.is_empty() {
            self.rows.push(Row {
                row_id: row_id.to_owned(),
                kind: kind.to_owned(),
                heading: heading.to_owned(),
                items,
            });
        }
    }
}

fn number(profile_id: &str) -> Option<u32> {
    profile_id.strip_prefix("profile-")?.parse().ok().filter(|number| (1..=60).contains(number))
}

#[async_trait]
impl Rows for FakeRows {
    async fn home_page(&self, profile_id: &str) -> Result<Option<HomePage>, PartError> {
        Ok(number(profile_id).map(|number| self.page(&profile(number), number)))
    }

    async fn profile(&self, profile_id: &str) -> Result<Option<Profile>, PartError> {
        Ok(number(profile_id).map(profile))
    }

    async fn profiles(&self, search: &str, limit: u32) -> Result<Vec<Profile>, PartError> {
        let search = search.to_lowercase();
        let found = (1..=60).map(profile).filter(|profile| {
            profile.profile_id.contains(&search) || profile.display_name.to_lowercase().contains(&search)
        });
        Ok(found.take(limit as usize).collect())
    }

    async fn title_names(&self, title_ids: &[String]) -> Result<HashMap<String, String>, PartError> {
        Ok(title_ids.iter().filter_map(|id| Some((id.clone(), by_id(id)?.name))).collect())
    }
}
