//! `two-tower`: vectors for items and, from a history, for viewers; what to show is an inner product, so it serves from
//! a vector index. The parts are in `two_tower/`; this file is the model as the protocols see it.

use std::sync::Arc;

use marquee_catalogue::CatalogueSnapshot;
use marquee_evaluation::{FitError, Progress, Recommender, Training, Visit};

use crate::two_tower::{tower::Tower, training};
use crate::{Ingredients, ModelError};

/// The parameters. The defaults are the best of a few tries on the validation cases of MovieLens small: dimension 32 or
/// 64, learning rate 0.003 or 0.005, weight decay 0.05 or 0.5.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Length of the vectors. The last number of an item is its bias: that of a viewer is always 1.
    pub dimension: usize,
    /// Width of the viewer side's hidden layer.
    pub hidden: usize,
    /// A history is averaged twice: the weight of an item is the one or the other to the power of its age in positions.
    pub decays: [f32; 2],
    /// Only so many of the last items count.
    pub window: usize,
    /// Of `AdamW`.
    pub learning_rate: f64,
    /// Of `AdamW`.
    pub weight_decay: f64,
    /// In each step so large a share of the items shows only its content, so that content learns to stand alone.
    pub id_dropout: f32,
    /// In each step so large a share of every history is left out.
    pub history_dropout: f32,
    /// Most passes over the training data.
    pub max_epochs: u32,
    /// Stops after so many passes without a better validation NDCG, and returns to the best.
    pub patience: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dimension: 64,
            hidden: 64,
            decays: [0.5, 0.9],
            window: 50,
            learning_rate: 5e-3,
            weight_decay: 0.05,
            id_dropout: 0.1,
            history_dropout: 0.2,
            max_epochs: 12,
            patience: 3,
        }
    }
}

/// The model.
#[derive(Debug, Clone)]
pub struct TwoTower {
    settings: Settings,
    catalogue: Arc<CatalogueSnapshot>,
    seed: u64,
    fitted: Option<Tower>,
}

impl TwoTower {
    /// The model's name.
    pub const NAME: &str = "two-tower";

    /// Not yet fitted.
    pub fn new(settings: Settings, with: &Ingredients) -> Self {
        Self { settings, catalogue: Arc::clone(&with.catalogue), seed: with.seed, fitted: None }
    }

    /// Learns. Titles of the catalogue that nobody watched get a vector from their content. Without validation cases
    /// the last event of each history becomes one and is not trained on.
    ///
    /// # Errors
    /// [`ModelError::NothingToLearn`], [`ModelError::TooManyItems`], [`ModelError::Numeric`].
    pub fn learn(&mut self, training: &Training, progress: &mut dyn FnMut(Progress)) -> Result<(), ModelError> {
        self.fitted = Some(training::train(&self.settings, training, &self.catalogue, self.seed, progress)?);
        Ok(())
    }

    /// What was learnt; `None` before.
    pub fn tower(&self) -> Option<&Tower> {
        self.fitted.as_ref()
    }
}

impl Recommender for TwoTower {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fit(&mut self, training: &Training, progress: &mut dyn FnMut(Progress)) -> Result<(), FitError> {
        Ok(self.learn(training, progress)?)
    }

    fn score(&self, context: &[Visit], _at_ms: i64, scores: &mut [f32]) -> bool {
        // The tower numbers the training's items as the training does.
        let newest_first = context.iter().rev().map(|visit| visit.item as usize);
        let vector = self.fitted.as_ref().and_then(|tower| Some((tower, tower.embed_rows(newest_first)?)));
        let Some((tower, vector)) = vector else { return false };
        tower.score(&vector, scores);
        true
    }
}
