//! A latency histogram with γ = 1 % buckets: percentiles right within 1 %, recording without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// ln(1.01).
const LN_GAMMA: f64 = 0.009_950_330_853_168_092;

/// Buckets up to 1.01^2400 µs ≈ 6.5 h; longer ones share the last.
const BUCKETS: usize = 2400;

/// A histogram of durations, shared between threads.
#[derive(Debug)]
pub struct LatencyHistogram {
    counts: Vec<AtomicU64>,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self { counts: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl LatencyHistogram {
    /// Records `count` durations of `micros` µs.
    pub fn record_many(&self, micros: u64, count: u64) {
        let bucket = ((micros.max(1) as f64).ln() / LN_GAMMA).ceil() as usize;
        self.counts[bucket.min(BUCKETS - 1)].fetch_add(count, Ordering::Relaxed);
    }

    /// Records one duration of `micros` µs.
    pub fn record(&self, micros: u64) {
        self.record_many(micros, 1);
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|c| c.load(Ordering::Relaxed)).sum()
    }

    /// The duration (ms) that a share `quantile` (0–1) of the recorded ones does not exceed; `None` without any.
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        let total = self.count();
        let wanted = ((total as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count.load(Ordering::Relaxed);
            if total > 0 && seen >= wanted {
                return Some((bucket as f64 * LN_GAMMA).exp() / 1000.0);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_within_one_percent() {
        let histogram = LatencyHistogram::default();
        assert_eq!(histogram.quantile_ms(0.5), None);
        for micros in 1..=10_000 {
            histogram.record(micros);
        }
        for (quantile, ms) in [(0.5, 5.0), (0.99, 9.9), (1.0, 10.0)] {
            let found = histogram.quantile_ms(quantile).unwrap();
            assert!((found / ms - 1.0).abs() < 0.0101, "{quantile}: {found}");
        }
    }
}
