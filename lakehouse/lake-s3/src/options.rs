//! How a bucket is reached.

use object_store::aws::AmazonS3ConfigKey as Key;
use url::{Host, Url};

use crate::S3Error;

/// Where the bucket is. Nothing here is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Options {
    /// `s3://bucket/prefix`.
    pub url: String,
    /// `https://host:port` of a store that is not Amazon's; `None` for Amazon's.
    pub endpoint: Option<String>,
    /// The region; `None`: what the environment says.
    pub region: Option<String>,
    /// Speak to an endpoint without TLS that is not on this machine.
    pub allow_http: bool,
}

/// What is taken from the environment: credentials in each of their forms, and where they are asked for. Anything else
/// is a setting, so that `marquee config` tells the truth.
const FROM_ENVIRONMENT: [(&str, Key); 12] = [
    ("AWS_ACCESS_KEY_ID", Key::AccessKeyId),
    ("AWS_SECRET_ACCESS_KEY", Key::SecretAccessKey),
    ("AWS_SESSION_TOKEN", Key::Token),
    ("AWS_DEFAULT_REGION", Key::DefaultRegion),
    ("AWS_REGION", Key::Region),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", Key::WebIdentityTokenFile),
    ("AWS_ROLE_ARN", Key::RoleArn),
    ("AWS_ROLE_SESSION_NAME", Key::RoleSessionName),
    ("AWS_ENDPOINT_URL_STS", Key::StsEndpoint),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", Key::ContainerCredentialsRelativeUri),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", Key::ContainerCredentialsFullUri),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", Key::ContainerAuthorizationTokenFile),
];

impl S3Options {
    /// The folder, with a slash at its end.
    pub(crate) fn folder(&self) -> Result<Url, S3Error> {
        let wrong = |problem| S3Error::Url { url: without_user(&self.url), problem };
        let mut url = Url::parse(&self.url).map_err(|_| wrong("is not a URL"))?;
        match () {
            () if url.scheme() != "s3" => return Err(wrong("does not begin with s3://")),
            () if url.host_str().unwrap_or_default().is_empty() => return Err(wrong("names no bucket")),
            () if has_user(&url) => return Err(wrong("has credentials, which belong in the environment")),
            () if url.port().is_some() => return Err(wrong("has a port, which belongs to lake.s3.endpoint")),
            () if url.query().is_some() || url.fragment().is_some() => return Err(wrong("has a ? or a #")),
            () if url.path().contains("//") || url.path().contains('%') => {
                return Err(wrong("has a part that is empty or not plain text"));
            }
            () => {}
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(url)
    }

    /// Whether requests go without TLS: only within this machine, or where that was allowed.
    pub(crate) fn speaks_plain_http(&self) -> Result<bool, S3Error> {
        let Some(endpoint) = &self.endpoint else { return Ok(false) };
        let wrong = |problem| S3Error::Endpoint { problem };
        let url = Url::parse(endpoint).map_err(|_| wrong("is not a URL"))?;
        if has_user(&url) {
            return Err(wrong("has credentials, which belong in the environment"));
        }
        let is_here = match url.host() {
            None => return Err(wrong("names no host")),
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
        };
        match url.scheme() {
            "https" => Ok(false),
            "http" if is_here || self.allow_http => Ok(true),
            "http" => Err(S3Error::PlainHttp { endpoint: endpoint.clone() }),
            _ => Err(wrong("is neither http nor https")),
        }
    }

    /// Credentials, and what else the environment gives the client.
    pub(crate) fn credentials(
        &self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<(Key, String)>, S3Error> {
        let found: Vec<(&str, Key, String)> = FROM_ENVIRONMENT
            .into_iter()
            .filter_map(|(name, key)| Some((name, key, environment(name).filter(|value| !value.is_empty())?)))
            .collect();
        let has = |name: &str| found.iter().any(|(found, ..)| *found == name);
        let is_role = found.iter().any(|(name, ..)| name.starts_with("AWS_CONTAINER_C")) || has("AWS_ROLE_ARN");
        // Without any, the client would ask Amazon's machines for theirs, also where there are none.
        let must_have = has("AWS_ACCESS_KEY_ID") || has("AWS_SECRET_ACCESS_KEY") || self.endpoint.is_some();
        if must_have && !is_role {
            let missing = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].into_iter().find(|name| !has(name));
            if let Some(missing) = missing {
                return Err(S3Error::NoCredentials { missing });
            }
        }
        Ok(found.into_iter().map(|(_, key, value)| (key, value)).collect())
    }
}

fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// For a message: a password that somebody wrote into a URL is not shown.
fn without_user(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use marquee_events::ErrorKind;

    use super::*;
    use crate::Bucket;

    fn options(url: &str) -> S3Options {
        S3Options { url: url.to_owned(), endpoint: None, region: None, allow_http: false }
    }

    fn keys(name: &str) -> Option<String> {
        let value = match name {
            "AWS_ACCESS_KEY_ID" => "key",
            "AWS_SECRET_ACCESS_KEY" => "s3cret",
            "AWS_SESSION_TOKEN" => "t0ken",
            "AWS_REGION" => "eu-central-1",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn a_folder_is_a_bucket_and_a_prefix() {
        let bucket = |url: &str| Bucket::open(&options(url), keys);
        for (url, lake, state) in [
            ("s3://bucket", "s3://bucket/lake/", "state"),
            ("s3://bucket/", "s3://bucket/lake/", "state"),
            ("s3://bucket/a/b", "s3://bucket/a/b/lake/", "a/b/state"),
            ("s3://bucket/a/b/", "s3://bucket/a/b/lake/", "a/b/state"),
        ] {
            let bucket = bucket(url).unwrap();
            assert_eq!((bucket.lake_url().as_str(), bucket.state_root().as_ref()), (lake, state), "{url}");
        }
        for url in ["bucket", "s3:///a", "https://bucket/a", "s3://u:s3cret@bucket/a", "s3://bucket/a?b", "s3://b//a"] {
            let error = bucket(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains("lake.url") && !error.to_string().contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn without_tls_only_within_this_machine_or_where_allowed() {
        let plain = |endpoint: &str, allow_http| {
            let options = S3Options { endpoint: Some(endpoint.to_owned()), allow_http, ..options("s3://bucket") };
            options.speaks_plain_http().map_err(|error| error.to_string())
        };
        for endpoint in ["http://localhost:9000", "http://127.0.0.1:9000", "http://127.3.2.1", "http://[::1]:9000"] {
            assert_eq!(plain(endpoint, false), Ok(true), "{endpoint}");
        }
        for endpoint in ["http://store:9000", "http://10.0.0.7", "http://localhost.example.com", "http://[fd00::1]"] {
            assert!(plain(endpoint, false).unwrap_err().contains("allow_http"), "{endpoint}");
            assert_eq!(plain(endpoint, true), Ok(true), "{endpoint}");
        }
        assert_eq!(plain("https://store:9000", true), Ok(false));
        for endpoint in ["store:9000", "ftp://store", "https://user:s3cret@store"] {
            let error = plain(endpoint, true).unwrap_err();
            assert!(error.contains("lake.s3.endpoint") && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn credentials_come_from_the_environment_and_are_never_shown() {
        let endpoint = Some("https://store".to_owned());
        let elsewhere = S3Options { endpoint, ..options("s3://bucket") };
        let bucket = Bucket::open(&elsewhere, keys).unwrap();
        let shown = format!("{bucket:?} {bucket:#?} {}", bucket.store());
        assert!(shown.contains("bucket") && !shown.contains("s3cret") && !shown.contains("t0ken"), "{shown}");
        let missing = |options: &S3Options, name: &'static str| {
            Bucket::open(options, |asked| keys(asked).filter(|_| asked != name)).err().map(|error| error.to_string())
        };
        assert!(missing(&elsewhere, "AWS_SECRET_ACCESS_KEY").unwrap().contains("AWS_SECRET_ACCESS_KEY is not set"));
        assert!(
            missing(&options("s3://bucket"), "AWS_ACCESS_KEY_ID").unwrap().contains("AWS_ACCESS_KEY_ID is not set")
        );
        assert!(Bucket::open(&elsewhere, |_| None).is_err());
        // On Amazon's machines, and with a role, they are asked for.
        assert!(Bucket::open(&options("s3://bucket"), |_| None).is_ok());
        let role = |name: &str| (name == "AWS_CONTAINER_CREDENTIALS_FULL_URI").then(|| "http://localhost/x".to_owned());
        assert!(Bucket::open(&elsewhere, role).is_ok());
    }
}
