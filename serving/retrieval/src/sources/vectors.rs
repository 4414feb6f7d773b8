//! The user tower's vector against the index. Tower and search run in one blocking call: whatever they do, the request
//! can give them up, and a defect in either is an answer.

use std::sync::Arc;

use async_trait::async_trait;

use crate::context::Context;
use crate::sources::MAX_CANDIDATES;
use crate::stages::{Candidate, Origin, Source, SourceError};
use crate::{TowerInput, VectorFilter};

/// Titles that a search may be told to leave out: all that the features keep of a viewer (4096 seen, 500 unwanted, 20
/// unfinished). The filter stage drops whatever a store should hold beyond that.
const MAX_WITHOUT: usize = 5_000;

/// Nothing for viewers without any title that the model knows.
pub(crate) struct Vectors;

#[async_trait]
impl Source for Vectors {
    fn name(&self) -> &'static str {
        "vectors"
    }

    async fn candidates(&self, context: &Context) -> Result<Vec<Candidate>, SourceError> {
        let Some(model) = context.model.clone() else { return Ok(Vec::new()) };
        let history = context.features.recent_titles.clone();
        if history.is_empty() {
            return Ok(Vec::new());
        }
        let mut filter = VectorFilter::of(&context.viewer);
        let titles = context.shelf.catalogue.titles();
        let without = context.not_interested.iter().chain(&context.watched).take(MAX_WITHOUT);
        filter.without = without.map(|&number| titles[number as usize].title_id.clone()).collect();
        let at_ms = context.as_of_ms;
        let search = move || {
            let model = Arc::clone(&model);
            let Some(vector) = model.tower.embed(&TowerInput { history: &history, at_ms }) else {
                return Ok(Vec::new());
            };
            model.index.search(&vector, &filter, MAX_CANDIDATES)
        };
        let hits = context.blocking.call(context.budget, search).await.map_err(SourceError::Missed)?;
        let candidates = hits.map_err(SourceError::Index)?.into_iter().filter_map(|hit| {
            let title = context.shelf.catalogue.number(&hit.title_id)?;
            Some(Candidate::new(title, f64::from(hit.score), Origin::Vectors))
        });
        Ok(candidates.collect())
    }
}
