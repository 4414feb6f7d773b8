//! Where candidates come from. Only `vectors` waits for anything; the others read what the request already holds.

mod history;
mod neighbours;
mod orders;
mod vectors;

pub(crate) use history::Unfinished;
pub(crate) use neighbours::{CoWatched, Following, NeighboursOfHistory};
pub(crate) use orders::{Exploring, Newest, PopularDecayed, PopularOfModel, Trending};
pub(crate) use vectors::Vectors;

/// Candidates that a source finds at most. A row shows at most 60 at once; the rest is for paging on, for diversity
/// and for what other rows of the page have already taken.
pub(crate) const MAX_CANDIDATES: usize = 200;
