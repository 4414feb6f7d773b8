//! Keeps the [`Shelf`] fresh. [`Shelves::refresh`] is one idempotent pass; whoever serves runs it again and again, and
//! requests only ever read what the last pass left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use marquee_catalogue::{Catalogue, CatalogueError, CatalogueSnapshot};
use marquee_definitions::{OnlineStore, TitleState};
use marquee_events::Clock;
use tokio::sync::Mutex;

use crate::blocking::Blocking;
use crate::budget::Budget;
use crate::shelf::{Board, Shelf};
use crate::{DataStatus, PageError};

/// Between two refreshes (ms). Rows of one viewer's history do not wait for it.
const REFRESH_INTERVAL_MS: u64 = 1_000;

/// A refresh may take one part in so many of the time: a large catalogue is refreshed less often instead of taking a
/// core for itself.
const REFRESH_TIME_PARTS: u32 = 10;

/// But never rests longer than this (ms): a pass that was long because a store hangs must not make the catalogue old.
const MAX_REST_MS: u64 = 10_000;

/// A store that has not answered by then has failed (ms). Ten thousand titles are read in a tenth of it.
const REFRESH_TIMEOUT_MS: u64 = 5_000;

/// Even without news, windows and decay move on (s).
const REBUILD_AFTER_S: u64 = 60;

/// A catalogue that has not been looked at for so long is called out of date (s): more than the longest pass, in which
/// every store takes its whole time, and the longest rest.
const STALE_AFTER_S: u64 = 30;

/// The shelf in use, and what it takes to make the next.
pub(crate) struct Shelves {
    catalogue: Arc<dyn Catalogue>,
    online: Arc<dyn OnlineStore>,
    status: Arc<DataStatus>,
    clock: Arc<dyn Clock>,
    current: ArcSwapOption<Shelf>,
    catalogue_failed: AtomicBool,
    features_failed: AtomicBool,
    last: Mutex<LastRefresh>,
    looked_at: ArcSwapOption<Instant>,
    reading: Blocking,
}

/// What the newest shelf was made of.
#[derive(Default)]
struct LastRefresh {
    store_version: Option<u64>,
    imported_through_ms: Option<i64>,
    built: Option<Instant>,
}

impl Shelves {
    pub(crate) fn new(
        catalogue: Arc<dyn Catalogue>,
        online: Arc<dyn OnlineStore>,
        status: Arc<DataStatus>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            catalogue,
            online,
            status,
            clock,
            current: ArcSwapOption::empty(),
            catalogue_failed: AtomicBool::new(false),
            features_failed: AtomicBool::new(true), // until they are read
            last: Mutex::default(),
            looked_at: ArcSwapOption::empty(),
            reading: Blocking::new(1), // a hung read of all titles must not be joined by a second
        }
    }

    /// The newest shelf; `None` before the catalogue was first read.
    pub(crate) fn current(&self) -> Option<Arc<Shelf>> {
        self.current.load_full()
    }

    /// Whether the catalogue is no longer what it was when it was last read, as far as anybody knows.
    pub(crate) fn catalogue_failed(&self) -> bool {
        let is_stale = || {
            let looked_at = self.looked_at.load();
            looked_at.as_deref().is_some_and(|at| at.elapsed() > Duration::from_secs(STALE_AFTER_S))
        };
        self.catalogue_failed.load(Ordering::Relaxed) || is_stale()
    }

    /// Whether the last attempt to read the titles' features failed, or there was none yet.
    pub(crate) fn features_failed(&self) -> bool {
        self.features_failed.load(Ordering::Relaxed)
    }

    /// One pass: reads what has changed and puts the new shelf in use. One pass runs at a time.
    pub(crate) async fn refresh(&self) -> Result<(), PageError> {
        let mut last = self.last.lock().await;
        let known = self.current();
        let read = self.read_catalogue(known.as_deref()).await;
        self.catalogue_failed.store(read.is_err(), Ordering::Relaxed);
        let (shelf, is_new) = match (read, known) {
            (Ok(Some(catalogue)), known) => (self.put(catalogue, known.as_deref()), true),
            (Ok(None), Some(known)) => (Shelf::clone(&known), false),
            (Err(error), Some(known)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the catalogue cannot be read");
                (Shelf::clone(&known), false)
            }
            (Err(error), None) => return Err(error),
            (Ok(None), None) => unreachable!("an unknown catalogue is always read"),
        };
        if is_new {
            *last = LastRefresh::default(); // should this pass be dropped below, the next one must read the features
        }
        let store_version = Some(self.online.version());
        let imported_through_ms = self.status.imported_through_ms();
        let is_current = !self.features_failed()
            && last.store_version == store_version
            && last.imported_through_ms == imported_through_ms
            && last.built.is_some_and(|at| at.elapsed() < Duration::from_secs(REBUILD_AFTER_S));
        if !is_current {
            let boards = self.boards(Arc::clone(&shelf.catalogue), imported_through_ms).await;
            self.features_failed.store(boards.is_none(), Ordering::Relaxed);
            if let Some((live, imported)) = boards {
                *last = LastRefresh { store_version, imported_through_ms, built: Some(Instant::now()) };
                self.current.store(Some(Arc::new(Shelf { live, imported, ..shelf })));
            }
        }
        if !self.catalogue_failed.load(Ordering::Relaxed) {
            self.looked_at.store(Some(Arc::new(Instant::now())));
        }
        Ok(())
    }

    /// Refreshes until dropped.
    pub(crate) async fn keep_fresh(&self) {
        loop {
            let began = Instant::now();
            if let Err(error) = self.refresh().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "there is nothing to show yet");
            }
            let rest = began.elapsed() * REFRESH_TIME_PARTS;
            let (least, most) = (Duration::from_millis(REFRESH_INTERVAL_MS), Duration::from_millis(MAX_REST_MS));
            tokio::time::sleep(rest.clamp(least, most)).await;
        }
    }

    /// Puts a new catalogue in use, with what was known of the titles that it shares with the old one.
    fn put(&self, catalogue: CatalogueSnapshot, known: Option<&Shelf>) -> Shelf {
        let mut shelf = Shelf::new(Arc::new(catalogue));
        if let Some(known) = known {
            let carried = |board: &Board| Arc::new(board.carried(&known.catalogue, &shelf.catalogue));
            let (live, imported) = (carried(&known.live), known.imported.as_ref());
            let imported = imported.map(|(end_ms, board)| (*end_ms, carried(board)));
            (shelf.live, shelf.imported) = (live, imported);
        }
        self.current.store(Some(Arc::new(shelf.clone())));
        shelf
    }

    /// The catalogue, if it is not the one that is known.
    async fn read_catalogue(&self, known: Option<&Shelf>) -> Result<Option<CatalogueSnapshot>, PageError> {
        let read = async {
            match known {
                Some(known) if self.catalogue.version().await? == known.catalogue.version() => Ok(None),
                _ => self.catalogue.snapshot().await.map(Some),
            }
        };
        let read: Option<Result<_, CatalogueError>> = budget().within(read).await;
        read.ok_or(PageError::Deadline)?.map_err(PageError::Catalogue)
    }

    /// The boards now and at the end of imported data; `None` when the features cannot be read.
    async fn boards(
        &self,
        catalogue: Arc<CatalogueSnapshot>,
        imported_through_ms: Option<i64>,
    ) -> Option<(Arc<Board>, Option<(i64, Arc<Board>)>)> {
        let (online, now_ms) = (Arc::clone(&self.online), self.clock.now_ms());
        let build = move || {
            let states: Vec<(String, TitleState)> = online.titles()?;
            let board = |at_ms| Arc::new(Board::at(&catalogue, &states, at_ms));
            Ok((board(now_ms), imported_through_ms.map(|end_ms| (end_ms, board(end_ms)))))
        };
        match self.reading.call(budget(), build).await {
            Ok(Ok(boards)) => Some(boards),
            Ok(Err(error)) => {
                let error: &marquee_definitions::OnlineError = &error;
                tracing::warn!(error = error as &dyn std::error::Error, "the titles' features cannot be read");
                None
            }
            Err(missed) => {
                tracing::warn!(?missed, "the titles' features cannot be read");
                None
            }
        }
    }
}

fn budget() -> Budget {
    Budget::before(Instant::now() + Duration::from_millis(REFRESH_TIMEOUT_MS))
}
