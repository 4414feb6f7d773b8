//! What a row of table `events` costs to encode: by the parquet crate's writer and by ours, on batches like those of the
//! playback job. `cargo run --profile demo --example encode -p marquee-lake-files -- [ROWS] [library|ours]`; CPU time of
//! the thread, the least of several rounds, since machines are shared.

#[path = "encode/events.rs"]
mod events;

use std::hint::black_box;

use events::Ids;
use marquee_lake::tables::EVENTS;
use marquee_lake_files::{encode, library};
use rustix::time::{ClockId, clock_gettime};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let sizes = arguments.first().map_or(vec![30_000, 300_000], |rows| vec![rows.parse().expect("a number of rows")]);
    let only = arguments.get(1).map(String::as_str);
    println!("{:>8}  {:<8} {:<8} {:>8} {:>10}", "rows", "ids", "writer", "ns/row", "bytes/row");
    for rows in sizes {
        for ids in [Ids::None, Ids::Counted, Ids::Random] {
            let batch = events::batch(rows, ids);
            // The partition column is not in the file.
            let data = batch.project(&(1..batch.num_columns()).collect::<Vec<_>>()).expect("columns are there");
            let rounds = (3_000_000 / rows).clamp(5, 50);
            if only != Some("ours") {
                let (ns, bytes) =
                    measure(rounds, || library::encode(&EVENTS, &data).expect("events are encoded").0.len());
                report(rows, ids, "library", ns, bytes);
            }
            if only != Some("library") {
                let (ns, bytes) =
                    measure(rounds, || encode(&EVENTS, &batch).expect("events are encoded")[0].bytes.len());
                report(rows, ids, "ours", ns, bytes);
            }
        }
    }
}

fn report(rows: usize, ids: Ids, writer: &str, ns: u64, bytes: usize) {
    let ids = format!("{ids:?}");
    let (ns, bytes) = (ns as f64 / rows as f64, bytes as f64 / rows as f64);
    println!("{rows:>8}  {ids:<8} {writer:<8} {ns:>8.0} {bytes:>10.2}");
}

/// The least CPU time of a round (ns), and what it returned.
fn measure(rounds: usize, mut round: impl FnMut() -> usize) -> (u64, usize) {
    let mut least_ns = u64::MAX;
    let mut result = 0;
    for _ in 0..rounds {
        let before_ns = thread_cpu_ns();
        result = black_box(round());
        least_ns = least_ns.min(thread_cpu_ns() - before_ns);
    }
    (least_ns, result)
}

fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
