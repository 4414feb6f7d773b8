//! The genres of titles, in memory, for the features jobs.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use marquee_catalogue::{Catalogue, CatalogueError};
use marquee_jobs::TitleGenres;

/// The genres of one version of the catalogue.
pub(crate) struct CatalogueGenres {
    catalogue: Arc<dyn Catalogue>,
    handle: tokio::runtime::Handle,
    version: AtomicU64,
    genres: ArcSwap<HashMap<String, Arc<[String]>>>,
}

impl CatalogueGenres {
    /// Reads the catalogue.
    pub(crate) fn read(
        catalogue: Arc<dyn Catalogue>,
        handle: &tokio::runtime::Handle,
    ) -> Result<Arc<Self>, CatalogueError> {
        let genres = Self { catalogue, handle: handle.clone(), version: AtomicU64::new(0), genres: ArcSwap::default() };
        handle.block_on(genres.reread())?;
        Ok(Arc::new(genres))
    }

    /// Reads the catalogue anew if it has changed.
    pub(crate) async fn refresh(&self) -> Result<(), CatalogueError> {
        if self.catalogue.version().await? == self.version.load(Ordering::Acquire) {
            return Ok(());
        }
        self.reread().await
    }

    async fn reread(&self) -> Result<(), CatalogueError> {
        let snapshot = self.catalogue.snapshot().await?;
        let genres = snapshot.titles().iter().map(|title| (title.title_id.clone(), title.genres.clone().into()));
        self.genres.store(Arc::new(genres.collect()));
        self.version.store(snapshot.version(), Ordering::Release);
        Ok(())
    }

    fn known(&self, title_id: &str) -> Option<Arc<[String]>> {
        self.genres.load().get(title_id).cloned()
    }
}

impl TitleGenres for CatalogueGenres {
    /// A title that is not known may have come in just before what was watched of it (an import does both), so the
    /// catalogue is asked whether it has changed. Called by a job, on a thread of its own: it may block.
    fn genres(&self, title_id: &str) -> Arc<[String]> {
        if let Some(genres) = self.known(title_id) {
            return genres;
        }
        if let Err(error) = self.handle.block_on(self.refresh()) {
            tracing::warn!(error = &error as &dyn Error, title_id, "the genres of a new title cannot be read");
        }
        self.known(title_id).unwrap_or_default()
    }
}
