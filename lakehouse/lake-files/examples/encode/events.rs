//! Rows as the playback job makes them at the end of an epoch: sorted by session, texts as numbers into one table, most
//! columns NULL but for one kind of event.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Int32Array, Int64Array, StringArray, StringViewArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Int32Type, Schema};
use arrow::record_batch::RecordBatch;
use marquee_lake::tables::EVENTS;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

/// What players send as event ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// Nothing.
    None,
    /// Session and sequence.
    Counted,
    /// UUIDs.
    Random,
}

const START_MS: i64 = 1_785_000_000_000;
const MOST_ROWS_A_SESSION: usize = 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    PlayRequested,
    FirstFrame,
    Rendition,
    RebufferStart,
    RebufferEnd,
    Heartbeat,
    SessionEnd,
}

const KIND_NAMES: [&str; 7] =
    ["play_requested", "first_frame", "rendition", "rebuffer_start", "rebuffer_end", "heartbeat", "session_end"];

struct Row {
    session: usize,
    offset: i64,
    index: i32,
    sequence: i64,
    time_ms: i64,
    received_at_ms: i64,
    kind: Kind,
    numbers: [i64; 4],
    id: String,
}

/// Texts by number; 0 is the empty one.
struct Symbols(Vec<String>);

impl Symbols {
    fn number(&mut self, text: &str) -> i32 {
        if let Some(number) = self.0.iter().position(|known| known == text) {
            return number as i32;
        }
        self.add(text.to_owned())
    }

    fn add(&mut self, text: String) -> i32 {
        self.0.push(text);
        self.0.len() as i32 - 1
    }
}

/// Rows of `events`.
pub fn batch(rows: usize, ids: Ids) -> RecordBatch {
    let mut rng = SmallRng::seed_from_u64(7);
    let rows = make_rows(rows, ids, &mut rng);
    let sessions = rows.last().map_or(0, |row| row.session) + 1;
    let mut symbols = Symbols(vec![String::new()]);
    let few: Vec<Vec<i32>> = [
        ("device", 6),
        ("os", 5),
        ("player", 1),
        ("1.0.", 1),
        ("7.4.", 3),
        ("C", 8),
        ("R", 12),
        ("isp", 9),
        ("cdn", 3),
        ("dash", 1),
    ]
    .into_iter()
    .map(|(name, count)| (0..count).map(|n| symbols.number(&format!("{name}{n}"))).collect())
    .collect();
    let representations: Vec<i32> = (1..=5).map(|rung| symbols.number(&format!("v{rung}"))).collect();
    let (codec, ended, instance) = (symbols.number("avc1"), symbols.number("ended"), symbols.number("0"));
    let profiles: Vec<i32> =
        (0..sessions.div_ceil(2)).map(|n| symbols.add(format!("p{:06}", n * 7_919 % 100_000))).collect();
    let titles: Vec<i32> = (0..sessions.min(5_000)).map(|n| symbols.add(format!("t{:05}", n * 31 % 5_000))).collect();
    let contexts: Vec<Vec<i32>> = (0..sessions)
        .map(|session| {
            let id = format!(
                "{session:08x}-{:04x}-4{:03x}-{:016x}",
                rng.random::<u16>(),
                session & 0xfff,
                rng.random::<u64>()
            );
            let mut context = vec![symbols.add(id), instance];
            context.push(profiles[rng.random_range(0..profiles.len())]);
            context.push(titles[rng.random_range(0..titles.len())]);
            context.extend(few.iter().map(|values| values[rng.random_range(0..values.len())]));
            context
        })
        .collect();
    let values: ArrayRef = Arc::new(StringArray::from_iter_values(&symbols.0));
    let text = |key: &dyn Fn(&Row) -> Option<i32>| -> ArrayRef {
        Arc::new(DictionaryArray::<Int32Type>::new(rows.iter().map(key).collect(), Arc::clone(&values)))
    };
    let constant = |value: &str| -> ArrayRef {
        let keys = Int32Array::from(vec![0; rows.len()]);
        Arc::new(DictionaryArray::<Int32Type>::new(keys, Arc::new(StringArray::from(vec![value]))))
    };
    let kinds: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::new(
        rows.iter().map(|row| Some(row.kind as i32)).collect(),
        Arc::new(StringArray::from(KIND_NAMES.to_vec())),
    ));
    let required = |value: &dyn Fn(&Row) -> i64| -> ArrayRef {
        Arc::new(rows.iter().map(|r| Some(value(r))).collect::<Int64Array>())
    };
    let optional =
        |value: &dyn Fn(&Row) -> Option<i64>| -> ArrayRef { Arc::new(rows.iter().map(value).collect::<Int64Array>()) };
    let small = |value: &dyn Fn(&Row) -> Option<i64>| -> ArrayRef {
        Arc::new(rows.iter().map(|r| value(r).map(|n| n as i32)).collect::<Int32Array>())
    };
    let flag = |value: &dyn Fn(&Row) -> Option<bool>| -> ArrayRef {
        Arc::new(rows.iter().map(value).collect::<BooleanArray>())
    };
    let instant = |value: &dyn Fn(&Row) -> i64| -> ArrayRef {
        let values = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| value(r) * 1_000));
        Arc::new(values.with_timezone("UTC"))
    };
    let of = |kind: Kind, place: usize| move |row: &Row| (row.kind == kind).then_some(row.numbers[place]);
    let rung = |row: &Row| (row.kind == Kind::Rendition).then_some(row.numbers[0]);
    let context = |name: &str, row: &Row| {
        const NAMES: [&str; 14] = [
            "session_id",
            "player_instance",
            "profile_id",
            "title_id",
            "device_type",
            "os",
            "player",
            "player_version",
            "app_version",
            "country",
            "region",
            "isp",
            "cdn",
            "protocol",
        ];
        NAMES.iter().position(|known| *known == name).map(|place| contexts[row.session][place])
    };
    let column = |name: &str| -> ArrayRef {
        match name {
            "ingest_date" => constant("2026-07-25"),
            "topic" => constant("playback"),
            "partition" => small(&|_| Some(3)),
            "offset" => required(&|r| r.offset),
            "index" => small(&|r| Some(r.index.into())),
            "sequence" => required(&|r| r.sequence),
            "event_id" => {
                let ids = rows.iter().map(|r| Some(r.id.as_str()).filter(|id| !id.is_empty()));
                Arc::new(ids.collect::<StringViewArray>())
            }
            "type" => Arc::clone(&kinds),
            "event_time" => instant(&|r| r.time_ms),
            "raw_event_time_ms" => required(&|r| r.time_ms),
            "clock_shift_ms" => required(&|_| 0),
            "received_at" => instant(&|r| r.received_at_ms),
            "sent_at_ms" => optional(&|r| Some(r.received_at_ms - 40)),
            "is_late" => flag(&|_| Some(false)),
            "media_time_ms" => optional(&|r| Some((r.sequence * 2_000 - 800).max(0))),
            "representation_id" => text(&|r| rung(r).map(|n| representations[n as usize - 1])),
            "rendition_codec" => text(&|r| rung(r).map(|_| codec)),
            "bitrate_bps" => optional(&|r| rung(r).map(|n| n * 1_200_000).or(of(Kind::Heartbeat, 3)(r))),
            "width_px" => small(&|r| rung(r).map(|n| n * 384)),
            "height_px" => small(&|r| rung(r).map(|n| n * 216)),
            "buffer_ms" => optional(&of(Kind::Heartbeat, 0)),
            "throughput_bps" => optional(&of(Kind::Heartbeat, 1)),
            "dropped_frames" => optional(&of(Kind::Heartbeat, 2)),
            "detail" => text(&|r| (r.kind == Kind::SessionEnd).then_some(ended)),
            "autoplay" => flag(&|r| (r.kind == Kind::PlayRequested).then_some(false)),
            "fatal" | "business" => flag(&|_| None),
            "rate_per_mille" => small(&|_| None),
            other => text(&|r| context(other, r)),
        }
    };
    let columns: Vec<ArrayRef> = EVENTS.columns.iter().map(|spec| column(spec.name)).collect();
    let fields = EVENTS.columns.iter().zip(&columns);
    let fields: Vec<Field> =
        fields.map(|(spec, array)| Field::new(spec.name, array.data_type().clone(), spec.nullable)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("the columns are those of the table")
}

fn make_rows(count: usize, ids: Ids, rng: &mut SmallRng) -> Vec<Row> {
    let mut rows = Vec::with_capacity(count);
    let mut session = 0;
    while rows.len() < count {
        let length = rng.random_range(1..=MOST_ROWS_A_SESSION).min(count - rows.len());
        // Most sessions go on over many epochs.
        let first = if rng.random_bool(0.2) { 0 } else { rng.random_range(20..2_000) };
        let started_ms = START_MS + rng.random_range(0..30_000) - first * 2_000;
        let offset = rng.random_range(1_000_000..=1_000_000 + count as i64 / 10);
        let received_at_ms = started_ms + (first + length as i64) * 2_000 + rng.random_range(20..90);
        for index in 0..length {
            let sequence = first + index as i64;
            let kind = match sequence {
                0 => Kind::PlayRequested,
                1 => Kind::FirstFrame,
                _ if index == 19 => Kind::SessionEnd,
                _ => match sequence % 20 {
                    7 => Kind::RebufferStart,
                    8 => Kind::RebufferEnd,
                    2 | 12 => Kind::Rendition,
                    _ => Kind::Heartbeat,
                },
            };
            let numbers = match kind {
                Kind::Rendition => [rng.random_range(1..=5), 0, 0, 0],
                Kind::Heartbeat => {
                    let (buffer_ms, throughput_bps) =
                        (rng.random_range(1_000..30_000), rng.random_range(2_000_000..20_000_000));
                    [buffer_ms, throughput_bps, rng.random_range(0..3), 0]
                }
                _ => [0; 4],
            };
            let id = match ids {
                Ids::None => String::new(),
                Ids::Counted => format!("{session:x}-{sequence}"),
                Ids::Random => {
                    let (high, low): (u64, u64) = (rng.random(), rng.random());
                    format!(
                        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
                        high >> 32,
                        (high >> 16) & 0xffff,
                        high & 0xfff,
                        low >> 48,
                        low & 0xffff_ffff_ffff
                    )
                }
            };
            let time_ms = started_ms + sequence * 2_000;
            rows.push(Row {
                session,
                offset,
                index: index as i32,
                sequence,
                time_ms,
                received_at_ms,
                kind,
                numbers,
                id,
            });
        }
        session += 1;
    }
    rows
}
