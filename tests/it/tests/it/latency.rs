//! Quantiles of a latency histogram are at most 1 % above the true ones, whatever was recorded.

use std::time::Duration;

use marquee_stream::LatencyHistogram;
use proptest::prelude::*;

proptest! {
    #[test]
    fn quantiles_are_at_most_one_percent_above(
        mut durations_us in prop::collection::vec(1_u64..20_000_000_000, 1..200),
        quantile in 0.01_f64..1.0,
    ) {
        let histogram = LatencyHistogram::default();
        for &duration_us in &durations_us {
            histogram.record(Duration::from_micros(duration_us));
        }
        durations_us.sort_unstable();
        let rank = (quantile * durations_us.len() as f64).ceil() as usize;
        let exact_ms = durations_us[rank - 1] as f64 / 1000.0;
        let snapshot = histogram.snapshot();
        prop_assert_eq!(snapshot.count(), durations_us.len() as u64);
        let found_ms = snapshot.quantile_ms(quantile).expect("something was recorded");
        let rounding = 1e-9;
        prop_assert!(found_ms >= exact_ms * (1.0 - rounding), "{} < {}", found_ms, exact_ms);
        prop_assert!(found_ms <= exact_ms * (1.01 + rounding), "{} > {}", found_ms, exact_ms);
    }
}
