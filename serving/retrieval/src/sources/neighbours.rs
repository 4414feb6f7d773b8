//! What follows what: the model's neighbour lists, and what the viewers of a title also watched.

use std::collections::HashMap;

use async_trait::async_trait;

use crate::context::Context;
use crate::sources::MAX_CANDIDATES;
use crate::stages::{Candidate, Origin, Source, SourceError};

/// The model's list of one title.
pub(crate) struct Following {
    pub(crate) title: u32,
}

#[async_trait]
impl Source for Following {
    fn name(&self) -> &'static str {
        "neighbours"
    }

    async fn candidates(&self, context: &Context) -> Result<Vec<Candidate>, SourceError> {
        let Some(model) = &context.model else { return Ok(Vec::new()) };
        let Some(list) = model.neighbours.lists.get(&context.title(self.title).title_id) else {
            return Ok(Vec::new());
        };
        let origin = Origin::Neighbours { because: self.title };
        Ok(list
            .iter()
            .filter_map(|(title_id, weight)| Some((context.shelf.catalogue.number(title_id)?, *weight)))
            .filter(|&(number, _)| context.may_propose(number))
            .take(MAX_CANDIDATES)
            .map(|(number, weight)| Candidate::new(number, f64::from(weight), origin))
            .collect())
    }
}

/// What the viewers of one title also watched; needs no model.
pub(crate) struct CoWatched {
    pub(crate) title: u32,
}

#[async_trait]
impl Source for CoWatched {
    fn name(&self) -> &'static str {
        "co_watch"
    }

    async fn candidates(&self, context: &Context) -> Result<Vec<Candidate>, SourceError> {
        let Some(list) = context.board.co_watch.get(&self.title) else { return Ok(Vec::new()) };
        let origin = Origin::CoWatch { because: self.title };
        Ok(list
            .iter()
            .filter(|&&(number, _)| context.may_propose(number))
            .map(|&(number, weight)| Candidate::new(number, weight, origin))
            .collect())
    }
}

/// The neighbour lists of the whole recent history: `Σ weight · decay^age`, where age counts back from the last title;
/// stands in for the vectors. Each candidate names the title that contributed most.
pub(crate) struct NeighboursOfHistory;

#[async_trait]
impl Source for NeighboursOfHistory {
    fn name(&self) -> &'static str {
        "neighbours_of_history"
    }

    async fn candidates(&self, context: &Context) -> Result<Vec<Candidate>, SourceError> {
        let Some(model) = &context.model else { return Ok(Vec::new()) };
        let neighbours = &model.neighbours;
        let mut found: HashMap<u32, Found> = HashMap::new();
        let recent = context.features.recent_titles.iter().rev().take(neighbours.window);
        for (age, watched) in (0..).zip(recent) {
            let Some(list) = neighbours.lists.get(&watched.title_id) else { continue };
            let Some(because) = context.shelf.catalogue.number(&watched.title_id) else { continue };
            let decay = f64::from(neighbours.decay).powi(age);
            for (title_id, weight) in list {
                let Some(number) = context.shelf.catalogue.number(title_id) else { continue };
                let contribution = f64::from(*weight) * decay;
                let found = found.entry(number).or_insert(Found { score: 0.0, strongest: f64::MIN, because });
                found.score += contribution;
                if contribution > found.strongest {
                    (found.strongest, found.because) = (contribution, because);
                }
            }
        }
        let mut candidates: Vec<Candidate> = (found.into_iter())
            .filter(|&(number, _)| context.may_propose(number))
            .map(|(number, f)| Candidate::new(number, f.score, Origin::Neighbours { because: f.because }))
            .collect();
        candidates.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.title.cmp(&b.title)));
        candidates.truncate(MAX_CANDIDATES);
        Ok(candidates)
    }
}

struct Found {
    score: f64,
    strongest: f64,
    because: u32,
}
