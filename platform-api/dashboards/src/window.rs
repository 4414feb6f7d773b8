//! A span of whole minutes: what a figure is about.

use serde::Serialize;

/// The longest window that is answered (ms): a day of events is what one query may fold on a laptop.
const MAX_WINDOW_MS: i64 = 24 * 60 * 60 * 1000;

const MINUTE_MS: i64 = 60_000;

/// From (inclusive) to (exclusive), both at the start of a minute (ms since the epoch).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Window {
    from_ms: i64,
    to_ms: i64,
}

impl Window {
    /// A window.
    ///
    /// # Errors
    /// The field and what is wrong with it: not at the start of a minute, before 1970, empty, longer than a day.
    pub fn new(from_ms: i64, to_ms: i64) -> Result<Self, (&'static str, &'static str)> {
        for (field, ms) in [("from", from_ms), ("to", to_ms)] {
            if ms < 0 || ms % MINUTE_MS != 0 {
                return Err((field, "must be the start of a minute, in ms since the epoch"));
            }
        }
        match to_ms.checked_sub(from_ms) {
            Some(length_ms) if length_ms <= 0 => Err(("to", "must be after `from`")),
            Some(length_ms) if length_ms <= MAX_WINDOW_MS => Ok(Self { from_ms, to_ms }),
            _ => Err(("to", "must be at most a day after `from`")),
        }
    }

    /// Its start (ms since the epoch).
    pub fn from_ms(self) -> i64 {
        self.from_ms
    }

    /// Its end (ms since the epoch), not in it.
    pub fn to_ms(self) -> i64 {
        self.to_ms
    }

    /// Its first minute (minutes since the epoch).
    pub fn from_minute(self) -> i64 {
        self.from_ms / MINUTE_MS
    }

    /// The minute after its last one (minutes since the epoch).
    pub fn to_minute(self) -> i64 {
        self.to_ms / MINUTE_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_minutes_of_a_day_at_most() {
        assert!(Window::new(0, MAX_WINDOW_MS).is_ok());
        for (from_ms, to_ms, field) in
            [(1, 60_000, "from"), (-60_000, 0, "from"), (0, 59_999, "to"), (60_000, 60_000, "to"), (60_000, 0, "to")]
        {
            assert_eq!(Window::new(from_ms, to_ms).unwrap_err().0, field);
        }
        assert_eq!(Window::new(0, MAX_WINDOW_MS + MINUTE_MS).unwrap_err().0, "to");
        assert_eq!(Window::new(0, i64::MAX - i64::MAX % MINUTE_MS).unwrap_err().0, "to");
    }
}
