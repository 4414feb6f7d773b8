//! Draws from seeded generators. Each purpose has a generator of its own, so that a new draw for one moves no other.

use std::ops::RangeInclusive;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The generator for one purpose of one session.
pub(crate) fn generator(seed: u64, index: u64, purpose: &str) -> StdRng {
    let purpose = purpose.bytes().fold(0, |hash, byte| mix(hash, u64::from(byte)));
    StdRng::seed_from_u64(mix(mix(seed, index), purpose))
}

/// Mixes two numbers into one (the finaliser of `SplitMix64`, Steele et al. 2014).
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let mut z = (a ^ b.wrapping_mul(0xff51_afd7_ed55_8ccd)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

pub(crate) fn chance(rng: &mut StdRng, probability: f64) -> bool {
    rng.random::<f64>() < probability
}

pub(crate) fn pick<'a>(rng: &mut StdRng, values: &[&'a str]) -> &'a str {
    values[rng.random_range(0..values.len())]
}

pub(crate) fn weighted<T: Copy>(rng: &mut StdRng, values: &[(T, u32)]) -> T {
    let total: u32 = values.iter().map(|(_, weight)| weight).sum();
    let mut at = rng.random_range(0..total);
    for (value, weight) in values {
        if at < *weight {
            return *value;
        }
        at -= weight;
    }
    values[0].0
}

/// Exponential with this mean.
pub(crate) fn exponential(rng: &mut StdRng, mean: f64) -> f64 {
    -mean * (1.0 - rng.random::<f64>()).ln()
}

/// Standard normal (Box and Muller's transform).
pub(crate) fn normal(rng: &mut StdRng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    let angle = std::f64::consts::TAU * rng.random::<f64>();
    radius * angle.cos()
}

/// Log-normal with this median.
pub(crate) fn log_normal(rng: &mut StdRng, median: f64, sigma: f64) -> f64 {
    median * (sigma * normal(rng)).exp()
}

/// Log-uniform within a range of positive numbers.
pub(crate) fn log_uniform(rng: &mut StdRng, range: &RangeInclusive<i64>) -> i64 {
    let (low, high) = ((*range.start() as f64).ln(), (*range.end() as f64).ln());
    let value = (low + (high - low) * rng.random::<f64>()).exp().round() as i64;
    value.clamp(*range.start(), *range.end())
}
