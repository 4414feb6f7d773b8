//! How interactions reach the collector: `POST /v1/interactions`, one profile's a request.

use serde::de::IgnoredAny;

use crate::SourceError;
use crate::collector::{Body, Collector};

impl Collector {
    /// Posts a batch of interactions until it is accepted. `json()` is asked anew for every attempt, so that
    /// `sent_at_ms` is always the moment of this very attempt. Gives the attempts that failed without saying whether
    /// they were accepted; interactions have ids, so that none counts twice.
    pub(crate) async fn post_interactions(&self, mut json: impl FnMut() -> String) -> Result<u32, SourceError> {
        let url = self.url("v1/interactions")?;
        let body = || Body { content_type: "application/json", gzip: false, bytes: json().into_bytes() };
        Ok(self.post::<IgnoredAny>(&url, body).await?.unsure_attempts)
    }
}
