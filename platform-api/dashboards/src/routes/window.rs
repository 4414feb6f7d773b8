//! `GET /api/live/window` and `GET /api/sql/window`: the figures of one window (`from`, `to`: whole minutes, ms since the
//! epoch), once from the live minutes and once by SQL over the lake. For a closed window they are equal.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};

use crate::figures::{Figures, Sums};
use crate::refusal::Refusal;
use crate::window_sql::{self, Scope};
use crate::{Dashboards, EpochMark, Window};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    from: i64,
    to: i64,
}

#[derive(Serialize)]
pub(super) struct LiveWindow {
    window: Window,
    as_of_ms: Option<i64>,
    epochs: Vec<EpochMark>,
    figures: Figures,
}

#[derive(Serialize)]
pub(super) struct SqlWindow {
    window: Window,
    /// Sessions that touch the window.
    sessions: i64,
    /// Those of them that are not over: their figures may still move. None: the window is closed.
    open_sessions: i64,
    figures: Figures,
    /// What was asked, for `marquee lake sql`.
    sql: String,
}

type AskedWindow = Result<Query<Asked>, QueryRejection>;

pub(super) async fn get_live(
    State(dashboards): State<Arc<Dashboards>>,
    asked: AskedWindow,
) -> Result<Json<LiveWindow>, Refusal> {
    let window = window(asked)?;
    let live = dashboards.parts.live.minutes(window.from_minute(), window.to_minute());
    if live.complete_from_minute > window.from_minute() {
        let problem = format!("the live view is complete from {} on", live.complete_from_minute * 60_000);
        return Err(Refusal::field("from", problem));
    }
    let mut sums = Sums::default();
    for minute in &live.minutes {
        sums.add_minute(minute.minute, &minute.measures);
    }
    Ok(Json(LiveWindow { window, as_of_ms: live.as_of_ms, epochs: live.epochs, figures: sums.figures() }))
}

pub(super) async fn get_sql(
    State(dashboards): State<Arc<Dashboards>>,
    asked: AskedWindow,
) -> Result<Json<SqlWindow>, Refusal> {
    let window = window(asked)?;
    let scope = Scope::read(&dashboards.query(&window_sql::scope(window), super::QUERY_TIMEOUT).await?)?;
    let sql = window_sql::sums(window, &scope);
    let sums = window_sql::read(&dashboards.query(&sql, TIMEOUT).await?)?;
    let Scope { sessions, open_sessions, .. } = scope;
    Ok(Json(SqlWindow { window, sessions, open_sessions, figures: sums.figures(), sql }))
}

/// The fold of a day on a laptop takes less.
const TIMEOUT: Duration = Duration::from_secs(60);

fn window(asked: AskedWindow) -> Result<Window, Refusal> {
    let Query(asked) = asked?;
    Ok(Window::new(asked.from, asked.to)?)
}
