//! The features of a profile: values of small examples, and what holds in any order and any grouping.

use proptest::prelude::*;

use super::{ProfileFeatures, ProfileState};
use crate::{DAY_MS, HOUR_MS, Signal, SignalKind};

const START_MS: i64 = 1_700_000_000_000;
const MINUTE_MS: i64 = 60_000;

/// (title, kind, ms after the start).
type Step = (u8, SignalKind, i64);

fn state_of(steps: &[Step]) -> ProfileState {
    let mut state = ProfileState::default();
    for (title, kind, after_ms) in steps {
        let genres = [format!("g{}", title % 3), "all".to_owned()];
        state.update(&Signal {
            profile_id: "p",
            title_id: &format!("t{title}"),
            genres: &genres,
            kind: *kind,
            event_time_ms: START_MS + after_ms,
            available_ms: START_MS + after_ms + 5,
        });
    }
    state
}

fn read(steps: &[Step], after_ms: i64) -> ProfileFeatures {
    state_of(steps).read(START_MS + after_ms)
}

fn progress(watched_fraction: f32) -> SignalKind {
    SignalKind::ViewProgress { watched_fraction }
}

fn finished(watched_fraction: f32) -> SignalKind {
    SignalKind::ViewFinished { watched_fraction }
}

#[test]
fn affinity_is_shared_by_genres_and_halves_in_a_fortnight() {
    let steps = [(1, SignalKind::ViewStarted, 0), (1, finished(1.0), 0), (2, SignalKind::Rating { value: 5.0 }, 0)];
    let at = |after_ms| read(&steps, after_ms).genre_affinity;
    let close = |found: &[(String, f64)], expected: &[(&str, f64)]| {
        assert_eq!(found.len(), expected.len());
        for ((name, value), (expected_name, expected)) in found.iter().zip(expected) {
            assert!(name == expected_name && (value - expected).abs() < 1e-7, "{found:?}");
        }
    };
    close(&at(0), &[("all", 1.0), ("g1", 0.5), ("g2", 0.5)]);
    close(&at(14 * DAY_MS), &[("all", 0.5), ("g1", 0.25), ("g2", 0.25)]);
    let disliked = [(1, SignalKind::NotInterested, 0), (2, SignalKind::Rating { value: 1.0 }, 0)];
    close(&read(&disliked, 0).genre_affinity, &[("g1", -0.5), ("g2", -0.5), ("all", -1.0)]);
}

#[test]
fn recent_titles_are_in_order_of_time_with_ties_as_they_came() {
    let steps = [
        (3, finished(1.0), 10),
        (1, finished(0.5), 10),
        (2, SignalKind::ViewStarted, 5),
        (3, SignalKind::ViewStarted, 20),
        (4, SignalKind::Click, 30),
        (1, finished(0.75), 10),
    ];
    let found: Vec<(String, f32)> =
        read(&steps, 30).recent_titles.into_iter().map(|w| (w.title_id, w.watched_fraction)).collect();
    assert_eq!(found, [("t2".into(), 0.0), ("t1".into(), 0.75), ("t3".into(), 1.0)]);
    let many: Vec<Step> = (0..60).map(|n| (n, finished(1.0), i64::from(n))).collect();
    let recent = read(&many, 60).recent_titles;
    assert_eq!((recent.len(), recent[0].title_id.as_str()), (50, "t10"));
}

#[test]
fn a_session_ends_with_half_an_hour_of_silence() {
    let steps = [
        (1, SignalKind::ViewStarted, 0),
        (2, SignalKind::ViewStarted, 31 * MINUTE_MS),
        (2, progress(0.3), 60 * MINUTE_MS),
        (3, SignalKind::Click, 40 * MINUTE_MS),
        (4, SignalKind::NotInterested, 60 * MINUTE_MS),
        (2, progress(0.6), 80 * MINUTE_MS),
    ];
    let titles = |minutes: i64| read(&steps, minutes * MINUTE_MS).session_titles;
    assert_eq!(titles(81), ["t3", "t2"], "t1 lies before a silence; t3 within the view of t2");
    assert_eq!(titles(110), ["t3", "t2"]);
    assert!(titles(111).is_empty());
}

#[test]
fn titles_are_unfinished_until_they_are_seen() {
    let steps = [
        (1, SignalKind::ViewStarted, 0),
        (1, progress(0.5), 1),
        (2, SignalKind::ViewStarted, 2),
        (3, finished(0.89), 3),
        (4, finished(0.9), 4),
        (1, SignalKind::ViewStarted, 5),
    ];
    let unfinished = |steps: &[Step]| -> Vec<(String, f32)> {
        read(steps, 9).unfinished.into_iter().map(|w| (w.title_id, w.watched_fraction)).collect()
    };
    assert_eq!(unfinished(&steps), [("t1".into(), 0.5), ("t3".into(), 0.89), ("t2".into(), 0.0)]);
    assert_eq!(read(&steps, 9).seen, ["t4"]);
    let more =
        [&steps[..], &[(1, finished(0.95), 6), (2, SignalKind::NotInterested, 7), (1, progress(0.4), 5)]].concat();
    assert_eq!(unfinished(&more), [("t3".into(), 0.89)], "seen, turned away, and a straggler from before it was seen");
    assert_eq!(read(&more, 9).seen, ["t1", "t4"]);
    let again = [&more[..], &[(1, SignalKind::ViewStarted, 8)]].concat();
    assert_eq!(unfinished(&again)[0], ("t1".into(), 0.0), "watched again");
    let rated = [(5, SignalKind::ViewStarted, 0), (5, SignalKind::Rating { value: 0.5 }, 1)];
    assert_eq!((unfinished(&rated), read(&rated, 2).seen), (vec![], vec!["t5".to_owned()]));
}

#[test]
fn the_latest_word_on_the_list_counts() {
    let steps = [
        (1, SignalKind::ListAdd, 0),
        (2, SignalKind::ListAdd, 1),
        (3, SignalKind::ListRemove, 9),
        (3, SignalKind::ListAdd, 5),
        (1, SignalKind::ListRemove, 2),
        (1, SignalKind::ListAdd, 3),
        (4, SignalKind::NotInterested, 4),
    ];
    let features = read(&steps, 10);
    assert_eq!(features.list, ["t1", "t2"]);
    assert_eq!(features.not_interested, ["t4"]);
}

#[test]
fn a_state_is_bounded() {
    let mut state = ProfileState::default();
    for number in 0..5_000_i64 {
        let (title_id, genres) = (format!("title {number}"), [format!("genre {number:04}")]);
        let kinds = [SignalKind::ViewStarted, finished(1.0), SignalKind::ListAdd, SignalKind::NotInterested];
        for kind in kinds {
            let at_ms = START_MS + number * HOUR_MS;
            let (event_time_ms, available_ms) = (at_ms, at_ms);
            let title_id = &title_id;
            state.update(&Signal { profile_id: "p", title_id, genres: &genres, kind, event_time_ms, available_ms });
        }
    }
    let features = state.read(START_MS + 5_000 * HOUR_MS);
    assert_eq!((features.seen.len(), features.recent_titles.len(), features.list.len()), (4096, 50, 500));
    assert_eq!((features.not_interested.len(), features.genre_affinity.len()), (500, 64));
    assert!(features.seen.iter().all(|title_id| title_id != "title 0"), "the oldest are forgotten");
    assert!(postcard::to_stdvec(&state).expect("plain data").len() < 200_000);
}

fn kind() -> impl Strategy<Value = SignalKind> {
    prop_oneof![
        Just(SignalKind::ViewStarted),
        (0.0_f32..=1.0).prop_map(progress),
        (0.0_f32..=1.0).prop_map(finished),
        (0.5_f32..=5.0).prop_map(|value| SignalKind::Rating { value }),
        Just(SignalKind::ListAdd),
        Just(SignalKind::ListRemove),
        Just(SignalKind::Click),
        Just(SignalKind::NotInterested),
    ]
}

/// Instants are distinct: ties keep the order of arrival by contract. Gaps stay below half an hour, as sessions promise.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0_u8..12, kind(), 1_i64..20 * MINUTE_MS), 0..18).prop_map(|steps| {
        let mut at_ms = 0;
        let place = |(title, kind, gap_ms): (u8, SignalKind, i64)| {
            at_ms += gap_ms;
            (title, kind, at_ms)
        };
        steps.into_iter().map(place).collect()
    })
}

proptest! {
    #[test]
    fn any_order_gives_the_same_features(steps in steps(), mixed in steps().prop_shuffle(), seed in any::<u64>()) {
        // Sessions by themselves depend on how far a title's own signals are out of order; all else does not.
        let without_session = |steps: &[Step]| {
            let mut features = read(steps, DAY_MS);
            features.session_titles.clear();
            features
        };
        let mut sorted = mixed.clone();
        sorted.sort_by_key(|(_, _, at_ms)| *at_ms);
        prop_assert_eq!(without_session(&mixed), without_session(&sorted));

        // Parts of two topics, merged in either order, are the state of all signals.
        let is_left = |index: usize| seed >> (index % 64) & 1 == 0;
        let part = |left: bool| -> Vec<Step> {
            let of_part = |(index, _): &(usize, &Step)| is_left(*index) == left;
            steps.iter().enumerate().filter(of_part).map(|(_, step)| *step).collect()
        };
        let (mut left, mut right) = (state_of(&part(true)), state_of(&part(false)));
        let (left_alone, at_ms) = (left.clone(), START_MS + DAY_MS);
        left.merge(&right);
        right.merge(&left_alone);
        prop_assert_eq!(left.read(at_ms), right.read(at_ms));
        let mut merged = left.read(at_ms);
        merged.session_titles.clear();
        prop_assert_eq!(merged, without_session(&steps));
    }

    #[test]
    fn a_state_survives_serialization(steps in steps()) {
        let state = state_of(&steps);
        let bytes = postcard::to_stdvec(&state).expect("plain data");
        prop_assert_eq!(postcard::from_bytes::<ProfileState>(&bytes).expect("our own bytes"), state);
    }
}
