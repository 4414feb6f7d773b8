//! What candidates are given on their way.

use crate::context::Context;
use crate::stages::{Candidate, Hydrator};

/// The viewer's affinity to the title's genres.
pub(crate) struct Affinity;

impl Hydrator for Affinity {
    fn name(&self) -> &'static str {
        "affinity"
    }

    fn hydrate(&self, context: &Context, candidates: &mut [Candidate]) {
        for candidate in candidates {
            candidate.affinity = context.affinity(candidate.title);
        }
    }
}
