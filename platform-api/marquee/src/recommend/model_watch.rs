//! Puts the model that the registry names in service, within a second of its publication.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use marquee_retrieval::ModelSlot;
use marquee_trainer::Registry;

/// How often the registry is asked: one small read.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Goes on until told to stop. A version that cannot be loaded leaves the one before in service, and says so once.
pub(crate) async fn watch_models(registry: Registry, models: Arc<ModelSlot>, stop: Arc<AtomicBool>) {
    let registry = Arc::new(registry);
    let mut seen: Option<String> = None;
    while !stop.load(Ordering::Acquire) {
        let (asked, known) = (registry.clone(), seen.clone());
        let look = tokio::task::spawn_blocking(move || look(&asked, known.as_deref())).await;
        match look {
            Ok(Look::Same) => {}
            Ok(Look::Nothing) => {
                models.switch(None);
                seen = None;
            }
            Ok(Look::New(version, Ok(model))) => {
                tracing::info!(version, "model in service");
                models.switch(Some(model));
                seen = Some(version);
            }
            Ok(Look::New(version, Err(error))) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(version, error, "the published model cannot be loaded: the one before stays");
                seen = Some(version);
            }
            Ok(Look::Unreadable(error)) => tracing::warn!(%error, "the registry of models cannot be read"),
            Err(panic) => tracing::error!(%panic, "loading a model ended unexpectedly"),
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

enum Look {
    Same,
    Nothing,
    New(String, Result<Arc<marquee_retrieval::ServingModel>, marquee_trainer::TrainerError>),
    Unreadable(marquee_trainer::TrainerError),
}

fn look(registry: &Registry, known: Option<&str>) -> Look {
    match registry.current_version() {
        Err(error) => Look::Unreadable(error),
        Ok(None) if known.is_none() => Look::Same,
        Ok(None) => Look::Nothing,
        Ok(Some(version)) if known == Some(version.as_str()) => Look::Same,
        Ok(Some(version)) => {
            let model = registry.load(&version);
            Look::New(version, model)
        }
    }
}
