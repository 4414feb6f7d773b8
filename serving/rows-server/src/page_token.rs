//! Where the next part of a row begins, as an opaque text. It pins the model and what is random, so that parts fit
//! together, and is bound to the profile and the row: one viewer's token is of no use to another.

use marquee_retrieval::SealKey;
use serde::{Deserialize, Serialize};

/// Never changes while tokens of the format are about.
const PURPOSE: &str = "marquee.rows.page";

/// What a page token says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PageToken {
    pub(crate) profile_id: String,
    pub(crate) row_id: String,
    pub(crate) offset: u32,
    pub(crate) model_version: String,
    pub(crate) seed: u64,
}

impl PageToken {
    pub(crate) fn seal(&self, key: &SealKey) -> String {
        key.seal(PURPOSE, self)
    }

    /// What a token says; `None` unless it was sealed for this profile and row.
    pub(crate) fn open(key: &SealKey, text: &str, profile_id: &str, row_id: &str) -> Option<Self> {
        let token: Self = key.open(PURPOSE, text).ok()?;
        (token.profile_id == profile_id && token.row_id == row_id).then_some(token)
    }
}
