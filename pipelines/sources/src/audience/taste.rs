//! True affinity, and how viewers choose by it.
//!
//! *Affinity* of a viewer for a title at an instant = [`TASTE_WEIGHT`] × cosine of their latent vectors + popularity.
//! *Popularity* = a lasting part, N(0, 1.2²), + [`FRESHNESS`] × 2^(−age ÷ half-life) since the title came into the catalogue.
//! Two kinds of noise come on top when a viewer chooses: a *mood* that turns the viewer's vector for one sitting, and the
//! softmax itself (Luce's choice rule: a Gumbel-distributed whim per item). Nobody can predict either, so affinity is the
//! best order there is for what will be chosen next, and the oracle that models are measured against.

use rand::Rng;
use rand::rngs::StdRng;

use super::latent::Latent;
use super::world::{DAY_MS, World};

/// How much the cosine of taste and title counts: from −6 to 6, against a popularity of standard deviation 1.2.
const TASTE_WEIGHT: f64 = 6.0;

/// What being new adds on the first day, and how fast that halves (ms).
const FRESHNESS: f64 = 1.5;
const FRESHNESS_HALF_LIFE_MS: f64 = 7.0 * DAY_MS as f64;

/// How far a mood turns a viewer's vector (both of length 1).
const MOOD: f64 = 0.35;

/// Attempts to find a title on the shelf that a viewer may see, per title that is found in the end. Kids may see a fifth.
const SHELF_PATIENCE: usize = 60;

impl World {
    /// How much a viewer is drawn to a title at an instant (ms since the epoch); see the module for the formula. `None`
    /// for ids that the world does not know.
    pub fn true_affinity(&self, profile_id: &str, title_id: &str, at_ms: i64) -> Option<f64> {
        let (profile, title) = (self.profile_number(profile_id)?, self.title_number(title_id)?);
        Some(self.affinity(self.characters[profile].latent, title, at_ms))
    }

    /// The oracle: `candidates` in the order of true affinity at an instant (ms since the epoch), best first, ties by id.
    /// Then, by id, what the viewer may not see and what the world does not know. An unknown viewer gets popularity.
    pub fn true_ranking<'a>(&self, profile_id: &str, candidates: &[&'a str], at_ms: i64) -> Vec<&'a str> {
        let profile = self.profile_number(profile_id);
        let latent = profile.map_or(Latent::ZERO, |profile| self.characters[profile].latent);
        let mut scored: Vec<(f64, &str)> = candidates
            .iter()
            .map(|title_id| {
                let score = self.title_number(title_id).filter(|title| {
                    profile.is_none_or(|profile| World::may_see(&self.profiles()[profile], &self.titles()[*title]))
                });
                (score.map_or(f64::NEG_INFINITY, |title| self.affinity(latent, title, at_ms)), *title_id)
            })
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        scored.into_iter().map(|(_, title_id)| title_id).collect()
    }

    pub(crate) fn affinity(&self, latent: Latent, title: usize, at_ms: i64) -> f64 {
        self.taste(latent, title) + self.popularity(title, at_ms)
    }

    pub(crate) fn taste(&self, latent: Latent, title: usize) -> f64 {
        TASTE_WEIGHT * self.match_of(latent, title)
    }

    /// The cosine of a viewer's and a title's direction.
    pub(crate) fn match_of(&self, latent: Latent, title: usize) -> f64 {
        latent.dot(self.natures[title].latent)
    }

    fn popularity(&self, title: usize, at_ms: i64) -> f64 {
        let age_ms = at_ms - self.titles()[title].added_at_ms;
        let fresh = if age_ms < 0 { 0.0 } else { (-(age_ms as f64) / FRESHNESS_HALF_LIFE_MS).exp2() };
        self.natures[title].popularity + FRESHNESS * fresh
    }

    /// The titles as a viewer without recommendations meets them.
    pub(crate) fn shelf(&self, at_ms: i64) -> Shelf {
        let mut sum = 0.0;
        let cumulative = (0..self.titles().len())
            .map(|title| {
                if self.titles()[title].added_at_ms <= at_ms {
                    sum += self.popularity(title, at_ms).exp();
                }
                sum
            })
            .collect();
        Shelf { cumulative }
    }
}

/// A viewer's vector for one sitting.
pub(crate) fn mood(rng: &mut StdRng, latent: Latent) -> Latent {
    latent.plus(MOOD, Latent::direction(rng)).unit()
}

/// Every title that is in the catalogue at an instant, met in proportion to e^popularity.
pub(crate) struct Shelf {
    cumulative: Vec<f64>,
}

impl Shelf {
    /// At most `count` different titles that `allowed` lets through; fewer when they are hard to find.
    pub(crate) fn meet(&self, rng: &mut StdRng, count: usize, mut allowed: impl FnMut(usize) -> bool) -> Vec<usize> {
        let total = self.cumulative.last().copied().unwrap_or_default();
        let mut met = Vec::with_capacity(count);
        for _ in 0..count * SHELF_PATIENCE {
            if met.len() == count || total == 0.0 {
                break;
            }
            let at = rng.random::<f64>() * total;
            let title = self.cumulative.partition_point(|sum| *sum <= at);
            if title < self.cumulative.len() && !met.contains(&title) && allowed(title) {
                met.push(title);
            }
        }
        met
    }
}

/// One of `utilities` in proportion to e^utility (Luce's choice rule); `None` when there are none.
pub(crate) fn softmax(rng: &mut StdRng, utilities: &[f64]) -> Option<usize> {
    let most = utilities.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = utilities.iter().map(|utility| (utility - most).exp()).collect();
    let mut at = rng.random::<f64>() * weights.iter().sum::<f64>();
    for (index, weight) in weights.iter().enumerate() {
        if at < *weight {
            return Some(index);
        }
        at -= weight;
    }
    utilities.len().checked_sub(1)
}
