//! Whether a model may replace the one in service. Both are asked the questions of the newest global time split (see
//! `measure.rs`), so the answer is a paired comparison of NDCG@10, question by question.
//!
//! A refresh of the family must be **non-inferior**: the lower end of the one-sided 95 % confidence interval of the mean
//! difference lies above −5 % of what is in service. A new family must be **superior**: that end lies above 0.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::TrainerError;
use crate::entry::Entry;

/// A refresh may lose so much of the live model's NDCG@10: less is hardly seen by anybody, more adds up over refreshes.
const MARGIN: f64 = 0.05;

/// Normal quantile of a one-sided 95 % confidence interval.
const QUANTILE: f64 = 1.645;

/// A paired comparison on the newest split.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// Questions that both answered.
    pub cases: usize,
    /// Mean NDCG@10 of the new model.
    pub candidate: f64,
    /// Mean NDCG@10 of the one in service.
    pub live: f64,
    /// Standard error of the mean difference.
    pub standard_error: f64,
}

/// What a trained model was compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Against {
    /// The version that was in service.
    pub version: String,
    /// What of it was measured.
    pub measured: Measured,
    /// The outcome.
    pub comparison: Comparison,
}

/// What of the live model was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measured {
    /// What is in service, on questions from after its training.
    Artefact,
    /// Its family, fitted anew on the same training as the candidate: too little has happened since.
    Recipe,
}

impl Comparison {
    /// Compares gains (NDCG@10 of each question, 0 to 1) of the same questions in the same order.
    ///
    /// # Panics
    /// When there are not as many of both.
    pub fn of(candidate: &[f64], live: &[f64]) -> Self {
        assert_eq!(candidate.len(), live.len(), "both answered the same questions");
        let cases = candidate.len();
        let mean = |gains: &[f64]| gains.iter().sum::<f64>() / cases.max(1) as f64;
        let (candidate_mean, live_mean) = (mean(candidate), mean(live));
        let difference = candidate_mean - live_mean;
        let squares: f64 = candidate.iter().zip(live).map(|(c, l)| (c - l - difference).powi(2)).sum();
        let variance = squares / cases.saturating_sub(1).max(1) as f64;
        let standard_error = (variance / cases.max(1) as f64).sqrt();
        Self { cases, candidate: candidate_mean, live: live_mean, standard_error }
    }

    /// Lower end of the one-sided 95 % confidence interval of the mean difference.
    pub fn at_least(&self) -> f64 {
        self.candidate - self.live - QUANTILE * self.standard_error
    }

    fn is_good_enough(&self, is_refresh: bool) -> bool {
        // One question has no spread, so it shows nothing.
        self.cases > 1 && if is_refresh { self.at_least() >= -MARGIN * self.live } else { self.at_least() > 0.0 }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "NDCG@10 {:.4} against {:.4} on {} questions of the newest split, difference at least {:+.4} (95 %)",
            self.candidate,
            self.live,
            self.cases,
            self.at_least()
        )
    }
}

/// Whether `entry` may replace `live`.
///
/// # Errors
/// [`TrainerError::NotCompared`]; [`TrainerError::NotGoodEnough`] with the numbers.
pub(crate) fn judge(entry: &Entry, live: &Entry) -> Result<Comparison, TrainerError> {
    let (version, live_version) = (entry.version.clone(), live.version.clone());
    let against = entry.against.as_ref().filter(|against| against.version == live.version);
    let Some(Against { comparison, .. }) = against else {
        return Err(TrainerError::NotCompared { version, live: live_version });
    };
    if comparison.is_good_enough(entry.model == live.model) {
        Ok(*comparison)
    } else {
        Err(TrainerError::NotGoodEnough { version, live: live_version, comparison: *comparison })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_by_hand() {
        // Differences 0.5, 0, -0.25, 0.25: mean 0.125, variance (.375² + .125² + .375² + .125²) / 3.
        let comparison = Comparison::of(&[1.0, 0.5, 0.25, 0.5], &[0.5, 0.5, 0.5, 0.25]);
        assert!((comparison.candidate - 0.5625).abs() < 1e-12);
        assert!((comparison.live - 0.4375).abs() < 1e-12);
        assert!((comparison.standard_error - (0.3125_f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
        assert!((comparison.at_least() - (0.125 - 1.645 * comparison.standard_error)).abs() < 1e-12);
    }

    #[test]
    fn a_refresh_may_be_as_good_and_a_new_family_must_be_better() {
        let gains: Vec<f64> = (0..200).map(|i| f64::from(i % 4) / 4.0).collect();
        let same = Comparison::of(&gains, &gains);
        assert!(same.is_good_enough(true));
        assert!(!same.is_good_enough(false));
        let better: Vec<f64> = gains.iter().map(|gain| gain + 0.01).collect();
        assert!(Comparison::of(&better, &gains).is_good_enough(false));
        let worse: Vec<f64> = gains.iter().map(|gain| gain * 0.9).collect();
        assert!(!Comparison::of(&worse, &gains).is_good_enough(true));
    }

    #[test]
    fn what_may_be_chance_shows_nothing() {
        // Better on average, but by one question of four.
        let comparison = Comparison::of(&[0.0, 0.0, 0.0, 1.0], &[0.0; 4]);
        assert!(!comparison.is_good_enough(false));
        assert!(!Comparison::of(&[1.0], &[0.0]).is_good_enough(false));
        assert!(!Comparison::of(&[], &[]).is_good_enough(true));
    }
}
