//! The port to wherever titles and profiles are kept. One contract suite runs against every adapter.

use async_trait::async_trait;

use crate::{CatalogueError, CatalogueSnapshot, Profile, Title};

/// Titles and profiles. Object-safe.
#[async_trait]
pub trait Catalogue: Send + Sync + 'static {
    /// Adds titles or replaces those with the same id, all or none; grows the version when anything changed. Of several
    /// with one id the last counts.
    ///
    /// # Errors
    /// [`CatalogueError::Invalid`] naming the title and the field ([`Title::validate`]); otherwise the failure.
    async fn put_titles(&self, titles: Vec<Title>) -> Result<(), CatalogueError>;

    /// Adds profiles or replaces those with the same id, all or none. Of several with one id the last counts.
    ///
    /// # Errors
    /// As [`put_titles`](Self::put_titles).
    async fn put_profiles(&self, profiles: Vec<Profile>) -> Result<(), CatalogueError>;

    /// The version of the titles: cheap, asked every second.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn version(&self) -> Result<u64, CatalogueError>;

    /// Every title at one version.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn snapshot(&self) -> Result<CatalogueSnapshot, CatalogueError>;

    /// A profile.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn profile(&self, profile_id: &str) -> Result<Option<Profile>, CatalogueError>;

    /// Profiles in the order of their ids (by bytes): at most `limit`, those after `after`, whose id or name contains
    /// `search` (ignoring case, see [`Profile::search_text`]; empty finds all).
    ///
    /// # Errors
    /// When the store does not answer.
    async fn profiles(&self, search: &str, after: &str, limit: u32) -> Result<Vec<Profile>, CatalogueError>;
}
