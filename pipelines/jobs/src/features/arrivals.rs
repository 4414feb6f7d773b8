//! What is remembered of how a profile's interactions came: the error of its clock and the ids that were seen. At most
//! the last 1024 ids, and nothing a day after the profile's last record: memory follows the profiles of a day.

use std::collections::VecDeque;

use marquee_events::CLOCK_TOLERANCE_MS;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// Ids remembered of a profile: a client that sends again sends its last few batches, and nobody does a thousand things
/// in the minutes that it may be offline. A repetition further back counts anew.
const MAX_IDS: usize = 1024;

/// A profile that sends nothing for so long begins anew (ms, on the collector's clock).
const HORIZON_MS: i64 = 24 * 60 * 60 * 1000;

/// The arrivals of one profile: 8 kB at most.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Arrivals {
    /// When the last record came (ms since the epoch): the latest instant at which any of the shard had come by then.
    last_received_ms: i64,
    clock_shift_ms: i64,
    /// Hashes of ids, oldest first. Of 1024, two collide once in 10¹³ profiles.
    ids: VecDeque<u64>,
}

impl Arrivals {
    /// A record came; the shard's latest came at `latest_received_ms` (since the epoch, on the collectors' clocks).
    pub(crate) fn start_record(&mut self, latest_received_ms: i64) {
        if self.is_over(latest_received_ms) {
            *self = Self::default();
        }
        self.last_received_ms = self.last_received_ms.max(latest_received_ms);
    }

    /// Whether nothing of it would be used at this instant.
    pub(crate) fn is_over(&self, latest_received_ms: i64) -> bool {
        latest_received_ms.saturating_sub(self.last_received_ms) > HORIZON_MS
    }

    /// What corrects the clock of a batch (ms). A shift stays until the error changes by more than the tolerance:
    /// otherwise the network's jitter would reorder what a viewer did.
    pub(crate) fn clock_shift_ms(&mut self, sent_at_ms: i64, received_at_ms: i64) -> i64 {
        if sent_at_ms == 0 {
            return 0; // the client did not say
        }
        let error_ms = received_at_ms.saturating_sub(sent_at_ms);
        if error_ms.saturating_sub(self.clock_shift_ms).saturating_abs() > CLOCK_TOLERANCE_MS {
            self.clock_shift_ms = if error_ms.saturating_abs() > CLOCK_TOLERANCE_MS { error_ms } else { 0 };
        }
        self.clock_shift_ms
    }

    /// Whether an interaction came before; without an id its place in the log is its identity, and it did not.
    pub(crate) fn is_duplicate(&mut self, interaction_id: &str) -> bool {
        if interaction_id.is_empty() {
            return false;
        }
        let id = xxh3_64(interaction_id.as_bytes());
        if self.ids.contains(&id) {
            return true;
        }
        if self.ids.len() == MAX_IDS {
            self.ids.pop_front();
        }
        self.ids.push_back(id);
        false
    }

    /// Whether there is anything to remember.
    pub(crate) fn is_empty(&self) -> bool {
        self.clock_shift_ms == 0 && self.ids.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_remembered_up_to_the_bound() {
        let mut arrivals = Arrivals::default();
        assert!(!arrivals.is_duplicate("") && !arrivals.is_duplicate(""));
        assert!(arrivals.is_empty());
        for number in 0..=MAX_IDS {
            assert!(!arrivals.is_duplicate(&number.to_string()));
        }
        assert!(arrivals.is_duplicate(&MAX_IDS.to_string()) && arrivals.is_duplicate("1"));
        assert!(!arrivals.is_duplicate("0"), "the oldest was forgotten");
        assert_eq!(arrivals.ids.len(), MAX_IDS);
    }

    #[test]
    fn a_day_of_silence_forgets() {
        let now_ms = 1_700_000_000_000;
        let mut arrivals = Arrivals::default();
        arrivals.start_record(now_ms);
        assert!(!arrivals.is_duplicate("a"));
        arrivals.start_record(now_ms + HORIZON_MS);
        assert!(arrivals.is_duplicate("a"));
        arrivals.start_record(now_ms); // the collector's clock was set back
        arrivals.start_record(now_ms + 2 * HORIZON_MS);
        assert!(arrivals.is_duplicate("a") && !arrivals.is_over(now_ms + 3 * HORIZON_MS));
        arrivals.start_record(now_ms + 3 * HORIZON_MS + 1);
        assert!(!arrivals.is_duplicate("a"));
    }

    #[test]
    fn a_wrong_clock_is_corrected_steadily() {
        let mut arrivals = Arrivals::default();
        let now_ms = 1_700_000_000_000;
        assert_eq!(arrivals.clock_shift_ms(0, now_ms), 0);
        assert_eq!(arrivals.clock_shift_ms(now_ms - 1_900, now_ms), 0, "the network");
        assert_eq!(arrivals.clock_shift_ms(now_ms - 60_000, now_ms), 60_000);
        assert_eq!(arrivals.clock_shift_ms(now_ms - 61_500, now_ms), 60_000, "jitter");
        assert_eq!(arrivals.clock_shift_ms(now_ms + 3_600_000, now_ms), -3_600_000);
        assert_eq!(arrivals.clock_shift_ms(now_ms - 10, now_ms), 0, "right again");
        assert_eq!(arrivals.clock_shift_ms(i64::MAX, now_ms), now_ms - i64::MAX);
    }
}
