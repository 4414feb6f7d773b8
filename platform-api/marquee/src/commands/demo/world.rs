//! The demo's world: titles and profiles for the catalogue, four weeks of history through the collector, and the first
//! model, trained beside the running services. A home keeps its world: a second start finds everything as it was.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use indicatif::ProgressBar;
use marquee_catalogue::{Catalogue as _, Maturity, Profile, Regions, Title};
use marquee_events::{Clock as _, SystemClock};
use marquee_sources::audience::{Memory, World, WorldProfile, WorldSettings, WorldTitle};
use serde::{Deserialize, Serialize};

use crate::commands::import::send_interactions;
use crate::failure::Failure;
use crate::home::Home;
use crate::services::Services;
use crate::settings::Settings;
use crate::training::{self, Wanted};

/// How much past the viewers have (days).
const HISTORY_DAYS: u32 = 28;

/// Written into the home when its world is made.
const FILE: &str = "demo-world.json";

/// What makes a world: the same values make the same one.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Origin {
    seed: u64,
    as_of_ms: i64,
    titles: u32,
    viewers: u32,
}

/// The first profile of every world.
pub(super) const FIRST_PROFILE: &str = "p-0001";

/// A world for one round: its model is trained in seconds.
pub(super) fn small(as_of_ms: i64) -> WorldSettings {
    WorldSettings { titles: 400, viewers: 300, as_of_ms }
}

/// The viewers and what they remember.
pub(super) struct DemoWorld {
    pub(super) world: Arc<World>,
    pub(super) memories: Vec<Memory>,
}

/// Makes the home's world, or finds it; its titles, profiles and history are in the lake afterwards.
pub(super) fn prepare(
    runtime: &tokio::runtime::Runtime,
    services: &Services,
    settings: &Settings,
    size: &WorldSettings,
    seed: u64,
) -> Result<DemoWorld, Failure> {
    let new = Origin { seed, as_of_ms: size.as_of_ms, titles: size.titles, viewers: size.viewers };
    let Origin { seed, as_of_ms, titles, viewers } = origin(&Home::new(&settings.home)?, new)?;
    let world = World::new(WorldSettings { titles, viewers, as_of_ms }, seed)?;
    if let Some(recommend) = &services.recommend {
        let catalogue = &recommend.stores.catalogue;
        runtime.block_on(catalogue.put_titles(world.titles().iter().map(title).collect()))?;
        runtime.block_on(catalogue.put_profiles(world.profiles().iter().map(profile).collect()))?;
    }
    let history = world.history(HISTORY_DAYS, seed);
    let folder = tempfile::tempdir().map_err(|e| Failure::unavailable(format!("no folder for the history: {e}")))?;
    let file = folder.path().join("history.csv");
    write_history(&history, &file)?;
    // The ledger makes the second time a no-op.
    runtime.block_on(send_interactions(file, services.url()))?;
    if let Some(recommend) = &services.recommend {
        runtime.block_on(crate::recommend::read_import_end(&services.lake, &recommend.status))?;
    }
    Ok(DemoWorld { world: Arc::new(world), memories: history.into_memories() })
}

/// Trains and publishes the first model on a thread of its own, if there is none: pages are popular titles until then.
pub(super) fn train_beside(
    runtime: &tokio::runtime::Runtime,
    services: &Services,
    settings: &Settings,
    clock: Arc<SystemClock>,
) -> Result<Option<std::thread::JoinHandle<()>>, Failure> {
    let Some(recommend) = services.recommend.as_ref() else { return Ok(None) };
    let home = Home::new(&settings.home)?;
    if training::has_model(&home)? {
        return Ok(None);
    }
    eprintln!("model      is being trained: pages show popular titles until it is there");
    let (handle, lake, catalogue) =
        (runtime.handle().clone(), services.lake.clone(), recommend.stores.catalogue.clone());
    let run = move || {
        let wanted = Wanted::demo();
        let bar = ProgressBar::hidden();
        let trained = training::train_on_lake(&handle, &home, &lake, catalogue.as_ref(), &wanted, clock.as_ref(), &bar);
        let published = trained.and_then(|entry| {
            training::publish(&home, &entry.version, false, clock.now_ms())?;
            Ok(entry.version)
        });
        match published {
            Ok(version) => eprintln!("\nmodel      {version} is in service"),
            Err(failure) => eprintln!("\nmodel      none: {failure}"),
        }
    };
    let thread = std::thread::Builder::new().name("training".to_owned()).spawn(run);
    thread.map(Some).map_err(|e| Failure::unavailable(format!("cannot start a thread: {e}")))
}

fn origin(home: &Home, new: Origin) -> Result<Origin, Failure> {
    let path = home.root().join(FILE);
    let broken = |problem: String| {
        Failure::settings(format!("{} {problem}; remove it for a new world, or choose another --home", path.display()))
    };
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| broken(format!("is not what the demo wrote: {e}"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text = serde_json::to_vec(&new).map_err(|e| broken(format!("cannot be written: {e}")))?;
            fs::write(&path, text).map_err(|e| broken(format!("cannot be written: {e}")))?;
            Ok(new)
        }
        Err(error) => Err(broken(format!("cannot be read: {error}"))),
    }
}

fn write_history(history: &marquee_sources::audience::History, file: &Path) -> Result<(), Failure> {
    let out = fs::File::create(file).map_err(|e| Failure::unavailable(format!("cannot write the history: {e}")))?;
    Ok(history.write_csv(std::io::BufWriter::new(out))?)
}

fn title(title: &WorldTitle) -> Title {
    Title {
        title_id: title.title_id.clone(),
        name: title.name.clone(),
        year: Some(title.year),
        genres: title.genres.clone(),
        tags: title.tags.clone(),
        maturity: maturity(title.min_age),
        regions: title.countries.clone().map_or(Regions::Everywhere, Regions::Only),
        duration_ms: Some(title.duration_ms),
        added_at_ms: title.added_at_ms,
    }
}

fn profile(profile: &WorldProfile) -> Profile {
    Profile {
        profile_id: profile.profile_id.clone(),
        display_name: profile.display_name.clone(),
        max_maturity: maturity(profile.max_age),
        country: profile.country.clone(),
    }
}

/// The world's ages are the catalogue's levels.
fn maturity(age: u8) -> Maturity {
    Maturity::from_age(age).unwrap_or(Maturity::Age18)
}
