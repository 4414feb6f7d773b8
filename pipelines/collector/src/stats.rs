//! Counts of what was accepted and refused, for dashboards and benches. Everything is lock-free and counts from the
//! start of the process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use marquee_stream::LatencyHistogram;
use serde::Serialize;

/// What has happened since the start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CollectorStats {
    /// Events made durable, imports included; a repeated import chunk counts once.
    pub accepted_events: u64,
    /// Answers to `POST` requests by HTTP status: 202 and 200 were accepted, everything else was refused.
    pub responses: BTreeMap<u16, u64>,
    /// Batches acknowledged by `POST /v1/events`, `/v1/cmcd` and `/v1/interactions`: those that the latencies below are taken from.
    pub acknowledged_batches: u64,
    /// Half of the batches were acknowledged within this time, from the body's end to the answer (ms, at most 1 % too
    /// high); `None` before the first one.
    pub acknowledge_p50_ms: Option<f64>,
    /// As above for 99 of 100 batches.
    pub acknowledge_p99_ms: Option<f64>,
}

#[derive(Debug)]
pub(crate) struct Metrics {
    accepted_events: AtomicU64,
    /// Indexed by the status less [`FIRST_STATUS`].
    responses: Box<[AtomicU64]>,
    acknowledge: LatencyHistogram,
}

const FIRST_STATUS: u16 = 100;
const LAST_STATUS: u16 = 599;

impl Default for Metrics {
    fn default() -> Self {
        Self {
            accepted_events: AtomicU64::new(0),
            responses: (FIRST_STATUS..=LAST_STATUS).map(|_| AtomicU64::new(0)).collect(),
            acknowledge: LatencyHistogram::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn accepted(&self, events: u64) {
        self.accepted_events.fetch_add(events, Ordering::Relaxed);
    }

    pub(crate) fn answered(&self, status: StatusCode) {
        if let Some(count) = self.responses.get(usize::from(status.as_u16() - FIRST_STATUS)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn acknowledged(&self, after: Duration) {
        self.acknowledge.record(after);
    }

    pub(crate) fn stats(&self) -> CollectorStats {
        let responses = (FIRST_STATUS..)
            .zip(&self.responses)
            .map(|(status, count)| (status, count.load(Ordering::Relaxed)))
            .filter(|&(_, count)| count > 0)
            .collect();
        let acknowledge = self.acknowledge.snapshot();
        CollectorStats {
            accepted_events: self.accepted_events.load(Ordering::Relaxed),
            responses,
            acknowledged_batches: acknowledge.count(),
            acknowledge_p50_ms: acknowledge.quantile_ms(0.5),
            acknowledge_p99_ms: acknowledge.quantile_ms(0.99),
        }
    }
}
