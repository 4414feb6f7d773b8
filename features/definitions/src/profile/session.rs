//! What the viewer is doing right now: the titles touched without half an hour of silence in between.

use serde::{Deserialize, Serialize};

use crate::{Entity, Feature, Signal, SignalKind, Touched};

pub(crate) const FEATURE: Feature = Feature {
    name: "session",
    entity: Entity::Profile,
    doc: "titles watched, chosen, listed or rated in the session that is going on",
    unit: "titles",
    limits: "20 titles; equal in any order unless a title's own signals come more than 30 min out of order",
};

/// A longer silence ends the session (ms): the gap that web analytics agree on.
const GAP_MS: i64 = 30 * 60 * 1000;

/// A page reacts to the last few.
const MAX_TITLES: usize = 20;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Session {
    /// By the last touch, oldest first; a title once.
    touched: Vec<Touched>,
}

impl Touched {
    /// Joins what overlaps or lies within the gap; otherwise the later one stays.
    fn join(&mut self, other: &Touched) {
        let apart = other.first_ms - self.last_ms > GAP_MS || self.first_ms - other.last_ms > GAP_MS;
        if !apart {
            self.first_ms = self.first_ms.min(other.first_ms);
        } else if other.last_ms > self.last_ms {
            self.first_ms = other.first_ms;
        }
        self.last_ms = self.last_ms.max(other.last_ms);
    }
}

impl Session {
    pub(crate) fn update(&mut self, signal: &Signal<'_>) {
        // Turning something away is no interest in it.
        if matches!(signal.kind, SignalKind::ListRemove | SignalKind::NotInterested) {
            return;
        }
        let at_ms = signal.event_time_ms;
        put_touched(
            &mut self.touched,
            Touched { title_id: signal.title_id.to_owned(), first_ms: at_ms, last_ms: at_ms },
        );
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for touched in &other.touched {
            put_touched(&mut self.touched, touched.clone());
        }
    }

    /// The titles of the session at an instant, by their last touch, oldest first.
    pub(crate) fn read(&self, at_ms: i64) -> Vec<&str> {
        session_at(&self.touched, at_ms)
    }

    /// By the last touch, oldest first.
    pub(crate) fn touched(&self) -> &[Touched] {
        &self.touched
    }
}

/// Puts a title into a list that is ordered by last touch, ties by arrival, and holds a title once.
pub(crate) fn put_touched(list: &mut Vec<Touched>, mut touched: Touched) {
    if let Some(index) = list.iter().position(|known| known.title_id == touched.title_id) {
        if list[index].last_ms >= touched.last_ms {
            list[index].join(&touched);
            return;
        }
        touched.join(&list.remove(index));
    }
    let index = list.partition_point(|known| known.last_ms <= touched.last_ms);
    list.insert(index, touched);
    if list.len() > MAX_TITLES {
        list.remove(0);
    }
}

/// The titles of the session at an instant.
pub(crate) fn session_at(list: &[Touched], at_ms: i64) -> Vec<&str> {
    let mut began_ms = at_ms;
    let mut titles = Vec::new();
    for touched in list.iter().rev() {
        if began_ms - touched.last_ms > GAP_MS {
            break;
        }
        began_ms = began_ms.min(touched.first_ms);
        titles.push(touched.title_id.as_str());
    }
    titles.reverse();
    titles
}
