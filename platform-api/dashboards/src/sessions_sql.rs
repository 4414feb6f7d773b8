//! The queries behind Sessions: a filtered list, what there is to filter by, one session and its raw events.

use arrow::json::ArrayWriter;
use arrow::record_batch::RecordBatch;
use marquee_events::ErrorKind;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::refusal::Refusal;
use crate::{PartError, quote};

/// Sessions that one answer lists at most.
const MAX_LIMIT: u32 = 200;

/// Sessions that one answer lists when nothing is said.
const DEFAULT_LIMIT: u32 = 50;

/// The longest text that is searched for (bytes): an id.
const MAX_TEXT_BYTES: usize = marquee_events::MAX_ID_BYTES;

/// Events of one session that are shown at most: 14 hours of heartbeats every 5 s.
pub(crate) const MAX_EVENTS: usize = 10_000;

/// A session's first event is received after it happened, give or take the clock error that is let pass (ms).
const RECEIVED_BEFORE_MS: i64 = 24 * 60 * 60 * 1000;

/// As in column `outcome`.
const OUTCOMES: [&str; 6] = ["played", "start_failure", "exit_before_start", "playback_failure", "pending", "unknown"];

/// The columns of a session in a list; instants as ms.
const LISTED: &str = "session_id, player_instance, profile_id, title_id, device_type, country, cdn, outcome, is_final, \
    CAST(started_at AS BIGINT) / 1000 AS started_at_ms, CAST(ended_at AS BIGINT) / 1000 AS ended_at_ms, startup_ms, \
    playing_ms, rebuffer_ms, rebuffer_count, avg_bitrate_kbps, error_code";

/// The columns of one session; instants as ms.
const DETAILED: &str = "session_id, player_instance, profile_id, title_id, device_type, os, player, player_version, \
    app_version, series_id, country, region, city, isp, asn, cdn, edge, protocol, stream_type, codec, drm, plan, \
    experiment_arm, asset_id, outcome, is_final, close_reason, end_reason, revision, \
    topic, \"partition\", epoch, CAST(started_at AS BIGINT) / 1000 AS started_at_ms, \
    CAST(ended_at AS BIGINT) / 1000 AS ended_at_ms, startup_ms, first_picture_ms, exit_after_ms, autoplay, \
    startup_waiting_ms, playing_ms, rebuffer_ms, seek_waiting_ms, paused_ms, ad_ms, ad_rebuffer_ms, background_ms, \
    silent_ms, media_ms, rebuffer_count, background_rebuffer_count, ad_rebuffer_count, seek_count, pause_count, \
    ad_count, rendition_switch_count, error_count, inferred_count, avg_bitrate_kbps, avg_height_px, dropped_frames, event_count, lost_events, duplicates, \
    conflicts, late_events, error_code, error_fatal, error_business";

/// What the browser asks for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SessionFilter {
    outcome: Option<String>,
    device_type: Option<String>,
    country: Option<String>,
    cdn: Option<String>,
    profile_id: Option<String>,
    title_id: Option<String>,
    /// In session, profile or title id, ignoring case.
    search: Option<String>,
    /// Only sessions that rebuffered.
    stalled: bool,
    /// Only sessions that began at or after this (ms since the epoch).
    from: Option<i64>,
    /// Only sessions that began before this (ms since the epoch).
    to: Option<i64>,
    limit: Option<u32>,
    /// The last session of the answer before: `STARTED_AT_MS/SESSION_ID/PLAYER_INSTANCE`.
    after: Option<String>,
}

impl SessionFilter {
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        for (field, text) in [
            ("outcome", &self.outcome),
            ("device_type", &self.device_type),
            ("country", &self.country),
            ("cdn", &self.cdn),
            ("profile_id", &self.profile_id),
            ("title_id", &self.title_id),
            ("search", &self.search),
        ] {
            if text.as_ref().is_some_and(|text| text.len() > MAX_TEXT_BYTES) {
                return Err(Refusal::field(field, format!("has more than {MAX_TEXT_BYTES} bytes")));
            }
        }
        if self.outcome.as_deref().is_some_and(|outcome| !OUTCOMES.contains(&outcome)) {
            return Err(Refusal::field("outcome", format!("is none of {}", OUTCOMES.join(", "))));
        }
        if self.limit.is_some_and(|limit| !(1..=MAX_LIMIT).contains(&limit)) {
            return Err(Refusal::field("limit", format!("must be from 1 to {MAX_LIMIT}")));
        }
        if self.after.is_some() && self.position().is_none() {
            return Err(Refusal::field("after", "is not the position of an earlier answer"));
        }
        Ok(())
    }

    /// How many sessions the answer has at most.
    pub(crate) fn limit(&self) -> usize {
        self.limit.unwrap_or(DEFAULT_LIMIT) as usize
    }

    /// The list, newest first, with one session more than the limit if there is one.
    pub(crate) fn list(&self) -> String {
        let mut conditions = self.conditions();
        if let Some(outcome) = &self.outcome {
            conditions.push(format!("outcome = {}", quote::text(outcome)));
        }
        if let Some((started_at_ms, session_id, player_instance)) = self.position() {
            let (at, session, instance) =
                (quote::instant(started_at_ms), quote::text(session_id), quote::text(player_instance));
            conditions.push(format!(
                "(started_at < {at} OR (started_at = {at} AND (session_id < {session} OR \
                 (session_id = {session} AND player_instance < {instance}))))"
            ));
        }
        format!(
            "SELECT {LISTED} FROM sessions{} ORDER BY started_at DESC, session_id DESC, player_instance DESC LIMIT {}",
            clause(&conditions),
            self.limit() + 1
        )
    }

    /// How many sessions there are of each kind, the outcome left open: what the filters offer.
    pub(crate) fn facets(&self) -> String {
        format!(
            "SELECT outcome, device_type, country, cdn, count(*) AS sessions FROM sessions{} GROUP BY 1, 2, 3, 4",
            clause(&self.conditions())
        )
    }

    /// Every condition but the outcome's and the position's.
    fn conditions(&self) -> Vec<String> {
        let mut conditions = Vec::new();
        for (column, value) in [
            ("device_type", &self.device_type),
            ("country", &self.country),
            ("cdn", &self.cdn),
            ("profile_id", &self.profile_id),
            ("title_id", &self.title_id),
        ] {
            if let Some(value) = value {
                conditions.push(format!("{column} = {}", quote::text(value)));
            }
        }
        if let Some(search) = self.search.as_ref().filter(|search| !search.is_empty()) {
            let search = quote::text(&search.to_lowercase());
            let found = |column| format!("strpos(lower({column}), {search}) > 0");
            conditions.push(format!("({})", ["session_id", "profile_id", "title_id"].map(found).join(" OR ")));
        }
        if self.stalled {
            conditions.push("rebuffer_count > 0".to_owned());
        }
        conditions.extend(self.from.map(|ms| format!("started_at >= {}", quote::instant(ms))));
        conditions.extend(self.to.map(|ms| format!("started_at < {}", quote::instant(ms))));
        conditions
    }

    fn position(&self) -> Option<(i64, &str, &str)> {
        let (started_at_ms, rest) = self.after.as_deref()?.split_once('/')?;
        let (session_id, player_instance) = rest.rsplit_once('/')?;
        Some((started_at_ms.parse().ok()?, session_id, player_instance))
    }
}

/// The position of a listed session, as a later request names it.
pub(crate) fn position(session: &Map<String, Value>) -> String {
    let text = |field: &str| session.get(field).and_then(Value::as_str).unwrap_or_default();
    let started_at_ms = session.get("started_at_ms").and_then(Value::as_i64).unwrap_or_default();
    format!("{started_at_ms}/{}/{}", text("session_id"), text("player_instance"))
}

fn clause(conditions: &[String]) -> String {
    if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
}

/// One session: its player instances, the first one first.
pub(crate) fn one(session_id: &str) -> String {
    format!(
        "SELECT {DETAILED} FROM sessions WHERE session_id = {} ORDER BY started_at, player_instance LIMIT 100",
        quote::text(session_id)
    )
}

/// A session's events in the order of the fold, one more than [`MAX_EVENTS`] if there are so many. `is_late`: past the
/// horizon, and no recompute has folded it.
pub(crate) fn events(session_id: &str, player_instance: &str, started_at_ms: i64) -> String {
    let (session_id, player_instance) = (quote::text(session_id), quote::text(player_instance));
    format!(
        "SELECT e.sequence, e.type, CAST(e.event_time AS BIGINT) / 1000 AS time_ms, \
         CAST(e.received_at AS BIGINT) / 1000 AS received_at_ms, e.clock_shift_ms, \
         coalesce(e.event_id, '') AS event_id, e.topic, e.\"partition\", e.\"offset\", e.\"index\", \
         e.is_late AND r.\"offset\" IS NULL AS is_late, e.media_time_ms, e.representation_id, e.bitrate_bps, \
         e.width_px, e.height_px, e.rendition_codec AS codec, e.rendition_cdn, e.buffer_ms, e.throughput_bps, \
         e.dropped_frames, e.detail, e.fatal, e.business, e.autoplay, e.rate_per_mille, e.player_state \
         FROM (SELECT * FROM events WHERE session_id = {session_id} AND player_instance = {player_instance} \
         AND ingest_date >= {ingested}) e \
         LEFT JOIN (SELECT * FROM recomputed_events WHERE session_id = {session_id}) r ON e.topic = r.topic \
         AND e.\"partition\" = r.\"partition\" AND e.\"offset\" = r.\"offset\" AND e.\"index\" = r.\"index\" \
         ORDER BY e.sequence, coalesce(e.event_id, ''), e.\"offset\", e.\"index\" LIMIT {limit}",
        ingested = quote::date(started_at_ms.saturating_sub(RECEIVED_BEFORE_MS)),
        limit = MAX_EVENTS + 1
    )
}

/// Rows as JSON objects; what is NULL is left out.
pub(crate) fn objects(rows: &[RecordBatch]) -> Result<Vec<Map<String, Value>>, PartError> {
    let failed = |problem: String| PartError::new(ErrorKind::Internal, format!("rows cannot be shown: {problem}"));
    let mut writer = ArrayWriter::new(Vec::new());
    writer.write_batches(&rows.iter().collect::<Vec<_>>()).map_err(|error| failed(error.to_string()))?;
    writer.finish().map_err(|error| failed(error.to_string()))?;
    let json = writer.into_inner();
    if json.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_slice(&json).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_browsers_send_stays_in_its_quotes() {
        let filter = SessionFilter {
            country: Some("x' OR '1'='1".to_owned()),
            search: Some("A'; DROP".to_owned()),
            after: Some("5/a'b/c'd".to_owned()),
            ..Default::default()
        };
        filter.check().expect("odd, but no error");
        let query = filter.list();
        for part in ["country = 'x'' OR ''1''=''1'", "'a''; drop'", "session_id < 'a''b'", "player_instance < 'c''d'"] {
            assert!(query.contains(part), "{query}");
        }
    }

    #[test]
    fn bad_filters_are_named() {
        let check = |change: fn(&mut SessionFilter)| {
            let mut filter = SessionFilter::default();
            change(&mut filter);
            filter.check().is_err()
        };
        assert!(!check(|_| ()));
        assert!(check(|f| f.outcome = Some("fine".to_owned())));
        assert!(check(|f| f.search = Some("x".repeat(MAX_TEXT_BYTES + 1))));
        assert!(check(|f| f.limit = Some(0)) && check(|f| f.limit = Some(MAX_LIMIT + 1)));
        assert!(check(|f| f.after = Some("x".to_owned())) && check(|f| f.after = Some("1/x".to_owned())));
    }
}
