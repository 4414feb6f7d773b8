//! From the lake to a model in service: point-in-time training sets, fitting and measuring the models of
//! `training/models`, and the registry that publishes them.
//!
//! The one thing to know: nothing here prints, asks the time or reads settings. Callers pass instants and seeds in and
//! get progress through a callback.

mod durable;
mod entry;
mod error;
mod evaluate;
mod gate;
mod interactions_file;
mod load;
mod measure;
mod parts;
mod publishing;
mod registry;
mod train;
mod training_set;
mod watch;

pub use entry::{Entry, FileMark, Lineage, Recipe};
pub use error::TrainerError;
pub use evaluate::{evaluate, numbered};
pub use gate::{Against, Comparison, Measured};
pub use interactions_file::read_interactions;
pub use publishing::{Action, Demand, Publication, Published};
pub use registry::Registry;
pub use train::{Step, TrainRequest, train};
pub use training_set::{LakeFiles, MIN_WATCHED_FRACTION, TrainingSet};
pub use watch::Watch;
