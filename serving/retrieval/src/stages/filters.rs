//! What drops candidates. Sources look for eligible titles only; these hold even when a source or an index lies.

use crate::context::Context;
use crate::stages::{Candidate, Filter};

/// Region, maturity, "not interested".
pub(crate) struct Eligible;

impl Filter for Eligible {
    fn name(&self) -> &'static str {
        "eligible"
    }

    fn retain(&self, context: &Context, candidates: &mut Vec<Candidate>) {
        candidates.retain(|candidate| context.may_show(candidate.title));
    }
}

/// Not seen, and not in "continue watching".
pub(crate) struct Unwatched;

impl Filter for Unwatched {
    fn name(&self) -> &'static str {
        "unwatched"
    }

    fn retain(&self, context: &Context, candidates: &mut Vec<Candidate>) {
        candidates.retain(|candidate| !context.watched.contains(&candidate.title));
    }
}
