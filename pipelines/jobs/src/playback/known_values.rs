//! Which values of a dimension the minutes tell apart. The first ones of a day get a place until the bound of the
//! dimension is reached, later ones are `other`.
//!
//! A value that has a place keeps it, and one that came too late never gets one that day: so a re-fold retracts from the
//! very cell that the old fold added to. The day is that of the session's first event. The state rides in the shard's
//! snapshot; it follows from the log alone.

use std::collections::BTreeMap;

use hashbrown::HashSet;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::DAY_MS;
use super::closed_index::RETENTION_MS;
use super::cube_list::{DIMENSIONS, OTHER};

/// A session may have begun a day before the closed-session index forgets it; one more for the edge.
const KEPT_MS: i64 = RETENTION_MS + 2 * DAY_MS;

/// Hashes of the values that have a place, by day since the epoch and dimension.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct KnownValues {
    days: BTreeMap<i64, [HashSet<u64>; DIMENSIONS.len()]>,
}

impl KnownValues {
    /// The value under which a session that began at `started_at_ms` is counted. The unknown value needs no place.
    pub(crate) fn place<'a>(&mut self, started_at_ms: i64, dimension: &str, value: &'a str) -> &'a str {
        let index = DIMENSIONS.iter().position(|(name, _)| *name == dimension);
        let index = index.expect("a cube's dimensions are listed");
        if value.is_empty() {
            return value;
        }
        let known = &mut self.days.entry(started_at_ms.div_euclid(DAY_MS)).or_default()[index];
        let hash = xxh3_64(value.as_bytes());
        if known.contains(&hash) {
            return value;
        }
        if known.len() == DIMENSIONS[index].1 {
            return OTHER;
        }
        known.insert(hash);
        value
    }

    /// Drops the days of which no session can be folded anew.
    pub(crate) fn forget_before(&mut self, watermark_ms: i64) {
        self.days = self.days.split_off(&first_kept_day(watermark_ms));
    }
}

/// The first day (since the epoch) whose places are still known.
pub(crate) fn first_kept_day(watermark_ms: i64) -> i64 {
    watermark_ms.saturating_sub(KEPT_MS).div_euclid(DAY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_past_the_bound_of_a_day_are_other() {
        let mut known = KnownValues::default();
        let bound = DIMENSIONS.iter().find(|(name, _)| *name == "protocol").unwrap().1;
        for number in 0..bound {
            let value = format!("p{number}");
            assert_eq!(known.place(0, "protocol", &value), value);
        }
        assert_eq!(known.place(0, "protocol", "one more"), OTHER);
        assert_eq!(known.place(0, "protocol", "p3"), "p3", "who has a place keeps it");
        assert_eq!(known.place(0, "protocol", ""), "", "the unknown value needs none");
        assert_eq!(known.place(0, "cdn", "one more"), "one more", "each dimension has its own");
        assert_eq!(known.place(DAY_MS, "protocol", "one more"), "one more", "so has each day");
        known.forget_before(KEPT_MS + DAY_MS - 1);
        assert_eq!(known.place(0, "protocol", "two more"), OTHER, "the day is still needed");
        known.forget_before(KEPT_MS + DAY_MS);
        assert_eq!(known.days.len(), 1);
    }
}
