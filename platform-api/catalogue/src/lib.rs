//! What there is to watch and who watches: titles, profiles, what a profile may see, the signed profile token, and the
//! port [`Catalogue`] to wherever they are kept. Adapters live in crates of their own (`platform-api/store`) and must
//! pass [`contract`]; importers (such as [`movielens`]) and adapters check what they take with the same rules
//! ([`Title::validate`], [`Profile::validate`]).

pub mod contract;
mod eligibility;
mod error;
pub mod movielens;
mod port;
mod profile;
mod title;
pub mod token;
mod validation;

pub use eligibility::{CatalogueSnapshot, Viewer};
pub use error::CatalogueError;
pub use port::Catalogue;
pub use profile::Profile;
pub use title::{Maturity, Regions, Title};
pub use validation::{
    MAX_DISPLAY_NAME_BYTES, MAX_DURATION_MS, MAX_GENRES, MAX_NAME_BYTES, MAX_TAGS, MAX_WORD_BYTES, YEARS,
};
