//! Calls that may block, on threads that may block. A call that is given up goes on in its thread, so the number of
//! them is bounded: a hung engine takes its permits and no more.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::budget::Budget;

/// Calls at the same time. An index or store answers in well under 10 ms, so these are thousands of calls a second;
/// tokio's pool of blocking threads has 512, shared with the log and the lake.
pub(crate) const MAX_CALLS: usize = 64;

/// Runs blocking calls, so many at a time.
#[derive(Clone)]
pub(crate) struct Blocking {
    permits: Arc<Semaphore>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missed {
    /// The budget is spent.
    Late,
    /// The call panicked.
    Defect,
}

impl Blocking {
    /// At most `max_calls` at a time.
    pub(crate) fn new(max_calls: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(max_calls)) }
    }

    /// Runs `work` on a thread that may block. With a spent budget it is not begun.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        budget: Budget,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Missed> {
        if budget.is_over() {
            return Err(Missed::Late);
        }
        let permit = budget.within(Arc::clone(&self.permits).acquire_owned()).await.ok_or(Missed::Late)?;
        let permit = permit.expect("nobody closes the semaphore");
        let call = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        match budget.within(call).await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(panic)) => {
                tracing::error!(error = %panic, "a blocking call met a defect");
                Err(Missed::Defect)
            }
            None => Err(Missed::Late),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    fn budget(ms: u64) -> Budget {
        Budget::before(Instant::now() + Duration::from_millis(ms))
    }

    #[tokio::test]
    async fn hung_calls_are_bounded_and_panics_are_answers() {
        let blocking = Blocking::new(1);
        let (release, hang) = mpsc::channel::<()>();
        let hung = blocking.call(budget(30), move || hang.recv().is_ok()).await;
        assert_eq!(hung, Err(Missed::Late));
        assert_eq!(blocking.call(budget(30), || 1).await, Err(Missed::Late), "the only permit is taken");
        release.send(()).unwrap();
        assert_eq!(blocking.call(budget(10_000), || 1).await, Ok(1));
        assert_eq!(blocking.call(budget(10_000), || panic!("on purpose")).await, Err::<(), _>(Missed::Defect));
        assert_eq!(blocking.call(budget(10_000), || 2).await, Ok(2));
        assert_eq!(blocking.call(budget(0), || 3).await, Err(Missed::Late), "not begun");
    }
}
