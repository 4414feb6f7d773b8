//! Exactly once: whatever happens to a commit, its rows are in the table one time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::Int64Array;
use marquee_lake::{EpochCommit as _, LakeError, ShardEpoch, tables::EPOCHS};

use super::{NOW_MS, TestLake, epoch, rows_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn written_rows_are_visible_after_their_commit_only() {
    let test = TestLake::new().await;
    let first = test.epoch_row("playback/p/0", 1, None, 10).await;
    assert!(test.markers().await.is_empty());
    test.lake.commit(&EPOCHS, &[first]).await.unwrap();
    assert_eq!(test.markers().await, [10]);
    assert_eq!(test.lake.committed_epoch(&EPOCHS, "playback/p/0").await.unwrap(), Some(1));
    assert_eq!(test.lake.committed_epoch(&EPOCHS, "playback/p/1").await.unwrap(), None);
    assert_eq!(test.second().await.unwrap().committed_epoch(&EPOCHS, "playback/p/0").await.unwrap(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_commit_of_the_same_epochs_does_nothing() {
    let test = TestLake::new().await;
    let first = test.epoch_row("s", 1, None, 1).await;
    let second = test.epoch_row("s", 2, Some(1), 2).await;
    test.lake.commit(&EPOCHS, std::slice::from_ref(&first)).await.unwrap();
    for _ in 0..2 {
        test.lake.commit(&EPOCHS, &[second.clone(), first.clone()]).await.unwrap();
        test.second().await.unwrap().commit(&EPOCHS, &[first.clone(), second.clone()]).await.unwrap();
    }
    assert_eq!(test.markers().await, [1, 2]);
    assert_eq!(test.version(&EPOCHS).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_has_to_continue_where_the_table_ends() {
    let test = TestLake::new().await;
    let refused = async |epochs: Vec<ShardEpoch>| {
        let error = test.lake.commit(&EPOCHS, &epochs).await.unwrap_err();
        assert!(matches!(error, LakeError::Damaged { .. }), "{error:?}");
        error.to_string()
    };
    let first = test.epoch_row("s", 3, None, 3).await;
    let gap = test.epoch_row("s", 7, Some(6), 7).await;
    let lost_table = test.epoch_row("s", 7, None, 7).await;
    let message = refused(vec![gap.clone()]).await;
    assert!(message.contains("epoch 7 of `s` follows epoch 6, but the table's last one is none"), "{message}");
    refused(vec![first.clone(), gap.clone()]).await;
    assert_eq!(test.version(&EPOCHS).await, 0, "a refused call commits nothing at all");
    test.lake.commit(&EPOCHS, &[first]).await.unwrap();
    refused(vec![gap]).await;
    refused(vec![lost_table]).await;
    assert_eq!(test.markers().await, [3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_is_resolved_by_the_transaction() {
    let test = TestLake::new().await;
    let first = test.epoch_row("s", 1, None, 1).await;
    for action in ["1*return", "return"] {
        fail::cfg("delta-commit-reply-lost", action).unwrap();
        test.lake.commit(&EPOCHS, std::slice::from_ref(&first)).await.unwrap();
    }
    let second = test.epoch_row("s", 2, Some(1), 2).await;
    test.lake.commit(&EPOCHS, &[first, second]).await.unwrap();
    fail::remove("delta-commit-reply-lost");
    assert_eq!(test.markers().await, [1, 2]);
    assert_eq!(test.version(&EPOCHS).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_cannot_land_gives_up_and_can_be_repeated() {
    let test = TestLake::new().await;
    let first = test.epoch_row("s", 1, None, 1).await;
    fail::cfg("delta-before-commit", "return").unwrap();
    let error = test.lake.commit(&EPOCHS, std::slice::from_ref(&first)).await.unwrap_err();
    assert!(matches!(error, LakeError::Commit { .. }), "{error:?}");
    assert!(test.markers().await.is_empty());
    fail::cfg("delta-before-commit", "2*return").unwrap();
    test.lake.commit(&EPOCHS, &[first]).await.unwrap();
    assert_eq!(test.markers().await, [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_fails_the_commit_and_nothing_else() {
    let test = TestLake::new().await;
    let first = test.epoch_row("s", 1, None, 1).await;
    fail::cfg("store-before-sync", "return").unwrap();
    let rows = rows_of(&EPOCHS, 1, &[]);
    let error = test.lake.write(&EPOCHS, "name", &rows, NOW_MS).await.unwrap_err();
    assert!(matches!(error, LakeError::Write { .. }), "{error:?}");
    let error = test.lake.commit(&EPOCHS, std::slice::from_ref(&first)).await.unwrap_err();
    assert!(matches!(error, LakeError::Commit { .. }), "{error:?}");
    fail::remove("store-before-sync");
    test.lake.commit(&EPOCHS, &[first]).await.unwrap();
    assert_eq!(test.markers().await, [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_and_epochs_share_one_commit() {
    let test = TestLake::new().await;
    let epochs = [
        test.epoch_row("b", 5, Some(4), 25).await,
        test.epoch_row("a", 1, None, 11).await,
        test.epoch_row("b", 4, None, 24).await,
    ];
    test.lake.commit(&EPOCHS, &epochs).await.unwrap();
    assert_eq!(test.version(&EPOCHS).await, 1);
    assert_eq!(test.markers().await, [11, 24, 25]);
    assert_eq!(test.lake.committed_epoch(&EPOCHS, "a").await.unwrap(), Some(1));
    assert_eq!(test.lake.committed_epoch(&EPOCHS, "b").await.unwrap(), Some(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn epochs_without_files_leave_no_commit() {
    let test = TestLake::new().await;
    test.lake.commit(&EPOCHS, &[]).await.unwrap();
    test.lake.commit(&EPOCHS, &[epoch("s", 1, None, vec![]), epoch("t", 9, Some(3), vec![])]).await.unwrap();
    assert_eq!(test.version(&EPOCHS).await, 0);
    let with_files = test.epoch_row("s", 2, None, 2).await;
    test.lake
        .commit(&EPOCHS, &[epoch("s", 1, None, vec![]), with_files, epoch("s", 3, Some(2), vec![])])
        .await
        .unwrap();
    assert_eq!(test.lake.committed_epoch(&EPOCHS, "s").await.unwrap(), Some(2));
}

/// Runs a commit of another instance between the snapshot and the commit of the lake under test.
async fn with_rival(test: &TestLake, rival: ShardEpoch, own: ShardEpoch) -> Result<(), LakeError> {
    let other = Arc::new(test.second().await.unwrap());
    let runtime = tokio::runtime::Handle::current();
    let done = AtomicBool::new(false);
    fail::cfg_callback("delta-before-commit", move || {
        if !done.swap(true, Ordering::SeqCst) {
            let (other, rival, runtime) = (Arc::clone(&other), rival.clone(), runtime.clone());
            std::thread::spawn(move || runtime.block_on(other.commit(&EPOCHS, &[rival]))).join().unwrap().unwrap();
        }
    })
    .unwrap();
    let result = test.lake.commit(&EPOCHS, &[own]).await;
    fail::remove("delta-before-commit");
    result
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rival_commit_of_another_shard_costs_nothing() {
    let test = TestLake::new().await;
    let (own, rival) = (test.epoch_row("own", 1, None, 1).await, test.epoch_row("rival", 1, None, 2).await);
    with_rival(&test, rival, own).await.unwrap();
    assert_eq!(test.markers().await, [1, 2]);
    let next = [test.epoch_row("own", 2, Some(1), 3).await, test.epoch_row("rival", 2, Some(1), 4).await];
    test.lake.commit(&EPOCHS, &next).await.unwrap();
    assert_eq!(test.markers().await, [1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rival_commit_of_the_same_epoch_is_not_repeated() {
    let test = TestLake::new().await;
    let own = test.epoch_row("s", 1, None, 1).await;
    with_rival(&test, own.clone(), own).await.unwrap();
    assert_eq!(test.markers().await, [1]);
    assert_eq!(test.version(&EPOCHS).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombie_is_stopped() {
    let test = TestLake::new().await;
    let (own, rival) = (test.epoch_row("s", 1, None, 1).await, test.epoch_row("s", 1, None, 2).await);
    let later = test.epoch_row("s", 2, Some(1), 3).await;
    with_rival(&test, rival.clone(), own).await.unwrap();
    assert_eq!(test.markers().await, [2], "the epoch is in the table, so the loser's files stay out");
    test.second().await.unwrap().commit(&EPOCHS, &[later]).await.unwrap();
    let skipping = test.epoch_row("s", 3, Some(1), 4).await;
    assert!(matches!(test.lake.commit(&EPOCHS, &[skipping]).await, Err(LakeError::Damaged { .. })));
    assert_eq!(test.markers().await, [2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_committers_lose_and_duplicate_nothing() {
    const SHARDS: i64 = 4;
    const EPOCHS_EACH: i64 = 6;
    let test = TestLake::new().await;
    let second = test.second().await.unwrap();
    fail::cfg("delta-commit-reply-lost", "20%return").unwrap();
    let shard = async |shard: i64| {
        let lake = if shard % 2 == 0 { &test.lake } else { &second };
        for epoch in 1..=EPOCHS_EACH {
            let prev = (epoch > 1).then_some(epoch as u64 - 1);
            let row = test.epoch_row(&format!("s{shard}"), epoch as u64, prev, shard * 100 + epoch).await;
            lake.commit(&EPOCHS, &[row]).await.unwrap();
        }
    };
    futures::future::join_all((0..SHARDS).map(shard)).await;
    fail::remove("delta-commit-reply-lost");
    let expected: Vec<i64> = (0..SHARDS).flat_map(|shard| (1..=EPOCHS_EACH).map(move |e| shard * 100 + e)).collect();
    assert_eq!(test.markers().await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_comes_with_the_hundredth_commit() {
    let test = TestLake::new().await;
    let shards = ["s0", "s1", "s2"];
    for number in 1..=102_u64 {
        let shard = shards[number as usize % shards.len()];
        let prev = number.checked_sub(shards.len() as u64).filter(|prev| *prev > 0);
        let row = test.epoch_row(shard, number, prev, number as i64).await;
        test.lake.commit(&EPOCHS, &[row]).await.unwrap();
    }
    let log = test.table_folder(&EPOCHS).join("_delta_log");
    assert!(log.join("00000000000000000100.checkpoint.parquet").is_file());
    let reopened = test.second().await.unwrap();
    assert_eq!(reopened.committed_epoch(&EPOCHS, "s0").await.unwrap(), Some(102));
    assert_eq!(reopened.committed_epoch(&EPOCHS, "s1").await.unwrap(), Some(100));
    assert_eq!(test.markers().await, (1..=102).collect::<Vec<_>>());

    std::fs::remove_file(log.join("00000000000000000007.json")).unwrap();
    test.second().await.expect("a checkpoint covers the commits before it");
    let checkpoint = log.join("00000000000000000100.checkpoint.parquet");
    let bytes = std::fs::read(&checkpoint).unwrap();
    std::fs::write(&checkpoint, &bytes[..bytes.len() / 2]).unwrap();
    let error = test.second().await.err().unwrap().to_string();
    assert!(error.contains("epochs") && error.contains("checkpoint.parquet is cut off"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_and_commits_come_from_plain_threads() {
    let test = TestLake::new().await;
    let runtime = tokio::runtime::Handle::current();
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let rows = rows_of(&EPOCHS, 2, &[("records", Arc::new(Int64Array::from(vec![1, 2])))]);
            let files = runtime.block_on(test.lake.write(&EPOCHS, "thread", &rows, NOW_MS)).unwrap();
            runtime.block_on(test.lake.commit(&EPOCHS, &[epoch("s", 1, None, files)])).unwrap();
        });
        worker.join().unwrap();
    });
    assert_eq!(test.markers().await, [1, 2]);
}
