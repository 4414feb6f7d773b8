//! An object store on the local disk whose writes survive a power cut: temporary file, fsync, link or rename, fsync of
//! the folder. `object_store`'s own local store never syncs. Everything that Marquee writes locally (Parquet,
//! snapshots, manifests, `_delta_log`) goes through here.
//!
//! A file can be seen before its folder is synced, by others or after a kill. Whoever acts on what others wrote finds it
//! in a listing, so a listing syncs the folders of what it shows: what was listed stays, whatever happens then.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, RenameTargetMode, Result, UploadPart,
};

/// A durable local store. Paths are absolute file system paths without the leading slash.
#[derive(Debug, Clone)]
pub struct DurableLocalStore {
    inner: Arc<LocalFileSystem>,
}

/// Names temporary files apart within this process; the process id does so between processes.
static NEXT_TEMPORARY: AtomicU64 = AtomicU64::new(0);

impl DurableLocalStore {
    /// A store over the whole file system.
    pub fn new() -> Self {
        Self { inner: Arc::new(LocalFileSystem::new()) }
    }

    /// Syncs the folders of what is listed before anybody hears of it.
    fn make_durable(&self, listed: BoxStream<'static, Result<ObjectMeta>>) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = self.clone();
        let durable = async move {
            let objects: Vec<ObjectMeta> = listed.try_collect().await?;
            let mut folders = BTreeSet::new();
            for object in &objects {
                let file = store.inner.path_to_filesystem(&object.location)?;
                folders.extend(file.parent().map(FsPath::to_path_buf));
            }
            let task = tokio::task::spawn_blocking(move || folders.iter().try_for_each(|folder| sync_seen(folder)));
            let synced = task.await.map_err(|source| Error::JoinError { source })?;
            synced.map_err(|source| Error::Generic { store: "durable local store", source: source.into() })?;
            Ok::<_, Error>(futures::stream::iter(objects.into_iter().map(Ok)))
        };
        futures::stream::once(durable).try_flatten().boxed()
    }

    async fn write(&self, location: &Path, payload: PutPayload, create: bool) -> Result<PutResult> {
        let target = self.inner.path_to_filesystem(location)?;
        let name = location.to_string();
        let task = tokio::task::spawn_blocking(move || write_durably(&target, &payload, create));
        match task.await {
            Ok(Ok(())) => Ok(PutResult { e_tag: None, version: None }),
            Ok(Err(source)) if source.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::AlreadyExists { path: name, source: source.into() })
            }
            Ok(Err(source)) => Err(Error::Generic { store: "durable local store", source: source.into() }),
            Err(source) => Err(Error::JoinError { source }),
        }
    }
}

impl Default for DurableLocalStore {
    fn default() -> Self {
        Self::new()
    }
}

fn write_durably(target: &FsPath, payload: &PutPayload, create: bool) -> io::Result<()> {
    let folder = target.parent().ok_or_else(|| io::Error::other("a file has a folder"))?;
    create_folder_durably(folder)?;
    let temporary = temporary_beside(target);
    let written = (|| {
        let mut file = File::create_new(&temporary)?;
        for chunk in payload {
            file.write_all(chunk)?;
        }
        fail::fail_point!("store-before-sync", |_| Err(io::Error::other("injected: store-before-sync")));
        file.sync_all()?;
        if create {
            // A link fails when the target exists; a rename would replace it.
            fs::hard_link(&temporary, target)
        } else {
            fs::rename(&temporary, target)
        }
    })();
    if create || written.is_err() {
        // Left behind after a crash, it is invisible (`#` and digits) and harmless.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_folder(folder)
}

/// `object_store` leaves names that end in `#` and digits out of listings.
fn temporary_beside(target: &FsPath) -> PathBuf {
    let number = NEXT_TEMPORARY.fetch_add(1, Ordering::Relaxed);
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!("#{:010}{number:06}", std::process::id()));
    target.with_file_name(name)
}

fn create_folder_durably(folder: &FsPath) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        create_folder_durably(parent)?;
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => sync_folder(parent)?,
        }
    }
    Ok(())
}

fn sync_folder(folder: &FsPath) -> io::Result<()> {
    #[cfg(test)]
    tests::SYNCED.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(folder.to_owned());
    File::open(folder)?.sync_all()
}

/// A folder that is gone since holds nothing that could be lost.
fn sync_seen(folder: &FsPath) -> io::Result<()> {
    match sync_folder(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        synced => synced,
    }
}

impl fmt::Display for DurableLocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DurableLocalStore")
    }
}

#[async_trait]
impl ObjectStore for DurableLocalStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        match opts.mode {
            PutMode::Overwrite => self.write(location, payload, false).await,
            PutMode::Create => self.write(location, payload, true).await,
            PutMode::Update(_) => Err(Error::NotImplemented {
                operation: "conditional update".to_owned(),
                implementer: "DurableLocalStore".to_owned(),
            }),
        }
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(BufferedUpload { store: self.clone(), location: location.clone(), parts: Vec::new() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        // Opens the file once; the default opens it for each range.
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.make_durable(self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        // Skips files by name; the default looks at each one, and a `_delta_log` holds thousands.
        self.make_durable(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        use object_store::ObjectStoreExt as _;
        let payload = PutPayload::from_bytes(self.inner.get(from).await?.bytes().await?);
        let create = matches!(options.mode, CopyMode::Create);
        self.write(to, payload, create).await.map(|_| ())
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        use object_store::ObjectStoreExt as _;
        let mode = match options.target_mode {
            RenameTargetMode::Overwrite => CopyMode::Overwrite,
            RenameTargetMode::Create => CopyMode::Create,
        };
        self.copy_opts(from, to, CopyOptions { mode, ..Default::default() }).await?;
        self.delete(from).await
    }
}

/// Collects parts and writes them as one file: local parts save nothing, and a file is whole or absent.
#[derive(Debug)]
struct BufferedUpload {
    store: DurableLocalStore,
    location: Path,
    parts: Vec<PutPayload>,
}

#[async_trait]
impl MultipartUpload for BufferedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.push(data);
        futures::future::ready(Ok(())).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let payload = self.parts.drain(..).flat_map(|part| part.into_iter().collect::<Vec<_>>()).collect();
        self.store.write(&self.location, payload, false).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use object_store::ObjectStoreExt as _;

    use super::*;

    /// Folders that were synced, by all tests.
    pub(super) static SYNCED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

    /// Somebody else linked it and was killed before the folder was synced.
    #[tokio::test]
    async fn what_a_listing_shows_is_durable() {
        let folder = tempfile::tempdir().unwrap();
        let (manifests, log) = (folder.path().join("shard/manifest"), folder.path().join("table/_delta_log"));
        for file in [manifests.join("1.json"), log.join("1.json"), log.join("2.json")] {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "killed").unwrap();
        }
        let times = |folder: &FsPath| SYNCED.lock().unwrap().iter().filter(|synced| *synced == folder).count();
        let store = DurableLocalStore::new();
        let root = Path::from_absolute_path(folder.path()).unwrap();
        assert_eq!(store.list(Some(&root)).try_collect::<Vec<_>>().await.unwrap().len(), 3);
        assert_eq!((times(&manifests), times(&log)), (1, 1));
        let (log_path, first) =
            (root.clone().join("table").join("_delta_log"), Path::from_absolute_path(log.join("1.json")));
        let after: Vec<_> = store.list_with_offset(Some(&log_path), &first.unwrap()).try_collect().await.unwrap();
        assert_eq!((after.len(), times(&manifests), times(&log)), (1, 1, 2));
        let nowhere = root.join("nowhere");
        assert_eq!(store.list(Some(&nowhere)).try_collect::<Vec<_>>().await.unwrap(), []);
    }

    #[tokio::test]
    async fn create_is_exclusive_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let store = DurableLocalStore::new();
        let path = Path::from_absolute_path(folder.path().join("a/b/c")).unwrap();
        let create = || PutOptions { mode: PutMode::Create, ..Default::default() };
        store.put_opts(&path, "one".into(), create()).await.unwrap();
        let again = store.put_opts(&path, "two".into(), create()).await;
        assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap().as_ref(), b"one");
        store.put(&path, "three".into()).await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap().as_ref(), b"three");
        let root = Path::from_absolute_path(folder.path()).unwrap();
        let listed: Vec<_> = store.list(Some(&root)).try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(fs::read_dir(folder.path().join("a/b")).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn one_of_many_creators_wins() {
        let folder = tempfile::tempdir().unwrap();
        let path = Path::from_absolute_path(folder.path().join("manifest")).unwrap();
        let attempts = (0..16).map(|i| {
            let (store, path) = (DurableLocalStore::new(), path.clone());
            let options = PutOptions { mode: PutMode::Create, ..Default::default() };
            async move { store.put_opts(&path, format!("{i}").into(), options).await.is_ok() }
        });
        let won = futures::future::join_all(attempts).await.into_iter().filter(|won| *won).count();
        assert_eq!(won, 1);
    }

    #[tokio::test]
    async fn a_multipart_upload_is_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let store = DurableLocalStore::new();
        let path = Path::from_absolute_path(folder.path().join("parts")).unwrap();
        let mut upload = store.put_multipart(&path).await.unwrap();
        upload.put_part("ab".into()).await.unwrap();
        upload.put_part("cd".into()).await.unwrap();
        upload.complete().await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap().as_ref(), b"abcd");
    }
    #[tokio::test]
    async fn reads_go_through_to_the_inner_store() {
        let folder = tempfile::tempdir().unwrap();
        let store = DurableLocalStore::new();
        let root = Path::from_absolute_path(folder.path()).unwrap();
        for name in ["1", "2", "3"] {
            store.put(&root.clone().join(name), "abcdef".into()).await.unwrap();
        }
        let second = root.clone().join("2");
        let after: Vec<_> = store.list_with_offset(Some(&root), &second).try_collect().await.unwrap();
        assert_eq!(after.iter().map(|file| &file.location).collect::<Vec<_>>(), [&root.clone().join("3")]);
        assert_eq!(store.get_ranges(&second, &[4..6, 0..1]).await.unwrap(), ["ef", "a"]);
    }
}
