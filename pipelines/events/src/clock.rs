//! The one clock. Everything that needs the time is handed a [`Clock`]; clippy bans the global ones elsewhere.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time in milliseconds since the Unix epoch.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch, UTC.
    fn now_ms(&self) -> i64;
}

/// The operating system's clock, optionally running faster than life (`demo --speed`).
#[derive(Debug)]
pub struct SystemClock {
    origin_ms: i64,
    speed: f64,
}

impl SystemClock {
    /// A clock that starts at the present and runs `speed` times as fast as real time.
    pub fn new(speed: f64) -> Self {
        Self { origin_ms: os_now_ms(), speed }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new(1.0)
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        let now = os_now_ms();
        #[expect(clippy::float_cmp, reason = "1.0 is a setting, not a result")]
        if self.speed == 1.0 {
            return now;
        }
        self.origin_ms + ((now - self.origin_ms) as f64 * self.speed) as i64
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that asks the operating system")]
fn os_now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

/// A clock that moves only when told to: tests and replays.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that stands at `now_ms`.
    pub fn new(now_ms: i64) -> Self {
        Self(AtomicI64::new(now_ms))
    }

    /// Moves the clock to `now_ms`.
    pub fn set(&self, now_ms: i64) {
        self.0.store(now_ms, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}
