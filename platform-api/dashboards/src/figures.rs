//! The figures that Live shows, from sums that come either from the live minutes or from SQL: one formula for both, so
//! that a difference between them is a difference of the data.

use std::collections::BTreeMap;

use marquee_qoe::{Measure, Measures, SLOTS_PER_MINUTE, startup_bucket, startup_bucket_upper_ms};
use serde::Serialize;

const MINUTE_MS: i64 = 60_000;
const SLOT_MS: i64 = MINUTE_MS / SLOTS_PER_MINUTE as i64;

/// What the figures of a window are made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Sums {
    pub(crate) attempts: i64,
    pub(crate) starts: i64,
    pub(crate) start_failures: i64,
    pub(crate) start_failures_business: i64,
    pub(crate) exits_before_start: i64,
    pub(crate) playback_failures: i64,
    pub(crate) playback_failures_business: i64,
    pub(crate) playing_ms: i64,
    pub(crate) rebuffer_ms: i64,
    pub(crate) startup_ms: i64,
    /// Bucket of γ = 1 % → startups.
    pub(crate) startup_buckets: BTreeMap<i32, i64>,
    /// Start of a 5 s slot (ms since the epoch) → viewers; no zeros.
    pub(crate) viewers: BTreeMap<i64, i64>,
}

impl Sums {
    /// Adds the measures of a minute (minutes since the epoch).
    pub(crate) fn add_minute(&mut self, minute: i64, measures: &Measures) {
        let of = |measure: Measure| measures.values.get(measure as usize).copied().unwrap_or_default();
        self.attempts += of(Measure::Attempts);
        self.starts += of(Measure::Starts);
        self.start_failures += of(Measure::StartFailures);
        self.start_failures_business += of(Measure::StartFailuresBusiness);
        self.exits_before_start += of(Measure::ExitsBeforeStart);
        self.playback_failures += of(Measure::PlaybackFailures);
        self.playback_failures_business += of(Measure::PlaybackFailuresBusiness);
        self.playing_ms += of(Measure::PlayingMs);
        self.rebuffer_ms += of(Measure::RebufferMs);
        self.startup_ms += of(Measure::StartupMs);
        for (bucket, count) in &measures.startup_buckets {
            *self.startup_buckets.entry(*bucket).or_default() += count;
        }
        for (index, viewers) in slots(measures).into_iter().enumerate() {
            self.add_viewers(minute * MINUTE_MS + index as i64 * SLOT_MS, viewers);
        }
    }

    /// Adds viewers to a 5 s slot (its start, ms since the epoch).
    pub(crate) fn add_viewers(&mut self, slot_ms: i64, viewers: i64) {
        if viewers != 0 {
            *self.viewers.entry(slot_ms).or_default() += viewers;
        }
    }

    /// Adds `count` startups that took `startup_ms`.
    pub(crate) fn add_startups(&mut self, startup_ms: i64, count: i64) {
        self.startup_ms += startup_ms * count;
        *self.startup_buckets.entry(startup_bucket(startup_ms)).or_default() += count;
    }

    pub(crate) fn figures(&self) -> Figures {
        let startups = self.startup_buckets.values().sum();
        let start_failures = self.start_failures + self.start_failures_business;
        // Of an attempt that is pending no rate knows anything yet.
        let resolved = self.starts + start_failures + self.exits_before_start;
        Figures {
            attempts: self.attempts,
            starts: self.starts,
            startups,
            startup_ms: self.startup_ms,
            startup_average_ms: ratio(self.startup_ms, startups),
            startup_p50_ms: percentile(&self.startup_buckets, 0.50),
            startup_p95_ms: percentile(&self.startup_buckets, 0.95),
            start_failures: self.start_failures,
            start_failures_business: self.start_failures_business,
            start_failure_ratio: ratio(start_failures, resolved),
            exits_before_start: self.exits_before_start,
            exit_before_start_ratio: ratio(self.exits_before_start, resolved),
            playback_failures: self.playback_failures,
            playback_failures_business: self.playback_failures_business,
            playing_ms: self.playing_ms,
            rebuffer_ms: self.rebuffer_ms,
            rebuffering_ratio: ratio(self.rebuffer_ms, self.playing_ms + self.rebuffer_ms),
            viewers_peak: self.viewers.values().copied().max().unwrap_or_default(),
            viewer_slots: self.viewers.values().sum(),
        }
    }
}

/// The viewers of a minute's twelve slots.
pub(crate) fn slots(measures: &Measures) -> [i64; SLOTS_PER_MINUTE] {
    let first = Measure::Concurrent00 as usize;
    std::array::from_fn(|index| measures.values.get(first + index).copied().unwrap_or_default())
}

/// The figures of a window, after Marquee's own definition (view `qoe_marquee`): every attempt ends in one outcome and is
/// in no ratio before, rebuffering is measured against the time in which it was possible.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Play requests, those without an outcome yet included.
    pub attempts: i64,
    /// Attempts that came to a first frame.
    pub starts: i64,
    /// Uninterrupted startups of these attempts.
    pub startups: i64,
    /// Sum of their startup times (ms).
    pub startup_ms: i64,
    /// `startup_ms` ÷ `startups`.
    pub startup_average_ms: Option<f64>,
    /// Half of the startups took this long at most (ms, at most 1 % too high).
    pub startup_p50_ms: Option<f64>,
    /// As above for 95 of 100.
    pub startup_p95_ms: Option<f64>,
    /// Attempts that ended in a technical error before the first frame.
    pub start_failures: i64,
    /// … in a business error.
    pub start_failures_business: i64,
    /// Both ÷ attempts with an outcome (starts, start failures and exits before start), 0 to 1.
    pub start_failure_ratio: Option<f64>,
    /// Attempts that the viewer gave up before the first frame.
    pub exits_before_start: i64,
    /// ÷ attempts with an outcome, 0 to 1.
    pub exit_before_start_ratio: Option<f64>,
    /// Technical errors that ended playback after the first frame, in the minute of the error.
    pub playback_failures: i64,
    /// Business errors that did.
    pub playback_failures_business: i64,
    /// Time playing (ms).
    pub playing_ms: i64,
    /// Time rebuffering (ms).
    pub rebuffer_ms: i64,
    /// `rebuffer_ms` ÷ (`playing_ms` + `rebuffer_ms`), 0 to 1.
    pub rebuffering_ratio: Option<f64>,
    /// The most viewers at the start of a 5 s slot.
    pub viewers_peak: i64,
    /// Viewers summed over all 5 s slots.
    pub viewer_slots: i64,
}

fn ratio(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The upper end of the bucket that holds the `share`-th of the startups (nearest rank).
fn percentile(buckets: &BTreeMap<i32, i64>, share: f64) -> Option<f64> {
    let total: i64 = buckets.values().sum();
    let rank = (total as f64 * share).ceil() as i64;
    let mut below = 0;
    for (bucket, count) in buckets {
        below += count;
        if total > 0 && below >= rank {
            return Some(startup_bucket_upper_ms(*bucket));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_happened_is_no_ratio() {
        let figures = Sums::default().figures();
        assert_eq!((figures.rebuffering_ratio, figures.startup_p95_ms, figures.viewers_peak), (None, None, 0));
    }

    #[test]
    fn pending_attempts_are_in_no_ratio() {
        let mut measures = Measures::default();
        let counted = [
            (Measure::Attempts, 100),
            (Measure::Starts, 5),
            (Measure::StartFailures, 1),
            (Measure::StartFailuresBusiness, 2),
            (Measure::ExitsBeforeStart, 2),
        ];
        for (measure, count) in counted {
            measures.add(measure as usize, count);
        }
        let mut sums = Sums::default();
        sums.add_minute(1, &measures);
        let figures = sums.figures();
        assert_eq!((figures.attempts, figures.starts), (100, 5));
        assert_eq!((figures.start_failure_ratio, figures.exit_before_start_ratio), (Some(0.3), Some(0.2)));
        let pending = Sums { attempts: 7, ..Sums::default() }.figures();
        assert_eq!((pending.start_failure_ratio, pending.exit_before_start_ratio), (None, None));
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let mut sums = Sums::default();
        for startup_ms in 1..=100 {
            sums.add_startups(startup_ms * 10, 1);
        }
        let figures = sums.figures();
        let close = |found: Option<f64>, ms: f64| found.is_some_and(|found| found >= ms && found <= ms * 1.01 + 1e-6);
        assert!(close(figures.startup_p50_ms, 500.0) && close(figures.startup_p95_ms, 950.0), "{figures:?}");
        assert_eq!((figures.startups, figures.startup_average_ms), (100, Some(505.0)));
    }

    #[test]
    fn a_retracted_minute_leaves_nothing() {
        let mut measures = Measures::default();
        measures.add(Measure::Attempts as usize, 3);
        measures.add(Measure::Concurrent00 as usize + 11, 2);
        measures.add_bucket(700, 1);
        let mut sums = Sums::default();
        sums.add_minute(1, &measures);
        assert_eq!(sums.viewers, BTreeMap::from([(115_000, 2)]));
        for value in &mut measures.values {
            *value = -*value;
        }
        measures.startup_buckets[0].1 = -1;
        sums.add_minute(1, &measures);
        assert_eq!(sums.figures(), Sums::default().figures());
    }
}
