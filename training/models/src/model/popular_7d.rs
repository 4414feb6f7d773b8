//! `popular-7d`: how often an item was watched in the last 7 days of the training. Hard to beat on a global time split
//! of a busy service (facts/recommendation.md), empty on a sleepy one.

use marquee_evaluation::Training;

use crate::Popular;

/// The model's name.
pub const NAME: &str = "popular-7d";

/// The window, counted back from the newest event of the training, which is outside of nothing (ms).
const WINDOW_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// Not yet fitted.
pub fn model() -> Popular {
    Popular::new(NAME, score_items)
}

fn score_items(training: &Training) -> Vec<f32> {
    let mut counts = vec![0.0; training.items.len()];
    let Some(through_ms) = training.through_ms() else { return counts };
    for visit in training.histories.iter().flatten() {
        if visit.at_ms > through_ms - WINDOW_MS {
            counts[visit.item as usize] += 1.0;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use marquee_evaluation::{Interactions, Training};

    use super::{WINDOW_MS, score_items};

    #[test]
    fn only_the_last_week_counts() {
        let rows = [("u", "old", 0), ("v", "old", 1), ("u", "new", WINDOW_MS + 1), ("v", "edge", 2)];
        let scores = score_items(&Training::whole(&Interactions::from_rows(rows)));
        // "old" at 1 is exactly a week before the newest event, "edge" one millisecond less.
        assert!(scores.iter().zip([0.0, 1.0, 1.0]).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-9));
        assert_eq!(score_items(&Training::whole(&Interactions::default())), Vec::<f32>::new());
    }
}
