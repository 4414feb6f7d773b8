//! The contract of [`PartitionLog`] as a suite that every adapter's tests run, against the real thing.
//!
//! Each check works on topics of its own, so that one log holds all of them. The suite is part of the library because
//! adapters live in other crates; it only panics, as a test does.

use std::collections::HashSet;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use marquee_events::ContentType;
use tokio::runtime::Runtime;

use crate::{
    GrowingLog, LogError, NewRecord, PartitionLog, Position, Record, RecordHeader, RecordType, Route, TopicSpec,
    TraceParent, partition_of,
};

/// No check waits longer than this for something that has to happen.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long a wait that must time out takes.
const SHORT: Duration = Duration::from_millis(50);

/// Retention of the suite's topics; records are received around [`RECEIVED_AT_MS`].
const RETENTION_MS: i64 = 60_000;

const RECEIVED_AT_MS: i64 = 1_700_000_000_000;

/// Runs every check. `open` opens the same log each time, with all that was appended before; the suite drops one log
/// before it opens the next. Call it from a plain thread, not from an async task.
///
/// # Panics
/// When the adapter breaks the contract, with what it did instead.
pub fn check_partition_log(open: &dyn Fn() -> Arc<dyn PartitionLog>) {
    let runtime = Runtime::new().expect("a runtime for the suite's appends");
    for (name, check) in checks() {
        let suite = Suite { topic: format!("contract-{name}"), open, runtime: &runtime };
        check(&suite);
    }
}

type Check = fn(&Suite<'_>);

fn checks() -> Vec<(&'static str, Check)> {
    vec![
        ("offsets", offsets_count_from_0_without_gaps),
        ("keys", a_key_goes_to_its_partition),
        ("headers", headers_and_payloads_come_back),
        ("traces", a_trace_changes_nothing_for_readers),
        ("reads", reads_are_bounded_and_in_order),
        ("ends", offsets_beyond_the_end_are_refused),
        ("unknown", unknown_topics_and_partitions_are_refused),
        ("mismatch", a_topic_keeps_its_partitions),
        ("seal", a_sealed_topic_takes_no_more_records),
        ("seal-race", whatever_was_acknowledged_lies_before_the_seal),
        ("grow", a_topic_grows_by_a_generation),
        ("wait", a_wait_ends_with_a_record_or_with_its_time),
        ("empty", an_append_of_nothing_does_nothing),
        ("once", append_once_appends_once),
        ("once-many", concurrent_duplicates_append_once),
        ("reopen", everything_is_there_after_reopening),
        ("retention", retention_drops_old_records_from_the_front),
    ]
}

struct Suite<'a> {
    topic: String,
    open: &'a dyn Fn() -> Arc<dyn PartitionLog>,
    runtime: &'a Runtime,
}

impl Suite<'_> {
    /// The log, with the check's topic in it.
    fn open(&self, partitions: u32) -> Arc<dyn PartitionLog> {
        let log = (self.open)();
        log.ensure_topic(&self.spec(partitions)).expect("a topic can be created");
        log
    }

    fn spec(&self, partitions: u32) -> TopicSpec {
        TopicSpec { name: self.topic.clone(), partitions, retention_ms: RETENTION_MS }
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    fn append(&self, log: &Arc<dyn PartitionLog>, records: Vec<NewRecord>) -> Vec<Position> {
        self.block_on(log.append(&self.topic, records)).expect("an append succeeds")
    }

    fn append_once(&self, log: &Arc<dyn PartitionLog>, key: &str, records: Vec<NewRecord>) -> Option<Vec<Position>> {
        self.block_on(log.append_once(&self.topic, key, records)).expect("an append succeeds")
    }

    fn bounds(&self, log: &Arc<dyn PartitionLog>, partition: u32) -> Range<u64> {
        log.bounds(&self.topic, partition).expect("a topic has bounds")
    }

    /// All records from `from` on, in several reads.
    fn read_all(&self, log: &Arc<dyn PartitionLog>, partition: u32, from: u64) -> Vec<Record> {
        let end = self.bounds(log, partition).end;
        let deadline = Instant::now() + DEADLINE;
        let mut records: Vec<Record> = Vec::new();
        while from + (records.len() as u64) < end {
            assert!(Instant::now() < deadline, "reading {}/{partition} makes no progress", self.topic);
            let next = from + records.len() as u64;
            records.extend(log.read(&self.topic, partition, next, 1000).expect("a kept offset can be read"));
        }
        records
    }
}

fn record(partition: u32, payload: impl Into<Bytes>) -> NewRecord {
    let header = RecordHeader {
        record_type: RecordType::ViewEvents(ContentType::Protobuf),
        received_at_ms: RECEIVED_AT_MS,
        event_count: 20,
    };
    NewRecord { route: Route::Partition(partition), header, payload: payload.into() }
}

fn numbered(partition: u32, numbers: Range<u32>) -> Vec<NewRecord> {
    numbers.map(|number| record(partition, format!("record {number}"))).collect()
}

fn texts(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| std::str::from_utf8(&record.payload).expect("the suite writes text")).collect()
}

fn assert_consecutive(records: &[Record], from: u64) {
    let offsets: Vec<_> = records.iter().map(|record| record.offset).collect();
    let expected: Vec<_> = (from..from + records.len() as u64).collect();
    assert_eq!(offsets, expected, "records have consecutive offsets");
}

fn offsets_count_from_0_without_gaps(suite: &Suite<'_>) {
    let log = suite.open(2);
    assert_eq!(suite.bounds(&log, 0), 0..0, "a new partition is empty");
    assert_eq!(log.read(&suite.topic, 0, 0, 1000).expect("the end can be read"), vec![]);

    let mixed = vec![record(0, "a"), record(1, "b"), record(0, "c")];
    let positions = suite.append(&log, mixed);
    let expected = [(0, 0), (1, 0), (0, 1)].map(|(partition, offset)| Position { partition, offset });
    assert_eq!(positions, expected, "positions come in the order of the records");
    assert_eq!(suite.append(&log, vec![record(1, "d")]), [Position { partition: 1, offset: 1 }]);

    assert_eq!(suite.bounds(&log, 0), 0..2);
    assert_eq!(suite.bounds(&log, 1), 0..2);
    assert_eq!(texts(&suite.read_all(&log, 0, 0)), ["a", "c"]);
    assert_eq!(texts(&suite.read_all(&log, 1, 0)), ["b", "d"]);

    // Appends that run at the same time get offsets of their own, each call's in its order.
    let calls = 50;
    let positions: Vec<Vec<Position>> = suite.block_on(async {
        let tasks: Vec<_> = (0..calls)
            .map(|call| {
                let (log, topic) = (Arc::clone(&log), suite.topic.clone());
                let records = numbered(0, call * 2..call * 2 + 2);
                tokio::spawn(async move { log.append(&topic, records).await.expect("an append succeeds") })
            })
            .collect();
        let mut positions = Vec::new();
        for task in tasks {
            positions.push(task.await.expect("an append does not panic"));
        }
        positions
    });
    let records = suite.read_all(&log, 0, 2);
    assert_consecutive(&records, 2);
    assert_eq!(records.len() as u32, calls * 2);
    for (call, positions) in (0..).zip(positions) {
        for (number, position) in (call * 2..).zip(positions) {
            let found = &records[position.offset as usize - 2];
            assert_eq!(found.payload, format!("record {number}"), "a record is at the position that was returned");
        }
    }
}

fn a_key_goes_to_its_partition(suite: &Suite<'_>) {
    let log = suite.open(5);
    assert_eq!(log.partitions(&suite.topic).expect("the topic is there"), 5);
    let keys: Vec<Bytes> = (0..200).map(|session| Bytes::from(format!("session-{session}"))).collect();
    let records = keys.iter().map(|key| NewRecord { route: Route::Key(key.clone()), ..record(0, key.clone()) });
    let positions = suite.append(&log, records.collect());
    for (key, position) in keys.iter().zip(&positions) {
        assert_eq!(position.partition, partition_of(key, 5), "the partition of a key is part of the contract");
    }
    let used: HashSet<u32> = positions.iter().map(|position| position.partition).collect();
    assert_eq!(used.len(), 5, "200 keys reach each of 5 partitions");
    for partition in 0..5 {
        for record in suite.read_all(&log, partition, 0) {
            assert_eq!(partition_of(&record.payload, 5), partition);
        }
    }
}

fn headers_and_payloads_come_back(suite: &Suite<'_>) {
    let log = suite.open(1);
    let types = [
        RecordType::ViewEvents(ContentType::Json),
        RecordType::ViewEvents(ContentType::Protobuf),
        RecordType::ViewEvents(ContentType::Cmcd),
        RecordType::Interactions(ContentType::Json),
        RecordType::Interactions(ContentType::Protobuf),
        RecordType::EndOfInput,
        RecordType::LiveDeltas,
        RecordType::Job,
    ];
    let payloads = [Bytes::new(), Bytes::from_static(&[0]), Bytes::from((0..=255).collect::<Vec<u8>>())];
    let big = Bytes::from(vec![b'x'; 300_000]);
    let mut written = Vec::new();
    for (index, record_type) in types.into_iter().enumerate() {
        for payload in payloads.iter().chain([&big]) {
            let event_count = [0, 20, u32::MAX][index % 3];
            let header =
                RecordHeader { record_type, received_at_ms: RECEIVED_AT_MS + written.len() as i64, event_count };
            written.push(NewRecord { header, ..record(0, payload.clone()) });
        }
    }
    suite.append(&log, written.clone());
    let read = suite.read_all(&log, 0, 0);
    assert_eq!(read.len(), written.len());
    for (offset, (read, written)) in (0..).zip(read.into_iter().zip(written)) {
        assert_eq!(read, Record { offset, header: written.header, payload: written.payload });
    }
}

fn a_trace_changes_nothing_for_readers(suite: &Suite<'_>) {
    let log = suite.open(1);
    let trace = TraceParent::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").expect("it is valid");
    let positions = suite.block_on(log.append_traced(&suite.topic, numbered(0, 0..3), trace)).expect("it is appended");
    assert_eq!(positions.iter().map(|position| position.offset).collect::<Vec<_>>(), [0, 1, 2]);
    suite.append(&log, numbered(0, 3..5));
    let appended = numbered(0, 0..5).into_iter().map(|record| (record.header, record.payload));
    let read = log.read(&suite.topic, 0, 0, 1000).expect("the log reads");
    assert_eq!(
        read.into_iter().map(|record| (record.header, record.payload)).collect::<Vec<_>>(),
        appended.collect::<Vec<_>>()
    );
}

fn reads_are_bounded_and_in_order(suite: &Suite<'_>) {
    let log = suite.open(1);
    suite.append(&log, (0..100).map(|_| record(0, vec![b'x'; 100])).collect());
    for (from, max_bytes) in [(0, 0), (0, 1), (0, 100), (0, 250), (0, 1000), (37, 3333), (99, 1000), (0, usize::MAX)] {
        let records = log.read(&suite.topic, 0, from, max_bytes).expect("a kept offset can be read");
        assert!(!records.is_empty(), "a read returns at least one record when there is one");
        assert_consecutive(&records, from);
        let before_last = (records.len() - 1) * 100;
        assert!(before_last <= max_bytes, "{} records were read for {max_bytes} bytes", records.len());
    }
    let all = log.read(&suite.topic, 0, 0, usize::MAX).expect("a kept offset can be read");
    assert_eq!(suite.read_all(&log, 0, 0), all, "several reads return what one does");
}

fn offsets_beyond_the_end_are_refused(suite: &Suite<'_>) {
    let log = suite.open(1);
    suite.append(&log, numbered(0, 0..3));
    assert_eq!(log.read(&suite.topic, 0, 3, 1000).expect("the end can be read"), vec![]);
    match log.read(&suite.topic, 0, 4, 1000) {
        Err(LogError::BeyondEnd { topic, partition: 0, offset: 4, end: 3 }) => assert_eq!(topic, suite.topic),
        other => panic!("reading beyond the end returned {other:?}"),
    }
}

fn unknown_topics_and_partitions_are_refused(suite: &Suite<'_>) {
    fn check<T: std::fmt::Debug>(what: &str, result: Result<T, LogError>) {
        let error = result.expect_err(what);
        assert!(matches!(error, LogError::UnknownTopic(_)), "{what} returned {error:?}");
    }
    let log = suite.open(1);
    let nowhere = "contract-nowhere";
    check("partitions", log.partitions(nowhere));
    check("append", suite.block_on(log.append(nowhere, numbered(0, 0..1))));
    check("append_once", suite.block_on(log.append_once(nowhere, "key", numbered(0, 0..1))));
    check("ledger_contains", log.ledger_contains(nowhere, "key"));
    check("read", log.read(nowhere, 0, 0, 1000));
    check("bounds", log.bounds(nowhere, 0));
    check("wait", log.wait(nowhere, 0, 0, Duration::ZERO));
    check("a partition that is not there", log.bounds(&suite.topic, 1));
    check("a read of it", log.read(&suite.topic, 1, 0, 1000));
    check("an append to it", suite.block_on(log.append(&suite.topic, numbered(1, 0..1))));
    assert_eq!(suite.bounds(&log, 0), 0..0, "nothing was appended");
}

/// Appends until the topic has ended; where the records are.
async fn append_until_sealed(log: Arc<dyn PartitionLog>, topic: String, number: u32) -> Vec<Position> {
    let mut positions = Vec::new();
    let deadline = Instant::now() + DEADLINE;
    loop {
        assert!(Instant::now() < deadline, "appends to {topic} go on");
        match log.append(&topic, vec![record(number % 2, format!("task {number}"))]).await {
            Ok(appended) => positions.extend(appended),
            Err(LogError::Sealed(_)) => return positions,
            Err(error) => panic!("an append to a topic that ends returned {error:?}"),
        }
    }
}

/// The offsets of the records that somebody appended.
fn appended(records: &[Record]) -> Vec<u64> {
    let is_seal = |record: &&Record| record.header.record_type == RecordType::Seal && record.header.event_count == 0;
    records.iter().filter(|record| !is_seal(record)).map(|record| record.offset).collect()
}

fn a_sealed_topic_takes_no_more_records(suite: &Suite<'_>) {
    let log = suite.open(2);
    suite.append(&log, numbered(0, 0..3));
    suite.append_once(&log, "key", numbered(0, 3..5)).expect("it is new");
    log.seal(&suite.topic).expect("a topic can be ended");
    let ends = [0, 1].map(|partition| suite.bounds(&log, partition).end);
    log.seal(&suite.topic).expect("a topic that has ended has ended");
    let check = |log: &Arc<dyn PartitionLog>| {
        for partition in [0, 1] {
            let refused = suite.block_on(log.append(&suite.topic, vec![record(partition, "late")]));
            assert!(matches!(refused, Err(LogError::Sealed(_))), "an append to a sealed topic returned {refused:?}");
            let once = suite.block_on(log.append_once(&suite.topic, "other", vec![record(partition, "late")]));
            assert!(matches!(once, Err(LogError::Sealed(_))), "an append to a sealed topic returned {once:?}");
            assert_eq!(suite.bounds(log, partition).end, ends[partition as usize], "its ends are final");
        }
        assert_eq!(appended(&suite.read_all(log, 0, 0)), [0, 1, 2, 3, 4], "what was in it can be read");
        assert!(log.ledger_contains(&suite.topic, "key").expect("the log answers"));
        assert!(!log.ledger_contains(&suite.topic, "other").expect("the log answers"));
        log.ensure_topic(&suite.spec(2)).expect("it is there");
        let longer = TopicSpec { retention_ms: 3 * RETENTION_MS, ..suite.spec(2) };
        log.ensure_topic(&longer).expect("retention may change");
    };
    check(&log);
    drop(log);
    check(&(suite.open)());
    let nowhere = (suite.open)().seal("contract-nowhere");
    assert!(matches!(nowhere, Err(LogError::UnknownTopic(_))), "it returned {nowhere:?}");
}

fn whatever_was_acknowledged_lies_before_the_seal(suite: &Suite<'_>) {
    let log = suite.open(2);
    let appending: Vec<_> = (0..8)
        .map(|number| suite.runtime.spawn(append_until_sealed(Arc::clone(&log), suite.topic.clone(), number)))
        .collect();
    while suite.bounds(&log, 0).end < 50 {
        std::thread::sleep(SHORT);
    }
    log.seal(&suite.topic).expect("a topic can be ended");
    let ends = [0, 1].map(|partition| suite.bounds(&log, partition).end);
    let mut positions = Vec::new();
    for task in appending {
        positions.extend(suite.block_on(task).expect("an append does not panic"));
    }
    for partition in [0, 1] {
        let end = ends[partition as usize];
        assert_eq!(suite.bounds(&log, partition).end, end, "its ends are final");
        let mut offsets: Vec<u64> =
            positions.iter().filter(|at| at.partition == partition).map(|at| at.offset).collect();
        offsets.sort_unstable();
        assert!(offsets.last().is_none_or(|last| *last < end), "what was acknowledged lies before the end");
        offsets.dedup();
        let appended = appended(&suite.read_all(&log, partition, 0));
        // What had no answer may be there, too.
        assert!(offsets.iter().all(|offset| appended.contains(offset)), "all that was acknowledged is there");
    }
}

/// With [`GrowingLog`] over the log.
fn a_topic_grows_by_a_generation(suite: &Suite<'_>) {
    let below = (suite.open)();
    let open = || -> Arc<GrowingLog> { Arc::new(GrowingLog::new(below.clone(), &[&suite.topic])) };
    let growing = open();
    let log: Arc<dyn PartitionLog> = growing.clone();
    log.ensure_topic(&suite.spec(2)).expect("a topic can be created");
    let keyed = |numbers: Range<u32>| -> Vec<NewRecord> {
        let record = |number| {
            let key = Bytes::from(format!("session-{number}"));
            NewRecord { route: Route::Key(key.clone()), ..record(0, key) }
        };
        numbers.map(record).collect()
    };
    suite.append(&log, keyed(0..40));
    suite.append_once(&log, "import", keyed(40..50)).expect("it is new");
    for refused in [0, 1, 3, 5] {
        let refused = growing.grow(&suite.topic, refused, RETENTION_MS);
        assert!(matches!(refused, Err(LogError::Refused { .. })), "it returned {refused:?}");
    }
    suite.append(&log, keyed(50..60)); // nothing was sealed
    let before = open();
    assert_eq!(before.partitions(&suite.topic).expect("it is there"), 2);
    let grown = growing.grow(&suite.topic, 4, RETENTION_MS).expect("it grows");
    assert_eq!((grown.generation, grown.partitions, grown.is_new), (2, 2..6, true));
    let again = growing.grow(&suite.topic, 4, RETENTION_MS).expect("it has grown");
    assert_eq!((again.generation, again.partitions, again.is_new), (2, 2..6, false));
    let ends = [0, 1].map(|partition| suite.bounds(&log, partition).end);
    for heir in 2..6 {
        let start = ends[(heir as usize) % 2];
        assert_eq!(suite.bounds(&log, heir), start..start, "a partition goes on where its parent ends");
    }
    // One who knew the topic before, and one who comes later.
    for log in [before, open()] {
        let log: Arc<dyn PartitionLog> = log;
        let positions = suite.append(&log, keyed(0..40));
        for (number, position) in positions.iter().enumerate() {
            let key = format!("session-{number}");
            assert_eq!(position.partition, 2 + partition_of(key.as_bytes(), 4), "the newest generation takes it");
            let record = &log.read(&suite.topic, position.partition, position.offset, 1).expect("it is there")[0];
            assert_eq!((record.offset, &record.payload[..]), (position.offset, key.as_bytes()));
            assert!(log.wait(&suite.topic, position.partition, position.offset, Duration::ZERO).expect("it answers"));
        }
        assert!(log.ledger_contains(&suite.topic, "import").expect("the log answers"));
        assert_eq!(suite.append_once(&log, "import", keyed(40..50)), None, "it was done in the generation before");
        let old = suite.block_on(log.append(&suite.topic, vec![record(1, "late")]));
        assert!(matches!(old, Err(LogError::Sealed(_))), "it returned {old:?}");
        match log.read(&suite.topic, 5, 0, 1) {
            Err(LogError::OffsetExpired { partition: 5, offset: 0, start, .. }) => assert_eq!(start, ends[1]),
            other => panic!("reading before the beginning returned {other:?}"),
        }
        let end = suite.bounds(&log, 5).end;
        match log.read(&suite.topic, 5, end + 1, 1) {
            Err(LogError::BeyondEnd { partition: 5, offset, end: told, .. }) => {
                assert_eq!((offset, told), (end + 1, end));
            }
            other => panic!("reading beyond the end returned {other:?}"),
        }
        log.ensure_topic(&suite.spec(2)).expect("settings may say what they said");
        log.ensure_topic(&suite.spec(4)).expect("or what there is now");
        assert_eq!(log.partitions(&suite.topic).expect("it is there"), 6);
    }
}

fn a_topic_keeps_its_partitions(suite: &Suite<'_>) {
    let log = suite.open(3);
    log.ensure_topic(&suite.spec(3)).expect("a topic can be asked for again");
    log.ensure_topic(&TopicSpec { retention_ms: 2 * RETENTION_MS, ..suite.spec(3) }).expect("retention may change");
    match log.ensure_topic(&suite.spec(4)) {
        Err(LogError::Mismatch { topic, asked: 4, found: 3 }) => assert_eq!(topic, suite.topic),
        other => panic!("asking for other partitions returned {other:?}"),
    }
    drop(log);
    let log = (suite.open)();
    assert_eq!(log.partitions(&suite.topic).expect("the topic is there after reopening"), 3);
    let again = log.ensure_topic(&suite.spec(2));
    assert!(matches!(again, Err(LogError::Mismatch { asked: 2, found: 3, .. })), "it returned {again:?}");
}

fn a_wait_ends_with_a_record_or_with_its_time(suite: &Suite<'_>) {
    let log = suite.open(2);
    let topic = suite.topic.as_str();
    let wait = |offset, timeout| log.wait(topic, 0, offset, timeout).expect("the topic is there");

    let start = Instant::now();
    assert!(!wait(0, SHORT), "nothing is there");
    assert!(start.elapsed() >= SHORT, "a wait lasts its time when nothing comes");

    suite.append(&log, numbered(0, 0..1));
    assert!(wait(0, Duration::ZERO), "a record that is there needs no waiting");
    assert!(!wait(1, Duration::ZERO), "the next one is not there");

    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| wait(2, DEADLINE));
        let start = Instant::now();
        suite.append(&log, numbered(1, 0..5));
        suite.append(&log, numbered(0, 1..2));
        std::thread::sleep(SHORT);
        assert!(!waiting.is_finished(), "records elsewhere and before the offset end no wait");
        suite.append(&log, numbered(0, 2..3));
        assert!(waiting.join().expect("a wait does not panic"), "the record came");
        assert!(start.elapsed() < DEADLINE, "a wait ends with the record");
    });
}

fn an_append_of_nothing_does_nothing(suite: &Suite<'_>) {
    let log = suite.open(1);
    assert_eq!(suite.append(&log, vec![]), []);
    assert_eq!(suite.bounds(&log, 0), 0..0);
}

fn append_once_appends_once(suite: &Suite<'_>) {
    let log = suite.open(2);
    let contains =
        |log: &Arc<dyn PartitionLog>, key| log.ledger_contains(&suite.topic, key).expect("the ledger can be read");
    assert!(!contains(&log, "chunk-1"));
    let first = vec![record(0, "a"), record(1, "b")];
    let expected = [(0, 0), (1, 0)].map(|(partition, offset)| Position { partition, offset });
    assert_eq!(suite.append_once(&log, "chunk-1", first.clone()).as_deref(), Some(expected.as_slice()));
    assert!(contains(&log, "chunk-1"));
    assert_eq!(suite.append_once(&log, "chunk-1", first.clone()), None, "the key is there");
    assert_eq!(suite.append_once(&log, "chunk-1", vec![]), None, "the key decides, not the records");
    assert_eq!(suite.append_once(&log, "chunk-0", vec![]), Some(vec![]), "a key may stand alone");
    assert!(suite.append_once(&log, "chunk-2", vec![record(0, "c")]).is_some());
    assert!(suite.append_once(&log, "chunk", vec![record(0, "d")]).is_some(), "a prefix is another key");

    // The same key in another topic is another key.
    let other = format!("{}-other", suite.topic);
    log.ensure_topic(&TopicSpec { name: other.clone(), ..suite.spec(1) }).expect("a topic can be created");
    assert!(!log.ledger_contains(&other, "chunk-1").expect("the ledger can be read"));
    let there = suite.block_on(log.append_once(&other, "chunk-1", vec![record(0, "e")]));
    assert!(there.expect("an append succeeds").is_some());

    drop(log);
    let log = suite.open(2);
    for key in ["chunk-0", "chunk-1", "chunk-2", "chunk"] {
        assert!(contains(&log, key), "the ledger lost `{key}` when the log was reopened");
        assert_eq!(suite.append_once(&log, key, first.clone()), None);
    }
    assert_eq!(texts(&suite.read_all(&log, 0, 0)), ["a", "c", "d"]);
    assert_eq!(texts(&suite.read_all(&log, 1, 0)), ["b"]);
}

fn concurrent_duplicates_append_once(suite: &Suite<'_>) {
    let log = suite.open(1);
    for round in 0..10 {
        let key = format!("key-{round}");
        let outcomes: Vec<Option<Vec<Position>>> = suite.block_on(async {
            let tasks: Vec<_> = (0..16)
                .map(|_| {
                    let (log, topic, key) = (Arc::clone(&log), suite.topic.clone(), key.clone());
                    tokio::spawn(async move { log.append_once(&topic, &key, numbered(0, 0..3)).await })
                })
                .collect();
            let mut outcomes = Vec::new();
            for task in tasks {
                outcomes.push(task.await.expect("an append does not panic").expect("an append succeeds"));
            }
            outcomes
        });
        let winners: Vec<_> = outcomes.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1, "one of the concurrent appends of one key appends");
        assert_eq!(winners[0][0].offset, round * 3);
        assert_eq!(suite.bounds(&log, 0), 0..round * 3 + 3, "the others append nothing");
    }
}

fn everything_is_there_after_reopening(suite: &Suite<'_>) {
    let mut expected = Vec::new();
    for round in 0..3 {
        let log = suite.open(2);
        assert_eq!(suite.bounds(&log, 0), 0..expected.len() as u64);
        assert_eq!(texts(&suite.read_all(&log, 0, 0)), expected);
        let records = numbered(0, round * 10..round * 10 + 10);
        expected.extend((round * 10..round * 10 + 10).map(|number| format!("record {number}")));
        let positions = suite.append(&log, records);
        assert_eq!(positions[0].offset, u64::from(round) * 10, "offsets go on where they were");
    }
    let log = suite.open(2);
    let records = suite.read_all(&log, 0, 0);
    assert_consecutive(&records, 0);
    assert_eq!(texts(&records), expected);
    assert_eq!(suite.bounds(&log, 1), 0..0, "an empty partition stays empty");
}

/// An adapter may keep more than it has to (whole segments, or it drops them later by itself), so this checks what it
/// may not do: touch records that have not expired, move the end, or serve what it has dropped.
fn retention_drops_old_records_from_the_front(suite: &Suite<'_>) {
    const RECORDS: u64 = 200;
    let log = suite.open(1);
    for _ in 0..RECORDS / 10 {
        suite.append(&log, (0..10).map(|_| record(0, vec![b'x'; 1000])).collect());
    }
    let before = suite.read_all(&log, 0, 0);
    log.enforce_retention(RECEIVED_AT_MS + RETENTION_MS).expect("retention can be enforced");
    assert_eq!(suite.bounds(&log, 0), 0..RECORDS, "records as old as the retention are kept");

    log.enforce_retention(RECEIVED_AT_MS + RETENTION_MS + 1).expect("retention can be enforced");
    let bounds = suite.bounds(&log, 0);
    assert_eq!(bounds.end, RECORDS, "retention does not move the end");
    assert_eq!(suite.read_all(&log, 0, bounds.start), before[bounds.start as usize..]);
    if bounds.start > 0 {
        match log.read(&suite.topic, 0, bounds.start - 1, 1000) {
            Err(LogError::OffsetExpired { topic, partition: 0, offset, start }) => {
                assert_eq!((topic, offset, start), (suite.topic.clone(), bounds.start - 1, bounds.start));
            }
            other => panic!("reading an expired offset returned {other:?}"),
        }
    }
    assert_eq!(suite.append(&log, numbered(0, 0..1))[0].offset, RECORDS, "offsets go on");
    drop(log);
    let log = suite.open(1);
    let after = suite.bounds(&log, 0);
    assert!(after.start >= bounds.start, "what was dropped stays dropped, but the log starts at {}", after.start);
    assert_eq!(after.end, RECORDS + 1);
}
