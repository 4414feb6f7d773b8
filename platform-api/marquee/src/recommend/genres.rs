//! The genres of titles, in memory, for the features jobs.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use marquee_catalogue::{Catalogue, CatalogueError};
use marquee_jobs::TitleGenres;

/// The genres of one version of the catalogue.
#[derive(Default)]
pub(crate) struct CatalogueGenres {
    version: AtomicU64,
    genres: ArcSwap<HashMap<String, Arc<[String]>>>,
}

impl CatalogueGenres {
    /// The version of the catalogue that is known.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Reads the catalogue anew.
    pub(crate) async fn refresh(&self, catalogue: &dyn Catalogue) -> Result<(), CatalogueError> {
        let snapshot = catalogue.snapshot().await?;
        let genres = snapshot.titles().iter().map(|title| (title.title_id.clone(), title.genres.clone().into()));
        self.genres.store(Arc::new(genres.collect()));
        self.version.store(snapshot.version(), Ordering::Release);
        Ok(())
    }
}

impl TitleGenres for CatalogueGenres {
    fn genres(&self, title_id: &str) -> Arc<[String]> {
        self.genres.load().get(title_id).cloned().unwrap_or_default()
    }
}
