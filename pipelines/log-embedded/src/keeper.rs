//! The thread beside the writer: makes the next segment before the active one is full, and has records flushed from
//! memory and journal into tables.

use std::sync::Arc;
use std::sync::mpsc;

use fjall::Keyspace;
use marquee_stream::LogError;

use crate::meta::SegmentId;
use crate::storage::Storage;
use crate::storage_error::from_fjall;
use crate::topic::{Topic, lock};

/// What there is to do. The writer sends each once for so many bytes written, which bounds the queue.
pub(crate) enum Job {
    /// Make this segment.
    Prepare(SegmentId, Arc<Topic>),
    /// Write what this keyspace has in memory to a table.
    Flush(Keyspace),
}

/// Works until the writer has gone.
pub(crate) fn run(storage: &Storage, jobs: &mpsc::Receiver<Job>) {
    for job in jobs {
        let done = match job {
            Job::Prepare(id, topic) => prepare(storage, id, &topic),
            // Hidden in fjall's documentation, but public; `storage` tells why fjall does not do it by itself.
            Job::Flush(keyspace) => {
                keyspace.rotate_memtable().map(drop).map_err(|error| from_fjall("flushing records", error))
            }
        };
        if let Err(error) = done {
            tracing::error!(%error, source = error_source(&error), "the log could not look after its segments");
        }
    }
}

fn prepare(storage: &Storage, id: SegmentId, topic: &Topic) -> Result<(), LogError> {
    let partition = &topic.partitions[id.partition as usize];
    match storage.create_segment(id) {
        Ok(keyspace) => {
            *lock(&partition.prepared) = Some(keyspace);
            Ok(())
        }
        Err(error) => {
            // The writer asks again with the next record.
            lock(&partition.tail).next_requested = false;
            Err(error)
        }
    }
}

fn error_source(error: &LogError) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}
