//! Measures the embedded store with 100,000 profiles and 10,000 titles while it is written to:
//! `cargo run -p marquee-online --example measure`.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use marquee_definitions::{Changed, FeatureFold, OnlineBatch, OnlineError, OnlineStore, Signal, SignalKind};
use marquee_online::EmbeddedOnlineStore;

const PROFILES: u64 = 100_000;
const TITLES: u64 = 10_000;
const READS: u64 = 50_000;

/// Views that the state of each profile has taken in.
const VIEWS: u64 = 30;

/// What the features job writes at once, and how often: 2,000 changed profiles a second.
const BATCH: u64 = 200;
const PAUSE: Duration = Duration::from_millis(100);

fn main() -> Result<(), OnlineError> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("online");
    let store = EmbeddedOnlineStore::open(&path)?;

    let mut writing = Duration::ZERO;
    for first in (0..PROFILES).step_by(BATCH as usize) {
        let batch = batch(first, TITLES / (PROFILES / BATCH));
        let start = Instant::now();
        store.write(&batch)?;
        writing += start.elapsed();
    }
    println!("{PROFILES} profiles and {TITLES} titles written in {writing:?}");

    drop(store);
    let start = Instant::now();
    let store = EmbeddedOnlineStore::open(&path)?;
    println!("opened in {:?}", start.elapsed());

    report("profiles read", &read(&store));
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let beside = thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<(), OnlineError> {
            let mut slowest = Duration::ZERO;
            for round in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let batch = batch(round * BATCH % PROFILES, 20);
                let start = Instant::now();
                store.write(&batch)?;
                slowest = slowest.max(start.elapsed());
                written.fetch_add(BATCH, Ordering::Relaxed);
                thread::sleep(PAUSE);
            }
            println!("slowest write {slowest:?}");
            Ok(())
        });
        let mut reads_us = Vec::new();
        for _ in 0..4 {
            reads_us.extend(read(&store));
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("the writer does not panic").map(|()| reads_us)
    })?;
    report("profiles read beside a writer", &beside);
    println!("{} profiles written meanwhile", written.load(Ordering::Relaxed));

    let start = Instant::now();
    let titles = store.titles()?;
    println!("all {} titles read in {:?}", titles.len(), start.elapsed());
    Ok(())
}

/// States of the profiles from `first` on, and of as many titles.
fn batch(first: u64, titles: u64) -> OnlineBatch {
    let mut fold = FeatureFold::default();
    for profile in first..first + BATCH {
        let profile_id = format!("profile-{profile}");
        for view in 0..VIEWS {
            let title_id = format!("title-{}", (profile * 31 + view * 97) % TITLES);
            let event_time_ms = 1_700_000_000_000 + (view * 3_600_000) as i64;
            let genres = [format!("genre-{}", view % 12), format!("genre-{}", view % 7)];
            for kind in [SignalKind::ViewStarted, SignalKind::ViewFinished { watched_fraction: 0.9 }] {
                let signal = Signal {
                    profile_id: &profile_id,
                    title_id: &title_id,
                    genres: &genres,
                    kind,
                    event_time_ms,
                    available_ms: event_time_ms,
                };
                fold.apply(&signal, &mut Changed::default());
            }
        }
    }
    // As many titles as asked for, under ids of their own, so that all of them get a state.
    let first_title = first / BATCH * titles;
    let states = fold.titles.into_values().take(titles as usize);
    let ids = (first_title..).map(|number| format!("title-{:05}", number % TITLES));
    OnlineBatch {
        shard: "features/playback/0".to_owned(),
        profiles: fold.profiles.into_iter().collect(),
        titles: ids.zip(states).collect(),
    }
}

/// Reads profiles in no order; µs of each.
fn read(store: &EmbeddedOnlineStore) -> Vec<u128> {
    (0..READS)
        .map(|read| {
            // A stride that is coprime to the number of profiles.
            let id = format!("profile-{}", read * 7919 % PROFILES);
            let start = Instant::now();
            let state = black_box(store.profile(&id).expect("the store answers"));
            assert!(state.is_some(), "{id} is there");
            start.elapsed().as_micros()
        })
        .collect()
}

fn report(what: &str, reads_us: &[u128]) {
    let mut sorted = reads_us.to_vec();
    sorted.sort_unstable();
    let at = |share: usize| sorted[(sorted.len() - 1) * share / 1000];
    println!("{what}, µs: p50 {}, p99 {}, p99.9 {}, max {}", at(500), at(990), at(999), at(1000));
}
