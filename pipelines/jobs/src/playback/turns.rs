//! Keys take turns by their first byte, so that what all of them need once in a while costs each epoch the same.

/// So many groups of keys there are.
pub(crate) const GROUPS: usize = 256;

/// Open sessions that changed are written as rows this often (ms), so that SQL sees who is watching.
const OPEN_ROWS_INTERVAL_MS: i64 = 60_000;

/// The groups whose turn it is: so many from the first one on, the first group after the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Turn {
    pub(crate) first: usize,
    pub(crate) groups: usize,
}

/// The group of a key.
pub(crate) fn group_of(key: u128) -> usize {
    (key >> 120) as usize
}

impl Turn {
    /// Everybody's.
    pub(crate) const ALL: Self = Self { first: 0, groups: GROUPS };

    pub(crate) fn is_empty(self) -> bool {
        self.groups == 0
    }

    /// Whether it is this key's turn.
    #[inline]
    pub(crate) fn has(self, key: u128) -> bool {
        (group_of(key) + GROUPS - self.first) % GROUPS < self.groups
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        (0..self.groups).map(move |turn| (self.first + turn) % GROUPS)
    }

    /// The group whose turn is next.
    pub(crate) fn end(self) -> usize {
        (self.first + self.groups) % GROUPS
    }
}

/// Which open sessions get their rows when.
#[derive(Debug, Default)]
pub(crate) struct OpenTurns {
    next_group: usize,
    /// Up to when all turns were given (ms since the epoch); `None` before the first one.
    given_ms: Option<i64>,
}

impl OpenTurns {
    /// Whose turn it is now: everybody's the first time, and then once in a minute each.
    pub(crate) fn next(&mut self, now_ms: i64) -> Turn {
        let given_ms = self.given_ms.unwrap_or_else(|| now_ms.saturating_sub(OPEN_ROWS_INTERVAL_MS));
        let elapsed_ms = now_ms.saturating_sub(given_ms).clamp(0, OPEN_ROWS_INTERVAL_MS);
        let groups = elapsed_ms * GROUPS as i64 / OPEN_ROWS_INTERVAL_MS;
        let turn = Turn { first: self.next_group, groups: groups as usize };
        self.next_group = turn.end();
        let is_behind = turn == (Turn { groups: GROUPS, ..turn });
        self.given_ms =
            Some(if is_behind { now_ms } else { given_ms + groups * OPEN_ROWS_INTERVAL_MS / GROUPS as i64 });
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_one_turn_a_minute() {
        let mut turns = OpenTurns::default();
        assert_eq!(turns.next(1_000_000).groups, GROUPS, "the first time");
        assert!(turns.next(1_000_000).is_empty());
        let mut given = [0; GROUPS];
        for step in 1..=10 * 60_000 / 700 {
            turns.next(1_000_000 + step * 700).iter().for_each(|group| given[group] += 1);
        }
        assert!(given.iter().all(|count| (9..=10).contains(count)), "{given:?}");
        assert_eq!(turns.next(10_000_000).groups, GROUPS, "after a long pause");
        assert!(turns.next(0).is_empty(), "a clock that goes back");
    }

    #[test]
    fn a_turn_has_the_keys_of_its_groups() {
        let turn = Turn { first: 250, groups: 10 };
        let has: Vec<usize> = (0..GROUPS).filter(|group| turn.has((*group as u128) << 120)).collect();
        assert_eq!(has, [0, 1, 2, 3, 250, 251, 252, 253, 254, 255]);
        assert_eq!((turn.iter().count(), turn.end()), (10, 4));
        assert!((0..GROUPS).all(|group| Turn::ALL.has((group as u128) << 120)));
        assert!(!Turn::default().has(0));
    }
}
