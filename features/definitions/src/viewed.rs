//! How far a title was watched when, as the features of a profile keep it. Two stamps, so that a start that comes after
//! the progress before it, or the other way round, gives the same.

use serde::{Deserialize, Serialize};

use crate::{Signal, SignalKind, Watched};

/// A title that was watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Viewed {
    pub(crate) title_id: String,
    /// The last signal of watching it (ms since the epoch).
    pub(crate) at_ms: i64,
    /// The last one that told how far; `i64::MIN` before the first.
    fraction_at_ms: i64,
    /// How far, 0 to 1.
    pub(crate) watched_fraction: f32,
}

impl Viewed {
    /// What a signal tells of watching; `None` for signals of another kind.
    pub(crate) fn of(signal: &Signal<'_>) -> Option<Self> {
        let fraction = match signal.kind {
            SignalKind::ViewStarted => None,
            SignalKind::ViewProgress { watched_fraction } | SignalKind::ViewFinished { watched_fraction } => {
                Some(watched_fraction)
            }
            _ => return None,
        };
        Some(Self {
            title_id: signal.title_id.to_owned(),
            at_ms: signal.event_time_ms,
            fraction_at_ms: fraction.map_or(i64::MIN, |_| signal.event_time_ms),
            watched_fraction: fraction.unwrap_or_default(),
        })
    }

    /// A view of which only the instant is known (ms since the epoch).
    pub(crate) fn at(title_id: &str, at_ms: i64) -> Self {
        Self { title_id: title_id.to_owned(), at_ms, fraction_at_ms: i64::MIN, watched_fraction: 0.0 }
    }

    pub(crate) fn watched(&self) -> Watched {
        Watched { title_id: self.title_id.clone(), at_ms: self.at_ms, watched_fraction: self.watched_fraction }
    }

    /// Forgets how far it was watched when that was told at this instant or before.
    pub(crate) fn forget_through(&mut self, at_ms: i64) {
        if self.fraction_at_ms <= at_ms {
            self.fraction_at_ms = i64::MIN;
            self.watched_fraction = 0.0;
        }
    }

    /// Takes in what else is known of the same title: the later stamp wins, at a tie the greater fraction.
    fn join(&mut self, other: &Viewed) {
        self.at_ms = self.at_ms.max(other.at_ms);
        if other.fraction_at_ms > self.fraction_at_ms {
            self.fraction_at_ms = other.fraction_at_ms;
            self.watched_fraction = other.watched_fraction;
        } else if other.fraction_at_ms == self.fraction_at_ms {
            self.watched_fraction = self.watched_fraction.max(other.watched_fraction);
        }
    }
}

/// Puts a view into a list that is ordered by time, ties by arrival, holds a title once and at most `limit` of the
/// newest.
pub(crate) fn put(list: &mut Vec<Viewed>, mut view: Viewed, limit: usize) {
    if let Some(index) = list.iter().position(|known| known.title_id == view.title_id) {
        if list[index].at_ms >= view.at_ms {
            list[index].join(&view); // it stays in its place
            return;
        }
        view.join(&list.remove(index));
    }
    let index = list.partition_point(|known| known.at_ms <= view.at_ms);
    list.insert(index, view);
    if list.len() > limit {
        list.remove(0);
    }
}
