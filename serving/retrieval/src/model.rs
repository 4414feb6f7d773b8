//! A published model as serving sees it, and the ports behind it. User side, index and neighbour lists are one value
//! with one version: they are switched together or not at all.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use marquee_catalogue::{Maturity, Viewer};
use marquee_definitions::Watched;
use marquee_events::ErrorKind;

/// What a search may return: applied inside the index, before the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VectorFilter {
    /// Titles above this are left out.
    pub max_maturity: Maturity,
    /// Only titles licensed here or globally; empty: only globally.
    pub country: String,
    /// Titles to leave out, at most a few thousand.
    pub without: Vec<String>,
}

impl VectorFilter {
    /// What a viewer may see.
    pub fn of(viewer: &Viewer) -> Self {
        Self { max_maturity: viewer.max_maturity, country: viewer.country.clone(), without: Vec::new() }
    }
}

/// A title that a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The title.
    pub title_id: String,
    /// Inner product with the query.
    pub score: f32,
}

/// Item vectors with their payload (`title_id`, maturity, regions). Object-safe; may block.
pub trait VectorIndex: Send + Sync + 'static {
    /// The nearest titles by inner product, best first; ties by title id.
    ///
    /// # Errors
    /// When the index cannot be read, or the query has another length.
    fn search(&self, vector: &[f32], filter: &VectorFilter, limit: usize) -> Result<Vec<Hit>, IndexError>;

    /// Number of titles in it.
    ///
    /// # Errors
    /// When the index cannot be read.
    fn count(&self) -> Result<usize, IndexError>;
}

/// What a user tower looks at.
#[derive(Debug, Clone, Copy)]
pub struct TowerInput<'a> {
    /// What was watched, oldest first.
    pub history: &'a [Watched],
    /// The instant (ms since the epoch).
    pub at_ms: i64,
}

/// The user side of an embedding model. Object-safe, quick (well under a millisecond), never blocks.
pub trait UserTower: Send + Sync + 'static {
    /// The vector of a viewer; `None` for one without any title that the model knows.
    fn embed(&self, input: &TowerInput<'_>) -> Option<Vec<f32>>;
}

/// For each title the most likely next ones, best first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NeighbourLists {
    /// By title: (next title, weight).
    pub lists: HashMap<String, Vec<(String, f32)>>,
    /// Weight of a title of the history: this to the power of its age in positions, 0 to 1.
    pub decay: f32,
    /// Only so many of the last titles count.
    pub window: usize,
}

/// A published model.
pub struct ServingModel {
    /// Names it; part of every tracking token.
    pub version: String,
    /// Event time of the newest interaction that it was trained on (ms since the epoch).
    pub trained_through_ms: i64,
    /// The user side.
    pub tower: Arc<dyn UserTower>,
    /// The item side.
    pub index: Arc<dyn VectorIndex>,
    /// Item to item.
    pub neighbours: NeighbourLists,
    /// The fallback, best first: (title, score).
    pub popular: Vec<(String, f32)>,
}

/// The model in service; swapped atomically, readers keep the one that they began with.
#[derive(Default)]
pub struct ModelSlot(ArcSwapOption<ServingModel>);

impl ModelSlot {
    /// The model in service.
    pub fn current(&self) -> Option<Arc<ServingModel>> {
        self.0.load_full()
    }

    /// Puts a model in service, or takes it out.
    pub fn switch(&self, model: Option<Arc<ServingModel>>) {
        self.0.store(model);
    }
}

/// Why an index could not do it.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// A query or point that does not fit.
    #[error("the vector has {found} numbers, the index {expected}")]
    Dimension {
        /// Of the index.
        expected: usize,
        /// Of the vector.
        found: usize,
    },
    /// What is stored is not what was written.
    #[error("the index in {location} is damaged: {problem}")]
    Damaged {
        /// Where it is.
        location: String,
        /// What is wrong.
        problem: String,
    },
    /// The engine failed.
    #[error("the index failed while {operation}")]
    Engine {
        /// What was being done.
        operation: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl IndexError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            IndexError::Dimension { .. } => ErrorKind::Invalid,
            IndexError::Damaged { .. } => ErrorKind::Damaged,
            IndexError::Engine { .. } => ErrorKind::Unavailable,
        }
    }
}
