//! `popular-decayed`: every view counts, the older the less. Scores are logarithms: over twenty years of MovieLens a
//! sum of halvings leaves the range of every float.

use marquee_evaluation::Training;

use crate::Popular;

/// The model's name.
pub const NAME: &str = "popular-decayed";

/// After so long a view counts half: that of the feature `views_decayed` (ms).
const HALF_LIFE_MS: f64 = 7.0 * 24.0 * 3_600.0 * 1_000.0;

/// Of items that were never watched; below the logarithm of any sum that can come up (a view 10^7 years old).
const NEVER: f32 = -1e9;

/// Not yet fitted.
pub fn model() -> Popular {
    Popular::new(NAME, score_items)
}

/// log2 Σ 2^(−age / half-life), by item.
fn score_items(training: &Training) -> Vec<f32> {
    let Some(through_ms) = training.through_ms() else { return vec![NEVER; training.items.len()] };
    // (largest exponent, sum of powers relative to it): the sum stays between 1 and the number of views.
    let mut sums = vec![(f64::NEG_INFINITY, 0.0); training.items.len()];
    for visit in training.histories.iter().flatten() {
        let exponent = (visit.at_ms - through_ms) as f64 / HALF_LIFE_MS;
        let (largest, sum) = &mut sums[visit.item as usize];
        if exponent > *largest {
            *sum = *sum * (*largest - exponent).exp2() + 1.0;
            *largest = exponent;
        } else {
            *sum += (exponent - *largest).exp2();
        }
    }
    sums.into_iter().map(|(largest, sum)| if sum > 0.0 { (largest + f64::log2(sum)) as f32 } else { NEVER }).collect()
}

#[cfg(test)]
mod tests {
    use marquee_evaluation::{Interactions, Training};

    use super::{HALF_LIFE_MS, score_items};

    #[test]
    fn a_view_counts_half_after_the_half_life() {
        let week = HALF_LIFE_MS as i64;
        // In any order of time: a = 1 + 1/2; b = 1 + 1/2 + 1/4; c is forty years old, and twice.
        let rows = [
            ("u", "a", 0),
            ("u", "b", -week),
            ("v", "a", -week),
            ("v", "b", 0),
            ("w", "b", -week * 2),
            ("u", "c", -week * 2_080),
            ("v", "c", -week * 2_080),
        ];
        let training = Training::whole(&Interactions::from_rows(rows));
        let scores = score_items(&training);
        let expected = [1.5_f64.log2(), 1.75_f64.log2(), -2_079.0];
        for (score, expected) in scores.iter().zip(expected) {
            assert!((f64::from(*score) - expected).abs() < 1e-4, "{scores:?}");
        }
    }
}
