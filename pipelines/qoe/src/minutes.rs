//! What a session adds to the minutes in which it happened. Integers only: sums in any order are equal, and a
//! retraction undoes exactly.

use serde::{Deserialize, Serialize};

/// Concurrency is sampled this many times a minute.
pub const SLOTS_PER_MINUTE: usize = 12;

/// A column of table `qoe_minutes`. Durations are ms, split over the minutes in which they happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Measure {
    /// Play requests, in the minute of the request.
    Attempts,
    /// Uninterrupted startups, in the minute of the request.
    Startups,
    /// Sum of `startup_ms` of these startups, in the minute of the request.
    StartupMs,
    /// Sessions that showed a first frame, in the minute of the request.
    Starts,
    /// Fatal technical errors before the first frame, in the minute of the request.
    StartFailures,
    /// Fatal business errors before the first frame, in the minute of the request.
    StartFailuresBusiness,
    /// Closed without first frame and without fatal error, in the minute of the request.
    ExitsBeforeStart,
    /// Fatal technical errors after the first frame, in the minute of the error.
    PlaybackFailures,
    /// Fatal business errors after the first frame, in the minute of the error.
    PlaybackFailuresBusiness,
    /// Time between play request and first frame.
    StartupWaitingMs,
    /// Time playing.
    PlayingMs,
    /// Time rebuffering.
    RebufferMs,
    /// Time waiting after a seek.
    SeekWaitingMs,
    /// Time paused.
    PausedMs,
    /// Time in ads.
    AdMs,
    /// Time in the background.
    BackgroundMs,
    /// Stalls, in the minute of their start.
    RebufferCount,
    /// Seeks, in the minute of their start.
    SeekCount,
    /// Changes of the representation, in their minute.
    RenditionSwitchCount,
    /// Media time played.
    MediaMs,
    /// Media time played at a known bitrate.
    BitrateMediaMs,
    /// Bitrate × media time (bit/s · ms).
    BitrateBitMs,
    /// Viewers at the start of the first 5 s slot of the minute; eleven more follow.
    Concurrent00,
}

impl Measure {
    /// How many measures there are, the twelve slots included.
    pub const COUNT: usize = Measure::Concurrent00 as usize + SLOTS_PER_MINUTE;

    /// The column names, by index.
    pub const NAMES: [&'static str; Measure::COUNT] = [
        "attempts",
        "startups",
        "startup_ms",
        "starts",
        "start_failures",
        "start_failures_business",
        "exits_before_start",
        "playback_failures",
        "playback_failures_business",
        "startup_waiting_ms",
        "playing_ms",
        "rebuffer_ms",
        "seek_waiting_ms",
        "paused_ms",
        "ad_ms",
        "background_ms",
        "rebuffer_count",
        "seek_count",
        "rendition_switch_count",
        "media_ms",
        "bitrate_media_ms",
        "bitrate_bit_ms",
        "concurrent_00",
        "concurrent_05",
        "concurrent_10",
        "concurrent_15",
        "concurrent_20",
        "concurrent_25",
        "concurrent_30",
        "concurrent_35",
        "concurrent_40",
        "concurrent_45",
        "concurrent_50",
        "concurrent_55",
    ];
}

/// One value for each measure and the startup buckets: what one minute of one cube cell holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Measures {
    /// By index of [`Measure`]; empty means all zero.
    pub values: Vec<i64>,
    /// (bucket, count), sorted by bucket, no zero counts.
    pub startup_buckets: Vec<(i32, i64)>,
}

impl Measures {
    /// Adds to the measure at `index`.
    #[inline]
    pub fn add(&mut self, index: usize, value: i64) {
        if self.values.is_empty() {
            self.values.resize(Measure::COUNT, 0);
        }
        self.values[index] += value;
    }

    /// Adds to a startup bucket.
    pub fn add_bucket(&mut self, bucket: i32, count: i64) {
        match self.startup_buckets.binary_search_by_key(&bucket, |b| b.0) {
            Ok(at) => {
                self.startup_buckets[at].1 += count;
                if self.startup_buckets[at].1 == 0 {
                    self.startup_buckets.remove(at);
                }
            }
            Err(at) => self.startup_buckets.insert(at, (bucket, count)),
        }
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Measures) {
        for (index, value) in other.values.iter().enumerate() {
            if *value != 0 {
                self.add(index, *value);
            }
        }
        for (bucket, count) in &other.startup_buckets {
            self.add_bucket(*bucket, *count);
        }
    }

    /// Whether it adds nothing.
    pub fn is_zero(&self) -> bool {
        self.startup_buckets.is_empty() && self.values.iter().all(|v| *v == 0)
    }
}

/// Takes what the fold adds to minutes. A minute is minutes since the Unix epoch, UTC.
pub trait MinuteSink {
    /// Adds `value` to a measure ([`Measure`] as index) of a minute.
    fn add(&mut self, minute: i64, measure: usize, value: i64);
    /// Adds `count` startups to a bucket of a minute.
    fn add_startup_bucket(&mut self, minute: i64, bucket: i32, count: i64);
}

/// Drops everything: for folds that are asked for the session row only.
pub struct NoMinutes;

impl MinuteSink for NoMinutes {
    fn add(&mut self, _: i64, _: usize, _: i64) {}
    fn add_startup_bucket(&mut self, _: i64, _: i32, _: i64) {}
}

/// Turns additions into retractions.
pub struct Retract<'a, S>(pub &'a mut S);

impl<S: MinuteSink> MinuteSink for Retract<'_, S> {
    fn add(&mut self, minute: i64, measure: usize, value: i64) {
        self.0.add(minute, measure, -value);
    }
    fn add_startup_bucket(&mut self, minute: i64, bucket: i32, count: i64) {
        self.0.add_startup_bucket(minute, bucket, -count);
    }
}
