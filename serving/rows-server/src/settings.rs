//! What an operator can set, with the reason for each default.

use serde::{Deserialize, Serialize};

use crate::RowsError;

/// Within it a page feels immediate; pages take a tenth of it when nothing is broken.
const DEFAULT_DEADLINE_MS: u64 = 200;

/// No page is worth waiting for longer, and every request under way holds memory.
const MAX_DEADLINE_MS: u64 = 10_000;

/// Little's law: at 20 ms a page these are 12 800 pages a second, more than one process can make.
const MAX_CONCURRENT_REQUESTS: usize = 256;

/// Gateways keep a few connections each, browsers one. One costs about 20 KB idle.
const MAX_CONNECTIONS: usize = 4096;

/// Settings of the rows server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RowsSettings {
    /// A request without a deadline of its own is answered within this time (ms), 1 to 10 000.
    pub default_deadline_ms: u64,
    /// How many requests may be under way; beyond it: `RESOURCE_EXHAUSTED`.
    pub max_concurrent_requests: usize,
    /// How many connections may be open; more wait in the operating system's backlog.
    pub max_connections: usize,
    /// Origins of web pages, such as `https://tv.example.com`, which browsers then let ask here. None by default.
    pub allowed_origins: Vec<String>,
}

impl Default for RowsSettings {
    fn default() -> Self {
        Self {
            default_deadline_ms: DEFAULT_DEADLINE_MS,
            max_concurrent_requests: MAX_CONCURRENT_REQUESTS,
            max_connections: MAX_CONNECTIONS,
            allowed_origins: Vec::new(),
        }
    }
}

impl RowsSettings {
    /// Whether the settings make sense; [`RowsServer::new`](crate::RowsServer::new) asks this first.
    ///
    /// # Errors
    /// [`RowsError::Setting`], naming the first setting that does not.
    pub fn check(&self) -> Result<(), RowsError> {
        let refuse = |setting, problem: String| Err(RowsError::Setting { setting, problem });
        if !(1..=MAX_DEADLINE_MS).contains(&self.default_deadline_ms) {
            return refuse("default_deadline_ms", format!("must be from 1 to {MAX_DEADLINE_MS}"));
        }
        for (setting, value) in
            [("max_concurrent_requests", self.max_concurrent_requests), ("max_connections", self.max_connections)]
        {
            if value == 0 {
                return refuse(setting, "must be at least 1".to_owned());
            }
        }
        for origin in &self.allowed_origins {
            if !is_origin(origin) {
                let problem = format!("`{origin}` is no origin: write it as `https://tv.example.com`, in lower case");
                return refuse("allowed_origins", problem);
            }
        }
        Ok(())
    }

    /// How long a request has: what it asks for, within bounds.
    pub(crate) fn deadline_ms(&self, asked_ms: Option<u64>) -> u64 {
        asked_ms.unwrap_or(self.default_deadline_ms).min(MAX_DEADLINE_MS)
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

    fn check(change: impl FnOnce(&mut RowsSettings), setting: &str) {
        let mut settings = RowsSettings::default();
        settings.check().expect("the defaults are good");
        change(&mut settings);
        match settings.check() {
            Err(RowsError::Setting { setting: found, .. }) => assert_eq!(found, setting),
            other => panic!("{setting}: {other:?}"),
        }
    }

    #[test]
    fn senseless_settings_are_named() {
        check(|s| s.default_deadline_ms = 0, "default_deadline_ms");
        check(|s| s.default_deadline_ms = 10_001, "default_deadline_ms");
        check(|s| s.max_concurrent_requests = 0, "max_concurrent_requests");
        check(|s| s.max_connections = 0, "max_connections");
        for origin in ["*", "https://", "https://tv.example.com/", "https://Tv.example.com", "tv.example.com"] {
            check(|s| s.allowed_origins = vec![origin.to_owned()], "allowed_origins");
        }
    }
}
