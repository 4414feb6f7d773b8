//! The rows of a page, one file each; [`all`] lists them. A new row is a new file here, one line in [`all`], a
//! [`RowKind`] (and the same in the wire contract), and a page in `tests/it/pages.rs` that holds it.
//!
//! The order of [`all`] is also the order in which rows may take titles: no title stands on a page twice.

mod because_you_watched;
mod continue_watching;
mod exploration;
mod new;
mod top_picks;
mod trending_now;

use crate::RowKind;
use crate::context::Context;
use crate::stages::{Filter, Hydrator, Scorer, Selector, Source};

/// A kind of row.
pub(crate) trait RowRecipe: Send + Sync {
    /// Its `row_id`, or the part before the colon; also the name of its file.
    fn name(&self) -> &'static str;

    /// What its rows are.
    fn kind(&self) -> RowKind;

    /// The rows of this kind that a viewer's page may have.
    fn plans(&self, context: &Context) -> Vec<RowPlan>;

    /// One row by its id, also when the page itself would not show it.
    fn plan(&self, context: &Context, row_id: &str) -> Option<RowPlan> {
        self.plans(context).into_iter().find(|plan| plan.row_id == row_id)
    }
}

/// One row, ready to be made.
pub(crate) struct RowPlan {
    pub(crate) row_id: String,
    pub(crate) kind: RowKind,
    pub(crate) heading: String,
    /// Its place on the page: `prior · min(1, items / items wanted)`, highest first.
    pub(crate) prior: f64,
    /// With fewer items it is left out, unless the page would be empty.
    pub(crate) min_items: usize,
    /// The first that finds enough is used.
    pub(crate) sources: Vec<Box<dyn Source>>,
    pub(crate) hydrators: &'static [&'static dyn Hydrator],
    pub(crate) filters: &'static [&'static dyn Filter],
    pub(crate) scorer: &'static dyn Scorer,
    pub(crate) selector: &'static dyn Selector,
}

/// A row shorter than this looks like a mistake.
pub(crate) const MIN_ITEMS: usize = 3;

/// Every kind of row.
pub(crate) fn all() -> [&'static dyn RowRecipe; 6] {
    [
        &continue_watching::ContinueWatching,
        &top_picks::TopPicks,
        &because_you_watched::BecauseYouWatched,
        &trending_now::TrendingNow,
        &new::New,
        &exploration::Exploration,
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;

    #[test]
    fn every_file_is_listed() {
        let folder = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/rows")).unwrap();
        let files: BTreeSet<String> =
            folder.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        let listed: BTreeSet<String> = all().iter().map(|row| row.name().to_owned()).collect();
        assert_eq!(files, listed);
    }
}
