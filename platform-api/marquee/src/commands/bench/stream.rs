//! `marquee bench stream`: how fast a log becomes a lake, stage by stage, and how fresh the live numbers are at a fixed
//! rate. Generation is excluded; the output is counted before the time is believed.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes_of::record_of;
use marquee_events::{Clock, SystemClock, split, to_json};
use marquee_jobs::{LIVE_TOPIC, PLAYBACK_TOPIC, Playback, PlaybackMode};
use marquee_lake::{DurableLocalStore, EpochCommit};
use marquee_lake_delta::{DeltaLake, LakeOptions};
use marquee_log_embedded::{EmbeddedLog, EmbeddedLogOptions};
use marquee_sources::{BenchPlan, generate_bench};
use marquee_stream::{
    Job, NewRecord, PartitionLog, Record, RecordType, Runtime, RuntimeEnv, RuntimeProgress, RuntimeSettings, ShardId,
    TopicSpec,
};
use serde::Serialize;

use super::file_log::FileLog;
use super::{folder, peak_memory, reset_peak_memory, resident_memory};
use crate::cli::{BenchFormat, BenchStreamOptions};
use crate::failure::Failure;
use crate::tables_output::print_json;

/// Records appended at once while generating.
const GENERATE_GROUP: usize = 2_000;

/// A run that takes longer is stuck.
const TIMEOUT: Duration = Duration::from_secs(3_600);

/// Groups per second in the freshness run.
const PACES_PER_SECOND: u64 = 50;

/// When the events of a file begin (ms since the epoch): the same file whenever it is written.
const FILE_START_MS: i64 = 1_760_000_000_000;

/// Seed of the generated events.
const SEED: u64 = 1;

#[derive(Debug, Serialize)]
struct Report {
    format: &'static str,
    events: u64,
    /// In the lake.
    sessions: u64,
    partitions: u32,
    epoch_ms: i64,
    bytes_in: u64,
    events_per_s: f64,
    cpu_s: f64,
    events_per_cpu_s: f64,
    wall_s: f64,
    peak_rss_bytes: u64,
    /// Of the process with its log and its lake open, before its first event.
    idle_rss_bytes: u64,
    epochs: u64,
    lake_bytes: u64,
    /// Not of a file.
    stages: Option<Stages>,
    freshness_rate: Option<u64>,
    freshness_p50_ms: Option<f64>,
    freshness_p99_ms: Option<f64>,
}

/// CPU seconds of each stage, alone on one thread; `write` is what the whole run used beyond them.
#[derive(Debug, Serialize)]
struct Stages {
    read_cpu_s: f64,
    decode_cpu_s: f64,
    fold_cpu_s: f64,
    write_cpu_s: f64,
}

struct Bench {
    handle: tokio::runtime::Handle,
    clock: Arc<SystemClock>,
    log: Arc<dyn PartitionLog>,
    lake: Arc<DeltaLake>,
    state: std::path::PathBuf,
}

/// What a run was.
struct Run {
    wall_s: f64,
    cpu_s: f64,
    peak_rss_bytes: u64,
    idle_rss_bytes: u64,
}

/// The stages of a log, each by itself.
struct Staged {
    bytes_in: u64,
    /// Of reading, of decoding, and of decoding and folding.
    cpu_s: [f64; 3],
}

/// What a run has written.
struct Written {
    sessions: u64,
    epochs: u64,
}

pub(crate) fn run(runtime: &tokio::runtime::Runtime, options: &BenchStreamOptions) -> Result<(), Failure> {
    if let Some(path) = &options.write_input {
        return write_input(path, options);
    }
    if let Some(folder) = &options.generate_into {
        return Bench::open(runtime.handle(), folder, log_in(folder, options)?)?.generate(options);
    }
    let mut folder = folder(options.dir.as_deref())?;
    folder.disable_cleanup(options.keep);
    let report = match &options.input {
        Some(input) => of_file(runtime, folder.path(), input, options)?,
        None => of_log(runtime, folder.path(), options)?,
    };
    if options.json {
        return print_json(&report);
    }
    print_report(&report);
    Ok(())
}

/// Events from the log, and the freshness at a fixed rate after them.
fn of_log(runtime: &tokio::runtime::Runtime, folder: &Path, options: &BenchStreamOptions) -> Result<Report, Failure> {
    generate_apart(folder)?;
    let bench = Bench::open(runtime.handle(), folder, log_in(folder, options)?)?;
    let run = bench.run(options.epoch_ms, |jobs| bench.wait_until_read(jobs))?;
    let written = bench.check(options.events)?;
    let Staged { bytes_in, cpu_s: [read_cpu_s, decode_cpu_s, fold_cpu_s] } = bench.stages(options.partitions)?;
    let rate = options.freshness_rate.unwrap_or((options.events as f64 / run.wall_s / 2.0) as u64);
    let rate = rate.max(PACES_PER_SECOND);
    let freshness = (options.freshness_seconds > 0).then(|| bench.freshness(options, rate)).transpose()?;
    let stages = Stages {
        read_cpu_s,
        decode_cpu_s,
        fold_cpu_s: (fold_cpu_s - decode_cpu_s).max(0.0),
        write_cpu_s: (run.cpu_s - fold_cpu_s - read_cpu_s).max(0.0),
    };
    let format = if options.format == BenchFormat::Json { "json" } else { "protobuf" };
    let report = bench.report(options, format, options.events, bytes_in, &run, &written)?;
    Ok(Report {
        stages: Some(stages),
        freshness_rate: freshness.as_ref().map(|_| rate),
        freshness_p50_ms: freshness.and_then(|f| f.0),
        freshness_p99_ms: freshness.and_then(|f| f.1),
        ..report
    })
}

fn log_in(folder: &Path, options: &BenchStreamOptions) -> Result<Arc<dyn PartitionLog>, Failure> {
    let log: Arc<dyn PartitionLog> = Arc::new(EmbeddedLog::open(&folder.join("log"), EmbeddedLogOptions::default())?);
    for (name, partitions) in [(PLAYBACK_TOPIC, options.partitions), (LIVE_TOPIC, 1)] {
        log.ensure_topic(&TopicSpec { name: name.to_owned(), partitions, retention_ms: i64::MAX })?;
    }
    Ok(log)
}

/// Fills the log of the folder, in a process of its own with the same options.
fn generate_apart(folder: &Path) -> Result<(), Failure> {
    let failed = |problem: String| Failure::internal(format!("events cannot be generated: {problem}"));
    let mut command = std::env::current_exe().map(std::process::Command::new).map_err(|e| failed(e.to_string()))?;
    let status = command.args(std::env::args_os().skip(1)).arg("--generate-into").arg(folder).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(format!("the process that fills the log ended with {status}"))),
        Err(e) => Err(failed(e.to_string())),
    }
}

/// The events of a file, from its first byte to the last commit.
fn of_file(
    runtime: &tokio::runtime::Runtime,
    folder: &Path,
    input: &Path,
    options: &BenchStreamOptions,
) -> Result<Report, Failure> {
    let unreadable = |e: std::io::Error| Failure::settings(format!("{} cannot be read: {e}", input.display()));
    let file = Arc::new(FileLog::open(input, options.partitions).map_err(unreadable)?);
    let bytes_in = input.metadata().map_err(unreadable)?.len();
    let bench = Bench::open(runtime.handle(), folder, file.clone())?;
    let run = bench.run(options.epoch_ms, |jobs| Ok(jobs.progress().wait_until(TIMEOUT, |_| file.is_read())))?;
    let written = bench.check(file.records())?;
    bench.report(options, "json", file.records(), bytes_in, &run, &written)
}

/// Writes the events that a run would generate, one a line.
fn write_input(path: &Path, options: &BenchStreamOptions) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::unavailable(format!("{} cannot be written: {e}", path.display()));
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).map_err(failed)?);
    let bar = indicatif::ProgressBar::new(options.events).with_message("writing");
    for batch in generate_bench(plan(options, 1, FILE_START_MS)) {
        writeln!(file, "{}", to_json(&batch)).map_err(failed)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    file.flush().map_err(failed)
}

fn plan(options: &BenchStreamOptions, events_per_batch: usize, start_ms: i64) -> BenchPlan {
    let plan = BenchPlan::new(options.events, start_ms, SEED);
    let sessions = options.sessions.unwrap_or(plan.sessions);
    BenchPlan { sessions, concurrent_sessions: options.concurrent_sessions, events_per_batch, ..plan }
}

impl Bench {
    fn open(handle: &tokio::runtime::Handle, folder: &Path, log: Arc<dyn PartitionLog>) -> Result<Self, Failure> {
        let clock = Arc::new(SystemClock::default());
        let lake = handle.block_on(DeltaLake::open(&folder.join("lake"), clock.clone(), LakeOptions::default()))?;
        Ok(Self { handle: handle.clone(), clock, log, lake: Arc::new(lake), state: folder.join("state") })
    }

    /// Runs the jobs from now until `is_read` has waited for everything to be read, and ends the last epoch.
    fn run(&self, epoch_ms: i64, is_read: impl FnOnce(&Runtime) -> Result<bool, Failure>) -> Result<Run, Failure> {
        reset_peak_memory();
        let idle_rss_bytes = resident_memory();
        let (cpu_before, started) = (cpu_s(), Instant::now());
        let jobs = self.start(epoch_ms, None)?;
        let all_read = is_read(&jobs)?;
        jobs.stop()?; // ends the last epoch at once, instead of at its time
        let (wall_s, cpu_s) = (started.elapsed().as_secs_f64(), cpu_s() - cpu_before);
        if !all_read {
            return Err(Failure::internal("the jobs did not reach the end of the input"));
        }
        Ok(Run { wall_s, cpu_s, peak_rss_bytes: peak_memory(), idle_rss_bytes })
    }

    /// A report without stages and freshness.
    fn report(
        &self,
        options: &BenchStreamOptions,
        format: &'static str,
        events: u64,
        bytes_in: u64,
        run: &Run,
        written: &Written,
    ) -> Result<Report, Failure> {
        let tables = self.handle.block_on(self.lake.tables())?;
        Ok(Report {
            format,
            events,
            sessions: written.sessions,
            partitions: options.partitions,
            epoch_ms: options.epoch_ms,
            bytes_in,
            events_per_s: events as f64 / run.wall_s,
            cpu_s: run.cpu_s,
            events_per_cpu_s: events as f64 / run.cpu_s,
            wall_s: run.wall_s,
            peak_rss_bytes: run.peak_rss_bytes,
            idle_rss_bytes: run.idle_rss_bytes,
            epochs: written.epochs,
            lake_bytes: tables.iter().map(|table| table.size_bytes).sum(),
            stages: None,
            freshness_rate: None,
            freshness_p50_ms: None,
            freshness_p99_ms: None,
        })
    }

    /// Fills the log.
    fn generate(&self, options: &BenchStreamOptions) -> Result<(), Failure> {
        let bar = indicatif::ProgressBar::new(options.events).with_message("generating");
        let mut group = Vec::with_capacity(GENERATE_GROUP);
        let per_record = per_record(options.format);
        let start_ms = self.clock.now_ms() - 86_400_000;
        for batch in generate_bench(plan(options, per_record, start_ms)) {
            let record = record_of(&batch, options.format, batch.sent_at_ms);
            bar.inc(u64::from(record.header.event_count));
            group.push(record);
            if group.len() == GENERATE_GROUP {
                self.append(std::mem::take(&mut group))?;
            }
        }
        self.append(group)?;
        bar.finish_and_clear();
        Ok(())
    }

    fn append(&self, records: Vec<NewRecord>) -> Result<(), Failure> {
        if !records.is_empty() {
            self.handle.block_on(self.log.append(PLAYBACK_TOPIC, records))?;
        }
        Ok(())
    }

    /// Reads, decodes and folds all of the log, each stage by itself.
    fn stages(&self, partitions: u32) -> Result<Staged, Failure> {
        let job = Playback::new(PlaybackMode::Live);
        let mut bytes_in = 0;
        let (mut read_s, mut decode_s, mut fold_s) = (0.0, 0.0, 0.0);
        for partition in 0..partitions {
            let shard = ShardId { job: "playback", topic: PLAYBACK_TOPIC.to_owned(), partition };
            let mut state = job.start_shard(&shard, None)?;
            let mut at = 0;
            loop {
                let before = thread_cpu_s();
                let records = self.log.read(PLAYBACK_TOPIC, partition, at, 1 << 20)?;
                let read = thread_cpu_s();
                let Some(last) = records.last() else { break };
                at = last.offset + 1;
                bytes_in += records.iter().map(|record| record.payload.len() as u64).sum::<u64>();
                decode_all(&records)?;
                let decoded = thread_cpu_s();
                state.process(&records)?;
                let folded = thread_cpu_s();
                read_s += read - before;
                decode_s += decoded - read;
                fold_s += folded - decoded;
                if state.pending_bytes() > 256 << 20 {
                    state = job.start_shard(&shard, None)?; // rows would only pile up: nobody writes them here
                }
            }
        }
        Ok(Staged { bytes_in, cpu_s: [read_s, decode_s, fold_s] })
    }

    fn start(&self, epoch_ms: i64, live_topic: Option<&str>) -> Result<Runtime, Failure> {
        let lake: Arc<dyn EpochCommit> = self.lake.clone();
        let env = RuntimeEnv {
            log: self.log.clone(),
            lake,
            store: Arc::new(DurableLocalStore::new()),
            state_root: object_store::path::Path::from_absolute_path(&self.state)
                .map_err(|e| Failure::settings(e.to_string()))?,
            clock: self.clock.clone(),
            handle: self.handle.clone(),
            writer_id: format!("bench-{}", self.clock.now_ms()),
        };
        let settings = RuntimeSettings {
            epoch_interval_ms: epoch_ms,
            live_interval_ms: 1_000,
            live_topic: live_topic.map(str::to_owned),
            write_threads: 2,
        };
        let job: Arc<dyn Job> = Arc::new(Playback::new(PlaybackMode::Live));
        Ok(Runtime::start(&env, &settings, &[(job, PLAYBACK_TOPIC.to_owned())])?)
    }

    /// Waits until the jobs have read everything that is in the log; whether they have.
    fn wait_until_read(&self, jobs: &Runtime) -> Result<bool, Failure> {
        let progress = jobs.progress();
        let mut ends = Vec::new();
        for shard in progress.shards() {
            ends.push(self.log.bounds(PLAYBACK_TOPIC, shard.shard.partition)?.end);
        }
        let read = |p: &RuntimeProgress| p.shards().iter().zip(&ends).all(|(shard, end)| shard.read_offset() >= *end);
        Ok(progress.wait_until(TIMEOUT, read))
    }

    /// Fails unless every event is in bronze and in a session exactly once.
    fn check(&self, events: u64) -> Result<Written, Failure> {
        let count = |query: &str| -> Result<u64, Failure> {
            let (_, rows) = self.handle.block_on(self.lake.sql(query))?;
            let text = rows
                .first()
                .map(|batch| arrow::util::display::array_value_to_string(batch.column(0), 0).unwrap_or_default());
            Ok(text.and_then(|text| text.parse().ok()).unwrap_or_default())
        };
        let bronze = count("SELECT count(*) FROM events")?;
        let folded = count("SELECT sum(event_count) FROM sessions")?;
        if bronze != events || folded != events {
            return Err(Failure::internal(format!(
                "the output is wrong, no time is worth telling: {events} events generated, {bronze} in bronze, {folded} in sessions"
            )));
        }
        let sessions = count("SELECT count(*) FROM sessions")?;
        Ok(Written { sessions, epochs: count("SELECT count(*) FROM epochs")? })
    }

    /// Appends at a fixed rate while the jobs run; p50 and p99 of received → visible in the live deltas (ms).
    fn freshness(&self, options: &BenchStreamOptions, rate: u64) -> Result<(Option<f64>, Option<f64>), Failure> {
        let jobs = self.start(options.epoch_ms, Some(LIVE_TOPIC))?;
        let events = rate * options.freshness_seconds;
        let per_record = per_record(options.format);
        let per_pace = (rate / PACES_PER_SECOND).max(1);
        let started = Instant::now();
        let mut sent = 0;
        let mut group = Vec::new();
        let mut in_group = 0;
        let plan = BenchPlan { events_per_batch: per_record, ..BenchPlan::new(events, self.clock.now_ms(), SEED + 1) };
        for batch in generate_bench(plan) {
            group.push(batch);
            in_group += per_record as u64;
            if in_group < per_pace {
                continue;
            }
            let now_ms = self.clock.now_ms();
            self.append(group.drain(..).map(|batch| record_now(&batch, options.format, now_ms)).collect())?;
            sent += std::mem::take(&mut in_group);
            let due = Duration::from_secs_f64(sent as f64 / rate as f64);
            std::thread::sleep(due.saturating_sub(started.elapsed()));
        }
        jobs.drain(self.log.as_ref(), TIMEOUT)?;
        let progress = jobs.progress();
        let result = (progress.freshness.quantile_ms(0.5), progress.freshness.quantile_ms(0.99));
        jobs.stop()?;
        Ok(result)
    }
}

fn per_record(format: BenchFormat) -> usize {
    if format == BenchFormat::Json { 1 } else { 20 }
}

/// A record whose events lie in the future of the generator's time line, received now.
fn record_now(batch: &marquee_events::proto::ViewEventBatch, format: BenchFormat, now_ms: i64) -> NewRecord {
    let mut batch = batch.clone();
    let ahead_ms = batch.events.last().map_or(0, |event| event.event_time_ms - now_ms);
    for event in &mut batch.events {
        event.event_time_ms -= ahead_ms;
    }
    batch.sent_at_ms = now_ms;
    record_of(&batch, format, now_ms)
}

mod bytes_of {
    //! Batches as records of the log.

    use marquee_events::{ContentType, proto::ViewEventBatch};
    use marquee_stream::{NewRecord, RecordHeader, RecordType, Route};
    use prost::Message as _;

    use crate::cli::BenchFormat;

    pub(super) fn record_of(batch: &ViewEventBatch, format: BenchFormat, received_at_ms: i64) -> NewRecord {
        let (content_type, payload) = match format {
            BenchFormat::Json => (ContentType::Json, super::to_json(batch).into_bytes()),
            BenchFormat::Protobuf => (ContentType::Protobuf, batch.encode_to_vec()),
        };
        let session_id = batch.context.as_ref().map(|c| c.session_id.clone()).unwrap_or_default();
        let header = RecordHeader {
            record_type: RecordType::ViewEvents(content_type),
            received_at_ms,
            event_count: batch.events.len() as u32,
        };
        NewRecord { route: Route::Key(session_id.into_bytes().into()), header, payload: payload.into() }
    }
}

/// As the job does it: events at once, a context only when it is new, which here none is.
fn decode_all(records: &[Record]) -> Result<(), Failure> {
    let mut events = Vec::new();
    for record in records {
        if let RecordType::ViewEvents(content_type) = record.header.record_type {
            let parts = split(content_type, &record.payload, &mut events);
            std::hint::black_box(parts).ok_or_else(|| Failure::internal("a generated record cannot be taken apart"))?;
        }
    }
    Ok(())
}

fn print_report(report: &Report) {
    let per_event = |cpu_s: f64| cpu_s * 1e6 / report.events as f64;
    println!("{} events of {} sessions, {} format", report.events, report.sessions, report.format);
    println!("  end to end     {:>12.0} events/s  ({:.2} s wall)", report.events_per_s, report.wall_s);
    println!("  per CPU second {:>12.0} events    ({:.2} s CPU)", report.events_per_cpu_s, report.cpu_s);
    if let Some(stages) = &report.stages {
        for (stage, cpu_s) in [
            ("read", stages.read_cpu_s),
            ("decode", stages.decode_cpu_s),
            ("fold", stages.fold_cpu_s),
            ("write", stages.write_cpu_s),
        ] {
            println!("    {stage:<12} {:>12.3} µs an event", per_event(cpu_s));
        }
    }
    println!(
        "  peak memory    {:>12.1} MB, {:.1} MB of it before the first event",
        report.peak_rss_bytes as f64 / 1e6,
        report.idle_rss_bytes as f64 / 1e6
    );
    println!("  epochs         {:>12}", report.epochs);
    if let (Some(rate), Some(p50), Some(p99)) =
        (report.freshness_rate, report.freshness_p50_ms, report.freshness_p99_ms)
    {
        println!("  freshness at {rate} events/s: p50 {p50:.0} ms, p99 {p99:.0} ms");
    }
}

/// CPU seconds of this process so far.
fn cpu_s() -> f64 {
    clock_s(rustix::time::ClockId::ProcessCPUTime)
}

fn thread_cpu_s() -> f64 {
    clock_s(rustix::time::ClockId::ThreadCPUTime)
}

fn clock_s(clock: rustix::time::ClockId) -> f64 {
    let time = rustix::time::clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
