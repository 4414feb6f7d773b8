//! An object store that loses requests and replies and lets writes land late, also after their writer is gone. What it
//! does is atomic all the same: a create lands or it does not, and it never replaces anything.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::faults::{Fate, Faults};

/// The store.
#[derive(Debug, Clone)]
pub struct FaultyStore {
    inner: Arc<InMemory>,
    late: Arc<Mutex<Vec<Put>>>,
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
        Self { inner: Arc::default(), late: Arc::default(), faults }
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
        let _ = self.inner.put_opts(&put.path, put.payload, put.options).now_or_never();
        true
    }

    /// A power cut: what is under way is gone.
    pub fn lose_late(&self) {
        self.late().clear();
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
                let landed = self.inner.put_opts(&put.path, put.payload, put.options).await;
                self.faults.travel().await;
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
            Ok(()) => self.inner.list(prefix),
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
