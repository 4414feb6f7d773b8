//! The second half of a round: a model trained on what is in the lake, put in service, and asked for pages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use marquee_dashboards::HomePage;
use marquee_events::{Clock as _, SystemClock};
use marquee_trainer::Entry;
use serde::Serialize;
use tonic::Status;

use crate::failure::Failure;
use crate::home::Home;
use crate::services::Services;
use crate::settings::Settings;
use crate::training::{self, DEMO_MODEL, Wanted};

/// Of everything random in training.
const TRAINING_SEED: u64 = 1;

/// Pages that are timed.
const TIMED_PAGES: usize = 100;

/// A published model is in service within a second; after this it never will be.
const IN_SERVICE_TIMEOUT: Duration = Duration::from_secs(30);

/// Between two looks whether it is.
const LOOK: Duration = Duration::from_millis(50);

/// The model in service, with what it was measured at.
#[derive(Serialize)]
pub(super) struct ModelFigures {
    pub(super) version: String,
    events: usize,
    profiles: usize,
    titles: usize,
    /// One report a protocol, as `marquee evaluate --json` prints them.
    reports: Vec<serde_json::Value>,
}

/// What came of it.
pub(super) struct Recommended {
    pub(super) model: ModelFigures,
    pub(super) page: HomePage,
    pub(super) page_p99_ms: f64,
}

pub(super) fn recommend(
    runtime: &tokio::runtime::Runtime,
    services: &Services,
    settings: &Settings,
    clock: &Arc<SystemClock>,
    profile_id: &str,
) -> Result<Recommended, Failure> {
    let recommend = services.recommend.as_ref().expect("the demo starts everything");
    let home = Home::new(&settings.home)?;
    let wanted = Wanted { model: DEMO_MODEL.to_owned(), seed: TRAINING_SEED };
    let bar = training::progress_bar();
    let entry = train(runtime, services, &home, &wanted, clock, &bar)?;
    bar.finish_and_clear();
    // A later round may train on less than the one before: the round shows its own model whatever it is worth.
    training::publish(&home, &entry.version, true, clock.now_ms())?;
    let until = Instant::now() + IN_SERVICE_TIMEOUT;
    while recommend.models.current().is_none_or(|model| model.version != entry.version) {
        if Instant::now() > until {
            return Err(Failure::internal(format!("model {} did not come into service", entry.version)));
        }
        std::thread::sleep(LOOK);
    }
    let client = recommend.client();
    let failed = |status: Status| Failure::unavailable(format!("no page for {profile_id}: {}", status.message()));
    let mut took_ms = Vec::with_capacity(TIMED_PAGES);
    let mut page = None;
    for _ in 0..TIMED_PAGES {
        let asked = Instant::now();
        page = runtime.block_on(client.home_page(profile_id)).map_err(failed)?;
        took_ms.push(asked.elapsed().as_secs_f64() * 1000.0);
    }
    took_ms.sort_by(f64::total_cmp);
    let page = page.ok_or_else(|| Failure::internal(format!("the catalogue has no profile {profile_id}")))?;
    let Entry { version, lineage, reports, .. } = entry;
    let model =
        ModelFigures { version, events: lineage.events, profiles: lineage.profiles, titles: lineage.titles, reports };
    Ok(Recommended { model, page, page_p99_ms: took_ms[TIMED_PAGES * 99 / 100] })
}

fn train(
    runtime: &tokio::runtime::Runtime,
    services: &Services,
    home: &Home,
    wanted: &Wanted,
    clock: &Arc<SystemClock>,
    bar: &ProgressBar,
) -> Result<Entry, Failure> {
    let catalogue = &services.recommend.as_ref().expect("the demo starts everything").stores.catalogue;
    training::train_on_lake(runtime.handle(), home, &services.lake, catalogue.as_ref(), wanted, clock.as_ref(), bar)
}
