//! What training learns from, whichever way it came in.

/// A title that a profile watched or rated.
#[derive(Debug, Clone, PartialEq)]
pub struct Watch {
    /// Who.
    pub profile_id: String,
    /// What.
    pub title_id: String,
    /// When (ms since the epoch), not negative.
    pub at_ms: i64,
    /// How much of it, 0 to 1, where that is known.
    pub watched_fraction: Option<f32>,
}
