//! An opened index. Titles are numbered from 0 in the order of their ids, and the numbers are the engine's point ids:
//! so a hit needs no payload, and equal scores are ordered by number.

use std::path::Path;

use marquee_retrieval::{Hit, IndexError, VectorFilter, VectorIndex};
use qdrant_edge::{
    EdgeShard, NamedQuery, PointId, QueryEnum, QueryRequest, ScoringQuery, ScrollRequest, VectorInternal,
    WithPayloadInterface, WithVector,
};

use crate::IndexPoint;
use crate::description::{Description, ENGINE, ReadError};
use crate::engine::{Engine, EngineError};
use crate::file_marks::FileMarks;
use crate::point::engine_filter;
use crate::working_copy::{CopyError, WorkingCopy};

/// Titles that are read at once when an index is opened: bounds the memory of the check.
const TITLES_PER_READ: usize = 4_096;

/// When equal scores straddle the limit, so many times more titles are asked for.
const WIDEN: usize = 8;

/// An index of item vectors in Qdrant's engine.
pub struct QdrantIndex {
    // Fields drop in this order: the engine writes its last bytes before its folder goes.
    engine: Engine,
    _copy: WorkingCopy,
    dimensions: usize,
    /// By number, so in order.
    titles: Vec<String>,
}

impl QdrantIndex {
    /// Opens what [`build`](crate::build) wrote in `folder`, through a copy below `working` (made if need be; copies
    /// that ended processes have left there are removed).
    ///
    /// # Errors
    /// [`IndexError::Damaged`] when the folder is not there or holds anything else than what was built;
    /// [`IndexError::Engine`] when the disk does not answer.
    pub fn open(folder: &Path, working: &Path) -> Result<Self, IndexError> {
        let damaged = |problem| IndexError::Damaged { location: folder.display().to_string(), problem };
        let unreadable = |error| match error {
            ReadError::Damaged(problem) => damaged(problem),
            ReadError::Io(source) => unavailable("reading its description", source),
        };
        let description = Description::read(folder).map_err(unreadable)?;
        let marks = FileMarks::read(folder).map_err(unreadable)?;
        let copy = WorkingCopy::of(&folder.join(ENGINE), &marks, working).map_err(|error| match error {
            CopyError::Damaged(problem) => damaged(problem),
            CopyError::Io(source) => unavailable("making a working copy", source),
        })?;
        let engine = Engine::start(|| EdgeShard::load(copy.path(), None)).map_err(|e| damaged(e.to_string()))?;
        let points = read_points(&engine).map_err(damaged)?;
        if !description.holds(&points) {
            let problem = format!("it does not hold the {} titles that were written", description.titles);
            return Err(damaged(problem));
        }
        let titles = points.into_iter().map(|point| point.title_id).collect();
        Ok(Self { engine, _copy: copy, dimensions: description.dimensions, titles })
    }

    /// Length of the vectors.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    fn number(&self, title_id: &str) -> Option<u64> {
        let place = self.titles.binary_search_by(|title| title.as_str().cmp(title_id));
        place.ok().map(|place| place as u64)
    }
}

impl VectorIndex for QdrantIndex {
    fn search(&self, vector: &[f32], filter: &VectorFilter, limit: usize) -> Result<Vec<Hit>, IndexError> {
        if vector.len() != self.dimensions {
            return Err(IndexError::Dimension { expected: self.dimensions, found: vector.len() });
        }
        if !vector.iter().all(|number| number.is_finite()) {
            return Err(unavailable("searching", "the query has a number that is not finite"));
        }
        let without: Vec<u64> = filter.without.iter().filter_map(|title| self.number(title)).collect();
        let found = search_engine(&self.engine, vector, filter, &without, limit, self.titles.len())
            .map_err(|error| IndexError::Engine { operation: "searching", source: error.boxed() })?;
        let hit = |(number, score): (u64, f32)| {
            let title_id = self.titles.get(number as usize)?.clone();
            Some(Hit { title_id, score })
        };
        Ok(found.into_iter().filter_map(hit).collect())
    }

    fn count(&self) -> Result<usize, IndexError> {
        Ok(self.titles.len())
    }
}

/// The best `limit` numbers of `titles` with their scores, ties by number. The engine breaks ties as it pleases, so
/// one more is asked for than needed, and more again while equal scores reach over the limit.
pub(crate) fn search_engine(
    engine: &Engine,
    vector: &[f32],
    filter: &VectorFilter,
    without: &[u64],
    limit: usize,
    titles: usize,
) -> Result<Vec<(u64, f32)>, EngineError> {
    let limit = limit.min(titles);
    if limit == 0 {
        return Ok(Vec::new());
    }
    let filter = engine_filter(filter, without.iter().copied());
    let mut width = limit + 1;
    loop {
        let request = QueryRequest {
            prefetches: Vec::new(),
            query: Some(ScoringQuery::Vector(QueryEnum::Nearest(NamedQuery {
                query: VectorInternal::Dense(vector.to_vec()),
                using: None,
            }))),
            filter: Some(filter.clone()),
            score_threshold: None,
            limit: width,
            offset: 0,
            params: None,
            with_vector: WithVector::Bool(false),
            with_payload: WithPayloadInterface::Bool(false),
        };
        let points = engine.call(|shard| shard.query(request))?;
        let numbered = points.iter().filter_map(|point| match point.id {
            // -0 and 0 are one score.
            PointId::NumId(number) => Some((number, point.score + 0.0)),
            PointId::Uuid(_) => None,
        });
        let mut found: Vec<(u64, f32)> = numbered.collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let all_ties_are_there = found.len() < width || found[width - 1].1 < found[limit - 1].1;
        if all_ties_are_there || width > titles {
            found.truncate(limit);
            return Ok(found);
        }
        width = (width * WIDEN).min(titles + 1);
    }
}

/// Every point in the order of the numbers, which must be those from 0 without a gap.
fn read_points(engine: &Engine) -> Result<Vec<IndexPoint>, String> {
    let mut points = Vec::new();
    let mut next = None;
    loop {
        let request = ScrollRequest {
            offset: next,
            limit: Some(TITLES_PER_READ),
            filter: None,
            with_payload: Some(WithPayloadInterface::Bool(true)),
            with_vector: WithVector::Bool(true),
            order_by: None,
        };
        let (records, after) = engine.call(|shard| shard.scroll(request)).map_err(|error| error.to_string())?;
        for record in records {
            let (number, point) = IndexPoint::read(record)?;
            if number != points.len() as u64 {
                return Err(format!("point {} is missing", points.len()));
            }
            points.push(point);
        }
        match after {
            Some(after) => next = Some(after),
            None => return Ok(points),
        }
    }
}

fn unavailable(operation: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> IndexError {
    IndexError::Engine { operation, source: source.into() }
}
