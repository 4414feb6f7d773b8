//! How I/O of the runtime goes on: to its end on a thread of its own, or poll by poll where a simulator decides what
//! happens next. Everything else of a shard and of the committer is the same code for both.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;

/// Work that waits for I/O.
pub(crate) type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Who carries work on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Drive {
    /// The calling thread, until the work is done.
    ToTheEnd,
    /// The caller of [`SteppedRuntime::step`](crate::SteppedRuntime::step), one poll at a time.
    StepByStep,
}

impl Drive {
    /// Carries the work on; its outcome once it is done.
    pub(crate) fn carry_on<T>(self, handle: &Handle, work: &mut Work<T>) -> Poll<T> {
        match self {
            Drive::ToTheEnd => Poll::Ready(handle.block_on(work)),
            Drive::StepByStep => work.as_mut().poll(&mut Context::from_waker(Waker::noop())),
        }
    }

    /// Lets time pass between two attempts: in a simulation, whatever happens before the next poll.
    pub(crate) async fn pause(self, duration: Duration) {
        match self {
            Drive::ToTheEnd => tokio::time::sleep(duration).await,
            Drive::StepByStep => {
                let mut polled = false;
                std::future::poll_fn(|_| {
                    if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            }
        }
    }
}
