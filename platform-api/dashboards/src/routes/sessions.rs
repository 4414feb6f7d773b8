//! `GET /api/sessions`: the newest sessions that pass a filter. `GET /api/sessions/{session_id}?player_instance=`: one of
//! them with its raw events and its states.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Dashboards;
use crate::refusal::Refusal;
use crate::routes::QUERY_TIMEOUT;
use crate::sessions_sql::{self, MAX_EVENTS, SessionFilter};
use crate::timeline::{self, EventRow, Span};

type Object = Map<String, Value>;

#[derive(Serialize)]
pub(super) struct SessionList {
    /// Newest first.
    sessions: Vec<Object>,
    /// Goes into `after` to continue; `null` at the end.
    next: Option<String>,
    /// Of all sessions that pass the filter, whatever the outcome.
    facets: Facets,
    title_names: HashMap<String, String>,
}

/// Value → sessions, most first; `null` is unknown.
#[derive(Serialize, Default)]
struct Facets {
    outcome: Vec<Facet>,
    device_type: Vec<Facet>,
    country: Vec<Facet>,
    cdn: Vec<Facet>,
}

#[derive(Serialize)]
struct Facet {
    value: Option<String>,
    sessions: i64,
}

pub(super) async fn get_list(
    State(dashboards): State<Arc<Dashboards>>,
    filter: Result<Query<SessionFilter>, QueryRejection>,
) -> Result<Json<SessionList>, Refusal> {
    let Query(filter) = filter?;
    filter.check()?;
    let mut sessions = sessions_sql::objects(&dashboards.query(&filter.list(), QUERY_TIMEOUT).await?)?;
    let facets = sessions_sql::objects(&dashboards.query(&filter.facets(), QUERY_TIMEOUT).await?)?;
    let has_more = sessions.len() > filter.limit();
    sessions.truncate(filter.limit());
    let next = sessions.last().filter(|_| has_more).map(sessions_sql::position);
    let title_names = dashboards.title_names(&sessions).await;
    Ok(Json(SessionList { sessions, next, facets: count(&facets), title_names }))
}

fn count(rows: &[Object]) -> Facets {
    let facet = |column: &str| {
        let mut counts: BTreeMap<Option<&str>, i64> = BTreeMap::new();
        for row in rows {
            let sessions = row.get("sessions").and_then(Value::as_i64).unwrap_or_default();
            *counts.entry(row.get(column).and_then(Value::as_str)).or_default() += sessions;
        }
        let mut facets: Vec<_> =
            counts.into_iter().map(|(value, sessions)| Facet { value: value.map(str::to_owned), sessions }).collect();
        facets.sort_by_key(|facet| std::cmp::Reverse(facet.sessions));
        facets
    };
    Facets {
        outcome: facet("outcome"),
        device_type: facet("device_type"),
        country: facet("country"),
        cdn: facet("cdn"),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AskedSession {
    player_instance: Option<String>,
}

#[derive(Serialize)]
pub(super) struct SessionDetail {
    /// The row of view `sessions`; what is NULL is left out.
    session: Object,
    /// Every player instance of the session id.
    player_instances: Vec<String>,
    /// Raw, copies included, in the order of the fold.
    events: Vec<Object>,
    /// There are more events than are shown.
    truncated: bool,
    states: Vec<Span>,
    title_names: HashMap<String, String>,
}

pub(super) async fn get_one(
    State(dashboards): State<Arc<Dashboards>>,
    Path(session_id): Path<String>,
    asked: Result<Query<AskedSession>, QueryRejection>,
) -> Result<Json<SessionDetail>, Refusal> {
    let Query(asked) = asked?;
    let found = sessions_sql::objects(&dashboards.query(&sessions_sql::one(&session_id), QUERY_TIMEOUT).await?)?;
    let player_instances: Vec<String> = found.iter().map(|row| text(row, "player_instance").to_owned()).collect();
    let is_asked = |row: &Object| asked.player_instance.as_ref().is_none_or(|a| a == text(row, "player_instance"));
    let Some(session) = found.into_iter().find(is_asked) else {
        let problem = "the lake has no such session (yet: a session shows after the epoch that holds its first event)";
        return Err(Refusal::not_found(problem));
    };
    let started_at_ms = session.get("started_at_ms").and_then(Value::as_i64).unwrap_or_default();
    let query = sessions_sql::events(&session_id, text(&session, "player_instance"), started_at_ms);
    let mut events = sessions_sql::objects(&dashboards.query(&query, QUERY_TIMEOUT).await?)?;
    let truncated = events.len() > MAX_EVENTS;
    events.truncate(MAX_EVENTS);
    let rows: Result<Vec<EventRow>, _> =
        events.iter().cloned().map(Value::Object).map(serde_json::from_value).collect();
    let rows = rows.map_err(|error| {
        tracing::error!(%error, "rows of `events` are not what was asked for");
        Refusal::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "the session's events cannot be read")
    })?;
    let title_names = dashboards.title_names(std::slice::from_ref(&session)).await;
    let states = timeline::spans(&rows);
    Ok(Json(SessionDetail { session, player_instances, events, truncated, states, title_names }))
}

fn text<'a>(row: &'a Object, column: &str) -> &'a str {
    row.get(column).and_then(Value::as_str).unwrap_or_default()
}

impl Dashboards {
    /// The names of the titles that these rows are about; none when the catalogue does not answer.
    async fn title_names(&self, rows: &[Object]) -> HashMap<String, String> {
        let ids: BTreeSet<&str> = rows.iter().filter_map(|row| row.get("title_id")?.as_str()).collect();
        let ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
        self.parts.rows.title_names(&ids).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "sessions are shown without the names of their titles");
            HashMap::new()
        })
    }
}
