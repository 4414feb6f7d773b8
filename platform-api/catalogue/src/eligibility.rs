//! What a viewer may be shown, decided in memory over a snapshot of the whole catalogue.

use std::collections::HashMap;

use crate::{Maturity, Profile, Title};

/// What decides which titles a page may hold. When the profile cannot be read, [`Viewer::FAIL_CLOSED`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    /// Titles above this are never shown.
    pub max_maturity: Maturity,
    /// ISO 3166-1 alpha-2, upper case; empty allows only what is licensed globally.
    pub country: String,
}

impl Viewer {
    /// Nothing is known: all-ages, globally licensed titles only.
    pub const FAIL_CLOSED: Viewer = Viewer { max_maturity: Maturity::AllAges, country: String::new() };

    /// What a profile may see.
    pub fn of(profile: &Profile) -> Self {
        Self { max_maturity: profile.max_maturity, country: profile.country.clone() }
    }

    /// Whether a title may be shown.
    pub fn may_see(&self, title: &Title) -> bool {
        title.maturity <= self.max_maturity && title.regions.allow(&self.country)
    }
}

/// Every title at one version of the catalogue, numbered from 0 in the order of `title_id`.
#[derive(Debug, Default)]
pub struct CatalogueSnapshot {
    version: u64,
    titles: Vec<Title>,
    numbers: HashMap<String, u32>,
}

impl CatalogueSnapshot {
    /// A snapshot; titles may come in any order.
    pub fn new(version: u64, mut titles: Vec<Title>) -> Self {
        titles.sort_by(|a, b| a.title_id.cmp(&b.title_id));
        let numbers = (0..).zip(&titles).map(|(number, title)| (title.title_id.clone(), number)).collect();
        Self { version, titles, numbers }
    }

    /// Grows with every change of a title.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All titles, by number.
    pub fn titles(&self) -> &[Title] {
        &self.titles
    }

    /// The number of a title.
    pub fn number(&self, title_id: &str) -> Option<u32> {
        self.numbers.get(title_id).copied()
    }

    /// A title by its id.
    pub fn title(&self, title_id: &str) -> Option<&Title> {
        self.titles.get(self.number(title_id)? as usize)
    }
}
