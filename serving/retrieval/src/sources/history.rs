//! What the viewer has begun.

use async_trait::async_trait;

use crate::context::Context;
use crate::sources::MAX_CANDIDATES;
use crate::stages::{Candidate, Origin, Source, SourceError};

/// Titles begun and not finished, the last first.
pub(crate) struct Unfinished;

#[async_trait]
impl Source for Unfinished {
    fn name(&self) -> &'static str {
        "unfinished"
    }

    async fn candidates(&self, context: &Context) -> Result<Vec<Candidate>, SourceError> {
        let unfinished = (context.features.unfinished.iter())
            .filter_map(|watched| Some((context.shelf.catalogue.number(&watched.title_id)?, watched.watched_fraction)))
            .filter(|&(number, _)| context.may_show(number))
            .take(MAX_CANDIDATES);
        let candidate = |(rank, (number, fraction)): (u32, (u32, f32))| Candidate {
            watched_fraction: Some(fraction.clamp(0.0, 1.0)),
            ..Candidate::new(number, 1.0 / f64::from(rank), Origin::Unfinished)
        };
        Ok((1_u32..).zip(unfinished).map(candidate).collect())
    }
}
