//! Queries: what they may do, what they see, and what happens when they ask too much.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Int64Array};
use arrow::datatypes::{Float64Type, TimestampNanosecondType};
use marquee_lake::tables::{EPOCHS, EVENTS, SESSION_REVISIONS};
use marquee_lake::{EpochCommit as _, LakeError, views};

use super::{NOW_MS, TestLake, epoch, ints, rows_of, texts, texts_of};
use crate::LakeOptions;

async fn refused(test: &TestLake, query: &str) -> String {
    match test.lake.sql(query).await {
        Err(LakeError::Query(message)) => {
            assert!(!message.contains('\n') && message.chars().count() <= 301, "{message}");
            message
        }
        other => panic!("{query}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_queries_run() {
    let test = TestLake::new().await;
    let outside = test.folder.path().join("out.csv");
    let copy = format!("COPY (SELECT 1) TO '{}'", outside.display());
    let external = format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{}'", outside.display());
    let insert = "INSERT INTO epochs SELECT * FROM epochs";
    let not_queries = [
        "CREATE TABLE t AS SELECT 1",
        "CREATE VIEW v AS SELECT 1",
        "DROP TABLE events",
        "DELETE FROM events",
        "UPDATE epochs SET epoch = 1",
        "TRUNCATE TABLE events",
        "SET datafusion.execution.batch_size = 1",
        "BEGIN",
        insert,
        &copy,
        &external,
        "EXPLAIN ANALYZE INSERT INTO epochs SELECT * FROM epochs",
    ];
    for query in not_queries {
        refused(&test, query).await;
    }
    assert!(!outside.exists());
    std::fs::write(&outside, "a\n1\n").unwrap();
    refused(&test, &format!("SELECT * FROM '{}'", outside.display())).await;
    refused(&test, "SELECT 1; SELECT 2").await;
    assert!(refused(&test, "SELECT nothing FROM epochs").await.contains("nothing"));
    assert!(refused(&test, "SELEKT 1").await.contains("SELEKT"));
    assert_eq!(test.version(&EPOCHS).await, 0);
    let session = test.lake.session().await.unwrap();
    let insert = session.sql(insert).await.unwrap().collect().await;
    assert!(insert.is_err(), "even a bare session has no way to write");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_functions_that_dashboards_need_work() {
    let test = TestLake::new().await;
    let count = 100;
    let given: Vec<(&str, ArrayRef)> = vec![
        ("session_id", texts_of(&["a", "b"].repeat(count / 2))),
        ("revision", Arc::new(Int64Array::from_iter_values(1..=count as i64))),
        ("playing_ms", Arc::new(Int64Array::from_iter_values(1..=count as i64))),
        ("outcome", texts_of(&vec!["played"; count])),
    ];
    let rows = rows_of(&SESSION_REVISIONS, count, &given);
    let files = test.lake.write(&SESSION_REVISIONS, "r", &rows, NOW_MS).await.unwrap();
    test.lake.commit(&SESSION_REVISIONS, &[epoch("s", 1, None, files)]).await.unwrap();

    assert_eq!(ints(&test.lake, "SELECT sum(playing_ms) FROM session_revisions").await, [5_050]);
    assert_eq!(ints(&test.lake, "SELECT revision FROM sessions ORDER BY 1").await, [99, 100]);
    assert_eq!(
        texts(&test.lake, "SELECT session_id FROM qoe_marquee WHERE playing_or_rebuffering_ms = 100").await,
        ["b"]
    );
    let (_, batches) = test.lake.sql("SELECT approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY CAST(playing_ms AS DOUBLE)) FROM session_revisions").await.unwrap();
    let median = batches[0].column(0).as_primitive::<Float64Type>().value(0);
    assert!((median - 50.5).abs() < 2.0, "{median}");
    let joined = "SELECT count(*) FROM sessions a JOIN session_revisions b ON a.session_id = b.session_id AND a.start_date = b.start_date";
    assert_eq!(ints(&test.lake, joined).await, [100]);
    let windows = "SELECT lag(revision) OVER (PARTITION BY session_id ORDER BY revision) FROM session_revisions ORDER BY 1 DESC NULLS LAST LIMIT 1";
    assert_eq!(ints(&test.lake, windows).await, [98]);
    let cases = "SELECT CASE WHEN started_at < to_timestamp('1970-01-02T00:00:00Z') THEN 'old' ELSE 'new' END FROM sessions LIMIT 1";
    assert_eq!(texts(&test.lake, cases).await, ["old"]);
    assert_eq!(
        texts(&test.lake, "SELECT CAST(date_trunc('minute', started_at) AS VARCHAR) FROM sessions LIMIT 1").await,
        ["1970-01-01T00:00:00Z"]
    );
    assert_eq!(
        ints(&test.lake, "SELECT CAST(count(*) AS BIGINT) FROM (SELECT unnest(bronze_epochs) FROM session_revisions)")
            .await,
        [200]
    );
    assert_eq!(texts(&test.lake, "SELECT regexp_replace(upper('straße'), 'S+', 'x')").await.len(), 1);
    let dates = "SELECT count(*) FROM session_revisions WHERE start_date BETWEEN '2026-07-01' AND '2026-07-31' AND start_date LIKE '2026%'";
    assert_eq!(ints(&test.lake, dates).await, [100]);
    assert_eq!(texts(&test.lake, "SELECT arrow_typeof(start_date) FROM session_revisions LIMIT 1").await.len(), 1);
    for view in views::all() {
        test.lake.sql(&format!("SELECT * FROM {}", view.name)).await.unwrap();
    }
    test.lake.sql("SHOW TABLES").await.unwrap();
    test.lake.sql("DESCRIBE sessions").await.unwrap();
    test.lake.sql("EXPLAIN SELECT * FROM sessions").await.unwrap();
    let (schema, _) = test.lake.sql("SELECT session_id FROM sessions WHERE false").await.unwrap();
    assert_eq!(schema.fields().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_holds_where_only_metadata_is_read() {
    let test = TestLake::new().await;
    let files = test.lake.write(&EVENTS, "f", &rows_of(&EVENTS, 9, &[]), NOW_MS).await.unwrap();
    test.lake.commit(&EVENTS, &[epoch("s", 1, None, files)]).await.unwrap();
    assert_eq!(texts(&test.lake, "SELECT ingest_date FROM events LIMIT 4").await.len(), 4);
    assert_eq!(texts(&test.lake, "SELECT ingest_date FROM events LIMIT 4 OFFSET 7").await.len(), 2);
    assert_eq!(ints(&test.lake, "SELECT count(*) FROM (SELECT 1 FROM events LIMIT 4)").await, [4]);
    assert_eq!(ints(&test.lake, "SELECT count(*) FROM events").await, [9]);
    assert_eq!(ints(&test.lake, "SELECT count(*) FROM events WHERE ingest_date > '2026'").await, [9]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn now_is_the_lakes_clock() {
    let test = TestLake::new().await;
    let (_, batches) = test.lake.sql("SELECT now()").await.unwrap();
    assert_eq!(batches[0].column(0).as_primitive::<TimestampNanosecondType>().value(0), NOW_MS * 1_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_does_not_see_later_commits() {
    let test = TestLake::new().await;
    let first = test.epoch_row("s", 1, None, 1).await;
    test.lake.commit(&EPOCHS, &[first]).await.unwrap();
    let session = test.lake.session().await.unwrap();
    let second = test.epoch_row("s", 2, Some(1), 2).await;
    test.second().await.unwrap().commit(&EPOCHS, &[second]).await.unwrap();
    let count = session.sql("SELECT * FROM epochs").await.unwrap().count().await.unwrap();
    assert_eq!(count, 1);
    assert_eq!(test.markers().await, [1, 2], "a new one sees what another process committed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn greedy_queries_fail_alone() {
    let test = TestLake::with(LakeOptions { query_memory_bytes: 4 << 20 }).await;
    let numbers = "generate_series(1, 3000000) AS t(n)";
    let message = refused(&test, &format!("SELECT n, n + 1, n + 2 FROM {numbers}")).await;
    assert!(message.contains("exceeds 4 MiB"), "{message}");
    refused(&test, &format!("SELECT array_agg(n) FROM {numbers}")).await;
    assert_eq!(ints(&test.lake, &format!("SELECT count(*) FROM {numbers}")).await, [3_000_000]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_and_broken_data_files_are_damage() {
    let test = TestLake::new().await;
    let files = test.lake.write(&EVENTS, "f", &rows_of(&EVENTS, 9, &[]), NOW_MS).await.unwrap();
    let path = test.table_folder(&EVENTS).join(&files[0].path);
    test.lake.commit(&EVENTS, &[epoch("s", 1, None, files)]).await.unwrap();
    let check = async |expect: &str| {
        let error = test.lake.sql("SELECT max(session_id) FROM events").await.unwrap_err();
        assert!(matches!(error, LakeError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains(expect), "{error}");
    };
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    check("table `events` is damaged: a data file is missing or unreadable").await;
    std::fs::remove_file(&path).unwrap();
    check("table `events` is damaged: a data file is missing or unreadable").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_summed_up() {
    let test = TestLake::new().await;
    for number in 1..=2 {
        let rows = rows_of(&EVENTS, 7, &[]);
        let files = test.lake.write(&EVENTS, &format!("f{number}"), &rows, NOW_MS).await.unwrap();
        test.lake
            .commit(&EVENTS, &[epoch("s", number, number.checked_sub(1).filter(|n| *n > 0), files)])
            .await
            .unwrap();
    }
    let events = &test.lake.tables().await.unwrap()[0];
    assert_eq!((events.name, events.layer, events.partition_by), ("events", "bronze", Some("ingest_date")));
    assert_eq!((events.version, events.files, events.rows), (2, 2, Some(14)));
    assert!(events.size_bytes > 1_000);
    assert_eq!(events.doc, EVENTS.doc);
}
