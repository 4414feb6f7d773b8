//! How far the model is from the best that there is: a simulated viewer's true tastes, asked the questions of
//! leave-one-out like any model. Only a simulated world knows them.

use std::collections::{BTreeMap, HashMap, HashSet};

use marquee_evaluation::{Case, EvaluationError, Interactions, MIN_EVENTS_PER_ITEM, Protocol, Split, gains};
use marquee_models::{Ingredients, by_name, popular_all_time};
use marquee_sources::audience::World;
use marquee_trainer::{Comparison, TrainRequest, TrainerError, Watch, numbered};
use serde::Serialize;

/// What the true tastes are called beside the models.
const NAME: &str = "true-taste";

/// The model between popularity and the true tastes, on the world's viewers.
#[derive(Serialize)]
pub(super) struct TrueTaste {
    protocol: Protocol,
    /// Questions: one for each viewer.
    pub(super) cases: usize,
    /// The mean over the questions: popularity, the model, the true tastes.
    #[serde(rename = "ndcg@10")]
    ndcg_at_10: BTreeMap<&'static str, f64>,
    /// What the model is above all-time popularity.
    pub(super) lead: f64,
    /// Of the mean difference, question by question.
    pub(super) lead_standard_error: f64,
    /// What the true tastes are above the model.
    pub(super) gap: f64,
    /// Of the mean difference, question by question.
    pub(super) gap_standard_error: f64,
}

impl TrueTaste {
    /// NDCG@10 of popularity, the model and the true tastes, each with its name, worst first.
    pub(super) fn by_quality(&self) -> Vec<(&'static str, f64)> {
        let mut found: Vec<_> = self.ndcg_at_10.iter().map(|(name, value)| (*name, *value)).collect();
        found.sort_by(|a, b| a.1.total_cmp(&b.1));
        found
    }

    /// Asks popularity, the model of the request and the world the same questions. Both models are fitted anew on the
    /// protocol's training, as for the model's report: what is in service has seen the answers.
    pub(super) fn measure(world: &World, request: &TrainRequest) -> Result<Self, TrainerError> {
        let viewers: HashSet<&str> = world.profiles().iter().map(|profile| profile.profile_id.as_str()).collect();
        // A home may have imports beside its world: nobody knows the tastes behind those.
        let of_world = request.watches.iter().filter(|watch| viewers.contains(watch.profile_id.as_str()));
        let watches: Vec<Watch> = of_world.cloned().collect();
        let interactions = numbered(&watches).with_events_per_item(MIN_EVENTS_PER_ITEM);
        let protocol = Protocol::LeaveOneOut;
        let split = protocol.split(&interactions)?;
        let with = Ingredients { catalogue: request.catalogue.clone(), seed: request.seed };
        let (popular_name, popular) = fitted_gains(popular_all_time::NAME, &with, &split)?;
        let (model_name, model) = fitted_gains(&request.model, &with, &split)?;
        let truth = true_gains(world, &interactions, &split)?;
        let (lead, gap) = (Comparison::of(&model, &popular), Comparison::of(&truth, &model));
        Ok(Self {
            protocol,
            cases: split.cases.len(),
            ndcg_at_10: [(popular_name, lead.live), (model_name, lead.candidate), (NAME, gap.candidate)].into(),
            lead: lead.candidate - lead.live,
            lead_standard_error: lead.standard_error,
            gap: gap.candidate - gap.live,
            gap_standard_error: gap.standard_error,
        })
    }
}

fn fitted_gains(name: &str, with: &Ingredients, split: &Split) -> Result<(&'static str, Vec<f64>), TrainerError> {
    let mut model = (by_name(name)?.build)(with);
    let name = model.name();
    model.fit(&split.training, &mut |_| ()).map_err(|source| EvaluationError::Fit { model: name, source })?;
    Ok((name, gains(split, name, |case, scores| model.score(&case.context, case.target.at_ms, scores))?))
}

/// Each item scores by its place in the world's own ranking, in which nothing that the viewer may not see comes early.
fn true_gains(world: &World, interactions: &Interactions, split: &Split) -> Result<Vec<f64>, TrainerError> {
    let items: Vec<&str> = split.training.items.iter().map(String::as_str).collect();
    let numbers: HashMap<&str, u32> = split.training.numbers();
    let score = |case: &Case, scores: &mut [f32]| {
        let viewer = &interactions.users()[case.user as usize];
        for (place, title) in world.true_ranking(viewer, &items, case.target.at_ms).into_iter().enumerate() {
            scores[numbers[title] as usize] = -(place as f32);
        }
        true
    };
    Ok(gains(split, NAME, score)?)
}
