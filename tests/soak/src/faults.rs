//! What goes wrong, by seed: how often each kind of fault happens now, and the dice that decide about the next one.

use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

/// Probabilities of faults of one request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    /// It lands, and an error comes back.
    pub lost_reply: f64,
    /// It does not land, and an error comes back.
    pub refused: f64,
    /// An error comes back, and it lands later.
    pub late: f64,
    /// What a process that crashed had under way lands later; otherwise it is lost.
    pub late_after_crash: f64,
    /// A reading fails.
    pub unreadable: f64,
    /// The live topic is full.
    pub log_full: f64,
    /// No more writes.
    pub disk_full: bool,
}

/// The dice and the rates, shared by all that is simulated.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dice: Mutex<SmallRng>,
    rates: Mutex<Rates>,
    /// Messages until whoever sends the next one is killed.
    messages_left: Mutex<Option<usize>>,
}

/// What unwinds when somebody is killed.
struct Killed;

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Lands,
    LosesItsReply,
    IsRefused,
    LandsLate,
}

impl Faults {
    /// Dice of this seed and no faults.
    pub fn new(seed: u64) -> Self {
        let dice = Mutex::new(SmallRng::seed_from_u64(seed));
        Self(Arc::new(Inner { dice, rates: Mutex::default(), messages_left: Mutex::default() }))
    }

    /// Changes what goes wrong from now on.
    pub fn set(&self, rates: Rates) {
        *self.0.rates.lock().unwrap_or_else(PoisonError::into_inner) = rates;
    }

    /// What goes wrong now.
    pub fn rates(&self) -> Rates {
        *self.0.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something of this probability happens.
    pub fn happens(&self, probability: f64) -> bool {
        probability > 0.0 && self.0.dice.lock().unwrap_or_else(PoisonError::into_inner).random_bool(probability)
    }

    /// A number below `end`.
    pub fn below(&self, end: usize) -> usize {
        self.0.dice.lock().unwrap_or_else(PoisonError::into_inner).random_range(0..end.max(1))
    }

    /// What becomes of the next write.
    pub fn fate(&self) -> Fate {
        let rates = self.rates();
        match () {
            () if rates.disk_full => Fate::IsRefused,
            () if self.happens(rates.lost_reply) => Fate::LosesItsReply,
            () if self.happens(rates.refused) => Fate::IsRefused,
            () if self.happens(rates.late) => Fate::LandsLate,
            () => Fate::Lands,
        }
    }

    /// Does this while no request fails: for those who would let real time pass before they try again.
    pub fn spare<T>(&self, what: impl FnOnce() -> T) -> T {
        let rates = self.rates();
        // What a killed process had under way may land all the same.
        self.set(Rates { late_after_crash: rates.late_after_crash, ..Rates::default() });
        let done = what();
        self.set(rates);
        done
    }

    /// Does this, and kills whoever does it after so many messages, requests and replies: `None` then.
    pub fn kill_after<T>(&self, messages: usize, what: impl FnOnce() -> T) -> Option<T> {
        *self.messages_left() = Some(messages);
        let done = catch_unwind(AssertUnwindSafe(what));
        *self.messages_left() = None;
        done.map_err(|panic| if panic.is::<Killed>() { Killed } else { resume_unwind(panic) }).ok()
    }

    fn messages_left(&self) -> MutexGuard<'_, Option<usize>> {
        self.0.messages_left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets other things happen in between: up to two steps.
    pub fn travel(&self) -> Travel {
        let left = self.messages_left().map(|left| left.checked_sub(1));
        match left {
            Some(None) => resume_unwind(Box::new(Killed)),
            Some(left) => *self.messages_left() = left,
            None => {}
        }
        Travel(Cell::new(self.below(3)))
    }
}

/// A request or a reply under way. Where somebody blocks on it, in a Tokio runtime, instead of stepping, it arrives at
/// once.
#[derive(Debug)]
pub struct Travel(Cell<usize>);

impl Future for Travel {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let left = self.0.get();
        if left == 0 || tokio::runtime::Handle::try_current().is_ok() {
            return Poll::Ready(());
        }
        self.0.set(left - 1);
        Poll::Pending
    }
}
