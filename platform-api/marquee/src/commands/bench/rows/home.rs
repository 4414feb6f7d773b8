//! Fills the home: catalogue, online features, a trained model in service.

use std::collections::BTreeMap;
use std::sync::Arc;

use indicatif::ProgressBar;
use marquee_catalogue::{Catalogue as _, CatalogueSnapshot};
use marquee_definitions::{Changed, FeatureFold, OnlineBatch, OnlineError, OnlineStore, Signal, SignalKind};
use marquee_events::Clock;
use marquee_trainer::{TrainRequest, Watch};

use super::world::World;
use crate::failure::Failure;
use crate::home::Home;
use crate::recommend::Recommend;
use crate::settings::Settings;
use crate::training::{self, Wanted};

/// Profiles or titles in one write to the online store, as the features jobs write them.
const ONLINE_BATCH: usize = 500;

/// What titles are watched with is counted for the first so many profiles only, because each view counts for all
/// neighbours in its history: popular titles have all of their 200 neighbours by then.
const CO_WATCH_PROFILES: usize = 10_000;

/// The model learns from the histories of so many profiles: training in half a minute. Titles that none of them has
/// watched get their vectors from their content, so that the index has all.
const TRAINED_PROFILES: usize = 500;

/// Puts titles and profiles into the catalogue, and what follows from the histories into the online store: in as many
/// parts as the topic of interactions has partitions, as the features jobs would.
pub(super) fn fill(
    handle: &tokio::runtime::Handle,
    recommend: &Recommend,
    world: &World,
    partitions: u32,
) -> Result<(), Failure> {
    eprintln!("catalogue  {} titles, {} profiles", world.titles.len(), world.profiles.len());
    let stores = &recommend.stores;
    handle.block_on(stores.catalogue.put_titles(world.titles.clone()))?;
    handle.block_on(stores.catalogue.put_profiles(world.profiles.clone()))?;
    let bar = ProgressBar::new(world.profiles.len() as u64).with_message("features");
    let filled = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..partitions as usize)
            .map(|part| {
                let bar = &bar;
                scope.spawn(move || fill_part(world, stores.online.as_ref(), part, partitions as usize, bar))
            })
            .collect();
        parts.into_iter().try_for_each(|part| {
            part.join()
                .map_err(|_| Failure::internal("filling the online store ended unexpectedly"))?
                .map_err(Failure::from)
        })
    });
    bar.finish_and_clear();
    filled
}

fn fill_part(
    world: &World,
    online: &dyn OnlineStore,
    part: usize,
    parts: usize,
    bar: &ProgressBar,
) -> Result<(), OnlineError> {
    let shard = format!("features/bench-history/{part}");
    let mut fold = FeatureFold::default();
    for number in (part..world.profiles.len()).step_by(parts) {
        take_in(&mut fold, world, number);
        bar.inc(1);
        if fold.profiles.len() >= ONLINE_BATCH {
            let profiles = std::mem::take(&mut fold.profiles).into_iter().collect();
            online.write(&OnlineBatch { shard: shard.clone(), profiles, titles: Vec::new() })?;
        }
    }
    let FeatureFold { profiles, titles } = fold;
    let mut titles = titles.into_iter();
    let mut profiles = profiles.into_iter().collect::<Vec<_>>();
    loop {
        let titles: Vec<_> = titles.by_ref().take(ONLINE_BATCH).collect();
        if profiles.is_empty() && titles.is_empty() {
            return Ok(());
        }
        online.write(&OnlineBatch { shard: shard.clone(), profiles: std::mem::take(&mut profiles), titles })?;
    }
}

/// Takes a history in as the jobs take in a finished view without a session: start and end at one instant.
fn take_in(fold: &mut FeatureFold, world: &World, number: usize) {
    let profile_id = &world.profiles[number].profile_id;
    for view in world.history(number) {
        let title = &world.titles[view.title];
        let finished = SignalKind::ViewFinished { watched_fraction: view.watched_fraction };
        for kind in [SignalKind::ViewStarted, finished] {
            let signal = Signal {
                profile_id,
                title_id: &title.title_id,
                genres: &title.genres,
                kind,
                event_time_ms: view.at_ms,
                available_ms: view.at_ms,
            };
            if number < CO_WATCH_PROFILES {
                fold.apply(&signal, &mut Changed::default());
            } else {
                fold.profiles.entry(profile_id.clone()).or_default().update(&signal);
                fold.titles.entry(title.title_id.clone()).or_default().update(&signal);
            }
        }
    }
}

/// Trains the demo's family on some of the histories and puts it in service; its version.
pub(super) fn train_and_publish(
    handle: &tokio::runtime::Handle,
    recommend: &Recommend,
    settings: &Settings,
    world: &World,
    clock: &dyn Clock,
) -> Result<String, Failure> {
    let Wanted { model, seed } = Wanted::demo();
    eprintln!("model      {model}, trained on {} profiles", TRAINED_PROFILES.min(world.profiles.len()));
    let catalogue: Arc<CatalogueSnapshot> = Arc::new(handle.block_on(recommend.stores.catalogue.snapshot())?);
    let profiles = 0..TRAINED_PROFILES.min(world.profiles.len());
    let watches = profiles.flat_map(|number| {
        world.history(number).into_iter().map(move |view| Watch {
            profile_id: world.profiles[number].profile_id.clone(),
            title_id: world.titles[view.title].title_id.clone(),
            at_ms: view.at_ms,
            watched_fraction: Some(view.watched_fraction),
        })
    });
    let request = TrainRequest {
        model,
        seed,
        watches: watches.collect(),
        catalogue,
        tables: BTreeMap::new(),
        code_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let home = Home::new(&settings.home)?;
    let bar = training::progress_bar();
    let trained = training::train_on(&home, &request, clock, &bar);
    bar.finish_and_clear();
    let entry = trained?;
    training::publish(&home, &entry.version, false, clock.now_ms())?;
    Ok(entry.version)
}
