//! What a profile has seen and what it has begun: the filter of the rows, and "continue watching".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::viewed::{Viewed, put};
use crate::{Entity, Feature, Signal, SignalKind, Watched};

pub(crate) const FEATURE: Feature = Feature {
    name: "viewing",
    entity: Entity::Profile,
    doc: "titles seen (nine tenths watched, or rated) and titles begun and not seen since",
    unit: "titles",
    limits: "4096 seen and 20 unfinished titles, the newest; equal in any order below that",
};

/// From here on only credits are left.
const SEEN_FROM: f32 = 0.9;

/// The filter of a vector search takes a few thousand titles; the keenest of MovieLens small has 2698.
const MAX_SEEN: usize = 4096;

/// A row shows about so many; older ones were given up.
const MAX_UNFINISHED: usize = 20;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Viewing {
    /// Title → when it was seen last (ms since the epoch).
    seen: BTreeMap<String, i64>,
    /// Oldest first.
    unfinished: Vec<Viewed>,
}

impl Viewing {
    pub(crate) fn update(&mut self, signal: &Signal<'_>) {
        let is_seen = match signal.kind {
            SignalKind::Rating { .. } => true,
            SignalKind::ViewProgress { watched_fraction } | SignalKind::ViewFinished { watched_fraction } => {
                watched_fraction >= SEEN_FROM
            }
            _ => false,
        };
        if is_seen {
            self.put_seen(signal.title_id, signal.event_time_ms);
        } else if let Some(view) = Viewed::of(signal) {
            self.put_unfinished(view);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (title_id, at_ms) in &other.seen {
            self.put_seen(title_id, *at_ms);
        }
        for view in &other.unfinished {
            self.put_unfinished(view.clone());
        }
    }

    /// Newest first.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = Watched> {
        self.unfinished.iter().rev().map(Viewed::watched)
    }

    pub(crate) fn seen(&self) -> impl ExactSizeIterator<Item = &str> {
        self.seen.keys().map(String::as_str)
    }

    fn put_seen(&mut self, title_id: &str, at_ms: i64) {
        match self.seen.get_mut(title_id) {
            Some(known) => *known = at_ms.max(*known),
            None => {
                self.seen.insert(title_id.to_owned(), at_ms);
            }
        }
        // What remains was begun again since: it is not as far as it was before it was seen.
        self.unfinished.retain(|view| view.title_id != title_id || view.at_ms > at_ms);
        self.unfinished.iter_mut().filter(|view| view.title_id == title_id).for_each(|view| view.forget_through(at_ms));
        if self.seen.len() > MAX_SEEN {
            let oldest = self.seen.iter().min_by_key(|(_, at_ms)| **at_ms).map(|(title_id, _)| title_id.clone());
            oldest.and_then(|title_id| self.seen.remove(&title_id));
        }
    }

    fn put_unfinished(&mut self, mut view: Viewed) {
        if let Some(seen_ms) = self.seen.get(&view.title_id) {
            // Begun before it was seen: told late, or told by the same signal as its end.
            if *seen_ms >= view.at_ms {
                return;
            }
            view.forget_through(*seen_ms);
        }
        put(&mut self.unfinished, view, MAX_UNFINISHED);
    }
}
