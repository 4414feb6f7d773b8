//! Plays seeds for `MARQUEE_SOAK_SECONDS` (default 20), from `MARQUEE_SOAK_FIRST` (default 0) on, one world after
//! another on each core. `MARQUEE_SOAK_SEED` plays one, and prints what happens in it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use marquee_soak::{Report, run};

/// In so many worlds everything happens that worlds are for.
const SEEDS_OF_EVERYTHING: u64 = 100;

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is a number, not {value}")))
}

#[test]
fn every_seed_ends_well() {
    if let Some(seed) = variable("MARQUEE_SOAK_SEED") {
        println!("{:?}", run(seed, true));
        return;
    }
    let first = variable("MARQUEE_SOAK_FIRST").unwrap_or(0);
    let seconds = variable("MARQUEE_SOAK_SECONDS").unwrap_or(20);
    let (deadline, next) = (Instant::now() + Duration::from_secs(seconds), AtomicU64::new(first));
    let (total, failed) = (Mutex::new(Report::default()), Mutex::new(None));
    let play = || {
        while Instant::now() < deadline && failed.lock().expect("a seed").is_none() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            match std::panic::catch_unwind(|| run(seed, false)) {
                Ok(report) => *total.lock().expect("a sum") += report,
                Err(_) => {
                    failed.lock().expect("a seed").get_or_insert(seed);
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let started = Instant::now();
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(play))));
    let seeds = next.into_inner() - first;
    let total = total.into_inner().expect("a sum");
    println!("{seeds} seeds from {first} on in {:.0?}: {total:?}", started.elapsed());
    if let Some(seed) = failed.into_inner().expect("a seed") {
        panic!("seed {seed} fails: MARQUEE_SOAK_SEED={seed} cargo test -p marquee-soak --test soak -- --nocapture");
    }
    if seeds >= SEEDS_OF_EVERYTHING {
        let Report { recomputes_won, recomputes_lost, recomputes_killed, recomputed_events, .. } = total;
        let did = [recomputes_won, recomputes_lost, recomputes_killed, recomputed_events];
        assert!(did.iter().all(|count| *count > 0), "recomputes win, lose, are killed and fold events: {did:?}");
    }
}
