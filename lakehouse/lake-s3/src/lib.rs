//! Lake and state in a bucket of S3 or of a store that speaks its protocol. Exactly-once rests on one thing there: a PUT
//! with `If-None-Match: *` never replaces an object. Not every store does that, so [`Bucket::claim`] tries it before
//! anything is written.
//!
//! Credentials come from the environment only. The client retries what passes by itself, so that a create can meet its own
//! success and look lost: callers read back what is there.

mod claim;
mod error;
mod options;

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use url::Url;

pub use crate::error::S3Error;
pub use crate::options::S3Options;

/// How long the client tries a request again that the store did not answer, ten times at most. Above it everything has
/// attempts of its own, and then the process halts loudly.
const RETRY_FOR: Duration = Duration::from_secs(30);

/// One attempt: the largest Parquet file of an epoch on a slow line.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A folder in a bucket, with the lake and the state of jobs below it.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Of the whole bucket.
    store: Arc<dyn ObjectStore>,
    /// Ends with a slash.
    url: Url,
}

impl Bucket {
    /// The folder that the options name; nothing is asked of the store yet. `environment` gives the value of a variable.
    ///
    /// # Errors
    /// When the options contradict each other, or there are no credentials.
    pub fn open(options: &S3Options, environment: impl Fn(&str) -> Option<String>) -> Result<Self, S3Error> {
        let url = options.folder()?;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(url.host_str().unwrap_or_default())
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(RetryConfig { retry_timeout: RETRY_FOR, ..RetryConfig::default() });
        for (key, value) in options.credentials(environment)? {
            builder = builder.with_config(key, value);
        }
        let client = ClientOptions::new().with_timeout(REQUEST_TIMEOUT).with_allow_http(options.speaks_plain_http()?);
        builder = builder.with_client_options(client);
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        if let Some(region) = &options.region {
            builder = builder.with_region(region);
        }
        let store = Arc::new(builder.build().map_err(|source| S3Error::Settings { source })?);
        Ok(Self { store, url })
    }

    /// The store, of the whole bucket.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// The folder, `s3://bucket/prefix`.
    pub fn url(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// The lake's folder.
    pub fn lake_url(&self) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}lake/", url.path()));
        url
    }

    /// The folder of manifests, snapshots and index segments, in the bucket.
    pub fn state_root(&self) -> Path {
        self.folder().join("state")
    }

    /// Whether there is a lake.
    ///
    /// # Errors
    /// [`S3Error::Store`].
    pub async fn has_lake(&self) -> Result<bool, S3Error> {
        let folder = self.folder().join("lake");
        let found = self.store.list_with_delimiter(Some(&folder)).await;
        let found = found.map_err(|source| S3Error::Store { operation: "list", url: self.url().to_owned(), source })?;
        Ok(!found.common_prefixes.is_empty())
    }

    /// Takes the folder for jobs that read `log`, a name that no other log has, and tries that creates never replace
    /// anything. Whoever reads the same log may claim it, too.
    ///
    /// # Errors
    /// [`S3Error::Replaces`], [`S3Error::OtherLog`], or [`S3Error::Store`].
    pub async fn claim(&self, log: &str) -> Result<(), S3Error> {
        claim::claim(self.store.as_ref(), &self.state_root(), self.url(), log).await
    }

    fn folder(&self) -> Path {
        Path::from(self.url.path())
    }
}
