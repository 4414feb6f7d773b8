//! What chooses among candidates: the best, the best without repeating itself, or by chance with known probability.

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::context::Context;
use crate::stages::{Candidate, Selector};

/// Weight of relevance against diversity; 0.7 is where Carbonell & Goldstein (1998) see both kept.
const RELEVANCE_WEIGHT: f64 = 0.7;

/// The highest scores; ties by title number.
pub(crate) struct Best;

impl Selector for Best {
    fn name(&self) -> &'static str {
        "best"
    }

    fn select(&self, _context: &Context, mut candidates: Vec<Candidate>, limit: usize) -> Vec<Candidate> {
        sort_best_first(&mut candidates);
        candidates.truncate(limit);
        candidates
    }
}

/// Maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998): the next is
/// `argmax λ·relevance(i) − (1 − λ)·max over chosen j of similarity(i, j)`, where relevance is the score scaled to 0..1
/// over the candidates and similarity is the Jaccard similarity of genres. Ties: the higher score, then the title number.
pub(crate) struct Diverse;

impl Selector for Diverse {
    fn name(&self) -> &'static str {
        "diverse"
    }

    fn select(&self, context: &Context, mut candidates: Vec<Candidate>, limit: usize) -> Vec<Candidate> {
        sort_best_first(&mut candidates);
        let (Some(best), Some(worst)) = (candidates.first(), candidates.last()) else { return candidates };
        let (lowest, range) = (worst.score, best.score - worst.score);
        let relevance = |score: f64| if range > 0.0 { (score - lowest) / range } else { 1.0 };
        let mut nearest = vec![0.0_f64; candidates.len()];
        let mut is_left = vec![true; candidates.len()];
        let mut chosen: Vec<Candidate> = Vec::with_capacity(limit.min(candidates.len()));
        while chosen.len() < limit.min(candidates.len()) {
            let mut next: Option<(usize, f64)> = None;
            for (index, candidate) in candidates.iter().enumerate().filter(|&(index, _)| is_left[index]) {
                let value = RELEVANCE_WEIGHT * relevance(candidate.score) - (1.0 - RELEVANCE_WEIGHT) * nearest[index];
                if next.is_none_or(|(_, best)| value > best) {
                    next = Some((index, value));
                }
            }
            let Some((index, _)) = next else { break };
            is_left[index] = false;
            chosen.push(candidates[index]);
            for (other, nearest) in nearest.iter_mut().enumerate().filter(|&(other, _)| is_left[other]) {
                let similarity = context.shelf.genre_similarity(candidates[index].title, candidates[other].title);
                *nearest = nearest.max(similarity);
            }
        }
        chosen
    }
}

/// By chance, in proportion to the score (a weight above 0), without repetition, and with an exact propensity:
/// systematic sampling of unequal probabilities (Madow 1949) over the candidates in random order. Which candidate is
/// held with which probability is known beforehand: `min(1, k·weight / Σ weight)`, weights that would exceed 1 being
/// taken for certain and the rest scaled anew.
pub(crate) struct Sampled;

impl Selector for Sampled {
    fn name(&self) -> &'static str {
        "sampled"
    }

    fn select(&self, context: &Context, mut candidates: Vec<Candidate>, limit: usize) -> Vec<Candidate> {
        candidates.retain(|candidate| candidate.score > 0.0 && candidate.score.is_finite());
        candidates.sort_unstable_by_key(|candidate| candidate.title);
        let mut random = StdRng::seed_from_u64(context.seed);
        candidates.shuffle(&mut random);
        let probabilities = inclusion_probabilities(&candidates, limit);
        let start: f64 = random.random();
        let (mut chosen, mut cumulated, mut next) = (Vec::with_capacity(limit), 0.0, start);
        for (mut candidate, probability) in candidates.into_iter().zip(probabilities) {
            cumulated += probability;
            // A certain one is taken whatever rounding did to the sum.
            if (cumulated > next || probability >= 1.0) && chosen.len() < limit {
                next += 1.0;
                candidate.propensity = probability;
                chosen.push(candidate);
            }
        }
        chosen.shuffle(&mut random);
        chosen
    }
}

/// The probability of each candidate to be among `limit`; their sum is the smaller of `limit` and their number.
fn inclusion_probabilities(candidates: &[Candidate], limit: usize) -> Vec<f64> {
    if candidates.len() <= limit {
        return vec![1.0; candidates.len()];
    }
    let mut probabilities = vec![0.0; candidates.len()];
    loop {
        let is_open = |probability: f64| probability < 1.0;
        let certain = probabilities.iter().filter(|&&probability| !is_open(probability)).count();
        let open_weight: f64 = (candidates.iter().zip(&probabilities))
            .filter(|&(_, &probability)| is_open(probability))
            .map(|(candidate, _)| candidate.score)
            .sum();
        let scale = (limit - certain) as f64 / open_weight;
        let mut has_new_certain = false;
        for (candidate, probability) in candidates.iter().zip(&mut probabilities) {
            if is_open(*probability) {
                *probability = (candidate.score * scale).min(1.0);
                has_new_certain |= *probability >= 1.0;
            }
        }
        if !has_new_certain {
            return probabilities;
        }
    }
}

fn sort_best_first(candidates: &mut [Candidate]) {
    candidates.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.title.cmp(&b.title)));
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use marquee_definitions::ProfileFeatures;

    use super::*;
    use crate::stages::Origin;

    fn candidates(scores: &[f64]) -> Vec<Candidate> {
        (0..).zip(scores).map(|(title, &score)| Candidate::new(title, score, Origin::Vectors)).collect()
    }

    fn titles(chosen: &[Candidate]) -> Vec<u32> {
        chosen.iter().map(|candidate| candidate.title).collect()
    }

    #[test]
    fn diversity_is_bought_with_relevance_and_not_with_all_of_it() {
        let genres: [&[&str]; 5] = [&["Crime"], &["Crime"], &["Crime"], &["Comedy"], &["Drama"]];
        let catalogue = (0..).zip(genres).map(|(number, genres)| Context::rehearsed_title(number, genres)).collect();
        let context = Context::rehearsed(catalogue, ProfileFeatures::default(), 0);
        let check = |scores: &[f64], limit: usize, expect: &[u32]| {
            assert_eq!(titles(&Diverse.select(&context, candidates(scores), limit)), expect, "{scores:?}");
        };
        // Worked by hand: relevance 1, .95, .9, .7, 0; after title 0 the other crimes lose .3 and comedy overtakes them.
        check(&[1.0, 0.95, 0.9, 0.7, 0.0], 5, &[0, 3, 1, 2, 4]);
        // Comedy is worth less than a repetition here.
        check(&[1.0, 0.95, 0.9, 0.4, 0.0], 3, &[0, 1, 2]);
        check(&[1.0, 0.95, 0.9, 0.7, 0.0], 2, &[0, 3]);
        check(&[0.5, 0.5, 0.5, 0.5, 0.5], 3, &[0, 3, 4]);
        check(&[], 3, &[]);
        assert_eq!(titles(&Best.select(&context, candidates(&[1.0, 3.0, 3.0, 2.0]), 3)), [1, 2, 3]);
    }

    /// The propensity that is logged is the share of draws that hold the title.
    #[test]
    fn logged_propensities_are_true() {
        const DRAWS: u64 = 20_000;
        let weights = [1.0, 0.5, 0.5, 0.3, 0.2, 0.1, 0.1, 0.05, 0.05, 40.0, 0.01, 0.0];
        let catalogue: Vec<_> = (0..weights.len()).map(|number| Context::rehearsed_title(number, &[])).collect();
        let mut context = Context::rehearsed(catalogue, ProfileFeatures::default(), 0);
        let (mut drawn, mut logged) = ([0_u64; 12], [0.0; 12]);
        for seed in 0..DRAWS {
            context.seed = seed;
            let chosen = Sampled.select(&context, candidates(&weights), 4);
            assert_eq!(chosen.len(), 4);
            assert_eq!(titles(&chosen).into_iter().collect::<HashSet<_>>().len(), 4);
            for candidate in chosen {
                drawn[candidate.title as usize] += 1;
                logged[candidate.title as usize] = candidate.propensity;
            }
        }
        assert_eq!((drawn[9], logged[9]), (DRAWS, 1.0), "more than its share: certain");
        assert_eq!(drawn[11], 0, "no weight, no chance");
        for title in 0..11 {
            let (expected, share) = (logged[title], drawn[title] as f64 / DRAWS as f64);
            let deviation = (expected * (1.0 - expected) / DRAWS as f64).sqrt();
            assert!((share - expected).abs() <= 4.0 * deviation + 1e-9, "{title}: {share} drawn, {expected} logged");
        }
        let sum: f64 = inclusion_probabilities(&candidates(&weights[..11]), 4).iter().sum();
        assert!((sum - 4.0).abs() < 1e-9, "{sum}");
        context.seed = 5;
        let twice = [(); 2].map(|()| Sampled.select(&context, candidates(&weights), 4));
        assert_eq!(twice[0], twice[1], "the seed decides");
    }
}
