//! The tracking token of an item: which response showed it, where, by which model and with which probability. It comes
//! back with impressions, clicks and views, so that they can be attributed and weighted.

use serde::{Deserialize, Serialize};

use crate::{RequestId, SealError, SealKey};

/// Never changes while tokens of the format are about.
const PURPOSE: &str = "marquee.rows.tracking";

/// What a tracking token says.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracking {
    /// The response.
    pub request_id: RequestId,
    /// The row.
    pub row_id: String,
    /// Place in the row, from 0.
    pub position: u32,
    /// The model; empty when none was in service.
    pub model_version: String,
    /// Probability that the row held the title; above 0, at most 1.
    pub propensity: f64,
    /// The title.
    pub title_id: String,
}

/// Why a tracking token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tracking token is not one of ours")]
pub struct TrackingError(#[source] pub SealError);

/// As it lies in a token.
#[derive(Serialize, Deserialize)]
struct Wire {
    request_id: u128,
    row_id: String,
    position: u32,
    model_version: String,
    propensity: f64,
    title_id: String,
}

impl Tracking {
    /// The token of an item.
    pub fn seal(self, key: &SealKey) -> String {
        let Tracking { request_id, row_id, position, model_version, propensity, title_id } = self;
        key.seal(PURPOSE, &Wire { request_id: request_id.0, row_id, position, model_version, propensity, title_id })
    }

    /// What a token says.
    ///
    /// # Errors
    /// When it was not sealed with this key, or changed since.
    pub fn open(key: &SealKey, token: &str) -> Result<Self, TrackingError> {
        let wire: Wire = key.open(PURPOSE, token).map_err(TrackingError)?;
        let Wire { request_id, row_id, position, model_version, propensity, title_id } = wire;
        Ok(Self { request_id: RequestId(request_id), row_id, position, model_version, propensity, title_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_what_was_sealed() {
        let key = SealKey::new(&[3; 32]).unwrap();
        let tracking = Tracking {
            request_id: RequestId(u128::MAX - 1),
            row_id: "because_you_watched:ml-1".to_owned(),
            position: 19,
            model_version: "two-tower-7".to_owned(),
            propensity: 0.125,
            title_id: "ml-2".to_owned(),
        };
        let token = tracking.clone().seal(&key);
        assert!(token.len() < 160, "{} characters travel with every item", token.len());
        assert_eq!(Tracking::open(&key, &token), Ok(tracking));
        assert_eq!(Tracking::open(&key, "x"), Err(TrackingError(SealError::Malformed)));
    }
}
