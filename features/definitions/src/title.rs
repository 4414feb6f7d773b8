//! The features of a title. Each shard keeps the part that its profiles contributed; parts add up.

mod co_watch;
mod completion;
mod popularity;

use serde::{Deserialize, Serialize};

use crate::{DAY_MS, HOUR_MS, Signal};

pub(crate) use co_watch::FEATURE as CO_WATCH;
pub(crate) use co_watch::{MAX_SPAN_MS, WINDOW_TITLES};
pub(crate) use completion::FEATURE as COMPLETION;
pub(crate) use popularity::FEATURE as POPULARITY;

/// What one shard knows of a title.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TitleState {
    /// `available_ms` of the last signal.
    pub available_ms: i64,
    popularity: popularity::Popularity,
    completion: completion::Completion,
    co_watch: co_watch::CoWatch,
}

/// The values at one instant.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TitleFeatures {
    /// Views started in the hour before.
    pub views_1h: f64,
    /// In the 24 hours before.
    pub views_24h: f64,
    /// In the 7 days before.
    pub views_7d: f64,
    /// All views, each halved for every 7 days of age.
    pub views_decayed: f64,
    /// All views.
    pub views: f64,
    /// Mean share that was watched, 0 to 1; `None` before the first finished view.
    pub completion: Option<f64>,
    /// Titles watched by the same profiles soon after or before, strongest first: (title, decayed count).
    pub co_watch: Vec<(String, f64)>,
}

impl TitleState {
    /// Takes a signal about this title in. What was watched with it comes by
    /// [`update_co_watch`](Self::update_co_watch); [`FeatureFold`](crate::FeatureFold) calls both.
    pub fn update(&mut self, signal: &Signal<'_>) {
        self.available_ms = self.available_ms.max(signal.available_ms);
        self.popularity.update(signal);
        self.completion.update(signal);
    }

    /// Takes in that a profile watched this title and its neighbour, the later of them as `signal` tells.
    pub fn update_co_watch(&mut self, neighbour_id: &str, signal: &Signal<'_>) {
        self.available_ms = self.available_ms.max(signal.available_ms);
        self.co_watch.update(neighbour_id, signal.event_time_ms);
    }

    /// Adds what another shard knows of the same title.
    pub fn merge(&mut self, other: &TitleState) {
        self.available_ms = self.available_ms.max(other.available_ms);
        self.popularity.merge(&other.popularity);
        self.completion.merge(&other.completion);
        self.co_watch.merge(&other.co_watch);
    }

    /// The values at an instant (ms since the epoch).
    pub fn read(&self, at_ms: i64) -> TitleFeatures {
        let (watched_sum, watched_count) = self.completion();
        TitleFeatures {
            views_1h: self.popularity.in_window(at_ms, HOUR_MS),
            views_24h: self.popularity.in_window(at_ms, DAY_MS),
            views_7d: self.popularity.in_window(at_ms, 7 * DAY_MS),
            views_decayed: self.popularity.decayed(at_ms),
            views: self.popularity.total(),
            completion: (watched_count > 0).then(|| watched_sum / watched_count as f64),
            co_watch: self
                .co_watch(at_ms, usize::MAX)
                .into_iter()
                .map(|(title_id, count)| (title_id.to_owned(), count))
                .collect(),
        }
    }

    /// The sum of the watched fractions of finished views, and how many there were: what adds up over shards.
    pub fn completion(&self) -> (f64, u64) {
        self.completion.sum_and_count()
    }

    /// The strongest neighbours, at most `limit`, as [`TitleFeatures::co_watch`].
    pub fn co_watch(&self, at_ms: i64, limit: usize) -> Vec<(&str, f64)> {
        self.co_watch.read(at_ms, limit)
    }
}

#[cfg(test)]
mod tests;
