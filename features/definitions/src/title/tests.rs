//! The features of a title: windows, decay, completion, neighbours, and parts that add up.

use proptest::prelude::*;

use super::TitleState;
use crate::{DAY_MS, HOUR_MS, Signal, SignalKind};

/// The beginning of an hour.
const START_MS: i64 = 472_222 * HOUR_MS;

fn update(state: &mut TitleState, kind: SignalKind, after_ms: i64) {
    state.update(&signal(kind, after_ms));
}

fn signal(kind: SignalKind, after_ms: i64) -> Signal<'static> {
    let at_ms = START_MS + after_ms;
    Signal { profile_id: "p", title_id: "t", genres: &[], kind, event_time_ms: at_ms, available_ms: at_ms }
}

#[test]
fn windows_count_whole_hours_and_the_share_of_the_edge() {
    let mut state = TitleState::default();
    for after_ms in [0, 1, HOUR_MS / 2, HOUR_MS, 25 * HOUR_MS, 25 * HOUR_MS + 1] {
        update(&mut state, SignalKind::ViewStarted, after_ms);
    }
    let quarter_views = |after_ms| {
        let features = state.read(START_MS + after_ms);
        [features.views_1h, features.views_24h, features.views_7d, features.views].map(|views| (views * 4.0) as i64)
    };
    assert_eq!(quarter_views(25 * HOUR_MS + HOUR_MS / 4), [8, 8 + 3, 24, 24]);
    assert_eq!(quarter_views(26 * HOUR_MS + HOUR_MS / 2), [4, 8, 24, 24]);
    assert_eq!(quarter_views(HOUR_MS + HOUR_MS / 2), [10, 16, 16, 24], "later views are in no window");
    assert_eq!(quarter_views(30 * DAY_MS), [0, 0, 0, 24]);
}

#[test]
fn views_halve_in_a_week_and_only_starts_count() {
    let mut state = TitleState::default();
    update(&mut state, SignalKind::ViewStarted, 0);
    update(&mut state, SignalKind::ViewProgress { watched_fraction: 0.5 }, 10);
    update(&mut state, SignalKind::Rating { value: 5.0 }, 20);
    let decayed = |days: i64| state.read(START_MS + days * DAY_MS).views_decayed;
    assert!((decayed(0) - 1.0).abs() < 1e-8 && (decayed(7) - 0.5).abs() < 1e-8 && (decayed(21) - 0.125).abs() < 1e-8);
    assert_eq!(state.read(START_MS).completion, None);
    for watched_fraction in [0.25, 0.75, 1.0, 0.0] {
        update(&mut state, SignalKind::ViewFinished { watched_fraction }, 30);
    }
    assert_eq!(state.read(START_MS).completion, Some(0.5));
}

#[test]
fn neighbours_decay_and_the_weakest_fall_out() {
    let mut state = TitleState::default();
    for (neighbour, times) in [("a", 1), ("b", 3), ("c", 2), ("d", 2)] {
        for _ in 0..times {
            state.update_co_watch(neighbour, &signal(SignalKind::ViewStarted, 0));
        }
    }
    let found = state.co_watch(START_MS + 30 * DAY_MS, 3);
    let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["b", "c", "d"]);
    assert!((found[0].1 - 1.5).abs() < 1e-9, "{found:?}");
    for number in 0..2_000 {
        state.update_co_watch(&format!("n{number}"), &signal(SignalKind::ViewStarted, 0));
    }
    let kept = state.read(START_MS).co_watch;
    assert_eq!((kept.len(), kept[0].0.as_str()), (200, "b"));
    assert!(postcard::to_stdvec(&state).expect("plain data").len() < 8_000);
}

#[test]
fn neighbours_of_any_century_are_finite() {
    let mut state = TitleState::default();
    state.update_co_watch("old", &signal(SignalKind::ViewStarted, -START_MS));
    state.update_co_watch("new", &signal(SignalKind::ViewStarted, 250 * 365 * DAY_MS));
    assert!(state.read(i64::MAX / 2).co_watch.iter().all(|(_, count)| count.is_finite()));
    assert!(state.read(0).co_watch.iter().all(|(_, count)| count.is_finite()));
}

proptest! {
    #[test]
    fn parts_add_up_in_any_order(
        signals in prop::collection::vec((0_i64..40 * DAY_MS, 0_u8..4, 0.0_f32..=1.0), 0..60),
        split in any::<prop::sample::Index>(),
    ) {
        let state_of = |signals: &[(i64, u8, f32)]| {
            let mut state = TitleState::default();
            for (after_ms, kind, watched_fraction) in signals {
                match kind {
                    0 => state.update_co_watch(
                        &format!("n{}", after_ms % 7),
                        &signal(SignalKind::ViewStarted, *after_ms),
                    ),
                    1 => update(&mut state, SignalKind::ViewFinished { watched_fraction: *watched_fraction }, *after_ms),
                    _ => update(&mut state, SignalKind::ViewStarted, *after_ms),
                }
            }
            state
        };
        let whole = state_of(&signals);
        let middle = split.index(signals.len() + 1);
        let mut backwards = signals[middle..].to_vec();
        backwards.reverse();
        let mut merged = state_of(&backwards);
        merged.merge(&state_of(&signals[..middle]));
        let at_ms = START_MS + 40 * DAY_MS;
        let (mut merged_values, mut values) = (merged.read(at_ms), whole.read(at_ms));
        for ((name, count), (expected_name, expected)) in
            merged_values.co_watch.drain(..).zip(values.co_watch.drain(..))
        {
            prop_assert!(name == expected_name && (count / expected - 1.0).abs() < 1e-12);
        }
        prop_assert_eq!(merged_values, values);
        prop_assert_eq!(merged.available_ms, whole.available_ms);
        let bytes = postcard::to_stdvec(&whole).expect("plain data");
        prop_assert_eq!(postcard::from_bytes::<TitleState>(&bytes).expect("our own bytes"), whole);
    }
}
