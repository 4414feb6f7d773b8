//! The epochs that hold a session's rows, as ranges: a session that is watched for hours has rows in every one.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Epochs in order, as inclusive ranges.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Epochs(Vec<(u64, u64)>);

impl Epochs {
    /// Adds an epoch that is not before the last one.
    #[inline]
    pub(crate) fn push(&mut self, epoch: u64) {
        match self.0.last_mut() {
            Some((_, last)) if *last == epoch => {}
            Some((_, last)) if *last + 1 == epoch => *last = epoch,
            _ => self.0.push((epoch, epoch)),
        }
    }

    pub(crate) fn first(&self) -> Option<u64> {
        self.0.first().map(|(first, _)| *first)
    }

    pub(crate) fn contains(&self, epoch: u64) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&epoch))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// Adds epochs, in any order, those that are there or not.
    pub(crate) fn insert_all(&mut self, epochs: impl IntoIterator<Item = u64>) {
        let all: BTreeSet<u64> = self.iter().chain(epochs).collect();
        *self = Self::default();
        for epoch in all {
            self.push(epoch);
        }
    }

    /// Puts the epochs of `earlier` before these; those that are in both come once.
    pub(crate) fn prepend(&mut self, earlier: Epochs) {
        let later = std::mem::replace(self, earlier);
        let known: Vec<u64> = later.iter().filter(|epoch| !self.contains(*epoch)).collect();
        for epoch in known {
            self.push(epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_range() {
        let mut epochs = Epochs::default();
        for epoch in [3, 3, 4, 7, 8, 8] {
            epochs.push(epoch);
        }
        assert_eq!((&epochs.0[..], epochs.first()), (&[(3, 4), (7, 8)][..], Some(3)));
        assert!(epochs.contains(4) && !epochs.contains(5));
        let mut later = Epochs::default();
        for epoch in [8, 9, 11] {
            later.push(epoch);
        }
        later.prepend(epochs);
        assert_eq!(later.iter().collect::<Vec<_>>(), [3, 4, 7, 8, 9, 11]);
        later.insert_all([10, 1, 4]);
        assert_eq!(later.0, [(1, 1), (3, 4), (7, 11)]);
    }
}
