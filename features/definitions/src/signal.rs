//! What features see of an interaction.

use marquee_events::interactions::proto::interaction::Payload;

/// One interaction of a profile with a title.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Signal<'a> {
    /// Who.
    pub profile_id: &'a str,
    /// With what.
    pub title_id: &'a str,
    /// The title's genres as the catalogue knows them; empty for an unknown title.
    pub genres: &'a [String],
    /// What happened.
    pub kind: SignalKind,
    /// When it happened (ms since the epoch, corrected).
    pub event_time_ms: i64,
    /// From when on it was known (ms since the epoch): the collector's clock; for imports the event time.
    pub available_ms: i64,
}

/// What happened. Fractions are of the running time, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SignalKind {
    /// The first frame of a title was shown.
    ViewStarted,
    /// Playback has come this far.
    ViewProgress {
        /// The playhead.
        watched_fraction: f32,
    },
    /// The viewer has left the title or reached its end.
    ViewFinished {
        /// The share that was watched.
        watched_fraction: f32,
    },
    /// Stars.
    Rating {
        /// 0.5 to 5.
        value: f32,
    },
    /// Put on the viewer's list.
    ListAdd,
    /// Taken off the list.
    ListRemove,
    /// An item of a row was chosen.
    Click,
    /// "Do not show me this again."
    NotInterested,
}

/// The signals that an interaction gives, in order: none for impressions and searches. A finished view without a session
/// tells the whole view at once, as imports do: it gives the start, too.
pub fn signal_kinds(payload: &Payload) -> [Option<SignalKind>; 2] {
    match payload {
        Payload::Impression(_) | Payload::Search(_) => [None, None],
        Payload::Click(_) => [Some(SignalKind::Click), None],
        Payload::ViewStarted(_) => [Some(SignalKind::ViewStarted), None],
        Payload::ViewProgress(p) => {
            [Some(SignalKind::ViewProgress { watched_fraction: p.watched_fraction as f32 }), None]
        }
        Payload::ViewFinished(p) => {
            let started = p.session_id.is_empty().then_some(SignalKind::ViewStarted);
            let finished = Some(SignalKind::ViewFinished { watched_fraction: p.watched_fraction as f32 });
            if started.is_some() { [started, finished] } else { [finished, None] }
        }
        Payload::ListAdd(_) => [Some(SignalKind::ListAdd), None],
        Payload::ListRemove(_) => [Some(SignalKind::ListRemove), None],
        Payload::Rating(p) => [Some(SignalKind::Rating { value: p.value as f32 }), None],
        Payload::NotInterested(_) => [Some(SignalKind::NotInterested), None],
    }
}
