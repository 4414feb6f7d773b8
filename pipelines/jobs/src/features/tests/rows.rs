//! What small examples become in the tables.

use std::sync::Arc;

use arrow::array::ArrayRef;
use marquee_definitions::OnlineStore as _;
use marquee_events::interactions::MAX_TIME_MS;
use marquee_events::interactions::proto::interaction::Payload;
use marquee_events::interactions::proto::{
    Click, Impression, Interaction, Rating, Search, ViewFinished, ViewProgress, ViewStarted,
};
use marquee_lake::{TableSpec, tables};
use marquee_stream::{Frozen, Record, RecordHeader, RecordType, ShardState as _};

use super::{FeaturesMode, MemoryStore, NOW_MS, batch, interaction, record, start};

/// The rows of a table as text, columns joined by a space; `-` for NULL.
fn rows(frozen: &Frozen, table: &TableSpec, columns: &[&str]) -> Vec<String> {
    let Some((_, batch)) = frozen.tables.iter().find(|(spec, _)| spec.name == table.name) else { return Vec::new() };
    let value = |array: &ArrayRef, row: usize| {
        if array.is_null(row) {
            return "-".to_owned();
        }
        let text = arrow::util::display::array_value_to_string(array, row).expect("a value");
        text.replace(tables::LIST_SEPARATOR, ",")
    };
    let arrays: Vec<&ArrayRef> = columns.iter().map(|name| batch.column_by_name(name).expect("a column")).collect();
    (0..batch.num_rows()).map(|row| arrays.iter().map(|a| value(a, row)).collect::<Vec<_>>().join(" ")).collect()
}

fn run(mode: FeaturesMode, records: &[Record]) -> Frozen {
    let mut shard = start(mode, &Arc::new(MemoryStore::default()), None);
    shard.process(records).expect("records are taken in");
    shard.end_epoch(1)
}

fn started(title_id: &str) -> Payload {
    Payload::ViewStarted(ViewStarted { title_id: title_id.into(), session_id: "s".into(), tracking_token: "k".into() })
}

fn finished(title_id: &str, session_id: &str, watched_fraction: f64) -> Payload {
    Payload::ViewFinished(ViewFinished { title_id: title_id.into(), session_id: session_id.into(), watched_fraction })
}

fn rated(title_id: &str, value: f64) -> Payload {
    Payload::Rating(Rating { title_id: title_id.into(), value })
}

#[test]
fn every_interaction_is_in_bronze_and_each_once_in_silver() {
    let impression = Payload::Impression(Impression {
        tracking_token: "k".into(),
        title_id: "a".into(),
        row_id: "top_picks".into(),
        position: 2,
    });
    let search = Payload::Search(Search { query: "heist".into() });
    let click = Payload::Click(Click { tracking_token: "k".into(), title_id: "a".into() });
    let first = batch(
        "q",
        NOW_MS,
        vec![
            interaction("1", NOW_MS - 30, impression.clone()),
            interaction("2", NOW_MS - 20, click),
            interaction("3", NOW_MS - 10, search),
            interaction("1", NOW_MS - 30, impression),
        ],
    );
    let second =
        batch("p", 0, vec![interaction("", NOW_MS, rated("a", 4.5)), interaction("", NOW_MS, rated("a", 4.5))]);
    let again = batch("q", NOW_MS, first.interactions[1..2].to_vec());
    let records = [record(7, NOW_MS, &first), record(8, NOW_MS, &second), record(9, NOW_MS + 5, &again)];
    let frozen = run(FeaturesMode::Live, &records);
    let bronze = ["offset", "index", "profile_id", "interaction_id", "type", "is_duplicate", "row_id", "position"];
    assert_eq!(
        rows(&frozen, &tables::INTERACTION_EVENTS, &bronze),
        [
            "8 0 p - rating false - -",
            "8 1 p - rating false - -",
            "7 0 q 1 impression false top_picks 2",
            "7 1 q 2 click false - -",
            "7 2 q 3 search false - -",
            "7 3 q 1 impression true top_picks 2",
            "9 0 q 2 click true - -",
        ]
    );
    let silver = ["sequence", "profile_id", "type", "title_id", "rating_value", "query", "tracking_token"];
    assert_eq!(
        rows(&frozen, &tables::INTERACTIONS, &silver),
        [
            "131072 p rating a 4.5 - -",
            "131073 p rating a 4.5 - -",
            "114689 q click a - - k",
            "114690 q search - - heist -",
        ]
    );
    let shown = ["sequence", "profile_id", "title_id", "tracking_token", "row_id", "position", "device_type"];
    assert_eq!(rows(&frozen, &tables::IMPRESSIONS, &shown), ["114688 q a k top_picks 2 tv"]);
    assert_eq!((frozen.events, frozen.dead_letters, frozen.watermark_ms), (7, 0, Some(NOW_MS - 30_000)));
}

#[test]
fn a_clients_clock_is_corrected_and_an_imports_is_not() {
    let away_ms = 3_600_000;
    let sent = batch("p", NOW_MS - away_ms, vec![interaction("", NOW_MS - away_ms - 100, rated("a", 3.0))]);
    let columns = ["event_time", "available_at", "is_imported"];
    let live = rows(&run(FeaturesMode::Live, &[record(0, NOW_MS, &sent)]), &tables::INTERACTIONS, &columns);
    assert_eq!(live, ["2023-11-14T22:13:19.900Z 2023-11-14T22:13:20Z false"]);
    let frozen = run(FeaturesMode::Import, &[record(0, NOW_MS, &sent)]);
    let imported = rows(&frozen, &tables::INTERACTIONS, &columns);
    assert_eq!(imported, ["2023-11-14T21:13:19.900Z 2023-11-14T21:13:19.900Z true"]);
    assert_eq!(frozen.watermark_ms, None);
    let raw = ["raw_event_time_ms", "clock_shift_ms"];
    let live = run(FeaturesMode::Live, &[record(0, NOW_MS, &sent)]);
    assert_eq!(rows(&live, &tables::INTERACTION_EVENTS, &raw), ["1699996399900 3600000"]);
}

#[test]
fn what_cannot_be_used_is_a_dead_letter_with_its_bytes_once() {
    let minutes = 60_000;
    let unknown = Interaction { event_time_ms: NOW_MS, ..Interaction::default() };
    let interactions = vec![
        unknown.clone(),
        interaction("1", NOW_MS + 6 * minutes, rated("a", 3.0)),
        interaction("2", NOW_MS, rated("a", 3.0)),
        unknown,
    ];
    let mixed = record(4, NOW_MS, &batch("p", 0, interactions));
    let length = mixed.payload.len();
    let header = |record_type| RecordHeader { record_type, received_at_ms: NOW_MS, event_count: 3 };
    let interactions = RecordType::Interactions(marquee_events::ContentType::Json);
    let records = [
        mixed,
        Record { offset: 5, header: header(interactions), payload: "{}".into() },
        Record { offset: 6, header: header(RecordType::Job), payload: "x".into() },
        Record { offset: 7, header: header(RecordType::EndOfInput), payload: "".into() },
    ];
    let frozen = run(FeaturesMode::Live, &records);
    let found = rows(&frozen, &tables::DEAD_LETTERS, &["offset", "index", "event_count", "reason", "bytes"]);
    let lengths: Vec<String> = found
        .iter()
        .map(|row| {
            let (row, hex) = row.rsplit_once(' ').expect("columns");
            format!("{row} {}", hex.len() / 2)
        })
        .collect();
    assert_eq!(
        lengths,
        [
            format!("4 0 1 unknown_payload {length}"),
            "4 1 1 future_time 0".to_owned(),
            "4 3 1 unknown_payload 0".to_owned(),
            "5 -1 3 undecodable 2".to_owned(),
            "6 -1 3 foreign_record 1".to_owned(),
        ]
    );
    assert_eq!((frozen.events, frozen.dead_letters), (1, 9));
}

/// A collector's clock never says so; whoever wrote it, the job goes on and the records are there.
#[test]
fn a_record_that_came_at_no_time_is_a_dead_letter() {
    let sent = batch("p", NOW_MS, vec![interaction("1", NOW_MS, rated("a", 3.0)); 2]);
    let received = [i64::MIN, -1, MAX_TIME_MS + 1, i64::MAX, MAX_TIME_MS];
    let records: Vec<Record> = received.iter().zip(0..).map(|(ms, offset)| record(offset, *ms, &sent)).collect();
    for mode in [FeaturesMode::Live, FeaturesMode::Import] {
        let frozen = run(mode, &records);
        let letters = rows(&frozen, &tables::DEAD_LETTERS, &["offset", "index", "event_count", "reason"]);
        assert_eq!(letters, ["0 -1 2 bad_time", "1 -1 2 bad_time", "2 -1 2 bad_time", "3 -1 2 bad_time"]);
        let taken = rows(&frozen, &tables::INTERACTION_EVENTS, &["offset", "index", "is_duplicate"]);
        assert_eq!(taken, ["4 0 false", "4 1 true"]);
    }
}

/// Another collector's clock is a day ahead; whether an epoch ends in between changes nothing.
#[test]
fn an_id_is_known_or_forgotten_wherever_epochs_end() {
    let hour_ms = 3_600_000;
    let sent = |profile_id| batch(profile_id, 0, vec![interaction("1", NOW_MS, rated("a", 3.0))]);
    let records = [
        record(0, NOW_MS, &sent("p")),
        record(1, NOW_MS + 25 * hour_ms, &sent("q")),
        record(2, NOW_MS + hour_ms, &sent("p")),
        record(3, NOW_MS + 2 * hour_ms, &sent("p")),
    ];
    let duplicates = |cuts: &[usize]| {
        let mut shard = start(FeaturesMode::Live, &Arc::new(MemoryStore::default()), None);
        let (mut found, mut epoch) = (Vec::new(), 0);
        for (number, record) in records.iter().enumerate() {
            shard.process(std::slice::from_ref(record)).expect("records are taken in");
            if cuts.contains(&number) || number + 1 == records.len() {
                epoch += 1;
                let frozen = shard.end_epoch(epoch);
                found.extend(rows(&frozen, &tables::INTERACTION_EVENTS, &["offset", "is_duplicate"]));
            }
        }
        found.sort();
        found
    };
    let in_one = duplicates(&[]);
    assert_eq!(in_one, ["0 false", "1 false", "2 false", "3 true"]);
    for cuts in [[0, 1], [1, 2], [0, 2]] {
        assert_eq!(duplicates(&cuts), in_one, "{cuts:?}");
    }
}

/// The epoch ends early when its rows take much memory, so all of their texts count.
#[test]
fn texts_of_pending_rows_count() {
    let text = "x".repeat(1_000);
    let pending = |payload: Payload| {
        let mut shard = start(FeaturesMode::Live, &Arc::new(MemoryStore::default()), None);
        let sent = batch("p", NOW_MS, vec![interaction("", NOW_MS, payload)]);
        shard.process(&[record(0, NOW_MS, &sent)]).expect("a record is taken in");
        shard.pending_bytes()
    };
    assert!(pending(Payload::Search(Search { query: text.clone() })) >= 1_000);
    let progress = |session_id: &str| {
        let (title_id, session_id) = ("t".into(), session_id.into());
        pending(Payload::ViewProgress(ViewProgress { title_id, session_id, watched_fraction: 0.5 }))
    };
    assert_eq!(progress(&text[..200]) - progress(""), 200);
    let shown = |row_id: &str| {
        let (tracking_token, title_id, row_id) = ("k".into(), "t".into(), row_id.into());
        pending(Payload::Impression(Impression { tracking_token, title_id, row_id, position: 0 }))
    };
    assert_eq!(shown(&text[..200]) - shown("x"), 199);
}

#[test]
fn a_row_of_features_knows_its_signal_and_none_after_it() {
    let progress =
        Payload::ViewProgress(ViewProgress { title_id: "bb".into(), session_id: "s".into(), watched_fraction: 0.5 });
    let interactions = vec![
        interaction("1", NOW_MS, finished("a", "", 1.0)),
        interaction("2", NOW_MS, rated("a", 5.0)),
        interaction("3", NOW_MS + 10, started("bb")),
        interaction("4", NOW_MS + 20, progress),
        interaction("5", NOW_MS + 30, finished("bb", "s", 0.4)),
    ];
    let frozen = run(FeaturesMode::Import, &[record(3, NOW_MS + 60_000, &batch("p", 0, interactions))]);
    let columns = [
        "sequence",
        "type",
        "title_id",
        "watched_fraction",
        "rating_value",
        "genres",
        "genre_affinities_millionths",
        "recent_titles",
        "session_titles",
        "seen_titles",
    ];
    // Titles `a` and `bb` have genres 1 and 2, and both have `any`.
    assert_eq!(
        rows(&frozen, &tables::PROFILE_FEATURES, &columns),
        [
            "49152 view_finished a 1.0 - any,genre 1 [500000, 500000] a a 1",
            "49153 rating a - 5.0 any,genre 1 [1000000, 1000000] a a 1",
            "49154 view_started bb - - any,genre 1,genre 2 [1125000, 1000000, 125000] a,bb a,bb 1",
            "49156 view_finished bb 0.4 - any,genre 1,genre 2 [1275000, 1000000, 275000] a,bb a,bb 1",
        ]
    );
    let titles = ["title_id", "views", "views_1h", "watched_sum", "watched_count"];
    let found: Vec<String> =
        rows(&frozen, &tables::TITLE_FEATURES, &titles).iter().map(|row| row.replace("0.4000000", "0.4")).collect();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0], "a 1.0 1.0 1.0 1");
    assert!(found[1].starts_with("bb 1.0 1.0 0.4") && found[1].ends_with(" 1"), "{found:?}");
    let together = rows(&frozen, &tables::CO_WATCH, &["title_id", "neighbour_id", "rank"]);
    assert_eq!(together, ["a bb 0", "bb a 0"]);
}

#[test]
fn what_the_online_store_missed_it_gets_later() {
    let store = Arc::new(MemoryStore::default());
    let mut shard = start(FeaturesMode::Live, &store, None);
    store.close(true);
    let profiles: Vec<String> = (0..1_200).map(|number| format!("p{number:04}")).collect();
    let records: Vec<Record> = profiles
        .iter()
        .enumerate()
        .map(|(offset, profile_id)| {
            record(offset as u64, NOW_MS, &batch(profile_id, 0, vec![interaction("", NOW_MS, started("a"))]))
        })
        .collect();
    shard.process(&records).expect("the job goes on without the store");
    assert_eq!((store.version(), shard.owed_count()), (0, 1_201));
    store.close(false);
    assert_eq!(shard.live(1), None);
    assert_eq!((store.version(), shard.owed_count()), (3, 0));
    assert_eq!(store.part("features/interactions/0").profiles.into_keys().collect::<Vec<_>>(), profiles);
}
