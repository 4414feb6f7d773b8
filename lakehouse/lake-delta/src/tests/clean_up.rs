//! Expired log files go once a checkpoint stands for them, and nothing that is needed goes with them.

use std::fs::{self, File};
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use deltalake::checkpoints::create_checkpoint;
use marquee_lake::{EpochCommit as _, tables::EPOCHS};

use super::{TestLake, ints};
use crate::DeltaLake;
use crate::open::CHECKPOINT_EVERY_COMMITS;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// `LOG_RETENTION` in hours.
const RETENTION_HOURS: u32 = 7 * 24;

/// Commits epochs whose number is their version and their marker. The first is the only one of shard `once`.
async fn commit(test: &TestLake, lake: &DeltaLake, epochs: RangeInclusive<u64>) {
    for number in epochs {
        let shard = if number == 1 { "once" } else { "s" };
        let row = test.epoch_row(shard, number, (number > 2).then(|| number - 1), number as i64).await;
        lake.commit(&EPOCHS, &[row]).await.unwrap();
    }
}

/// The newest version becomes a checkpoint out of turn.
async fn checkpoint_now(test: &TestLake) {
    let table = test.lake.table(&EPOCHS).unwrap().newest().await.unwrap();
    create_checkpoint(&table, None).await.unwrap();
}

/// The files of a log that begin with a version.
fn versions(log: &Path) -> Vec<(u64, String)> {
    let names = fs::read_dir(log).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<_> = names
        .filter_map(|name| name.split_once('.').and_then(|(v, kind)| Some((v.parse().ok()?, kind.to_owned()))))
        .collect();
    found.sort();
    found
}

/// Makes the files of these versions older.
fn age(log: &Path, aged: RangeInclusive<u64>, by: Duration) {
    for (version, kind) in versions(log).into_iter().filter(|(version, _)| aged.contains(version)) {
        let file = File::options().write(true).open(log.join(format!("{version:020}.{kind}"))).unwrap();
        file.set_modified(file.metadata().unwrap().modified().unwrap() - by).unwrap();
    }
}

fn commits(versions: RangeInclusive<u64>) -> impl Iterator<Item = (u64, String)> {
    versions.map(|version| (version, "json".to_owned()))
}

fn checkpoint(version: u64) -> (u64, String) {
    (version, "checkpoint.parquet".to_owned())
}

fn sorted(files: impl Iterator<Item = (u64, String)>) -> Vec<(u64, String)> {
    let mut files: Vec<_> = files.collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_before_an_expired_checkpoint_vanish() {
    const LAST: u64 = CHECKPOINT_EVERY_COMMITS;
    let test = TestLake::new().await;
    let log = test.table_folder(&EPOCHS).join("_delta_log");
    commit(&test, &test.lake, 1..=3).await;
    let asleep = test.second().await.unwrap();
    commit(&test, &test.lake, 4..=20).await;
    checkpoint_now(&test).await;
    commit(&test, &test.lake, 21..=40).await;
    checkpoint_now(&test).await;
    commit(&test, &test.lake, 41..=LAST - 1).await;
    age(&log, 0..=60, (RETENTION_HOURS + 1) * HOUR);
    age(&log, 61..=LAST - 1, (RETENTION_HOURS - 1) * HOUR);
    commit(&test, &test.lake, LAST..=LAST).await;
    // Version 60 has expired as well, but no checkpoint between 40 and the oldest unexpired one stands for it.
    let kept = sorted(commits(40..=LAST).chain([checkpoint(40), checkpoint(LAST)]));
    assert_eq!(versions(&log), kept);

    let expected: Vec<i64> = (1..=LAST as i64).collect();
    let markers = async |lake: &DeltaLake| ints(lake, "SELECT records FROM epochs ORDER BY records").await;
    for hint in [true, false] {
        if !hint {
            fs::remove_file(log.join("_last_checkpoint")).unwrap();
        }
        let reopened = test.second().await.unwrap();
        assert_eq!(markers(&reopened).await, expected);
        assert_eq!(reopened.committed_epoch(&EPOCHS, "once").await.unwrap(), Some(1));
        assert_eq!(reopened.committed_epoch(&EPOCHS, "s").await.unwrap(), Some(LAST));
    }
    assert_eq!(asleep.committed_epoch(&EPOCHS, "once").await.unwrap(), Some(1));
    commit(&test, &asleep, LAST..=LAST + 1).await;
    let expected: Vec<i64> = (1..=LAST as i64 + 1).collect();
    assert_eq!(markers(&asleep).await, expected, "who slept through it all neither fails nor repeats");
    assert_eq!(test.markers().await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_new_checkpoint_nothing_goes() {
    const LAST: u64 = CHECKPOINT_EVERY_COMMITS;
    let test = TestLake::new().await;
    let log = test.table_folder(&EPOCHS).join("_delta_log");
    commit(&test, &test.lake, 1..=20).await;
    checkpoint_now(&test).await;
    commit(&test, &test.lake, 21..=LAST - 2).await;
    age(&log, 0..=LAST, 4 * RETENTION_HOURS * HOUR);
    commit(&test, &test.lake, LAST - 1..=LAST - 1).await;
    assert_eq!(versions(&log), sorted(commits(0..=LAST - 1).chain([checkpoint(20)])), "no checkpoint is due");
    // A folder in its place: the checkpoint cannot be written.
    let (version, kind) = checkpoint(LAST);
    let obstacle = log.join(format!("{version:020}.{kind}"));
    fs::create_dir_all(obstacle.join("x")).unwrap();
    commit(&test, &test.lake, LAST..=LAST).await;
    fs::remove_dir_all(obstacle).unwrap();
    assert_eq!(versions(&log), sorted(commits(0..=LAST).chain([checkpoint(20)])), "the checkpoint failed");
    assert_eq!(test.second().await.unwrap().committed_epoch(&EPOCHS, "s").await.unwrap(), Some(LAST));
}
