//! Because you watched: what follows each of the last finished titles, by the model's neighbour lists, or without a
//! model by what their viewers also watched. The row's id carries the title: `because_you_watched:ml-1`.

use crate::RowKind;
use crate::context::Context;
use crate::rows::{MIN_ITEMS, RowPlan, RowRecipe};
use crate::sources::{CoWatched, Following};
use crate::stages::{AsFound, Best, Eligible, Unwatched};

/// So many of them on a page.
const MAX_ROWS: usize = 2;

/// The later row stands this much lower.
const PRIOR_OF_EARLIER_TITLE: f64 = 0.9;

pub(super) struct BecauseYouWatched;

impl RowRecipe for BecauseYouWatched {
    fn name(&self) -> &'static str {
        "because_you_watched"
    }

    fn kind(&self) -> RowKind {
        RowKind::BecauseYouWatched
    }

    fn plans(&self, context: &Context) -> Vec<RowPlan> {
        let mut prior = 0.8;
        let mut plans = Vec::with_capacity(MAX_ROWS);
        for title in context.finished().take(MAX_ROWS) {
            plans.push(self.after(context, title, prior));
            prior *= PRIOR_OF_EARLIER_TITLE;
        }
        plans
    }

    /// Any finished title will do: the row may have left the page since it was shown.
    fn plan(&self, context: &Context, row_id: &str) -> Option<RowPlan> {
        let title_id = row_id.strip_prefix(self.name())?.strip_prefix(':')?;
        let title = context.shelf.catalogue.number(title_id)?;
        context.finished().find(|&finished| finished == title).map(|title| self.after(context, title, 0.8))
    }
}

impl BecauseYouWatched {
    fn after(&self, context: &Context, title: u32, prior: f64) -> RowPlan {
        let watched = context.title(title);
        RowPlan {
            row_id: format!("{}:{}", self.name(), watched.title_id),
            kind: self.kind(),
            heading: format!("{} {}", self.kind().heading(), watched.name),
            prior,
            min_items: MIN_ITEMS,
            sources: vec![Box::new(Following { title }), Box::new(CoWatched { title })],
            hydrators: &[],
            filters: &[&Eligible, &Unwatched],
            scorer: &AsFound,
            selector: &Best,
        }
    }
}
