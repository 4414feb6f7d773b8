//! What a shard of the playback job costs without log, files and lake, on generated events:
//! `cargo run --profile demo --example shard -p marquee-jobs -- [json|protobuf] [EVENTS] [CONCURRENT SESSIONS]`. JSON has
//! one event a record, protobuf twenty. CPU time of the one thread; memory as the operating system sees it.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use marquee_events::proto::ViewEventBatch;
use marquee_events::{ContentType, ManualClock, to_json};
use marquee_jobs::{PLAYBACK_TOPIC, Playback, PlaybackMode};
use marquee_lake::{DataFile, EpochCommit, LakeError, ShardEpoch, TableSpec};
use marquee_sources::{BenchPlan, generate_bench};
use marquee_stream::{Job as _, Kept, Record, RecordHeader, RecordType, ShardId, ShardIo, ShardStore};
use object_store::ObjectStoreExt as _;
use object_store::memory::InMemory;
use prost::Message as _;
use rustix::time::{ClockId, clock_gettime};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const START_MS: i64 = 1_760_000_000_000;

/// Bytes of records that a shard gets at once.
const READ_BYTES: usize = 1 << 20;

/// Bytes of rows at which a shard of a process with two ends its epoch.
const MAX_PENDING_BYTES: usize = 32 << 20;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let format = arguments.next().unwrap_or_else(|| "protobuf".to_owned());
    let content_type = match format.as_str() {
        "json" => ContentType::Json,
        "protobuf" => ContentType::Protobuf,
        other => panic!("{other} is neither json nor protobuf"),
    };
    let number = |text: Option<String>, default| text.map_or(default, |text| text.parse().expect("a number"));
    let events = number(arguments.next(), 1_000_000);
    let concurrent_sessions = number(arguments.next(), 10_000);
    let events_per_batch = if content_type == ContentType::Json { 1 } else { 20 };
    // Nobody ends before everybody has begun.
    let sessions = (events / 40).max(concurrent_sessions.min(events / 2));
    let plan = BenchPlan { sessions, concurrent_sessions, events_per_batch, ..BenchPlan::new(events, START_MS, 1) };

    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let job = Playback::new(PlaybackMode::Live);
    let id = ShardId { job: "playback", topic: PLAYBACK_TOPIC.to_owned(), partition: 0 };
    let memory = Arc::new(InMemory::new());
    let store = ShardStore::new(memory.clone(), &"state".into(), &id);
    let clock = Arc::new(ManualClock::new(START_MS));
    let lake = Arc::new(NoLake);
    let io = ShardIo::new(id.clone(), store.clone(), lake, runtime.handle().clone(), clock, job.replay_table());
    let mut shard = job.start_shard(&id, None).expect("an empty shard");

    let mut figures = Figures::default();
    // What lies on disk is no memory of the shard's: only what a restart reads is kept, and not counted.
    let mut kept: HashMap<String, usize> = HashMap::new();
    let mut taken = 0;
    let mut batches = generate_bench(plan).enumerate().peekable();
    batches.peek(); // the generator's own memory is none of the shard's
    let idle_bytes = resident_bytes();
    let mut epoch = 0;
    while batches.peek().is_some() {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while bytes < READ_BYTES
            && let Some((offset, batch)) = batches.next()
        {
            let record = record(offset as u64, content_type, &batch);
            bytes += record.payload.len();
            taken += batch.events.len();
            records.push(record);
        }
        figures.bytes += bytes;
        figures.process_s += cpu_s(|| shard.process(&records).expect("generated records"));
        drop(records);
        if shard.pending_bytes() < MAX_PENDING_BYTES && batches.peek().is_some() {
            continue;
        }
        epoch += 1;
        let mut frozen = None;
        let freeze_s = cpu_s(|| frozen = Some(shard.freeze(epoch, false, &io).expect("nothing is read again")));
        let frozen = frozen.expect("frozen just now");
        let kept_bytes: usize = kept.values().sum();
        figures.peak_bytes = figures.peak_bytes.max(resident_bytes() - kept_bytes);
        figures.freeze_s += freeze_s;
        figures.longest_freeze_s = figures.longest_freeze_s.max(freeze_s);
        figures.rows += frozen.tables.iter().map(|(_, rows)| rows.num_rows()).sum::<usize>();
        let segments_bytes = frozen.new_segments.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        figures.segments_bytes += segments_bytes;
        runtime.block_on(async {
            for (name, bytes) in frozen.new_segments {
                kept.insert(name.clone(), bytes.len());
                store.write_segment(&name, bytes).await.expect("memory takes it");
            }
            for (old, _) in kept.extract_if(|name, _| !frozen.segments.contains(name)) {
                let path = object_store::path::Path::from(format!("state/{id}/segment/{old}"));
                memory.delete(&path).await.expect("it was written");
            }
        });
        // When everybody has begun and nobody has ended.
        if figures.restore_s == 0.0 && 2 * taken as u64 >= events {
            let state = Kept { snapshot: &frozen.snapshot, io: &io, fork: None };
            figures.restore_s = cpu_s(|| drop(job.start_shard(&id, Some(state)).expect("its own state")));
            (figures.kept_bytes, figures.kept_segments) = (kept.values().sum(), kept.len());
        }
    }

    let ns = |seconds: f64| seconds * 1e9 / events as f64;
    let ms = |seconds: f64| seconds * 1e3;
    let mb = |bytes: usize| bytes as f64 / 1e6;
    println!("{events} events of {sessions} sessions, {concurrent_sessions} at a time, {format}");
    println!("  bytes an event     {:>10.1}", figures.bytes as f64 / events as f64);
    println!("  rows an event      {:>10.2}", figures.rows as f64 / events as f64);
    println!("  process            {:>10.0} ns an event", ns(figures.process_s));
    println!("  freeze             {:>10.0} ns an event", ns(figures.freeze_s));
    println!("  epochs             {epoch:>10}");
    println!("  longest freeze     {:>10.1} ms", ms(figures.longest_freeze_s));
    println!("  segments an epoch  {:>10.1} MB", mb(figures.segments_bytes / epoch as usize));
    println!("  kept for a restart {:>10.1} MB in {} segments", mb(figures.kept_bytes), figures.kept_segments);
    println!("  restored in        {:>10.1} ms", ms(figures.restore_s));
    println!("  memory above idle  {:>10.1} MB", mb(figures.peak_bytes.saturating_sub(idle_bytes)));
}

#[derive(Default)]
struct Figures {
    bytes: usize,
    rows: usize,
    process_s: f64,
    freeze_s: f64,
    longest_freeze_s: f64,
    segments_bytes: usize,
    kept_bytes: usize,
    kept_segments: usize,
    restore_s: f64,
    peak_bytes: usize,
}

fn record(offset: u64, content_type: ContentType, batch: &ViewEventBatch) -> Record {
    let payload = match content_type {
        ContentType::Json => to_json(batch).into_bytes(),
        _ => batch.encode_to_vec(),
    };
    let header = RecordHeader {
        record_type: RecordType::ViewEvents(content_type),
        received_at_ms: batch.sent_at_ms,
        event_count: batch.events.len() as u32,
    };
    Record { offset, header, payload: payload.into() }
}

/// CPU seconds that this thread spends in it.
fn cpu_s(run: impl FnOnce()) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let before = now();
    run();
    now() - before
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the resident memory");
    let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
    kib * 1024
}

/// Generated events come in order: nothing is folded anew, and so nothing is read.
struct NoLake;

#[async_trait]
impl EpochCommit for NoLake {
    async fn write(
        &self,
        _: &'static TableSpec,
        _: &str,
        _: &arrow::record_batch::RecordBatch,
        _: i64,
    ) -> Result<Vec<DataFile>, LakeError> {
        unreachable!("a shard alone writes nothing")
    }

    async fn commit(&self, _: &'static TableSpec, _: &[ShardEpoch]) -> Result<(), LakeError> {
        unreachable!("a shard alone commits nothing")
    }

    async fn committed_epoch(&self, _: &'static TableSpec, _: &str) -> Result<Option<u64>, LakeError> {
        unreachable!("a shard alone asks for nothing")
    }

    async fn read_rows(
        &self,
        _: &'static TableSpec,
        _: &[String],
        _: &str,
        _: &[String],
    ) -> Result<Vec<arrow::record_batch::RecordBatch>, LakeError> {
        unreachable!("nothing is folded anew")
    }
}
