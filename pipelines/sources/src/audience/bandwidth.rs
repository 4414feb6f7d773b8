//! What a viewer's network carries, second by second: a seeded random walk that returns to its median, with sudden
//! drops. All sums are integers (bit · ms ÷ s), so that a download has one exact duration.

use rand::Rng;
use rand::rngs::StdRng;

use crate::simulator::random::{chance, normal};

/// The walk (in natural logarithms of the median): each second it keeps this share of its distance and takes a normal
/// step of this size, so that it strays by about a factor of 1.4 either way.
const PERSISTENCE: f64 = 0.95;
const STEP_SIGMA: f64 = 0.11;
/// Each second a drop begins with this probability: about one in two minutes.
const DROP_BEGINS: f64 = 0.008;
/// Each second a drop ends with this probability: after ten seconds in the mean, so that some outlast a full buffer.
const DROP_ENDS: f64 = 0.1;
/// What is left during a drop, as a share.
const DROP_SHARE: std::ops::Range<f64> = 0.01..0.2;
/// No network is slower (bit/s): GPRS.
const MIN_BPS: u64 = 20_000;
/// No network is faster (bit/s).
const MAX_BPS: u64 = 1_000_000_000;

const MS_PER_S: i64 = 1_000;

/// A network from a session's beginning on. It is written down as it is asked about.
pub(crate) struct BandwidthTrace {
    per_second_bps: Vec<u64>,
    walk: Option<Walk>,
}

struct Walk {
    rng: StdRng,
    median_bps: f64,
    strayed: f64,
    drop_share: Option<f64>,
}

impl BandwidthTrace {
    pub(crate) fn walk(rng: StdRng, median_bps: f64) -> Self {
        let walk = Walk { rng, median_bps, strayed: 0.0, drop_share: None };
        Self { per_second_bps: Vec::new(), walk: Some(walk) }
    }

    /// A network that is known second by second; the last one goes on for ever.
    #[cfg(test)]
    pub(crate) fn known(per_second_bps: &[u64]) -> Self {
        Self { per_second_bps: per_second_bps.to_vec(), walk: None }
    }

    /// The first instant at which `bits` that are asked for at `from_ms` have come, or `None` when that is not before
    /// `until_ms`.
    pub(crate) fn arrival_ms(&mut self, from_ms: i64, bits: u64, until_ms: i64) -> Option<i64> {
        let mut left = bits * MS_PER_S as u64;
        let mut at_ms = from_ms;
        while at_ms < until_ms {
            let bps = self.bps(at_ms / MS_PER_S);
            let step_ms = MS_PER_S - at_ms % MS_PER_S;
            let needed_ms = left.div_ceil(bps) as i64;
            if needed_ms <= step_ms {
                return Some(at_ms + needed_ms).filter(|arrival| *arrival < until_ms);
            }
            left -= bps * step_ms as u64;
            at_ms += step_ms;
        }
        None
    }

    /// What can come between two instants (bits).
    pub(crate) fn bits_between(&mut self, from_ms: i64, to_ms: i64) -> u64 {
        let (mut at_ms, mut sum) = (from_ms, 0);
        while at_ms < to_ms {
            let step_ms = (MS_PER_S - at_ms % MS_PER_S).min(to_ms - at_ms);
            sum += self.bps(at_ms / MS_PER_S) * step_ms as u64;
            at_ms += step_ms;
        }
        sum / MS_PER_S as u64
    }

    fn bps(&mut self, second: i64) -> u64 {
        let second = second as usize;
        if let Some(walk) = &mut self.walk {
            while self.per_second_bps.len() <= second {
                self.per_second_bps.push(walk.next_bps());
            }
        }
        self.per_second_bps.get(second).or(self.per_second_bps.last()).copied().unwrap_or(MIN_BPS)
    }
}

impl Walk {
    fn next_bps(&mut self) -> u64 {
        self.strayed = PERSISTENCE * self.strayed + STEP_SIGMA * normal(&mut self.rng);
        self.drop_share = match self.drop_share {
            Some(share) => (!chance(&mut self.rng, DROP_ENDS)).then_some(share),
            None => chance(&mut self.rng, DROP_BEGINS).then(|| self.rng.random_range(DROP_SHARE)),
        };
        let bps = self.median_bps * self.strayed.exp() * self.drop_share.unwrap_or(1.0);
        (bps as u64).clamp(MIN_BPS, MAX_BPS)
    }
}
