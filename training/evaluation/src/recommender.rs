//! What a model is to the protocols. Everything that a model may know comes through these three methods.

use crate::{Training, Visit};

/// Why a model could not be fitted: the error of the crate that has the model.
pub type FitError = Box<dyn std::error::Error + Send + Sync>;

/// How far fitting is. Models in closed form report nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Of the passes over the training data that are done, from 1.
    pub epoch: u32,
    /// At most so many will be needed.
    pub max_epochs: u32,
    /// Mean loss of this pass (nats).
    pub loss: f64,
    /// On the validation cases, after this pass.
    pub validation_ndcg: f64,
}

/// A model that ranks all items after a context. Object-safe.
pub trait Recommender: Send + Sync {
    /// As written on the command line and in reports.
    fn name(&self) -> &'static str;

    /// Learns; a second call begins anew. The same training gives the same model.
    ///
    /// # Errors
    /// What the model cannot do.
    fn fit(&mut self, training: &Training, progress: &mut dyn FnMut(Progress)) -> Result<(), FitError>;

    /// Scores every item of the training (`scores` has one place for each, all 0) after a context, for an instant (ms
    /// since the epoch); higher is better. False when the model knows nothing of this context: the caller falls back.
    fn score(&self, context: &[Visit], at_ms: i64, scores: &mut [f32]) -> bool;
}
