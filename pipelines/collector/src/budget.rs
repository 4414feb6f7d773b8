//! A bound on something that many requests hold at once: bytes, or the requests themselves. Nobody waits: what does
//! not fit is refused, and the client tries again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So much may be held at once.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    held: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, held: AtomicUsize::new(0) }
    }

    /// A reservation of nothing, to be grown.
    pub(crate) fn reservation(self: &Arc<Self>) -> Reservation {
        Reservation { budget: Arc::clone(self), amount: 0 }
    }
}

/// A part of a [`Budget`], given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    amount: usize,
}

/// The budget is spent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Spent;

impl Reservation {
    /// Reserves `more`, or nothing when that would exceed the limit.
    pub(crate) fn grow(&mut self, more: usize) -> Result<(), Spent> {
        let within = |held: usize| held.checked_add(more).filter(|&sum| sum <= self.budget.limit);
        self.budget.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).map_err(|_| Spent)?;
        self.amount += more;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_can_be_reserved_again() {
        let budget = Arc::new(Budget::new(10));
        let mut first = budget.reservation();
        let mut second = budget.reservation();
        assert_eq!(first.grow(6), Ok(()));
        assert_eq!(second.grow(5), Err(Spent));
        assert_eq!(second.grow(4), Ok(()));
        assert_eq!(first.grow(1), Err(Spent));
        drop(first);
        assert_eq!(second.grow(6), Ok(()));
        assert_eq!(second.grow(usize::MAX), Err(Spent));
    }
}
