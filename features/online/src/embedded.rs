//! The online store over fjall. Two things to know: writes are **not** fsynced, and fjall's own flushing is off.
//!
//! It is a copy of states that the features job has in its snapshots. A killed process loses nothing (every write has
//! reached the operating system); a power cut may lose the newest writes, and recovery writes the states anew.
//!
//! fjall 3.1.13 asks its workers for a flush with every commit past its limit and can fill their queue for good (see
//! `log-embedded`), so this store decides itself when to flush: [`FLUSH_BYTES`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Error as IoError, ErrorKind as IoKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use marquee_definitions::{OnlineBatch, OnlineError, OnlineStore, ProfileState, TitleState};

use crate::codec::{MAX_KEY_BYTES, PROFILE, TITLE, decode, encode, id_of, is_shard, key, start_of};
use crate::embedded_error::{Cause, from_fjall, from_io, from_panic};

/// What may be in memory and journal only before it is written to a table: small enough to be read again in a fraction
/// of a second when the store is opened, and for states that change often to be written once for many changes.
const FLUSH_BYTES: u64 = 16 * 1024 * 1024;

/// Blocks read from disk are kept this long: the states of the profiles that are asked for again and again (some kB
/// each, thousands of them). All others cost one read of a block.
const BLOCK_CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// One thread flushes and compacts; on a machine of two cores a second would take the server's.
const BACKGROUND_THREADS: usize = 1;

/// No limit of fjall's makes it flush: see the top of this file.
const NEVER: u64 = u64::MAX;

/// The one keyspace: a batch touches profiles and titles together, and one keyspace flushed means journals freed.
const KEYSPACE: &str = "features";

/// The online store in a folder.
pub struct EmbeddedOnlineStore {
    states: Keyspace,
    database: Database,
    /// Writes since the store was opened.
    version: AtomicU64,
    /// Bytes written since the last flush was begun.
    unflushed_bytes: AtomicU64,
}

impl EmbeddedOnlineStore {
    /// Opens the store in `dir` with all that was written before; creates an empty one when there is none. One process
    /// at a time.
    ///
    /// # Errors
    /// [`OnlineError::Damaged`] naming the folder: remove it, recovery of the features job fills it anew.
    /// [`OnlineError::Storage`] when another process has it open or the file system refuses.
    pub fn open(dir: &Path) -> Result<Self, OnlineError> {
        if !dir.try_exists().map_err(|error| from_io("looking for its folder", error))? {
            create(dir)?;
        }
        let (database, states) = open_database(dir)?;
        let store = Self { states, database, version: AtomicU64::new(0), unflushed_bytes: AtomicU64::new(0) };
        // What the journals held is in memory now, and would not be counted.
        store.flush()?;
        Ok(store)
    }

    fn flush(&self) -> Result<(), OnlineError> {
        self.unflushed_bytes.store(0, Ordering::Relaxed);
        // Hidden in fjall's documentation, but public. It only begins the flush; a worker goes on with it.
        self.states.rotate_memtable().map_err(|error| from_fjall(KEYSPACE, "flushing", error))?;
        Ok(())
    }
}

impl OnlineStore for EmbeddedOnlineStore {
    fn write(&self, batch: &OnlineBatch) -> Result<(), OnlineError> {
        let mut entries = Vec::with_capacity(batch.profiles.len() + batch.titles.len());
        for (profile_id, state) in &batch.profiles {
            entries.push((key(PROFILE, profile_id, &batch.shard)?, encode(state)));
        }
        for (title_id, state) in &batch.titles {
            entries.push((key(TITLE, title_id, &batch.shard)?, encode(state)));
        }
        if entries.is_empty() {
            return Ok(());
        }
        let size_bytes = entries.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
        let mut writes = self.database.batch();
        for (key, value) in entries {
            writes.insert(&self.states, key, value);
        }
        writes.commit().map_err(|error| from_fjall(KEYSPACE, "writing", error))?;
        // After the commit, so that whoever sees the new version reads the new states.
        self.version.fetch_add(1, Ordering::Release);
        let unflushed_bytes = self.unflushed_bytes.fetch_add(size_bytes, Ordering::Relaxed) + size_bytes;
        // One flush at a time; when the disk is slow, the next one takes more.
        if unflushed_bytes >= FLUSH_BYTES && self.states.sealed_memtable_count() == 0 {
            self.flush()?;
        }
        Ok(())
    }

    fn profile(&self, profile_id: &str) -> Result<Option<ProfileState>, OnlineError> {
        // Nothing is stored under a longer one, and fjall panics when it is asked for one of more than 64 KiB.
        if profile_id.len() > MAX_KEY_BYTES {
            return Ok(None);
        }
        fail::fail_point!("online-read", |_| Err(injected()));
        let start = start_of(PROFILE, profile_id);
        let mut sum: Option<ProfileState> = None;
        // One snapshot, in the order of the shards' names.
        for entry in self.states.prefix(&start) {
            let (key, value) = entry.into_inner().map_err(|error| from_fjall(PROFILE, "reading a profile", error))?;
            if !key.strip_prefix(start.as_slice()).is_some_and(is_shard) {
                continue;
            }
            let part = decode(&key, &value)?;
            match &mut sum {
                Some(sum) => sum.merge(&part),
                None => sum = Some(part),
            }
        }
        Ok(sum)
    }

    fn titles(&self) -> Result<Vec<(String, TitleState)>, OnlineError> {
        fail::fail_point!("online-read", |_| Err(injected()));
        // Keys of one title need not stand together: an id may hold the separator.
        let mut titles = BTreeMap::<String, TitleState>::new();
        for entry in self.states.prefix(TITLE) {
            let (key, value) = entry.into_inner().map_err(|error| from_fjall(TITLE, "reading all titles", error))?;
            let title_id = id_of(TITLE, &key)?;
            let part = decode(&key, &value)?;
            match titles.get_mut(title_id) {
                Some(sum) => sum.merge(&part),
                None => drop(titles.insert(title_id.to_owned(), part)),
            }
        }
        Ok(titles.into_iter().collect())
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

/// What a fail point makes of a read.
#[allow(dead_code, reason = "used where fail points are compiled in")]
fn injected() -> OnlineError {
    OnlineError::Storage { operation: "reading", source: Box::new(Cause("injected: online-read".to_owned())) }
}

impl std::fmt::Debug for EmbeddedOnlineStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedOnlineStore").field("path", &self.states.path()).finish_non_exhaustive()
    }
}

/// Creates an empty database beside its place and moves it there: fjall cannot open one whose creation was cut short.
fn create(dir: &Path) -> Result<(), OnlineError> {
    const OPERATION: &str = "creating its folder";
    let io = |error| from_io(OPERATION, error);
    let dir = std::path::absolute(dir).map_err(io)?;
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else {
        return Err(io(IoError::new(IoKind::InvalidInput, "the path names no folder")));
    };
    std::fs::create_dir_all(parent).map_err(io)?;
    let mut unfinished = name.to_owned();
    unfinished.push(".new");
    let unfinished = parent.join(unfinished);
    match std::fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != IoKind::NotFound => return Err(io(error)),
        _ => {}
    }
    drop(open_database(&unfinished)?);
    std::fs::rename(&unfinished, &dir).map_err(io)?;
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(io)
}

fn open_database(dir: &Path) -> Result<(Database, Keyspace), OnlineError> {
    const OPERATION: &str = "opening its folder";
    let open = || {
        let database = Database::builder(dir)
            .max_journaling_size(NEVER)
            .cache_size(BLOCK_CACHE_BYTES)
            .worker_threads(BACKGROUND_THREADS)
            .open()?;
        let states = database.keyspace(KEYSPACE, || KeyspaceCreateOptions::default().max_memtable_size(NEVER))?;
        Ok((database, states))
    };
    let place = dir.display().to_string();
    // Nothing that the closure touches is used after a panic.
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(fjall::Error::Locked)) => {
            let source = Box::new(Cause(format!("another process has {place} open")));
            Err(OnlineError::Storage { operation: OPERATION, source })
        }
        Ok(Err(error)) => Err(from_fjall(&place, OPERATION, error)),
        Err(panic) => Err(from_panic(&place, OPERATION, panic.as_ref())),
    }
}
