//! The fold: co-watch pairs, and a replay in any grouping gives the same states.

use proptest::prelude::*;

use super::{Changed, FeatureFold};
use crate::{DAY_MS, Signal, SignalKind};

const START_MS: i64 = 1_700_000_000_000;

fn apply(fold: &mut FeatureFold, profile: u8, title: u8, kind: SignalKind, after_ms: i64) -> Changed {
    let mut changed = Changed::default();
    let at_ms = START_MS + after_ms;
    fold.apply(
        &Signal {
            profile_id: &format!("p{profile}"),
            title_id: &format!("t{title}"),
            genres: &[format!("g{}", title % 2)],
            kind,
            event_time_ms: at_ms,
            available_ms: at_ms,
        },
        &mut changed,
    );
    changed
}

fn neighbours(fold: &FeatureFold, title: &str) -> Vec<(String, i64)> {
    let found = fold.titles[title].read(START_MS).co_watch;
    found.into_iter().map(|(title_id, count)| (title_id, count.round() as i64)).collect()
}

#[test]
fn titles_of_a_profile_become_neighbours_of_each_other() {
    let mut fold = FeatureFold::default();
    apply(&mut fold, 1, 1, SignalKind::ViewStarted, 0);
    apply(&mut fold, 1, 1, SignalKind::ViewProgress { watched_fraction: 0.5 }, 1);
    let changed = apply(&mut fold, 1, 2, SignalKind::ViewStarted, 2);
    assert_eq!(changed.titles.into_iter().collect::<Vec<_>>(), ["t1", "t2"]);
    assert_eq!(changed.profiles.into_iter().collect::<Vec<_>>(), ["p1"]);
    apply(&mut fold, 1, 1, SignalKind::ViewStarted, 3); // again: counted already
    apply(&mut fold, 2, 2, SignalKind::ViewStarted, 4); // somebody else
    apply(&mut fold, 2, 1, SignalKind::ViewStarted, 5);
    apply(&mut fold, 2, 3, SignalKind::ViewStarted, 8 * DAY_MS); // too long ago
    assert_eq!(neighbours(&fold, "t1"), [("t2".into(), 2)]);
    assert_eq!(neighbours(&fold, "t2"), [("t1".into(), 2)]);
    assert!(neighbours(&fold, "t3").is_empty());
}

#[test]
fn only_the_last_ten_titles_are_neighbours() {
    let mut fold = FeatureFold::default();
    for title in 0..12 {
        apply(&mut fold, 1, title, SignalKind::ViewStarted, i64::from(title));
    }
    let found: Vec<String> = neighbours(&fold, "t11").into_iter().map(|(title_id, _)| title_id).collect();
    assert_eq!(found.len(), 10);
    assert!(!found.contains(&"t0".to_owned()));
}

proptest! {
    /// Snapshots anywhere in the log change nothing.
    #[test]
    fn any_chunking_gives_the_same_states(
        signals in prop::collection::vec((0_u8..3, 0_u8..6, 0_u8..4, 0_i64..20 * DAY_MS), 1..60),
        cuts in prop::collection::vec(any::<bool>(), 60),
    ) {
        let kind = |number| match number {
            0 | 1 => SignalKind::ViewStarted,
            2 => SignalKind::ViewFinished { watched_fraction: 0.8 },
            _ => SignalKind::Rating { value: 4.0 },
        };
        let (mut whole, mut cut) = (FeatureFold::default(), FeatureFold::default());
        for ((profile, title, number, after_ms), is_cut) in signals.iter().zip(&cuts) {
            apply(&mut whole, *profile, *title, kind(*number), *after_ms);
            apply(&mut cut, *profile, *title, kind(*number), *after_ms);
            if *is_cut {
                let bytes = postcard::to_stdvec(&cut).expect("plain data");
                cut = postcard::from_bytes(&bytes).expect("our own bytes");
            }
        }
        prop_assert_eq!(cut, whole);
    }
}
