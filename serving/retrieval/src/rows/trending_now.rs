//! Trending now: views an hour, half of the last hour and half of the last day's mean.

use crate::RowKind;
use crate::context::Context;
use crate::rows::{MIN_ITEMS, RowPlan, RowRecipe};
use crate::sources::Trending;
use crate::stages::{AsFound, Best, Eligible, Unwatched};

pub(super) struct TrendingNow;

impl RowRecipe for TrendingNow {
    fn name(&self) -> &'static str {
        "trending_now"
    }

    fn kind(&self) -> RowKind {
        RowKind::TrendingNow
    }

    fn plans(&self, _context: &Context) -> Vec<RowPlan> {
        vec![RowPlan {
            row_id: self.name().to_owned(),
            kind: self.kind(),
            heading: self.kind().heading().to_owned(),
            prior: 0.7,
            min_items: MIN_ITEMS,
            sources: vec![Box::new(Trending)],
            hydrators: &[],
            filters: &[&Eligible, &Unwatched],
            scorer: &AsFound,
            selector: &Best,
        }]
    }
}
