//! What pages are told about the data behind them by whoever wires the services: how far imports reach, and whether new
//! events are taken in. Shared; set at any time.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// Stands for "nothing has been imported".
const NOTHING_IMPORTED: i64 = i64::MIN;

/// State of the data. Begins with nothing imported and events coming in.
#[derive(Debug)]
pub struct DataStatus {
    imported_through_ms: AtomicI64,
    takes_events: AtomicBool,
}

impl Default for DataStatus {
    fn default() -> Self {
        Self { imported_through_ms: AtomicI64::new(NOTHING_IMPORTED), takes_events: AtomicBool::new(true) }
    }
}

impl DataStatus {
    /// Event time of the newest imported interaction (ms since the epoch); `None` without imports.
    pub fn imported_through_ms(&self) -> Option<i64> {
        Some(self.imported_through_ms.load(Ordering::Relaxed)).filter(|&end| end != NOTHING_IMPORTED)
    }

    /// An import reaches to this event time (ms since the epoch); an earlier one changes nothing.
    pub fn imported_through(&self, end_ms: i64) {
        self.imported_through_ms.fetch_max(end_ms, Ordering::Relaxed);
    }

    /// Whether new events are taken in.
    pub fn takes_events(&self) -> bool {
        self.takes_events.load(Ordering::Relaxed)
    }

    /// Whether new events are taken in from now on; while not, pages say so.
    pub fn set_takes_events(&self, takes_events: bool) {
        self.takes_events.store(takes_events, Ordering::Relaxed);
    }
}
