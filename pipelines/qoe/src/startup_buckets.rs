//! Sparse logarithmic buckets for startup times: fixed γ = 1 %, never collapsed, so that deltas subtract exactly.

/// The relative width of a bucket: percentiles are right within 1 %.
const GAMMA: f64 = 1.01;

/// The longest startup that has a bucket of its own (24 h); longer ones share it.
const LONGEST_MS: i64 = 24 * 60 * 60 * 1000;

/// The bucket of a startup time in ms: 0 for 0–1 ms, else `⌈ln(ms) ÷ ln(1.01)⌉`.
pub fn startup_bucket(startup_ms: i64) -> i32 {
    let clamped = startup_ms.clamp(1, LONGEST_MS) as f64;
    (clamped.ln() / GAMMA.ln()).ceil() as i32
}

/// The largest startup time (ms) that falls into a bucket.
pub fn startup_bucket_upper_ms(bucket: i32) -> f64 {
    GAMMA.powi(bucket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_bounds_its_values_within_one_percent() {
        for ms in [1, 2, 3, 10, 99, 100, 101, 1_234, 60_000, LONGEST_MS] {
            let upper = startup_bucket_upper_ms(startup_bucket(ms));
            assert!(upper >= ms as f64 * 0.999_999 && upper <= ms as f64 * 1.010_001, "{ms}: {upper}");
        }
        assert_eq!(startup_bucket(0), startup_bucket(1));
        assert_eq!(startup_bucket(i64::MAX), startup_bucket(86_400_000), "a day and longer share one");
        assert!(startup_bucket(85_000_000) < startup_bucket(86_400_000), "less than a day has its own");
    }
}
