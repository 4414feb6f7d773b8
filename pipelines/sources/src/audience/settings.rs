//! How large the world is, and what its simulated audience does, as two values.

use crate::simulator::settings::check_probability;
use crate::{Faults, SimulatorSettings, SourceError};

/// The most titles or viewers of a world: ids have four digits.
const MAX_PEOPLE_OR_TITLES: u32 = 9_999;

/// How large the world is.
#[derive(Debug, Clone, PartialEq)]
pub struct WorldSettings {
    /// Titles, 1 to 9,999.
    pub titles: u32,
    /// Viewers, 1 to 9,999.
    pub viewers: u32,
    /// The world's present (ms since the epoch): titles came into the catalogue before it, the history ends at it.
    pub as_of_ms: i64,
}

impl WorldSettings {
    /// The world of the demo: 2,400 titles, 1,200 viewers.
    pub fn demo(as_of_ms: i64) -> Self {
        Self { titles: 2_400, viewers: 1_200, as_of_ms }
    }

    pub(crate) fn check(&self) -> Result<(), SourceError> {
        for (setting, value) in [("titles", self.titles), ("viewers", self.viewers)] {
            if !(1..=MAX_PEOPLE_OR_TITLES).contains(&value) {
                let problem = format!("{value} is not from 1 to {MAX_PEOPLE_OR_TITLES}");
                return Err(SourceError::Settings { setting, problem });
            }
        }
        if self.as_of_ms < 0 {
            let problem = format!("{} is before 1970", self.as_of_ms);
            return Err(SourceError::Settings { setting: "as_of_ms", problem });
        }
        Ok(())
    }
}

/// How viewers watch. Player and viewer live in the injected clock's time.
#[derive(Debug, Clone, PartialEq)]
pub struct Watching {
    /// The longest stretch that a player plays in one session (ms). Who watches for longer began elsewhere: the session
    /// starts in the middle of the title and ends where the viewer stops, so that a demo sees views end.
    pub longest_play_ms: i64,
    /// Between two heartbeats of a player (ms).
    pub heartbeat_interval_ms: i64,
    /// Between two `view_progress` interactions (ms of the clock).
    pub progress_interval_ms: i64,
    /// The longest pause (ms).
    pub longest_pause_ms: i64,
    /// The time that a viewer looks at one item of a page before the next (ms).
    pub glance_ms: i64,
    /// Probability that a session ends without a word.
    pub vanish: f64,
}

/// What the audience does while it is simulated. [`AudienceSettings::once`] and [`AudienceSettings::continuous`] are the
/// two demos.
#[derive(Debug, Clone, PartialEq)]
pub struct AudienceSettings {
    /// Decides everything that is random, but for the world, which has a seed of its own.
    pub seed: u64,
    /// Sittings (a viewer who comes and looks at pages until leaving) until the run ends; 0 runs until it is stopped.
    pub sittings: u64,
    /// The most pages that a viewer asks for in one sitting, at least 1.
    pub pages_per_sitting: u32,
    /// Mean time from one arrival to the next (ms); the gaps are exponential.
    pub arrival_gap_ms: f64,
    /// The most viewers at a time; arrivals beyond it wait.
    pub concurrent_viewers: usize,
    /// The most requests in flight to the collector, for events and for interactions each.
    pub concurrent_requests: usize,
    /// The most requests for pages in flight.
    pub concurrent_pages: usize,
    /// Players and pages send what has happened this long after the first thing that they have not sent yet (ms).
    pub flush_interval_ms: i64,
    /// The share of players that send JSON; the others send protobuf.
    pub json_share: f64,
    /// The share of players that compress their requests.
    pub gzip_share: f64,
    /// How viewers watch.
    pub watching: Watching,
    /// What goes wrong between player and collector.
    pub faults: Faults,
}

impl AudienceSettings {
    /// 200 short sittings: everything is sent within about a minute.
    pub fn once(seed: u64) -> Self {
        let plain = SimulatorSettings::once(seed);
        Self {
            seed,
            sittings: 200,
            pages_per_sitting: 3,
            arrival_gap_ms: 40.0,
            concurrent_viewers: 400,
            concurrent_requests: plain.concurrent_requests,
            concurrent_pages: 16,
            flush_interval_ms: plain.flush_interval_ms,
            json_share: plain.json_share,
            gzip_share: plain.gzip_share,
            watching: Watching {
                longest_play_ms: 8_000,
                heartbeat_interval_ms: 1_000,
                progress_interval_ms: 3_000,
                longest_pause_ms: 2_000,
                glance_ms: 60,
                vanish: 0.05,
            },
            faults: plain.faults,
        }
    }

    /// Viewers that come and go until stopped: about 200 at a time, each for some views of up to ten minutes.
    pub fn continuous(seed: u64) -> Self {
        let once = Self::once(seed);
        Self {
            sittings: 0,
            pages_per_sitting: 20,
            arrival_gap_ms: 3_000.0,
            watching: Watching {
                longest_play_ms: 600_000,
                heartbeat_interval_ms: 10_000,
                progress_interval_ms: 60_000,
                longest_pause_ms: 120_000,
                glance_ms: 700,
                vanish: 0.05,
            },
            ..once
        }
    }

    pub(crate) fn check(&self) -> Result<(), SourceError> {
        let refuse = |setting, problem: String| Err(SourceError::Settings { setting, problem });
        let w = &self.watching;
        for (setting, value) in [
            ("pages_per_sitting", i64::from(self.pages_per_sitting)),
            ("concurrent_viewers", self.concurrent_viewers as i64),
            ("concurrent_requests", self.concurrent_requests as i64),
            ("concurrent_pages", self.concurrent_pages as i64),
            ("flush_interval_ms", self.flush_interval_ms),
            ("longest_play_ms", w.longest_play_ms),
            ("heartbeat_interval_ms", w.heartbeat_interval_ms),
            ("progress_interval_ms", w.progress_interval_ms),
            ("longest_pause_ms", w.longest_pause_ms),
            ("glance_ms", w.glance_ms),
        ] {
            if value < 1 {
                return refuse(setting, format!("{value} is less than 1"));
            }
        }
        if !self.arrival_gap_ms.is_finite() || self.arrival_gap_ms < 0.0 {
            return refuse("arrival_gap_ms", format!("{} is no length of time", self.arrival_gap_ms));
        }
        for (setting, value) in [("json_share", self.json_share), ("gzip_share", self.gzip_share), ("vanish", w.vanish)]
        {
            check_probability(setting, value)?;
        }
        self.faults.check()
    }
}
