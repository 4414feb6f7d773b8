//! The generator's promises: exact counts, whole sequences, the order of time, bounded concurrency, determinism.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::{BenchPlan, generate_bench};

/// So many that sessions begin closely after each other: then the end of a stall is not before the others' last events.
const CONCURRENT: u64 = 10_000;

fn check(events: u64, sessions: u64, per_batch: usize) {
    let plan = BenchPlan {
        sessions,
        concurrent_sessions: CONCURRENT,
        events_per_batch: per_batch,
        ..BenchPlan::new(events, 1_000_000, 7)
    };
    let mut next_sequence: HashMap<String, u64> = HashMap::new();
    let (mut total, mut last_first_ms) = (0, i64::MIN);
    for batch in generate_bench(plan) {
        let session = batch.context.unwrap().session_id;
        assert_eq!(session.len(), 36);
        assert!((1..=per_batch).contains(&batch.events.len()));
        assert!(last_first_ms <= batch.events[0].event_time_ms, "batches go forward in time");
        last_first_ms = batch.events[0].event_time_ms;
        assert_eq!(batch.sent_at_ms, batch.events.last().unwrap().event_time_ms);
        let next = next_sequence.entry(session).or_default();
        let mut last_ms = i64::MIN;
        for event in &batch.events {
            assert_eq!(event.sequence, *next);
            assert!(event.event_time_ms >= last_ms);
            last_ms = event.event_time_ms;
            *next += 1;
            total += 1;
        }
    }
    assert_eq!(total, events);
    assert_eq!(next_sequence.len() as u64, sessions.max(1).min(events));
}

#[test]
fn waves_follow_each_other() {
    check(90_001, 2 * CONCURRENT + 1, 3);
    check(0, 10, 20);
    check(10, 0, 20);
}

#[test]
fn the_same_seed_gives_the_same_batches() {
    let batches =
        |seed| generate_bench(BenchPlan { sessions: 30, ..BenchPlan::new(2_000, 0, seed) }).collect::<Vec<_>>();
    assert_eq!(batches(1), batches(1));
    let ids = |seed| -> HashSet<String> {
        batches(seed).into_iter().map(|batch| batch.context.unwrap().session_id).collect()
    };
    assert!(ids(1).is_disjoint(&ids(2)));
}

proptest! {
    #[test]
    fn every_shape_is_exact(events in 0..3_000_u64, sessions in 1..200_u64, per_batch in 1..40_usize) {
        check(events, sessions, per_batch);
    }
}
