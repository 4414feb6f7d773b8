//! Makes pages and rows: reads who asks and what there is, runs the rows' stages, and says what was missing.
//! Nothing here waits past the request's budget, and nothing that is missing makes a page less safe.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use marquee_catalogue::{Catalogue, Viewer};
use marquee_definitions::{OnlineStore, ProfileState};
use marquee_events::Clock;

use crate::assembly::{self, Gathered};
use crate::blocking::{Blocking, MAX_CALLS, Missed};
use crate::budget::Budget;
use crate::cache::LastPages;
use crate::context::{Context, Known};
use crate::shelf::{Board, Shelf};
use crate::shelves::Shelves;
use crate::sources::MAX_CANDIDATES;
use crate::{
    DataStatus, Degraded, ModelSlot, Page, PageError, PageTrace, RequestId, Row, RowSlice, Served, Stage, rows,
};

/// Rows of a page when the request does not say.
pub const DEFAULT_ROWS: usize = 8;
/// Rows of a page at most: there are six kinds, one of them twice.
pub const MAX_ROWS: usize = 12;
/// Items of a row when the request does not say: what a television shows in three screens.
pub const DEFAULT_ITEMS: usize = 20;
/// Items of a row, or of one part of it, at most.
pub const MAX_ITEMS: usize = 60;

/// What pages are made of.
#[derive(Clone)]
pub struct Parts {
    /// Titles and profiles.
    pub catalogue: Arc<dyn Catalogue>,
    /// Features as they are now.
    pub online: Arc<dyn OnlineStore>,
    /// The model in service.
    pub models: Arc<ModelSlot>,
    /// How current the data is.
    pub status: Arc<DataStatus>,
    /// Tells what "now" is.
    pub clock: Arc<dyn Clock>,
}

/// Who asks, and how long there is to answer.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// Names the response; also seeds what is random in it, so it must not be used twice.
    pub request_id: RequestId,
    /// Proven by the caller (profile token).
    pub profile_id: String,
    /// The instant that the page is for.
    pub as_of: AsOf,
    /// When the response must be ready.
    pub deadline: Instant,
}

/// The instant that a page is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// Where the viewer's data ends: a profile of which nothing newer is known than
    /// [`DataStatus::imported_through_ms`] is served as of that end, for its history stands still there; everybody
    /// else, and the same profile from its first live signal on, as of now.
    Data,
    /// The present, whatever is known.
    Now,
}

/// Asks for a home page.
#[derive(Debug, Clone)]
pub struct HomeRequest {
    /// Who asks.
    pub context: RequestContext,
    /// At most so many rows, 1 to [`MAX_ROWS`]; more are not given.
    pub max_rows: usize,
    /// At most so many items a row, 1 to [`MAX_ITEMS`]; more are not given.
    pub max_items: usize,
}

/// Asks for a part of one row.
#[derive(Debug, Clone)]
pub struct RowRequest {
    /// Who asks.
    pub context: RequestContext,
    /// As in [`Row::row_id`].
    pub row_id: String,
    /// Position in the row of the first item asked for.
    pub offset: usize,
    /// At most so many items, 1 to [`MAX_ITEMS`]; more are not given.
    pub max_items: usize,
    /// From the part before this one: the model and the seed; the row is refused when the model has changed. Titles
    /// that were watched in between leave the row, and the later ones move up.
    pub continues: Option<(String, u64)>,
}

/// Makes pages and rows.
pub struct Recommender {
    parts: Parts,
    shelves: Shelves,
    blocking: Blocking,
    last_pages: LastPages,
}

impl Recommender {
    /// Nothing is read yet: [`refresh`](Self::refresh) or [`keep_fresh`](Self::keep_fresh) does that.
    pub fn new(parts: Parts) -> Self {
        let Parts { catalogue, online, status, clock, .. } = parts.clone();
        let shelves = Shelves::new(catalogue, online, status, clock);
        Self { parts, shelves, blocking: Blocking::new(MAX_CALLS), last_pages: LastPages::default() }
    }

    /// Reads the catalogue and the titles' features, if they have changed.
    ///
    /// # Errors
    /// When the catalogue cannot be read and never was. Everything less is a reason on the pages.
    pub async fn refresh(&self) -> Result<(), PageError> {
        self.shelves.refresh().await
    }

    /// Refreshes about once a second, until dropped.
    pub async fn keep_fresh(&self) {
        self.shelves.keep_fresh().await;
    }

    /// Whether pages can be made at all. Does not depend on a model.
    pub fn is_ready(&self) -> bool {
        self.shelves.current().is_some()
    }

    /// Forgets what is kept of a profile. For erasure; a request that is under way may keep its page.
    pub fn forget(&self, profile_id: &str) {
        self.last_pages.forget(profile_id);
    }

    /// A home page.
    ///
    /// # Errors
    /// [`PageError`]: an unknown profile, or a catalogue that never answered.
    pub async fn home(&self, request: &HomeRequest) -> Result<Page, PageError> {
        let mut attempt = Attempt::default();
        let seed = request.context.request_id.seed();
        let context = self.read(&request.context, seed, &mut attempt).await?;
        let max_rows = request.max_rows.clamp(1, MAX_ROWS);
        let max_items = request.max_items.clamp(1, MAX_ITEMS);
        let mut served = served(&request.context, &context);
        let rows = match self.kept_page(&request.context, &context, &attempt, (max_rows, max_items)) {
            Some((rows, model_version, as_of_ms)) => {
                (served.model_version, served.as_of_ms) = (model_version, as_of_ms);
                rows
            }
            None => page(&context, (max_rows, max_items), &mut attempt).await,
        };
        served.degraded = attempt.degraded.into_iter().collect();
        if served.degraded.is_empty() {
            self.last_pages.keep(&served.profile_id, &rows, &served.model_version, served.as_of_ms);
        }
        Ok(Page { served, rows, trace: attempt.trace })
    }

    /// A part of one row.
    ///
    /// # Errors
    /// [`PageError`]: an unknown profile or row, a model that is no longer in service, or a catalogue that never
    /// answered.
    pub async fn row(&self, request: &RowRequest) -> Result<RowSlice, PageError> {
        let mut attempt = Attempt::default();
        let seed = request.continues.as_ref().map_or(request.context.request_id.seed(), |&(_, seed)| seed);
        let context = self.read(&request.context, seed, &mut attempt).await?;
        let mut served = served(&request.context, &context);
        if let Some((pinned, _)) = &request.continues
            && *pinned != served.model_version
        {
            return Err(PageError::ModelChanged { pinned: pinned.clone() });
        }
        let plan = rows::all().iter().find_map(|recipe| recipe.plan(&context, &request.row_id));
        let (row, next_offset) = match plan {
            Some(plan) => {
                let gathered = attempt.take(vec![assembly::gather(plan, &context).await]);
                slice(&context, gathered, request, &mut attempt.trace)
            }
            None => (empty_row(request, &attempt)?, None),
        };
        served.degraded = attempt.degraded.into_iter().collect();
        Ok(RowSlice { served, row, offset: request.offset, next_offset, seed, trace: attempt.trace })
    }

    /// Reads who asks and what there is, everything at the same time.
    async fn read(&self, request: &RequestContext, seed: u64, attempt: &mut Attempt) -> Result<Context, PageError> {
        let budget = Budget::before(request.deadline);
        let shelf = self.shelf(budget).await?;
        let began = Instant::now();
        let (online, profile_id) = (Arc::clone(&self.parts.online), request.profile_id.clone());
        let (profile, state) = futures::join!(
            async { (budget.within(self.parts.catalogue.profile(&request.profile_id)).await, began.elapsed()) },
            async { (self.blocking.call(budget, move || online.profile(&profile_id)).await, began.elapsed()) },
        );
        attempt.trace.add("", (Stage::Read, "profile"), (0, 1), profile.1);
        attempt.trace.add("", (Stage::Read, "features"), (0, 1), state.1);
        let viewer = attempt.viewer(profile.0, request)?;
        let state = attempt.state(state.0);
        let model = self.parts.models.current();
        let reasons = [
            (model.is_none(), Degraded::NoModel),
            (self.shelves.catalogue_failed(), Degraded::CatalogueUnavailable),
            (self.shelves.features_failed(), Degraded::FeaturesUnavailable),
            (!self.parts.status.takes_events(), Degraded::EventsUnavailable),
        ];
        attempt.degraded.extend(reasons.into_iter().filter(|&(applies, _)| applies).map(|(_, reason)| reason));
        let (as_of_ms, board) = self.instant(request.as_of, state.as_ref(), &shelf);
        let features = state.map(|state| state.read(as_of_ms)).unwrap_or_default();
        let known = Known { viewer, as_of_ms, seed, shelf, board, model, features };
        Ok(Context::new(known, budget, self.blocking.clone()))
    }

    /// The newest shelf; before the first one, what can be read within the budget.
    async fn shelf(&self, budget: Budget) -> Result<Arc<Shelf>, PageError> {
        if let Some(shelf) = self.shelves.current() {
            return Ok(shelf);
        }
        let read = budget.within(self.shelves.refresh()).await;
        match (self.shelves.current(), read) {
            (Some(shelf), _) => Ok(shelf),
            (None, Some(Err(error))) => Err(error),
            (None, _) => Err(PageError::Deadline),
        }
    }

    fn instant(&self, as_of: AsOf, state: Option<&ProfileState>, shelf: &Shelf) -> (i64, Arc<Board>) {
        let end_ms = self.parts.status.imported_through_ms().filter(|_| as_of == AsOf::Data);
        match (end_ms, state) {
            (Some(end_ms), Some(state)) if state.available_ms <= end_ms => {
                let board = shelf.imported.as_ref().filter(|(at_ms, _)| *at_ms == end_ms).map(|(_, board)| board);
                // Until the next refresh there is no board of a new import.
                (end_ms, Arc::clone(board.unwrap_or(&shelf.live)))
            }
            _ => (self.parts.clock.now_ms(), Arc::clone(&shelf.live)),
        }
    }

    /// The last good page, when there was no time to learn what the viewer has watched. Late vectors alone do not bring
    /// it back: neighbours know what was watched a second ago, a kept page does not.
    fn kept_page(
        &self,
        request: &RequestContext,
        context: &Context,
        attempt: &Attempt,
        (max_rows, max_items): (usize, usize),
    ) -> Option<(Vec<Row>, String, i64)> {
        if !attempt.are_features_late {
            return None;
        }
        let kept = self.last_pages.of(&request.profile_id)?;
        let rows = kept.rows_for(context, max_rows, max_items);
        (!rows.is_empty()).then(|| (rows, kept.model_version.clone(), kept.as_of_ms))
    }
}

/// What has come out of a request so far, besides items.
#[derive(Default)]
struct Attempt {
    degraded: BTreeSet<Degraded>,
    trace: PageTrace,
    are_features_late: bool,
}

impl Attempt {
    /// Who the viewer is; when that cannot be read, nobody in particular.
    fn viewer(
        &mut self,
        read: Option<Result<Option<marquee_catalogue::Profile>, marquee_catalogue::CatalogueError>>,
        request: &RequestContext,
    ) -> Result<Viewer, PageError> {
        match read {
            Some(Ok(Some(profile))) => return Ok(Viewer::of(&profile)),
            Some(Ok(None)) => return Err(PageError::UnknownProfile { profile_id: request.profile_id.clone() }),
            Some(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "maturity and region cannot be read");
            }
            None => {
                self.degraded.insert(Degraded::Deadline);
            }
        }
        self.degraded.insert(Degraded::FailedClosed);
        Ok(Viewer::FAIL_CLOSED)
    }

    /// What is known of the viewer's history.
    fn state(
        &mut self,
        read: Result<Result<Option<ProfileState>, marquee_definitions::OnlineError>, Missed>,
    ) -> Option<ProfileState> {
        let reason = match read {
            Ok(Ok(state)) => return state,
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a profile's features cannot be read");
                Degraded::FeaturesUnavailable
            }
            Err(Missed::Defect) => Degraded::FeaturesUnavailable,
            Err(Missed::Late) => {
                self.are_features_late = true;
                Degraded::Deadline
            }
        };
        self.degraded.insert(reason);
        None
    }

    /// Takes over what the rows have to say about themselves.
    fn take(&mut self, mut gathered: Vec<Gathered>) -> Vec<Gathered> {
        for row in &mut gathered {
            self.degraded.append(&mut row.degraded);
            self.trace.stages.append(&mut row.trace.stages);
        }
        gathered
    }
}

async fn page(context: &Context, limits: (usize, usize), attempt: &mut Attempt) -> Vec<Row> {
    let plans = rows::all().into_iter().flat_map(|recipe| recipe.plans(context));
    let gathered = futures::future::join_all(plans.map(|plan| assembly::gather(plan, context))).await;
    let gathered = attempt.take(gathered);
    assembly::page(context, &gathered, limits, &mut attempt.trace)
}

/// The part of a row that was asked for, and where the next one begins.
fn slice(
    context: &Context,
    gathered: Vec<Gathered>,
    request: &RowRequest,
    trace: &mut PageTrace,
) -> (Row, Option<usize>) {
    let Gathered { plan, candidates, .. } = gathered.into_iter().next().expect("one row was gathered");
    let chosen = assembly::choose(&plan, context, candidates, MAX_CANDIDATES, trace);
    let from = request.offset.min(chosen.len());
    let to = (from + request.max_items.clamp(1, MAX_ITEMS)).min(chosen.len());
    let items = assembly::write(&plan, context, &chosen[from..to], trace);
    (assembly::row(&plan, items), (to < chosen.len()).then_some(to))
}

/// A row that may exist but cannot be told now, because the history is unknown.
fn empty_row(request: &RowRequest, attempt: &Attempt) -> Result<Row, PageError> {
    let name = request.row_id.split(':').next().unwrap_or_default();
    let recipe = rows::all().into_iter().find(|recipe| recipe.name() == name);
    let is_history_unknown = attempt.are_features_late || attempt.degraded.contains(&Degraded::FeaturesUnavailable);
    match recipe {
        Some(recipe) if is_history_unknown => Ok(Row {
            row_id: request.row_id.clone(),
            kind: recipe.kind(),
            heading: recipe.kind().heading().to_owned(),
            items: Vec::new(),
        }),
        _ => Err(PageError::UnknownRow { row_id: request.row_id.clone() }),
    }
}

fn served(request: &RequestContext, context: &Context) -> Served {
    Served {
        request_id: request.request_id,
        profile_id: request.profile_id.clone(),
        model_version: context.model.as_ref().map(|model| model.version.clone()).unwrap_or_default(),
        as_of_ms: context.as_of_ms,
        degraded: Vec::new(),
    }
}
