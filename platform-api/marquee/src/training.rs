//! Training as the commands and the demo need it: the lake's files at one version in, an entry of the registry out.

use std::collections::BTreeMap;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use marquee_catalogue::Catalogue;
use marquee_evaluation::Progress;
use marquee_events::Clock;
use marquee_lake::tables;
use marquee_lake_delta::DeltaLake;
use marquee_trainer::{
    Demand, Entry, LakeFiles, Published, Registry, Step, TrainRequest, TrainerError, TrainingSet, train,
};

use crate::failure::Failure;
use crate::home::Home;

/// What to train, apart from the data.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) model: String,
    pub(crate) seed: u64,
}

impl Wanted {
    /// What the demo serves: the same model whenever it is trained on the same data.
    pub(crate) fn demo() -> Self {
        Self { model: "two-tower".to_owned(), seed: 1 }
    }
}

/// Whether a model is in service.
pub(crate) fn has_model(home: &Home) -> Result<bool, Failure> {
    Ok(Registry::open(&home.models())?.current_version()?.is_some())
}

/// Trains on the newest version of the lake. Blocks for as long as it takes, so it runs on a thread of its own.
pub(crate) fn train_on_lake(
    handle: &tokio::runtime::Handle,
    home: &Home,
    lake: &DeltaLake,
    catalogue: &dyn Catalogue,
    wanted: &Wanted,
    clock: &dyn Clock,
    bar: &ProgressBar,
) -> Result<Entry, Failure> {
    let request = read_lake(handle, lake, catalogue, wanted, bar)?;
    train_on(home, &request, clock, bar)
}

/// What there is to learn in the newest version of the lake.
pub(crate) fn read_lake(
    handle: &tokio::runtime::Handle,
    lake: &DeltaLake,
    catalogue: &dyn Catalogue,
    wanted: &Wanted,
    bar: &ProgressBar,
) -> Result<TrainRequest, Failure> {
    let (interactions_version, interactions) = handle.block_on(lake.files(&tables::INTERACTIONS))?;
    let (features_version, profile_features) = handle.block_on(lake.files(&tables::PROFILE_FEATURES))?;
    bar.set_message("joining features to examples");
    let set = TrainingSet::build(&LakeFiles { interactions, profile_features })?;
    Ok(TrainRequest {
        model: wanted.model.clone(),
        seed: wanted.seed,
        watches: set.watches()?,
        catalogue: Arc::new(handle.block_on(catalogue.snapshot())?),
        tables: BTreeMap::from([
            (tables::INTERACTIONS.name.to_owned(), interactions_version as i64),
            (tables::PROFILE_FEATURES.name.to_owned(), features_version as i64),
        ]),
        code_version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// Trains on what was read.
pub(crate) fn train_on(
    home: &Home,
    request: &TrainRequest,
    clock: &dyn Clock,
    bar: &ProgressBar,
) -> Result<Entry, Failure> {
    let registry = Registry::open(&home.models())?;
    Ok(train(&registry, request, clock, &mut |step| show(bar, step))?)
}

/// Puts a version in service.
pub(crate) fn publish(home: &Home, version: &str, force: bool, now_ms: i64) -> Result<Published, TrainerError> {
    let demand = if force { Demand::Forced } else { Demand::GoodEnough };
    Registry::open(&home.models())?.publish(version, demand, now_ms)
}

/// A bar for training: its length comes with the first step.
pub(crate) fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:40} {wide_bar} {pos}/{len} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

fn show(bar: &ProgressBar, step: Step<'_>) {
    match step {
        Step::Measuring { protocol, model, progress } => {
            bar.set_message(format!("measuring {model}, {protocol:?}"));
            advance(bar, progress);
        }
        Step::Fitting { progress } => {
            bar.set_message("fitting on everything");
            if let Some(progress) = progress {
                advance(bar, progress);
            }
        }
        Step::Writing => bar.set_message("writing"),
    }
}

/// Shows how far a model is on a bar whose message is set.
pub(crate) fn advance(bar: &ProgressBar, progress: Progress) {
    bar.set_length(u64::from(progress.max_epochs));
    bar.set_position(u64::from(progress.epoch));
}
