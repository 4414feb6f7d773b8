//! What genres a profile likes: weights of its signals, each halved for every 14 days of age, shared equally by the
//! title's genres.

use serde::{Deserialize, Serialize};

use crate::decayed::Decayed;
use crate::{DAY_MS, Entity, Feature, Signal, SignalKind};

pub(crate) const FEATURE: Feature = Feature {
    name: "genre_affinity",
    entity: Entity::Profile,
    doc: "liking by genre: decayed weights of views, ratings, list changes and clicks, shared by the title's genres",
    unit: "whole views of now",
    limits: "equal in any order; 64 genres a profile, the first by name",
};

/// After this a signal counts half (ms).
const HALF_LIFE_MS: i64 = 14 * DAY_MS;

/// A catalogue has some dozens of genres. Beyond this the first by name are kept, whatever the order they came in.
const MAX_GENRES: usize = 64;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct GenreAffinity {
    /// By name, ascending.
    genres: Vec<(String, Decayed)>,
}

/// A whole view is the unit: a quarter for starting it, so that the next page knows, the rest for what was watched of
/// it. Three stars are neither liked nor disliked; five are as good as a view.
fn weight(kind: SignalKind) -> f64 {
    match kind {
        SignalKind::ViewStarted => 0.25,
        SignalKind::ViewFinished { watched_fraction } => 0.75 * f64::from(watched_fraction),
        SignalKind::Rating { value } => (f64::from(value) - 3.0) / 2.0,
        SignalKind::ListAdd => 0.5,
        SignalKind::Click => 0.1,
        SignalKind::NotInterested => -1.0,
        // Progress is counted when the view is finished; a list is also cleared of what was seen.
        SignalKind::ViewProgress { .. } | SignalKind::ListRemove => 0.0,
    }
}

/// What is left of a value after this time (ms), as a factor.
pub(crate) fn decay_of_affinity(age_ms: i64) -> f64 {
    (-(age_ms as f64) / HALF_LIFE_MS as f64).exp2()
}

/// Keeps as many genres as a state does; they are ordered by name.
pub(crate) fn trim_genres<T>(genres: &mut Vec<(String, T)>) {
    genres.truncate(MAX_GENRES);
}

impl GenreAffinity {
    pub(crate) fn update(&mut self, signal: &Signal<'_>) {
        let weight = weight(signal.kind);
        if weight == 0.0 {
            return;
        }
        for genre in signal.genres {
            if let Some(sum) = self.sum_of(genre) {
                sum.add(weight / signal.genres.len() as f64, signal.event_time_ms, HALF_LIFE_MS);
            }
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (genre, theirs) in &other.genres {
            if let Some(sum) = self.sum_of(genre) {
                sum.merge(theirs);
            }
        }
    }

    /// Strongest first, ties by name.
    pub(crate) fn read(&self, at_ms: i64) -> Vec<(&str, f64)> {
        let mut values: Vec<(&str, f64)> =
            self.genres.iter().map(|(genre, sum)| (genre.as_str(), sum.read(at_ms, HALF_LIFE_MS))).collect();
        values.sort_by(|a, b| b.1.total_cmp(&a.1)); // stable: ties stay by name
        values
    }

    /// `None` for a genre beyond the bound. One that was ever left out has 64 smaller names before it and never comes
    /// back, so no kept sum lacks anything.
    fn sum_of(&mut self, genre: &str) -> Option<&mut Decayed> {
        let index = match self.genres.binary_search_by(|(name, _)| name.as_str().cmp(genre)) {
            Ok(index) => index,
            Err(index) => {
                self.genres.insert(index, (genre.to_owned(), Decayed::default()));
                trim_genres(&mut self.genres);
                index
            }
        };
        self.genres.get_mut(index).map(|(_, sum)| sum)
    }
}
