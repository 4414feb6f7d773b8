//! `popular-all-time`: how often an item was watched. The baseline that everything has to beat.

use marquee_evaluation::Training;

use crate::Popular;

/// The model's name.
pub const NAME: &str = "popular-all-time";

/// Not yet fitted.
pub fn model() -> Popular {
    Popular::new(NAME, score_items)
}

fn score_items(training: &Training) -> Vec<f32> {
    training.popularity().into_iter().map(|count| count as f32).collect()
}

#[cfg(test)]
mod tests {
    use marquee_evaluation::{Interactions, Recommender as _, Training};

    use super::model;

    #[test]
    fn counts_and_ranks() {
        let rows = [("u", "a", 1), ("u", "b", 2), ("v", "c", 3), ("v", "b", 4), ("v", "rare", 5)];
        let training = Training::whole(&Interactions::from_rows(rows));
        let mut model = model();
        model.fit(&training, &mut |_| ()).unwrap();
        let mut scores = [0.0; 4];
        assert!(model.score(&[], 0, &mut scores));
        assert!(scores.iter().zip([1.0, 2.0, 1.0, 1.0]).all(|(a, b)| (a - b).abs() < 1e-9));
        let ranking = model.ranking(&training, 3);
        assert_eq!(ranking.iter().map(|(item, _)| item.as_str()).collect::<Vec<_>>(), ["b", "a", "c"]);
    }
}
