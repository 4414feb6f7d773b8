//! The client of the collector's HTTP contract. Every attempt asks for its body anew, so that `sent_at_ms` is always
//! the moment of this very attempt.

use std::time::Duration;

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::SourceError;

/// Attempts per request. With the delays below that is about a quarter of a minute: long enough for a collector that
/// restarts, short enough for a person who forgot to start it.
const MAX_ATTEMPTS: u32 = 12;
/// The first delay between attempts; it doubles up to [`MAX_BACKOFF`].
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(2);
/// The longest `Retry-After` that is obeyed in full.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(10);
/// Longer than the collector itself waits for its log (20 s): it is the one to say what happened.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// So much of an unexpected answer is quoted in an error (characters).
const QUOTED_ANSWER_CHARS: usize = 200;

/// One request's body.
pub(crate) struct Body {
    pub(crate) content_type: &'static str,
    pub(crate) gzip: bool,
    pub(crate) bytes: Vec<u8>,
}

/// A request that the collector accepted.
pub(crate) struct Accepted<T> {
    pub(crate) answer: T,
    /// Attempts before it that failed without saying whether they were accepted: each may have been.
    pub(crate) unsure_attempts: u32,
}

/// Speaks to one collector; clones share its connections.
#[derive(Clone)]
pub(crate) struct Collector {
    http: Client,
    base: Url,
    /// Attempts per request; tests of failures have less patience.
    pub(crate) max_attempts: u32,
}

impl Collector {
    pub(crate) fn new(address: &str) -> Result<Self, SourceError> {
        let refuse =
            |problem: &str| SourceError::CollectorAddress { address: address.to_owned(), problem: problem.to_owned() };
        let mut base = Url::parse(address).map_err(|error| refuse(&error.to_string()))?;
        if base.scheme() != "http" {
            return Err(refuse("it must begin with http://"));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        // A library knows no environment: proxies of the shell are not for a service next door.
        let http = Client::builder()
            .no_proxy()
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(SourceError::BuildClient)?;
        Ok(Self { http, base, max_attempts: MAX_ATTEMPTS })
    }

    /// The address of a path below the collector's, such as `v1/events`.
    pub(crate) fn url(&self, path: &str) -> Result<Url, SourceError> {
        self.base.join(path).map_err(|error| SourceError::CollectorAddress {
            address: format!("{}{path}", self.base),
            problem: error.to_string(),
        })
    }

    /// Posts `body()` until it is accepted.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        url: &Url,
        mut body: impl FnMut() -> Body,
    ) -> Result<Accepted<T>, SourceError> {
        self.attempt(url, || {
            let body = body();
            let mut request = self.http.request(Method::POST, url.clone()).header(CONTENT_TYPE, body.content_type);
            if body.gzip {
                request = request.header(CONTENT_ENCODING, "gzip");
            }
            request.body(body.bytes)
        })
        .await
    }

    /// Gets a JSON document.
    pub(crate) async fn get<T: DeserializeOwned>(&self, url: &Url) -> Result<T, SourceError> {
        Ok(self.attempt(url, || self.http.request(Method::GET, url.clone())).await?.answer)
    }

    async fn attempt<T: DeserializeOwned>(
        &self,
        url: &Url,
        mut request: impl FnMut() -> RequestBuilder,
    ) -> Result<Accepted<T>, SourceError> {
        let mut backoff = FIRST_BACKOFF;
        let mut unsure_attempts = 0;
        for attempts in 1..=self.max_attempts {
            let result = match request().send().await {
                Ok(response) => read(url, response).await,
                Err(error) => Err(Failure::NoAnswer(error)),
            };
            let (failure, delay) = match result {
                Ok(answer) => return Ok(Accepted { answer, unsure_attempts }),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::NoAnswer(error)) => {
                    // Nothing was accepted over a connection that was never made; otherwise nobody knows.
                    unsure_attempts += u32::from(!error.is_connect());
                    let source = error.without_url();
                    (SourceError::Unreachable { url: url.to_string(), attempts, source }, backoff)
                }
                Err(Failure::Busy { status, retry_after }) => {
                    // A server that failed or ran out of time may have stored the request before.
                    unsure_attempts += u32::from(status >= 500);
                    let failure = SourceError::Busy { url: url.to_string(), status, attempts };
                    (failure, retry_after.unwrap_or(backoff).min(MAX_RETRY_AFTER))
                }
            };
            if attempts == self.max_attempts {
                return Err(failure);
            }
            tracing::debug!(%url, attempts, %failure, "trying again");
            tokio::time::sleep(delay).await;
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
        unreachable!("the last attempt returns")
    }
}

enum Failure {
    Final(SourceError),
    NoAnswer(reqwest::Error),
    Busy { status: u16, retry_after: Option<Duration> },
}

async fn read<T: DeserializeOwned>(url: &Url, response: Response) -> Result<T, Failure> {
    let status = response.status();
    let comes_too_early = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    if comes_too_early || status.is_server_error() {
        let seconds = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
        return Err(Failure::Busy { status: status.as_u16(), retry_after: seconds.map(Duration::from_secs) });
    }
    let bytes = response.bytes().await.map_err(Failure::NoAnswer)?;
    if !status.is_success() {
        let problem = refusal(&bytes);
        return Err(Failure::Final(SourceError::Refused { url: url.to_string(), status: status.as_u16(), problem }));
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        let problem = format!("{error} in `{}`", quoted(&bytes));
        Failure::Final(SourceError::Answer { url: url.to_string(), problem })
    })
}

/// The collector's `{"error":{"field","problem"}}` in words.
fn refusal(bytes: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Answer {
        error: Problem,
    }
    #[derive(Deserialize)]
    struct Problem {
        #[serde(default)]
        field: String,
        problem: String,
    }
    match serde_json::from_slice::<Answer>(bytes) {
        Ok(Answer { error }) if error.field.is_empty() => error.problem,
        Ok(Answer { error }) => format!("field `{}`: {}", error.field, error.problem),
        Err(_) => quoted(bytes),
    }
}

fn quoted(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(QUOTED_ANSWER_CHARS).collect()
}
