//! A client of the rows server, for the dashboards, the simulated audience and the bench: pages come the way any client
//! gets them, with a signed token over gRPC.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use marquee_catalogue::token::TokenKey;
use marquee_dashboards::{HomePage, Item, Reason, Row, Served};
use marquee_events::Clock;
use marquee_rows_proto::v1;
use marquee_rows_proto::v1::rows_service_client::RowsServiceClient;
use marquee_sources::audience::{Page, PageItem, PageRow, Pages};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// A token lives this long (ms): one is made for each request.
const TOKEN_LIFE_MS: i64 = 60_000;

/// Asks for pages in the name of any profile. Cheap to clone.
#[derive(Clone)]
pub(crate) struct RowsClient {
    channel: Channel,
    tokens: TokenKey,
    clock: Arc<dyn Clock>,
}

impl RowsClient {
    /// Connects when first asked.
    pub(crate) fn new(address: SocketAddr, tokens: TokenKey, clock: Arc<dyn Clock>) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address makes a URI");
        Self { channel: endpoint.connect_lazy(), tokens, clock }
    }

    /// A profile's home page.
    pub(crate) async fn page(&self, profile_id: &str) -> Result<v1::GetHomePageResponse, Status> {
        self.ask(profile_id, Request::new(v1::GetHomePageRequest::default())).await
    }

    /// As [`page`](Self::page), with so much time for it instead of the server's default.
    pub(crate) async fn page_within(
        &self,
        profile_id: &str,
        timeout: Duration,
    ) -> Result<v1::GetHomePageResponse, Status> {
        let mut request = Request::new(v1::GetHomePageRequest::default());
        request.set_timeout(timeout);
        self.ask(profile_id, request).await
    }

    async fn ask(
        &self,
        profile_id: &str,
        mut request: Request<v1::GetHomePageRequest>,
    ) -> Result<v1::GetHomePageResponse, Status> {
        let token = self.tokens.sign(profile_id, self.clock.now_ms() + TOKEN_LIFE_MS);
        let bearer = format!("Bearer {token}").parse().map_err(|_| Status::internal("a token is plain ASCII"))?;
        request.metadata_mut().insert("authorization", bearer);
        let response = RowsServiceClient::new(self.channel.clone()).get_home_page(request).await?;
        Ok(response.into_inner())
    }

    /// The page as the dashboards show it; `None` for an unknown profile.
    pub(crate) async fn home_page(&self, profile_id: &str) -> Result<Option<HomePage>, Status> {
        match self.page(profile_id).await {
            Ok(page) => Ok(Some(as_json(page))),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status),
        }
    }
}

#[async_trait]
impl Pages for RowsClient {
    async fn home_page(&self, profile_id: &str) -> Result<Page, Box<dyn std::error::Error + Send + Sync>> {
        let page = self.page(profile_id).await?;
        let item = |item: v1::Item| PageItem { title_id: item.title_id, tracking_token: item.tracking_token };
        let row = |row: v1::Row| PageRow { row_id: row.row_id, items: row.items.into_iter().map(item).collect() };
        Ok(Page { rows: page.rows.into_iter().map(row).collect() })
    }
}

fn as_json(page: v1::GetHomePageResponse) -> HomePage {
    let served = page.served.unwrap_or_default();
    let degraded = served.degraded().map(|reason| word(reason.as_str_name(), "DEGRADED_REASON_")).collect();
    HomePage {
        rows: page.rows.into_iter().map(row_as_json).collect(),
        served: Served {
            degraded,
            request_id: served.request_id,
            profile_id: served.profile_id,
            model_version: served.model_version,
            as_of_ms: served.as_of_ms,
            experiment_arms: served.experiment_arms.into_iter().collect(),
        },
    }
}

fn row_as_json(row: v1::Row) -> Row {
    let kind = word(row.kind().as_str_name(), "ROW_KIND_");
    let item = |item: v1::Item| {
        let reason = item.reason.unwrap_or_default();
        Item {
            title_id: item.title_id,
            name: item.name,
            year: item.year,
            genres: item.genres,
            score: item.score,
            reason: Reason { source: reason.source, because_title_id: reason.because_title_id, text: reason.text },
            tracking_token: item.tracking_token,
            watched_fraction: item.watched_fraction,
        }
    };
    Row { row_id: row.row_id, kind, heading: row.heading, items: row.items.into_iter().map(item).collect() }
}

/// A protobuf enum value as a lower-case word.
fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}
