//! A lake in a store that is not the local disk. Its create is atomic, as that of S3, and here that can be relied on.

use std::sync::Arc;

use fail::FailScenario;
use marquee_lake::{EpochCommit as _, tables, tables::EPOCHS};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use url::Url;

use super::{Int64Array, NOW_MS, RecordBatch, clock, epoch, ints, rows_of};
use crate::{DeltaLake, LakeOptions};

async fn open(store: Arc<dyn ObjectStore>) -> Arc<DeltaLake> {
    let url = Url::parse("s3://bucket/prefix/lake").unwrap();
    Arc::new(DeltaLake::open_in(store, url, clock(), LakeOptions::default()).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lakes_that_race_make_each_table_and_take_each_epoch_once() {
    const EPOCHS_OF_A_SHARD: u64 = 12;
    let _scenario = FailScenario::setup();
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let racing = (0..3).map(|_| tokio::spawn(open(Arc::clone(&store))));
    let lakes = futures::future::try_join_all(racing).await.unwrap();
    for number in 1..=EPOCHS_OF_A_SHARD {
        // Each shard's epoch is committed by everybody: by its owner, by a recovery, by a fenced process.
        let mut epochs = Vec::new();
        for shard in ["a", "b"] {
            let marker = Arc::new(Int64Array::from(vec![number as i64]));
            let rows = rows_of(&EPOCHS, 1, &[("records", marker)]);
            let files = lakes[0].write(&EPOCHS, &format!("{shard}-{number}"), &rows, NOW_MS).await.unwrap();
            epochs.push(epoch(shard, number, number.checked_sub(1).filter(|prev| *prev > 0), files));
        }
        let race = lakes.iter().enumerate().map(|(index, lake)| {
            let (lake, mut epochs) = (Arc::clone(lake), epochs.clone());
            epochs.rotate_left(index % 2);
            tokio::spawn(async move {
                for epoch in epochs {
                    lake.commit(&EPOCHS, &[epoch]).await.unwrap();
                }
            })
        });
        futures::future::try_join_all(race).await.unwrap();
    }
    let twice: Vec<i64> = (1..=EPOCHS_OF_A_SHARD as i64).flat_map(|number| [number, number]).collect();
    for lake in &lakes {
        assert_eq!(ints(lake, "SELECT records FROM epochs ORDER BY records").await, twice);
        assert_eq!(lake.committed_epoch(&EPOCHS, "a").await.unwrap(), Some(EPOCHS_OF_A_SHARD));
    }
    for table in tables::all() {
        let first = Path::from(format!("prefix/lake/{}/_delta_log/{:020}.json", table.name, 0));
        store.head(&first).await.unwrap_or_else(|error| panic!("{}: {error}", table.name));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_read_back_and_files_have_no_local_path() {
    let _scenario = FailScenario::setup();
    let lake = open(Arc::new(InMemory::new())).await;
    let topics = super::texts_of(&["x", "y", "x"]);
    let files = lake.write(&EPOCHS, "three", &rows_of(&EPOCHS, 3, &[("topic", topics)]), NOW_MS).await.unwrap();
    let paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
    let found = lake.read_rows(&EPOCHS, &paths, "topic", &["x".to_owned()]).await.unwrap();
    assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    let error = lake.files(&EPOCHS).await.unwrap_err();
    assert!(format!("{error}").contains("s3://bucket/prefix/lake/epochs"), "{error}");
}
