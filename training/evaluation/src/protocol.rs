//! The two protocols: what a model may learn from and what it is asked. A model sees [`Training`] and the contexts of
//! the cases, nothing else, so whatever is not copied there cannot leak; the property tests below plant futures.

use std::collections::HashMap;

use serde::Serialize;

use crate::{EvaluationError, Interactions, Visit};

/// Share of the events, by time, that a global time split trains on, in percent.
const TRAINED_PERCENT: usize = 90;

/// Leave-one-out needs something to learn, something to validate on and something to test.
const MIN_HISTORY: usize = 3;

/// How training and test are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Each user's last item is the test, the one before is validation, the rest is training. The test context has the
    /// validation item. Models see other users' futures: only good for comparing with published figures.
    LeaveOneOut,
    /// One instant for everybody, after 90 % of the events: training before it; the test is each user's next item.
    TimeSplit,
}

/// What a model is asked: after this context, what comes next?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Number of the user.
    pub user: u32,
    /// What the user watched before, oldest first; empty for a cold user.
    pub context: Vec<Visit>,
    /// What came next.
    pub target: Visit,
}

/// What a model may learn from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Training {
    /// Ids of the items, by number. Some may have no event here.
    pub items: Vec<String>,
    /// One history a user, oldest first, in the order of the users; may be empty.
    pub histories: Vec<Vec<Visit>>,
    /// For choosing parameters and the moment to stop, never for fitting. Empty: hold out from the histories.
    pub validation: Vec<Case>,
}

/// Training and test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// What models learn from.
    pub training: Training,
    /// What they are asked, in the order of the users.
    pub cases: Vec<Case>,
}

impl Protocol {
    /// Both of them.
    pub const ALL: [Protocol; 2] = [Protocol::LeaveOneOut, Protocol::TimeSplit];

    /// As written on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::LeaveOneOut => "leave-one-out",
            Protocol::TimeSplit => "time-split",
        }
    }

    /// The protocol with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name() == name)
    }

    /// Divides the interactions.
    ///
    /// # Errors
    /// [`EvaluationError::NothingToTest`].
    pub fn split(self, interactions: &Interactions) -> Result<Split, EvaluationError> {
        let (split, needed) = match self {
            Protocol::LeaveOneOut => (Split::leave_one_out(interactions), "nobody has three events"),
            Protocol::TimeSplit => {
                let needed = "everything happened at one instant, or there are fewer than two events";
                (split_instant(interactions).map_or_else(Split::default, |at| Split::at(interactions, at)), needed)
            }
        };
        if split.cases.is_empty() || split.training.events() == 0 {
            let (users, events) = (interactions.users().len(), interactions.events().len());
            return Err(EvaluationError::NothingToTest { protocol: self.name(), users, events, needed });
        }
        Ok(split)
    }
}

/// The time of the first event past [`TRAINED_PERCENT`]; everything from this instant on is test.
fn split_instant(interactions: &Interactions) -> Option<i64> {
    let mut times: Vec<i64> = interactions.events().iter().map(|event| event.time_ms).collect();
    times.sort_unstable();
    times.get(times.len() * TRAINED_PERCENT / 100).copied()
}

impl Default for Split {
    fn default() -> Self {
        Self { training: Training::whole(&Interactions::default()), cases: Vec::new() }
    }
}

impl Split {
    /// Leave-one-out; users with fewer than three events only train.
    pub fn leave_one_out(interactions: &Interactions) -> Self {
        let mut training = Training::whole(interactions);
        let mut cases = Vec::new();
        for (user, history) in (0..).zip(&mut training.histories) {
            if history.len() < MIN_HISTORY {
                continue;
            }
            if let (Some(test), Some(validation)) = (history.pop(), history.pop()) {
                training.validation.push(Case { user, context: history.clone(), target: validation });
                let context = history.iter().copied().chain([validation]).collect();
                cases.push(Case { user, context, target: test });
            }
        }
        Self { training, cases }
    }

    /// Training strictly before an instant (ms since the epoch); each user's first event from then on is the test.
    pub fn at(interactions: &Interactions, at_ms: i64) -> Self {
        let mut training = Training::whole(interactions);
        let mut cases = Vec::new();
        for (user, history) in (0..).zip(&mut training.histories) {
            let trained = history.partition_point(|visit| visit.at_ms < at_ms);
            if let Some(&target) = history.get(trained) {
                cases.push(Case { user, context: history[..trained].to_vec(), target });
            }
            history.truncate(trained);
        }
        Self { training, cases }
    }
}

impl Training {
    /// Everything is training: what a model that goes into service learns from.
    pub fn whole(interactions: &Interactions) -> Self {
        let (items, histories) = (interactions.items().to_vec(), interactions.histories());
        Self { items, histories, validation: Vec::new() }
    }

    /// Number of events.
    pub fn events(&self) -> usize {
        self.histories.iter().map(Vec::len).sum()
    }

    /// Time of the newest event (ms since the epoch); `None` without events.
    pub fn through_ms(&self) -> Option<i64> {
        self.histories.iter().filter_map(|history| history.last()).map(|visit| visit.at_ms).max()
    }

    /// Number of events of each item.
    pub fn popularity(&self) -> Vec<u32> {
        let mut counts = vec![0; self.items.len()];
        for visit in self.histories.iter().flatten() {
            counts[visit.item as usize] += 1;
        }
        counts
    }

    /// The number of each item.
    pub fn numbers(&self) -> HashMap<&str, u32> {
        self.items.iter().map(String::as_str).zip(0..).collect()
    }

    /// With validation cases: those that the protocol gave, or else each last event of a history of two or more is
    /// taken out of it.
    #[must_use]
    pub fn with_validation(mut self) -> Self {
        if self.validation.is_empty() {
            for (user, history) in (0..).zip(&mut self.histories) {
                if history.len() < 2 {
                    continue;
                }
                if let Some(target) = history.pop() {
                    self.validation.push(Case { user, context: history.clone(), target });
                }
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn items(visits: &[Visit]) -> Vec<u32> {
        visits.iter().map(|visit| visit.item).collect()
    }

    #[test]
    fn leave_one_out_by_hand() {
        let rows = [("u", "a", 1), ("u", "b", 2), ("short", "a", 3), ("u", "c", 3), ("u", "d", 3), ("short", "d", 4)];
        let split = Split::leave_one_out(&Interactions::from_rows(rows));
        assert_eq!(split.training.histories.iter().map(|h| items(h)).collect::<Vec<_>>(), [vec![0, 1], vec![0, 3]]);
        let [validation] = split.training.validation.as_slice() else { panic!("one user validates") };
        assert_eq!((items(&validation.context), validation.target.item), (vec![0, 1], 2));
        let [test] = split.cases.as_slice() else { panic!("one user is tested") };
        assert_eq!((test.user, items(&test.context), test.target.item), (0, vec![0, 1, 2], 3));
    }

    #[test]
    fn time_split_by_hand() {
        // Ten events: the tenth, at 9, and what shares its instant, is the test.
        let rows = (0..8).map(|t| ("u", "a", t)).chain([("cold", "b", 9), ("u", "c", 9)]);
        let split = Protocol::TimeSplit.split(&Interactions::from_rows(rows)).unwrap();
        assert_eq!(split.training.events(), 8);
        let asked: Vec<_> = split.cases.iter().map(|case| (case.user, case.context.len(), case.target.item)).collect();
        assert_eq!(asked, [(0, 8, 2), (1, 0, 1)]);
    }

    #[test]
    fn nothing_to_test_is_an_error() {
        let two = Interactions::from_rows([("u", "a", 1), ("u", "b", 2)]);
        assert!(Protocol::LeaveOneOut.split(&two).is_err());
        let one_instant = Interactions::from_rows([("u", "a", 1), ("u", "b", 1), ("v", "b", 1)]);
        assert!(Protocol::TimeSplit.split(&one_instant).is_err());
        assert!(Protocol::TimeSplit.split(&Interactions::default()).is_err());
    }

    #[test]
    fn names_are_read_back() {
        for protocol in Protocol::ALL {
            assert_eq!(Protocol::from_name(protocol.name()), Some(protocol));
        }
        assert_eq!(Protocol::from_name("sampled"), None);
    }

    const SPLIT_MS: i64 = 50;

    type Row = (String, String, i64);

    fn rows(users: u32, times: std::ops::Range<i64>) -> impl Strategy<Value = Vec<Row>> {
        let row = (0..users, 0_u32..12, times).prop_map(|(user, item, t)| (format!("u{user}"), format!("i{item}"), t));
        proptest::collection::vec(row, 1..60)
    }

    fn interactions(rows: &[Row]) -> Interactions {
        Interactions::from_rows(rows.iter().map(|(user, item, t)| (user.as_str(), item.as_str(), *t)))
    }

    proptest! {
        /// Whatever happens after the split instant, wherever it stands in the file, training stays what it was; so do
        /// the questions, if it happens after the answers.
        #[test]
        fn planted_futures_change_nothing(
            known in rows(6, 0..100),
            planted in rows(9, 100..200),
            places in proptest::collection::vec(any::<prop::sample::Index>(), 60),
        ) {
            let before = interactions(&known);
            let mut all = known.clone();
            for (row, place) in planted.iter().zip(&places) {
                all.insert(place.index(all.len() + 1), row.clone());
            }
            let after = interactions(&all);
            let (expected, found) = (Split::at(&before, SPLIT_MS), Split::at(&after, SPLIT_MS));
            // Numbers may differ, ids and order must not.
            for (user, id) in before.users().iter().enumerate() {
                let now = after.users().iter().position(|other| other == id).expect("users stay");
                let named = |split: &Split, all: &Interactions, user: usize| {
                    let name = |visit: &Visit| (all.items()[visit.item as usize].clone(), visit.at_ms);
                    let history: Vec<_> = split.training.histories[user].iter().map(name).collect();
                    let case = split.cases.iter().find(|case| case.user as usize == user).map(|case| {
                        (case.context.iter().map(name).collect::<Vec<_>>(), name(&case.target))
                    });
                    (history, case)
                };
                let (expected, found) = (named(&expected, &before, user), named(&found, &after, now));
                prop_assert_eq!(&found.0, &expected.0);
                // Only who was not tested before can be tested on what was planted.
                prop_assert!(expected.1.is_none() || found.1 == expected.1);
            }
            let newcomers: usize = (0..after.users().len())
                .filter(|user| !before.users().contains(&after.users()[*user]))
                .map(|user| found.training.histories[user].len())
                .sum();
            prop_assert_eq!(newcomers, 0);
        }

        /// Leave-one-out: training knows neither what is validated nor what is tested, whatever it is.
        #[test]
        fn what_is_held_out_is_not_trained_on(known in rows(4, 0..100), last in 0_u32..12, before_last in 0_u32..12) {
            let split_with = |a: u32, b: u32| {
                let ends = (0..4).flat_map(|user| {
                    [(format!("u{user}"), format!("i{a}"), 200), (format!("u{user}"), format!("i{b}"), 201)]
                });
                // Every item and user is named first, so that the numbers are the same.
                let all: Vec<Row> = (0..4)
                    .flat_map(|user| (0..12).map(move |item| (format!("u{user}"), format!("i{item}"), -1)))
                    .chain(known.iter().cloned())
                    .chain(ends)
                    .collect();
                Split::leave_one_out(&interactions(&all)).training.histories
            };
            prop_assert_eq!(split_with(0, 1), split_with(before_last, last));
        }
    }
}
