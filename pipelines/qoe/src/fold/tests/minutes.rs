//! Minutes: splitting, retracting, adding up for any events at all.

use proptest::prelude::*;

use super::*;
use crate::minutes::{Measures, Retract};

#[test]
fn a_session_over_a_minute_boundary_is_split_at_it() {
    let (_, minutes) = fold(&[(0, REQUEST), (50, P::FirstFrame), (190, end())]);
    let playing: Vec<i64> = (0..4).map(|minute| minutes.at(minute, Measure::PlayingMs)).collect();
    assert_eq!(playing, [10_000, 60_000, 60_000, 10_000]);
}

#[test]
fn the_names_of_the_measures_are_theirs() {
    assert_eq!(Measure::NAMES.len(), Measure::COUNT);
    for (measure, name) in [
        (Measure::Attempts, "attempts"),
        (Measure::QuickExits, "quick_exits"),
        (Measure::AdRebufferMs, "ad_rebuffer_ms"),
        (Measure::BackgroundSeekWaitingMs, "background_seek_waiting_ms"),
        (Measure::UpscalePerMilleMs, "upscale_per_mille_ms"),
        (Measure::Concurrent00, "concurrent_00"),
    ] {
        assert_eq!(Measure::NAMES[measure as usize], name);
    }
    assert_eq!(Measure::NAMES.last(), Some(&"concurrent_55"));
}

#[test]
fn measures_merge_and_cancel() {
    let mut sum = Measures::default();
    assert!(sum.is_zero());
    let mut part = Measures::default();
    part.add(3, 7);
    part.add_bucket(5, 2);
    part.add_bucket(1, 1);
    assert_eq!(part.startup_buckets, [(1, 1), (5, 2)]);
    sum.merge(&part);
    sum.merge(&part);
    assert_eq!((sum.values[3], sum.startup_buckets.as_slice()), (14, [(1, 2), (5, 4)].as_slice()));
    sum.add(3, -14);
    assert!(!sum.is_zero(), "buckets are left");
    sum.add_bucket(1, -2);
    sum.add_bucket(5, -4);
    assert!(sum.is_zero() && sum.startup_buckets.is_empty());
    sum.add(0, 1);
    assert!(!sum.is_zero());
}

fn payload() -> impl Strategy<Value = P<'static>> {
    let plain = prop::sample::select(vec![
        REQUEST,
        P::FirstFrame,
        P::RebufferStart,
        P::RebufferEnd,
        P::Pause,
        P::Resume,
        P::SeekStart,
        P::SeekEnd,
        P::AdBreakStart,
        P::AdBreakEnd,
        ad_start(),
        P::AdEnd,
        P::Background,
        P::Foreground,
        HEARTBEAT,
        HEARTBEAT,
        error("E", false, false),
        rendition("a", 1_000_000, 640, 360),
        rendition("b", 2_000_000, 0, 0),
        P::Viewport { width: 1920, height: 1080 },
        P::PlaybackRate { rate_per_mille: 1500 },
    ]);
    let states = prop::sample::select(&S::ALL[..]).prop_map(state);
    let last = prop::sample::select(vec![end(), error("F", true, true)]);
    prop_oneof![12 => plain, 3 => states, 1 => last]
}

proptest! {
    /// Whatever the events: what the minutes hold adds up to the session, every ms between the first and the last event
    /// is in one place at most, and a retraction leaves nothing.
    #[test]
    fn minutes_add_up_and_retract(
        events in prop::collection::vec((-2_i64..400, 0_i64..100, payload()), 0..40),
        reopened in any::<bool>(),
    ) {
        let mut at_s = 0;
        let events: Vec<At<'_>> = events
            .into_iter()
            .map(|(step_s, playhead_s, payload)| {
                at_s += step_s;
                At(at_s, (playhead_s > 20).then_some(playhead_s), payload)
            })
            .collect();
        let (mut session, mut minutes) = fold(&events);
        session.close(&mut minutes);
        if reopened {
            session.reopen(&mut minutes);
        }
        let accounted_ms: i64 = session.durations_ms.iter().chain(&session.background_ms).sum();
        let forward_ms: i64 = events.windows(2).map(|pair| (pair[1].0 - pair[0].0).max(0) * 1000).sum();
        prop_assert!(accounted_ms + session.silent_ms <= forward_ms);
        let mut again = SessionFold::default();
        let mut retract = Retract(&mut minutes);
        for At(at_s, playhead_s, payload) in &events {
            again.apply(at_s * 1000, playhead_s.map(|s| s * 1000), payload, &mut retract);
        }
        if !reopened {
            again.close(&mut retract);
        }
        prop_assert!(minutes.measures.values().chain(minutes.buckets.values()).all(|value| *value == 0));
    }
}
