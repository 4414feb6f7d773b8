//! The second half of a round: a model trained on what is in the lake, put in service, and asked for pages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use marquee_catalogue::Catalogue as _;
use marquee_dashboards::HomePage;
use marquee_events::{Clock as _, SystemClock};
use marquee_sources::audience::World;
use marquee_trainer::{Entry, Lineage};
use serde::Serialize;
use tonic::Status;

use crate::failure::Failure;
use crate::home::Home;
use crate::services::Services;
use crate::settings::Settings;
use crate::training::{self, Wanted};

use super::true_taste::TrueTaste;

/// Pages that are timed, each of another profile if there are so many.
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
    /// Against the true tastes of the viewers, where they are simulated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) true_taste: Option<TrueTaste>,
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
    world: Option<&World>,
    profile_id: &str,
) -> Result<Recommended, Failure> {
    let recommend = services.recommend.as_ref().expect("the demo starts everything");
    let home = Home::new(&settings.home)?;
    let wanted = Wanted::demo();
    let bar = training::progress_bar();
    let catalogue = recommend.stores.catalogue.as_ref();
    let request = training::read_lake(runtime.handle(), &services.lake, catalogue, &wanted, &bar)?;
    let entry = training::train_on(&home, &request, clock.as_ref(), &bar)?;
    bar.set_message("asking for true tastes");
    let true_taste = world.map(|world| TrueTaste::measure(world, &request)).transpose()?;
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
    let page_of = |profile_id: &str| {
        let failed = |status: Status| Failure::unavailable(format!("no page for {profile_id}: {}", status.message()));
        let page = runtime.block_on(client.home_page(profile_id)).map_err(failed)?;
        page.ok_or_else(|| Failure::internal(format!("the catalogue has no profile {profile_id}")))
    };
    let page = page_of(profile_id)?;
    let mut took_ms = Vec::with_capacity(TIMED_PAGES);
    for profile in runtime.block_on(catalogue.profiles("", "", TIMED_PAGES as u32))?.iter().cycle().take(TIMED_PAGES) {
        let asked = Instant::now();
        page_of(&profile.profile_id)?;
        took_ms.push(asked.elapsed().as_secs_f64() * 1000.0);
    }
    took_ms.sort_by(f64::total_cmp);
    let Entry { version, lineage, reports, .. } = entry;
    let Lineage { events, profiles, titles, .. } = lineage;
    let model = ModelFigures { version, events, profiles, titles, reports, true_taste };
    Ok(Recommended { model, page, page_p99_ms: took_ms[TIMED_PAGES * 99 / 100] })
}
