//! Viewers with tastes: a seeded world of titles and people who react to the pages that they get, with the truth about
//! what they like and what their players measured.
//!
//! The core is pure ([`World`], [`Viewer::react`], [`World::history`]): no network, no clock. [`simulate_audience`] plays
//! it in the injected clock's time against a collector and a source of pages.

mod bandwidth;
mod genres;
mod history;
mod interaction_counts;
mod latent;
mod page;
mod player;
mod run;
mod settings;
mod taste;
mod viewer;
mod world;

pub use history::{History, PastView, ProfileHistory};
pub use interaction_counts::InteractionCounts;
pub use page::{Leak, Page, PageItem, PageRow, Pages};
pub use run::{AudienceTruth, simulate_audience};
pub use settings::{AudienceSettings, Watching, WorldSettings};
pub use viewer::{Memory, View, Viewer, Visit};
pub use world::{AGES, World, WorldProfile, WorldTitle};

#[cfg(test)]
mod tests;
