//! Both stores against the contract; [`EmbeddedOnlineStore`] against reopening, flushing, kills and damage.

#![allow(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fjall::{Database, KeyspaceCreateOptions};
use marquee_definitions::{
    Changed, FeatureFold, OnlineBatch, OnlineError, OnlineStore, ProfileState, Signal, SignalKind, TitleState,
};
use marquee_events::ErrorKind;
use marquee_online::contract::check_online_store;
use marquee_online::{EmbeddedOnlineStore, MemoryOnlineStore};
use proptest::prelude::*;

/// Set in a child process: the folder of the store to work on.
const CHILD_DIR: &str = "MARQUEE_TEST_ONLINE_DIR";

const DEADLINE: Duration = Duration::from_secs(60);

/// More than the store keeps in memory, several times over.
const MANY_BYTES: u64 = 80 * 1024 * 1024;

fn open(dir: &Path) -> EmbeddedOnlineStore {
    EmbeddedOnlineStore::open(dir).unwrap()
}

/// A state of some kilobytes that tells its number.
fn state(number: i64) -> ProfileState {
    let mut fold = FeatureFold::default();
    for view in 0..30 {
        let title_id = format!("a title with a rather long id, number {view}");
        let signal = Signal {
            profile_id: "p",
            title_id: &title_id,
            genres: &["Drama".to_owned()],
            kind: SignalKind::ViewStarted,
            event_time_ms: number,
            available_ms: number,
        };
        fold.apply(&signal, &mut Changed::default());
    }
    fold.profiles.remove("p").unwrap()
}

fn profiles(states: impl IntoIterator<Item = (String, ProfileState)>) -> OnlineBatch {
    OnlineBatch { shard: "s".to_owned(), profiles: states.into_iter().collect(), titles: Vec::new() }
}

#[test]
fn the_embedded_store_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let stores = std::cell::Cell::new(0);
    check_online_store(&|| {
        stores.set(stores.get() + 1);
        Arc::new(open(&dir.path().join(stores.get().to_string())))
    });
}

#[test]
fn the_store_in_memory_keeps_the_contract() {
    check_online_store(&|| Arc::new(MemoryOnlineStore::default()));
}

#[test]
fn a_closed_store_in_memory_is_unavailable() {
    let store = MemoryOnlineStore::default();
    store.write(&profiles([("p".to_owned(), state(1))])).unwrap();
    store.close();
    let errors = [
        store.write(&OnlineBatch::default()).err(),
        store.profile("p").map(drop).err(),
        store.titles().map(drop).err(),
    ];
    for error in errors {
        assert_eq!(error.unwrap().kind(), ErrorKind::Unavailable);
    }
    assert_eq!(store.version(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any writes, with the store reopened at any time, read like a map.
    #[test]
    fn it_reads_like_a_map(
        writes in prop::collection::vec(
            (0..3_u8, prop::collection::vec((r"[ab\x00/]{0,3}", 0..1000_i64), 0..6), any::<bool>()),
            1..20,
        ),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("online");
        let model = MemoryOnlineStore::default();
        let mut store = open(&path);
        for (shard, states, reopen) in writes {
            let titles = states.iter().map(|(id, available_ms)| {
                let mut state = TitleState::default();
                state.available_ms = *available_ms;
                (id.clone(), state)
            });
            let profiles = states.iter().map(|(id, available_ms)| {
                let mut state = ProfileState::default();
                state.available_ms = *available_ms;
                (id.clone(), state)
            });
            let batch = OnlineBatch {
                shard: format!("job/topic/{shard}"),
                profiles: profiles.collect(),
                titles: titles.collect(),
            };
            model.write(&batch).unwrap();
            store.write(&batch).unwrap();
            if reopen {
                drop(store);
                store = open(&path);
            }
            prop_assert_eq!(store.titles().unwrap(), model.titles().unwrap());
            for (id, _) in states {
                prop_assert_eq!(store.profile(&id).unwrap(), model.profile(&id).unwrap());
            }
        }
    }
}

#[test]
fn many_writes_are_flushed_and_freed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("online");
    let store = open(&path);
    let (mut written_bytes, mut number) = (0, 0);
    while written_bytes < MANY_BYTES {
        let batch = profiles((0..200).map(|profile| (format!("p-{}", (number + profile) % 5000), state(number))));
        written_bytes += 200 * postcard::to_stdvec(&batch.profiles[0].1).unwrap().len() as u64;
        store.write(&batch).unwrap();
        number += 200;
    }
    let last = number - 200;
    assert_eq!(store.profile(&format!("p-{}", last % 5000)).unwrap(), Some(state(last)));
    drop(store);

    // The journals, from which everything since the last flush is read again, do not hold all that was written.
    let store = open(&path);
    let deadline = Instant::now() + DEADLINE;
    while folder_bytes(&path, "jnl") > MANY_BYTES {
        assert!(Instant::now() < deadline, "journals are never freed: {} bytes", folder_bytes(&path, "jnl"));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(folder_bytes(&path, "") > folder_bytes(&path, "jnl"), "some of it is in tables");
    for profile in 0..5000 {
        assert!(store.profile(&format!("p-{profile}")).unwrap().is_some());
    }
}

fn folder_bytes(dir: &Path, extension: &str) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    let sizes = entries.map(|entry| match entry.path() {
        path if path.is_dir() => folder_bytes(&path, extension),
        path if extension.is_empty() || path.extension().is_some_and(|other| other == extension) => {
            entry.metadata().map_or(0, |metadata| metadata.len())
        }
        _ => 0,
    });
    sizes.sum()
}

#[test]
fn a_killed_process_loses_nothing() {
    if let Some(dir) = std::env::var_os(CHILD_DIR).map(PathBuf::from) {
        let store = open(&dir);
        for number in 0.. {
            store.write(&profiles([("p".to_owned(), state(number))])).unwrap();
            // What is told here has been written; the parent kills while the next ones are.
            println!("written {number}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["a_killed_process_loses_nothing", "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD_DIR, dir.path().join("online"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        let mut written = Vec::new();
        for line in lines.map_while(Result::ok) {
            written.extend(line.strip_prefix("written ").map(|number| number.parse::<i64>().unwrap()));
            if written.len() == 100 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let found = open(&dir.path().join("online")).profile("p").unwrap().unwrap().available_ms;
        assert!(found >= *written.last().unwrap(), "{found} is there, {written:?} was written");
    }
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("online");
    let store = open(&path);
    let error = EmbeddedOnlineStore::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    drop(store);
    open(&path);
}

#[test]
fn a_creation_that_was_cut_short_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("online.new")).unwrap();
    fs::write(dir.path().join("online.new/version"), "half").unwrap();
    open(&dir.path().join("online")).write(&profiles([("p".to_owned(), state(1))])).unwrap();
    assert!(!dir.path().join("online.new").exists());
}

#[test]
fn a_value_that_cannot_be_read_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("online");
    drop(open(&path));
    for (key, value) in [("p/a\0s", &b"\xffx"[..]), ("p/b\0s", b""), ("p/c\0s", b"\x01"), ("t/a\0s", b"\x01")] {
        let database = Database::builder(&path).open().unwrap();
        database.keyspace("features", KeyspaceCreateOptions::default).unwrap().insert(key, value).unwrap();
        drop(database);
        let store = open(&path);
        let error = match key.split_once('/').unwrap() {
            ("p", rest) => store.profile(rest.strip_suffix("\0s").unwrap()).map(drop).unwrap_err(),
            _ => store.titles().map(drop).unwrap_err(),
        };
        assert!(matches!(error, OnlineError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains(&key.escape_default().to_string().replace("\\u{0}", "\\x00")), "{error}");
    }
}

#[test]
fn a_damaged_file_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("online");
    let store = open(&path);
    store.write(&profiles((0..2000).map(|number| (format!("p-{number}"), state(number))))).unwrap();
    drop(store);
    // Opening has the journal's records written to a table, in the background.
    let store = open(&path);
    let deadline = Instant::now() + DEADLINE;
    while tables(&path).is_empty() {
        assert!(Instant::now() < deadline, "nothing is flushed");
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(store);
    let table = tables(&path).pop().unwrap();
    let mut bytes = fs::read(&table).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xa5);
    fs::write(&table, bytes).unwrap();
    let damage = match EmbeddedOnlineStore::open(&path) {
        Ok(store) => (0..2000).find_map(|number| store.profile(&format!("p-{number}")).err()),
        Err(error) => Some(error),
    };
    let damage = damage.expect("the damage is noticed");
    assert_eq!(damage.kind(), ErrorKind::Damaged, "{damage:?}");
}

/// The files of the `features` keyspace's tables, largest last.
fn tables(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.parent().is_some_and(|parent| parent.ends_with("tables")) {
                found.push((entry.metadata().unwrap().len(), path));
            }
        }
    }
    found.sort();
    // Small ones belong to fjall's own list of keyspaces.
    found.into_iter().filter(|(size_bytes, _)| *size_bytes > 100_000).map(|(_, path)| path).collect()
}
