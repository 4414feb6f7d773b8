//! New: what came into the catalogue last, the viewer's favourite genres a little earlier.

use crate::RowKind;
use crate::context::Context;
use crate::rows::{MIN_ITEMS, RowPlan, RowRecipe};
use crate::sources::Newest;
use crate::stages::{Affinity, Best, Eligible, Freshness, Unwatched};

pub(super) struct New;

impl RowRecipe for New {
    fn name(&self) -> &'static str {
        "new"
    }

    fn kind(&self) -> RowKind {
        RowKind::New
    }

    fn plans(&self, _context: &Context) -> Vec<RowPlan> {
        vec![RowPlan {
            row_id: self.name().to_owned(),
            kind: self.kind(),
            heading: self.kind().heading().to_owned(),
            prior: 0.5,
            min_items: MIN_ITEMS,
            sources: vec![Box::new(Newest)],
            hydrators: &[&Affinity],
            filters: &[&Eligible, &Unwatched],
            scorer: &Freshness,
            selector: &Best,
        }]
    }
}
