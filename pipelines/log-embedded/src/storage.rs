//! The fjall database below the log: how it is opened, which keyspaces it has and with which options.
//!
//! ```text
//! <dir>/lock      held for as long as the log is open
//! <dir>/records/  the database: keyspaces `meta`, `ledger` and one for each segment of each partition
//! ```

use std::fs::{File, TryLockError};
use std::io::ErrorKind as IoKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use fjall::config::{BlockSizePolicy, FilterPolicy};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use marquee_stream::LogError;

use crate::meta::SegmentId;
use crate::storage_error::{from_fjall, from_io, from_panic};

/// Blocks read from disk are kept this long. Shards read the newest records, which are in memory anyway; a replay
/// reads every block once.
const BLOCK_CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// Segments are read in order, never by single key: large blocks mean a small index.
const SEGMENT_BLOCK_BYTES: u32 = 32 * 1024;

/// Flushes write files, one at a time; on a machine of two cores a second thread would take the writer's.
const BACKGROUND_THREADS: usize = 1;

/// No memtable and no journal is too large for fjall: it flushes nothing by itself, the writer decides and the keeper
/// asks for it. By itself fjall queues a request with every commit until a flush is under way; when its workers are busy
/// for long enough these fill its queue of 1000, a worker blocks on the queue that only workers empty, and nothing is
/// flushed ever again (seen with fjall 3.1.13 at 100,000 records/s).
const NEVER: u64 = u64::MAX;

/// The open database.
pub(crate) struct Storage {
    database: Database,
    /// See [`crate::meta`].
    pub(crate) meta: Keyspace,
    /// Topic id (u32, big-endian) and ledger key → nothing.
    pub(crate) ledger: Keyspace,
    /// Unlocked when it is closed, after the database: fields are dropped in this order.
    _lock: File,
}

impl Storage {
    /// Opens the database in `dir`, creating both when they are not there.
    ///
    /// # Errors
    /// [`LogError::InUse`], [`LogError::Damaged`], or when a file cannot be created or read.
    pub(crate) fn open(dir: &Path) -> Result<Self, LogError> {
        let lock = acquire_lock(dir)?;
        let path = dir.join("records");
        if !path.try_exists().map_err(|error| from_io("looking for its database", error))? {
            create_database(dir, &path)?;
        }
        let database = open_database(&path)?;
        let keyspace = |name| {
            database
                .keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(NEVER))
                .map_err(|error| from_fjall("opening the list of topics", error))
        };
        Ok(Self { meta: keyspace("meta")?, ledger: keyspace("ledger")?, database, _lock: lock })
    }

    /// The keyspace of a segment, created durably when it is not there. Commits wait for this, some milliseconds.
    ///
    /// # Errors
    /// When the file system refuses.
    pub(crate) fn create_segment(&self, id: SegmentId) -> Result<Keyspace, LogError> {
        let keyspace = self
            .database
            .keyspace(&id.keyspace_name(), segment_options)
            .map_err(|error| from_fjall("creating a segment", error))?;
        // fjall syncs the files in the keyspace's folder; after a power cut the folder must be there too, or recovery
        // would drop the records that the journal holds for it.
        keyspace.path().parent().map_or(Ok(()), sync_dir)?;
        Ok(keyspace)
    }

    /// The keyspace of a segment that is there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn open_segment(&self, id: SegmentId) -> Result<Keyspace, LogError> {
        self.database
            .keyspace(&id.keyspace_name(), segment_options)
            .map_err(|error| from_fjall("opening a segment", error))
    }

    /// All segments that have a keyspace.
    pub(crate) fn segment_ids(&self) -> Vec<SegmentId> {
        let names = self.database.list_keyspace_names();
        let mut ids: Vec<_> = names.iter().filter_map(|name| SegmentId::from_keyspace_name(name)).collect();
        ids.sort_unstable();
        ids
    }

    /// Drops a segment's keyspace; its files go when the last reader lets go of it.
    ///
    /// # Errors
    /// When the file system refuses.
    pub(crate) fn drop_segment(&self, keyspace: Keyspace) -> Result<(), LogError> {
        self.database.delete_keyspace(keyspace).map_err(|error| from_fjall("dropping a segment", error))
    }

    /// A batch whose `commit` returns once it is on disk.
    pub(crate) fn durable_batch(&self, capacity: usize) -> OwnedWriteBatch {
        OwnedWriteBatch::with_capacity(self.database.clone(), capacity).durability(Some(PersistMode::SyncAll))
    }
}

fn segment_options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(NEVER)
        .data_block_size_policy(BlockSizePolicy::all(SEGMENT_BLOCK_BYTES))
        .filter_policy(FilterPolicy::disabled())
}

/// fjall has a lock of its own, but only inside a database that is already there.
fn acquire_lock(dir: &Path) -> Result<File, LogError> {
    const OPERATION: &str = "locking its folder";
    std::fs::create_dir_all(dir).map_err(|error| from_io(OPERATION, error))?;
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("lock"))
        .map_err(|error| from_io(OPERATION, error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(LogError::InUse(dir.display().to_string())),
        Err(TryLockError::Error(error)) => Err(from_io(OPERATION, error)),
    }
}

/// Creates an empty database beside its place and moves it there: fjall cannot open one whose creation was cut short.
fn create_database(dir: &Path, path: &Path) -> Result<(), LogError> {
    const OPERATION: &str = "creating its database";
    let unfinished = dir.join("records.new");
    match std::fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != IoKind::NotFound => return Err(from_io(OPERATION, error)),
        _ => {}
    }
    drop(open_database(&unfinished)?);
    std::fs::rename(&unfinished, path).map_err(|error| from_io(OPERATION, error))?;
    sync_dir(dir)
}

fn open_database(path: &Path) -> Result<Database, LogError> {
    const OPERATION: &str = "opening its database";
    let open = || {
        Database::builder(path)
            .max_journaling_size(NEVER)
            .cache_size(BLOCK_CACHE_BYTES)
            .worker_threads(BACKGROUND_THREADS)
            .open()
    };
    // Nothing that the closure touches is used after a panic.
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(fjall::Error::Locked)) => Err(LogError::InUse(path.display().to_string())),
        Ok(Err(error)) => Err(from_fjall(OPERATION, error)),
        Err(panic) => Err(from_panic(OPERATION, panic.as_ref())),
    }
}

fn sync_dir(dir: &Path) -> Result<(), LogError> {
    File::open(dir).and_then(|file| file.sync_all()).map_err(|error| from_io("syncing a folder", error))
}
