//! `marquee evaluate`: models compared on a file of interactions, without lake, catalogue or registry.

use std::path::Path;
use std::sync::Arc;

use marquee_catalogue::CatalogueSnapshot;
use marquee_evaluation::{Evaluation, Interactions, Progress, Protocol, Recommender, Report};
use marquee_events::Clock;
use marquee_models::Ingredients;

use crate::{TrainerError, Watch, read_interactions};

/// Compares models, each by its name, as the published figures are made. `catalogue` gives models the content of titles
/// and may be empty; `seed` decides everything that is random.
///
/// # Errors
/// [`TrainerError::Read`] and [`TrainerError::Input`] for the file, [`TrainerError::Model`] for an unknown name,
/// [`TrainerError::Evaluation`] when there is nothing to test or a model fails.
pub fn evaluate(
    interactions: &Path,
    protocol: Protocol,
    models: &[String],
    catalogue: &Arc<CatalogueSnapshot>,
    seed: u64,
    clock: &dyn Clock,
    progress: &mut dyn FnMut(&str, Progress),
) -> Result<Report, TrainerError> {
    let with = Ingredients { catalogue: Arc::clone(catalogue), seed };
    let mut built = build(models.iter().map(String::as_str), &with)?;
    let interactions = numbered(&read_interactions(interactions)?);
    Ok(Evaluation::published(protocol).run(&interactions, &mut built, clock, progress)?)
}

/// Models that are not yet fitted.
pub(crate) fn build<'a>(
    names: impl IntoIterator<Item = &'a str>,
    with: &Ingredients,
) -> Result<Vec<Box<dyn Recommender>>, TrainerError> {
    names.into_iter().map(|name| Ok((marquee_models::by_name(name)?.build)(with))).collect()
}

/// What was watched, as the protocols take it.
pub fn numbered(watches: &[Watch]) -> Interactions {
    Interactions::from_rows(
        watches.iter().map(|watch| (watch.profile_id.as_str(), watch.title_id.as_str(), watch.at_ms)),
    )
}
