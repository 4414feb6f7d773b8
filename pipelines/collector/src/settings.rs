//! What an operator can set, with the reason for each default.

use serde::{Deserialize, Serialize};

use crate::connections::IDLE_TIMEOUT_MS;
use crate::{CollectorError, LocationSettings};

/// A batch of twenty events has about 2 KB; a player that was offline for an hour fits into 4 MiB.
pub(crate) const MAX_BODY_BYTES: usize = 4 << 20;

/// Large enough that a chunk's one fsync costs nothing, small enough for four of them to be under way.
const MAX_IMPORT_CHUNK_BYTES: usize = 64 << 20;

/// What all requests under way may hold together. Two import chunks of the largest size, each compressed and
/// decompressed; or a hundred thousand ordinary batches.
const MAX_BYTES_IN_FLIGHT: usize = 256 << 20;

/// Little's law: at 50 ms per acknowledgement this is 80 000 requests a second, more than one process can parse.
const MAX_CONCURRENT_REQUESTS: usize = 4096;

/// 4 MiB in this time is 0.6 Mbit/s, a bad mobile link; an import chunk needs 9 Mbit/s.
const BODY_TIMEOUT_MS: u64 = 60_000;

/// An fsync that takes longer means a broken disk. The client is told before its own timeout ends: the importers' is
/// 30 s.
const LOG_TIMEOUT_MS: u64 = 20_000;

/// Settings of the collector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollectorSettings {
    /// The topic of players' events.
    pub topic: String,
    /// The topic of imports: their event times lie in the past and would be late among live events.
    pub import_topic: String,
    /// The topic of viewers' interactions.
    pub interactions_topic: String,
    /// The topic of imported interactions.
    pub interactions_import_topic: String,
    /// The largest body of `POST /v1/events`, `/v1/cmcd` and `/v1/interactions`, and the largest batch within an import
    /// chunk, after decompression.
    pub max_body_bytes: usize,
    /// The largest import chunk, after decompression.
    pub max_import_chunk_bytes: usize,
    /// What the bodies of all requests under way may hold together, before and after decompression; beyond it: 429.
    pub max_bytes_in_flight: usize,
    /// How many `POST` requests may be under way; beyond it: 429.
    pub max_concurrent_requests: usize,
    /// A body must have arrived after this time, counted from its headers (ms); beyond it: 408.
    pub body_timeout_ms: u64,
    /// The log must have answered after this time (ms); beyond it: 503. Less than 75 000, the idle time of a connection.
    pub log_timeout_ms: u64,
    /// Origins of web players, such as `https://play.example.com`, which browsers then let post here. None by default.
    pub allowed_origins: Vec<String>,
    /// Where the collector learns where a client is.
    pub location: LocationSettings,
}

impl Default for CollectorSettings {
    fn default() -> Self {
        Self {
            topic: "playback".to_owned(),
            import_topic: "playback-import".to_owned(),
            interactions_topic: "interactions".to_owned(),
            interactions_import_topic: "interactions-import".to_owned(),
            max_body_bytes: MAX_BODY_BYTES,
            max_import_chunk_bytes: MAX_IMPORT_CHUNK_BYTES,
            max_bytes_in_flight: MAX_BYTES_IN_FLIGHT,
            max_concurrent_requests: MAX_CONCURRENT_REQUESTS,
            body_timeout_ms: BODY_TIMEOUT_MS,
            log_timeout_ms: LOG_TIMEOUT_MS,
            allowed_origins: Vec::new(),
            location: LocationSettings::default(),
        }
    }
}

impl CollectorSettings {
    /// Every topic that is written to, with its setting.
    pub(crate) fn topics(&self) -> [(&'static str, &str); 4] {
        [
            ("topic", &self.topic),
            ("import_topic", &self.import_topic),
            ("interactions_topic", &self.interactions_topic),
            ("interactions_import_topic", &self.interactions_import_topic),
        ]
    }

    /// Whether the settings make sense together; [`Collector::serve`](crate::Collector::serve) asks this first.
    ///
    /// # Errors
    /// [`CollectorError::Setting`], naming the first setting that does not.
    pub fn check(&self) -> Result<(), CollectorError> {
        let refuse = |setting, problem: String| Err(CollectorError::Setting { setting, problem });
        let topics = self.topics();
        for (index, (setting, topic)) in topics.iter().enumerate() {
            if let Some((other, _)) = topics[..index].iter().find(|(_, known)| known == topic) {
                return refuse(setting, format!("must differ from {other} `{topic}`"));
            }
        }
        for (setting, value) in [
            ("max_body_bytes", self.max_body_bytes),
            ("max_import_chunk_bytes", self.max_import_chunk_bytes),
            ("max_concurrent_requests", self.max_concurrent_requests),
        ] {
            if value == 0 {
                return refuse(setting, "must be at least 1".to_owned());
            }
        }
        // A body is held twice while it is decompressed; a limit below that would refuse it for ever.
        let needed_bytes = self.max_body_bytes.max(self.max_import_chunk_bytes).saturating_mul(2);
        if self.max_bytes_in_flight < needed_bytes {
            let problem = format!("must be at least {needed_bytes}, twice the largest body");
            return refuse("max_bytes_in_flight", problem);
        }
        if self.body_timeout_ms == 0 {
            return refuse("body_timeout_ms", "must be at least 1".to_owned());
        }
        if !(1..IDLE_TIMEOUT_MS).contains(&self.log_timeout_ms) {
            let problem = format!("must be from 1 to {}, less than the idle time of a connection", IDLE_TIMEOUT_MS - 1);
            return refuse("log_timeout_ms", problem);
        }
        for origin in &self.allowed_origins {
            if !is_origin(origin) {
                let problem = format!("`{origin}` is no origin: write it as `https://play.example.com`, in lower case");
                return refuse("allowed_origins", problem);
            }
        }
        Ok(())
    }
}

/// Scheme, host and port as browsers send them (RFC 6454 §6.2): anything else would never match.
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    matches!(scheme, "http" | "https")
        && !authority.is_empty()
        && authority.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b':' | b'[' | b']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut CollectorSettings), setting: &str) {
        let mut settings = CollectorSettings::default();
        settings.check().expect("the defaults are good");
        change(&mut settings);
        match settings.check() {
            Err(CollectorError::Setting { setting: found, .. }) => assert_eq!(found, setting),
            other => panic!("{setting}: {other:?}"),
        }
    }

    #[test]
    fn senseless_settings_are_named() {
        check(|s| s.import_topic = s.topic.clone(), "import_topic");
        check(|s| s.interactions_topic = s.import_topic.clone(), "interactions_topic");
        check(|s| s.interactions_import_topic = s.topic.clone(), "interactions_import_topic");
        check(|s| s.max_body_bytes = 0, "max_body_bytes");
        check(|s| s.max_concurrent_requests = 0, "max_concurrent_requests");
        check(|s| s.max_bytes_in_flight = s.max_import_chunk_bytes, "max_bytes_in_flight");
        check(|s| s.body_timeout_ms = 0, "body_timeout_ms");
        check(|s| s.log_timeout_ms = IDLE_TIMEOUT_MS, "log_timeout_ms");
        for origin in ["*", "https://", "https://play.example.com/", "https://Play.example.com", "play.example.com"] {
            check(|s| s.allowed_origins = vec![origin.to_owned()], "allowed_origins");
        }
    }

    #[test]
    fn origins_may_have_ports() {
        let allowed_origins = vec!["http://localhost:8080".to_owned(), "http://[::1]:8080".to_owned()];
        CollectorSettings { allowed_origins, ..CollectorSettings::default() }.check().expect("are origins");
    }

    #[test]
    fn unknown_settings_are_refused() {
        let error = serde_json::from_str::<CollectorSettings>(r#"{"topics":"x"}"#).expect_err("is unknown");
        assert!(error.to_string().contains("topics"), "{error}");
    }
}
