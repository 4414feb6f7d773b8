//! The fold allocates nothing, whatever the events: a counting allocator looks on.

#![expect(unsafe_code, reason = "a global allocator is an unsafe trait; it hands everything to the system's")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use marquee_qoe::{MinuteSink, SessionFold};

mod sample;

struct Counting;

thread_local! {
    /// Allocations of this thread: the test runner's other threads allocate as they like.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; a `Cell` without destructor needs no allocation itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Sums into fixed places: what a sink allocates is the sink's business.
struct Sums {
    values: [i64; 64],
    startups: i64,
}

impl MinuteSink for Sums {
    fn add(&mut self, _: i64, measure: usize, value: i64) {
        self.values[measure] += value;
    }
    fn add_startup_bucket(&mut self, _: i64, _: i32, count: i64) {
        self.startups += count;
    }
}

#[test]
fn the_fold_allocates_nothing() {
    let sessions = sample::sessions();
    let mut sums = Sums { values: [0; 64], startups: 0 };
    let mut folded = 0;
    let before = ALLOCATIONS.with(Cell::get);
    for session in &sessions {
        let mut fold = SessionFold::default();
        for event in session {
            fold.apply(event.time_ms, event.media_time_ms, &event.payload, &mut sums);
            folded += 1;
        }
        fold.close(&mut sums);
    }
    let allocations = ALLOCATIONS.with(Cell::get) - before;
    assert_eq!(allocations, 0, "{folded} events");
    assert!(folded > 50_000 && sums.startups > 0 && sums.values.iter().filter(|value| **value != 0).count() > 40);
    // The counter counts.
    let before = ALLOCATIONS.with(Cell::get);
    std::hint::black_box(vec![1_u8; 100]);
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, 1);
}
