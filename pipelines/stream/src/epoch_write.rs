//! Steps 2 to 4 of an epoch: the data files, the snapshot, and the manifest that decides it. Until then nobody but its
//! writer knows of it; from then on it belongs to the shard, whoever carries it into the lake.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use marquee_lake::{EpochCommit, tables};

use crate::committer::Decided;
use crate::manifest::{MANIFEST_FORMAT, OutgoingRecord};
use crate::progress::ShardProgress;
use crate::{
    Clock, Decision, Frozen, Manifest, NewRecord, Parent, Route, ShardId, ShardStore, StreamError, TableEpoch,
};

/// Vacuum may take files older than its retention for orphans; an epoch must be far faster (ms).
pub(crate) const MAX_EPOCH_MS: i64 = 10 * 60 * 1000;

/// How often an old snapshot or manifest is looked for: every so many epochs.
const CLEAN_UP_EVERY: u64 = 50;

/// Steps 2 to 4 of an epoch.
pub(crate) struct EpochWrite {
    pub(crate) id: ShardId,
    pub(crate) store: ShardStore,
    pub(crate) lake: Arc<dyn EpochCommit>,
    pub(crate) progress: Arc<ShardProgress>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) writer_id: String,
    pub(crate) snapshot_version: u32,
    pub(crate) epoch: u64,
    pub(crate) next_offset: u64,
    pub(crate) records: u64,
    pub(crate) frozen_at_ms: i64,
    pub(crate) last_epochs: BTreeMap<String, u64>,
    pub(crate) parent: Option<Parent>,
}

impl EpochWrite {
    /// The epoch, decided: its tables are still to be committed.
    pub(crate) async fn run(self, frozen: Frozen) -> Result<Decided, StreamError> {
        let epoch = self.epoch;
        let mut files = BTreeMap::new();
        let control = (&tables::EPOCHS, self.epochs_row(&frozen));
        for (table, rows) in frozen.tables.iter().chain(std::iter::once(&control)) {
            let prev = self.last_epochs.get(table.name).copied();
            let mut written = Vec::new();
            if rows.num_rows() > 0 {
                fail::fail_point!("parquet-before-write");
                let name = format!(
                    "{}-{}-{:05}-{epoch:012}-{}",
                    self.id.job, self.id.topic, self.id.partition, self.writer_id
                );
                let write = self.lake.write(table, &name, rows, self.frozen_at_ms);
                written = write.await.map_err(|source| StreamError::Lake { shard: self.id.to_string(), source })?;
                fail::fail_point!("parquet-after-write");
            }
            files.insert(table.name.to_owned(), TableEpoch { files: written, prev });
        }
        // Tables without rows carry `prev` on, so that the newest manifest knows every table's last epoch.
        for (name, last) in &self.last_epochs {
            files.entry(name.clone()).or_insert_with(|| TableEpoch { files: Vec::new(), prev: Some(*last) });
        }
        for (name, bytes) in frozen.new_segments {
            self.store.write_segment(&name, bytes).await?;
        }
        fail::fail_point!("snapshot-before-write");
        let snapshot =
            self.store.write_snapshot(epoch, &self.writer_id, self.snapshot_version, frozen.snapshot).await?;
        fail::fail_point!("manifest-before-create");
        let manifest = Manifest {
            format: MANIFEST_FORMAT,
            job: self.id.job.to_owned(),
            topic: self.id.topic.clone(),
            partition: self.id.partition,
            epoch,
            writer_id: self.writer_id.clone(),
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            next_offset: self.next_offset,
            watermark_ms: frozen.watermark_ms,
            snapshot,
            segments: frozen.segments,
            tables: files,
            outgoing: frozen.outgoing.into_iter().map(outgoing).collect(),
            frozen_at_ms: self.frozen_at_ms,
            parent: self.parent,
            heirs: Vec::new(),
        };
        if self.clock.now_ms() - self.frozen_at_ms > MAX_EPOCH_MS {
            return Err(StreamError::TooSlow { shard: self.id.to_string(), epoch, limit_ms: MAX_EPOCH_MS });
        }
        if self.store.create_manifest(&manifest).await? == Decision::Lost {
            return Err(StreamError::Fenced { shard: self.id.to_string(), epoch });
        }
        fail::fail_point!("manifest-after-create");
        self.progress.decided_epoch.fetch_max(epoch, Ordering::AcqRel);
        if epoch.is_multiple_of(CLEAN_UP_EVERY) {
            let done = self.progress.done_epoch();
            let needed = frozen.oldest_epoch.unwrap_or(u64::MAX);
            self.store.clean_up(&manifest, done, needed, self.clock.now_ms()).await?;
        }
        Ok(Decided { shard: self.id.clone(), store: self.store, manifest, progress: self.progress })
    }

    fn epochs_row(&self, frozen: &Frozen) -> RecordBatch {
        let timestamp = |ms: Option<i64>| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from(vec![ms.map(|ms| ms.saturating_mul(1000))]).with_timezone("UTC"))
        };
        let int = |value: u64| -> ArrayRef { Arc::new(Int64Array::from(vec![value as i64])) };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![self.id.topic.as_str()])),
            Arc::new(Int32Array::from(vec![self.id.partition as i32])),
            int(self.epoch),
            int(self.next_offset),
            timestamp(frozen.watermark_ms),
            int(self.records),
            int(frozen.events),
            int(frozen.dead_letters),
            timestamp(Some(self.frozen_at_ms)),
        ];
        RecordBatch::try_new(tables::EPOCHS.schema(), columns).expect("the columns are those of the spec")
    }
}

fn outgoing((topic, record): (String, NewRecord)) -> OutgoingRecord {
    let key = match record.route {
        Route::Key(key) => key.to_vec(),
        Route::Partition(partition) => partition.to_be_bytes().to_vec(),
    };
    OutgoingRecord { topic, key, payload: record.payload.to_vec() }
}
