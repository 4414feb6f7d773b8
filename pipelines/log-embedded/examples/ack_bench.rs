//! How long an append waits for its acknowledgement, in two loads:
//!
//! 1. closed loop: 64 appenders, each with one record of 600 bytes (20 events) at a time, for 10 s;
//! 2. open loop: 20,000 such records a second for 10 s, whatever the log does. Latency counts from the moment a record
//!    was due, so a stall is paid by every record that it delays.
//!
//! `cargo run --release -p marquee-log-embedded --example ack_bench -- DIR [PARTITIONS]`

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use marquee_log_embedded::{EmbeddedLog, EmbeddedLogOptions};
use marquee_stream::{LogError, NewRecord, PartitionLog, RecordHeader, RecordType, Route, TopicSpec};

const TOPIC: &str = "playback";
const APPENDERS: u64 = 64;
const RECORD_BYTES: usize = 600;
const EVENTS_PER_RECORD: u32 = 20;
const LOAD_TIME: Duration = Duration::from_secs(10);
const OPEN_LOOP_RECORDS_PER_S: u64 = 20_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("usage: ack_bench DIR [PARTITIONS]")?);
    let partitions = arguments.next().map_or(Ok(8), |partitions| partitions.parse())?;
    std::fs::create_dir_all(&dir)?;
    let runtime = tokio::runtime::Runtime::new()?;
    for (name, load) in [("closed loop", 0), ("open loop", OPEN_LOOP_RECORDS_PER_S)] {
        let dir = tempfile::tempdir_in(&dir)?;
        let start = Instant::now();
        let log = Arc::new(EmbeddedLog::open(dir.path(), EmbeddedLogOptions::default())?);
        log.ensure_topic(&TopicSpec { name: TOPIC.to_owned(), partitions, retention_ms: i64::MAX })?;
        println!("{name}: opened and made {partitions} partitions in {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        let latencies = match load {
            0 => runtime.block_on(closed_loop(&log))?,
            records_per_s => runtime.block_on(open_loop(&log, records_per_s))?,
        };
        print(latencies, start.elapsed());
        drop(log);
        let start = Instant::now();
        let log = EmbeddedLog::open(dir.path(), EmbeddedLogOptions::default())?;
        let opened = start.elapsed();
        let start = Instant::now();
        let bytes = read_all(&log, partitions)?;
        println!(
            "  reopened in {:.0} ms, all read back at {:.0} MB/s",
            opened.as_secs_f64() * 1e3,
            bytes as f64 / 1e6 / start.elapsed().as_secs_f64()
        );
    }
    Ok(())
}

/// Bytes without a pattern, so that compression does not help.
fn record(number: u64) -> NewRecord {
    let mut seed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let payload: Bytes = (0..RECORD_BYTES)
        .map(|_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed as u8
        })
        .collect();
    let header =
        RecordHeader { record_type: RecordType::Job, received_at_ms: number as i64, event_count: EVENTS_PER_RECORD };
    NewRecord { route: Route::Key(Bytes::copy_from_slice(&number.to_be_bytes())), header, payload }
}

async fn closed_loop(log: &Arc<EmbeddedLog>) -> Result<Vec<Duration>, LogError> {
    let end = Instant::now() + LOAD_TIME;
    let appenders: Vec<_> = (0..APPENDERS)
        .map(|appender| {
            let log = Arc::clone(log);
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                let mut number = appender << 32;
                while Instant::now() < end {
                    let record = record(number);
                    let start = Instant::now();
                    log.append(TOPIC, vec![record]).await?;
                    latencies.push(start.elapsed());
                    number += 1;
                }
                Ok::<_, LogError>(latencies)
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for appender in appenders {
        latencies.extend(appender.await.expect("an appender does not panic")?);
    }
    Ok(latencies)
}

async fn open_loop(log: &Arc<EmbeddedLog>, records_per_s: u64) -> Result<Vec<Duration>, LogError> {
    let start = Instant::now();
    let total = records_per_s * LOAD_TIME.as_secs();
    let mut appends = tokio::task::JoinSet::new();
    let mut latencies = Vec::with_capacity(total as usize);
    let mut number = 0;
    while number < total {
        let due_count = (start.elapsed().as_nanos() as u64).saturating_mul(records_per_s) / 1_000_000_000;
        while number < due_count.min(total) {
            let due = start + Duration::from_nanos(number * 1_000_000_000 / records_per_s);
            let (log, record) = (Arc::clone(log), record(number));
            appends.spawn(async move { log.append(TOPIC, vec![record]).await.map(|_| due.elapsed()) });
            number += 1;
        }
        while let Some(latency) = appends.try_join_next() {
            latencies.push(latency.expect("an append does not panic")?);
        }
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    while let Some(latency) = appends.join_next().await {
        latencies.push(latency.expect("an append does not panic")?);
    }
    Ok(latencies)
}

fn read_all(log: &EmbeddedLog, partitions: u32) -> Result<u64, LogError> {
    let mut bytes = 0;
    for partition in 0..partitions {
        let mut bounds = log.bounds(TOPIC, partition)?;
        while !bounds.is_empty() {
            let records = log.read(TOPIC, partition, bounds.start, 1024 * 1024)?;
            bounds.start += records.len() as u64;
            bytes += records.iter().map(|record| record.payload.len() as u64).sum::<u64>();
        }
    }
    Ok(bytes)
}

fn print(mut latencies: Vec<Duration>, elapsed: Duration) {
    latencies.sort_unstable();
    let ms = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "  {:.0} records/s ({:.0} events/s), acknowledged in p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, most {:.1} ms",
        latencies.len() as f64 / elapsed.as_secs_f64(),
        latencies.len() as f64 * f64::from(EVENTS_PER_RECORD) / elapsed.as_secs_f64(),
        ms(0.5),
        ms(0.99),
        ms(0.999),
        ms(1.0),
    );
}
