//! Importing histories through a collector: what is sent, in which order, and the lines that are refused.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use indicatif::ProgressBar;
use marquee_events::ErrorKind;
use marquee_events::interactions::proto::InteractionBatch;
use marquee_events::interactions::proto::interaction::Payload;
use prost::Message as _;
use tempfile::TempDir;

use super::{
    Histories, check_interactions, check_movielens, import, import_interactions, import_movielens, movielens, table,
};
use crate::collector::Collector;
use crate::fake_collector;

fn folder(name: &str, contents: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, contents).unwrap();
    (dir, path)
}

/// `profile time title what` of each interaction.
fn told(batches: &[InteractionBatch]) -> Vec<String> {
    let mut told = Vec::new();
    for batch in batches {
        let profile_id = &batch.context.as_ref().unwrap().profile_id;
        for interaction in &batch.interactions {
            let payload = interaction.payload.as_ref().unwrap();
            let what = match payload {
                Payload::Rating(rating) => format!("{} stars", rating.value),
                other => format!("watched {}", other.watched_fraction().unwrap()),
            };
            let title_id = payload.title_id().unwrap();
            told.push(format!("{profile_id} {} {title_id} {what}", interaction.event_time_ms));
        }
    }
    told
}

fn all(histories: &Histories) -> Vec<String> {
    told(&histories.chunks(100).flatten().collect::<Vec<_>>())
}

fn refused(histories: &Histories) -> Vec<String> {
    histories.refused.iter().map(|line| format!("{}:{} {}", line.file, line.line, line.reason)).collect()
}

#[test]
fn a_rating_is_a_finished_view_and_stars_in_order_of_time_with_ties_as_in_the_file() {
    let csv = "userId,movieId,rating,timestamp\n\
               2,10,4.0,200\n1,30,3.5,100\n1,20,5.0,100\n2,40,0.5,100\n1,10,1.0,50\n2,30,2.0,200\n";
    let expected = [
        "ml-2 100000 ml-40 watched 1",
        "ml-2 100000 ml-40 0.5 stars",
        "ml-2 200000 ml-10 watched 1",
        "ml-2 200000 ml-10 4 stars",
        "ml-2 200000 ml-30 watched 1",
        "ml-2 200000 ml-30 2 stars",
        "ml-1 50000 ml-10 watched 1",
        "ml-1 50000 ml-10 1 stars",
        "ml-1 100000 ml-30 watched 1",
        "ml-1 100000 ml-30 3.5 stars",
        "ml-1 100000 ml-20 watched 1",
        "ml-1 100000 ml-20 5 stars",
    ];
    let (dir, path) = folder("ratings.csv", csv);
    let histories = movielens::read(dir.path()).unwrap();
    assert_eq!(all(&histories), expected);
    assert_eq!((histories.profile_count(), histories.title_count(), histories.interactions()), (2, 4, 12));
    fs::remove_file(path).unwrap();
    let dat: String = csv.lines().skip(1).map(|line| line.replace(',', "::") + "\r\n").collect();
    fs::write(dir.path().join("ratings.dat"), dat).unwrap();
    let from_dat = movielens::read(dir.path()).unwrap();
    assert_eq!(all(&from_dat), expected);
    assert_ne!(from_dat.import_id, histories.import_id, "another file");
}

#[test]
fn lines_that_cannot_be_are_refused_with_line_and_column() {
    let (dir, _) = folder(
        "ratings.csv",
        "userId,movieId,rating,timestamp\n1,1,7,100\n1,1,4.0,-5\n1,1,4.0\n\n1,2,4.0,9999999999999\n\
         x,1,4.0,100\n1,1,NaN,100\n1,1,4.0,1.5\n1,3,4.0,100\n",
    );
    let histories = movielens::read(dir.path()).unwrap();
    let reasons = [
        "ratings.csv:2 rating `7` is not between 0.5 and 5",
        "ratings.csv:3 timestamp `-5` is not between 0 and 253402300799",
        "ratings.csv:4 has 3 fields, the header has 4",
        "ratings.csv:6 timestamp `9999999999999` is not between 0 and 253402300799",
        "ratings.csv:7 userId `x` is not a whole number",
        "ratings.csv:8 rating `NaN` is not between 0.5 and 5",
        "ratings.csv:9 timestamp `1.5` is not a whole number",
    ];
    assert_eq!(refused(&histories), reasons);
    assert_eq!((all(&histories).len(), histories.refused_lines), (2, 7));

    let (dir, _) = folder("ratings.dat", "1::2::3::4\n1::2::3\n1::2::9::4\n");
    let histories = movielens::read(dir.path()).unwrap();
    let reasons = [
        "ratings.dat:2 has 3 fields, `UserID::MovieID::Rating::Timestamp` has 4",
        "ratings.dat:3 rating `9` is not between 0.5 and 5",
    ];
    assert_eq!(refused(&histories), reasons);

    let mut many = "profile_id,title_id,timestamp_ms\n".to_owned();
    (0..1_500).for_each(|number| writeln!(many, "p,t,-{number}1").unwrap());
    let (_dir, path) = folder("many.csv", &many);
    let histories = table::read(&path).unwrap();
    assert_eq!((histories.refused_lines, histories.refused.len()), (1_500, 1_000));
}

#[test]
fn a_table_may_have_fractions_and_its_columns_in_any_order() {
    let (_dir, path) = folder(
        "a.csv",
        "timestamp_ms,watched_fraction,title_id,profile_id\n30,0.25,t1,é\n20,1,t2,é\n20,1.5,t2,é\n20,0,,p\n20,0.5,t\u{1},p\n",
    );
    let histories = table::read(&path).unwrap();
    assert_eq!(all(&histories), ["é 20 t2 watched 1", "é 30 t1 watched 0.25"]);
    let reasons = [
        "a.csv:4 watched_fraction `1.5` is not between 0 and 1",
        "a.csv:5 title_id is empty",
        "a.csv:6 title_id has a control character",
    ];
    assert_eq!(refused(&histories), reasons);
    let (_dir, path) = folder("b.csv", "profile_id,title_id,timestamp_ms\np,t,0\n");
    assert_eq!(all(&table::read(&path).unwrap()), ["p 0 t watched 1"]);
}

#[tokio::test]
async fn nothing_is_sent_when_the_header_is_wrong() {
    let (address, received) = fake_collector::start().await;
    let progress = ProgressBar::hidden();
    let check = async |contents: &str, words: &str| {
        let (_dir, path) = folder("a.csv", contents);
        for error in
            [check_interactions(&path).unwrap_err(), import_interactions(&path, &address, &progress).await.unwrap_err()]
        {
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().ends_with(words), "{error}");
        }
    };
    check("p,t,100\n", "a.csv has no column `profile_id`").await;
    check("", "a.csv has no column `profile_id`").await;
    check("profile_id,title_id\np,t\n", "a.csv has no column `timestamp_ms`").await;
    let known = "known are profile_id, title_id, timestamp_ms, watched_fraction";
    let misspelt = "profile_id,title_id,timestamp_ms,watched_fractoin\np,t,1,1\n";
    check(misspelt, &format!("a.csv has an unknown column `watched_fractoin`, {known}")).await;
    let (dir, _) = folder("ratings.csv", "user,movie,rating,timestamp\n1,1,4,1\n");
    let nowhere = dir.path().join("nowhere");
    for (dir, words) in [(dir.path(), "ratings.csv has no column `userId`"), (&nowhere, "ratings.csv")] {
        let error = import_movielens(dir, &address, &progress).await.unwrap_err();
        assert!(error.to_string().ends_with(words), "{error}");
        assert_eq!(check_movielens(dir).unwrap_err().to_string(), error.to_string());
    }
    fs::write(dir.path().join("ratings.csv"), "userId,movieId,rating,timestamp\n").unwrap();
    check_movielens(dir.path()).unwrap();
    let (_dir, path) = folder("a.csv", "profile_id,title_id,timestamp_ms\np,t,-1\n");
    let report = import_interactions(&path, &address, &progress).await.unwrap();
    assert_eq!((report.interactions, report.chunks, report.refused_lines), (0, 0, 1));
    let received = received.lock().unwrap();
    assert!(received.interaction_chunks.is_empty() && received.finished.is_empty());
}

#[tokio::test]
async fn an_import_goes_on_where_it_broke_off_and_repeats_to_nothing() {
    let (address, received) = fake_collector::start().await;
    let mut csv = "userId,movieId,rating,timestamp\n".to_owned();
    for line in 0..25 {
        writeln!(csv, "{},{line},4.5,{}", line % 2, 1_000 - line).unwrap();
    }
    let (dir, _) = folder("ratings.csv", &csv);
    let collector = Collector::new(&address).unwrap();
    let progress = ProgressBar::hidden();
    let run = async || import(movielens::read(dir.path()).unwrap(), &collector, 20, &progress).await.unwrap();

    let first = run().await;
    assert_eq!((first.profiles, first.titles, first.interactions, first.chunks), (2, 25, 50, 3));
    assert_eq!((first.duplicate_chunks, first.duplicate, progress.position()), (0, false, 50));
    assert_eq!((first.topic.as_str(), first.end_offsets.as_slice()), ("interactions-import", [3, 4].as_slice()));
    assert!(first.import_id.starts_with("movielens-") && first.import_id.len() == "movielens-".len() + 32);
    let sent = received.lock().unwrap().interaction_chunks.clone();
    let told_all: Vec<String> = sent.values().flat_map(|chunk| told(&chunk.batches)).collect();
    assert_eq!(told_all, all(&movielens::read(dir.path()).unwrap()), "chunks keep the order");

    // As if it had broken off before the last chunk.
    received.lock().unwrap().interaction_chunks.pop_last();
    received.lock().unwrap().finished.clear();
    let second = run().await;
    assert_eq!((second.chunks, second.duplicate_chunks, second.duplicate), (3, 2, false));
    let third = run().await;
    assert_eq!((third.chunks, third.duplicate_chunks, third.duplicate), (3, 3, true));
    assert_eq!(received.lock().unwrap().interaction_chunks, sent);
}

/// The data set that the repository's tests have.
#[test]
fn movielens_small_is_read_whole() {
    let Some(data) = std::env::var_os("MARQUEE_DATA") else {
        panic!("set MARQUEE_DATA to the folder with ml-latest-small");
    };
    let histories = movielens::read(&PathBuf::from(data).join("ml-latest-small")).unwrap();
    assert_eq!((histories.refused_lines, histories.profile_count(), histories.title_count()), (0, 610, 9_724));
    assert_eq!(histories.interactions(), 2 * 100_836);
    let largest = histories
        .chunks(super::INTERACTIONS_PER_CHUNK)
        .map(|batches| marquee_events::interactions::proto::InteractionBatches { batches }.encoded_len());
    assert!(largest.max().unwrap() < 1 << 20, "a chunk stays below 1 MiB");
}
