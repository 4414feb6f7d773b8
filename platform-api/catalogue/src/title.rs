//! A title: what it is, for whom, where it may be shown.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A film or an episode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Title {
    /// At most `MAX_ID_BYTES` of `marquee_events`.
    pub title_id: String,
    /// As people read it.
    pub name: String,
    /// Of first release.
    pub year: Option<i32>,
    /// In the order of the source, the most telling first.
    pub genres: Vec<String>,
    /// Free words.
    pub tags: Vec<String>,
    /// For whom.
    pub maturity: Maturity,
    /// Where it is licensed.
    pub regions: Regions,
    /// Running time (ms).
    pub duration_ms: Option<i64>,
    /// When it came into the catalogue (ms since the epoch).
    pub added_at_ms: i64,
}

/// The youngest age a title is for; ordered from all ages to adults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Maturity {
    /// Everybody.
    AllAges = 0,
    /// From 7.
    Age7 = 7,
    /// From 12.
    Age12 = 12,
    /// From 16.
    Age16 = 16,
    /// Adults only; also what an unrated title counts as.
    Age18 = 18,
}

impl Maturity {
    /// All of them, youngest first.
    pub const ALL: [Maturity; 5] =
        [Maturity::AllAges, Maturity::Age7, Maturity::Age12, Maturity::Age16, Maturity::Age18];

    /// The age in years.
    pub fn age(self) -> u8 {
        self as u8
    }

    /// The level with this age; `None` for any other number.
    pub fn from_age(age: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.age() == age)
    }
}

/// Where a title may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Regions {
    /// Licensed globally.
    Everywhere,
    /// Only in these countries (ISO 3166-1 alpha-2, upper case).
    Only(BTreeSet<String>),
}

impl Regions {
    /// Whether it may be shown in a country; an unknown country (`""`) gets only what is licensed globally.
    pub fn allow(&self, country: &str) -> bool {
        match self {
            Regions::Everywhere => true,
            Regions::Only(countries) => countries.contains(country),
        }
    }
}
