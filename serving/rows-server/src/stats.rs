//! What the server has done since its start: requests, refusals, degraded reasons, and the time of every stage.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use marquee_retrieval::{Degraded, PageTrace, Served, Stage};

/// Counts since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowsStats {
    /// Home pages that were served.
    pub home_pages: u64,
    /// Parts of rows that were served.
    pub rows: u64,
    /// Requests that were refused, whatever the reason.
    pub refused: u64,
    /// Responses with each reason; a response may have several.
    pub degraded: BTreeMap<Degraded, u64>,
    /// Every stage by its kind and name.
    pub stages: BTreeMap<(Stage, &'static str), StageStats>,
}

/// Of one stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageStats {
    /// How often it ran.
    pub runs: u64,
    /// Candidates that went in.
    pub candidates_in: u64,
    /// Candidates that came out.
    pub candidates_out: u64,
    /// Time of all runs.
    pub took: Duration,
    /// Time of the longest.
    pub longest: Duration,
}

#[derive(Default)]
pub(crate) struct Metrics(Mutex<RowsStats>);

impl Metrics {
    pub(crate) fn stats(&self) -> RowsStats {
        self.locked().clone()
    }

    pub(crate) fn home_page(&self, served: &Served, trace: &PageTrace) {
        let mut stats = self.locked();
        stats.home_pages += 1;
        stats.add(served, trace);
    }

    pub(crate) fn row(&self, served: &Served, trace: &PageTrace) {
        let mut stats = self.locked();
        stats.rows += 1;
        stats.add(served, trace);
    }

    pub(crate) fn refused(&self) {
        self.locked().refused += 1;
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, RowsStats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner) // counts stay usable whatever happened
    }
}

impl RowsStats {
    fn add(&mut self, served: &Served, trace: &PageTrace) {
        for &reason in &served.degraded {
            *self.degraded.entry(reason).or_default() += 1;
        }
        for run in &trace.stages {
            let stage = self.stages.entry((run.stage, run.name)).or_default();
            stage.runs += 1;
            stage.candidates_in += run.candidates_in as u64;
            stage.candidates_out += run.candidates_out as u64;
            stage.took += run.took;
            stage.longest = stage.longest.max(run.took);
        }
    }
}
