//! A profile: one person of an account.

use serde::{Deserialize, Serialize};

use crate::Maturity;

/// One person of an account. What it may see is read from here, never from a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// At most `MAX_ID_BYTES` of `marquee_events`.
    pub profile_id: String,
    /// As people read it.
    pub display_name: String,
    /// Titles above this are never shown.
    pub max_maturity: Maturity,
    /// ISO 3166-1 alpha-2, upper case; empty when unknown.
    pub country: String,
}

impl Profile {
    /// What a search for people looks in: id and name, lower-cased by Unicode's rules without regard to language.
    /// Adapters store it and look for the search text, lower-cased the same way (`str::to_lowercase`), inside it.
    pub fn search_text(&self) -> String {
        // Neither part can hold a line break, so that nothing is found across the two.
        format!("{}\n{}", self.profile_id, self.display_name).to_lowercase()
    }
}
