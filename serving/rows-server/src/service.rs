//! `marquee.rows.v1.RowsService`: from a request to a [`Recommender`] and back. Who asks comes from the token, what
//! they may see from the catalogue; nothing of either is ever read from a message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use marquee_catalogue::token::TokenKey;
use marquee_events::{Clock, MAX_ID_BYTES};
use marquee_retrieval::{
    AsOf, DEFAULT_ITEMS, DEFAULT_ROWS, HomeRequest, MAX_ITEMS, MAX_ROWS, PageError, Recommender, RequestContext,
    RequestId, RowRequest, SealKey,
};
use marquee_rows_proto::v1;
use marquee_rows_proto::v1::rows_service_server::RowsService;
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::page_token::PageToken;
use crate::stats::Metrics;
use crate::{RowsSettings, convert, deadline, refusal};

/// The longest row id (bytes): a kind, a colon, a title's id.
const MAX_ROW_ID_BYTES: usize = 32 + MAX_ID_BYTES;

/// Answers requests.
pub(crate) struct Rows {
    pub(crate) recommender: Arc<Recommender>,
    pub(crate) tokens: TokenKey,
    pub(crate) seal: SealKey,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: RowsSettings,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) slots: Semaphore,
    pub(crate) request_ids: RequestIds,
}

/// Gives each response its name: a hash of its number, seeded by the process.
pub(crate) struct RequestIds {
    seed: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, next: AtomicU64::new(0) }
    }

    fn next(&self) -> RequestId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        RequestId(xxh3_128_with_seed(&number.to_le_bytes(), self.seed))
    }
}

#[tonic::async_trait]
impl RowsService for Rows {
    async fn get_home_page(
        &self,
        request: Request<v1::GetHomePageRequest>,
    ) -> Result<Response<v1::GetHomePageResponse>, Status> {
        self.home_page(request).await.map(Response::new).inspect_err(|_| self.metrics.refused())
    }

    async fn get_row(&self, request: Request<v1::GetRowRequest>) -> Result<Response<v1::GetRowResponse>, Status> {
        self.row(request).await.map(Response::new).inspect_err(|_| self.metrics.refused())
    }
}

impl Rows {
    async fn home_page(&self, request: Request<v1::GetHomePageRequest>) -> Result<v1::GetHomePageResponse, Status> {
        let (context, _slot) = self.begin(request.metadata())?;
        let v1::GetHomePageRequest { max_rows, max_items } = request.into_inner();
        let max_rows = within("max_rows", max_rows, DEFAULT_ROWS, MAX_ROWS)?;
        let max_items = within("max_items", max_items, DEFAULT_ITEMS, MAX_ITEMS)?;
        let page = self.recommender.home(&HomeRequest { context, max_rows, max_items }).await;
        let page = page.map_err(|error| refusal::of_page(&error))?;
        self.metrics.home_page(&page.served, &page.trace);
        let rows = page.rows.into_iter().map(|row| convert::row(&self.seal, &page.served, row, 0)).collect();
        Ok(v1::GetHomePageResponse { served: Some(convert::served(&page.served)), rows })
    }

    async fn row(&self, request: Request<v1::GetRowRequest>) -> Result<v1::GetRowResponse, Status> {
        let (context, _slot) = self.begin(request.metadata())?;
        let v1::GetRowRequest { row_id, page_size, page_token } = request.into_inner();
        if row_id.is_empty() || row_id.len() > MAX_ROW_ID_BYTES {
            return Err(refusal::of_field("row_id", format!("must have 1 to {MAX_ROW_ID_BYTES} bytes")));
        }
        let max_items = within("page_size", page_size, DEFAULT_ITEMS, MAX_ITEMS)?;
        let token = match page_token.as_str() {
            "" => None,
            text => Some(PageToken::open(&self.seal, text, &context.profile_id, &row_id).ok_or_else(|| {
                refusal::of_field("page_token", "is not one that this row of this profile was given")
            })?),
        };
        let (offset, continues) = match token {
            Some(token) => (token.offset as usize, Some((token.model_version, token.seed))),
            None => (0, None),
        };
        let slice = self.recommender.row(&RowRequest { context, row_id, offset, max_items, continues }).await;
        let slice = slice.map_err(|error: PageError| refusal::of_page(&error))?;
        self.metrics.row(&slice.served, &slice.trace);
        let next_page_token = slice.next_offset.map(|offset| PageToken {
            profile_id: slice.served.profile_id.clone(),
            row_id: slice.row.row_id.clone(),
            offset: offset as u32,
            model_version: slice.served.model_version.clone(),
            seed: slice.seed,
        });
        Ok(v1::GetRowResponse {
            served: Some(convert::served(&slice.served)),
            next_page_token: next_page_token.map(|token| token.seal(&self.seal)).unwrap_or_default(),
            row: Some(convert::row(&self.seal, &slice.served, slice.row, slice.offset)),
        })
    }

    /// Who asks, until when, and a slot that is held while the answer is made.
    fn begin(&self, metadata: &MetadataMap) -> Result<(RequestContext, SemaphorePermit<'_>), Status> {
        let received = Instant::now();
        let profile_id = self.profile(metadata)?;
        let slot = self.slots.try_acquire().map_err(|_| refusal::of_load())?;
        let asked_ms = deadline::of(metadata).map(|asked| u64::try_from(asked.as_millis()).unwrap_or(u64::MAX));
        let deadline = received + Duration::from_millis(self.settings.deadline_ms(asked_ms));
        let request_id = self.request_ids.next();
        Ok((RequestContext { request_id, profile_id, as_of: AsOf::Data, deadline }, slot))
    }

    /// The profile that the token is for.
    fn profile(&self, metadata: &MetadataMap) -> Result<String, Status> {
        let header = metadata.get("authorization").and_then(|value| value.to_str().ok());
        let (scheme, token) =
            header.and_then(|header| header.split_once(' ')).ok_or_else(|| refusal::of_token(None))?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(refusal::of_token(None));
        }
        self.tokens.verify(token.trim(), self.clock.now_ms()).map_err(|error| refusal::of_token(Some(error)))
    }
}

/// A number of the request: 0 is the default, and no more than there may be.
fn within(field: &str, value: u32, default: usize, max: usize) -> Result<usize, Status> {
    match value as usize {
        0 => Ok(default),
        value if value <= max => Ok(value),
        _ => Err(refusal::of_field(field, format!("must be at most {max}"))),
    }
}
