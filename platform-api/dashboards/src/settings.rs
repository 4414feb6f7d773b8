//! What an operator can set, with the reason for each default.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::DashboardsError;

/// Settings of the dashboards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DashboardsSettings {
    /// Where the Viewer's player posts its events, as browsers reach it, such as `http://127.0.0.1:8080`. The collector
    /// has to allow the origin of the dashboards.
    pub collector_url: String,
    /// The folder of the demo's clip (`main.m3u8` and what it names); without it the Viewer says how to make one.
    pub media_folder: Option<PathBuf>,
    /// Names, besides those of this machine (`localhost`, `127.0.0.1`, `[::1]`), under which browsers may ask; no ports.
    pub allowed_hosts: Vec<String>,
    /// Between two live messages to a browser (ms).
    pub live_interval_ms: u64,
    /// Slots younger than this are not yet whole (ms): players tell with their next heartbeat and events come late. The
    /// jobs' watermark waits as long.
    pub concurrency_lag_ms: i64,
    /// How many times faster than life the clock of the parts runs (`demo --speed`): players in the browser follow it.
    pub clock_speed: f64,
}

impl Default for DashboardsSettings {
    fn default() -> Self {
        Self {
            collector_url: "http://127.0.0.1:8080".to_owned(),
            media_folder: None,
            allowed_hosts: Vec::new(),
            live_interval_ms: 1_000,
            concurrency_lag_ms: 30_000,
            clock_speed: 1.0,
        }
    }
}

impl DashboardsSettings {
    /// Whether the settings make sense; [`Dashboards::new`](crate::Dashboards::new) asks this first.
    ///
    /// # Errors
    /// [`DashboardsError::Setting`], naming the first setting that does not.
    pub fn check(&self) -> Result<(), DashboardsError> {
        let refuse = |setting, problem: &str| Err(DashboardsError::Setting { setting, problem: problem.to_owned() });
        // It becomes part of the content security policy: nothing but an origin may stand there.
        if !is_origin(&self.collector_url) {
            return refuse("collector_url", "must be like `http://127.0.0.1:8080`, in lower case and without a path");
        }
        if !(100..=60_000).contains(&self.live_interval_ms) {
            return refuse("live_interval_ms", "must be from 100 to 60000");
        }
        if !(0..=60_000).contains(&self.concurrency_lag_ms) {
            return refuse("concurrency_lag_ms", "must be from 0 to 60000");
        }
        if !(self.clock_speed.is_finite() && self.clock_speed > 0.0) {
            return refuse("clock_speed", "must be more than 0");
        }
        Ok(())
    }
}

/// Scheme, host and port as browsers send them (RFC 6454 §6.2).
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    matches!(scheme, "http" | "https")
        && !authority.is_empty()
        && authority.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b':' | b'[' | b']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_origin_reaches_the_content_security_policy() {
        let check = |url: &str| DashboardsSettings { collector_url: url.to_owned(), ..Default::default() }.check();
        for good in ["http://127.0.0.1:8080", "https://collect.example.com", "http://[::1]:80"] {
            check(good).expect(good);
        }
        for bad in ["", "127.0.0.1", "http://", "http://a/b", "http://a; script-src *", "http://A", "ftp://a"] {
            assert!(matches!(check(bad), Err(DashboardsError::Setting { setting: "collector_url", .. })), "{bad}");
        }
    }
}
