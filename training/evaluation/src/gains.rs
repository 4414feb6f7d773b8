//! The questions of a split one by one, for paired comparisons: what two models gain on the same question.

use crate::run::answer;
use crate::{Case, EvaluationError, Metrics, Split};

/// NDCG@10 of each case, in the order of the cases, as [`Evaluation::run`](crate::Evaluation::run) counts it: `score`
/// is [`Recommender::score`](crate::Recommender::score) for a case, and where it returns false popularity answers.
/// `name` is what an error calls the model.
///
/// # Errors
/// [`EvaluationError::NotANumber`].
pub fn gains(
    split: &Split,
    name: &'static str,
    score: impl Fn(&Case, &mut [f32]) -> bool,
) -> Result<Vec<f64>, EvaluationError> {
    let popularity: Vec<f32> = split.training.popularity().into_iter().map(|count| count as f32).collect();
    let gain = |case: &Case| {
        let (ranked, _) = answer(name, case, &popularity, &score)?;
        Ok(Metrics::of([ranked.rank]).ndcg_at_10)
    };
    split.cases.iter().map(gain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Interactions, Protocol};

    #[test]
    fn each_question_by_hand() {
        // Two users watched a, b, c and a, b, d: trained on a twice, asked for c and d after a, b.
        let rows = [("u", "a", 1), ("u", "b", 2), ("u", "c", 3), ("v", "a", 1), ("v", "b", 2), ("v", "d", 3)];
        let split = Protocol::LeaveOneOut.split(&Interactions::from_rows(rows)).unwrap();
        let first = |case: &Case, scores: &mut [f32]| {
            scores[2] = 1.0;
            case.user == 0
        };
        // u gets its c at the top; v is not known, and nobody has trained on c or d: c has the lower number.
        let second = 1.0 / 3_f64.log2();
        assert_eq!(gains(&split, "by hand", first).unwrap(), [1.0, second]);
        let broken = gains(&split, "broken", |_, scores| {
            scores[1] = f32::NAN;
            true
        });
        assert_eq!(broken.unwrap_err().to_string(), "broken gives item 1 a score that is not a number");
    }
}
