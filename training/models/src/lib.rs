//! The models, in the order of trust. A model is one file in `model/` and one line in [`all`]; what several files need
//! lies beside it. The same training and seed give the same model; nothing here reads a clock or a global generator.

mod error;
mod model;
mod popular;
mod two_tower;

use std::sync::Arc;

use marquee_catalogue::CatalogueSnapshot;
use marquee_evaluation::Recommender;

pub use error::ModelError;
pub use model::linear_transition::{LinearTransition, Parameters, Ridge};
pub use model::two_tower::{Settings, TwoTower};
pub use model::{popular_7d, popular_all_time, popular_decayed};
pub use popular::Popular;
pub use two_tower::tower::Tower;

/// What a model may be built from, besides the interactions.
#[derive(Debug, Clone, Default)]
pub struct Ingredients {
    /// Content of the titles, and titles without any interaction; may be empty.
    pub catalogue: Arc<CatalogueSnapshot>,
    /// Decides everything that is random.
    pub seed: u64,
}

/// A model by its name.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    /// As written on the command line and in reports.
    pub name: &'static str,
    /// Builds one that is not yet fitted, with its default parameters.
    pub build: fn(&Ingredients) -> Box<dyn Recommender>,
}

/// Every model.
pub fn all() -> [Model; 5] {
    [
        Model { name: popular_all_time::NAME, build: |_| Box::new(popular_all_time::model()) },
        Model { name: popular_decayed::NAME, build: |_| Box::new(popular_decayed::model()) },
        Model { name: popular_7d::NAME, build: |_| Box::new(popular_7d::model()) },
        Model { name: LinearTransition::NAME, build: |_| Box::new(LinearTransition::default()) },
        Model { name: TwoTower::NAME, build: |with| Box::new(TwoTower::new(Settings::default(), with)) },
    ]
}

/// The model with this name.
///
/// # Errors
/// [`ModelError::Unknown`].
pub fn by_name(name: &str) -> Result<Model, ModelError> {
    all().into_iter().find(|model| model.name == name).ok_or_else(|| ModelError::Unknown { name: name.to_owned() })
}
