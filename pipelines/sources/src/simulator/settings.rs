//! What the simulator does, as one value; every probability is between 0 and 1.

use std::ops::RangeInclusive;

use crate::SourceError;

/// What the simulator does. [`SimulatorSettings::once`] and [`SimulatorSettings::continuous`] are the two demos.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatorSettings {
    /// Decides everything that is random: the same seed plans the same sessions.
    pub seed: u64,
    /// Sessions until the run ends; 0 runs until it is stopped.
    pub sessions: u64,
    /// Mean time from one session's beginning to the next one's (ms); the gaps are exponential.
    pub arrival_gap_ms: f64,
    /// The most sessions at a time; arrivals beyond it wait.
    pub concurrent_sessions: usize,
    /// The most requests in flight.
    pub concurrent_requests: usize,
    /// Between two heartbeats of a player (ms).
    pub heartbeat_interval_ms: i64,
    /// A player sends what has happened this long after the first event that it has not sent yet (ms).
    pub flush_interval_ms: i64,
    /// Titles in the catalogue, at least 1; low numbers are watched more.
    pub titles: u32,
    /// Profiles, at least 1; all are equally active.
    pub profiles: u32,
    /// The share of players that send JSON; the others send protobuf.
    pub json_share: f64,
    /// The share of players that compress their requests.
    pub gzip_share: f64,
    /// What viewers and players do.
    pub behaviour: Behaviour,
    /// What goes wrong between player and collector.
    pub faults: Faults,
}

/// What viewers and players do. A session alternates between stretches of playing and, after each, at most one of the
/// things that have a probability *per stretch*.
#[derive(Debug, Clone, PartialEq)]
pub struct Behaviour {
    /// From the first frame to the planned end, interruptions included (ms); uniform.
    pub watch_ms: RangeInclusive<i64>,
    /// The median of the log-normal startup time (ms).
    pub startup_median_ms: f64,
    /// The length of a stretch of playing (ms).
    pub stretch_ms: RangeInclusive<i64>,
    /// Probability of a fatal error instead of a first frame.
    pub start_failure: f64,
    /// The share of fatal errors that are business errors.
    pub business_error_share: f64,
    /// Probability that the viewer leaves before the first frame.
    pub exit_before_start: f64,
    /// Probability that the viewer pauses or hides the player before the first frame: the startup time becomes unknown.
    pub interrupted_startup: f64,
    /// Probability that a playback that has begun ends in a fatal error.
    pub playback_failure: f64,
    /// Probability that a session ends without a word.
    pub vanish: f64,
    /// Probability per stretch of a stall; players on the troubled CDN have twice as many.
    pub rebuffer: f64,
    /// The length of a stall (ms).
    pub rebuffer_ms: RangeInclusive<i64>,
    /// Probability per stretch of a seek.
    pub seek: f64,
    /// From a seek to the next frame (ms).
    pub seek_wait_ms: RangeInclusive<i64>,
    /// Probability per stretch of a pause.
    pub pause: f64,
    /// The length of a pause (ms).
    pub pause_ms: RangeInclusive<i64>,
    /// Probability per stretch of an ad break. Ads before the first frame are not simulated: the published definitions
    /// disagree on whether they are startup.
    pub ad: f64,
    /// The length of an ad break (ms).
    pub ad_ms: RangeInclusive<i64>,
    /// Probability per stretch that the player goes to the background.
    pub background: f64,
    /// The length of a stay in the background (ms).
    pub background_ms: RangeInclusive<i64>,
    /// Probability per stretch of another rendition.
    pub rendition_switch: f64,
    /// Probability per stretch of an error that playback survives.
    pub survived_error: f64,
}

/// What goes wrong between player and collector.
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    /// The share of players whose clock is wrong.
    pub wrong_clock: f64,
    /// By how much it is wrong, either way (ms); log-uniform. The lower end is above the tolerance of the collector.
    pub wrong_clock_ms: RangeInclusive<i64>,
    /// Probability per batch of being held back.
    pub late: f64,
    /// For how long (ms). Players that were offline send with a fresh `sent_at_ms`.
    pub late_ms: RangeInclusive<i64>,
    /// Probability per batch of being sent again with a fresh `sent_at_ms`; never a batch with doomed events.
    pub duplicated: f64,
    /// How much later (ms).
    pub duplicate_after_ms: RangeInclusive<i64>,
    /// Probability per batch of being sent after the next one.
    pub reordered: f64,
    /// Probability of never being sent, per batch that holds nothing but heartbeats and is not the session's last.
    pub lost: f64,
    /// Probability per heartbeat of another one that is dated an hour beyond its batch (dead letter `future_time`).
    pub future_time: f64,
    /// Probability per heartbeat of an event without payload after it (dead letter `unknown_payload`); protobuf only.
    pub unknown_payload: f64,
}

impl SimulatorSettings {
    /// 200 short sessions, everything sent within about half a minute.
    pub fn once(seed: u64) -> Self {
        Self {
            seed,
            sessions: 200,
            arrival_gap_ms: 40.0,
            concurrent_sessions: 400,
            concurrent_requests: 32,
            heartbeat_interval_ms: 1_000,
            flush_interval_ms: 1_000,
            titles: 200,
            profiles: 500,
            json_share: 0.5,
            gzip_share: 0.25,
            behaviour: Behaviour {
                watch_ms: 2_000..=12_000,
                startup_median_ms: 800.0,
                stretch_ms: 500..=3_000,
                start_failure: 0.03,
                business_error_share: 0.3,
                exit_before_start: 0.04,
                interrupted_startup: 0.02,
                playback_failure: 0.03,
                vanish: 0.10,
                rebuffer: 0.10,
                rebuffer_ms: 120..=2_000,
                seek: 0.07,
                seek_wait_ms: 80..=1_200,
                pause: 0.06,
                pause_ms: 300..=2_500,
                ad: 0.04,
                ad_ms: 1_000..=3_000,
                background: 0.03,
                background_ms: 400..=3_000,
                rendition_switch: 0.15,
                survived_error: 0.02,
            },
            faults: Faults {
                wrong_clock: 0.06,
                wrong_clock_ms: 2 * 60_000..=6 * 3_600_000,
                late: 0.03,
                late_ms: 1_500..=6_000,
                duplicated: 0.03,
                duplicate_after_ms: 20..=3_000,
                reordered: 0.03,
                lost: 0.03,
                future_time: 0.01,
                unknown_payload: 0.01,
            },
        }
    }

    /// Viewers that come and go until stopped: about 200 at a time, each for half a minute to ten.
    pub fn continuous(seed: u64) -> Self {
        let once = Self::once(seed);
        Self {
            sessions: 0,
            arrival_gap_ms: 1_500.0,
            behaviour: Behaviour {
                watch_ms: 30_000..=600_000,
                stretch_ms: 5_000..=40_000,
                pause_ms: 2_000..=60_000,
                ad_ms: 10_000..=30_000,
                background_ms: 2_000..=40_000,
                ..once.behaviour
            },
            ..once
        }
    }

    /// Refuses what cannot be simulated.
    pub(crate) fn check(&self) -> Result<(), SourceError> {
        let refuse = |setting, problem: String| Err(SourceError::Settings { setting, problem });
        let b = &self.behaviour;
        for (setting, value) in [
            ("concurrent_sessions", self.concurrent_sessions as i64),
            ("concurrent_requests", self.concurrent_requests as i64),
            ("heartbeat_interval_ms", self.heartbeat_interval_ms),
            ("flush_interval_ms", self.flush_interval_ms),
            ("titles", i64::from(self.titles)),
            ("profiles", i64::from(self.profiles)),
        ] {
            if value < 1 {
                return refuse(setting, format!("{value} is less than 1"));
            }
        }
        for (setting, value) in [("arrival_gap_ms", self.arrival_gap_ms), ("startup_median_ms", b.startup_median_ms)] {
            if !value.is_finite() || value < 0.0 {
                return refuse(setting, format!("{value} is no length of time"));
            }
        }
        for (setting, range) in [
            ("watch_ms", &b.watch_ms),
            ("stretch_ms", &b.stretch_ms),
            ("rebuffer_ms", &b.rebuffer_ms),
            ("seek_wait_ms", &b.seek_wait_ms),
            ("pause_ms", &b.pause_ms),
            ("ad_ms", &b.ad_ms),
            ("background_ms", &b.background_ms),
        ] {
            check_lengths(setting, range)?;
        }
        for (setting, value) in [
            ("json_share", self.json_share),
            ("gzip_share", self.gzip_share),
            ("start_failure", b.start_failure),
            ("business_error_share", b.business_error_share),
            ("exit_before_start", b.exit_before_start),
            ("interrupted_startup", b.interrupted_startup),
            ("playback_failure", b.playback_failure),
            ("vanish", b.vanish),
            ("rebuffer", b.rebuffer),
            ("seek", b.seek),
            ("pause", b.pause),
            ("ad", b.ad),
            ("background", b.background),
            ("rendition_switch", b.rendition_switch),
            ("survived_error", b.survived_error),
        ] {
            check_probability(setting, value)?;
        }
        self.faults.check()
    }
}

impl Faults {
    /// Refuses what cannot be simulated.
    pub(crate) fn check(&self) -> Result<(), SourceError> {
        for (setting, range) in [
            ("wrong_clock_ms", &self.wrong_clock_ms),
            ("late_ms", &self.late_ms),
            ("duplicate_after_ms", &self.duplicate_after_ms),
        ] {
            check_lengths(setting, range)?;
        }
        for (setting, value) in [
            ("wrong_clock", self.wrong_clock),
            ("late", self.late),
            ("duplicated", self.duplicated),
            ("reordered", self.reordered),
            ("lost", self.lost),
            ("future_time", self.future_time),
            ("unknown_payload", self.unknown_payload),
        ] {
            check_probability(setting, value)?;
        }
        Ok(())
    }
}

fn check_lengths(setting: &'static str, range: &RangeInclusive<i64>) -> Result<(), SourceError> {
    if range.is_empty() || *range.start() < 1 {
        let problem = format!("{range:?} is no range of positive lengths");
        return Err(SourceError::Settings { setting, problem });
    }
    Ok(())
}

pub(crate) fn check_probability(setting: &'static str, value: f64) -> Result<(), SourceError> {
    if !(0.0..=1.0).contains(&value) {
        return Err(SourceError::Settings { setting, problem: format!("{value} is no probability") });
    }
    Ok(())
}
