//! Pages as viewers get them, and the port to whoever makes them.

use async_trait::async_trait;

/// What is on the screen: rows from top to bottom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// From top to bottom.
    pub rows: Vec<PageRow>,
}

/// One row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRow {
    /// As the page names it; sent back with impressions.
    pub row_id: String,
    /// From left to right.
    pub items: Vec<PageItem>,
}

/// One item of a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageItem {
    /// The title.
    pub title_id: String,
    /// Opaque, never empty; sent back with impressions, clicks and views.
    pub tracking_token: String,
}

/// A title on a page whose viewer may not see it. The simulation ends with it: nothing is worse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "row `{row_id}` of the page for profile `{profile_id}` holds title `{title_id}`, which this profile may not see"
)]
pub struct Leak {
    /// Whose page it is.
    pub profile_id: String,
    /// The row.
    pub row_id: String,
    /// The title.
    pub title_id: String,
}

/// Where pages come from. The binary implements it over gRPC, with the profile's own token. Object-safe.
#[async_trait]
pub trait Pages: Send + Sync + 'static {
    /// The home page of a profile, now.
    ///
    /// # Errors
    /// Whatever kept the page away; the viewer then browses, and the failure is counted.
    async fn home_page(&self, profile_id: &str) -> Result<Page, Box<dyn std::error::Error + Send + Sync>>;
}
