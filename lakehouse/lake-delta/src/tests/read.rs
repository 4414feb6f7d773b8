//! Reading rows of explicit files, and what files look like.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, DictionaryArray, Int64Array, StringArray, StringViewArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use marquee_lake::{EpochCommit as _, LakeError, TableSpec, tables};
use parquet::file::reader::{FileReader as _, SerializedFileReader};

use super::{NOW_MS, TestLake, epoch, ints, rows_of, texts, texts_of};
use tables::{EVENTS, LATE_EVENTS, QOE_MINUTES, SESSION_REVISIONS};

fn paths(files: &[marquee_lake::DataFile]) -> Vec<String> {
    files.iter().map(|file| file.path.clone()).collect()
}

async fn sessions(test: &TestLake, table: &'static TableSpec, paths: &[String], wanted: &[&str]) -> Vec<(String, i64)> {
    let wanted: Vec<String> = wanted.iter().map(|value| (*value).to_owned()).collect();
    let batches = test.lake.read_rows(table, paths, "session_id", &wanted).await.unwrap();
    let batch = concat_batches(&table.schema(), &batches).unwrap();
    let sequence = batch.column_by_name("sequence").unwrap().as_primitive::<Int64Type>().clone();
    let session = batch.column_by_name("session_id").unwrap().as_string::<i32>().clone();
    session.iter().flatten().map(str::to_owned).zip(sequence.values().iter().copied()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_uncommitted_files_come_with_the_tables_schema() {
    let test = TestLake::new().await;
    let given: Vec<(&str, ArrayRef)> = vec![
        ("ingest_date", texts_of(&["2026-07-28", "2026-07-27", "2026-07-28"])),
        ("session_id", texts_of(&["a", "b", "ü"])),
        ("sequence", Arc::new(Int64Array::from(vec![1, 2, 3]))),
    ];
    let files = test.lake.write(&EVENTS, "e-1", &rows_of(&EVENTS, 3, &given), NOW_MS).await.unwrap();
    let expected = ["ingest_date=2026-07-27/e-1.zstd.parquet", "ingest_date=2026-07-28/e-1.zstd.parquet"];
    assert_eq!(paths(&files), expected);
    assert_eq!(files.iter().map(|file| file.rows).collect::<Vec<_>>(), [1, 2]);
    assert!(files.iter().all(|file| file.written_at_ms == NOW_MS));
    let found = sessions(&test, &EVENTS, &paths(&files), &["ü", "b", "nobody"]).await;
    assert_eq!(found, [("b".to_owned(), 2), ("ü".to_owned(), 3)]);
    let by_date =
        test.lake.read_rows(&EVENTS, &paths(&files), "ingest_date", &["2026-07-28".to_owned()]).await.unwrap();
    assert_eq!(by_date.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    assert!(by_date.iter().all(|batch| batch.schema() == EVENTS.schema()));
    assert!(test.lake.read_rows(&EVENTS, &[], "session_id", &["a".to_owned()]).await.unwrap().is_empty());
    assert_eq!(ints(&test.lake, "SELECT count(*) FROM events").await, [0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_sessions_out_of_many_pages() {
    const SESSIONS: usize = 5_000;
    const EVENTS_EACH: usize = 20;
    let test = TestLake::new().await;
    let rows = SESSIONS * EVENTS_EACH;
    let ids: Vec<String> = (0..rows).map(|row| format!("session-{:06}", row / EVENTS_EACH)).collect();
    let sequence = Int64Array::from_iter_values((0..rows).map(|row| (row % EVENTS_EACH) as i64));
    let given: Vec<(&str, ArrayRef)> =
        vec![("session_id", Arc::new(StringArray::from(ids))), ("sequence", Arc::new(sequence))];
    let batch = rows_of(&EVENTS, rows, &given);
    let files = test.lake.write(&EVENTS, "many", &batch, NOW_MS).await.unwrap();
    let found = sessions(&test, &EVENTS, &paths(&files), &["session-000000", "session-002500", "session-004999"]).await;
    let each = |id: &str| (0..EVENTS_EACH as i64).map(|sequence| (id.to_owned(), sequence)).collect::<Vec<_>>();
    assert_eq!(found, [each("session-000000"), each("session-002500"), each("session-004999")].concat());
    assert!(sessions(&test, &EVENTS, &paths(&files), &["session-999999"]).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_text_array_makes_the_same_column() {
    let test = TestLake::new().await;
    let plain = texts_of(&["one", "two", "one"]);
    let view: ArrayRef = Arc::new(StringViewArray::from(vec!["one", "two", "one"]));
    let dictionary: ArrayRef = Arc::new(vec!["one", "two", "one"].into_iter().collect::<DictionaryArray<Int32Type>>());
    for (index, array) in [plain, view, dictionary].into_iter().enumerate() {
        let given = vec![("session_id", Arc::clone(&array)), ("topic", array)];
        let rows = rows_of(&LATE_EVENTS, 3, &given);
        let files = test.lake.write(&LATE_EVENTS, &format!("f{index}"), &rows, NOW_MS).await.unwrap();
        assert!(files[0].stats.contains(r#""session_id":"one""#) && files[0].stats.contains(r#""session_id":"two""#));
        assert_eq!(sessions(&test, &LATE_EVENTS, &paths(&files), &["one"]).await.len(), 2);
        let prev = index.checked_sub(1).map(|prev| prev as u64);
        test.lake.commit(&LATE_EVENTS, &[epoch("s", index as u64, prev, files)]).await.unwrap();
    }
    assert_eq!(
        ints(&test.lake, "SELECT count(*) FROM late_events WHERE session_id = 'two' AND topic = 'two'").await,
        [3]
    );
    assert_eq!(texts(&test.lake, "SELECT DISTINCT ingest_date FROM late_events").await, ["2026-07-27"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_table_takes_rows_and_gives_them_back() {
    let test = TestLake::new().await;
    for table in tables::all() {
        let rows = rows_of(table, 5, &[]);
        let files = test.lake.write(table, "all", &rows, NOW_MS).await.unwrap();
        let read = test.lake.read_rows(table, &paths(&files), "topic", &["x".to_owned()]).await.unwrap();
        assert_eq!(concat_batches(&table.schema(), &read).unwrap(), rows.with_schema(table.schema()).unwrap());
        test.lake.commit(table, &[epoch("s", 1, None, files)]).await.unwrap();
        let (schema, batches) = test.lake.sql(&format!("SELECT * FROM {}", table.name)).await.unwrap();
        assert_eq!(concat_batches(&schema, &batches).unwrap().num_rows(), 5);
        let types = |schema: &arrow::datatypes::Schema| {
            schema.fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect::<Vec<_>>()
        };
        assert_eq!(types(&schema), types(&table.schema()));
    }
    let lists =
        "SELECT CAST(sum(b) AS BIGINT) FROM (SELECT unnest(bronze_epochs) AS b FROM session_revisions) WHERE b > 0";
    assert_eq!(ints(&test.lake, lists).await, [10]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_plain_and_have_their_indexes() {
    let test = TestLake::new().await;
    let ids: ArrayRef = Arc::new(vec!["a", "b", "c"].into_iter().collect::<DictionaryArray<Int32Type>>());
    let rows = rows_of(&SESSION_REVISIONS, 3, &[("session_id", ids)]);
    let files = test.lake.write(&SESSION_REVISIONS, "f", &rows, NOW_MS).await.unwrap();
    let path = test.table_folder(&SESSION_REVISIONS).join(&files[0].path);
    assert_eq!(path.metadata().unwrap().len(), files[0].size_bytes as u64);
    let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    assert!(reader.metadata().file_metadata().key_value_metadata().is_none(), "no arrow schema");
    let group = reader.metadata().row_group(0);
    let column = |name: &str| group.columns().iter().find(|c| c.column_path().string() == name).unwrap();
    assert!(group.columns().iter().all(|c| c.column_path().parts()[0] != "start_date"));
    assert!(column("session_id").bloom_filter_length().unwrap() < 200, "sized by its values");
    assert!(column("title_id").bloom_filter_offset().is_none());
    assert!(column("session_id").column_index_offset().is_some() && column("epoch").offset_index_offset().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_do_not_fit_are_refused() {
    let test = TestLake::new().await;
    let refused = async |name: &str, rows: &RecordBatch| {
        let error = test.lake.write(&LATE_EVENTS, name, rows, NOW_MS).await.unwrap_err();
        assert!(matches!(error, LakeError::Write { .. }), "{error:?}");
        std::error::Error::source(&error).unwrap().to_string()
    };
    let good = rows_of(&LATE_EVENTS, 1, &[]);
    for name in ["", "a/b", "..", "a b", "ü", "a%b"] {
        assert!(refused(name, &good).await.contains("letters, digits"), "{name}");
    }
    let bad_date = rows_of(&LATE_EVENTS, 1, &[("ingest_date", texts_of(&["2026/07"]))]);
    assert!(refused("f", &bad_date).await.contains("partition value"));
    let wrong_type = rows_of(&LATE_EVENTS, 1, &[("sequence", texts_of(&["1"]))]);
    assert_eq!(refused("f", &wrong_type).await, "column `sequence` came as Utf8");
    let too_few = good.project(&[0, 1]).unwrap();
    assert_eq!(refused("f", &too_few).await, "2 columns came, the table has 10");
    assert!(test.lake.write(&LATE_EVENTS, "f", &good.slice(0, 0), NOW_MS).await.unwrap().is_empty());
    let error = test.lake.read_rows(&LATE_EVENTS, &[], "sequence", &[]).await.unwrap_err();
    assert!(matches!(error, LakeError::Read { .. }));
    let missing = ["ingest_date=2026-07-27/none.parquet".to_owned()];
    let error = test.lake.read_rows(&LATE_EVENTS, &missing, "session_id", &[]).await.unwrap_err();
    assert!(matches!(error, LakeError::Read { .. }));
    let types = QOE_MINUTES.schema();
    assert!(matches!(types.field_with_name("startup_buckets").unwrap().data_type(), DataType::List(_)));
}
