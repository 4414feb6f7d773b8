//! Points in the space of tastes. Titles and viewers are unit vectors, so their dot product is a cosine.

use rand::rngs::StdRng;

use crate::simulator::random::normal;

/// Dimensions of the space: about as many as there are genres, so that genres are nearly, but not quite, independent.
pub(crate) const DIMENSIONS: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Latent([f64; DIMENSIONS]);

impl Latent {
    pub(crate) const ZERO: Latent = Latent([0.0; DIMENSIONS]);

    /// A direction, all being equally likely.
    pub(crate) fn direction(rng: &mut StdRng) -> Self {
        Self(std::array::from_fn(|_| normal(rng))).unit()
    }

    /// `self + weight · other`
    pub(crate) fn plus(self, weight: f64, other: Latent) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + weight * other.0[i]))
    }

    /// Of length 1; zero stays zero.
    pub(crate) fn unit(self) -> Self {
        let length = self.dot(self).sqrt();
        if length == 0.0 { self } else { Self(self.0.map(|x| x / length)) }
    }

    pub(crate) fn dot(self, other: Latent) -> f64 {
        self.0.iter().zip(other.0).map(|(a, b)| a * b).sum()
    }
}
