//! What opening makes, accepts and refuses.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fail::FailScenario;
use marquee_events::ErrorKind;
use marquee_lake::{EpochCommit as _, LakeError, tables, tables::EPOCHS};

use super::{TestLake, open};

/// Every file below a folder with its contents.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(contents(&entry.path()));
        } else {
            found.insert(entry.path().display().to_string(), fs::read(entry.path()).unwrap());
        }
    }
    found
}

/// A lake with three commits in `epochs`, then the damage, then what opening says.
async fn check(damage: impl FnOnce(&Path), expect: &[&str]) {
    let test = TestLake::new().await;
    for number in 1..=3 {
        let row = test.epoch_row("s", number, number.checked_sub(1).filter(|n| *n > 0), number as i64).await;
        test.lake.commit(&EPOCHS, &[row]).await.unwrap();
    }
    damage(&test.table_folder(&EPOCHS));
    let before = contents(&test.root());
    let error = test.second().await.err().expect("damage is found");
    assert!(matches!(error, LakeError::Damaged { .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Damaged);
    let message = error.to_string();
    for part in ["table `epochs` is damaged", "nothing was changed"].iter().chain(expect) {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains('\n'), "{message}");
    assert_eq!(contents(&test.root()), before);
}

fn commit_file(table: &Path, version: u64) -> std::path::PathBuf {
    table.join(format!("_delta_log/{version:020}.json"))
}

fn replace(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(file, text.replace(from, to)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_lake_has_every_table_for_every_reader() {
    let test = TestLake::new().await;
    let summaries = test.lake.tables().await.unwrap();
    let names: Vec<_> = summaries.iter().map(|table| table.name).collect();
    assert_eq!(names, tables::all().map(|table| table.name));
    assert!(
        summaries.iter().all(|t| (t.version, t.files, t.rows, t.size_bytes) == (0, 0, Some(0), 0)),
        "{summaries:?}"
    );
    for table in tables::all() {
        let created = fs::read_to_string(commit_file(&test.table_folder(table), 0)).unwrap();
        assert!(created.contains(r#""minReaderVersion":1,"minWriterVersion":2"#), "{created}");
        assert!(created.contains(r#""delta.logRetentionDuration":"interval 7 days""#), "{created}");
        assert!(created.contains(r#""delta.checkpointInterval":"100""#), "{created}");
        assert!(!created.contains("setTransactionRetentionDuration"), "{created}");
    }
    let before = contents(&test.root());
    test.second().await.unwrap();
    assert_eq!(contents(&test.root()), before, "opening again writes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_may_make_the_lake_at_once() {
    let _scenario = FailScenario::setup();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("größe mit Leer%zeichen/lake");
    let opened = futures::future::join_all((0..4).map(|_| open(&root))).await;
    for lake in opened {
        assert_eq!(lake.unwrap().tables().await.unwrap().len(), tables::all().len());
    }
    assert!(root.join("events/_delta_log/00000000000000000000.json").is_file());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_logs_are_named() {
    let cut = |table: &Path| {
        let file = commit_file(table, 2);
        let bytes = fs::read(&file).unwrap();
        fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
    };
    check(cut, &["_delta_log/00000000000000000002.json is not valid JSON in line"]).await;
    check(|table| fs::write(commit_file(table, 3), "").unwrap(), &["00000000000000000003.json is empty"]).await;
    check(|table| fs::write(commit_file(table, 1), "\u{0}\u{0}").unwrap(), &["001.json is not valid JSON"]).await;
    check(|table| fs::remove_file(commit_file(table, 2)).unwrap(), &["002.json is missing"]).await;
    check(|table| fs::remove_file(commit_file(table, 0)).unwrap(), &["000.json is missing"]).await;
    check(|table| fs::remove_dir_all(table.join("_delta_log")).unwrap(), &["but no log"]).await;
    check(|table| fs::write(commit_file(table, 2), r#"{"add":7}"#).unwrap(), &["cannot be read"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_schemas_are_refused() {
    let change = |from: &'static str, to: &'static str| move |table: &Path| replace(&commit_file(table, 0), from, to);
    let quoted = r#"{\"name\":\"records\",\"type\":\"long\""#;
    check(change(quoted, r#"{\"name\":\"recs\",\"type\":\"long\""#), &["column `records` is missing"]).await;
    let text = r#"{\"name\":\"records\",\"type\":\"string\""#;
    check(change(quoted, text), &["column `records` is string instead of long"]).await;
    let nullable = (
        r#"\"watermark\",\"type\":\"timestamp\",\"nullable\":true"#,
        r#"\"watermark\",\"type\":\"timestamp\",\"nullable\":false"#,
    );
    check(change(nullable.0, nullable.1), &["column `watermark` may be NULL"]).await;
    check(change(r#""partitionColumns":[]"#, r#""partitionColumns":["watermark"]"#), &["partitioned by"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_out_of_reach_is_no_damage() {
    let _scenario = FailScenario::setup();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "not a folder").unwrap();
    let error = open(&file.join("lake")).await.err().unwrap();
    assert!(matches!(error, LakeError::Open { .. }), "{error:?}");
    fail::cfg("store-before-sync", "return").unwrap();
    let error = open(&folder.path().join("lake")).await.err().unwrap();
    assert!(matches!(error, LakeError::Open { .. }), "{error:?}");
    fail::remove("store-before-sync");
    open(&folder.path().join("lake")).await.expect("what was left behind does not hinder");
}
