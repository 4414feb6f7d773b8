//! A shard of the playback job that gets records good and bad in turn: every event is a row or a dead letter, and the
//! good ones are rows.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use marquee_events::proto::view_event::Payload;
use marquee_events::proto::{Context, Heartbeat, ViewEvent, ViewEventBatch};
use marquee_events::{ContentType, ManualClock};
use marquee_jobs::{LiveRecord, Playback, PlaybackMode};
use marquee_lake::TableSpec;
use marquee_stream::{Frozen, Job as _, Kept, Record, RecordHeader, RecordType, ShardId, ShardIo, ShardStore};
use object_store::memory::InMemory;
use prost::Message as _;
use tokio::runtime::Runtime;

use crate::memory_lake::MemoryLake;
use crate::records::{START_MS, records};

/// Runs the records of `data` through a shard, a good record before each of them and behind the last.
pub fn check_accounting(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    let mode = if mode % 2 == 0 { PlaybackMode::Live } else { PlaybackMode::Import };
    let bad = records(data);
    let mut records = Vec::new();
    for (number, record) in bad.into_iter().enumerate() {
        records.push(good_record(number, record.header.received_at_ms));
        records.push(record);
    }
    let received_at_ms = records.last().map_or(START_MS, |record: &Record| record.header.received_at_ms);
    records.push(good_record(records.len() / 2, received_at_ms));
    for (offset, record) in records.iter_mut().enumerate() {
        record.offset = offset as u64;
    }

    let id = ShardId { job: "playback", topic: "playback".to_owned(), partition: 0 };
    let job = Playback::new(mode);
    let mut shard = job.start_shard(&id, None).expect("an empty shard");
    // The first half in one call, the others one by one.
    let (together, single) = records.split_at(records.len() / 2);
    shard.process(together).expect("bad input is no defect");
    for record in single {
        shard.process(std::slice::from_ref(record)).expect("bad input is no defect");
        shard.pending_bytes();
    }
    let live = shard.live(1).map(|bytes| LiveRecord::from_bytes(&bytes).expect("our own"));
    let (io, store) = shard_io(&job, &id, received_at_ms);
    let frozen = shard.freeze(1, true, &io).expect("nothing is read");
    assert!(live.is_none() || frozen.live.is_some());
    check_events(&records, &frozen);

    for (name, bytes) in frozen.new_segments {
        runtime().block_on(store.write_segment(&name, bytes)).expect("memory takes it");
    }
    let kept = Kept { snapshot: &frozen.snapshot, io: &io, fork: None };
    let mut restored = job.start_shard(&id, Some(kept)).expect("what was kept is read again");
    restored.process(&[good_record(records.len(), received_at_ms)]).expect("good input");
    let frozen = restored.freeze(2, true, &io);
    // A re-fold asks for rows of epoch 1, which nobody has written here.
    if let Ok(frozen) = frozen {
        assert_eq!((frozen.events, frozen.dead_letters), (1, 0));
    }
}

fn check_events(records: &[Record], frozen: &Frozen) {
    let sent: u64 = records.iter().map(|record| u64::from(record.header.event_count)).sum();
    assert_eq!(frozen.events + frozen.dead_letters, sent, "events are lost or counted twice");
    let rows = places(frozen, "events");
    assert_eq!(rows.len() as u64, frozen.events, "a place twice in bronze");
    for (offset, record) in records.iter().enumerate().step_by(2) {
        assert!(rows.contains(&(offset as i64, 0)), "a good record is not taken: {:?}", record.header);
    }
    for (offset, index) in places(frozen, "dead_letters") {
        assert!(index == -1 || !rows.contains(&(offset, index)), "both a row and a dead letter");
        assert!(offset % 2 == 1, "a good record is a dead letter");
    }
}

/// (offset, index) of a table's rows.
fn places(frozen: &Frozen, table: &str) -> BTreeSet<(i64, i64)> {
    let of_table = frozen.tables.iter().filter(|(spec, _): &&(&TableSpec, RecordBatch)| spec.name == table);
    let of_rows = of_table.flat_map(|(_, rows)| {
        let column = |name| rows.column_by_name(name).expect("both tables have it");
        let offsets = column("offset").as_primitive::<Int64Type>();
        let indexes = column("index").as_primitive::<arrow::datatypes::Int32Type>();
        offsets.values().iter().zip(indexes.values()).map(|(offset, index)| (*offset, i64::from(*index)))
    });
    of_rows.collect()
}

/// A record with one event that breaks no rule, of a session that is known to all good ones.
fn good_record(number: usize, received_at_ms: i64) -> Record {
    let batch = ViewEventBatch {
        context: Some(Context { session_id: "good".to_owned(), ..Context::default() }),
        events: vec![ViewEvent {
            sequence: number as u64,
            event_time_ms: received_at_ms,
            payload: Some(Payload::Heartbeat(Heartbeat::default())),
            ..ViewEvent::default()
        }],
        ..ViewEventBatch::default()
    };
    let record_type = RecordType::ViewEvents(ContentType::Protobuf);
    let header = RecordHeader { record_type, received_at_ms, event_count: 1 };
    Record { offset: 0, header, payload: batch.encode_to_vec().into() }
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime"))
}

fn shard_io(job: &Playback, id: &ShardId, now_ms: i64) -> (ShardIo, ShardStore) {
    let store = ShardStore::new(Arc::new(InMemory::new()), &"state".into(), id);
    let (lake, clock) = (Arc::new(MemoryLake::default()), Arc::new(ManualClock::new(now_ms)));
    let handle = runtime().handle().clone();
    (ShardIo::new(id.clone(), store.clone(), lake, handle, clock, job.replay_table()), store)
}
