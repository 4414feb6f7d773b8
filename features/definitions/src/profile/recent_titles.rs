//! The last titles that a profile watched: what sequence models and "because you watched" look at.

use serde::{Deserialize, Serialize};

use crate::viewed::{Viewed, put};
use crate::{Entity, Feature, Signal};

pub(crate) const FEATURE: Feature = Feature {
    name: "recent_titles",
    entity: Entity::Profile,
    doc: "the last titles watched, each once, with the instant and the share that was watched last",
    unit: "titles",
    limits: "50 titles; ties in time keep the order of arrival, otherwise equal in any order",
};

/// Models look at 50 titles at most on a CPU (L = 50).
pub(crate) const MAX_RECENT_TITLES: usize = 50;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct RecentTitles {
    /// Oldest first, a title once.
    views: Vec<Viewed>,
}

impl RecentTitles {
    pub(crate) fn update(&mut self, signal: &Signal<'_>) {
        if let Some(view) = Viewed::of(signal) {
            put(&mut self.views, view, MAX_RECENT_TITLES);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for view in &other.views {
            put(&mut self.views, view.clone(), MAX_RECENT_TITLES);
        }
    }

    /// Oldest first.
    pub(crate) fn views(&self) -> &[Viewed] {
        &self.views
    }
}
