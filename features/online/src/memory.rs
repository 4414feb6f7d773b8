//! The online store in memory: the contract in its plainest form, for tests, with a switch that makes it fail.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use marquee_definitions::{OnlineBatch, OnlineError, OnlineStore, ProfileState, TitleState};

use crate::embedded_error::Cause;

/// The online store of a test. It forgets everything when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryOnlineStore {
    parts: RwLock<Parts>,
    version: AtomicU64,
    closed: AtomicBool,
}

/// By id, then by shard.
#[derive(Debug, Default)]
struct Parts {
    profiles: BTreeMap<String, BTreeMap<String, ProfileState>>,
    titles: BTreeMap<String, BTreeMap<String, TitleState>>,
}

impl MemoryOnlineStore {
    /// From now on every call but [`version`](OnlineStore::version) fails, as with a store whose disk is gone.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn open_for(&self, operation: &'static str) -> Result<(), OnlineError> {
        if self.closed.load(Ordering::Relaxed) {
            let source = Box::new(Cause("the store is closed".to_owned()));
            return Err(OnlineError::Storage { operation, source });
        }
        Ok(())
    }

    /// A thread that panicked while it held the lock was a test that has failed.
    fn read(&self) -> RwLockReadGuard<'_, Parts> {
        self.parts.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OnlineStore for MemoryOnlineStore {
    fn write(&self, batch: &OnlineBatch) -> Result<(), OnlineError> {
        self.open_for("writing")?;
        if batch.profiles.is_empty() && batch.titles.is_empty() {
            return Ok(());
        }
        let mut parts = self.parts.write().unwrap_or_else(PoisonError::into_inner);
        for (profile_id, state) in &batch.profiles {
            parts.profiles.entry(profile_id.clone()).or_default().insert(batch.shard.clone(), state.clone());
        }
        for (title_id, state) in &batch.titles {
            parts.titles.entry(title_id.clone()).or_default().insert(batch.shard.clone(), state.clone());
        }
        drop(parts);
        self.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    fn profile(&self, profile_id: &str) -> Result<Option<ProfileState>, OnlineError> {
        self.open_for("reading a profile")?;
        Ok(self.read().profiles.get(profile_id).and_then(|parts| sum(parts, ProfileState::merge)))
    }

    fn titles(&self) -> Result<Vec<(String, TitleState)>, OnlineError> {
        self.open_for("reading all titles")?;
        let parts = self.read();
        let titles = parts.titles.iter();
        Ok(titles.filter_map(|(title_id, parts)| Some((title_id.clone(), sum(parts, TitleState::merge)?))).collect())
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

/// All parts, in the order of the shards' names.
fn sum<T: Clone>(parts: &BTreeMap<String, T>, merge: impl Fn(&mut T, &T)) -> Option<T> {
    let mut parts = parts.values();
    let mut sum = parts.next()?.clone();
    parts.for_each(|part| merge(&mut sum, part));
    Some(sum)
}
