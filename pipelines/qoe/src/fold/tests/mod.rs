//! The rules of the module's table, each with the durations a person would work out by hand.

mod ads;
mod background;
mod clocks;
mod endings;
mod media;
mod minutes;
mod player_states;
mod startup;
mod waiting;

use std::collections::BTreeMap;

use marquee_events::{PayloadView as P, PlayerState as S};

use super::*;

#[derive(Default, Debug, PartialEq)]
pub(super) struct Minutes {
    pub(super) measures: BTreeMap<(i64, usize), i64>,
    pub(super) buckets: BTreeMap<(i64, i32), i64>,
}

impl MinuteSink for Minutes {
    fn add(&mut self, minute: i64, measure: usize, value: i64) {
        *self.measures.entry((minute, measure)).or_default() += value;
    }
    fn add_startup_bucket(&mut self, minute: i64, bucket: i32, count: i64) {
        *self.buckets.entry((minute, bucket)).or_default() += count;
    }
}

impl Minutes {
    pub(super) fn total(&self, measure: Measure) -> i64 {
        self.measures.iter().filter(|((_, m), _)| *m == measure as usize).map(|(_, v)| v).sum()
    }

    pub(super) fn at(&self, minute: i64, measure: Measure) -> i64 {
        self.measures.get(&(minute, measure as usize)).copied().unwrap_or_default()
    }

    /// The first second of each counted slot, from the start of minute 0.
    pub(super) fn concurrent_at_s(&self) -> Vec<i64> {
        let first = Measure::Concurrent00 as usize;
        let slots = self.measures.iter().filter(|((_, measure), value)| *measure >= first && **value != 0);
        slots.map(|((minute, measure), _)| minute * 60 + (*measure - first) as i64 * 5).collect()
    }
}

/// An event at a second, without or with a playhead (s).
#[derive(Clone)]
pub(super) struct At<'a>(pub(super) i64, pub(super) Option<i64>, pub(super) P<'a>);

impl<'a> From<(i64, P<'a>)> for At<'a> {
    fn from((at_s, payload): (i64, P<'a>)) -> Self {
        At(at_s, None, payload)
    }
}

impl<'a> From<(i64, i64, P<'a>)> for At<'a> {
    fn from((at_s, playhead_s, payload): (i64, i64, P<'a>)) -> Self {
        At(at_s, Some(playhead_s), payload)
    }
}

/// Folds events; the minutes must add up to the session, whatever the events are.
pub(super) fn fold<'a, E: Into<At<'a>> + Clone>(events: &[E]) -> (SessionFold, Minutes) {
    let mut session = SessionFold::default();
    let mut minutes = Minutes::default();
    for event in events {
        let At(at_s, playhead_s, payload) = event.clone().into();
        session.apply(at_s * 1000, playhead_s.map(|s| s * 1000), &payload, &mut minutes);
    }
    assert_adds_up(&session, &minutes);
    (session, minutes)
}

pub(super) fn assert_adds_up(session: &SessionFold, minutes: &Minutes) {
    for state in State::ALL {
        assert_eq!(minutes.total(state.measure()), session.duration_ms(state), "{state:?}");
        if let Some(measure) = state.background_measure() {
            assert_eq!(minutes.total(measure), session.background_duration_ms(state), "background {state:?}");
        }
    }
    let pairs = [
        (Measure::BackgroundMs, session.background_total_ms()),
        (Measure::RebufferCount, i64::from(session.rebuffer_count)),
        (Measure::BackgroundRebufferCount, i64::from(session.background_rebuffer_count)),
        (Measure::AdRebufferCount, i64::from(session.ad_rebuffer_count)),
        (Measure::SeekCount, i64::from(session.seek_count)),
        (Measure::RenditionSwitchCount, i64::from(session.rendition_switch_count)),
        (Measure::ErrorCount, i64::from(session.error_count)),
        (Measure::StartupMs, session.startup_ms.unwrap_or_default()),
        (Measure::FirstPictureMs, session.first_picture_ms.unwrap_or_default()),
        (Measure::MediaMs, session.media_ms),
        (Measure::BitrateMediaMs, session.bitrate_media_ms),
        (Measure::BitrateBitMs, session.bitrate_bit_ms),
        (Measure::HeightMediaMs, session.height_media_ms),
        (Measure::HeightPxMs, session.height_px_ms),
        (Measure::UpscaleMediaMs, session.upscale_media_ms),
        (Measure::UpscalePerMilleMs, session.upscale_per_mille_ms),
    ];
    for (measure, expected) in pairs {
        assert_eq!(minutes.total(measure), expected, "{measure:?}");
    }
    assert_eq!(minutes.total(Measure::Startups), i64::from(session.startup_ms.is_some()));
    assert_eq!(minutes.total(Measure::FirstPictures), i64::from(session.first_picture_ms.is_some()));
    let has_started = matches!(session.outcome(true), Outcome::Played | Outcome::PlaybackFailure);
    assert_eq!(minutes.total(Measure::Starts), i64::from(has_started));
    assert_eq!(minutes.total(Measure::Attempts), i64::from(session.outcome(true) != Outcome::Unknown));
}

/// Expects (startup, playing, rebuffering, seek waiting, paused, ad, ad rebuffering) in seconds of the foreground.
pub(super) fn check<'a, E: Into<At<'a>> + Clone>(events: &[E], expect_s: [i64; 7]) -> (SessionFold, Minutes) {
    let (session, minutes) = fold(events);
    assert_eq!(session.durations_ms.map(|ms| ms / 1000), expect_s);
    (session, minutes)
}

pub(super) const REQUEST: P<'static> = P::PlayRequested { autoplay: false };

pub(super) const HEARTBEAT: P<'static> =
    P::Heartbeat { buffer_ms: 0, throughput_bps: 0, dropped_frames: 0, bitrate_bps: 0 };

pub(super) fn end() -> P<'static> {
    P::SessionEnd { reason: "ended".into() }
}

pub(super) fn error(code: &'static str, fatal: bool, business: bool) -> P<'static> {
    P::Error { code: code.into(), fatal, business }
}

pub(super) fn ad_start() -> P<'static> {
    P::AdStart { ad_id: "ad".into() }
}

pub(super) fn rendition(id: &'static str, bitrate_bps: u64, width: u32, height: u32) -> P<'static> {
    P::Rendition { representation_id: id.into(), bitrate_bps, width, height, codec: "".into(), cdn: "".into() }
}

pub(super) fn state(state: S) -> P<'static> {
    P::PlayerState { state: Some(state), code: "E1".into(), bitrate_bps: 0, buffer_ms: 0 }
}

/// The worked example of docs/qoe.md: startup 2 s, play 60 s, stall 5 s, seek wait 3 s, pause 10 s.
#[test]
fn worked_example() {
    let (session, minutes) = check(
        &[
            (0, REQUEST),
            (2, P::FirstFrame),
            (22, P::RebufferStart),
            (27, P::RebufferEnd),
            (47, P::SeekStart),
            (50, P::SeekEnd),
            (60, P::Pause),
            (70, P::Resume),
            (80, end()),
        ],
        [2, 60, 5, 3, 10, 0, 0],
    );
    assert_eq!((session.startup_ms, session.first_picture_ms), (Some(2000), Some(2000)));
    assert_eq!((session.rebuffer_count, session.seek_count, session.pause_count), (1, 1, 1));
    assert_eq!(session.outcome(true), Outcome::Played);
    assert_eq!(minutes.total(Measure::Attempts), 1);
    // Every 5 s from :05 to :75, but neither while seeking at :47 to :50 nor while paused at :60 and :65.
    let expected: Vec<i64> = (1..16).map(|slot| slot * 5).filter(|s| ![60, 65].contains(s)).collect();
    assert_eq!(minutes.concurrent_at_s(), expected);
    assert_eq!((session.started_at_ms, session.last_time_ms, session.event_count), (0, 80_000, 9));
}
