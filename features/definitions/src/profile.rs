//! The features of a profile: state as the stream keeps it, values as serving and training read them. A profile whose
//! interactions come by several topics has a part of its state for each; parts [`merge`](ProfileState::merge).

mod genre_affinity;
mod lists;
mod recent_titles;
mod session;
mod viewing;

use serde::{Deserialize, Serialize};

use crate::viewed::Viewed;
use crate::{Signal, Touched};

pub(crate) use genre_affinity::FEATURE as GENRE_AFFINITY;
pub(crate) use genre_affinity::{decay_of_affinity, trim_genres};
pub(crate) use lists::FEATURE as LISTS;
pub(crate) use recent_titles::FEATURE as RECENT_TITLES;
pub(crate) use session::FEATURE as SESSION;
pub(crate) use session::{put_touched, session_at};
pub(crate) use viewing::FEATURE as VIEWING;

/// Everything that is kept of a profile. Bounded: see the constants of each feature's file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ProfileState {
    /// `available_ms` of the last signal.
    pub available_ms: i64,
    genre_affinity: genre_affinity::GenreAffinity,
    recent_titles: recent_titles::RecentTitles,
    session: session::Session,
    viewing: viewing::Viewing,
    lists: lists::Lists,
}

/// A title that was watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    /// The title.
    pub title_id: String,
    /// When, last (ms since the epoch).
    pub at_ms: i64,
    /// How much of it, 0 to 1.
    pub watched_fraction: f32,
}

/// The values at one instant.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ProfileFeatures {
    /// Affinity by genre, decayed to the instant, strongest first; ties by name.
    pub genre_affinity: Vec<(String, f64)>,
    /// The last titles that were watched, oldest first; ties in time keep the order of arrival.
    pub recent_titles: Vec<Watched>,
    /// Titles of the session that is going on at the instant, oldest first; empty after half an hour of silence.
    pub session_titles: Vec<String>,
    /// Titles begun and not finished, newest first.
    pub unfinished: Vec<Watched>,
    /// Titles that count as seen, in no order.
    pub seen: Vec<String>,
    /// Titles never to be shown again.
    pub not_interested: Vec<String>,
    /// Titles on the viewer's list, newest first.
    pub list: Vec<String>,
}

impl ProfileState {
    /// Takes a signal in.
    pub fn update(&mut self, signal: &Signal<'_>) {
        self.available_ms = self.available_ms.max(signal.available_ms);
        self.genre_affinity.update(signal);
        self.recent_titles.update(signal);
        self.session.update(signal);
        self.viewing.update(signal);
        self.lists.update(signal);
    }

    /// Adds what another topic's shard knows of the same profile. Commutative but for ties in time, where this part's
    /// titles come first.
    pub fn merge(&mut self, other: &ProfileState) {
        self.available_ms = self.available_ms.max(other.available_ms);
        self.genre_affinity.merge(&other.genre_affinity);
        self.recent_titles.merge(&other.recent_titles);
        self.session.merge(&other.session);
        self.viewing.merge(&other.viewing);
        self.lists.merge(&other.lists);
    }

    /// The values at an instant (ms since the epoch).
    pub fn read(&self, at_ms: i64) -> ProfileFeatures {
        let owned = |titles: Vec<&str>| titles.into_iter().map(str::to_owned).collect();
        ProfileFeatures {
            genre_affinity: self.genre_affinity(at_ms).into_iter().map(|(name, v)| (name.to_owned(), v)).collect(),
            recent_titles: self.recent_titles.views().iter().map(Viewed::watched).collect(),
            session_titles: owned(self.session_titles(at_ms)),
            unfinished: self.viewing.unfinished().filter(|w| !self.lists.refuses(&w.title_id)).collect(),
            seen: self.viewing.seen().map(str::to_owned).collect(),
            not_interested: self.lists.not_interested().map(str::to_owned).collect(),
            list: self.lists.listed().map(str::to_owned).collect(),
        }
    }

    /// As [`ProfileFeatures::genre_affinity`], without copies.
    pub fn genre_affinity(&self, at_ms: i64) -> Vec<(&str, f64)> {
        self.genre_affinity.read(at_ms)
    }

    /// The last titles that were watched with the instant of each (ms since the epoch), oldest first.
    pub fn recent_titles(&self) -> impl DoubleEndedIterator<Item = (&str, i64)> + ExactSizeIterator {
        self.recent_titles.views().iter().map(|view| (view.title_id.as_str(), view.at_ms))
    }

    /// As [`ProfileFeatures::session_titles`], without copies.
    pub fn session_titles(&self, at_ms: i64) -> Vec<&str> {
        self.session.read(at_ms)
    }

    /// The last titles touched, by their last touch, oldest first.
    pub(crate) fn touched(&self) -> &[Touched] {
        self.session.touched()
    }

    /// How many titles count as seen.
    pub fn seen_count(&self) -> usize {
        self.viewing.seen().len()
    }

    /// How many titles are on the viewer's list.
    pub fn listed_count(&self) -> usize {
        self.lists.listed().count()
    }
}

#[cfg(test)]
mod tests;
