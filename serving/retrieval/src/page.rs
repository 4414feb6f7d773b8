//! What a request gets: rows of items, each with its true reason, and how the response came about.

use std::fmt;

use crate::{Degraded, PageTrace};

/// Names a response, for attribution. Thirty-two hexadecimal digits as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub u128);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl RequestId {
    /// Seeds what is random in this response.
    pub(crate) fn seed(self) -> u64 {
        (self.0 as u64) ^ ((self.0 >> 64) as u64)
    }
}

/// A home page.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// How it came about.
    pub served: Served,
    /// Best first.
    pub rows: Vec<Row>,
    /// Every stage that ran.
    pub trace: PageTrace,
}

/// A part of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct RowSlice {
    /// How it came about.
    pub served: Served,
    /// The row, with the items of this part only.
    pub row: Row,
    /// Position in the row of the first item of this part.
    pub offset: usize,
    /// Where the next part begins; `None` at the end of the row.
    pub next_offset: Option<usize>,
    /// Seeds what is random in the row; the next part must be asked for with the same.
    pub seed: u64,
    /// Every stage that ran.
    pub trace: PageTrace,
}

/// How a response came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Names the response.
    pub request_id: RequestId,
    /// For whom.
    pub profile_id: String,
    /// The model behind it; empty when none is in service.
    pub model_version: String,
    /// The instant that it is for (ms since the epoch).
    pub as_of_ms: i64,
    /// What was missing; in order, each once; empty when nothing was.
    pub degraded: Vec<Degraded>,
}

/// Titles for one reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Such as `top_picks` or `because_you_watched:ml-1`.
    pub row_id: String,
    /// Which kind of row.
    pub kind: RowKind,
    /// As people read it.
    pub heading: String,
    /// Best first.
    pub items: Vec<Item>,
}

/// Which kind of row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowKind {
    /// Titles begun and not finished.
    ContinueWatching,
    /// The model's choice.
    TopPicks,
    /// What follows one title.
    BecauseYouWatched,
    /// What many watch now.
    TrendingNow,
    /// What came into the catalogue last.
    New,
    /// What few have seen, at random.
    Exploration,
}

impl RowKind {
    /// What rows of this kind are called; "because you watched" is followed by a title.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            RowKind::ContinueWatching => "Continue watching",
            RowKind::TopPicks => "Top picks for you",
            RowKind::BecauseYouWatched => "Because you watched",
            RowKind::TrendingNow => "Trending now",
            RowKind::New => "New",
            RowKind::Exploration => "Something different",
        }
    }
}

/// A title in a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The title.
    pub title_id: String,
    /// As people read it.
    pub name: String,
    /// Of first release.
    pub year: Option<i32>,
    /// The most telling first.
    pub genres: Vec<String>,
    /// Of the row's source; comparable within a row only.
    pub score: f64,
    /// Where it truly came from.
    pub reason: Reason,
    /// Continue watching: the playhead as a share of the running time, 0 to 1.
    pub watched_fraction: Option<f64>,
    /// Probability that the row held this title, over the draws of its random source; 1 for a source without chance.
    /// Above 0.
    pub propensity: f64,
}

/// Where an item truly came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The source, such as `vectors`, `neighbours`, `trending_24h`.
    pub source: &'static str,
    /// The title it was found through, if any; always one that the viewer may see.
    pub because_title_id: Option<String>,
    /// As people read it.
    pub text: String,
}
