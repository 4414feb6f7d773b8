//! What the popularity models share: one score an item, the same for everybody. Items that were never watched score
//! below all others.

use marquee_evaluation::{FitError, Progress, Recommender, Training, Visit};

/// A score of each item, from the training alone.
pub type ScoreItems = fn(&Training) -> Vec<f32>;

/// One ranking for everybody.
#[derive(Debug, Clone)]
pub struct Popular {
    name: &'static str,
    score_items: ScoreItems,
    scores: Vec<f32>,
}

impl Popular {
    /// Not yet fitted.
    pub fn new(name: &'static str, score_items: ScoreItems) -> Self {
        Self { name, score_items, scores: Vec::new() }
    }

    /// The best `limit` items of the training that it was fitted on, best first, with their scores; ties by number.
    pub fn ranking(&self, training: &Training, limit: usize) -> Vec<(String, f32)> {
        let mut order: Vec<usize> = (0..self.scores.len()).collect();
        order.sort_by(|&a, &b| self.scores[b].total_cmp(&self.scores[a])); // stable: ties by number
        order.into_iter().take(limit).map(|item| (training.items[item].clone(), self.scores[item])).collect()
    }
}

impl Recommender for Popular {
    fn name(&self) -> &'static str {
        self.name
    }

    fn fit(&mut self, training: &Training, _progress: &mut dyn FnMut(Progress)) -> Result<(), FitError> {
        self.scores = (self.score_items)(training);
        Ok(())
    }

    fn score(&self, _context: &[Visit], _at_ms: i64, scores: &mut [f32]) -> bool {
        scores.copy_from_slice(&self.scores);
        true
    }
}
