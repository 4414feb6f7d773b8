//! The whole catalogue in some order: popular, trending, new, or none at all. Each takes the first that the viewer may
//! be proposed.

use async_trait::async_trait;

use crate::context::Context;
use crate::sources::MAX_CANDIDATES;
use crate::stages::{Candidate, Origin, Source, SourceError};

/// Views decayed to the request's instant: what is popular without any model.
pub(crate) struct PopularDecayed;

#[async_trait]
impl Source for PopularDecayed {
    fn name(&self) -> &'static str {
        "popular_decayed"
    }

    fn heading(&self) -> Option<&'static str> {
        Some("Popular")
    }

    async fn candidates(&self, context: &Context) -> Result<Vec<Candidate>, SourceError> {
        Ok(first_eligible(context, &context.board.popular, Origin::PopularDecayed))
    }
}

/// The model's own fallback, for when the titles' features were never read.
pub(crate) struct PopularOfModel;

#[async_trait]
impl Source for PopularOfModel {
    fn name(&self) -> &'static str {
        "popular_of_model"
    }

    fn heading(&self) -> Option<&'static str> {
        Some("Popular")
    }

    async fn candidates(&self, context: &Context) -> Result<Vec<Candidate>, SourceError> {
        let Some(model) = &context.model else { return Ok(Vec::new()) };
        Ok(model
            .popular
            .iter()
            .filter_map(|(title_id, score)| Some((context.shelf.catalogue.number(title_id)?, *score)))
            .filter(|&(number, _)| context.may_propose(number))
            .take(MAX_CANDIDATES)
            .map(|(number, score)| Candidate::new(number, f64::from(score), Origin::PopularOfModel))
            .collect())
    }
}

/// Views an hour, lately.
pub(crate) struct Trending;

#[async_trait]
impl Source for Trending {
    fn name(&self) -> &'static str {
        "trending_24h"
    }

    async fn candidates(&self, context: &Context) -> Result<Vec<Candidate>, SourceError> {
        Ok(first_eligible(context, &context.board.trending, Origin::Trending))
    }
}

/// The newest in the catalogue, never from the future of a page that is served as of the past.
pub(crate) struct Newest;

#[async_trait]
impl Source for Newest {
    fn name(&self) -> &'static str {
        "newest"
    }

    fn heading(&self) -> Option<&'static str> {
        Some("New")
    }

    async fn candidates(&self, context: &Context) -> Result<Vec<Candidate>, SourceError> {
        let newest = (context.shelf.newest.iter().copied())
            .filter(|&number| context.title(number).added_at_ms <= context.as_of_ms)
            .filter(|&number| context.may_propose(number))
            .take(MAX_CANDIDATES);
        Ok((1_u32..).zip(newest).map(|(rank, n)| Candidate::new(n, 1.0 / f64::from(rank), Origin::Newest)).collect())
    }
}

/// Every title that may be proposed, the more the fewer have seen it: weight `1 / (1 + views)`.
pub(crate) struct Exploring;

#[async_trait]
impl Source for Exploring {
    fn name(&self) -> &'static str {
        "exploration"
    }

    async fn candidates(&self, context: &Context) -> Result<Vec<Candidate>, SourceError> {
        let views = |number: u32| context.board.views.get(number as usize).copied().unwrap_or(0.0).max(0.0);
        Ok((0..context.shelf.catalogue.titles().len() as u32)
            .filter(|&number| context.may_propose(number))
            .map(|number| Candidate::new(number, 1.0 / (1.0 + views(number)), Origin::Exploration))
            .collect())
    }
}

fn first_eligible(context: &Context, order: &[(u32, f64)], origin: Origin) -> Vec<Candidate> {
    (order.iter())
        .filter(|&&(number, _)| context.may_propose(number))
        .take(MAX_CANDIDATES)
        .map(|&(number, score)| Candidate::new(number, score, origin))
        .collect()
}
