//! From plans to rows: candidates of every row at the same time, then row by row what no earlier row has taken, and at
//! last every item against the viewer once more.

use std::collections::{BTreeSet, HashSet};
use std::time::Instant;

use crate::blocking::Missed;
use crate::context::Context;
use crate::rows::RowPlan;
use crate::stages::{Candidate, Origin, SourceError};
use crate::{Degraded, Item, PageTrace, Reason, Row, Stage};

/// A row's candidates, filtered.
pub(crate) struct Gathered {
    pub(crate) plan: RowPlan,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) degraded: BTreeSet<Degraded>,
    pub(crate) trace: PageTrace,
}

/// Asks a row's sources one after the other until one finds enough; if none does, the one that found most counts.
pub(crate) async fn gather(mut plan: RowPlan, context: &Context) -> Gathered {
    let mut gathered = (Vec::new(), None);
    let (mut degraded, mut trace) = (BTreeSet::new(), PageTrace::default());
    for source in &plan.sources {
        let began = Instant::now();
        let found = source.candidates(context).await;
        let count = found.as_ref().map_or(0, Vec::len);
        trace.add(&plan.row_id, (Stage::Source, source.name()), (0, count), began.elapsed());
        let candidates = match found {
            Ok(candidates) => clean(&plan, context, candidates, &mut trace),
            Err(error) => {
                degraded.insert(reason_of(&error));
                continue;
            }
        };
        let is_enough = candidates.len() >= plan.min_items;
        if candidates.len() > gathered.0.len() {
            gathered = (candidates, source.heading());
        }
        if is_enough {
            break;
        }
    }
    let (candidates, heading) = gathered;
    if let Some(heading) = heading {
        heading.clone_into(&mut plan.heading);
    }
    Gathered { plan, candidates, degraded, trace }
}

fn reason_of(error: &SourceError) -> Degraded {
    match error {
        SourceError::Missed(Missed::Late) => Degraded::Deadline,
        SourceError::Missed(Missed::Defect) => Degraded::IndexUnavailable,
        SourceError::Index(error) => {
            tracing::warn!(error = error as &dyn std::error::Error, "the vector index cannot be read");
            Degraded::IndexUnavailable
        }
    }
}

/// Hydrates and filters; a title that a source names twice counts once, a score that is no number not at all.
fn clean(plan: &RowPlan, context: &Context, mut candidates: Vec<Candidate>, trace: &mut PageTrace) -> Vec<Candidate> {
    let mut named = HashSet::with_capacity(candidates.len());
    candidates.retain(|candidate| candidate.score.is_finite() && named.insert(candidate.title));
    for hydrator in plan.hydrators {
        let (began, count) = (Instant::now(), candidates.len());
        hydrator.hydrate(context, &mut candidates);
        trace.add(&plan.row_id, (Stage::Hydrator, hydrator.name()), (count, count), began.elapsed());
    }
    for filter in plan.filters {
        let (began, before) = (Instant::now(), candidates.len());
        filter.retain(context, &mut candidates);
        trace.add(&plan.row_id, (Stage::Filter, filter.name()), (before, candidates.len()), began.elapsed());
    }
    candidates
}

/// The rows of a page, best first. Rows take their titles in the order given.
pub(crate) fn page(
    context: &Context,
    gathered: &[Gathered],
    (max_rows, max_items): (usize, usize),
    trace: &mut PageTrace,
) -> Vec<Row> {
    let mut rows = rows(context, gathered, max_items, false, trace);
    if rows.is_empty() {
        // Better short rows than an empty page: a strict viewer of a small catalogue.
        rows = self::rows(context, gathered, max_items, true, trace);
    }
    rows.sort_by(|(a, _), (b, _)| b.total_cmp(a)); // stable: equal rows keep their order
    rows.into_iter().take(max_rows).map(|(_, row)| row).collect()
}

fn rows(
    context: &Context,
    gathered: &[Gathered],
    max_items: usize,
    may_be_short: bool,
    trace: &mut PageTrace,
) -> Vec<(f64, Row)> {
    let mut taken: HashSet<u32> = HashSet::new();
    let mut rows = Vec::with_capacity(gathered.len());
    for Gathered { plan, candidates, .. } in gathered {
        let (began, before) = (Instant::now(), candidates.len());
        let candidates: Vec<Candidate> = candidates.iter().filter(|c| !taken.contains(&c.title)).copied().collect();
        trace.add(&plan.row_id, (Stage::Filter, "once_per_page"), (before, candidates.len()), began.elapsed());
        let chosen = choose(plan, context, candidates, max_items, trace);
        let items = write(plan, context, &chosen, trace);
        if items.len() < if may_be_short { 1 } else { plan.min_items } {
            continue;
        }
        taken.extend(chosen.iter().map(|candidate| candidate.title));
        let score = plan.prior * (items.len() as f64 / max_items as f64).min(1.0);
        rows.push((score, row(plan, items)));
    }
    rows
}

/// The best `limit` of a row's candidates, in order.
pub(crate) fn choose(
    plan: &RowPlan,
    context: &Context,
    mut candidates: Vec<Candidate>,
    limit: usize,
    trace: &mut PageTrace,
) -> Vec<Candidate> {
    let (began, count) = (Instant::now(), candidates.len());
    plan.scorer.score(context, &mut candidates);
    trace.add(&plan.row_id, (Stage::Scorer, plan.scorer.name()), (count, count), began.elapsed());
    let began = Instant::now();
    let chosen = plan.selector.select(context, candidates, limit);
    trace.add(&plan.row_id, (Stage::Selector, plan.selector.name()), (count, chosen.len()), began.elapsed());
    chosen
}

/// Items from candidates, each checked against the viewer once more: no stage before has to be believed.
pub(crate) fn write(plan: &RowPlan, context: &Context, chosen: &[Candidate], trace: &mut PageTrace) -> Vec<Item> {
    let began = Instant::now();
    let items: Vec<Item> = chosen.iter().filter_map(|candidate| item(context, candidate)).collect();
    if items.len() < chosen.len() {
        tracing::error!(row_id = plan.row_id, "the last check stopped a title that the stages had let through");
    }
    trace.add(&plan.row_id, (Stage::Check, "items"), (chosen.len(), items.len()), began.elapsed());
    items
}

pub(crate) fn row(plan: &RowPlan, items: Vec<Item>) -> Row {
    Row { row_id: plan.row_id.clone(), kind: plan.kind, heading: plan.heading.clone(), items }
}

fn item(context: &Context, candidate: &Candidate) -> Option<Item> {
    let title = context.title(candidate.title);
    if !context.viewer.may_see(title) || context.not_interested.contains(&candidate.title) {
        return None;
    }
    Some(Item {
        title_id: title.title_id.clone(),
        name: title.name.clone(),
        year: title.year,
        genres: title.genres.clone(),
        score: candidate.score,
        reason: reason(context, candidate.origin),
        watched_fraction: candidate.watched_fraction.map(f64::from),
        propensity: candidate.propensity,
    })
}

/// The true reason; a title that the viewer may not see is never named in it.
fn reason(context: &Context, origin: Origin) -> Reason {
    let because = origin.because().map(|number| context.title(number)).filter(|title| context.viewer.may_see(title));
    let text = match (origin, because) {
        (Origin::Neighbours { .. }, Some(title)) => format!("Because you watched {}", title.name),
        (Origin::CoWatch { .. }, Some(title)) => format!("Often watched with {}", title.name),
        (Origin::Vectors | Origin::Neighbours { .. } | Origin::CoWatch { .. }, _) => "Like what you watch".to_owned(),
        (Origin::Unfinished, _) => "Not finished yet".to_owned(),
        (Origin::PopularDecayed | Origin::PopularOfModel, _) => "Popular".to_owned(),
        (Origin::Trending, _) => "Trending now".to_owned(),
        (Origin::Newest, _) => "New".to_owned(),
        (Origin::Exploration, _) => "Something different".to_owned(),
    };
    Reason { source: origin.source(), because_title_id: because.map(|title| title.title_id.clone()), text }
}
