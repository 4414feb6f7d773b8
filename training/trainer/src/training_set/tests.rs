//! The join against a plain loop, and the proof that the future does not leak. The files are written as the lake
//! writes them: by arrow, with the tables' own schemas.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType as ArrowType, Int64Type, Schema};
use marquee_definitions::{KnownFeatures, ProfileState, Signal, SignalKind};
use marquee_lake::{TableSpec, tables};
use parquet::arrow::ArrowWriter;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A signal of a profile: a row of `interactions` and, when it changes features, one of `profile_features`.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    profile: u8,
    title: u8,
    kind: &'static str,
    event_us: i64,
    available_us: i64,
    sequence: i64,
    watched: Option<f64>,
    has_features: bool,
    is_imported: bool,
    /// The features after it; without them, features that tell which row they are from.
    known: Option<KnownFeatures>,
}

fn row(profile: u8, title: u8, kind: &'static str, at_us: i64, sequence: i64) -> Row {
    let watched = (kind == "view_finished").then_some(0.9);
    Row {
        profile,
        title,
        kind,
        event_us: at_us,
        available_us: at_us,
        sequence,
        watched,
        has_features: true,
        is_imported: true,
        known: None,
    }
}

/// The columns of a table that are in its files, each made by `make`.
fn write(path: &Path, table: &TableSpec, rows: &[&Row], make: &dyn Fn(&str, &[&Row]) -> Option<ArrayRef>) {
    let schema = table.schema();
    let fields = schema.fields().iter().filter(|field| Some(field.name().as_str()) != table.partition_by);
    let schema = Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()));
    let columns = schema.fields().iter().map(|field| {
        make(field.name(), rows).unwrap_or_else(|| match field.data_type() {
            ArrowType::Utf8 => Arc::new(StringArray::from(vec![Some("x"); rows.len()])),
            ArrowType::Int32 => Arc::new(Int32Array::from(vec![0; rows.len()])),
            ArrowType::Int64 => Arc::new(Int64Array::from(vec![0; rows.len()])),
            ArrowType::Float64 => Arc::new(Float64Array::from(vec![None; rows.len()])),
            ArrowType::Boolean => Arc::new(BooleanArray::from(vec![true; rows.len()])),
            ArrowType::List(_) => {
                let empty = rows.iter().map(|_| Some(Vec::<Option<i64>>::new()));
                let list = ListArray::from_iter_primitive::<Int64Type, _, _>(empty);
                arrow::compute::cast(&list, field.data_type()).unwrap()
            }
            other => panic!("no value for {} of type {other}", field.name()),
        })
    });
    let batch = RecordBatch::try_new(schema.clone(), columns.collect()).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn common(name: &str, rows: &[&Row]) -> Option<ArrayRef> {
    let texts = |text: &dyn Fn(&Row) -> String| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(text(row))).collect::<StringArray>())
    };
    let times = |time: &dyn Fn(&Row) -> i64| -> ArrayRef {
        let times = rows.iter().map(|row| time(row)).collect::<Vec<_>>();
        Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))
    };
    match name {
        "profile_id" => Some(texts(&|row| format!("p-{}", row.profile))),
        "title_id" => Some(texts(&|row| format!("t-{}", row.title))),
        "type" => Some(texts(&|row| row.kind.to_owned())),
        "event_time" => Some(times(&|row| row.event_us)),
        "available_at" => Some(times(&|row| row.available_us)),
        "sequence" => Some(Arc::new(rows.iter().map(|row| row.sequence).collect::<Int64Array>())),
        "watched_fraction" => Some(Arc::new(rows.iter().map(|row| row.watched).collect::<Float64Array>())),
        "topic" => Some(texts(&|row| if row.is_imported { "interactions-import" } else { "interactions" }.to_owned())),
        "is_imported" => Some(Arc::new(rows.iter().map(|row| Some(row.is_imported)).collect::<BooleanArray>())),
        _ => None,
    }
}

fn features(name: &str, rows: &[&Row]) -> Option<ArrayRef> {
    let known: Vec<KnownFeatures> = rows
        .iter()
        .map(|row| {
            let of_row = (format!("t-{}", row.title), row.sequence);
            row.known.clone().unwrap_or(KnownFeatures { recent_titles: vec![of_row], ..KnownFeatures::default() })
        })
        .collect();
    let texts = |list: &dyn Fn(&KnownFeatures) -> Vec<String>| -> ArrayRef {
        let texts = known.iter().map(|known| list(known).join(&tables::LIST_SEPARATOR.to_string()));
        Arc::new(texts.map(|text| Some(text).filter(|text| !text.is_empty())).collect::<StringArray>())
    };
    let ints = |list: &dyn Fn(&KnownFeatures) -> Vec<i64>| -> ArrayRef {
        let lists = known.iter().map(|known| Some(list(known).into_iter().map(Some)));
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
        let kind = tables::PROFILE_FEATURES.schema().field_with_name(name).unwrap().data_type().clone();
        arrow::compute::cast(&list, &kind).unwrap()
    };
    let millionths = |affinity: f64| (affinity * 1e6).round() as i64;
    Some(match name {
        "genres" => texts(&|known| known.genre_affinity.iter().map(|(genre, _)| genre.clone()).collect()),
        "genre_affinities_millionths" => {
            ints(&|known| known.genre_affinity.iter().map(|(_, affinity)| millionths(*affinity)).collect())
        }
        "recent_titles" => texts(&|known| known.recent_titles.iter().map(|(title, _)| title.clone()).collect()),
        "recent_titles_at_ms" => ints(&|known| known.recent_titles.iter().map(|(_, at_ms)| *at_ms).collect()),
        "touched_titles" => texts(&|known| known.touched.iter().map(|touched| touched.title_id.clone()).collect()),
        "touched_first_at_ms" => ints(&|known| known.touched.iter().map(|touched| touched.first_ms).collect()),
        "touched_last_at_ms" => ints(&|known| known.touched.iter().map(|touched| touched.last_ms).collect()),
        _ => return common(name, rows),
    })
}

/// Writes each table in two files, rows in the order given.
fn lake(folder: &Path, rows: &[Row]) -> LakeFiles {
    let all: Vec<&Row> = rows.iter().collect();
    let (first, second) = all.split_at(all.len() / 2);
    let mut files = LakeFiles::default();
    for (part, rows) in [first, second].into_iter().enumerate() {
        let path = folder.join(format!("interactions[{part}].parquet"));
        write(&path, &tables::INTERACTIONS, rows, &common);
        files.interactions.push(path);
        let path = folder.join(format!("profile_features[{part}].parquet"));
        let with_features: Vec<&Row> = rows.iter().copied().filter(|row| row.has_features).collect();
        write(&path, &tables::PROFILE_FEATURES, &with_features, &features);
        files.profile_features.push(path);
    }
    files
}

/// (profile, title, available, sequence, sequence of the features row) of each example.
fn examples(set: &TrainingSet) -> Vec<(String, String, i64, i64, Option<i64>)> {
    let frame = set.frame();
    let text = |name: &str| -> Vec<String> {
        frame.column(name).unwrap().str().unwrap().iter().map(|value| value.unwrap().to_owned()).collect()
    };
    let number = |name: &str| -> Vec<Option<i64>> {
        frame.column(name).unwrap().cast(&DataType::Int64).unwrap().i64().unwrap().iter().collect()
    };
    let lists = frame.column("recent_titles_at_ms").unwrap().list().unwrap();
    let features = (0..frame.height()).map(|row| lists.get_as_series(row)?.i64().unwrap().get(0));
    assert_eq!(features.collect::<Vec<_>>(), number("imported_features_sequence"), "feature and place are of one row");
    assert!(number("live_features_sequence").iter().all(Option::is_none), "every row is imported");
    let rows = text("profile_id").into_iter().zip(text("title_id")).zip(number("available_at"));
    let rows = rows.zip(number("sequence")).zip(number("imported_features_sequence"));
    rows.map(|((((p, t), a), s), f)| (p, t, a.unwrap(), s.unwrap(), f)).collect()
}

fn build(rows: &[Row]) -> Result<TrainingSet, TrainerError> {
    let folder = tempfile::tempdir().unwrap();
    TrainingSet::build(&lake(folder.path(), rows))
}

#[test]
fn an_example_meets_the_features_just_before_it_and_never_its_own() {
    let rows = [
        row(1, 1, "view_started", 10, 0),
        row(1, 1, "view_finished", 20, 1),
        // Three at one instant: the order of arrival decides.
        row(1, 2, "view_finished", 30, 2),
        row(1, 2, "rating", 30, 3),
        row(1, 3, "view_finished", 30, 4),
        row(2, 3, "rating", 5, 5),
        row(2, 4, "click", 6, 6),
    ];
    let got: Vec<_> = examples(&build(&rows).unwrap()).into_iter().map(|(p, t, _, s, f)| (p, t, s, f)).collect();
    let expect = |p: &str, t: &str, s, f| (p.to_owned(), t.to_owned(), s, f);
    assert_eq!(
        got,
        [
            expect("p-1", "t-1", 1, Some(0)),
            expect("p-1", "t-2", 2, Some(1)),
            expect("p-1", "t-2", 3, Some(2)),
            expect("p-1", "t-3", 4, Some(3)),
            expect("p-2", "t-3", 5, None),
        ]
    );
}

#[test]
fn watches_are_in_the_order_of_the_viewer_and_each_title_once() {
    let mut late = row(1, 9, "view_finished", 15_000, 4);
    late.available_us = 99_000;
    let mut left = row(1, 8, "view_finished", 16_000, 5);
    left.watched = Some(0.05);
    let rows = [
        row(1, 1, "view_finished", 10_000, 0),
        row(1, 2, "view_finished", 20_000, 1),
        row(1, 2, "rating", 20_000, 2),
        row(1, 1, "rating", 30_000, 3),
        late,
        left,
    ];
    let watches = build(&rows).unwrap().watches().unwrap();
    let got: Vec<_> = watches.iter().map(|watch| (watch.title_id.as_str(), watch.at_ms)).collect();
    assert_eq!(got, [("t-1", 10), ("t-9", 15), ("t-2", 20)]);
    assert_eq!(watches[0].watched_fraction, Some(0.9));
}

#[test]
fn too_little_is_said() {
    for rows in [vec![], vec![row(1, 1, "click", 1, 1)]] {
        assert!(matches!(build(&rows), Err(TrainerError::TooLittle(_))));
    }
    assert!(matches!(TrainingSet::build(&LakeFiles::default()), Err(TrainerError::TooLittle(_))));
    let folder = tempfile::tempdir().unwrap();
    let missing = LakeFiles { interactions: vec![folder.path().join("gone.parquet")], ..LakeFiles::default() };
    assert!(matches!(TrainingSet::build(&missing), Err(TrainerError::TrainingSet { .. })));
}

#[test]
fn without_features_every_example_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = lake(folder.path(), &[row(1, 1, "rating", 10, 0), row(1, 2, "rating", 5, 1)]);
    let with = TrainingSet::build(&files).unwrap();
    files.profile_features.clear();
    let without = TrainingSet::build(&files).unwrap();
    assert_eq!(without.frame().schema(), with.frame().schema());
    assert_eq!(without.watches().unwrap(), with.watches().unwrap());
    assert!(examples(&without).iter().all(|(.., features)| features.is_none()));
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let kind = proptest::sample::select(vec!["view_started", "view_finished", "rating", "not_interested"]);
    // Few instants: many ties.
    vec((0..3_u8, 0..5_u8, kind, 0..12_i64, 0..4_i64, any::<bool>()), 1..40).prop_map(|rows| {
        let numbered = rows.into_iter().zip(0..);
        let row = |((profile, title, kind, at, late, has_features), sequence)| Row {
            available_us: at * 1_000 + late * 1_000,
            has_features,
            ..row(profile, title, kind, at * 1_000, sequence)
        };
        numbered.map(row).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_join_is_what_a_plain_loop_finds(rows in rows()) {
        let mut expected: Vec<_> = rows.iter().filter(|row| LABELS.contains(&row.kind)).map(|label| {
            let place = |row: &Row| (row.available_us, row.sequence);
            let before = rows.iter().filter(|row| row.has_features && row.profile == label.profile);
            let newest = before.filter(|row| place(row) < place(label)).max_by_key(|row| place(row));
            let features = newest.map(|row| row.sequence);
            let (profile, title) = (format!("p-{}", label.profile), format!("t-{}", label.title));
            (profile, title, label.available_us, label.sequence, features)
        }).collect();
        expected.sort_by(|a, b| (&a.0, a.2, a.3).cmp(&(&b.0, b.2, b.3)));
        match build(&rows) {
            Ok(set) => prop_assert_eq!(examples(&set), expected),
            Err(error) => prop_assert!(matches!(error, TrainerError::TooLittle(_)) && expected.is_empty(), "{}", error),
        }
    }

    #[test]
    fn what_comes_later_changes_nothing_before_it(rows in rows(), planted in rows()) {
        let newest = rows.iter().map(|row| row.available_us).max().unwrap_or_default();
        let offset = i64::try_from(rows.len()).unwrap();
        // Later by availability; their event times may well lie in the past.
        let later = planted.into_iter().map(|row| Row {
            available_us: newest + 1 + row.available_us,
            sequence: row.sequence + offset,
            ..row
        });
        let with_future: Vec<Row> = later.chain(rows.iter().cloned()).collect();
        let before = build(&rows).map(|set| examples(&set)).unwrap_or_default();
        let after = build(&with_future).map(|set| examples(&set)).unwrap_or_default();
        let known: Vec<_> = after.into_iter().filter(|(_, _, available, ..)| *available <= newest).collect();
        prop_assert_eq!(known, before);
    }
    /// What clients did and what was imported have features apart. The join must give what was served at the instant of
    /// each example: the merged states of both, read then.
    #[test]
    fn the_join_gives_what_was_served(steps in vec((0..2_u8, 0..30_u8, 0..4_usize, 0..90_i64, any::<bool>()), 1..60)) {
        let kinds = ["view_started", "view_finished", "rating", "not_interested"];
        let (mut rows, mut at_us) = (Vec::new(), 0);
        for ((profile, title, kind, minutes, is_imported), sequence) in steps.into_iter().zip(0..) {
            at_us += minutes * 60_000_000; // order of arrival; often the same instant
            rows.push(Row { is_imported, ..row(profile, title, kinds[kind], at_us, sequence) });
        }
        let mut parts: HashMap<(u8, bool), ProfileState> = HashMap::new();
        let mut served = HashMap::new();
        // In the order of the join: at one instant by the topics' names.
        rows.sort_by_key(|row| (row.available_us, row.is_imported, row.sequence));
        for row in &mut rows {
            let at_ms = row.available_us / 1_000;
            let known = [true, false].into_iter().filter_map(|part| parts.get(&(row.profile, part)));
            let merged = known.cloned().reduce(|mut sum, part| { sum.merge(&part); sum });
            served.insert(row.sequence, merged.map(|merged| merged.read(at_ms)));
            let state = parts.entry((row.profile, row.is_imported)).or_default();
            state.update(&Signal {
                profile_id: "",
                title_id: &format!("t-{}", row.title),
                genres: &[format!("g{}", row.title % 4), "all".to_owned()],
                kind: match row.kind {
                    "view_started" => SignalKind::ViewStarted,
                    "view_finished" => SignalKind::ViewFinished { watched_fraction: 0.9 },
                    "rating" => SignalKind::Rating { value: 4.5 },
                    _ => SignalKind::NotInterested,
                },
                event_time_ms: at_ms,
                available_ms: at_ms,
            });
            row.known = Some(KnownFeatures::of(state, at_ms));
        }
        let Ok(set) = build(&rows) else { return Ok(()) };
        let frame = set.frame();
        let text = |name: &str, row: usize| -> Vec<String> {
            let texts = frame.column(name).unwrap().str().unwrap();
            texts.get(row).into_iter().flat_map(|text| text.split('\u{1f}')).map(str::to_owned).collect()
        };
        let ints = |name: &str, row: usize| -> Vec<i64> {
            let list = frame.column(name).unwrap().list().unwrap().get_as_series(row);
            list.map(|list| list.i64().unwrap().iter().flatten().collect()).unwrap_or_default()
        };
        let sequences = frame.column("sequence").unwrap().i64().unwrap().clone();
        for (at, sequence) in sequences.iter().enumerate() {
            let served = served[&sequence.unwrap()].clone().unwrap_or_default();
            prop_assert_eq!(text("session_titles", at), served.session_titles);
            let recent: Vec<_> = text("recent_titles", at).into_iter().zip(ints("recent_titles_at_ms", at)).collect();
            let expected = served.recent_titles.into_iter().map(|watched| (watched.title_id, watched.at_ms));
            let expected: Vec<_> = expected.collect();
            prop_assert_eq!(recent, expected[expected.len().saturating_sub(20)..].to_vec());
            let genres: HashMap<_, _> =
                text("genres", at).into_iter().zip(ints("genre_affinities_millionths", at)).collect();
            prop_assert_eq!(genres.len(), served.genre_affinity.len());
            for (genre, affinity) in served.genre_affinity {
                let difference = genres[&genre] as f64 / 1e6 - affinity;
                prop_assert!(difference.abs() < 2e-6, "{}: {}", genre, difference); // three roundings to a millionth
            }
        }
    }
}
