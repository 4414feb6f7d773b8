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
    /// Attempts of titles that started by themselves, once their outcome is known, in the minute of the request.
    ResolvedAutoplays,
    /// Uninterrupted startups, in the minute of the request.
    Startups,
    /// Sum of `startup_ms` of these startups, in the minute of the request.
    StartupMs,
    /// Uninterrupted startups until a first frame of ad or content, in the minute of the request.
    FirstPictures,
    /// Sum of `first_picture_ms` of these, in the minute of the request.
    FirstPictureMs,
    /// Sessions with play request and first frame, in the minute of the request.
    Starts,
    /// Fatal technical errors before the first frame, in the minute of the request.
    StartFailures,
    /// Fatal business errors before the first frame, in the minute of the request.
    StartFailuresBusiness,
    /// Closed without first frame and without fatal error, in the minute of the request.
    ExitsBeforeStart,
    /// Of these, known to have ended within 1 s.
    QuickExits,
    /// Closed sessions with play request and first frame, in the minute of the request.
    EndedPlays,
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
    /// Time rebuffering inside ads.
    AdRebufferMs,
    /// Time in the background, whatever the state.
    BackgroundMs,
    /// Of it, between play request and first frame.
    BackgroundStartupWaitingMs,
    /// Of it, playing.
    BackgroundPlayingMs,
    /// Of it, rebuffering.
    BackgroundRebufferMs,
    /// Of it, waiting after a seek.
    BackgroundSeekWaitingMs,
    /// Stalls in the foreground, in the minute of their start.
    RebufferCount,
    /// Stalls in the background, in the minute of their start.
    BackgroundRebufferCount,
    /// Stalls inside ads, in the minute of their start.
    AdRebufferCount,
    /// Seeks, in the minute of their start.
    SeekCount,
    /// Changes of the representation, in their minute.
    RenditionSwitchCount,
    /// Errors that were not fatal, in their minute.
    ErrorCount,
    /// Media time played.
    MediaMs,
    /// Media time played at a known bitrate.
    BitrateMediaMs,
    /// Bitrate × media time (bit/s · ms).
    BitrateBitMs,
    /// Media time played at a known picture height.
    HeightMediaMs,
    /// Picture height × media time (px · ms).
    HeightPxMs,
    /// Media time played at a known picture size in a known viewport.
    UpscaleMediaMs,
    /// Upscale × media time (‰ · ms).
    UpscalePerMilleMs,
    /// Viewers at the start of the first 5 s slot of the minute; eleven more follow.
    Concurrent00,
}

impl Measure {
    /// How many measures there are, the twelve slots included.
    pub const COUNT: usize = Measure::Concurrent00 as usize + SLOTS_PER_MINUTE;

    /// The column names, by index.
    pub const NAMES: [&'static str; Measure::COUNT] = [
        "attempts",
        "resolved_autoplays",
        "startups",
        "startup_ms",
        "first_pictures",
        "first_picture_ms",
        "starts",
        "start_failures",
        "start_failures_business",
        "exits_before_start",
        "quick_exits",
        "ended_plays",
        "playback_failures",
        "playback_failures_business",
        "startup_waiting_ms",
        "playing_ms",
        "rebuffer_ms",
        "seek_waiting_ms",
        "paused_ms",
        "ad_ms",
        "ad_rebuffer_ms",
        "background_ms",
        "background_startup_waiting_ms",
        "background_playing_ms",
        "background_rebuffer_ms",
        "background_seek_waiting_ms",
        "rebuffer_count",
        "background_rebuffer_count",
        "ad_rebuffer_count",
        "seek_count",
        "rendition_switch_count",
        "error_count",
        "media_ms",
        "bitrate_media_ms",
        "bitrate_bit_ms",
        "height_media_ms",
        "height_px_ms",
        "upscale_media_ms",
        "upscale_per_mille_ms",
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
        add_bucket(&mut self.startup_buckets, bucket, count);
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

/// Adds to a startup bucket of a list that is sorted by bucket and has no zero counts.
pub fn add_bucket(buckets: &mut Vec<(i32, i64)>, bucket: i32, count: i64) {
    match buckets.binary_search_by_key(&bucket, |b| b.0) {
        Ok(at) => {
            buckets[at].1 += count;
            if buckets[at].1 == 0 {
                buckets.remove(at);
            }
        }
        Err(at) => buckets.insert(at, (bucket, count)),
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
