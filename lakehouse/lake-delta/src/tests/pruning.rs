//! Statistics decide which files a query opens: a filtered query has to find what a filter in memory finds.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, Int32Array, Int64Array, StringArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use marquee_lake::{EpochCommit as _, tables::EVENTS};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{TestError, TestRunner};

use super::{NOW_MS, TestLake, epoch, ints, rows_of, timestamps};

/// A row: `offset`, `media_time_ms`, `width_px`, `event_time`, `title_id`.
type Row = (i64, Option<i64>, Option<i32>, i64, Option<String>);

fn int() -> impl Strategy<Value = i64> {
    prop_oneof![-5..5_i64, any::<i64>(), Just(i64::MIN), Just(i64::MAX)]
}

/// Microseconds around the epoch, in our years, and where no ISO date can say them.
fn time_us() -> impl Strategy<Value = i64> {
    prop_oneof![
        -2_500..2_500_i64,
        1_784_999_999_998_000..1_785_000_000_002_000_i64,
        -62_135_596_800_002_000..-62_135_596_799_998_000_i64,
        253_402_300_799_990_000..253_402_300_800_002_000_i64
    ]
}

fn text() -> impl Strategy<Value = String> {
    let end = select(vec!["", "a", "b", "z", "ä", "€", "😀", "\u{d7ff}", "\u{e000}", "\u{ffff}", "\u{10ffff}", "'"]);
    let repeat = prop_oneof![Just(0_usize), Just(1), 30..34_usize, Just(70)];
    (end.clone(), repeat, end).prop_map(|(a, times, b)| format!("{}{b}", a.repeat(times)))
}

fn row() -> impl Strategy<Value = Row> {
    let int32 = prop_oneof![any::<i32>(), -3..3_i32];
    (int(), proptest::option::of(int()), proptest::option::of(int32), time_us(), proptest::option::of(text()))
}

#[derive(Debug, Clone)]
struct Case {
    files: Vec<Vec<Row>>,
    ints: Vec<i64>,
    times_us: Vec<i64>,
    texts: Vec<String>,
}

fn case() -> impl Strategy<Value = Case> {
    // Files have few rows, so that their bounds differ; probes are values of the rows and their neighbours.
    let files = proptest::collection::vec(proptest::collection::vec(row(), 1..4), 1..6);
    let probes = (
        proptest::collection::vec(int(), 3),
        proptest::collection::vec(time_us(), 3),
        proptest::collection::vec(text(), 3),
    );
    (files, probes).prop_map(|(files, (mut ints, mut times_us, mut texts))| {
        for row in files.iter().flatten() {
            ints.push(row.0);
            times_us.extend([row.3 - 1, row.3]);
            texts.extend(row.4.clone());
        }
        Case { files, ints, times_us, texts }
    })
}

async fn fill(test: &TestLake, files: &[Vec<Row>], round: u64) {
    let mut all = Vec::new();
    for (number, rows) in files.iter().enumerate() {
        let given: Vec<(&str, ArrayRef)> = vec![
            ("offset", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)))),
            ("media_time_ms", Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>())),
            ("width_px", Arc::new(rows.iter().map(|row| row.2).collect::<Int32Array>())),
            ("event_time", timestamps(rows.iter().map(|row| Some(row.3)).collect())),
            ("title_id", Arc::new(rows.iter().map(|row| row.4.as_ref()).collect::<StringArray>())),
            ("partition", Arc::new(Int32Array::from(vec![round as i32; rows.len()]))),
        ];
        let name = format!("round{round}-{number}");
        all.extend(test.lake.write(&EVENTS, &name, &rows_of(&EVENTS, rows.len(), &given), NOW_MS).await.unwrap());
    }
    let prev = round.checked_sub(1).filter(|prev| *prev > 0);
    test.lake.commit(&EVENTS, &[epoch("s", round, prev, all)]).await.unwrap();
}

/// Runs every filter and compares; says the first that differs.
async fn differs(test: &TestLake, case: &Case, round: u64) -> Option<String> {
    let rows: Vec<&Row> = case.files.iter().flatten().collect();
    let mut checks: Vec<(String, usize)> = Vec::new();
    for probe in &case.ints {
        for (op, holds) in operators::<i64>() {
            let matching = rows.iter().filter(|row| holds(&row.0, probe)).count();
            checks.push((format!("offset {op} {}", literal(*probe)), matching));
            let matching = rows.iter().filter(|row| row.1.is_some_and(|value| holds(&value, probe))).count();
            checks.push((format!("media_time_ms {op} {}", literal(*probe)), matching));
            let matching = rows.iter().filter(|row| row.2.is_some_and(|value| holds(&value.into(), probe))).count();
            checks.push((format!("width_px {op} {}", literal(*probe)), matching));
        }
    }
    for probe in &case.times_us {
        for (op, holds) in operators::<i64>() {
            let matching = rows.iter().filter(|row| holds(&row.3, probe)).count();
            checks.push((
                format!("event_time {op} arrow_cast({}, 'Timestamp(Microsecond, Some(\"UTC\"))')", literal(*probe)),
                matching,
            ));
        }
    }
    for probe in &case.texts {
        for (op, holds) in operators::<String>() {
            let matching = rows.iter().filter(|row| row.4.as_ref().is_some_and(|value| holds(value, probe))).count();
            checks.push((format!("title_id {op} '{}'", probe.replace('\'', "''")), matching));
        }
    }
    checks.push(("title_id IS NULL".to_owned(), rows.iter().filter(|row| row.4.is_none()).count()));
    checks.push(("media_time_ms IS NOT NULL".to_owned(), rows.iter().filter(|row| row.1.is_some()).count()));
    let session = test.lake.session().await.unwrap();
    for (filter, expected) in checks {
        let query = format!("SELECT offset FROM events WHERE partition = {round} AND {filter}");
        let found = session.sql(&query).await.unwrap().collect().await.unwrap();
        let found: usize = found.iter().map(arrow::record_batch::RecordBatch::num_rows).sum();
        if found != expected {
            return Some(format!("{filter}: {found} rows instead of {expected}"));
        }
    }
    None
}

type Operator<T> = (&'static str, fn(&T, &T) -> bool);

fn operators<T: PartialOrd>() -> [Operator<T>; 5] {
    [("=", T::eq), ("<", T::lt), ("<=", T::le), (">", T::gt), (">=", T::ge)]
}

/// `-9223372036854775808` is no literal: the minus is an operator.
fn literal(value: i64) -> String {
    if value == i64::MIN { format!("({} - 1)", value + 1) } else { value.to_string() }
}

#[test]
fn pruned_queries_lose_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let test = runtime.block_on(TestLake::new());
    let round = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 8,
        failure_persistence: None,
        max_shrink_iters: 40,
        ..ProptestConfig::default()
    });
    let result = runner.run(&case(), |case| {
        round.set(round.get() + 1);
        runtime.block_on(async {
            fill(&test, &case.files, round.get()).await;
            differs(&test, &case, round.get()).await.map_or(Ok(()), |problem| Err(TestCaseError::fail(problem)))
        })
    });
    if let Err(TestError::Fail(reason, case)) = result {
        panic!("{reason}\n{case:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_cannot_match_are_not_opened() {
    let test = TestLake::new().await;
    let files: Vec<Vec<Row>> = (0..10)
        .map(|n| vec![(n, Some(-n), Some(n as i32), 1_785_000_000_000_000 + n * 1_500, Some(format!("title-{n}")))])
        .collect();
    fill(&test, &files, 1).await;
    let session = test.lake.session().await.unwrap();
    let opened = async |filter: &str| {
        let plan = session.sql(&format!("SELECT index FROM events WHERE {filter}")).await.unwrap();
        let plan = plan.create_physical_plan().await.unwrap();
        DisplayableExecutionPlan::new(plan.as_ref()).indent(true).to_string().matches(".zstd.parquet").count()
    };
    for filter in ["offset = 7", "media_time_ms < -8", "width_px >= 9", "title_id = 'title-3'", "offset IN (2)"] {
        assert_eq!(opened(filter).await, 1, "{filter}");
    }
    assert_eq!(opened("event_time > '2026-07-25T17:20:00.013Z'").await, 1);
    assert_eq!(opened("ingest_date = '1999-01-01'").await, 0);
    assert_eq!(opened("title_id IS NULL").await, 0);
    assert_eq!(opened("offset >= 0").await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aggregates_are_exact_though_bounds_are_rounded() {
    let test = TestLake::new().await;
    let long = "title ".repeat(20);
    let rows: Vec<Row> =
        vec![(1, None, Some(-7), -1_001, Some(long.clone())), (2, Some(5), None, 1_785_000_000_000_001, None)];
    fill(&test, &[rows], 1).await;
    let query =
        "SELECT min(event_time), max(event_time), max(title_id), min(width_px), count(title_id), count(*) FROM events";
    for filter in
        ["", " WHERE event_time > '1900-01-01T00:00:00Z'", " WHERE ingest_date = '2026-07-27' AND offset < 10"]
    {
        let (_, batches) = test.lake.sql(&format!("{query}{filter}")).await.unwrap();
        let row = &batches[0];
        assert_eq!(row.column(0).as_primitive::<TimestampMicrosecondType>().value(0), -1_001);
        assert_eq!(row.column(1).as_primitive::<TimestampMicrosecondType>().value(0), 1_785_000_000_000_001);
        assert_eq!(row.column(2).as_string::<i32>().value(0), long);
        assert_eq!(row.column(3).as_primitive::<Int32Type>().value(0), -7);
        assert_eq!(row.column(4).as_primitive::<Int64Type>().value(0), 1);
        assert_eq!(row.column(5).as_primitive::<Int64Type>().value(0), 2);
        assert_eq!(row.column(0).null_count(), 0);
    }
    assert_eq!(ints(&test.lake, "SELECT count(*) FROM events").await, [2]);
}
