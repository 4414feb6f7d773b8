//! What a row of `profile_features` tells of a profile: enough of its values that rows of several parts, read at a later
//! instant, give what serving reads from their merged states then. Training joins rows where serving merges states; a
//! property test here holds the two together.

use crate::ProfileState;
use crate::profile::{decay_of_affinity, put_touched, session_at, trim_genres};
use crate::viewed::{Viewed, put};

/// A row has so many of the last titles watched; the state keeps more.
pub const KNOWN_RECENT_TITLES: usize = 20;

/// A title with the touches that no half an hour of silence has parted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Touched {
    /// The title.
    pub title_id: String,
    /// The first of them (ms since the epoch).
    pub first_ms: i64,
    /// The last of them (ms since the epoch).
    pub last_ms: i64,
}

/// The values of a part of a profile, or of all its parts together, at an instant.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KnownFeatures {
    /// The instant (ms since the epoch).
    pub at_ms: i64,
    /// As [`ProfileFeatures::genre_affinity`](crate::ProfileFeatures::genre_affinity).
    pub genre_affinity: Vec<(String, f64)>,
    /// The last [`KNOWN_RECENT_TITLES`] with the instant of each (ms since the epoch), oldest first.
    pub recent_titles: Vec<(String, i64)>,
    /// The last titles touched, by their last touch, oldest first: what the session of an instant follows from.
    pub touched: Vec<Touched>,
}

impl KnownFeatures {
    /// The values of a state at an instant (ms since the epoch).
    pub fn of(profile: &ProfileState, at_ms: i64) -> Self {
        let owned = |(name, value): (&str, f64)| (name.to_owned(), value);
        let recent = profile.recent_titles().rev().take(KNOWN_RECENT_TITLES).rev();
        Self {
            at_ms,
            genre_affinity: profile.genre_affinity(at_ms).into_iter().map(owned).collect(),
            recent_titles: recent.map(|(title_id, at_ms)| (title_id.to_owned(), at_ms)).collect(),
            touched: profile.touched().to_vec(),
        }
    }

    /// What parts are together at an instant no earlier than theirs (ms since the epoch). Parts come in the order in
    /// which their states would be merged.
    pub fn together(parts: &[KnownFeatures], at_ms: i64) -> Self {
        let mut together = Self { at_ms, ..Self::default() };
        let mut recent = Vec::new();
        for part in parts {
            let factor = decay_of_affinity(at_ms - part.at_ms);
            for (genre, value) in &part.genre_affinity {
                let known = together.genre_affinity.iter_mut().find(|(name, _)| name == genre);
                match known {
                    Some((_, sum)) => *sum += value * factor,
                    None => together.genre_affinity.push((genre.clone(), value * factor)),
                }
            }
            for (title_id, at_ms) in &part.recent_titles {
                put(&mut recent, Viewed::at(title_id, *at_ms), KNOWN_RECENT_TITLES);
            }
            for touched in &part.touched {
                put_touched(&mut together.touched, touched.clone());
            }
        }
        together.genre_affinity.sort_by(|a, b| a.0.cmp(&b.0));
        trim_genres(&mut together.genre_affinity);
        together.genre_affinity.sort_by(|a, b| b.1.total_cmp(&a.1)); // stable: ties stay by name
        together.recent_titles = recent.into_iter().map(|view| (view.title_id, view.at_ms)).collect();
        together
    }

    /// As [`ProfileFeatures::session_titles`](crate::ProfileFeatures::session_titles).
    pub fn session_titles(&self) -> Vec<&str> {
        session_at(&self.touched, self.at_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{DAY_MS, HOUR_MS, Signal, SignalKind};

    const START_MS: i64 = 1_700_000_000_000;

    /// Whether it goes to the second part, the title, what happened, ms after the start.
    type Step = (bool, u8, SignalKind, i64);

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let kind = prop_oneof![
            Just(SignalKind::ViewStarted),
            Just(SignalKind::Click),
            Just(SignalKind::ListRemove),
            Just(SignalKind::NotInterested),
            (0.0_f32..=1.0).prop_map(|watched_fraction| SignalKind::ViewProgress { watched_fraction }),
            (0.0_f32..=1.0).prop_map(|watched_fraction| SignalKind::ViewFinished { watched_fraction }),
            (1_u8..=10).prop_map(|halves| SignalKind::Rating { value: f32::from(halves) / 2.0 }),
        ];
        // Many ties, many within a session, many titles so that lists overflow.
        let after_ms = prop_oneof![(0_i64..20).prop_map(|n| n * 10 * 60_000), 0..40 * DAY_MS];
        prop::collection::vec((any::<bool>(), 0_u8..40, kind, after_ms), 0..120)
    }

    /// Two parts; each with the row that its last signal left.
    fn parts(steps: &[Step]) -> [(ProfileState, Option<KnownFeatures>); 2] {
        let mut parts = [(ProfileState::default(), None), (ProfileState::default(), None)];
        for (is_second, title, kind, after_ms) in steps {
            let (state, row) = &mut parts[usize::from(*is_second)];
            let genres = [format!("g{}", title % 7), "all".to_owned()];
            let event_time_ms = START_MS + after_ms;
            state.update(&Signal {
                profile_id: "p",
                title_id: &format!("t{title}"),
                genres: &genres,
                kind: *kind,
                event_time_ms,
                available_ms: event_time_ms,
            });
            // Late signals: known when the latest was.
            *row = Some(KnownFeatures::of(state, state.available_ms));
        }
        parts
    }

    proptest! {
        #[test]
        fn rows_put_together_are_what_merged_states_say(steps in steps(), wait_ms in 0..3 * HOUR_MS) {
            let parts = parts(&steps);
            let mut merged = parts[0].0.clone();
            merged.merge(&parts[1].0);
            let at_ms = merged.available_ms.max(START_MS) + wait_ms;
            let rows: Vec<KnownFeatures> = parts.into_iter().filter_map(|(_, row)| row).collect();
            let found = KnownFeatures::together(&rows, at_ms);
            let served = merged.read(at_ms);
            prop_assert_eq!(found.session_titles(), served.session_titles.iter().map(String::as_str).collect::<Vec<_>>());
            let recent = served.recent_titles.iter().map(|watched| (watched.title_id.clone(), watched.at_ms));
            let skipped = served.recent_titles.len().saturating_sub(KNOWN_RECENT_TITLES);
            prop_assert_eq!(&found.recent_titles, &recent.skip(skipped).collect::<Vec<_>>());
            let by_name = |values: &[(String, f64)]| {
                values.iter().cloned().collect::<std::collections::BTreeMap<String, f64>>()
            };
            let (found, served) = (by_name(&found.genre_affinity), by_name(&served.genre_affinity));
            prop_assert_eq!(found.keys().collect::<Vec<_>>(), served.keys().collect::<Vec<_>>());
            for (genre, value) in &found {
                prop_assert!((value - served[genre]).abs() < 1e-9, "{}: {} {}", genre, value, served[genre]);
            }
        }
    }
}
