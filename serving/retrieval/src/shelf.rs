//! Everything that does not depend on who asks: the catalogue, and the titles' features put in order once a second.
//! Titles are numbers of this one catalogue snapshot here; a shelf and its boards are only ever used together.

use std::collections::HashMap;
use std::sync::Arc;

use marquee_catalogue::CatalogueSnapshot;
use marquee_definitions::TitleState;

/// Titles kept per title in co-watch lists; a row shows at most 60 and the viewer has seen some.
const MAX_CO_WATCH: usize = 100;

/// Share of the last hour in the trend; the rest is the mean hour of the last day. Half each: an evening's hit shows up
/// within the hour, and a quiet night does not empty the row.
const LAST_HOUR_SHARE: f64 = 0.5;

/// The catalogue and what is known of all viewers. A copy shares everything.
#[derive(Clone)]
pub(crate) struct Shelf {
    pub(crate) catalogue: Arc<CatalogueSnapshot>,
    /// By title number: its genres as sorted numbers.
    pub(crate) genres: Arc<[Vec<u16>]>,
    /// Title numbers, the newest in the catalogue first; ties by number.
    pub(crate) newest: Arc<[u32]>,
    /// As of the last refresh.
    pub(crate) live: Arc<Board>,
    /// As of the end of imported data (ms since the epoch).
    pub(crate) imported: Option<(i64, Arc<Board>)>,
}

/// Titles in the orders that rows need, at one instant.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Board {
    /// Views an hour, most first; only titles with any.
    pub(crate) trending: Vec<(u32, f64)>,
    /// Decayed views, most first; only titles with any.
    pub(crate) popular: Vec<(u32, f64)>,
    /// By title number: all views; empty when features were never read.
    pub(crate) views: Vec<f64>,
    /// By title number: what the same viewers watched, strongest first.
    pub(crate) co_watch: HashMap<u32, Vec<(u32, f64)>>,
}

impl Shelf {
    /// A catalogue without any features.
    pub(crate) fn new(catalogue: Arc<CatalogueSnapshot>) -> Self {
        let titles = catalogue.titles();
        let mut numbers: HashMap<&str, u16> = HashMap::new();
        let mut genres = Vec::with_capacity(titles.len());
        for title in titles {
            let mut of_title: Vec<u16> = Vec::with_capacity(title.genres.len());
            for genre in &title.genres {
                // Genre 65 535 is every further one: a catalogue has dozens, and diversity is all they are for here.
                let next = u16::try_from(numbers.len()).unwrap_or(u16::MAX);
                of_title.push(*numbers.entry(genre).or_insert(next));
            }
            of_title.sort_unstable();
            of_title.dedup();
            genres.push(of_title);
        }
        let mut newest: Vec<u32> = (0..titles.len() as u32).collect();
        newest.sort_by_key(|&number| std::cmp::Reverse(titles[number as usize].added_at_ms));
        Self { catalogue, genres: genres.into(), newest: newest.into(), live: Arc::default(), imported: None }
    }

    /// Jaccard similarity of two titles' genres, 0 to 1; 0 when both have none.
    pub(crate) fn genre_similarity(&self, a: u32, b: u32) -> f64 {
        let (a, b) = (&self.genres[a as usize], &self.genres[b as usize]);
        let shared = a.iter().filter(|genre| b.binary_search(genre).is_ok()).count();
        let either = a.len() + b.len() - shared;
        if either == 0 { 0.0 } else { shared as f64 / either as f64 }
    }
}

impl Board {
    /// Reads every title's features at an instant (ms since the epoch). Titles that the catalogue does not have are
    /// left out.
    pub(crate) fn at(catalogue: &CatalogueSnapshot, states: &[(String, TitleState)], at_ms: i64) -> Self {
        let mut board = Self { views: vec![0.0; catalogue.titles().len()], ..Self::default() };
        for (title_id, state) in states {
            let Some(number) = catalogue.number(title_id) else { continue };
            let features = state.read(at_ms);
            let trend = LAST_HOUR_SHARE * features.views_1h + (1.0 - LAST_HOUR_SHARE) * features.views_24h / 24.0;
            if trend > 0.0 {
                board.trending.push((number, trend));
            }
            if features.views_decayed > 0.0 {
                board.popular.push((number, features.views_decayed));
            }
            board.views[number as usize] = features.views;
            let co_watch: Vec<(u32, f64)> = (features.co_watch.iter())
                .filter_map(|(other, weight)| Some((catalogue.number(other)?, *weight)))
                .take(MAX_CO_WATCH)
                .collect();
            if !co_watch.is_empty() {
                board.co_watch.insert(number, co_watch);
            }
        }
        best_first(&mut board.trending);
        best_first(&mut board.popular);
        board
    }

    /// The same order for the titles that another catalogue also has. A new catalogue is put in use with it at once:
    /// what may be shown must not wait for features.
    pub(crate) fn carried(&self, from: &CatalogueSnapshot, to: &CatalogueSnapshot) -> Self {
        let number = |old: u32| to.number(&from.titles()[old as usize].title_id);
        let renumbered = |list: &[(u32, f64)]| -> Vec<(u32, f64)> {
            list.iter().filter_map(|&(old, score)| Some((number(old)?, score))).collect()
        };
        let mut views = vec![0.0; to.titles().len()];
        for (old, &count) in (0..).zip(&self.views) {
            if let Some(new) = number(old) {
                views[new as usize] = count;
            }
        }
        let co_watch = self.co_watch.iter().filter_map(|(&old, list)| Some((number(old)?, renumbered(list)))).collect();
        Self { trending: renumbered(&self.trending), popular: renumbered(&self.popular), views, co_watch }
    }
}

/// Orders by score, best first; ties by title number.
pub(crate) fn best_first(scored: &mut [(u32, f64)]) {
    scored.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
}
