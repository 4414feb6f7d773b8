//! The streaming runtime: shards, watermarks, epochs, manifests, recovery, and the port to the log.
//!
//! A job is a chain from one topic to any number of tables; a shard is one partition of it with its own thread, state,
//! watermark and epoch. `shard.rs` holds the protocol of an epoch, `committer.rs` its last two steps, `roster.rs` which
//! shards are at work in this process. [`Runtime`] drives them on threads, [`SteppedRuntime`] step by step; ARCHITECTURE.md
//! has the table of faults and what proves each row.

mod committer;
pub mod contract;
mod drive;
mod epoch_write;
mod error;
mod fork;
mod generations;
mod growing_log;
mod job;
mod latency;
mod log;
mod manifest;
mod membership;
mod progress;
mod recovery;
mod repair;
mod roster;
mod runtime;
mod shard;
mod shard_io;
mod shard_store;
mod stepped;
mod trace_parent;
mod write_pool;

pub use error::StreamError;
pub use generations::Generations;
pub use growing_log::{GrowingLog, Grown, LogicalMembership};
pub use job::{Frozen, Job, Kept, ShardId, ShardState};
pub use latency::{LatencyHistogram, LatencySnapshot};
pub use log::{
    LogError, NewRecord, PartitionLog, Position, Record, RecordHeader, RecordType, Route, TopicSpec, partition_of,
};
pub use manifest::{MANIFEST_FORMAT, Manifest, OutgoingRecord, Parent, SnapshotRef, TableEpoch};
pub use marquee_events::Clock;
pub use membership::{Assignment, Membership};
pub use progress::{RuntimeProgress, ShardProgress};
pub use recovery::Newest;
pub use repair::{RepairEnv, ShardRepair};
pub use runtime::{Runtime, RuntimeEnv, RuntimeSettings};
pub use shard_io::ShardIo;
pub use shard_store::{Decision, ShardStore};
pub use stepped::{SteppedRuntime, Unit};
pub use trace_parent::TraceParent;
