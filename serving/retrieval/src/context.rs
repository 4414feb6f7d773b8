//! One request, read: who may see what, what is known of them, and what there is to choose from. Stages get nothing
//! else. It never changes while a page is made.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use marquee_catalogue::{Title, Viewer};
use marquee_definitions::ProfileFeatures;

use crate::ServingModel;
use crate::blocking::Blocking;
use crate::budget::Budget;
use crate::shelf::{Board, Shelf};

/// From this share of the running time on a title counts as finished: the credits of a film take about a tenth of it.
const FINISHED_FROM: f32 = 0.9;

/// A request, read.
pub(crate) struct Context {
    pub(crate) viewer: Viewer,
    pub(crate) as_of_ms: i64,
    pub(crate) seed: u64,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) board: Arc<Board>,
    pub(crate) model: Option<Arc<ServingModel>>,
    pub(crate) features: ProfileFeatures,
    /// Title numbers.
    pub(crate) not_interested: HashSet<u32>,
    /// Title numbers that only "continue watching" may hold: seen, or begun.
    pub(crate) watched: HashSet<u32>,
    /// Genre → affinity, the strongest 1.
    affinity: HashMap<String, f64>,
    pub(crate) budget: Budget,
    pub(crate) blocking: Blocking,
}

/// What [`Context::new`] is told.
pub(crate) struct Known {
    pub(crate) viewer: Viewer,
    pub(crate) as_of_ms: i64,
    pub(crate) seed: u64,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) board: Arc<Board>,
    pub(crate) model: Option<Arc<ServingModel>>,
    pub(crate) features: ProfileFeatures,
}

impl Context {
    pub(crate) fn new(known: Known, budget: Budget, blocking: Blocking) -> Self {
        let Known { viewer, as_of_ms, seed, shelf, board, model, features } = known;
        let number = |title_id: &String| shelf.catalogue.number(title_id);
        let not_interested = features.not_interested.iter().filter_map(number).collect();
        let unfinished = features.unfinished.iter().map(|watched| &watched.title_id);
        let watched = features.seen.iter().chain(unfinished).filter_map(number).collect();
        let strongest = features.genre_affinity.iter().map(|(_, affinity)| affinity.abs()).fold(0.0, f64::max);
        let affinity = if strongest > 0.0 && strongest.is_finite() {
            features.genre_affinity.iter().map(|(genre, value)| (genre.clone(), value / strongest)).collect()
        } else {
            HashMap::new()
        };
        Self {
            viewer,
            as_of_ms,
            seed,
            shelf,
            board,
            model,
            features,
            not_interested,
            watched,
            affinity,
            budget,
            blocking,
        }
    }

    pub(crate) fn title(&self, number: u32) -> &Title {
        &self.shelf.catalogue.titles()[number as usize]
    }

    /// Whether the viewer may see a title and did not ask to be spared it.
    pub(crate) fn may_show(&self, number: u32) -> bool {
        self.viewer.may_see(self.title(number)) && !self.not_interested.contains(&number)
    }

    /// Whether a title may be proposed: shown, and not watched already.
    pub(crate) fn may_propose(&self, number: u32) -> bool {
        !self.watched.contains(&number) && self.may_show(number)
    }

    /// Mean affinity of the viewer to a title's genres, −1 to 1; 0 without genres or history.
    pub(crate) fn affinity(&self, number: u32) -> f64 {
        let genres = &self.title(number).genres;
        if genres.is_empty() || self.affinity.is_empty() {
            return 0.0;
        }
        let sum: f64 = genres.iter().filter_map(|genre| self.affinity.get(genre)).sum();
        sum / genres.len() as f64
    }

    /// Titles that were finished, the last one first, each once; only what the viewer may still see, because rows are
    /// named after them.
    pub(crate) fn finished(&self) -> impl Iterator<Item = u32> + '_ {
        let mut named = HashSet::new();
        (self.features.recent_titles.iter().rev())
            .filter(|watched| watched.watched_fraction >= FINISHED_FROM)
            .filter_map(|watched| self.shelf.catalogue.number(&watched.title_id))
            .filter(move |&number| self.may_show(number) && named.insert(number))
    }
}

#[cfg(test)]
impl Context {
    /// An adult in Germany before a catalogue without features or model.
    pub(crate) fn rehearsed(titles: Vec<Title>, features: ProfileFeatures, seed: u64) -> Self {
        let catalogue = Arc::new(marquee_catalogue::CatalogueSnapshot::new(1, titles));
        let shelf = Arc::new(Shelf::new(catalogue));
        let known = Known {
            viewer: Viewer { max_maturity: marquee_catalogue::Maturity::Age18, country: "DE".to_owned() },
            as_of_ms: 0,
            seed,
            board: Arc::clone(&shelf.live),
            shelf,
            model: None,
            features,
        };
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        Self::new(known, Budget::before(deadline), Blocking::new(1))
    }

    /// A title that everybody may see.
    pub(crate) fn rehearsed_title(number: usize, genres: &[&str]) -> Title {
        Title {
            title_id: format!("t-{number:03}"),
            name: format!("Title {number}"),
            year: None,
            genres: genres.iter().map(|&genre| genre.to_owned()).collect(),
            tags: Vec::new(),
            maturity: marquee_catalogue::Maturity::AllAges,
            regions: marquee_catalogue::Regions::Everywhere,
            duration_ms: None,
            added_at_ms: 0,
        }
    }
}
