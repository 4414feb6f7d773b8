//! The time that a request may still spend on waiting. When it is over, futures are polled exactly once, so that what
//! is in memory still answers and the response itself never yields: a deadline of 1 ms gets a page.

use std::time::{Duration, Instant};

use futures::FutureExt as _;

/// Kept back for assembling and encoding the response (ms): ten times what a page of 160 items takes.
const RESERVE_MS: u64 = 5;

/// Until when sources may be waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    until: Instant,
}

impl Budget {
    /// The budget of a request that must be answered at `deadline`.
    pub(crate) fn before(deadline: Instant) -> Self {
        Self { until: deadline.checked_sub(Duration::from_millis(RESERVE_MS)).unwrap_or(deadline) }
    }

    /// Whether nothing may be waited for any more.
    pub(crate) fn is_over(self) -> bool {
        Instant::now() >= self.until
    }

    /// The outcome of `work`, or `None` when it comes too late; it is dropped then.
    pub(crate) async fn within<T>(self, work: impl Future<Output = T>) -> Option<T> {
        if self.is_over() {
            return work.now_or_never();
        }
        tokio::time::timeout_at(self.until.into(), work).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_spent_budget_still_takes_what_is_ready() {
        let budget = Budget::before(Instant::now() + Duration::from_millis(1));
        assert_eq!(budget.within(async { 7 }).await, Some(7));
        let began = Instant::now();
        assert_eq!(budget.within(std::future::pending::<()>()).await, None);
        assert!(began.elapsed() < Duration::from_millis(1), "must not wait for the timer");
        let budget = Budget::before(Instant::now() + Duration::from_millis(25));
        assert_eq!(budget.within(std::future::pending::<()>()).await, None);
        assert!(budget.is_over());
    }
}
