//! From signals to the states of profiles and titles: the one path that the stream, a replay and the trainer take. Pure:
//! the states follow from the signals and their order alone.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{ProfileState, Signal, SignalKind, TitleState, title};

/// The states of some profiles and of the parts of titles that they contributed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FeatureFold {
    /// By profile.
    pub profiles: BTreeMap<String, ProfileState>,
    /// By title.
    pub titles: BTreeMap<String, TitleState>,
}

/// What signals have changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changed {
    /// Profiles.
    pub profiles: BTreeSet<String>,
    /// Titles.
    pub titles: BTreeSet<String>,
}

impl FeatureFold {
    /// Takes a signal in and notes what it changed. Signals of one profile come in the order of the log.
    pub fn apply(&mut self, signal: &Signal<'_>, changed: &mut Changed) {
        let profile = entry(&mut self.profiles, signal.profile_id);
        if signal.kind == SignalKind::ViewStarted {
            for neighbour_id in neighbours(profile, signal) {
                entry(&mut self.titles, signal.title_id).update_co_watch(&neighbour_id, signal);
                entry(&mut self.titles, &neighbour_id).update_co_watch(signal.title_id, signal);
                changed.titles.insert(neighbour_id);
            }
        }
        profile.update(signal);
        entry(&mut self.titles, signal.title_id).update(signal);
        note(&mut changed.profiles, signal.profile_id);
        note(&mut changed.titles, signal.title_id);
    }
}

/// The titles that a starting view makes neighbours of its title: the profile's last ones, if the title itself is not
/// among them (it was counted with them then).
fn neighbours(profile: &ProfileState, signal: &Signal<'_>) -> Vec<String> {
    let last = || profile.recent_titles().rev().take(title::WINDOW_TITLES);
    if last().any(|(title_id, _)| title_id == signal.title_id) {
        return Vec::new();
    }
    last()
        .filter(|(_, at_ms)| (signal.event_time_ms - at_ms).abs() <= title::MAX_SPAN_MS)
        .map(|(title_id, _)| title_id.to_owned())
        .collect()
}

fn entry<'a, T: Default>(states: &'a mut BTreeMap<String, T>, id: &str) -> &'a mut T {
    if !states.contains_key(id) {
        states.insert(id.to_owned(), T::default());
    }
    states.get_mut(id).expect("it was put there if it was missing")
}

fn note(ids: &mut BTreeSet<String>, id: &str) {
    if !ids.contains(id) {
        ids.insert(id.to_owned());
    }
}

#[cfg(test)]
mod tests;
