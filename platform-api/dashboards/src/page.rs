//! A home page as JSON: the messages of `marquee.rows.v1` with their names in snake case and enums as lower-case words
//! (`top_picks`, `no_model`), so that whoever knows the gRPC contract can read it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `GetHomePageResponse`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HomePage {
    /// How it came about.
    pub served: Served,
    /// The rows, in order.
    pub rows: Vec<Row>,
}

/// `Served`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Served {
    /// Of this request.
    pub request_id: String,
    /// Whose page it is.
    pub profile_id: String,
    /// Empty when no model is in service.
    pub model_version: String,
    /// The instant that the page is for (ms since the epoch).
    pub as_of_ms: i64,
    /// Why the page is not what it should be (`DegradedReason` without its prefix, in lower case); empty when it is.
    pub degraded: Vec<String>,
    /// Experiment → arm.
    pub experiment_arms: BTreeMap<String, String>,
}

/// `Row`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Such as `top_picks` or `because_you_watched:ml-1`.
    pub row_id: String,
    /// `RowKind` without its prefix, in lower case.
    pub kind: String,
    /// As people read it.
    pub heading: String,
    /// In order.
    pub items: Vec<Item>,
}

/// `Item`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// The title.
    pub title_id: String,
    /// As people read it.
    pub name: String,
    /// Of first release; 0 when unknown.
    pub year: i32,
    /// The most telling first.
    pub genres: Vec<String>,
    /// Of the row's source; comparable within a row only.
    pub score: f64,
    /// Where it came from.
    pub reason: Reason,
    /// Opaque; sent back with impressions, clicks and views.
    pub tracking_token: String,
    /// Continue watching: the playhead as a share of the running time, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watched_fraction: Option<f64>,
}

/// `Reason`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Reason {
    /// Such as `vectors`, `neighbours`, `trending_24h`.
    pub source: String,
    /// The title it was found through; empty when through none.
    pub because_title_id: String,
    /// As people read it.
    pub text: String,
}
