//! How much of a title people watch.

use serde::{Deserialize, Serialize};

use crate::{Entity, Feature, Signal, SignalKind};

pub(crate) const FEATURE: Feature = Feature {
    name: "completion",
    entity: Entity::Title,
    doc: "mean share of the running time over finished views",
    unit: "0 to 1",
    limits: "equal in any order; each share is rounded to 2⁻²⁴",
};

/// Shares are summed as integer multiples of 1 / this: the steps of an f32 just below 1.
const SCALE: f64 = (1_u64 << 24) as f64;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Completion {
    scaled_sum: u64,
    count: u64,
}

impl Completion {
    pub(crate) fn update(&mut self, signal: &Signal<'_>) {
        if let SignalKind::ViewFinished { watched_fraction } = signal.kind {
            self.scaled_sum += (f64::from(watched_fraction) * SCALE).round() as u64;
            self.count += 1;
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.scaled_sum += other.scaled_sum;
        self.count += other.count;
    }

    pub(crate) fn sum_and_count(&self) -> (f64, u64) {
        (self.scaled_sum as f64 / SCALE, self.count)
    }
}
