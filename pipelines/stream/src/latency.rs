//! A histogram of durations with buckets of γ = 1 %: a quantile read from it is at most 1 % above the true one, and
//! recording takes no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The bounds of a bucket have this ratio, as in table `qoe_minutes`.
const GAMMA: f64 = 1.01;

/// γ^2399 µs is 6.5 h: longer than any record waits for the live view. Slower ones are counted in the last bucket.
const BUCKETS: usize = 2400;

/// A histogram from 1 µs to 6.5 h, shared between threads.
#[derive(Debug)]
pub struct LatencyHistogram {
    /// Bucket `i` counts durations in (γ^(i−1), γ^i] µs, bucket 0 those up to 1 µs.
    counts: Box<[AtomicU64]>,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self { counts: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl LatencyHistogram {
    /// Records one duration.
    pub fn record(&self, duration: Duration) {
        self.record_many(duration, 1);
    }

    /// Records `count` durations of this length.
    pub fn record_many(&self, duration: Duration, count: u64) {
        let duration_us = duration.as_secs_f64() * 1e6;
        let bucket = duration_us.max(1.0).log(GAMMA).ceil() as usize;
        self.counts[bucket.min(BUCKETS - 1)].fetch_add(count, Ordering::Relaxed);
    }

    /// The histogram as it is now.
    pub fn snapshot(&self) -> LatencySnapshot {
        LatencySnapshot { counts: self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect() }
    }

    /// One quantile as it is now; for several take a [`snapshot`](Self::snapshot), see
    /// [`LatencySnapshot::quantile_ms`].
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        self.snapshot().quantile_ms(quantile)
    }
}

/// The histogram at one moment, so that several quantiles agree with each other and with the count.
#[derive(Debug, Clone)]
pub struct LatencySnapshot {
    counts: Box<[u64]>,
}

impl LatencySnapshot {
    /// How many durations were recorded.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The duration (ms, at most 1 % too high) that a share `quantile` (0–1, nearest rank) of the recorded ones does not
    /// exceed; `None` when nothing was recorded.
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        let rank = ((quantile * self.count() as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(GAMMA.powi(bucket as i32) / 1000.0);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_has_no_quantile() {
        let snapshot = LatencyHistogram::default().snapshot();
        assert_eq!((snapshot.count(), snapshot.quantile_ms(0.5)), (0, None));
    }

    #[test]
    fn extremes_land_in_the_outer_buckets() {
        let histogram = LatencyHistogram::default();
        histogram.record(Duration::ZERO);
        histogram.record(Duration::from_hours(24));
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.count(), 2);
        assert_eq!(snapshot.quantile_ms(0.5), Some(0.001));
        let last_ms = snapshot.quantile_ms(1.0).unwrap();
        assert!((last_ms / (6.5 * 3_600_000.0) - 1.0).abs() < 0.01, "{last_ms}");
    }

    #[test]
    fn many_count_as_so_many() {
        let histogram = LatencyHistogram::default();
        histogram.record_many(Duration::from_millis(1), 99);
        histogram.record(Duration::from_secs(1));
        assert_eq!(histogram.snapshot().count(), 100);
        assert!(histogram.quantile_ms(0.99).is_some_and(|ms| (1.0..1.01).contains(&ms)));
        assert!(histogram.quantile_ms(1.0).is_some_and(|ms| (1000.0..1010.0).contains(&ms)));
    }
}
