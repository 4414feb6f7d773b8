//! Why lake and state cannot be in a bucket.

use marquee_events::ErrorKind;

/// An error about a bucket.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// The folder is none.
    #[error("lake.url `{url}` {problem}: write it as s3://bucket/prefix")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The endpoint is none.
    #[error("lake.s3.endpoint {problem}: write it as https://host:port")]
    Endpoint {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Anybody on the way could read everything.
    #[error(
        "lake.s3.endpoint {endpoint} is not encrypted and not on this machine: use https, or set lake.s3.allow_http = true \
         on a network that nobody else uses"
    )]
    PlainHttp {
        /// The endpoint.
        endpoint: String,
    },
    /// Nothing to sign requests with.
    #[error(
        "{missing} is not set in the environment: requests to the bucket are signed with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )]
    NoCredentials {
        /// The variable.
        missing: &'static str,
    },
    /// The client does not take them.
    #[error("the bucket's settings are not taken")]
    Settings {
        /// The cause.
        #[source]
        source: object_store::Error,
    },
    /// The store did not do it.
    #[error("cannot {operation} {url}")]
    Store {
        /// What was tried.
        operation: &'static str,
        /// Where.
        url: String,
        /// The cause.
        #[source]
        source: object_store::Error,
    },
    /// Two writers could both believe that they decided an epoch.
    #[error(
        "the store of {url} replaced an object that was to be created: it does not know If-None-Match, on which it \
         rests that every event counts once; use a store that does, as Amazon S3"
    )]
    Replaces {
        /// The folder.
        url: String,
    },
    /// Offsets there are those of other records.
    #[error(
        "{url} belongs to {found}, and this process reads {wanted}: choose another lake.url, or the log it was written from"
    )]
    OtherLog {
        /// The folder.
        url: String,
        /// Whose it is.
        found: String,
        /// Who wants it.
        wanted: String,
    },
}

impl S3Error {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        use object_store::Error;
        match self {
            S3Error::Store { source: Error::PermissionDenied { .. } | Error::Unauthenticated { .. }, .. } => {
                ErrorKind::Invalid
            }
            S3Error::Store { .. } => ErrorKind::Unavailable,
            S3Error::Url { .. }
            | S3Error::Endpoint { .. }
            | S3Error::PlainHttp { .. }
            | S3Error::NoCredentials { .. }
            | S3Error::Settings { .. }
            | S3Error::Replaces { .. }
            | S3Error::OtherLog { .. } => ErrorKind::Invalid,
        }
    }
}
