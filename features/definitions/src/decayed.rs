//! A sum of weights, each halved for every half-life of its age, that does not depend on the order in which they came.
//!
//! Σ wᵢ · 2^(−(t − tᵢ) / H). With tᵢ = (kᵢ + rᵢ) · H, k whole and 0 ≤ r < 1, a weight is wᵢ · 2^rᵢ in *octave* k, kept as
//! an integer multiple of 2⁻²⁸. Integers add without rounding, so any order and any grouping give equal states; only
//! each weight by itself is rounded, to 4·10⁻⁹.

use serde::{Deserialize, Serialize};

/// Integers in an octave are multiples of 1 / this. Weights of 3·10¹⁰ in one half-life fit before they saturate.
const SCALE: f64 = (1_u64 << 28) as f64;

/// Octaves older than the newest by this are dropped: they count 2⁻⁶⁴, below what a double can add to 1.
const MAX_OCTAVES: i32 = 64;

/// A decayed sum; the half-life is the caller's and always the same.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Decayed {
    /// (octave, sum in it), ascending.
    octaves: Vec<(i32, i64)>,
}

impl Decayed {
    /// Adds a weight of this instant (ms since the epoch).
    pub(crate) fn add(&mut self, weight: f64, at_ms: i64, half_life_ms: i64) {
        let within = at_ms.rem_euclid(half_life_ms) as f64 / half_life_ms as f64;
        let scaled = (weight * within.exp2() * SCALE).round() as i64;
        self.add_scaled(at_ms.div_euclid(half_life_ms) as i32, scaled);
        self.trim();
    }

    /// Adds another sum of the same half-life.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (octave, scaled) in &other.octaves {
            self.add_scaled(*octave, *scaled);
        }
        self.trim();
    }

    /// The sum at an instant (ms since the epoch). Before the newest octave's beginning nothing is undone: the sum is
    /// that of its beginning.
    pub(crate) fn read(&self, at_ms: i64, half_life_ms: i64) -> f64 {
        let Some((newest, _)) = self.octaves.last() else { return 0.0 };
        let at_ms = at_ms.max(i64::from(*newest) * half_life_ms);
        let at_octave = at_ms.div_euclid(half_life_ms);
        let within = at_ms.rem_euclid(half_life_ms) as f64 / half_life_ms as f64;
        let term = |(octave, scaled): &(i32, i64)| *scaled as f64 * ((i64::from(*octave) - at_octave) as f64).exp2();
        self.octaves.iter().map(term).sum::<f64>() * (-within).exp2() / SCALE
    }

    fn add_scaled(&mut self, octave: i32, scaled: i64) {
        match self.octaves.binary_search_by_key(&octave, |(octave, _)| *octave) {
            Ok(index) => self.octaves[index].1 = self.octaves[index].1.saturating_add(scaled),
            Err(index) => self.octaves.insert(index, (octave, scaled)),
        }
    }

    fn trim(&mut self) {
        let Some((newest, _)) = self.octaves.last() else { return };
        let oldest = newest - MAX_OCTAVES;
        self.octaves.retain(|(octave, _)| *octave > oldest);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::DAY_MS;

    const HALF_LIFE_MS: i64 = 14 * DAY_MS;

    #[test]
    fn a_weight_halves_with_every_half_life() {
        let mut sum = Decayed::default();
        let at_ms = 1_700_000_000_123;
        sum.add(1.0, at_ms, HALF_LIFE_MS);
        for (age, expected) in [(0, 1.0), (1, 0.5), (2, 0.25), (10, 2_f64.powi(-10))] {
            let found = sum.read(at_ms + age * HALF_LIFE_MS, HALF_LIFE_MS);
            assert!((found / expected - 1.0).abs() < 1e-8, "{age}: {found}");
        }
        assert_eq!(Decayed::default().read(at_ms, HALF_LIFE_MS).to_bits(), 0.0_f64.to_bits());
    }

    proptest! {
        #[test]
        fn any_order_and_grouping_give_equal_states_and_the_formula(
            weights in prop::collection::vec((-2.0_f64..2.0, 0_i64..60 * 365 * DAY_MS), 0..40),
            order in prop::collection::vec(any::<prop::sample::Index>(), 40),
            split in any::<prop::sample::Index>(),
        ) {
            let sum_of = |weights: &[(f64, i64)]| {
                let mut sum = Decayed::default();
                for (weight, at_ms) in weights {
                    sum.add(*weight, *at_ms, HALF_LIFE_MS);
                }
                sum
            };
            let in_order = sum_of(&weights);
            let mut mixed = weights.clone();
            for (index, other) in order.iter().enumerate().take(weights.len()) {
                mixed.swap(index, other.index(weights.len()));
            }
            let middle = split.index(weights.len() + 1);
            let mut merged = sum_of(&mixed[middle..]);
            merged.merge(&sum_of(&mixed[..middle]));
            prop_assert_eq!(&merged, &in_order);
            prop_assert_eq!(&sum_of(&mixed), &in_order);

            let at_ms = 60 * 365 * DAY_MS;
            let exact: f64 =
                weights.iter().map(|(w, t)| w * (-((at_ms - t) as f64) / HALF_LIFE_MS as f64).exp2()).sum();
            let tolerance = 1e-8 * weights.len() as f64;
            prop_assert!((in_order.read(at_ms, HALF_LIFE_MS) - exact).abs() <= tolerance);
        }
    }
}
