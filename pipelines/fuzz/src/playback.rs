//! A shard of the playback job that gets records good and bad in turn: every event is a row or a dead letter, and the
//! good ones are rows.

use marquee_events::ContentType;
use marquee_events::proto::view_event::Payload;
use marquee_events::proto::{Context, Heartbeat, ViewEvent, ViewEventBatch};
use marquee_jobs::{LiveRecord, Playback, PlaybackMode};
use marquee_stream::{Frozen, Job as _, Kept, Record, RecordHeader, RecordType, ShardId};
use prost::Message as _;

use crate::records::{DAY_MS, PLAYBACK, START_MS, records};
use crate::shards::{places, runtime, shard_io};

/// Runs the records of `data` through a shard, a good record before each of them and behind the last.
pub fn check_playback(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    let mode = if mode % 2 == 0 { PlaybackMode::Live } else { PlaybackMode::Import };
    let bad = records(PLAYBACK, data);
    let (mut records, mut received_at_ms) = (Vec::new(), START_MS);
    for (number, record) in bad.into_iter().enumerate() {
        if (START_MS..START_MS + DAY_MS).contains(&record.header.received_at_ms) {
            received_at_ms = record.header.received_at_ms;
        }
        records.push(good_record(number, received_at_ms));
        records.push(record);
    }
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
    assert_eq!(rows.len() as u64, frozen.events);
    for (offset, record) in records.iter().enumerate().step_by(2) {
        assert!(rows.contains_key(&(offset as i64, 0)), "a good record is not taken: {:?}", record.header);
    }
    for (offset, index) in places(frozen, "dead_letters").into_keys() {
        assert!(index == -1 || !rows.contains_key(&(offset, index)), "both a row and a dead letter");
        assert!(offset % 2 == 1, "a good record is a dead letter");
    }
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
