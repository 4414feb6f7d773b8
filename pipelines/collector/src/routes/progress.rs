//! `GET /v1/progress?topic=T`: how much of a topic is in the lake. An importer asks this until `committed` has reached
//! the offsets that finishing answered with.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State, rejection::QueryRejection};
use axum::response::{IntoResponse, Response};
use marquee_stream::LogError;
use serde::{Deserialize, Serialize};

use crate::Collector;
use crate::refusal::Refusal;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProgressQuery {
    topic: String,
}

#[derive(Serialize)]
struct ProgressAnswer {
    topic: String,
    /// Per partition: the next offset that is not yet in the lake.
    committed: Vec<u64>,
    /// Per partition: the offset that the next record will get.
    end: Vec<u64>,
}

pub(super) async fn get_progress(
    State(collector): State<Arc<Collector>>,
    query: Result<Query<ProgressQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(ProgressQuery { topic }) = query.map_err(|rejection| Refusal::field("topic", rejection.body_text()))?;
    let asked = topic.clone();
    let found = collector
        .read_log("reading the progress", move |collector| {
            // The ends come last: nobody then sees more committed than there is.
            let committed = collector.progress.committed(&asked);
            match collector.end_offsets(&asked) {
                Ok(end) => Ok(Some((committed, end))),
                Err(LogError::UnknownTopic(_)) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await?;
    let not_found = |problem| Refusal::NotFound { problem };
    let (committed, end) = found.ok_or_else(|| not_found(format!("there is no topic `{topic}`")))?;
    let committed = committed.ok_or_else(|| not_found(format!("no job reads topic `{topic}`")))?;
    Ok(Json(ProgressAnswer { topic, committed, end }).into_response())
}
