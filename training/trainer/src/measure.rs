//! How a new model does: the reports beside all baselines, and the paired comparison with what is in service.
//!
//! The one thing to know: a live model may have been trained on what the newest split asks. So it is asked only what
//! happened after its training; when too little has, its family is fitted anew on the candidate's training instead.

use std::collections::HashMap;

use marquee_definitions::Watched;
use marquee_evaluation::{
    Case, Evaluation, EvaluationError, Interactions, Progress, Protocol, Recommender, Split, Training, Visit, gains,
};
use marquee_events::Clock;
use marquee_models::{Ingredients, LinearTransition, Tower, TwoTower, all};
use marquee_retrieval::{TowerInput, UserTower as _};

use crate::evaluate::build;
use crate::gate::{Against, Comparison, Measured};
use crate::load::Fitted;
use crate::{Entry, Registry, TrainerError};

/// Fewer questions than this say nothing about a mean.
const MIN_CASES: usize = 30;

/// The families that every report holds, whatever is trained: all that need no embedding.
fn baselines() -> impl Iterator<Item = &'static str> {
    all().into_iter().map(|model| model.name).filter(|name| *name != TwoTower::NAME)
}

/// What measuring a model brought.
pub(crate) struct Measurement {
    /// One a protocol; where there is nothing to test it says so.
    pub(crate) reports: Vec<serde_json::Value>,
    /// `None` when nothing is in service or there is nothing to compare on.
    pub(crate) against: Option<Against>,
}

/// Measures the family `name` on all protocols, beside the baselines and the live model.
pub(crate) fn measure(
    registry: &Registry,
    name: &str,
    with: &Ingredients,
    interactions: &Interactions,
    clock: &dyn Clock,
    progress: &mut dyn FnMut(Protocol, &str, Progress),
) -> Result<Measurement, TrainerError> {
    let live = match registry.current_version()? {
        Some(version) => Some(registry.entry(&version)?),
        None => None,
    };
    let mut names: Vec<&str> = baselines().collect();
    for other in [Some(name), live.as_ref().map(|live| live.model.as_str())].into_iter().flatten() {
        if !names.contains(&other) {
            names.push(other);
        }
    }
    let (mut reports, mut against) = (Vec::new(), None);
    for protocol in Protocol::ALL {
        let evaluation = Evaluation::published(protocol);
        let mut models = build(names.iter().copied(), with)?;
        let mut heard = |model: &str, step: Progress| progress(protocol, model, step);
        let report = match evaluation.run(interactions, &mut models, clock, &mut heard) {
            Ok(report) => serde_json::to_value(report).expect("a report is plain JSON"),
            Err(error @ EvaluationError::NothingToTest { .. }) => {
                reports.push(serde_json::json!({"protocol": protocol.name(), "nothing_to_test": error.to_string()}));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        reports.push(report);
        if let (Protocol::TimeSplit, Some(live)) = (protocol, &live) {
            let kept = interactions.with_events_per_item(evaluation.min_events_per_item);
            let question = Question { kept: &kept, split: protocol.split(&kept)?, with, models: &models };
            let mut heard = |step: Progress| progress(protocol, name, step);
            against = Some(question.compare(registry, name, live, &mut heard)?);
        }
    }
    Ok(Measurement { reports, against })
}

/// The newest split, and the models that the report has left fitted on its training.
struct Question<'a> {
    kept: &'a Interactions,
    split: Split,
    with: &'a Ingredients,
    models: &'a [Box<dyn Recommender>],
}

impl Question<'_> {
    fn compare(
        self,
        registry: &Registry,
        name: &str,
        live: &Entry,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Against, TrainerError> {
        // Every split has a test at its very first instant.
        let split_at_ms = self.split.cases.iter().map(|case| case.target.at_ms).min().unwrap_or(i64::MAX);
        let after_live_ms = live.lineage.trained_through_ms.saturating_add(1);
        let newer = (after_live_ms > split_at_ms).then(|| Split::at(self.kept, after_live_ms));
        let split = newer.as_ref().unwrap_or(&self.split);
        let (measured, comparison) = match Fitted::read(&registry.folder().join(&live.version), live) {
            Ok(artefact) if split.cases.len() >= MIN_CASES => {
                let refitted;
                let candidate = if newer.is_some() {
                    let mut models = build([name], self.with)?;
                    for model in &mut models {
                        let fitted = model.fit(&split.training, progress);
                        fitted.map_err(|source| EvaluationError::Fit { model: model.name(), source })?;
                    }
                    refitted = models;
                    named(&refitted, name)
                } else {
                    named(self.models, name)
                };
                let candidate = gains_of(split, candidate)?;
                let artefact = Artefact::new(&artefact, &split.training);
                let score = |case: &Case, scores: &mut [f32]| artefact.score(&live.model, case, scores);
                (Measured::Artefact, Comparison::of(&candidate, &gains(split, "the live model", score)?))
            }
            read => {
                if let Err(error) = read {
                    tracing::warn!(%error, version = live.version, "the live model cannot be measured as it is");
                }
                let (candidate, live) = (named(self.models, name), named(self.models, &live.model));
                (Measured::Recipe, Comparison::of(&gains_of(&self.split, candidate)?, &gains_of(&self.split, live)?))
            }
        };
        Ok(Against { version: live.version.clone(), measured, comparison })
    }
}

fn named<'a>(models: &'a [Box<dyn Recommender>], name: &str) -> &'a dyn Recommender {
    models.iter().find(|model| model.name() == name).expect("it was built by this name").as_ref()
}

/// NDCG@10 of each question.
fn gains_of(split: &Split, model: &dyn Recommender) -> Result<Vec<f64>, EvaluationError> {
    gains(split, model.name(), |case, scores| model.score(&case.context, case.target.at_ms, scores))
}

/// What is in service, asked about the items of a training.
struct Artefact<'a> {
    fitted: &'a Fitted,
    training: &'a Training,
    numbers: HashMap<&'a str, u32>,
}

impl<'a> Artefact<'a> {
    fn new(fitted: &'a Fitted, training: &'a Training) -> Self {
        Self { fitted, training, numbers: training.numbers() }
    }

    /// Scores as serving does: what the model does not know comes last.
    fn score(&self, model: &str, case: &Case, scores: &mut [f32]) -> bool {
        match (&self.fitted.tower, model) {
            (Some(tower), _) => self.score_by_vectors(tower, case, scores),
            (None, LinearTransition::NAME) => self.score_by_neighbours(case, scores),
            (None, _) => self.score_by_popularity(scores),
        }
    }

    fn score_by_vectors(&self, tower: &Tower, case: &Case, scores: &mut [f32]) -> bool {
        let watched = |visit: &Visit| Watched {
            title_id: self.training.items[visit.item as usize].clone(),
            at_ms: visit.at_ms,
            watched_fraction: 1.0,
        };
        let history: Vec<Watched> = case.context.iter().map(watched).collect();
        let Some(viewer) = tower.embed(&TowerInput { history: &history, at_ms: case.target.at_ms }) else {
            return false;
        };
        for (score, item) in scores.iter_mut().zip(&self.training.items) {
            let vector = tower.item_vector(item);
            *score = vector.map_or(f32::NEG_INFINITY, |vector| vector.iter().zip(&viewer).map(|(a, b)| a * b).sum());
        }
        true
    }

    fn score_by_neighbours(&self, case: &Case, scores: &mut [f32]) -> bool {
        let neighbours = &self.fitted.neighbours;
        let lists = case
            .context
            .iter()
            .rev()
            .filter_map(|visit| neighbours.lists.get(&self.training.items[visit.item as usize]));
        let mut weight = 1.0_f32;
        let mut known = false;
        for list in lists.take(neighbours.window) {
            known = true;
            for (next, strength) in list {
                if let Some(&item) = self.numbers.get(next.as_str()) {
                    scores[item as usize] += weight * strength;
                }
            }
            weight *= neighbours.decay;
        }
        known
    }

    fn score_by_popularity(&self, scores: &mut [f32]) -> bool {
        scores.fill(f32::NEG_INFINITY);
        for (title, score) in &self.fitted.popular {
            if let Some(&item) = self.numbers.get(title.as_str()) {
                scores[item as usize] = *score;
            }
        }
        true
    }
}
