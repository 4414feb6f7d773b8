//! Training: measured first, then fitted on everything, then written to the registry. Publishing is another step.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use marquee_catalogue::CatalogueSnapshot;
use marquee_evaluation::{Progress, Protocol, Recommender as _, Training};
use marquee_events::Clock;
use marquee_models::{
    Ingredients, LinearTransition, ModelError, Parameters, Popular, Settings, TwoTower, by_name, popular_7d,
    popular_all_time, popular_decayed,
};
use marquee_retrieval::NeighbourLists;
use serde_json::json;

use crate::entry::EntryParts;
use crate::evaluate::numbered;
use crate::load::Fitted;
use crate::measure::{Measurement, measure};
use crate::{Entry, Lineage, Recipe, Registry, TrainerError, Watch};

/// Titles of the popular list: several pages, so that filters leave enough.
const POPULAR_TITLES: usize = 1_000;

/// What to train, and on what.
#[derive(Debug, Clone)]
pub struct TrainRequest {
    /// The family, such as `two-tower`.
    pub model: String,
    /// Decides everything that is random.
    pub seed: u64,
    /// What was watched: [`TrainingSet::watches`](crate::TrainingSet::watches).
    pub watches: Vec<Watch>,
    /// Content of the titles and for whom they are; titles that are not in it are learnt from but never shown.
    pub catalogue: Arc<CatalogueSnapshot>,
    /// The lake's tables and the version of each that the watches are from.
    pub tables: BTreeMap<String, i64>,
    /// Version of the program.
    pub code_version: String,
}

/// Where training is. Callers show it; nothing here prints.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step<'a> {
    /// A model is being fitted on the training of a protocol, to be measured.
    Measuring {
        /// The protocol.
        protocol: Protocol,
        /// The model.
        model: &'a str,
        /// How far it is.
        progress: Progress,
    },
    /// The model is being fitted on everything; `None` when it begins.
    Fitting {
        /// How far it is.
        progress: Option<Progress>,
    },
    /// The entry is being written.
    Writing,
}

/// Trains a model and adds it to the registry.
///
/// # Errors
/// [`TrainerError::Model`] for an unknown family, or when it cannot learn from so little; [`TrainerError::TooLittle`]
/// without any watch; [`TrainerError::Busy`] while another process writes; otherwise the failure.
pub fn train(
    registry: &Registry,
    request: &TrainRequest,
    clock: &dyn Clock,
    progress: &mut dyn FnMut(Step<'_>),
) -> Result<Entry, TrainerError> {
    let family = by_name(&request.model)?.name;
    let interactions = numbered(&request.watches);
    let training = Training::whole(&interactions);
    let Some(trained_through_ms) = training.through_ms() else {
        return Err(TrainerError::TooLittle("nobody has watched anything".to_owned()));
    };
    let with = Ingredients { catalogue: Arc::clone(&request.catalogue), seed: request.seed };
    let Measurement { reports, against } =
        measure(registry, family, &with, &interactions, clock, &mut |protocol, model, progress_of| {
            progress(Step::Measuring { protocol, model, progress: progress_of });
        })?;
    progress(Step::Fitting { progress: None });
    let fitted = fit(family, &with, &training, &mut |step| progress(Step::Fitting { progress: Some(step) }))?;
    progress(Step::Writing);
    let profiles: HashSet<&str> = request.watches.iter().map(|watch| watch.profile_id.as_str()).collect();
    let parts = EntryParts {
        model: family.to_owned(),
        recipe: Recipe { parameters: parameters(), seed: request.seed, code_version: request.code_version.clone() },
        lineage: Lineage {
            tables: request.tables.clone(),
            catalogue_version: request.catalogue.version(),
            events: training.events(),
            profiles: profiles.len(),
            titles: training.items.len(),
            trained_through_ms,
        },
        reports,
        against,
    };
    registry.add(parts, clock.now_ms(), |folder| fitted.write(folder, &request.catalogue))
}

/// Fits everything that serves. Whatever the family, an entry has a popular list to fall back on, and neighbour lists
/// for the rows that are made of them.
fn fit(
    family: &str,
    with: &Ingredients,
    training: &Training,
    progress: &mut dyn FnMut(Progress),
) -> Result<Fitted, TrainerError> {
    let mut linear = LinearTransition::default();
    let neighbours = match linear.learn(training) {
        Ok(()) => linear.neighbours(&training.items),
        // Another family may well learn from histories of one event each.
        Err(ModelError::NothingToLearn { .. }) if family != LinearTransition::NAME => NeighbourLists::default(),
        Err(error) => return Err(error.into()),
    };
    let tower = if family == TwoTower::NAME {
        let mut model = TwoTower::new(Settings::default(), with);
        model.learn(training, progress)?;
        model.tower().cloned()
    } else {
        None
    };
    Ok(Fitted { tower, neighbours, popular: popular(family, training)? })
}

/// The family's own ranking if it is one of popularity, else the one that forgets.
fn popular(family: &str, training: &Training) -> Result<Vec<(String, f32)>, TrainerError> {
    let mut model: Popular = match family {
        popular_all_time::NAME => popular_all_time::model(),
        popular_7d::NAME => popular_7d::model(),
        _ => popular_decayed::model(),
    };
    let failed = |source| marquee_evaluation::EvaluationError::Fit { model: popular_decayed::NAME, source };
    model.fit(training, &mut |_| ()).map_err(failed)?;
    let watched = training.popularity().into_iter().filter(|count| *count > 0).count();
    Ok(model.ranking(training, watched.min(POPULAR_TITLES)))
}

/// The parameters that [`fit`] and the reports use: the defaults of this version of the program.
fn parameters() -> serde_json::Value {
    let Parameters { decay, window, ridge, neighbours } = Parameters::default();
    let linear = json!({
        "decay": decay, "window": window, "ridge": format!("{ridge:?}"), "neighbours": neighbours,
        "served_neighbours": LinearTransition::NEIGHBOURS,
    });
    let Settings {
        dimension,
        hidden,
        decays,
        window,
        learning_rate,
        weight_decay,
        id_dropout,
        history_dropout,
        max_epochs,
        patience,
    } = Settings::default();
    let two_tower = json!({
        "dimension": dimension, "hidden": hidden, "decays": decays, "window": window, "learning_rate": learning_rate,
        "weight_decay": weight_decay, "id_dropout": id_dropout, "history_dropout": history_dropout,
        "max_epochs": max_epochs, "patience": patience,
    });
    json!({ LinearTransition::NAME: linear, TwoTower::NAME: two_tower })
}

#[cfg(test)]
mod tests;
