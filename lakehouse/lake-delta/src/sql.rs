//! SQL over the lake: one consistent cut for each session, read-only, bounded in memory.

use std::sync::Arc;

use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use chrono::DateTime;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::DiskManagerBuilder;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::parquet::errors::ParquetError;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use deltalake::DeltaTableError;
use deltalake::delta_datafusion::{DeltaScanConfig, DeltaScanNext};
use futures::TryStreamExt as _;
use marquee_lake::{LakeError, views};

use crate::open::open_error;
use crate::scan::ReadOnlyTable;
use crate::{LakeOptions, OpenTable, find_cause, one_line};

/// Queries spill so much to the temporary folder at most (bytes): a full disk stops more than a query.
const LARGEST_SPILL_BYTES: u64 = 16 << 30;

/// What all sessions share: memory, spill files, caches of Parquet footers.
pub(crate) fn runtime(options: LakeOptions) -> Result<Arc<RuntimeEnv>, LakeError> {
    let disk = DiskManagerBuilder::default().with_max_temp_directory_size(LARGEST_SPILL_BYTES);
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(options.query_memory_bytes)))
        .with_disk_manager_builder(disk)
        .build_arc()
        .map_err(|error| query_error(&error))
}

/// A session over the tables and views as they are now.
pub(crate) async fn session(tables: &[OpenTable], runtime: &Arc<RuntimeEnv>) -> Result<SessionContext, LakeError> {
    let session = SessionContext::new_with_config_rt(config(), Arc::clone(runtime));
    // Against the order of commits: an epoch is listed in `epochs` after its rows are in the other tables.
    for table in tables.iter().rev() {
        let failed = |error: DeltaTableError| open_error(table.spec, &table.location, error);
        let newest = table.newest().await?;
        newest.update_datafusion_session(&session.state()).map_err(failed)?;
        let snapshot = newest.snapshot().map_err(failed)?.snapshot().clone();
        // Without a dictionary around the partition column: its values are dates to everyone who gets them. Without views
        // of texts: a view holds on to the whole page it came from, and rows from a thousand small files to a thousand
        // pages, which the memory limit counts for each batch anew.
        let plain = DeltaScanConfig::new().with_wrap_partition_values(false);
        let scan = DeltaScanNext::new(snapshot, DeltaScanConfig { schema_force_view_types: false, ..plain });
        let scan = scan.map_err(|error| query_error(&error))?;
        session.register_table(table.spec.name, Arc::new(ReadOnlyTable(scan))).map_err(|error| query_error(&error))?;
    }
    for view in views::all() {
        let plan = session.sql(view.sql).await.map_err(|error| query_error(&error))?;
        session.register_table(view.name, plan.into_view()).map_err(|error| query_error(&error))?;
    }
    Ok(session)
}

fn config() -> SessionConfig {
    let mut config = SessionConfig::new().with_information_schema(true);
    let options = config.options_mut();
    options.execution.time_zone = Some("UTC".to_owned());
    options.execution.parquet.schema_force_view_types = false;
    // As in Delta's own session: dictionary keys in a pushed-down join list panic.
    options.optimizer.hash_join_inlist_pushdown_max_size = 0;
    options.optimizer.hash_join_inlist_pushdown_max_distinct_values = 0;
    config
}

/// Runs one query that only reads.
pub(crate) async fn run(
    session: &SessionContext,
    query: &str,
    now_ms: i64,
    largest_result_bytes: usize,
) -> Result<(SchemaRef, Vec<RecordBatch>), LakeError> {
    let failed = |error: DataFusionError| read_error(&error);
    let mut state = session.state();
    state.execution_props_mut().query_execution_start_time = DateTime::from_timestamp_millis(now_ms);
    let plan = state.create_logical_plan(query).await.map_err(failed)?;
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    read_only.verify_plan(&plan).map_err(failed)?;
    let mut rows = DataFrame::new(state, plan).execute_stream().await.map_err(failed)?;
    let schema = plain_schema(&rows.schema());
    let (mut batches, mut result_bytes) = (Vec::new(), 0);
    while let Some(batch) = rows.try_next().await.map_err(failed)? {
        let batch = plain(&schema, &batch).map_err(|error| read_error(&error.into()))?;
        result_bytes += batch.get_array_memory_size();
        if result_bytes > largest_result_bytes {
            let limit_mib = largest_result_bytes >> 20;
            return Err(LakeError::Query(format!("its result exceeds {limit_mib} MiB: aggregate it or add a LIMIT")));
        }
        batches.push(batch);
    }
    Ok((schema, batches))
}

/// Types that every client knows: view and dictionary types are an inner matter of the engine.
fn plain_schema(schema: &Schema) -> SchemaRef {
    let plain = |field: &Arc<Field>| field.as_ref().clone().with_data_type(plain_type(field.data_type()));
    Arc::new(Schema::new(schema.fields().iter().map(plain).collect::<Vec<_>>()))
}

fn plain_type(found: &DataType) -> DataType {
    match found {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, value) => plain_type(value),
        DataType::List(item) => {
            DataType::List(Arc::new(item.as_ref().clone().with_data_type(plain_type(item.data_type()))))
        }
        other => other.clone(),
    }
}

fn plain(schema: &SchemaRef, rows: &RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> {
    let columns = schema.fields().iter().zip(rows.columns()).map(|(field, column)| cast(column, field.data_type()));
    let columns = columns.collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

fn query_error(error: &DataFusionError) -> LakeError {
    LakeError::Query(one_line(&error.strip_backtrace()))
}

/// Not every failed query is the caller's fault: a file that is gone or unreadable damages its table.
fn read_error(error: &DataFusionError) -> LakeError {
    let message = error.strip_backtrace();
    let missing = matches!(find_cause(error), Some(object_store::Error::NotFound { .. }));
    if !missing && find_cause::<ParquetError>(error).is_none() {
        return LakeError::Query(one_line(&message));
    }
    // The path in the message says which table: `…/events/ingest_date=2026-07-27/name.parquet`.
    let table = message.rsplit('/').find(|part| marquee_lake::tables::by_name(part).is_some());
    let problem = format!("a data file is missing or unreadable ({})", one_line(&message));
    LakeError::Damaged { table: table.unwrap_or("one of the queried tables").to_owned(), problem }
}
