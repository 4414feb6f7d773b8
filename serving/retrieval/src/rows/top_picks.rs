//! Top picks: the titles nearest to the viewer's vector, made diverse. Without vectors the neighbours of the history
//! stand in, then what is popular; the heading and each item's reason say so.

use crate::RowKind;
use crate::context::Context;
use crate::rows::{MIN_ITEMS, RowPlan, RowRecipe};
use crate::sources::{NeighboursOfHistory, Newest, PopularDecayed, PopularOfModel, Vectors};
use crate::stages::{AsFound, Diverse, Eligible, Unwatched};

pub(super) struct TopPicks;

impl RowRecipe for TopPicks {
    fn name(&self) -> &'static str {
        "top_picks"
    }

    fn kind(&self) -> RowKind {
        RowKind::TopPicks
    }

    fn plans(&self, _context: &Context) -> Vec<RowPlan> {
        vec![RowPlan {
            row_id: self.name().to_owned(),
            kind: self.kind(),
            heading: self.kind().heading().to_owned(),
            prior: 1.0,
            min_items: MIN_ITEMS,
            sources: vec![
                Box::new(Vectors),
                Box::new(NeighboursOfHistory),
                Box::new(PopularDecayed),
                Box::new(PopularOfModel),
                Box::new(Newest),
            ],
            hydrators: &[],
            filters: &[&Eligible, &Unwatched],
            scorer: &AsFound,
            selector: &Diverse,
        }]
    }
}
