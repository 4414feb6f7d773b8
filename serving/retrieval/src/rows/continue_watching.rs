//! Continue watching: titles begun and not finished, the last first, with the playhead.

use crate::RowKind;
use crate::context::Context;
use crate::rows::{RowPlan, RowRecipe};
use crate::sources::Unfinished;
use crate::stages::{AsFound, Best, Eligible};

pub(super) struct ContinueWatching;

impl RowRecipe for ContinueWatching {
    fn name(&self) -> &'static str {
        "continue_watching"
    }

    fn kind(&self) -> RowKind {
        RowKind::ContinueWatching
    }

    fn plans(&self, _context: &Context) -> Vec<RowPlan> {
        vec![RowPlan {
            row_id: self.name().to_owned(),
            kind: self.kind(),
            heading: self.kind().heading().to_owned(),
            // Above every other row however short it is: one item of twenty still gives 5.
            prior: 100.0,
            min_items: 1,
            sources: vec![Box::new(Unfinished)],
            hydrators: &[],
            filters: &[&Eligible],
            scorer: &AsFound,
            selector: &Best,
        }]
    }
}
