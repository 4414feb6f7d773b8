//! Why there is no page at all. Everything less than that is a [`Degraded`](crate::Degraded) reason on a page.

use marquee_catalogue::CatalogueError;
use marquee_events::ErrorKind;

/// Why a request got no page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The catalogue was read and has no such profile.
    #[error("there is no profile `{profile_id}`")]
    UnknownProfile {
        /// Who asked.
        profile_id: String,
    },
    /// No row of this name, or none that this viewer may have now.
    #[error("there is no row `{row_id}` for this profile")]
    UnknownRow {
        /// What was asked for.
        row_id: String,
    },
    /// A row was asked for as an earlier model made it.
    #[error("the row was begun with model `{pinned}`, which is no longer in service")]
    ModelChanged {
        /// The model of the earlier request; empty when there was none.
        pinned: String,
    },
    /// The catalogue cannot be read and never was: nothing is known that could be shown.
    #[error("reading the catalogue failed, and it has never been read")]
    Catalogue(#[source] CatalogueError),
    /// The catalogue did not answer in time and never has: nothing is known that could be shown.
    #[error("the catalogue did not answer in time, and it has never been read")]
    Deadline,
}

impl PageError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            PageError::UnknownProfile { .. } | PageError::UnknownRow { .. } => ErrorKind::Invalid,
            PageError::ModelChanged { .. } => ErrorKind::Conflict,
            PageError::Catalogue(source) => source.kind(),
            PageError::Deadline => ErrorKind::Unavailable,
        }
    }
}
