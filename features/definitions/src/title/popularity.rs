//! How often a title is watched: in windows of an hour, a day and a week, decayed, and ever.

use serde::{Deserialize, Serialize};

use crate::decayed::Decayed;
use crate::{DAY_MS, Entity, Feature, HOUR_MS, Signal, SignalKind};

pub(crate) const FEATURE: Feature = Feature {
    name: "popularity",
    entity: Entity::Title,
    doc: "views started: in the last 1 h, 24 h and 7 d (by hour; the hour on a window's far edge counts by the share \
          that lies inside), halved for every 7 days of age, and ever",
    unit: "views",
    limits: "equal in any order; hours older than the newest by more than 7 d are dropped from the windows",
};

/// After this a view counts half (ms).
const HALF_LIFE_MS: i64 = 7 * DAY_MS;

/// The hours of the longest window and the one on its edge.
const MAX_HOURS: i32 = 7 * 24 + 1;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Popularity {
    /// (hour since the epoch, views), ascending.
    hours: Vec<(i32, u32)>,
    total: u64,
    decayed: Decayed,
}

impl Popularity {
    pub(crate) fn update(&mut self, signal: &Signal<'_>) {
        if signal.kind != SignalKind::ViewStarted {
            return;
        }
        self.total += 1;
        self.decayed.add(1.0, signal.event_time_ms, HALF_LIFE_MS);
        self.add(signal.event_time_ms.div_euclid(HOUR_MS) as i32, 1);
        self.trim();
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.total += other.total;
        self.decayed.merge(&other.decayed);
        for (hour, views) in &other.hours {
            self.add(*hour, *views);
        }
        self.trim();
    }

    pub(crate) fn total(&self) -> f64 {
        self.total as f64
    }

    pub(crate) fn decayed(&self, at_ms: i64) -> f64 {
        self.decayed.read(at_ms, HALF_LIFE_MS)
    }

    /// Views in the `window_ms` before `at_ms`.
    pub(crate) fn in_window(&self, at_ms: i64, window_ms: i64) -> f64 {
        let from_ms = at_ms - window_ms;
        let views = self.hours.iter().map(|(hour, views)| {
            let began_ms = i64::from(*hour) * HOUR_MS;
            if began_ms > at_ms {
                return 0.0; // after the instant
            }
            let inside_ms = (began_ms + HOUR_MS - from_ms).clamp(0, HOUR_MS);
            f64::from(*views) * inside_ms as f64 / HOUR_MS as f64
        });
        views.sum()
    }

    fn add(&mut self, hour: i32, views: u32) {
        match self.hours.binary_search_by_key(&hour, |(hour, _)| *hour) {
            Ok(index) => self.hours[index].1 = self.hours[index].1.saturating_add(views),
            Err(index) => self.hours.insert(index, (hour, views)),
        }
    }

    fn trim(&mut self) {
        let Some((newest, _)) = self.hours.last() else { return };
        let oldest = newest - MAX_HOURS;
        self.hours.retain(|(hour, _)| *hour > oldest);
    }
}
