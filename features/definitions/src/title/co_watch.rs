//! What the same profiles watch soon before or after a title.
//!
//! A count is Σ 2^((tᵢ − origin) / H) as a double: with H = 30 d and the origin in 2035 all instants from 1970 to 2100
//! lie within its exponents, and a neighbour costs one number.

use serde::{Deserialize, Serialize};

use crate::{DAY_MS, Entity, Feature};

pub(crate) const FEATURE: Feature = Feature {
    name: "co_watch",
    entity: Entity::Title,
    doc: "titles that the same profiles watched among their last ten and within a week, counted for both titles, each \
          time halved for every 30 days of age",
    unit: "co-watches of now",
    limits: "the strongest 200 neighbours: one that falls out loses its count, so values beyond 200 neighbours are lower \
             bounds; equal in any order up to rounding (10⁻¹²) below that",
};

/// After this a co-watch counts half (ms): slower than popularity, pairs are rarer than views.
const HALF_LIFE_MS: i64 = 30 * DAY_MS;

/// 2035-01-01T00:00:00Z (ms since the epoch).
const ORIGIN_MS: i64 = 2_051_222_400_000;

/// Exponents stay this far within those of a double (2^±1022).
const MAX_EXPONENT: f64 = 1000.0;

/// So many neighbours are kept…
const MAX_NEIGHBOURS: usize = 200;

/// … and so many are let in before the weakest fall out, so that a newcomer has a chance to grow.
const MAX_WITH_NEWCOMERS: usize = 256;

/// So many of a profile's last titles are neighbours of the next one.
pub(crate) const WINDOW_TITLES: usize = 10;

/// Titles further apart in time are no neighbours (ms).
pub(crate) const MAX_SPAN_MS: i64 = 7 * DAY_MS;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct CoWatch {
    /// By title, ascending.
    neighbours: Vec<(String, f64)>,
}

impl CoWatch {
    pub(crate) fn update(&mut self, neighbour_id: &str, at_ms: i64) {
        self.add(neighbour_id, exponent(at_ms).exp2());
        self.trim();
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (neighbour_id, count) in &other.neighbours {
            self.add(neighbour_id, *count);
        }
        self.trim();
    }

    /// The strongest first, ties by title; at most `limit`.
    pub(crate) fn read(&self, at_ms: i64, limit: usize) -> Vec<(&str, f64)> {
        let factor = (-exponent(at_ms)).exp2();
        let mut counts: Vec<(&str, f64)> = self
            .neighbours
            .iter()
            .map(|(title_id, count)| (title_id.as_str(), (count * factor).min(f64::MAX)))
            .collect();
        counts.sort_by(|a, b| b.1.total_cmp(&a.1)); // stable: ties stay by title
        counts.truncate(limit.min(MAX_NEIGHBOURS));
        counts
    }

    fn add(&mut self, neighbour_id: &str, count: f64) {
        match self.neighbours.binary_search_by(|(title_id, _)| title_id.as_str().cmp(neighbour_id)) {
            Ok(index) => self.neighbours[index].1 += count,
            Err(index) => self.neighbours.insert(index, (neighbour_id.to_owned(), count)),
        }
    }

    fn trim(&mut self) {
        if self.neighbours.len() <= MAX_WITH_NEWCOMERS {
            return;
        }
        self.neighbours.sort_by(|a, b| b.1.total_cmp(&a.1)); // stable: ties stay by title
        self.neighbours.truncate(MAX_NEIGHBOURS);
        self.neighbours.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    }
}

fn exponent(at_ms: i64) -> f64 {
    ((at_ms - ORIGIN_MS) as f64 / HALF_LIFE_MS as f64).clamp(-MAX_EXPONENT, MAX_EXPONENT)
}
