//! Why a page is not what it should be. The wire contract has the same list; `rows-server` converts and a test there
//! fails when one of them grows alone.

/// A part that was missing when the page was made. The page is filtered all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Degraded {
    /// No model is in service: popular titles instead.
    NoModel,
    /// The vector index cannot be read: neighbours of what was watched, or popular titles instead.
    IndexUnavailable,
    /// The online features cannot be read: of the viewer, of the titles, or both.
    FeaturesUnavailable,
    /// The catalogue cannot be read: what was last known of it is used.
    CatalogueUnavailable,
    /// Maturity or region cannot be read: all-ages, globally licensed titles only.
    FailedClosed,
    /// The deadline came before everything had answered.
    Deadline,
    /// New events cannot be taken in: the page may lag behind what was watched.
    EventsUnavailable,
}

impl Degraded {
    /// All of them.
    pub const ALL: [Degraded; 7] = [
        Degraded::NoModel,
        Degraded::IndexUnavailable,
        Degraded::FeaturesUnavailable,
        Degraded::CatalogueUnavailable,
        Degraded::FailedClosed,
        Degraded::Deadline,
        Degraded::EventsUnavailable,
    ];
}
