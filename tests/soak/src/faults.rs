//! What goes wrong, by seed: how often each kind of fault happens now, and the dice that decide about the next one.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
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
}

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
        Self(Arc::new(Inner { dice, rates: Mutex::default() }))
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

    /// Lets other things happen in between: up to two steps.
    pub fn travel(&self) -> Travel {
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
