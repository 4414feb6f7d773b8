//! A client of the rows of a running process: tokens as the process itself would sign them, pages and rows over gRPC.

use std::path::Path;
use std::time::Duration;

use marquee_catalogue::token::TokenKey;
use marquee_events::{Clock as _, SystemClock};
use marquee_rows_proto::v1;
use marquee_rows_proto::v1::rows_service_client::RowsServiceClient;
use marquee_store::load_or_create_key;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::child::Up;

/// Tokens live this long (ms).
const TOKEN_LIFE_MS: i64 = 60_000;

/// Asks the rows server of a running process. Blocks.
pub struct RowsClient {
    runtime: tokio::runtime::Runtime,
    pub channel: Channel,
    pub tokens: TokenKey,
}

impl RowsClient {
    /// Of a process on this home; connects when first asked.
    pub fn of(up: &Up, home: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let uri = format!("http://{}", up.listens("rows"));
        let channel = {
            let _entered = runtime.enter(); // the channel's own task runs there
            Endpoint::from_shared(uri).expect("an address makes a URI").connect_lazy()
        };
        let tokens = load_or_create_key(&home.join("profile-token.key")).expect("the process has made its key");
        Self { runtime, channel, tokens }
    }

    /// A token of this profile that is valid for a minute.
    pub fn token(&self, profile_id: &str) -> String {
        self.tokens.sign(profile_id, now_ms() + TOKEN_LIFE_MS)
    }

    /// Runs what speaks to the channel.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// A profile's home page, with the server's own deadline.
    pub fn home_page(&self, profile_id: &str) -> Result<v1::GetHomePageResponse, Status> {
        self.get_home_page(&self.token(profile_id), v1::GetHomePageRequest::default(), None)
    }

    /// A home page with this token, and this deadline if any.
    pub fn get_home_page(
        &self,
        token: &str,
        message: v1::GetHomePageRequest,
        deadline: Option<Duration>,
    ) -> Result<v1::GetHomePageResponse, Status> {
        let request = request(token, message, deadline);
        let mut client = RowsServiceClient::new(self.channel.clone());
        self.block_on(async { client.get_home_page(request).await }).map(tonic::Response::into_inner)
    }

    /// A row, or a part of it.
    pub fn get_row(&self, token: &str, message: v1::GetRowRequest) -> Result<v1::GetRowResponse, Status> {
        let request = request(token, message, None);
        let mut client = RowsServiceClient::new(self.channel.clone());
        self.block_on(async { client.get_row(request).await }).map(tonic::Response::into_inner)
    }
}

fn request<T>(token: &str, message: T, deadline: Option<Duration>) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = format!("Bearer {token}").parse().expect("a header's value");
    request.metadata_mut().insert("authorization", bearer);
    if let Some(deadline) = deadline {
        request.set_timeout(deadline);
    }
    request
}

/// Milliseconds since the epoch.
pub fn now_ms() -> i64 {
    SystemClock::default().now_ms()
}

/// Why a page is not what it should be.
pub fn degraded(page: &v1::GetHomePageResponse) -> Vec<v1::DegradedReason> {
    page.served.as_ref().expect("a page says how it came about").degraded().collect()
}

/// Every title on a page.
pub fn titles(page: &v1::GetHomePageResponse) -> Vec<&str> {
    page.rows.iter().flat_map(|row| row.items.iter().map(|item| item.title_id.as_str())).collect()
}
