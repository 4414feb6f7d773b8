//! When which session has to be looked at. A session has one entry at most, however often its deadline moves: entries
//! that outlived a moved deadline would pile up.

use std::collections::BTreeSet;

use super::session::Session;

/// (time, session): when the watermark passes the time, the session is looked at. Every session with a deadline has an
/// entry at or before it, and [`Session::timer_ms`] says where.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    entries: BTreeSet<(i64, u128)>,
}

impl Timers {
    /// Makes sure that the session is looked at by its deadline. A deadline that moved later is found by the entry that
    /// stands; only one that moved earlier moves the entry.
    #[inline]
    pub(crate) fn set(&mut self, key: u128, session: &mut Session) {
        let Some(deadline_ms) = session.deadline_ms() else { return };
        if session.timer_ms.is_none_or(|timer_ms| deadline_ms < timer_ms) {
            self.forget(key, session);
            session.timer_ms = Some(deadline_ms);
            self.entries.insert((deadline_ms, key));
        }
    }

    /// The entry of a session that a restart has found, packed.
    pub(crate) fn restore(&mut self, key: u128, timer_ms: i64) {
        self.entries.insert((timer_ms, key));
    }

    /// Removes the session's entry: nobody has to look at it any more.
    pub(crate) fn forget(&mut self, key: u128, session: &mut Session) {
        if let Some(timer_ms) = session.timer_ms.take() {
            self.remove(key, timer_ms);
        }
    }

    /// The same of a session that goes.
    pub(crate) fn remove(&mut self, key: u128, timer_ms: i64) {
        self.entries.remove(&(timer_ms, key));
    }

    /// Takes the next session whose time the watermark has passed. The caller clears its [`Session::timer_ms`].
    pub(crate) fn pop(&mut self, watermark_ms: i64) -> Option<u128> {
        let (_, key) = self.entries.first().filter(|(time_ms, _)| *time_ms < watermark_ms)?;
        let key = *key;
        self.entries.pop_first();
        Some(key)
    }

    /// How many entries stand.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
