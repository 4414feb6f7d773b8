//! `linear-transition`: what comes next is linear in a decayed history, fitted in closed form (after SLIT: Choi et al.,
//! "Session-aware linear item-item models for session-based recommendation", WWW 2021).
//!
//! For every position of every history, x = Σ decay^age over the last `window` items and y = the next item; then
//! `W = (XᵀX + λI)⁻¹ XᵀY`. Neither X nor Y is ever built: two items of a history meet in a geometric series, so each
//! pair within the window costs one addition, not one for each position that sees both.

use faer::Mat;
use faer::linalg::solvers::{Llt, Solve as _};
use marquee_evaluation::{FitError, Progress, Recommender, Training, Visit};
use marquee_retrieval::NeighbourLists;
use rayon::prelude::*;

use crate::ModelError;

/// Three dense n × n matrices of f64 must fit in a laptop's memory (2.4 GB); solving takes about a minute on 2 cores.
/// Of more items only the most watched take part.
const MAX_ITEMS: usize = 10_000;

/// Weights of a history are at most so many; decay^200 is nothing for any decay that makes sense.
const MAX_WINDOW: usize = 200;

/// What is not watched at all by anybody has no column.
const NO_COLUMN: u32 = u32::MAX;

/// The parameters. The defaults suit MovieLens small and 1M (facts/recommendation.md).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// Weight of an item of the history: this to the power of its age in positions; above 0, at most 1.
    pub decay: f64,
    /// Only so many of the last items count, 1 to 200.
    pub window: usize,
    /// λ.
    pub ridge: Ridge,
    /// Score through this many next items of each item, as serving does; `None`: through all.
    pub neighbours: Option<usize>,
}

/// How λ is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ridge {
    /// By the number of training events: 100 · (events / 100,000)^0.7, the power law through the two data sets for
    /// which λ is known to suit: 100 on MovieLens small (10^5 events), 500 on 1M (10^6).
    BySize,
    /// This, above 0.
    Fixed(f64),
}

impl Default for Parameters {
    fn default() -> Self {
        Self { decay: 0.85, window: 30, ridge: Ridge::BySize, neighbours: None }
    }
}

impl Ridge {
    /// λ for so many training events.
    pub fn lambda(self, events: usize) -> f64 {
        match self {
            Ridge::BySize => 100.0 * (events as f64 / 1e5).powf(0.7),
            Ridge::Fixed(lambda) => lambda,
        }
    }
}

/// From item to next item.
#[derive(Debug, Clone, Default)]
pub struct LinearTransition {
    parameters: Parameters,
    /// Column of each item, or [`NO_COLUMN`].
    columns: Vec<u32>,
    /// Item of each column, ascending.
    items: Vec<u32>,
    weights: Weights,
}

#[derive(Debug, Clone)]
enum Weights {
    /// n × n, row by row: from the row's item to the column's.
    Dense(Vec<f32>),
    /// For each column the best next columns, best first.
    Lists(Vec<Vec<(u32, f32)>>),
}

impl Default for Weights {
    fn default() -> Self {
        Weights::Lists(Vec::new())
    }
}

impl LinearTransition {
    /// The model's name.
    pub const NAME: &str = "linear-transition";

    /// Next items that serving keeps of each item. Under leave-one-out on MovieLens small that costs .004 of an NDCG@10
    /// of .083, with 200 .002; `tests/movielens.rs` holds it to .005.
    pub const NEIGHBOURS: usize = 100;

    /// Not yet fitted.
    ///
    /// # Errors
    /// [`ModelError::Parameter`].
    pub fn new(parameters: Parameters) -> Result<Self, ModelError> {
        let invalid = |parameter, value, range| ModelError::Parameter { model: Self::NAME, parameter, value, range };
        if !(parameters.decay > 0.0 && parameters.decay <= 1.0) {
            return Err(invalid("decay", parameters.decay, "above 0 and at most 1"));
        }
        if !(1..=MAX_WINDOW).contains(&parameters.window) {
            return Err(invalid("window", parameters.window as f64, "1 to 200"));
        }
        if let Ridge::Fixed(lambda) = parameters.ridge
            && !(lambda.is_finite() && lambda > 0.0)
        {
            return Err(invalid("lambda", lambda, "above 0"));
        }
        Ok(Self { parameters, ..Self::default() })
    }

    /// Learns.
    ///
    /// # Errors
    /// [`ModelError::NothingToLearn`], [`ModelError::Numeric`].
    pub fn learn(&mut self, training: &Training) -> Result<(), ModelError> {
        self.number_columns(&training.popularity());
        let histories: Vec<Vec<usize>> = training
            .histories
            .iter()
            .map(|history| history.iter().filter_map(|visit| self.column(visit.item)).collect())
            .collect();
        if histories.iter().all(|history| history.len() < 2) {
            let needed = "no history has two events";
            return Err(ModelError::NothingToLearn { model: Self::NAME, needed });
        }
        let lambda = self.parameters.ridge.lambda(training.events());
        let (mut gram, mut cross) = self.accumulate(&histories);
        for column in 0..self.items.len() {
            gram[(column, column)] += lambda;
        }
        let factor = Llt::new(gram.as_ref(), faer::Side::Lower).map_err(|problem| ModelError::Numeric {
            model: Self::NAME,
            operation: "factoring XᵀX + λI",
            source: format!("{problem:?}").into(),
        })?;
        drop(gram);
        factor.solve_in_place(cross.as_mut());
        let dense = row_by_row(&cross);
        self.weights = match self.parameters.neighbours {
            None => Weights::Dense(dense),
            Some(limit) => Weights::Lists(best_of_rows(&dense, self.items.len(), limit)),
        };
        Ok(())
    }

    /// The best next titles of every title, as serving keeps them: positive weights only, never the title itself.
    pub fn neighbours(&self, items: &[String]) -> NeighbourLists {
        let computed;
        let lists = match &self.weights {
            Weights::Lists(lists) => lists,
            Weights::Dense(dense) => {
                computed = best_of_rows(dense, self.items.len(), Self::NEIGHBOURS);
                &computed
            }
        };
        let title = |column: usize| items[self.items[column] as usize].clone();
        let lists = lists
            .iter()
            .enumerate()
            .filter(|(_, list)| !list.is_empty())
            .map(|(from, list)| (title(from), list.iter().map(|&(to, w)| (title(to as usize), w)).collect()))
            .collect();
        NeighbourLists { lists, decay: self.parameters.decay as f32, window: self.parameters.window }
    }

    /// Gives a column to every item that was watched, at most [`MAX_ITEMS`].
    fn number_columns(&mut self, popularity: &[u32]) {
        let mut watched: Vec<u32> = (0..).zip(popularity).filter(|(_, n)| **n > 0).map(|(item, _)| item).collect();
        watched.sort_by_key(|item| std::cmp::Reverse(popularity[*item as usize])); // stable: ties by number
        watched.truncate(MAX_ITEMS);
        watched.sort_unstable();
        self.columns = vec![NO_COLUMN; popularity.len()];
        for (column, item) in (0..).zip(&watched) {
            self.columns[*item as usize] = column;
        }
        self.items = watched;
    }

    fn column(&self, item: u32) -> Option<usize> {
        let column = self.columns.get(item as usize).copied()?;
        (column != NO_COLUMN).then_some(column as usize)
    }

    /// The lower triangle of `XᵀX`, and `XᵀY`.
    fn accumulate(&self, histories: &[Vec<usize>]) -> (Mat<f64>, Mat<f64>) {
        let (n, window) = (self.items.len(), self.parameters.window);
        // Each from the one before, not by `powi`: the same bits on every machine.
        let powers: Vec<f64> =
            std::iter::successors(Some(1.0), |power| Some(power * self.parameters.decay)).take(window).collect();
        // series[k]: the sum of the first k squares.
        let series: Vec<f64> = std::iter::once(0.0)
            .chain(powers.iter().scan(0.0, |sum, power| {
                *sum += power * power;
                Some(*sum)
            }))
            .collect();
        let (mut gram, mut cross) = (Mat::zeros(n, n), Mat::zeros(n, n));
        for history in histories {
            for (position, &item) in history.iter().enumerate() {
                // As y: what is `gap` positions before the last one that it follows.
                for gap in 0..window.min(position) {
                    cross[(history[position - 1 - gap], item)] += powers[gap];
                }
                // As the newer one of two in x: at every later position that still has the older one in its window.
                let later = history.len() - 1 - position;
                for gap in 0..window.min(position + 1) {
                    let other = history[position - gap];
                    let both = powers[gap] * series[later.min(window - gap)];
                    let twice = if gap > 0 && other == item { 2.0 } else { 1.0 };
                    gram[(item.max(other), item.min(other))] += twice * both;
                }
            }
        }
        (gram, cross)
    }
}

fn row_by_row(matrix: &Mat<f64>) -> Vec<f32> {
    let n = matrix.ncols();
    let mut rows = vec![0.0; matrix.nrows() * n];
    rows.par_chunks_mut(n.max(1)).enumerate().for_each(|(row, to)| {
        for (column, to) in to.iter_mut().enumerate() {
            *to = matrix[(row, column)] as f32;
        }
    });
    rows
}

/// The `limit` greatest positive weights of each row, best first, ties by column; the diagonal left out.
fn best_of_rows(dense: &[f32], n: usize, limit: usize) -> Vec<Vec<(u32, f32)>> {
    dense
        .par_chunks(n.max(1))
        .enumerate()
        .map(|(row, weights)| {
            let positive = (0..).zip(weights.iter().copied()).filter(|&(column, w)| w > 0.0 && column as usize != row);
            let mut best: Vec<(u32, f32)> = positive.collect();
            let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
            if best.len() > limit {
                best.select_nth_unstable_by(limit, order);
                best.truncate(limit);
            }
            best.sort_unstable_by(order);
            best
        })
        .collect()
}

impl Recommender for LinearTransition {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fit(&mut self, training: &Training, _progress: &mut dyn FnMut(Progress)) -> Result<(), FitError> {
        Ok(self.learn(training)?)
    }

    fn score(&self, context: &[Visit], _at_ms: i64, scores: &mut [f32]) -> bool {
        let newest_first = context.iter().rev().filter_map(|visit| self.column(visit.item));
        let mut weight = 1.0_f32;
        let mut known = false;
        for from in newest_first.take(self.parameters.window) {
            known = true;
            match &self.weights {
                Weights::Dense(dense) => {
                    let n = self.items.len();
                    for (item, w) in self.items.iter().zip(&dense[from * n..(from + 1) * n]) {
                        scores[*item as usize] += weight * w;
                    }
                }
                Weights::Lists(lists) => {
                    for (to, w) in &lists[from] {
                        scores[self.items[*to as usize] as usize] += weight * w;
                    }
                }
            }
            weight *= self.parameters.decay as f32;
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use marquee_evaluation::Interactions;

    use super::*;

    fn training(histories: &[&[&str]]) -> Training {
        let users: Vec<String> = (0..histories.len()).map(|user| format!("u{user}")).collect();
        let rows = histories
            .iter()
            .zip(&users)
            .flat_map(|(history, user)| history.iter().zip(0..).map(|(item, at_ms)| (user.as_str(), *item, at_ms)));
        Training::whole(&Interactions::from_rows(rows))
    }

    fn fitted(parameters: Parameters, training: &Training) -> LinearTransition {
        let mut model = LinearTransition::new(parameters).unwrap();
        model.learn(training).unwrap();
        model
    }

    /// `XᵀX` and `XᵀY` as the formula says it, position by position.
    fn by_definition(histories: &[Vec<usize>], n: usize, decay: f64, window: usize) -> (Mat<f64>, Mat<f64>) {
        let (mut gram, mut cross) = (Mat::<f64>::zeros(n, n), Mat::<f64>::zeros(n, n));
        for history in histories {
            for t in 1..history.len() {
                let mut x = vec![0.0; n];
                for age in 0..window.min(t) {
                    x[history[t - 1 - age]] += decay.powi(age as i32);
                }
                for (i, xi) in x.iter().enumerate() {
                    cross[(i, history[t])] += xi;
                    for (j, xj) in x.iter().enumerate().take(i + 1) {
                        gram[(i, j)] += xi * xj;
                    }
                }
            }
        }
        (gram, cross)
    }

    #[test]
    fn the_series_is_the_sum_over_positions() {
        // Repeats within and beyond the window, histories shorter and longer than it.
        let histories = vec![vec![0, 1, 0, 2, 2, 3, 1, 0, 4, 4], vec![3], vec![], vec![2, 1], vec![4, 0, 4, 0, 4]];
        for window in [1, 2, 3, 30] {
            let parameters = Parameters { decay: 0.7, window, ..Parameters::default() };
            let model = LinearTransition { items: (0..5).collect(), ..LinearTransition::new(parameters).unwrap() };
            let (gram, cross) = model.accumulate(&histories);
            let (expected_gram, expected_cross) = by_definition(&histories, 5, 0.7, window);
            assert!((gram - expected_gram).norm_max() < 1e-12, "window {window}");
            assert!((cross - expected_cross).norm_max() < 1e-12, "window {window}");
        }
    }

    #[test]
    fn one_transition_by_hand() {
        // X has one row, e_a; so W[a, b] = 1 / (1 + λ).
        let training = training(&[&["a", "b"]]);
        let model = fitted(Parameters { ridge: Ridge::Fixed(3.0), ..Parameters::default() }, &training);
        let mut scores = [0.0; 2];
        assert!(model.score(&training.histories[0][..1], 0, &mut scores));
        assert!(scores[0].abs() < 1e-6 && (scores[1] - 0.25).abs() < 1e-6, "{scores:?}");
        assert!(!model.score(&[], 0, &mut scores), "nothing is known of a cold user");
    }

    #[test]
    fn lists_are_the_best_weights_and_score_like_them() {
        let training = training(&[&["a", "b", "c", "a", "b", "d"], &["b", "c", "d", "a"], &["c", "a", "b"]]);
        let ridge = Ridge::Fixed(0.5);
        let dense = fitted(Parameters { ridge, ..Parameters::default() }, &training);
        let lists = dense.neighbours(&training.items);
        assert!((lists.decay - 0.85).abs() < 1e-6 && lists.window == 30);
        for (from, list) in &lists.lists {
            assert!(list.windows(2).all(|pair| pair[0].1 >= pair[1].1), "best first");
            assert!(list.iter().all(|(to, w)| *w > 0.0 && to != from));
        }
        assert_eq!(lists.lists["a"][0].0, "b");
        let one = fitted(Parameters { ridge, neighbours: Some(1), ..Parameters::default() }, &training);
        let mut scores = vec![0.0; 4];
        assert!(one.score(&training.histories[1][..1], 0, &mut scores));
        let (best, weight) = &lists.lists["b"][0];
        let number = training.numbers()[best.as_str()] as usize;
        assert!((scores[number] - weight).abs() < 1e-6);
        assert_eq!(scores.iter().filter(|score| **score != 0.0).count(), 1, "only the list's item scores");
        assert_eq!(one.neighbours(&training.items).lists["b"], lists.lists["b"][..1]);
    }

    #[test]
    fn parameters_are_checked() {
        let with = |change: fn(&mut Parameters)| {
            let mut parameters = Parameters::default();
            change(&mut parameters);
            LinearTransition::new(parameters).map(|_| ()).map_err(|e| e.to_string())
        };
        assert_eq!(with(|_| ()), Ok(()));
        assert_eq!(
            with(|p| p.decay = 0.0).unwrap_err(),
            "linear-transition: decay is 0, it must be above 0 and at most 1"
        );
        assert!(with(|p| p.decay = f64::NAN).is_err());
        assert!(with(|p| p.window = 0).is_err());
        assert!(with(|p| p.ridge = Ridge::Fixed(0.0)).is_err());
        let nothing = LinearTransition::default().learn(&training(&[&["a"], &["b"]])).unwrap_err();
        assert_eq!(nothing.to_string(), "linear-transition has nothing to learn from: no history has two events");
    }

    #[test]
    fn lambda_grows_through_the_two_known_points() {
        assert!((Ridge::BySize.lambda(100_000) - 100.0).abs() < 1e-9);
        assert!((Ridge::BySize.lambda(1_000_000) - 501.0).abs() < 1.0);
    }
}
