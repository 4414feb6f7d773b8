//! Every kind of record that cannot be used, between good ones: what is wrong goes to `dead_letters` with reason, offset,
//! place and bytes, what is good goes on, and the counts of all records are accounted for. What HTTP refuses before it
//! becomes a record is in the collector's tests.

use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::datatypes::{Int32Type, Int64Type};
use marquee_events::interactions::MAX_TIME_MS;
use marquee_events::proto::view_event::Payload;
use marquee_events::proto::{self, Context, ViewEvent, ViewEventBatch};
use marquee_events::{ContentType, MAX_EVENTS_PER_BATCH, ManualClock, to_json};
use marquee_lake::tables;
use marquee_stream::{Frozen, Job as _, Record, RecordHeader, RecordType, ShardId, ShardIo, ShardStore};
use object_store::memory::InMemory;
use prost::Message as _;

use crate::features::tests::memory_lake;
use crate::{Playback, PlaybackMode};

const NOW_MS: i64 = 1_700_000_000_000;
const TEN_MIB: usize = 10 << 20;
const JSON: RecordType = RecordType::ViewEvents(ContentType::Json);
const PROTOBUF: RecordType = RecordType::ViewEvents(ContentType::Protobuf);
const CMCD: RecordType = RecordType::ViewEvents(ContentType::Cmcd);

/// Of a record that is lost as a whole.
const WHOLE: i32 = -1;

/// A record and what has to become of it.
struct Case {
    name: &'static str,
    record_type: RecordType,
    event_count: u32,
    payload: Vec<u8>,
    /// (place in the record, reason, words of the detail), in order.
    letters: Vec<(i32, &'static str, &'static str)>,
    /// Places of the events that are rows.
    rows: Vec<i32>,
}

/// A record that is lost as a whole; a header's count is believed.
fn whole(name: &'static str, record_type: RecordType, payload: impl Into<Vec<u8>>, words: &'static str) -> Case {
    let letters = vec![(WHOLE, "undecodable", words)];
    Case { name, record_type, event_count: 3, payload: payload.into(), letters, rows: Vec::new() }
}

/// A batch whose middle event breaks a rule, in both formats.
fn one_event(
    name: &'static str,
    change: impl FnOnce(&mut ViewEvent),
    reason: &'static str,
    words: &'static str,
) -> [Case; 2] {
    let mut batch = batch(3);
    change(&mut batch.events[1]);
    let case = |record_type, payload| Case {
        name,
        record_type,
        event_count: 3,
        payload,
        letters: vec![(1, reason, words)],
        rows: vec![0, 2],
    };
    [case(PROTOBUF, batch.encode_to_vec()), case(JSON, to_json(&batch).into_bytes())]
}

fn batch(events: u64) -> ViewEventBatch {
    let event = |sequence| ViewEvent {
        sequence,
        event_time_ms: NOW_MS,
        payload: Some(Payload::Heartbeat(proto::Heartbeat::default())),
        ..Default::default()
    };
    let context = Context { session_id: "bad".to_owned(), ..Default::default() };
    ViewEventBatch { context: Some(context), events: (0..events).map(event).collect(), ..Default::default() }
}

/// A batch of one event with these members, as JSON.
fn json_event(members: &str) -> Vec<u8> {
    format!(r#"{{"context":{{"session_id":"bad"}},"events":[{{{members}}}]}}"#).into_bytes()
}

/// A field of a protobuf message: its number, wire type 2, a length below 128.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
}

fn broken_protobuf() -> Vec<Case> {
    let good = batch(3).encode_to_vec();
    let session = field(1, &field(1, b"bad"));
    let with_event = |event: &[u8]| [session.clone(), field(3, event)].concat();
    vec![
        whole("empty", PROTOBUF, "", "`context.session_id`: is missing"),
        whole("truncated", PROTOBUF, &good[..good.len() - 1], "`batch`: is truncated"),
        whole("truncated length", PROTOBUF, [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], "`batch`: is truncated"),
        whole("endless varint", PROTOBUF, [0x10; 1].into_iter().chain([0xff; 11]).collect::<Vec<_>>(), "64 bits"),
        whole("field number 0", PROTOBUF, [0x02, 0x00], "field number 0"),
        whole("unknown wire type", PROTOBUF, [0x0f, 0x00], "unknown protobuf wire type"),
        whole("a number for the context", PROTOBUF, [0x08, 0x01], "`batch`: has a field of the wrong"),
        whole("a number for the session", PROTOBUF, field(1, &[0x08, 0x01]), "`context`: has a field of the wrong"),
        whole(
            "a text for the sequence",
            PROTOBUF,
            with_event(&field(2, b"1")),
            "`events[0]`: has a field of the wrong",
        ),
        whole("a number for a payload", PROTOBUF, with_event(&[0x58, 0x01]), "`events[0]`: has a field of the wrong"),
        whole(
            "a session that is no UTF-8",
            PROTOBUF,
            field(1, &field(1, b"b\xffd")),
            "`context`: has a string that is",
        ),
        whole("an id that is no UTF-8", PROTOBUF, with_event(&field(1, b"\xc3")), "`events[0]`: has a string that is"),
        whole("a NUL", PROTOBUF, field(1, &field(1, b"b\0d")), "`context.session_id`: has a NUL"),
        whole("no events", PROTOBUF, session, "`events`: is empty"),
        whole("too many events", PROTOBUF, batch(MAX_EVENTS_PER_BATCH as u64 + 1).encode_to_vec(), "too many events"),
        whole("JSON that says it is protobuf", PROTOBUF, to_json(&batch(3)), "`batch`"),
        whole("gzip that was not unpacked", PROTOBUF, GZIP, "`batch`"),
    ]
}

/// The beginning of any gzip file.
const GZIP: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];

fn broken_json() -> Vec<Case> {
    let good = to_json(&batch(3));
    let with_session = |session_id: &str| [br#"{"context":{"session_id":""#, session_id.as_bytes(), b"\"}}"].concat();
    vec![
        whole("empty", JSON, "", "`batch`: EOF"),
        whole("truncated", JSON, &good.as_bytes()[..good.len() - 1], "EOF"),
        whole("something behind it", JSON, format!("{good}{good}"), "`batch`: has something after its end"),
        whole("another value", JSON, "null", "`batch`: invalid type"),
        whole("nothing but brackets", JSON, "[".repeat(200_000), "`batch`"),
        whole(
            "brackets that never end",
            JSON,
            json_event(&format!("\"sequence\":{}", "[".repeat(200_000))),
            "events[0]",
        ),
        whole("an unknown field", JSON, json_event(r#""sequnce":1"#), "`events[0]`: unknown field `sequnce`"),
        whole("an unknown payload", JSON, json_event(r#""pauze":{}"#), "`events[0]`: unknown field `pauze`"),
        whole("another payload's field", JSON, json_event(r#""pause":{"code":"x"}"#), "no field `code`"),
        whole("two payloads", JSON, json_event(r#""pause":{},"resume":{}"#), "a second payload `resume`"),
        whole("a text for the sequence", JSON, json_event(r#""sequence":"1""#), "`events[0].sequence`: invalid type"),
        whole("a sequence below 0", JSON, json_event(r#""sequence":-1"#), "`events[0].sequence`: invalid value"),
        whole("half a sequence", JSON, json_event(r#""sequence":1.5"#), "`events[0].sequence`: invalid type"),
        whole("a time beyond 64 bits", JSON, json_event(r#""event_time_ms":1e30"#), "`events[0].event_time_ms`"),
        whole("a number beyond any", JSON, json_event(r#""event_time_ms":1e400"#), "`events[0].event_time_ms`"),
        whole("a text for a bitrate", JSON, json_event(r#""rendition":{"bitrate_bps":"x"}"#), "rendition.bitrate_bps`"),
        whole(
            "an object for a session",
            JSON,
            r#"{"context":{"session_id":{}}}"#,
            "`context.session_id`: invalid type",
        ),
        whole("a bare NUL byte", JSON, with_session("b\0d"), "`context.session_id`: control character"),
        whole("an escaped NUL", JSON, with_session_and_event("b\0d"), "`context.session_id`: has a NUL"),
        whole("an array for a payload", JSON, json_event(r#""pause":[]"#), "`events[0].pause`: invalid type"),
        whole("an array for a rendition", JSON, json_event(r#""rendition":["r1",1000,1,2]"#), "`events[0].rendition`"),
        whole("half a surrogate", JSON, with_session(r"\ud800"), "`context.session_id`"),
        whole("no UTF-8", JSON, b"{\"context\":{\"session_id\":\"b\xffd\"}}", "`context.session_id`: invalid unicode"),
        whole("a byte-order mark", JSON, format!("\u{feff}{good}"), "`batch`"),
        whole("no events", JSON, r#"{"context":{"session_id":"bad"},"events":[]}"#, "`events`: is empty"),
        whole("too many events", JSON, to_json(&batch(MAX_EVENTS_PER_BATCH as u64 + 1)), "too many events"),
        whole("protobuf that says it is JSON", JSON, batch(3).encode_to_vec(), "`batch`"),
        whole("gzip that was not unpacked", JSON, GZIP, "`batch`"),
        whole("10 MiB for the session", JSON, with_session_and_event(&"x".repeat(TEN_MIB)), "has 10485760 bytes"),
        whole(
            "10 MiB for a number",
            JSON,
            json_event(&format!("\"sequence\":\"{}\"", "x".repeat(TEN_MIB))),
            "sequence`",
        ),
        whole("10 MiB for a name", JSON, json_event(&format!("\"{}\":1", "x".repeat(TEN_MIB))), "`events[0]`: unknown"),
    ]
}

fn with_session_and_event(session_id: &str) -> Vec<u8> {
    let mut batch = batch(1);
    batch.context.as_mut().expect("has one").session_id = session_id.to_owned();
    to_json(&batch).into_bytes()
}

fn broken_events() -> Vec<Case> {
    let state =
        |state: &str| Payload::PlayerState(proto::PlayerState { state: state.to_owned(), ..Default::default() });
    let rendition =
        |width, bitrate_bps| Payload::Rendition(proto::Rendition { width, bitrate_bps, ..proto::Rendition::default() });
    let heartbeat =
        |throughput_bps| Payload::Heartbeat(proto::Heartbeat { throughput_bps, ..proto::Heartbeat::default() });
    let error = |code: String| Payload::Error(proto::Error { code, ..proto::Error::default() });
    let rate = Payload::PlaybackRate(proto::PlaybackRate { rate_per_mille: 100_001 });
    [
        one_event("no payload", |e| e.payload = None, "unknown_payload", "no payload of a known kind"),
        one_event("a sequence of 2^32", |e| e.sequence = 1 << 32, "sequence_out_of_range", "4294967296"),
        one_event("the last sequence", |e| e.sequence = u64::MAX, "sequence_out_of_range", "18446744073709551615"),
        one_event("no time", |e| e.event_time_ms = 0, "bad_time", "event_time_ms 0 "),
        one_event("a time before 1970", |e| e.event_time_ms = -1, "bad_time", "event_time_ms -1 "),
        one_event("the first time", |e| e.event_time_ms = i64::MIN, "bad_time", "-9223372036854775808"),
        one_event("six minutes ahead", |e| e.event_time_ms += 360_000, "future_time", "360000 ms ahead"),
        one_event("the year 5138", |e| e.event_time_ms = 99_999_999_999_999, "future_time", "ahead"),
        one_event("the last time", |e| e.event_time_ms = i64::MAX, "future_time", "ahead"),
        one_event("no playhead", |e| e.media_time_ms = Some(i64::MIN), "media_time_out_of_range", "-92233720"),
        one_event("11 Gbit/s", |e| e.payload = Some(rendition(1, 11_000_000_000)), "bitrate_out_of_range", "110000"),
        one_event("a wall", |e| e.payload = Some(rendition(65_536, 1)), "picture_out_of_range", "65536"),
        one_event("all of 64 bits", |e| e.payload = Some(heartbeat(u64::MAX)), "throughput_out_of_range", "1844674"),
        one_event("100.001 ×", |e| e.payload = Some(rate), "rate_out_of_range", "100001"),
        one_event("a state", |e| e.payload = Some(state("frying")), "unknown_state", "state"),
        one_event("a NUL id", |e| e.event_id = "\0".to_owned(), "text_with_nul", "NUL"),
        one_event("a NUL code", |e| e.payload = Some(error("a\0b".to_owned())), "text_with_nul", "NUL"),
        one_event("a long id", |e| e.event_id = "x".repeat(257), "text_too_long", "event_id has 257 bytes"),
        one_event("a 10 MiB id", |e| e.event_id = "x".repeat(TEN_MIB), "text_too_long", "10485760"),
        one_event("a 10 MiB code", |e| e.payload = Some(error("x".repeat(TEN_MIB))), "text_too_long", "10485760"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn broken_cmcd() -> Vec<Case> {
    let line = |sn: u32| format!("e=t,sid=\"bad\",sn={sn},ts={NOW_MS},v=2");
    let lines = |name, wrong: &[u8], reason, words| Case {
        name,
        record_type: CMCD,
        event_count: 3,
        payload: [b"player=x\n".as_slice(), line(0).as_bytes(), b"\n", wrong, b"\n", line(1).as_bytes()].concat(),
        letters: vec![(1, reason, words)],
        rows: vec![0, 2],
    };
    let ahead = format!("e=t,sid=\"bad\",sn=5,ts={},v=2", NOW_MS + 300_001);
    vec![
        whole(
            "a context that is none",
            CMCD,
            format!("colour=red\n{}", line(0)),
            "`context`: query parameter `colour`",
        ),
        whole("a context that is no UTF-8", CMCD, b"\xff\n".to_vec(), "`context`: is no UTF-8"),
        whole("JSON that says it is CMCD", CMCD, to_json(&batch(3)), "`context`"),
        whole("gzip that was not unpacked", CMCD, GZIP, "`context`"),
        lines("rubbish", b"<html>", "cmcd_syntax", "no dictionary"),
        lines("a NUL byte", b"e=t,sid=\"b\0d\",sn=5,ts=1,v=2", "cmcd_syntax", "no dictionary"),
        lines("no UTF-8", b"e=t,sid=\"b\xffd\",sn=5,ts=1,v=2", "cmcd_syntax", "no UTF-8"),
        lines("a long line", &[b'x'; 20_000], "cmcd_line_too_long", "16384 bytes"),
        lines("no session", b"e=t,sn=5,ts=1,v=2", "cmcd_missing_key", "`sid`"),
        lines("no time", b"e=t,sid=\"bad\",sn=5,v=2", "cmcd_missing_key", "`ts`"),
        lines("an unknown key", b"e=t,sid=\"bad\",sn=5,ts=1,v=2,zz=1", "cmcd_unknown_key", "`zz`"),
        lines("an unknown event", b"e=zz,sid=\"bad\",sn=5,ts=1,v=2", "cmcd_key", "`zz`"),
        lines("a text for a number", b"e=t,sid=\"bad\",sn=\"5\",ts=1,v=2", "cmcd_key", "must be an integer"),
        lines("a time before 1970", b"e=t,sid=\"bad\",sn=5,ts=-1,v=2", "cmcd_key", "not between"),
        lines("a sequence of 2^32", b"e=t,sid=\"bad\",sn=4294967296,ts=1,v=2", "cmcd_key", "not between"),
        lines("a time of 0", b"e=t,sid=\"bad\",sn=5,ts=0,v=2", "bad_time", "not after 1970"),
        lines("five minutes ahead", ahead.as_bytes(), "future_time", "300001 ms ahead"),
    ]
}

fn foreign() -> Vec<Case> {
    let case = |name, record_type, payload: &[u8]| Case {
        name,
        record_type,
        event_count: 3,
        payload: payload.to_vec(),
        letters: vec![(WHOLE, "foreign_record", "none of this topic's")],
        rows: Vec::new(),
    };
    vec![
        case("interactions", RecordType::Interactions(ContentType::Json), b"{}"),
        case("live deltas", RecordType::LiveDeltas, b"\0"),
        case("a record of a job", RecordType::Job, b"\xff"),
    ]
}

/// A record of another session with one good event.
fn good_record(number: usize) -> Record {
    let mut batch = batch(1);
    batch.context.as_mut().expect("has one").session_id = "good".to_owned();
    batch.events[0].sequence = number as u64;
    let header = RecordHeader { record_type: PROTOBUF, received_at_ms: NOW_MS, event_count: 1 };
    Record { offset: 0, header, payload: batch.encode_to_vec().into() }
}

/// Runs records, numbered from 7 on, through a shard of their own.
fn frozen(mode: PlaybackMode, mut records: Vec<Record>) -> (Frozen, Vec<Record>) {
    for (number, record) in records.iter_mut().enumerate() {
        record.offset = 7 + number as u64;
    }
    let id = ShardId { job: "playback", topic: "playback".to_owned(), partition: 3 };
    let job = Playback::new(mode);
    let mut shard = job.start_shard(&id, None).expect("an empty shard");
    shard.process(&records).expect("bad input is no defect");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let store = ShardStore::new(Arc::new(InMemory::new()), &"state".into(), &id);
    let clock = Arc::new(ManualClock::new(NOW_MS));
    let io = ShardIo::new(id, store, memory_lake::shared(), runtime.handle().clone(), clock, job.replay_table());
    (shard.freeze(1, true, &io).expect("nothing is read"), records)
}

/// The letters as (offset, place, count of events, reason, detail, bytes).
fn letters(frozen: &Frozen) -> Vec<(i64, i32, i64, String, String, Vec<u8>)> {
    let mut letters = Vec::new();
    for (_, rows) in frozen.tables.iter().filter(|(table, _)| table.name == tables::DEAD_LETTERS.name) {
        let column = |name| rows.column_by_name(name).expect(name);
        let text = |name, row| column(name).as_string::<i32>().value(row).to_owned();
        for row in 0..rows.num_rows() {
            assert_eq!(
                (text("topic", row), text("ingest_date", row)),
                ("playback".to_owned(), "2023-11-14".to_owned())
            );
            assert_eq!(column("partition").as_primitive::<Int32Type>().value(row), 3);
            letters.push((
                column("offset").as_primitive::<Int64Type>().value(row),
                column("index").as_primitive::<Int32Type>().value(row),
                column("event_count").as_primitive::<Int64Type>().value(row),
                text("reason", row),
                text("detail", row),
                column("bytes").as_binary::<i32>().value(row).to_vec(),
            ));
        }
    }
    letters
}

/// (offset, place) of the rows in bronze.
fn rows(frozen: &Frozen) -> Vec<(i64, i32)> {
    let mut places = Vec::new();
    for (_, rows) in frozen.tables.iter().filter(|(table, _)| table.name == tables::EVENTS.name) {
        let offsets = rows.column_by_name("offset").expect("offset").as_primitive::<Int64Type>();
        let indexes = rows.column_by_name("index").expect("index").as_primitive::<Int32Type>();
        places.extend(offsets.values().iter().copied().zip(indexes.values().iter().copied()));
    }
    places.sort_unstable();
    places
}

/// All the cases go through one shard, a good record before each and behind the last.
fn check(cases: &[Case]) {
    for mode in [PlaybackMode::Live, PlaybackMode::Import] {
        let bad_record = |case: &Case| {
            let Case { record_type, event_count, .. } = *case;
            let header = RecordHeader { record_type, received_at_ms: NOW_MS, event_count };
            Record { offset: 0, header, payload: case.payload.clone().into() }
        };
        let records = cases.iter().enumerate().flat_map(|(number, case)| [good_record(number), bad_record(case)]);
        let records = records.chain([good_record(cases.len())]).collect();
        let (frozen, records) = frozen(mode, records);
        let (mut letters, mut expected_rows) = (letters(&frozen).into_iter(), Vec::new());
        for (record, number) in records.iter().zip(0..) {
            let offset = record.offset as i64;
            if number % 2 == 0 {
                expected_rows.push((offset, 0));
                continue;
            }
            let Case { name, letters: expected, rows, .. } = &cases[number / 2];
            for (place, (index, reason, words)) in expected.iter().enumerate() {
                let letter = letters.next().unwrap_or_else(|| panic!("{name}: no letter"));
                let (found_offset, found_index, event_count, found_reason, detail, bytes) = letter;
                assert_eq!((found_offset, found_index, found_reason.as_str()), (offset, *index, *reason), "{name}");
                assert_eq!(event_count, if *index == WHOLE { 3 } else { 1 }, "{name}");
                assert!(detail.contains(words) && detail.len() < 1000, "{name}: {}", &detail[..detail.len().min(2000)]);
                let is_kept = if place == 0 { bytes == record.payload } else { bytes.is_empty() };
                assert!(is_kept, "{name}: {} bytes of {}", bytes.len(), record.payload.len());
            }
            expected_rows.extend(rows.iter().map(|index| (offset, *index)));
        }
        assert_eq!(letters.next(), None);
        assert_eq!(self::rows(&frozen), expected_rows);
        let sent: u64 = records.iter().map(|record| u64::from(record.header.event_count)).sum();
        assert_eq!(frozen.events + frozen.dead_letters, sent);
    }
}

#[test]
fn records_that_are_no_protobuf() {
    check(&broken_protobuf());
}

#[test]
fn records_that_are_no_json() {
    check(&broken_json());
}

#[test]
fn events_that_break_a_rule() {
    check(&broken_events());
}

#[test]
fn records_that_are_no_cmcd() {
    check(&broken_cmcd());
}

#[test]
fn records_of_other_topics() {
    check(&foreign());
}

/// A collector's clock never says so; whoever wrote it, the job goes on and the records are there.
#[test]
fn records_that_came_at_no_time() {
    for mode in [PlaybackMode::Live, PlaybackMode::Import] {
        let record = |received_at_ms| {
            let header = RecordHeader { record_type: PROTOBUF, received_at_ms, event_count: 3 };
            Record { offset: 0, header, payload: batch(3).encode_to_vec().into() }
        };
        let bad = [i64::MIN, -1, MAX_TIME_MS + 1, i64::MAX].map(record);
        let records = [good_record(0)].into_iter().chain(bad).chain([good_record(1)]).collect();
        let (frozen, records) = frozen(mode, records);
        assert_eq!(rows(&frozen), [(7, 0), (12, 0)]);
        assert_eq!((frozen.events, frozen.dead_letters), (2, 12));
        let letters = frozen.tables.iter().find(|(table, _)| table.name == tables::DEAD_LETTERS.name);
        let (_, letters) = letters.expect("there are letters");
        let column = |name| letters.column_by_name(name).expect(name);
        let details = column("detail").as_string::<i32>();
        for (row, record) in records[1..5].iter().enumerate() {
            assert_eq!(column("reason").as_string::<i32>().value(row), "bad_time");
            let said = format!("received_at_ms {} is not between", record.header.received_at_ms);
            assert!(details.value(row).starts_with(&said), "{}", details.value(row));
            assert_eq!(column("bytes").as_binary::<i32>().value(row), record.payload);
        }
        let dates = column("ingest_date").as_string::<i32>();
        let dates: Vec<&str> = (0..4).map(|row| dates.value(row)).collect();
        assert_eq!(dates, ["1970-01-01", "1970-01-01", "9999-12-31", "9999-12-31"]);
    }
}

/// A record's bytes are kept once, however many of its events are wrong.
#[test]
fn a_record_of_wrong_events_is_kept_once() {
    let mut batch = batch(3);
    for event in &mut batch.events {
        event.event_time_ms = 0;
    }
    let letters = (0..3).map(|index| (index, "bad_time", "not after 1970")).collect();
    let payload = batch.encode_to_vec();
    let rows = Vec::new();
    check(&[Case { name: "all wrong", record_type: PROTOBUF, event_count: 3, payload, letters, rows }]);
}

/// The clock of the player is corrected by when it says that it sent: absurd times there are of the event, too.
#[test]
fn absurd_times_of_sending() {
    let case = |name, sent_at_ms, reason, words| {
        let payload = ViewEventBatch { sent_at_ms, ..batch(3) }.encode_to_vec();
        let letters = (0..3).map(|index| (index, reason, words)).collect();
        Case { name, record_type: PROTOBUF, event_count: 3, payload, letters, rows: Vec::new() }
    };
    let cases = [
        case("the first time", i64::MIN, "future_time", "ahead"),
        case("before 1970", -1, "future_time", "ahead"),
        case("the last time", i64::MAX, "bad_time", "not after 1970"),
        case("the year 5138", 99_999_999_999_999, "bad_time", "not after 1970"),
    ];
    for case in cases {
        let header = RecordHeader { record_type: PROTOBUF, received_at_ms: NOW_MS, event_count: 3 };
        let record = Record { offset: 0, header, payload: case.payload.clone().into() };
        let (live, _) = frozen(PlaybackMode::Live, vec![record.clone()]);
        assert_eq!((live.events, live.dead_letters), (0, 3), "{}", case.name);
        for ((_, index, _, reason, detail, _), expected) in letters(&live).iter().zip(&case.letters) {
            assert_eq!((*index, reason.as_str()), (expected.0, expected.1), "{}", case.name);
            assert!(detail.contains(expected.2), "{}: {detail}", case.name);
        }
        // An import's times are taken as they are.
        assert_eq!(frozen(PlaybackMode::Import, vec![record]).0.events, 3);
    }
}

/// Fields that a newer contract has are no mistake in protobuf, and control characters other than NUL are letters.
#[test]
fn what_looks_wrong_and_is_not() {
    let mut newer = batch(2).encode_to_vec();
    newer.extend([0x9a, 0x06, 3, b'n', b'e', b'w', 0x98, 0x06, 1]);
    let mut bell = batch(2);
    bell.context.as_mut().expect("has one").title_id = "a\x07b".to_owned();
    bell.events[0].event_id = "\n".to_owned();
    let good = |record_type, payload: Vec<u8>| {
        let header = RecordHeader { record_type, received_at_ms: NOW_MS, event_count: 2 };
        Record { offset: 0, header, payload: payload.into() }
    };
    let records =
        vec![good(PROTOBUF, newer), good(PROTOBUF, bell.encode_to_vec()), good(JSON, to_json(&bell).into_bytes())];
    let (frozen, _) = frozen(PlaybackMode::Live, records);
    assert_eq!((frozen.events, frozen.dead_letters), (6, 0));
    let (_, rows) = frozen.tables.iter().find(|(table, _)| table.name == tables::EVENTS.name).expect("there are rows");
    let plain =
        arrow::compute::cast(rows.column_by_name("title_id").expect("title_id"), &arrow::datatypes::DataType::Utf8);
    let titles = plain.expect("texts are texts");
    let titles = titles.as_string::<i32>().iter().filter(|title| *title == Some("a\x07b")).count();
    assert_eq!(titles, 4);
}
