//! Exploration: titles by chance, the less seen the likelier, each with the probability it had. What models never show
//! they never learn about; these items are how they do.

use crate::RowKind;
use crate::context::Context;
use crate::rows::{MIN_ITEMS, RowPlan, RowRecipe};
use crate::sources::Exploring;
use crate::stages::{AsFound, Eligible, Sampled, Unwatched};

pub(super) struct Exploration;

impl RowRecipe for Exploration {
    fn name(&self) -> &'static str {
        "exploration"
    }

    fn kind(&self) -> RowKind {
        RowKind::Exploration
    }

    fn plans(&self, _context: &Context) -> Vec<RowPlan> {
        vec![RowPlan {
            row_id: self.name().to_owned(),
            kind: self.kind(),
            heading: self.kind().heading().to_owned(),
            prior: 0.3,
            min_items: MIN_ITEMS,
            sources: vec![Box::new(Exploring)],
            hydrators: &[],
            filters: &[&Eligible, &Unwatched],
            scorer: &AsFound,
            selector: &Sampled,
        }]
    }
}
