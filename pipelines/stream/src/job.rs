//! What a job is to the runtime: a value that describes itself and makes the state of a shard.

use arrow::record_batch::RecordBatch;
use marquee_lake::TableSpec;

use crate::{NewRecord, Parent, Record, ShardIo, StreamError};

/// A job: a chain from one topic to tables and topics. Object-safe; one value serves every shard.
pub trait Job: Send + Sync + 'static {
    /// Its name: part of the shard's id, never changed.
    fn name(&self) -> &'static str;

    /// Its graph, for people.
    fn describe(&self) -> String;

    /// The version of its snapshots; a snapshot of another version is refused.
    fn snapshot_version(&self) -> u32;

    /// The table whose rows of earlier epochs the job reads again.
    fn replay_table(&self) -> &'static TableSpec;

    /// Makes the state of a shard, from what its last epoch has kept or empty.
    ///
    /// # Errors
    /// When the snapshot or a segment cannot be read.
    fn start_shard(&self, shard: &ShardId, kept: Option<Kept<'_>>) -> Result<Box<dyn ShardState>, StreamError>;
}

/// What an epoch has kept of a shard's state.
#[derive(Clone, Copy)]
pub struct Kept<'a> {
    /// Its snapshot.
    pub snapshot: &'a [u8],
    /// Reads the segments that the snapshot refers to.
    pub io: &'a ShardIo,
    /// The state is that of the shard's parent: the shard takes over what is of its own keys, and its first epoch is the one
    /// after the parent's last.
    pub fork: Option<Parent>,
}

/// One partition of a job's topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ShardId {
    /// The job.
    pub job: &'static str,
    /// Its input topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
}

impl std::fmt::Display for ShardId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.job, self.topic, self.partition)
    }
}

/// The state of a shard: one thread's own, changed by batches of records and frozen once an epoch.
pub trait ShardState: Send {
    /// Takes in records, in order.
    ///
    /// # Errors
    /// Only for defects: bad input goes to dead letters.
    fn process(&mut self, records: &[Record]) -> Result<(), StreamError>;

    /// Bytes of rows that wait for the end of the epoch.
    fn pending_bytes(&self) -> usize;

    /// The uncommitted deltas of the current epoch, all of them, if they changed since the last call.
    fn live(&mut self, epoch: u64) -> Option<Vec<u8>>;

    /// Ends the epoch: hands over its rows and the snapshot. With `last`, open state is written out as rows, too: no
    /// more records will come to this process.
    ///
    /// # Errors
    /// When rows of earlier epochs cannot be read.
    fn freeze(&mut self, epoch: u64, last: bool, io: &ShardIo) -> Result<Frozen, StreamError>;
}

/// An epoch's contents, fixed.
#[derive(Debug, Default)]
pub struct Frozen {
    /// Rows for each table.
    pub tables: Vec<(&'static TableSpec, RecordBatch)>,
    /// The state after the epoch.
    pub snapshot: Vec<u8>,
    /// New immutable segments of the job's state: (name, bytes). Written before the manifest. A name begins with the
    /// epoch in twelve digits: by that, old ones are known when they are removed.
    pub new_segments: Vec<(String, Vec<u8>)>,
    /// All the segments that the snapshot refers to.
    pub segments: Vec<String>,
    /// The first epoch whose rows the state could still read again; `None` when it needs none.
    pub oldest_epoch: Option<u64>,
    /// The final deltas of the epoch for the live view.
    pub live: Option<Vec<u8>>,
    /// Records to publish once the epoch is in the lake: (topic, record), in order.
    pub outgoing: Vec<(String, NewRecord)>,
    /// Event time that has passed (ms since the epoch).
    pub watermark_ms: Option<i64>,
    /// Rows added to the replay table.
    pub events: u64,
    /// Events lost to dead letters.
    pub dead_letters: u64,
}
