//! What is tried before anything is written to a bucket.

use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};

use crate::S3Error;

/// The object that says which log the state belongs to.
const CLAIM: &str = "log";

/// Says that the state below `root` belongs to `log`, unless that was said before, and tries that a create never replaces
/// anything. Offsets of one log mean nothing in another.
pub(crate) async fn claim(store: &dyn ObjectStore, root: &Path, url: &str, log: &str) -> Result<(), S3Error> {
    let path = root.clone().join(CLAIM);
    let failed = |operation| move |source| S3Error::Store { operation, url: url.to_owned(), source };
    let create = |payload: String| {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        store.put_opts(&path, payload.into(), options)
    };
    match create(format!("{log}\n")).await {
        Ok(_) | Err(Error::AlreadyExists { .. }) => {}
        Err(source) => return Err(failed("write to")(source)),
    }
    let read = async { store.get(&path).await?.bytes().await };
    let found = read.await.map_err(failed("read"))?;
    let found = String::from_utf8_lossy(&found).trim_end().to_owned();
    if found != log {
        return Err(S3Error::OtherLog { url: url.to_owned(), found, wanted: log.to_owned() });
    }
    // With the same bytes, so that a store that replaces them loses nothing by this.
    match create(format!("{log}\n")).await {
        Err(Error::AlreadyExists { .. }) => Ok(()),
        Ok(_) => Err(S3Error::Replaces { url: url.to_owned() }),
        Err(source) => Err(failed("write to")(source)),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use async_trait::async_trait;
    use futures::stream::BoxStream;
    use marquee_events::ErrorKind;
    use object_store::memory::InMemory;
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions, PutPayload,
        PutResult, Result,
    };

    use super::*;

    /// A store that knows nothing of `If-None-Match`, as old ones.
    #[derive(Debug, Default)]
    struct Replacing(InMemory);

    impl fmt::Display for Replacing {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Replacing")
        }
    }

    #[async_trait]
    impl ObjectStore for Replacing {
        async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
            self.0.put_opts(path, payload, PutOptions { mode: PutMode::Overwrite, ..options }).await
        }

        async fn put_multipart_opts(
            &self,
            path: &Path,
            options: PutMultipartOptions,
        ) -> Result<Box<dyn MultipartUpload>> {
            self.0.put_multipart_opts(path, options).await
        }

        async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
            self.0.get_opts(path, options).await
        }

        fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
            self.0.delete_stream(paths)
        }

        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
            self.0.list(prefix)
        }

        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
            self.0.list_with_delimiter(prefix).await
        }

        async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
            self.0.copy_opts(from, to, options).await
        }
    }

    async fn claim_for(store: &dyn ObjectStore, log: &str) -> Result<(), S3Error> {
        claim(store, &"prefix/state".into(), "s3://bucket/prefix", log).await
    }

    #[tokio::test]
    async fn the_state_belongs_to_the_log_that_claimed_it_first() {
        let store = InMemory::new();
        claim_for(&store, "topics of a").await.unwrap();
        claim_for(&store, "topics of a").await.unwrap();
        let error = claim_for(&store, "topics of b").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let message = error.to_string();
        assert!(message.contains("topics of a") && message.contains("topics of b"), "{message}");
        claim_for(&store, "topics of a").await.unwrap();
    }

    #[tokio::test]
    async fn a_store_whose_creates_replace_is_refused() {
        let error = claim_for(&Replacing::default(), "topics of a").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("If-None-Match"), "{error}");
    }
}
