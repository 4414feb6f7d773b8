//! The pure fold: events a second on one core, minutes included. `cargo bench -p marquee-qoe`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use marquee_qoe::{Measures, MinuteSink, SessionFold};

#[path = "../tests/sample/mod.rs"]
mod sample;

/// One minute at a time in place, as a cell of a cube has it.
#[derive(Default)]
struct OneCell {
    minute: i64,
    measures: Measures,
}

impl MinuteSink for OneCell {
    #[inline]
    fn add(&mut self, minute: i64, measure: usize, value: i64) {
        self.minute = minute;
        self.measures.add(measure, value);
    }
    fn add_startup_bucket(&mut self, minute: i64, bucket: i32, count: i64) {
        self.minute = minute;
        self.measures.add_bucket(bucket, count);
    }
}

fn fold(criterion: &mut Criterion) {
    let sessions = sample::sessions();
    let events: usize = sessions.iter().map(Vec::len).sum();
    let mut group = criterion.benchmark_group("fold");
    group.throughput(Throughput::Elements(events as u64));
    group.bench_function("sessions", |bencher| {
        bencher.iter(|| {
            let mut cell = OneCell::default();
            for session in &sessions {
                let mut fold = SessionFold::default();
                for event in session {
                    fold.apply(event.time_ms, event.media_time_ms, &event.payload, &mut cell);
                }
                fold.close(&mut cell);
                black_box(&fold);
            }
            black_box(cell.minute)
        });
    });
    group.finish();
}

criterion_group!(benches, fold);
criterion_main!(benches);
