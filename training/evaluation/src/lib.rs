//! How models are compared: interactions, two protocols without leaks, ranking over the whole catalogue, metrics.
//! Pure: no I/O and no clock of its own. Figures of different protocols must never be compared with each other.
//!
//! **Ties** are settled once and for all: events of one instant keep the order of the file; items with equal scores
//! rank in the order of their numbers, that is, of their first appearance in the file.

mod error;
mod gains;
mod interactions;
mod metrics;
mod protocol;
mod recommender;
mod run;

pub use error::EvaluationError;
pub use gains::gains;
pub use interactions::{Interaction, Interactions, Visit};
pub use metrics::{CUTOFF, Metrics, Ranked, rank};
pub use protocol::{Case, Protocol, Split, Training};
pub use recommender::{FitError, Progress, Recommender};
pub use run::{Evaluation, MIN_EVENTS_PER_ITEM, ModelResult, Report};
