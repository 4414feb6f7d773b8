//! Puts the model that the registry names in service, within a second of its publication. A version that is not whole
//! never replaces one that is; with nothing better, what is left of it serves, and it is tried again.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use marquee_retrieval::ModelSlot;
use marquee_trainer::{Registry, TrainerError};

/// How often the registry is asked: one small read.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// A version that was not whole is read again once in so many looks (10 s): somebody may have restored it.
const LOOKS_BEFORE_RETRY: u32 = 20;

/// What the last look found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seen {
    version: Option<String>,
    is_whole: bool,
    looks: u32,
}

/// Goes on until told to stop.
pub(crate) async fn watch_models(registry: Registry, models: Arc<ModelSlot>, stop: Arc<AtomicBool>) {
    let registry = Arc::new(registry);
    let mut seen = Seen::default();
    while !stop.load(Ordering::Acquire) {
        let (asked, slot, before) = (registry.clone(), models.clone(), seen.clone());
        match tokio::task::spawn_blocking(move || look(&asked, &slot, before)).await {
            Ok(after) => seen = after,
            Err(panic) => tracing::error!(%panic, "loading a model ended unexpectedly"),
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// One look at the registry.
fn look(registry: &Registry, models: &ModelSlot, before: Seen) -> Seen {
    let version = match registry.current_version() {
        Ok(version) => version,
        Err(error) => {
            tracing::warn!(error = &error as &dyn Error, "the registry of models cannot be read");
            return before;
        }
    };
    let is_known = version == before.version;
    let Some(version) = version else {
        if !is_known {
            tracing::warn!("no model is published any more: pages go on without one");
            models.switch(None);
        }
        return Seen::default();
    };
    if is_known && (before.is_whole || before.looks < LOOKS_BEFORE_RETRY) {
        return Seen { looks: before.looks.saturating_add(1), ..before };
    }
    let is_whole = match registry.load(&version) {
        Ok(model) => {
            tracing::info!(version, "model in service");
            models.switch(Some(model));
            true
        }
        Err(error) => {
            put_what_is_left(registry, models, &version, &error);
            false
        }
    };
    Seen { version: Some(version), is_whole, looks: 0 }
}

fn put_what_is_left(registry: &Registry, models: &ModelSlot, version: &str, error: &TrainerError) {
    let error: &dyn Error = error;
    match models.current() {
        Some(model) if model.version == version => tracing::warn!(version, error, "its index still cannot be read"),
        Some(model) => {
            let stays = &model.version;
            tracing::warn!(version, error, stays, "the published model cannot be loaded: the one before stays");
        }
        None => {
            let left = registry.load_without_index(version).ok();
            let serves = if left.is_some() { "without its index" } else { "not at all" };
            tracing::warn!(version, error, serves, "the published model is not whole");
            models.switch(left);
        }
    }
}
