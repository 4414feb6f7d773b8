//! How a page came about: every stage of every row with its time and counts, as a value of the one request.

use std::time::Duration;

/// Which kind of stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Reading who asks and what there is.
    Read,
    /// Finding candidates.
    Source,
    /// Adding what later stages look at.
    Hydrator,
    /// Dropping what may not or should not be shown.
    Filter,
    /// Putting a number on each candidate.
    Scorer,
    /// Choosing and ordering.
    Selector,
    /// The last check, and writing items.
    Check,
}

/// One stage that ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageTrace {
    /// The row; empty for what serves the whole page.
    pub row_id: String,
    /// Which kind of stage.
    pub stage: Stage,
    /// Which one of the kind.
    pub name: &'static str,
    /// Candidates before it.
    pub candidates_in: usize,
    /// Candidates after it.
    pub candidates_out: usize,
    /// How long it took. For what ran beside other things: from its start to its end.
    pub took: Duration,
}

/// Every stage that ran for a response, in the order in which they ended within a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageTrace {
    /// The stages.
    pub stages: Vec<StageTrace>,
}

impl PageTrace {
    pub(crate) fn add(
        &mut self,
        row_id: &str,
        (stage, name): (Stage, &'static str),
        (candidates_in, candidates_out): (usize, usize),
        took: Duration,
    ) {
        self.stages.push(StageTrace { row_id: row_id.to_owned(), stage, name, candidates_in, candidates_out, took });
    }
}
