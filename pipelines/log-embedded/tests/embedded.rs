//! [`EmbeddedLog`] against the contract of its port, against SIGKILL, against failed writes and against damage.
//!
//! Tests that need a process of their own start this binary again, with the name of one test and [`CHILD_DIR`] set.

#![allow(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for tests")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use marquee_log_embedded::{EmbeddedLog, EmbeddedLogOptions};
use marquee_stream::contract::check_partition_log;
use marquee_stream::{LogError, NewRecord, PartitionLog, RecordHeader, RecordType, Route, TopicSpec};
use tokio::runtime::Runtime;

/// Set in a child process: the folder of the log to work on.
const CHILD_DIR: &str = "MARQUEE_TEST_LOG_DIR";

const TOPIC: &str = "playback";
const PARTITIONS: u32 = 3;
const DEADLINE: Duration = Duration::from_secs(30);

/// How often the kill test kills.
const ROUNDS: u32 = 8;

/// Segments that are full after a few records.
fn small_segments() -> EmbeddedLogOptions {
    EmbeddedLogOptions { segment_max_bytes: 16 * 1024, ..EmbeddedLogOptions::default() }
}

fn open(dir: &Path) -> Result<EmbeddedLog, LogError> {
    let log = EmbeddedLog::open(dir, small_segments())?;
    log.ensure_topic(&TopicSpec { name: TOPIC.to_owned(), partitions: PARTITIONS, retention_ms: 1000 })?;
    Ok(log)
}

fn record(partition: u32, received_at_ms: i64, payload: impl Into<Bytes>) -> NewRecord {
    let header = RecordHeader { record_type: RecordType::Job, received_at_ms, event_count: 1 };
    NewRecord { route: Route::Partition(partition), header, payload: payload.into() }
}

fn append(log: &EmbeddedLog, records: Vec<NewRecord>) -> Result<u64, LogError> {
    let positions = Runtime::new().unwrap().block_on(log.append(TOPIC, records))?;
    Ok(positions[0].offset)
}

/// Starts this binary again to run one test, which sees `dir` in [`CHILD_DIR`].
fn start_child(test: &str, dir: &Path, fail_points: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .env("FAILPOINTS", fail_points)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn child_dir() -> Option<PathBuf> {
    std::env::var_os(CHILD_DIR).map(PathBuf::from)
}

fn damage_in(dir: &Path) -> String {
    match open(dir) {
        Ok(log) => (0..PARTITIONS)
            .find_map(|partition| {
                let bounds = log.bounds(TOPIC, partition).unwrap();
                log.read(TOPIC, partition, bounds.start, usize::MAX).err()
            })
            .expect("the damage was not noticed")
            .to_string(),
        Err(error) => {
            assert!(matches!(error, LogError::Damaged(_)), "{error:?}");
            error.to_string()
        }
    }
}

/// Waits until the partition has begun its next segment `times` more times, and returns the next offset.
fn fill_segments(log: &EmbeddedLog, partition: u32, received_at_ms: i64, times: usize) -> u64 {
    let segments = || log.segments(TOPIC, partition).unwrap();
    let until = segments() + times;
    let deadline = Instant::now() + DEADLINE;
    loop {
        let offset = append(log, vec![record(partition, received_at_ms, vec![b'x'; 3000])]).unwrap();
        if segments() >= until {
            return offset + 1;
        }
        assert!(Instant::now() < deadline, "no new segment was begun");
    }
}

#[test]
fn keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    check_partition_log(&|| Arc::new(EmbeddedLog::open(dir.path(), EmbeddedLogOptions::default()).unwrap()));
}

#[test]
fn keeps_the_contract_with_small_segments() {
    let dir = tempfile::tempdir().unwrap();
    check_partition_log(&|| Arc::new(EmbeddedLog::open(dir.path(), small_segments()).unwrap()));
}

#[test]
fn retention_drops_whole_segments_but_never_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    let old_end = fill_segments(&log, 0, 10_000, 2);
    let end = fill_segments(&log, 0, 20_000, 2);
    fill_segments(&log, 1, 20_000, 1);

    assert_eq!(log.enforce_retention(11_000).unwrap(), 0, "nothing has expired");
    let dropped = log.enforce_retention(11_001).unwrap();
    let start = log.bounds(TOPIC, 0).unwrap().start;
    assert_eq!(dropped, start);
    // The second old segment also got new records, so it stays.
    assert!(0 < start && start < old_end, "{start} of {old_end}");
    assert_eq!(log.bounds(TOPIC, 1).unwrap().start, 0, "the other partition has only new records");

    log.enforce_retention(i64::MAX).unwrap();
    let bounds = log.bounds(TOPIC, 0).unwrap();
    assert!(bounds.start < bounds.end, "the newest segment stays");
    assert_eq!(bounds.end, end);
    assert_eq!(log.segments(TOPIC, 0).unwrap(), 1);
    drop(log);

    let log = open(dir.path()).unwrap();
    assert_eq!(log.bounds(TOPIC, 0).unwrap(), bounds);
    assert_eq!(append(&log, vec![record(0, 30_000, "next")]).unwrap(), end);
    let records = log.read(TOPIC, 0, bounds.start, usize::MAX).unwrap();
    assert_eq!(records.len() as u64, end + 1 - bounds.start);
}

#[test]
fn journals_are_deleted_when_their_records_are_in_tables() {
    const WRITTEN_BYTES: usize = 256 << 20;
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(dir.path(), EmbeddedLogOptions::default()).unwrap();
    log.ensure_topic(&TopicSpec { name: TOPIC.to_owned(), partitions: 2, retention_ms: 1000 }).unwrap();
    // Partition 1 gets one record at the beginning: an idle partition must not keep the journals.
    append(&log, vec![record(1, 0, "idle")]).unwrap();
    // Noise, because journals are compressed.
    let mut state = 1_u64;
    let noise: Bytes = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(1 << 20)
    .collect();
    for _ in 0..WRITTEN_BYTES / noise.len() {
        append(&log, vec![record(0, 0, noise.clone())]).unwrap();
    }
    let journal_bytes = || -> u64 {
        let files = std::fs::read_dir(dir.path().join("records")).unwrap().map(Result::unwrap);
        let journals = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "jnl"));
        // A journal may be deleted between the two calls.
        journals.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
    };
    let deadline = Instant::now() + DEADLINE;
    while journal_bytes() > WRITTEN_BYTES as u64 * 3 / 4 {
        assert!(Instant::now() < deadline, "journals of {} bytes are kept", journal_bytes());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_append_beyond_the_waiting_bytes_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedLogOptions { max_waiting_bytes: 10_000, ..EmbeddedLogOptions::default() };
    let log = EmbeddedLog::open(dir.path(), options).unwrap();
    log.ensure_topic(&TopicSpec { name: TOPIC.to_owned(), partitions: 1, retention_ms: 1000 }).unwrap();
    let error = append(&log, vec![record(0, 0, vec![0; 10_000])]).unwrap_err();
    assert!(matches!(error, LogError::Full { waiting_bytes: 0 }), "{error:?}");
    assert_eq!(log.bounds(TOPIC, 0).unwrap(), 0..0);
    for expected in 0..5 {
        assert_eq!(
            append(&log, vec![record(0, 0, vec![0; 9_000])]).unwrap(),
            expected,
            "what was durable is given back"
        );
    }
}

#[test]
fn a_second_opener_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    let error = open(dir.path()).map(drop).unwrap_err();
    assert!(matches!(error, LogError::InUse(_)), "{error:?}");
    drop(log);
    open(dir.path()).unwrap();
}

#[test]
fn an_unfinished_creation_is_started_again() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("records.new")).unwrap();
    std::fs::write(dir.path().join("records.new/0.jnl"), b"half").unwrap();
    append(&open(dir.path()).unwrap(), vec![record(0, 0, "first")]).unwrap();
}

#[test]
fn damage_is_named() {
    // One flipped byte in each table of records, one table at a time, each in a copy of its own.
    let original = tempfile::tempdir().unwrap();
    let log = open(original.path()).unwrap();
    for partition in 0..PARTITIONS {
        fill_segments(&log, partition, 0, 2);
    }
    // Full segments are flushed in the background.
    let deadline = Instant::now() + DEADLINE;
    while segment_tables(original.path()).len() < 2 * PARTITIONS as usize {
        assert!(Instant::now() < deadline, "full segments are not flushed");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(log);
    for table in segment_tables(original.path()) {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(original.path(), copy.path());
        let table = copy.path().join(table.strip_prefix(original.path()).unwrap());
        let mut bytes = std::fs::read(&table).unwrap();
        bytes[100] ^= 0x10;
        std::fs::write(&table, bytes).unwrap();
        let message = damage_in(copy.path());
        assert!(message.starts_with("the log is damaged: "), "{message}");
    }
}

#[test]
fn a_missing_segment_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    for partition in 0..PARTITIONS {
        fill_segments(&log, partition, 0, 3);
    }
    drop(log);
    let keyspaces: Vec<_> = std::fs::read_dir(dir.path().join("records/keyspaces")).unwrap().collect();
    let mut found = 0;
    for keyspace in keyspaces {
        let keyspace = keyspace.unwrap().path();
        let number: u32 = keyspace.file_name().unwrap().to_str().unwrap().parse().unwrap();
        if number > 2 {
            let copy = tempfile::tempdir().unwrap();
            copy_folder(dir.path(), copy.path());
            std::fs::remove_dir_all(copy.path().join(keyspace.strip_prefix(dir.path()).unwrap())).unwrap();
            match open(copy.path()) {
                // The next segment, made in advance, is all that may be missing.
                Ok(log) => (0..PARTITIONS).for_each(|partition| assert!(log.segments(TOPIC, partition).unwrap() > 3)),
                Err(error) => {
                    found += 1;
                    assert!(matches!(error, LogError::Damaged(_)), "{error:?}");
                }
            }
        }
    }
    assert!(found >= 4 * PARTITIONS, "{found} of {} were noticed", 4 * PARTITIONS);
}

#[test]
fn an_invalid_version_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    std::fs::write(dir.path().join("records/version"), b"nonsense").unwrap();
    let message = damage_in(dir.path());
    assert!(message.starts_with("the log is damaged: "), "{message}");
}

/// The flushed tables of segments: 0 is fjall's own keyspace, 1 and 2 are the list of topics and the ledger.
fn segment_tables(dir: &Path) -> Vec<PathBuf> {
    let keyspaces = dir.join("records/keyspaces");
    let is_table = |file: &PathBuf| {
        let parts: Vec<_> = file.strip_prefix(&keyspaces).unwrap().iter().map(|part| part.to_str().unwrap()).collect();
        parts[0].parse::<u32>().unwrap() > 2 && parts[1] == "tables"
    };
    files_below(&keyspaces).into_iter().filter(is_table).collect()
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

fn copy_folder(from: &Path, to: &Path) {
    for file in files_below(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&file, target).unwrap();
    }
}

/// The payload of the kill test's records, for every offset another one, of another length.
fn payload(partition: u32, offset: u64) -> Vec<u8> {
    format!("{partition}/{offset} ").into_bytes().repeat(1 + (offset % 97) as usize)
}

/// The child's part: appends in every partition until it is killed, and prints what is acknowledged.
fn append_until_killed(dir: &Path) {
    let log = Arc::new(open(dir).unwrap());
    println!("opened");
    Runtime::new().unwrap().block_on(async {
        let mut appenders = tokio::task::JoinSet::new();
        for partition in 0..PARTITIONS {
            let log = Arc::clone(&log);
            let mut next = log.bounds(TOPIC, partition).unwrap().end;
            appenders.spawn(async move {
                loop {
                    let offsets = next..next + 1 + next % 5;
                    let records =
                        offsets.clone().map(|offset| record(partition, offset as i64, payload(partition, offset)));
                    let key = format!("{partition}/{next}");
                    let positions = log.append_once(TOPIC, &key, records.collect()).await.unwrap().unwrap();
                    assert_eq!(positions[0].offset, next);
                    next = offsets.end;
                    println!("acknowledged {partition} {next}");
                }
            });
        }
        appenders.join_all().await;
    });
}

#[test]
fn no_acknowledged_record_is_lost_by_kill_9() {
    if let Some(dir) = child_dir() {
        append_until_killed(&dir);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = [0_u64; PARTITIONS as usize];
    for round in 0..ROUNDS {
        let mut child = start_child("no_acknowledged_record_is_lost_by_kill_9", dir.path(), "");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Another moment in each round: the kill follows some acknowledgements by some microseconds.
        let kill_after = 20 + round * 173 % 600;
        let mut seen = 0;
        for line in lines {
            let line = line.unwrap();
            let mut words = line.split(' ');
            if words.next() != Some("acknowledged") {
                continue;
            }
            let partition: usize = words.next().unwrap().parse().unwrap();
            let Some(Ok(end)) = words.next().map(str::parse) else { continue };
            acknowledged[partition] = end;
            seen += 1;
            if seen == kill_after {
                std::thread::sleep(Duration::from_micros(u64::from(round) * 379));
                child.kill().unwrap();
            }
        }
        assert!(seen >= kill_after, "the child ended by itself after {seen} acknowledgements");
        assert!(!child.wait().unwrap().success(), "the child was not killed");

        let log = open(dir.path()).unwrap();
        for (partition, &acknowledged) in (0..).zip(&acknowledged) {
            let bounds = log.bounds(TOPIC, partition).unwrap();
            assert_eq!(bounds.start, 0);
            assert!(bounds.end >= acknowledged, "{partition}: {acknowledged} were acknowledged, {bounds:?} are there");
            let records = log.read(TOPIC, partition, 0, usize::MAX).unwrap();
            assert_eq!(records.len() as u64, bounds.end);
            for (offset, record) in (0..).zip(records) {
                assert_eq!(record.offset, offset);
                assert_eq!(record.payload, payload(partition, offset));
                assert_eq!(record.header.received_at_ms, offset as i64);
            }
        }
    }
    assert!(acknowledged.iter().all(|end| *end > 0), "{acknowledged:?}");
}

/// The child's part: after a failed write every append fails; says what readers see.
fn append_with_fail_point(dir: &Path) {
    let log = open(dir).unwrap();
    append(&log, vec![record(0, 0, "before")]).unwrap();
    let scenario = fail::FailScenario::setup();
    let errors = [
        append(&log, vec![record(0, 0, "during")]).unwrap_err(),
        append(&log, vec![record(0, 0, "after")]).unwrap_err(),
    ];
    scenario.teardown();
    for error in errors.into_iter().chain(append(&log, vec![record(1, 0, "later")]).err()) {
        assert!(matches!(error, LogError::Storage { .. }), "{error:?}");
        assert!(error.to_string().contains("restart"), "{error}");
    }
    assert_eq!(log.bounds(TOPIC, 0).unwrap(), 0..1, "readers do not see what was not acknowledged");
    println!("checked");
}

#[test]
fn a_failed_write_stops_the_log_until_it_is_opened_again() {
    if let Some(dir) = child_dir() {
        append_with_fail_point(&dir);
        return;
    }
    for (fail_points, end_after) in [
        ("log-before-commit=1*return(disk full)", 1),
        ("log-before-commit=1*panic(disk full)", 1),
        ("log-after-commit-before-ack=1*return(power cut)", 2),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let child = start_child("a_failed_write_stops_the_log_until_it_is_opened_again", dir.path(), fail_points);
        let output = child.wait_with_output().unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        assert!(output.contains("checked"), "{fail_points}: {output}");
        let log = open(dir.path()).unwrap();
        assert_eq!(log.bounds(TOPIC, 0).unwrap(), 0..end_after, "{fail_points}");
        assert_eq!(append(&log, vec![record(0, 0, "next")]).unwrap(), end_after);
    }
}
