//! An object store that loses requests and replies and lets writes land late, also after their writer is gone. What it
//! does is atomic all the same: a create lands or it does not, and it never replaces anything.
//!
//! As on a local disk, a write can be seen before it is durable: its folder is synced after that, by its writer or by whoever
//! lists the folder. Until then a power cut may take it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::faults::{Fate, Faults};

/// The store.
#[derive(Debug, Clone)]
pub struct FaultyStore {
    inner: Arc<InMemory>,
    late: Arc<Mutex<Vec<Put>>>,
    /// What is durable of objects whose last writes are not.
    unsynced: Arc<Mutex<BTreeMap<Path, Option<PutPayload>>>>,
    faults: Faults,
}

/// A write under way.
#[derive(Debug, Clone)]
struct Put {
    path: Path,
    payload: PutPayload,
    options: PutOptions,
}

impl FaultyStore {
    /// An empty store.
    pub fn new(faults: Faults) -> Self {
        Self { inner: Arc::default(), late: Arc::default(), unsynced: Arc::default(), faults }
    }

    /// What has landed.
    pub fn inner(&self) -> Arc<InMemory> {
        self.inner.clone()
    }

    /// Lets one of the late writes land; whether there was one.
    pub fn land_one(&self) -> bool {
        let mut late = self.late();
        if late.is_empty() {
            return false;
        }
        let chosen = self.faults.below(late.len());
        let put = late.swap_remove(chosen);
        drop(late);
        // A create finds that something is there, or not: nobody hears of it.
        let _ = self.show(put);
        true
    }

    /// What is under way never lands.
    pub fn lose_late(&self) {
        self.late().clear();
    }

    /// A power cut: what is under way is gone, and some of what was seen and not synced.
    pub fn cut_power(&self) {
        self.lose_late();
        for (path, durable) in std::mem::take(&mut *self.unsynced()) {
            if self.faults.happens(0.5) {
                let reverted = match durable {
                    Some(payload) => self.inner.put(&path, payload).now_or_never().map(|put| put.map(drop)),
                    None => self.inner.delete(&path).now_or_never(),
                };
                reverted.expect("memory does not wait").expect("it was there");
            }
        }
    }

    /// A write can be seen; it is not synced.
    fn show(&self, put: Put) -> Result<PutResult> {
        let read = async { self.inner.get(&put.path).await?.bytes().await };
        let before = read.now_or_never().expect("memory does not wait").ok().map(PutPayload::from_bytes);
        let shown = self.inner.put_opts(&put.path, put.payload, put.options).now_or_never();
        let shown = shown.expect("memory does not wait")?;
        self.unsynced().entry(put.path).or_insert(before);
        Ok(shown)
    }

    /// What can be seen in the folder of an object is durable from now on.
    fn sync_folder_of(&self, path: &Path) {
        let folder = |path: &Path| path.as_ref().rsplit_once('/').map(|(folder, _)| folder.to_owned());
        let synced = folder(path);
        self.unsynced().retain(|path, _| folder(path) != synced);
    }

    /// What can be seen in a folder and below it is durable from now on.
    fn sync_below(&self, folder: &Path) {
        self.unsynced().retain(|path, _| !path.prefix_matches(folder));
    }

    fn unsynced(&self) -> std::sync::MutexGuard<'_, BTreeMap<Path, Option<PutPayload>>> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn late(&self) -> std::sync::MutexGuard<'_, Vec<Put>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn injected(what: &'static str) -> Error {
        Error::Generic { store: "faulty", source: what.into() }
    }

    fn reading(&self) -> Result<()> {
        if self.faults.happens(self.faults.rates().unreadable) {
            return Err(Self::injected("injected: the store does not answer"));
        }
        Ok(())
    }
}

/// A write whose writer has not heard of it. When the writer goes, it may land all the same.
struct UnderWay<'a> {
    store: &'a FaultyStore,
    put: Option<Put>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(put) = self.put.take()
            && self.store.faults.happens(self.store.faults.rates().late_after_crash)
        {
            self.store.late().push(put);
        }
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let put = Put { path: location.clone(), payload, options };
        let mut under_way = UnderWay { store: self, put: Some(put) };
        self.faults.travel().await;
        let Some(put) = under_way.put.take() else { unreachable!("nobody else takes it") };
        match self.faults.fate() {
            Fate::IsRefused => return Err(Self::injected("injected: no space left, or no connection")),
            Fate::LandsLate => {
                self.late().push(put);
                return Err(Self::injected("injected: timeout"));
            }
            fate => {
                let landed = self.show(put);
                self.faults.travel().await;
                if landed.is_ok() && (fate == Fate::Lands || self.faults.happens(0.5)) {
                    self.sync_folder_of(location);
                }
                if fate == Fate::LosesItsReply {
                    return Err(Self::injected("injected: the reply is lost"));
                }
                landed
            }
        }
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.faults.travel().await;
        self.reading()?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.reading() {
            Ok(()) => {
                let listed = self.inner.list(prefix);
                if let Some(folder) = prefix {
                    self.sync_below(folder);
                }
                listed
            }
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
