//! What networks and retries do to batches.

use rand::{Rng as _, rngs::StdRng};

/// Swaps three tenths of all neighbours and repeats a tenth of the batches anywhere.
pub fn disorder<T: Clone>(batches: &mut Vec<T>, rng: &mut StdRng) {
    for at in 1..batches.len() {
        if rng.random_bool(0.3) {
            batches.swap(at - 1, at);
        }
    }
    for _ in 0..batches.len() / 10 {
        let batch = batches[rng.random_range(0..batches.len())].clone();
        batches.insert(rng.random_range(0..=batches.len()), batch);
    }
}
