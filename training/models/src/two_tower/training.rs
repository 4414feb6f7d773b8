//! Training of `two-tower`: full softmax over the watched items, `AdamW`, early stopping on the validation cases. All
//! randomness comes from one seeded generator; candle's own cannot be seeded on the CPU, so it is never asked.

use std::collections::HashSet;
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{AdamW, Optimizer as _, ParamsAdamW};
use marquee_catalogue::CatalogueSnapshot;
use marquee_evaluation::{Metrics, Progress, Training, rank};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rayon::prelude::*;

use super::content::{FEATURES, features};
use super::operations::{Sparse, softmax_loss, sparse_product};
use super::tower::{Tower, Weights};
use crate::{ModelError, Settings, TwoTower};

/// Positions of one history that are trained together: their windows share most items.
const CHUNK: usize = 32;

/// Chunks of one step. 512 × 50,000 logits are 100 MB, which a laptop has.
const CHUNKS_PER_STEP: usize = 16;

/// Full softmax beyond this is slower than sampling would be (facts/recommendation.md).
const MAX_ITEMS: usize = 50_000;

/// Positions of one pass: with more, a pass is a random part of them. Keeps the longest training bounded.
const MAX_POSITIONS_PER_EPOCH: usize = 200_000;

/// Standard deviation of the first vectors.
const INITIAL_SPREAD: f32 = 0.1;

/// What is learnt. One table holds the ids of the watched items, then the content features.
struct Parameters {
    table: Var,
    direct: Var,
    hidden: Var,
    output: Var,
}

/// The items and what goes into each one's vector.
struct Items {
    /// Ids: the training's items in their order, then the catalogue's other titles.
    ids: Vec<String>,
    /// Place of each item in the table; `None`: nobody watched it.
    places: Vec<Option<u32>>,
    /// Content features of each item, counted from the end of the watched ones in the table.
    features: Vec<Vec<(u32, f32)>>,
    /// Items with a place, in its order.
    watched: Vec<u32>,
}

/// Positions `from..to` of a history are targets.
#[derive(Clone, Copy)]
struct Chunk {
    history: usize,
    from: usize,
    to: usize,
}

/// Trains.
///
/// # Errors
/// [`ModelError::NothingToLearn`], [`ModelError::TooManyItems`], [`ModelError::Parameter`], [`ModelError::Numeric`].
pub fn train(
    settings: &Settings,
    training: &Training,
    catalogue: &CatalogueSnapshot,
    seed: u64,
    progress: &mut dyn FnMut(Progress),
) -> std::result::Result<Tower, ModelError> {
    if settings.dimension < 2 {
        let (parameter, value, range) = ("dimension", settings.dimension as f64, "at least 2");
        return Err(ModelError::Parameter { model: TwoTower::NAME, parameter, value, range });
    }
    let training = training.clone().with_validation();
    let items = Items::new(&training, catalogue);
    if items.watched.len() > MAX_ITEMS {
        let found = items.watched.len();
        return Err(ModelError::TooManyItems { model: TwoTower::NAME, max: MAX_ITEMS, found });
    }
    let chunks = chunks(&training);
    if chunks.is_empty() || training.validation.is_empty() {
        let needed = "a history of two events, and another event to validate on";
        return Err(ModelError::NothingToLearn { model: TwoTower::NAME, needed });
    }
    let mut run = Run { settings, training: &training, items: &items, rng: StdRng::seed_from_u64(seed) };
    run.train(chunks, progress).map_err(|problem| ModelError::Numeric {
        model: TwoTower::NAME,
        operation: "training",
        source: problem.into(),
    })
}

fn chunks(training: &Training) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    for (history, visits) in training.histories.iter().enumerate() {
        for from in (1..visits.len()).step_by(CHUNK) {
            chunks.push(Chunk { history, from, to: visits.len().min(from + CHUNK) });
        }
    }
    chunks
}

impl Items {
    fn new(training: &Training, catalogue: &CatalogueSnapshot) -> Self {
        let known: HashSet<&str> = training.items.iter().map(String::as_str).collect();
        let others = catalogue.titles().iter().map(|title| &title.title_id).filter(|id| !known.contains(id.as_str()));
        let ids: Vec<String> = training.items.iter().chain(others).cloned().collect();
        let mut places = vec![None; ids.len()];
        let mut watched = Vec::new();
        for (item, count) in training.popularity().into_iter().enumerate() {
            if count > 0 {
                places[item] = Some(watched.len() as u32);
                watched.push(item as u32);
            }
        }
        let features = ids.iter().map(|id| catalogue.title(id).map(features).unwrap_or_default()).collect();
        Self { ids, places, features, watched }
    }

    /// The table's rows that make up an item's vector.
    fn row(&self, item: usize, with_id: bool) -> impl Iterator<Item = (u32, f32)> {
        let id = self.places[item].filter(|_| with_id).map(|place| (place, 1.0));
        let first = self.watched.len() as u32;
        id.into_iter().chain(self.features[item].iter().map(move |(place, value)| (first + place, *value)))
    }

    fn table_rows(&self) -> usize {
        self.watched.len() + FEATURES
    }
}

struct Run<'a> {
    settings: &'a Settings,
    training: &'a Training,
    items: &'a Items,
    rng: StdRng,
}

impl Run<'_> {
    fn train(&mut self, mut chunks: Vec<Chunk>, progress: &mut dyn FnMut(Progress)) -> Result<Tower> {
        let parameters = self.initial()?;
        let all = [&parameters.table, &parameters.direct, &parameters.hidden, &parameters.output];
        let steady = ParamsAdamW {
            lr: self.settings.learning_rate,
            weight_decay: self.settings.weight_decay,
            ..ParamsAdamW::default()
        };
        let mut optimizer = AdamW::new(all.into_iter().cloned().collect(), steady)?;
        let mut best = (self.tower(&parameters)?, f64::NEG_INFINITY, 0);
        for epoch in 1..=self.settings.max_epochs {
            chunks.shuffle(&mut self.rng);
            let (mut loss, mut positions) = (0.0, 0);
            for chunks in chunks.chunks(CHUNKS_PER_STEP) {
                if positions >= MAX_POSITIONS_PER_EPOCH {
                    break;
                }
                let targets: Arc<[u32]> = chunks.iter().flat_map(|chunk| self.targets(*chunk)).collect();
                positions += targets.len();
                let losses = self.losses(&parameters, chunks, Arc::clone(&targets))?;
                optimizer.backward_step(&losses.mean_all()?)?;
                loss += f64::from(losses.sum_all()?.to_scalar::<f32>()?);
            }
            let tower = self.tower(&parameters)?;
            let validation_ndcg = self.validate(&tower);
            let loss = loss / positions as f64;
            progress(Progress { epoch, max_epochs: self.settings.max_epochs, loss, validation_ndcg });
            if validation_ndcg > best.1 {
                best = (tower, validation_ndcg, epoch);
            } else if epoch - best.2 >= self.settings.patience {
                break;
            }
        }
        Ok(best.0)
    }

    /// Vectors are noise and the logarithm of an item's popularity; a viewer is the mean of the fast and the slow mean.
    fn initial(&mut self) -> Result<Parameters> {
        let (dimension, hidden, mixed) =
            (self.settings.dimension, self.settings.hidden, 2 * self.settings.dimension + 1);
        let mut table = self.noise(self.items.table_rows() * dimension, INITIAL_SPREAD);
        let popularity = self.training.popularity();
        let logs: Vec<f32> = self.items.watched.iter().map(|&item| (popularity[item as usize] as f32).ln()).collect();
        let mean = logs.iter().sum::<f32>() / logs.len() as f32;
        for (row, log) in table.chunks_exact_mut(dimension).zip(&logs) {
            row[dimension - 1] = log - mean;
        }
        let mut direct = vec![0.0; mixed * (dimension - 1)];
        for column in 0..dimension - 1 {
            for side in 0..2 {
                direct[(side * dimension + column) * (dimension - 1) + column] = 0.5;
            }
        }
        let spread = 1.0 / (mixed as f32).sqrt();
        let var =
            |numbers: Vec<f32>, rows: usize, columns: usize| Var::from_vec(numbers, (rows, columns), &Device::Cpu);
        Ok(Parameters {
            table: var(table, self.items.table_rows(), dimension)?,
            direct: var(direct, mixed, dimension - 1)?,
            hidden: var(self.noise(mixed * hidden, spread), mixed, hidden)?,
            output: var(vec![0.0; hidden * (dimension - 1)], hidden, dimension - 1)?,
        })
    }

    /// Evenly distributed numbers with this standard deviation.
    fn noise(&mut self, count: usize, spread: f32) -> Vec<f32> {
        let bound = spread * 3.0_f32.sqrt();
        (0..count).map(|_| self.rng.random_range(-bound..bound)).collect()
    }

    /// Places in the table of what a chunk asks for. Every item of a history was watched.
    fn targets(&self, chunk: Chunk) -> impl Iterator<Item = u32> {
        let visits = &self.training.histories[chunk.history][chunk.from..chunk.to];
        visits.iter().filter_map(|visit| self.items.places[visit.item as usize])
    }

    /// The loss of each target.
    fn losses(&mut self, parameters: &Parameters, chunks: &[Chunk], targets: Arc<[u32]>) -> Result<Tensor> {
        let watched = self.items.watched.len();
        let mut parts = Sparse::new(self.items.table_rows());
        for item in &self.items.watched {
            // An item without content is never without its id.
            let item = *item as usize;
            let with_id = self.items.features[item].is_empty() || self.rng.random::<f32>() >= self.settings.id_dropout;
            parts.push_row(self.items.row(item, with_id));
        }
        let vectors = sparse_product(parts, &parameters.table)?;
        let mut means = Sparse::new(watched);
        for chunk in chunks {
            for position in chunk.from..chunk.to {
                self.push_means(&mut means, chunk.history, position);
            }
        }
        let count = targets.len();
        let ones = Tensor::ones((count, 1), DType::F32, &Device::Cpu)?;
        let means = sparse_product(means, &vectors)?.reshape((count, 2 * self.settings.dimension))?;
        let mixed = Tensor::cat(&[&means, &ones], 1)?;
        let more = mixed.matmul(&parameters.hidden)?.relu()?.matmul(&parameters.output)?;
        let viewers = Tensor::cat(&[&(mixed.matmul(&parameters.direct)? + more)?, &ones], 1)?;
        softmax_loss(&viewers.matmul(&vectors.t()?)?, targets)
    }

    /// Two rows: the fast and the slow mean of what comes before a position, part of it left out at random.
    fn push_means(&mut self, means: &mut Sparse, history: usize, position: usize) {
        let before = &self.training.histories[history][position.saturating_sub(self.settings.window)..position];
        // The newest always stays: a mean of nothing would be no history at all.
        let kept: Vec<bool> = (0..before.len())
            .map(|age| age == 0 || self.rng.random::<f32>() >= self.settings.history_dropout)
            .collect();
        for decay in self.settings.decays {
            let weights = std::iter::successors(Some(1.0), |weight| Some(weight * decay));
            let newest_first = before.iter().rev().zip(weights).zip(&kept).filter(|(_, kept)| **kept);
            let row: Vec<(u32, f32)> = newest_first
                .filter_map(|((visit, weight), _)| Some((self.items.places[visit.item as usize]?, weight)))
                .collect();
            let sum: f32 = row.iter().map(|(_, weight)| weight).sum();
            means.push_row(row.into_iter().map(|(place, weight)| (place, weight / sum)));
        }
    }

    /// The model as it is now.
    fn tower(&self, parameters: &Parameters) -> Result<Tower> {
        let numbers = |var: &Var| var.as_tensor().flatten_all()?.to_vec1::<f32>();
        let dimension = self.settings.dimension;
        let table = numbers(&parameters.table)?;
        let mut parts = Sparse::new(self.items.table_rows());
        for item in 0..self.items.ids.len() {
            parts.push_row(self.items.row(item, true));
        }
        let weights = Weights {
            items: parts.times(&table, dimension),
            content: table[self.items.watched.len() * dimension..].to_vec(),
            direct: numbers(&parameters.direct)?,
            hidden: numbers(&parameters.hidden)?,
            output: numbers(&parameters.output)?,
        };
        let Settings { hidden, decays, window, .. } = *self.settings;
        Ok(Tower::new(self.items.ids.clone(), dimension, hidden, decays, window, weights))
    }

    /// NDCG@10 over the validation cases; one without a history or with scores that are no numbers counts as missed.
    fn validate(&self, tower: &Tower) -> f64 {
        let missed = self.items.ids.len();
        let ranks: Vec<usize> = self
            .training
            .validation
            .par_iter()
            .map(|case| {
                let newest_first = case.context.iter().rev().map(|visit| visit.item as usize);
                let Some(viewer) = tower.embed_rows(newest_first) else { return missed };
                let mut scores = vec![0.0; self.training.items.len()];
                tower.score(&viewer, &mut scores);
                rank(&scores, &case.context, case.target.item).map_or(missed, |ranked| ranked.rank)
            })
            .collect();
        Metrics::of(ranks).ndcg_at_10
    }
}
