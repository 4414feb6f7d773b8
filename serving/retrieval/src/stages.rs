//! The stages that a row is made of. Each is a small trait over whole batches of candidates; a row names its own
//! (`rows/`). Stages between source and selector must not depend on the order of candidates.

mod filters;
mod hydrators;
mod scorers;
mod selectors;

use async_trait::async_trait;

use crate::IndexError;
use crate::blocking::Missed;
use crate::context::Context;

pub(crate) use filters::{Eligible, Unwatched};
pub(crate) use hydrators::Affinity;
pub(crate) use scorers::{AsFound, Freshness};
pub(crate) use selectors::{Best, Diverse, Sampled};

/// A title that may come into a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    /// Its number on the request's shelf.
    pub(crate) title: u32,
    /// Higher is better; comparable within a row only.
    pub(crate) score: f64,
    pub(crate) origin: Origin,
    /// Continue watching: the playhead, 0 to 1.
    pub(crate) watched_fraction: Option<f32>,
    /// Of the viewer to its genres, −1 to 1; 0 until hydrated.
    pub(crate) affinity: f64,
    /// Probability that the row holds it; 1 unless chance decides.
    pub(crate) propensity: f64,
}

/// Where a candidate truly came from. Titles are numbers of the request's shelf.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Origin {
    Unfinished,
    Vectors,
    /// The model's list of what follows a title.
    Neighbours {
        because: u32,
    },
    /// What the viewers of a title also watched.
    CoWatch {
        because: u32,
    },
    PopularDecayed,
    PopularOfModel,
    Trending,
    Newest,
    Exploration,
}

impl Origin {
    pub(crate) fn source(self) -> &'static str {
        match self {
            Origin::Unfinished => "unfinished",
            Origin::Vectors => "vectors",
            Origin::Neighbours { .. } => "neighbours",
            Origin::CoWatch { .. } => "co_watch",
            Origin::PopularDecayed => "popular_decayed",
            Origin::PopularOfModel => "popular_of_model",
            Origin::Trending => "trending_24h",
            Origin::Newest => "newest",
            Origin::Exploration => "exploration",
        }
    }

    /// The title that it was found through.
    pub(crate) fn because(self) -> Option<u32> {
        match self {
            Origin::Neighbours { because } | Origin::CoWatch { because } => Some(because),
            _ => None,
        }
    }
}

impl Candidate {
    pub(crate) fn new(title: u32, score: f64, origin: Origin) -> Self {
        Self { title, score, origin, watched_fraction: None, affinity: 0.0, propensity: 1.0 }
    }
}

/// Finds candidates that the viewer may see. A source that reads memory only is ready at its first poll.
#[async_trait]
pub(crate) trait Source: Send + Sync {
    fn name(&self) -> &'static str;

    /// What a row of this source is called, when that is not what its row is called.
    fn heading(&self) -> Option<&'static str> {
        None
    }

    async fn candidates(&self, context: &Context) -> Result<Vec<Candidate>, SourceError>;
}

/// Adds what later stages look at.
pub(crate) trait Hydrator: Send + Sync {
    fn name(&self) -> &'static str;
    fn hydrate(&self, context: &Context, candidates: &mut [Candidate]);
}

/// Drops what may not or should not be shown.
pub(crate) trait Filter: Send + Sync {
    fn name(&self) -> &'static str;
    fn retain(&self, context: &Context, candidates: &mut Vec<Candidate>);
}

/// Puts the final number on each candidate.
pub(crate) trait Scorer: Send + Sync {
    fn name(&self) -> &'static str;
    fn score(&self, context: &Context, candidates: &mut [Candidate]);
}

/// Chooses at most `limit` and puts them in order. For the same candidates, fewer is a prefix of more, unless chance
/// decides.
pub(crate) trait Selector: Send + Sync {
    fn name(&self) -> &'static str;
    fn select(&self, context: &Context, candidates: Vec<Candidate>, limit: usize) -> Vec<Candidate>;
}

/// Why a source has no answer.
#[derive(Debug)]
pub(crate) enum SourceError {
    Index(IndexError),
    Missed(Missed),
}
