//! From a profile to a page: sources, hydration, filters, scoring, selection, rows; and the ports to vectors and models.
//! Pure of transport: `serving/rows-server` puts gRPC around it.
//!
//! ```text
//! profile, features, model ─▶ Context ─▶ rows::all() ─▶ per row: Source ▶ Hydrator ▶ Filter ─▶ assembly: once per page,
//! catalogue, title features ─▶ Shelf ──┘   (concurrently, within the budget)                   Scorer ▶ Selector ▶ final check
//! ```
//!
//! Whatever breaks, a page holds only what the viewer may see: eligibility is decided when candidates are found, when
//! they are filtered, and once more when they are written into the page. What broke is said in [`Served::degraded`].

mod assembly;
mod blocking;
mod budget;
mod cache;
mod context;
mod degraded;
mod error;
mod model;
mod page;
mod recommender;
pub mod rehearsal;
mod rows;
mod seal;
mod shelf;
mod shelves;
mod sources;
mod stages;
mod status;
mod trace;
mod tracking;

pub use degraded::Degraded;
pub use error::PageError;
pub use model::{
    Hit, IndexError, ModelSlot, NeighbourLists, ServingModel, TowerInput, UserTower, VectorFilter, VectorIndex,
};
pub use page::{Item, Page, Reason, RequestId, Row, RowKind, RowSlice, Served};
pub use recommender::{
    AsOf, DEFAULT_ITEMS, DEFAULT_ROWS, HomeRequest, MAX_ITEMS, MAX_ROWS, Parts, Recommender, RequestContext, RowRequest,
};
pub use seal::{MIN_SECRET_BYTES, SealError, SealKey};
pub use status::DataStatus;
pub use trace::{PageTrace, Stage, StageTrace};
pub use tracking::{Tracking, TrackingError};
