//! The contract of [`OnlineStore`] as a suite that every adapter's tests run, against the real thing. Whether a store
//! remembers after it was closed is not part of it: it holds a copy.
//!
//! The suite is part of the library because adapters may live in other crates; it only panics, as a test does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use marquee_definitions::{
    Changed, FeatureFold, OnlineBatch, OnlineStore, ProfileState, Signal, SignalKind, TitleState,
};

const AT_MS: i64 = 1_700_000_000_000;

/// Writes of the check of concurrent use.
const WRITES: usize = 500;

/// Runs every check. `open` makes a new, empty store each time.
///
/// # Panics
/// When the adapter breaks the contract, with what it did instead.
pub fn check_online_store(open: &dyn Fn() -> Arc<dyn OnlineStore>) {
    let checks: [fn(&dyn OnlineStore); 8] = [
        a_new_store_is_empty,
        states_come_back_as_they_were_written,
        a_write_replaces_what_it_names,
        parts_of_shards_add_up,
        ids_are_kept_apart,
        titles_are_in_order,
        the_version_grows_with_every_write,
        readers_see_whole_states,
    ];
    for check in checks {
        check(&*open());
    }
}

/// The states after `signals` views of a profile, each of another title.
fn fold(profile_id: &str, signals: usize) -> FeatureFold {
    let mut fold = FeatureFold::default();
    for number in 0..signals {
        let event_time_ms = AT_MS + number as i64 * 60_000;
        for kind in [SignalKind::ViewStarted, SignalKind::ViewFinished { watched_fraction: 0.75 }] {
            let (title_id, genres) = (format!("t-{}", number % 40), ["Drama".to_owned(), format!("g{}", number % 5)]);
            let signal = Signal {
                profile_id,
                title_id: &title_id,
                genres: &genres,
                kind,
                event_time_ms,
                available_ms: event_time_ms + 500,
            };
            fold.apply(&signal, &mut Changed::default());
        }
    }
    fold
}

fn profile_state(signals: usize) -> ProfileState {
    fold("p", signals).profiles.remove("p").unwrap_or_default()
}

fn title_state(signals: usize) -> TitleState {
    fold("p", signals).titles.remove("t-0").unwrap_or_default()
}

fn batch(shard: &str, profiles: &[(&str, ProfileState)], titles: &[(&str, TitleState)]) -> OnlineBatch {
    OnlineBatch {
        shard: shard.to_owned(),
        profiles: profiles.iter().map(|(id, state)| ((*id).to_owned(), state.clone())).collect(),
        titles: titles.iter().map(|(id, state)| ((*id).to_owned(), state.clone())).collect(),
    }
}

fn write(store: &dyn OnlineStore, batch: &OnlineBatch) {
    store.write(batch).expect("a write succeeds");
}

fn profile(store: &dyn OnlineStore, profile_id: &str) -> Option<ProfileState> {
    store.profile(profile_id).expect("a read succeeds")
}

fn titles(store: &dyn OnlineStore) -> Vec<(String, TitleState)> {
    store.titles().expect("a read succeeds")
}

fn a_new_store_is_empty(store: &dyn OnlineStore) {
    assert_eq!(profile(store, "p"), None);
    assert_eq!(profile(store, ""), None);
    assert_eq!(titles(store), []);
}

fn states_come_back_as_they_were_written(store: &dyn OnlineStore) {
    let written = fold("p", 300);
    let batch = OnlineBatch {
        shard: "s".to_owned(),
        profiles: written.profiles.clone().into_iter().collect(),
        titles: written.titles.clone().into_iter().collect(),
    };
    write(store, &batch);
    assert_eq!(profile(store, "p").as_ref(), written.profiles.get("p"));
    assert_eq!(titles(store), written.titles.into_iter().collect::<Vec<_>>());
    assert_eq!(profile(store, "t-0"), None, "a title is no profile");
}

fn a_write_replaces_what_it_names(store: &dyn OnlineStore) {
    let first = [("a", profile_state(1)), ("b", profile_state(2))];
    write(store, &batch("s", &first, &[("x", title_state(1)), ("y", title_state(2))]));
    write(store, &batch("s", &[("a", profile_state(3))], &[]));
    write(store, &batch("s", &[], &[("x", title_state(41))]));
    assert_eq!(profile(store, "a"), Some(profile_state(3)), "a new state replaces the old one");
    assert_eq!(profile(store, "b"), Some(profile_state(2)), "what is not named stays");
    let expected = [("x".to_owned(), title_state(41)), ("y".to_owned(), title_state(2))];
    assert_eq!(titles(store), expected);

    let twice = [("a", profile_state(4)), ("a", profile_state(5))];
    write(store, &batch("s", &twice, &[("x", title_state(1)), ("x", title_state(81))]));
    assert_eq!(profile(store, "a"), Some(profile_state(5)), "of several in one write the last counts");
    assert_eq!(titles(store)[0].1, title_state(81));
    write(store, &batch("s", &[("a", ProfileState::default())], &[]));
    assert_eq!(profile(store, "a"), Some(ProfileState::default()), "an empty state is a state");
}

fn parts_of_shards_add_up(store: &dyn OnlineStore) {
    // Not in the order of their names, which is the order in which parts are put together.
    for (shard, signals) in [("job/topic/1", 81), ("job/import/0", 1), ("job/topic/10", 41)] {
        write(store, &batch(shard, &[("p", profile_state(signals))], &[("t", title_state(signals))]));
    }
    let mut expected = (profile_state(1), title_state(1));
    for signals in [81, 41] {
        expected.0.merge(&profile_state(signals));
        expected.1.merge(&title_state(signals));
    }
    assert_eq!(profile(store, "p"), Some(expected.0));
    assert_eq!(titles(store), [("t".to_owned(), expected.1)]);

    write(store, &batch("job/topic/1", &[("p", profile_state(2))], &[("t", title_state(2))]));
    let mut expected = (profile_state(1), title_state(1));
    for signals in [2, 41] {
        expected.0.merge(&profile_state(signals));
        expected.1.merge(&title_state(signals));
    }
    assert_eq!(profile(store, "p"), Some(expected.0), "a shard replaces its own part and no other's");
    assert_eq!(titles(store), [("t".to_owned(), expected.1)]);
}

fn ids_are_kept_apart(store: &dyn OnlineStore) {
    let longest = "i".repeat(256);
    let ids = ["", "a", "ab", "a/", "a/b", "p/a", "t/a", "a\0", "a\0b", "\0", "ü", "\u{10ffff}", &longest];
    for (number, id) in ids.iter().enumerate() {
        write(store, &batch("b", &[(id, profile_state(number + 1))], &[(id, title_state(number * 40 + 1))]));
        write(store, &batch("a", &[(id, ProfileState::default())], &[(id, TitleState::default())]));
    }
    for (number, id) in ids.iter().enumerate() {
        let mut expected = ProfileState::default();
        expected.merge(&profile_state(number + 1));
        assert_eq!(profile(store, id), Some(expected), "profile {id:?} has its own state");
        let mut expected = TitleState::default();
        expected.merge(&title_state(number * 40 + 1));
        let found: Vec<_> = titles(store).into_iter().filter(|(title_id, _)| title_id == id).collect();
        assert_eq!(found, [((*id).to_owned(), expected)], "title {id:?} has its own state, once");
    }
    assert_eq!(profile(store, "i"), None);
    assert_eq!(profile(store, &"i".repeat(100_000)), None, "an id of any length may be asked for");
}

fn titles_are_in_order(store: &dyn OnlineStore) {
    let state = title_state(1);
    for (shard, ids) in [("b", ["t-10", "ü", "a\0b"]), ("a", ["t-2", "T", "a"]), ("c", ["a", "t-10", "a-"])] {
        write(store, &batch(shard, &[], &ids.map(|id| (id, state.clone()))));
    }
    let found: Vec<_> = titles(store).into_iter().map(|(title_id, _)| title_id).collect();
    assert_eq!(found, ["T", "a", "a\0b", "a-", "t-10", "t-2", "ü"], "by the bytes of their ids, each once");
}

fn the_version_grows_with_every_write(store: &dyn OnlineStore) {
    let mut before = store.version();
    for number in 0..3 {
        let (profiles, titles) = ([("p", profile_state(number))], [("t", title_state(number))]);
        for batch in [batch("s", &profiles, &[]), batch("s", &[], &titles), batch("s", &profiles, &titles)] {
            write(store, &batch);
            let now = store.version();
            assert!(now > before, "{now} after {before}");
            before = now;
        }
    }
    profile(store, "p");
    titles(store);
    assert_eq!(store.version(), before, "reading keeps the version");
}

/// One thread writes state after state; others only ever see one of them, never an older one than before, and never
/// miss the last by looking at the version first.
fn readers_see_whole_states(store: &dyn OnlineStore) {
    let states: Vec<_> = (0..40).map(profile_state).collect();
    let position = |state: &ProfileState| {
        states.iter().position(|other| other == state).expect("a reader sees a state that was written")
    };
    write(store, &batch("s", &[("p", states[0].clone())], &[("t", TitleState::default())]));
    let finished = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = || {
            for number in 0..WRITES {
                let (profile, title) = (&states[number * states.len() / WRITES], title_state(number % 3));
                write(store, &batch("s", &[("p", profile.clone())], &[("t", title)]));
            }
            write(store, &batch("s", &[("p", states[states.len() - 1].clone())], &[("t", title_state(81))]));
        };
        let reader = || {
            let mut seen = 0;
            while !finished.load(Ordering::Acquire) {
                let now = position(&profile(store, "p").expect("the profile is there"));
                assert!(now >= seen, "state {now} after {seen}");
                seen = now;
            }
        };
        let copier = || {
            let (mut version, mut copy) = (None, Vec::new());
            loop {
                let last_round = finished.load(Ordering::Acquire);
                let now = store.version();
                if version != Some(now) {
                    (version, copy) = (Some(now), titles(store));
                }
                if last_round {
                    break copy;
                }
            }
        };
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        let copier = scope.spawn(copier);
        // Whether it panicked or not, the others have to end.
        let written = scope.spawn(writer).join();
        finished.store(true, Ordering::Release);
        written.expect("the writer found no fault");
        let copy = copier.join().expect("the copier found no fault");
        for reader in readers {
            reader.join().expect("the reader found no fault");
        }
        assert_eq!(copy, [("t".to_owned(), title_state(81))], "a copy by version ends with the last state");
    });
}
