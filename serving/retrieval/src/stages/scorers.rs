//! What puts the final number on candidates.

use crate::context::Context;
use crate::stages::{Candidate, Scorer};

/// The source's own number.
pub(crate) struct AsFound;

impl Scorer for AsFound {
    fn name(&self) -> &'static str {
        "as_found"
    }

    fn score(&self, _context: &Context, _candidates: &mut [Candidate]) {}
}

/// In so many days a new title is half as new.
const HALF_NEW_DAYS: f64 = 30.0;

/// How much a favourite genre counts: as much as being `HALF_NEW_DAYS` younger when the title is brand new.
const TASTE_WEIGHT: f64 = 0.5;

const DAY_MS: f64 = 86_400_000.0;

/// 1 / (1 + age / 30 days), times 1 + half the viewer's affinity to its genres.
pub(crate) struct Freshness;

impl Scorer for Freshness {
    fn name(&self) -> &'static str {
        "freshness"
    }

    fn score(&self, context: &Context, candidates: &mut [Candidate]) {
        for candidate in candidates {
            let age_ms = context.as_of_ms.saturating_sub(context.title(candidate.title).added_at_ms).max(0);
            let newness = 1.0 / (1.0 + age_ms as f64 / DAY_MS / HALF_NEW_DAYS);
            candidate.score = newness * (1.0 + TASTE_WEIGHT * candidate.affinity);
        }
    }
}
