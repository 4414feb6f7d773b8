//! A histogram of durations with buckets of γ = 1 %: a quantile read from it is at most 1 % above the true one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The bounds of a bucket have this ratio, as in table `qoe_minutes`.
const GAMMA: f64 = 1.01;

/// γ^1852 µs is 101 s: longer than the log's timeout plus the time to parse the largest body. Slower ones are counted
/// in the last bucket.
const BUCKETS: usize = 1853;

/// A lock-free histogram from 1 µs to 100 s.
#[derive(Debug)]
pub(crate) struct Latency {
    /// Bucket `i` counts durations in (γ^(i−1), γ^i] µs, bucket 0 those up to 1 µs.
    counts: Box<[AtomicU64]>,
}

impl Default for Latency {
    fn default() -> Self {
        Self { counts: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Latency {
    pub(crate) fn record(&self, duration: Duration) {
        let duration_us = duration.as_secs_f64() * 1e6;
        let bucket = duration_us.max(1.0).log(GAMMA).ceil() as usize;
        self.counts[bucket.min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> LatencySnapshot {
        LatencySnapshot { counts: self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect() }
    }
}

/// The histogram at one moment, so that several quantiles agree with each other and with the count.
#[derive(Debug)]
pub(crate) struct LatencySnapshot {
    counts: Vec<u64>,
}

impl LatencySnapshot {
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The upper bound of the bucket that holds the quantile `q` (nearest rank), in ms; `None` when nothing was
    /// recorded.
    pub(crate) fn quantile_ms(&self, q: f64) -> Option<f64> {
        let rank = ((q * self.count() as f64).ceil() as u64).max(1);
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_has_no_quantile() {
        let snapshot = Latency::default().snapshot();
        assert_eq!((snapshot.count(), snapshot.quantile_ms(0.5)), (0, None));
    }

    #[test]
    fn extremes_land_in_the_outer_buckets() {
        let latency = Latency::default();
        latency.record(Duration::ZERO);
        latency.record(Duration::from_hours(24));
        let snapshot = latency.snapshot();
        assert_eq!(snapshot.count(), 2);
        assert_eq!(snapshot.quantile_ms(0.5), Some(0.001));
        assert!(snapshot.quantile_ms(1.0).is_some_and(|ms| (100_000.0..102_000.0).contains(&ms)));
    }

    proptest! {
        #[test]
        fn quantiles_are_at_most_one_percent_above(
            mut durations_us in prop::collection::vec(1_u64..90_000_000, 1..200),
            q in 0.01_f64..1.0,
        ) {
            let latency = Latency::default();
            for &duration_us in &durations_us {
                latency.record(Duration::from_micros(duration_us));
            }
            durations_us.sort_unstable();
            let rank = (q * durations_us.len() as f64).ceil() as usize;
            let exact_ms = durations_us[rank - 1] as f64 / 1000.0;
            let snapshot = latency.snapshot();
            prop_assert_eq!(snapshot.count(), durations_us.len() as u64);
            let found_ms = snapshot.quantile_ms(q).expect("something was recorded");
            let rounding = 1e-9;
            prop_assert!(found_ms >= exact_ms * (1.0 - rounding), "{} < {}", found_ms, exact_ms);
            prop_assert!(found_ms <= exact_ms * (GAMMA + rounding), "{} > {}", found_ms, exact_ms);
        }
    }
}
