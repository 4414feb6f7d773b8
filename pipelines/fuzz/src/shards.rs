//! What a shard needs around it, and what it has written.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arrow::array::AsArray as _;
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use marquee_events::ManualClock;
use marquee_lake::TableSpec;
use marquee_stream::{Frozen, Job, ShardId, ShardIo, ShardStore};
use object_store::memory::InMemory;
use tokio::runtime::Runtime;

use crate::memory_lake::MemoryLake;

/// Where an event is: (offset of its record, index in it), −1 for a whole record.
pub(crate) type Place = (i64, i64);

pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime"))
}

pub(crate) fn shard_io(job: &impl Job, id: &ShardId, now_ms: i64) -> (ShardIo, ShardStore) {
    let store = ShardStore::new(Arc::new(InMemory::new()), &"state".into(), id);
    let (lake, clock) = (Arc::new(MemoryLake::default()), Arc::new(ManualClock::new(now_ms)));
    let handle = runtime().handle().clone();
    (ShardIo::new(id.clone(), store.clone(), lake, handle, clock, job.replay_table()), store)
}

/// The rows of a table, if it has any.
pub(crate) fn rows<'a>(frozen: &'a Frozen, table: &str) -> Option<&'a RecordBatch> {
    let named = |(spec, _): &&(&TableSpec, RecordBatch)| spec.name == table;
    frozen.tables.iter().find(named).map(|(_, rows)| rows)
}

pub(crate) fn longs<'a>(rows: &'a RecordBatch, column: &str) -> &'a [i64] {
    rows.column_by_name(column).expect("the table has it").as_primitive::<Int64Type>().values()
}

/// The rows of a table with a place, each by its number in the table.
pub(crate) fn places(frozen: &Frozen, table: &str) -> BTreeMap<Place, usize> {
    let Some(rows) = rows(frozen, table) else { return BTreeMap::new() };
    let indexes = rows.column_by_name("index").expect("the table has it").as_primitive::<Int32Type>();
    let places = longs(rows, "offset").iter().zip(indexes.values());
    let places: BTreeMap<Place, usize> =
        places.enumerate().map(|(number, (offset, index))| ((*offset, i64::from(*index)), number)).collect();
    assert_eq!(places.len(), indexes.len(), "a place twice in {table}");
    places
}
