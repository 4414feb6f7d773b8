//! The parts that the binary hands in: the ports of the dashboards. All are object-safe; adapters are a few lines each.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use marquee_catalogue::Profile;
use marquee_events::Clock;

use crate::{HomePage, LiveMinutes, PartError};

/// SQL over the lake (`DeltaLake::sql`): read-only, one consistent cut a query.
#[async_trait]
pub trait LakeQuery: Send + Sync + 'static {
    /// Runs one query. Texts come as Utf8.
    ///
    /// # Errors
    /// When the lake does not answer or is damaged.
    async fn sql(&self, query: &str) -> Result<Vec<RecordBatch>, PartError>;
}

/// The live figures. [`LiveFollower`](crate::LiveFollower) is one over the records of topic `qoe-live`.
pub trait LiveSource: Send + Sync + 'static {
    /// The minutes from `from_minute` (inclusive) to `to_minute` (exclusive), minutes since the Unix epoch, as known
    /// now; minutes in which nothing happened may be missing.
    fn minutes(&self, from_minute: i64, to_minute: i64) -> LiveMinutes;
}

/// Profiles and their pages.
#[async_trait]
pub trait Rows: Send + Sync + 'static {
    /// A profile's home page as it is now; `None` when there is no such profile.
    ///
    /// # Errors
    /// When no page can be made. A page that is less than it should be is no error: it has `degraded` reasons.
    async fn home_page(&self, profile_id: &str) -> Result<Option<HomePage>, PartError>;

    /// A profile.
    ///
    /// # Errors
    /// When the catalogue does not answer.
    async fn profile(&self, profile_id: &str) -> Result<Option<Profile>, PartError>;

    /// At most `limit` profiles, in the order of their ids, whose id or name contains `search` (ignoring case; empty
    /// finds all).
    ///
    /// # Errors
    /// When the catalogue does not answer.
    async fn profiles(&self, search: &str, limit: u32) -> Result<Vec<Profile>, PartError>;

    /// The names of those of these titles that the catalogue knows.
    ///
    /// # Errors
    /// When the catalogue does not answer; pages then show ids.
    async fn title_names(&self, title_ids: &[String]) -> Result<HashMap<String, String>, PartError>;
}

/// Everything that the dashboards show comes from these.
#[derive(Clone)]
pub struct Parts {
    /// The lake.
    pub lake: Arc<dyn LakeQuery>,
    /// The live figures.
    pub live: Arc<dyn LiveSource>,
    /// Profiles and pages.
    pub rows: Arc<dyn Rows>,
    /// The clock that events and figures are stamped by.
    pub clock: Arc<dyn Clock>,
}
