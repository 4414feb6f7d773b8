//! Writing an index once. The order matters: payload fields are indexed before anything is optimised, and what was
//! built is compared with a plain computation before the folder counts as built.

use std::fs;
use std::path::Path;

use marquee_catalogue::Maturity;
use marquee_retrieval::{IndexError, VectorFilter};
use qdrant_edge::{
    CreateIndex, Distance, EdgeConfig, EdgeOptimizersConfig, EdgeShard, EdgeVectorParams, FieldIndexOperations,
    IntegerIndexParams, JsonPath, KeywordIndexParams, PayloadFieldSchema, PayloadSchemaParams, PointInsertOperations,
    PointOperations, UpdateOperation, WalOptions,
};

use crate::description::{Description, ENGINE};
use crate::engine::{Engine, EngineError};
use crate::file_marks::FileMarks;
use crate::index::search_engine;
use crate::point::{maturity_field, regions_field};
use crate::{BuildError, IndexPoint};

/// Points in one update of the engine: 64 to 256 is what Qdrant recommends.
const POINTS_PER_UPDATE: usize = 256;

/// The engine's write-ahead log is thrown away after the build; its default of 32 MiB would be written for nothing.
const WAL_SEGMENT_BYTES: usize = 1024 * 1024;

/// How many queries are compared with a plain computation.
const CANARIES: usize = 8;

/// How many titles each of them asks for.
const CANARY_LIMIT: usize = 10;

/// The engine sums in another order than a plain loop: relative error of an inner product that is still the same.
const CANARY_TOLERANCE: f32 = 1e-4;

/// Builds an index of `points`, in any order, in `folder`, which must not exist yet. Its content is durable only once
/// the caller has synced the folder.
///
/// # Errors
/// [`BuildError::Point`] naming the first title that breaks a rule; [`BuildError::Validation`] when the engine does
/// not answer as a plain computation does; otherwise the failure. The folder is then left as it is.
pub fn build(folder: &Path, dimensions: usize, mut points: Vec<IndexPoint>) -> Result<(), BuildError> {
    points.sort_by(|a, b| a.title_id.cmp(&b.title_id));
    points.iter().try_for_each(|point| point.check(dimensions))?;
    if let Some(pair) = points.windows(2).find(|pair| pair[0].title_id == pair[1].title_id) {
        return Err(BuildError::Point { title_id: pair[0].title_id.clone(), problem: "it is there twice".to_owned() });
    }
    let engine_folder = folder.join(ENGINE);
    let in_folder = |source| BuildError::Folder { folder: folder.to_owned(), source };
    fs::create_dir(folder).and_then(|()| fs::create_dir(&engine_folder)).map_err(in_folder)?;
    let engine = Engine::start(|| EdgeShard::new(&engine_folder, config(dimensions))).map_err(failed("making it"))?;
    fill(&engine, &points)?;
    validate(&engine, &points)?;
    drop(engine);
    // Everything is flushed; the engine makes an empty log when it opens a folder without one.
    fs::remove_dir_all(engine_folder.join("wal")).map_err(in_folder)?;
    FileMarks::of(&engine_folder).and_then(|marks| marks.write(folder)).map_err(in_folder)?;
    Description::of(dimensions, &points).write(folder).map_err(in_folder)
}

/// The inner product, always exact: a graph over the vectors pays from some 100,000 titles on, and such a catalogue
/// belongs in a Qdrant cluster. Below that a scan takes milliseconds and can neither miss a title nor depend on a seed.
fn config(dimensions: usize) -> EdgeConfig {
    let optimizers = EdgeOptimizersConfig {
        default_segment_number: Some(1),
        // 0 means that no segment is ever large enough for a graph.
        indexing_threshold: Some(0),
        ..EdgeOptimizersConfig::default()
    };
    let wal = WalOptions { segment_capacity: WAL_SEGMENT_BYTES, ..WalOptions::default() };
    EdgeConfig::builder()
        .vector(qdrant_edge::DEFAULT_VECTOR_NAME, EdgeVectorParams::builder(dimensions, Distance::Dot).build())
        .on_disk_payload(false)
        .optimizers(optimizers)
        .wal_options(wal)
        .build()
}

fn fill(engine: &Engine, points: &[IndexPoint]) -> Result<(), BuildError> {
    let maturity = PayloadSchemaParams::Integer(IntegerIndexParams { range: Some(true), ..Default::default() });
    let regions = PayloadSchemaParams::Keyword(KeywordIndexParams::default());
    for (field, schema) in [(maturity_field(), maturity), (regions_field(), regions)] {
        engine.call(|shard| shard.update(index_field(field, schema))).map_err(failed("indexing a payload field"))?;
    }
    let mut number = 0_u64;
    for chunk in points.chunks(POINTS_PER_UPDATE) {
        let stored = (number..).zip(chunk).map(|(number, point)| point.stored(number)).collect();
        let operation = PointOperations::UpsertPoints(PointInsertOperations::PointsList(stored));
        engine
            .call(|shard| shard.update(UpdateOperation::PointOperation(operation)))
            .map_err(failed("adding points"))?;
        number += chunk.len() as u64;
    }
    engine.call(EdgeShard::optimize).map_err(failed("optimising it"))?;
    engine
        .call(|shard| {
            shard.flush();
            Ok(())
        })
        .map_err(failed("flushing it"))
}

fn index_field(field_name: JsonPath, schema: PayloadSchemaParams) -> UpdateOperation {
    UpdateOperation::FieldIndexOperation(FieldIndexOperations::CreateIndex(CreateIndex {
        field_name,
        field_schema: Some(PayloadFieldSchema::FieldParams(schema)),
    }))
}

/// Compares with a plain computation: the number of points, which fields are indexed, and a few queries.
fn validate(engine: &Engine, points: &[IndexPoint]) -> Result<(), BuildError> {
    let wrong = |problem| Err(BuildError::Validation { problem });
    let info = engine.call(|shard| Ok(shard.info())).map_err(failed("reading it"))?;
    if info.points_count != points.len() {
        return wrong(format!("it holds {} of {} titles", info.points_count, points.len()));
    }
    for field in [maturity_field(), regions_field()] {
        if !points.is_empty() && !info.payload_schema.contains_key(&field) {
            return wrong(format!("its payload field `{field}` is not indexed"));
        }
    }
    let everything = VectorFilter { max_maturity: Maturity::Age18, country: String::new(), without: Vec::new() };
    let step = points.len().div_ceil(CANARIES).max(1);
    for canary in points.iter().step_by(step) {
        let found = search_engine(engine, &canary.vector, &everything, &[], CANARY_LIMIT, points.len())
            .map_err(failed("searching it"))?;
        let expected = plain_scores(points, &canary.vector, CANARY_LIMIT);
        let agree = found.len() == expected.len()
            && found
                .iter()
                .zip(&expected)
                .all(|((_, found), expected)| (found - expected).abs() <= CANARY_TOLERANCE * expected.abs().max(1.0));
        if !agree {
            let title = &canary.title_id;
            return wrong(format!("next to title `{title}` it finds {found:?}, a plain loop the scores {expected:?}"));
        }
    }
    Ok(())
}

/// The best scores among the globally licensed titles.
fn plain_scores(points: &[IndexPoint], query: &[f32], limit: usize) -> Vec<f32> {
    let global = points.iter().filter(|point| point.regions.allow(""));
    let mut scores: Vec<f32> = global.map(|point| point.vector.iter().zip(query).map(|(a, b)| a * b).sum()).collect();
    scores.sort_by(|a, b| b.total_cmp(a));
    scores.truncate(limit);
    scores
}

fn failed(operation: &'static str) -> impl Fn(EngineError) -> BuildError {
    move |error| BuildError::Index(IndexError::Engine { operation, source: error.boxed() })
}
