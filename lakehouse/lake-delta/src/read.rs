//! Rows of a few keys out of explicit files, committed or not: re-folds read their sessions here. Row groups are left
//! out by Bloom filter, pages by page index, rows by a filter that decodes the key column first.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, BooleanArray, RecordBatchOptions, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use marquee_lake::{ColumnKind, LakeError, TableSpec};
use object_store::path::Path;
use object_store::{GetResultPayload, ObjectStoreExt as _};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowFilter, RowSelection, RowSelector,
};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::reader::ChunkReader;

use crate::{Cause, OpenTable};

/// Files read at the same time; each holds one batch and its pages.
const FILES_AT_ONCE: usize = 4;

/// What rows are wanted.
struct Wanted {
    spec: &'static TableSpec,
    column: &'static str,
    values: HashSet<String>,
}

/// The rows of these files whose text column has one of the values, in the order of the files and of their rows.
pub(crate) async fn read_rows(
    table: &OpenTable,
    paths: &[String],
    column: &str,
    values: &[String],
) -> Result<Vec<RecordBatch>, LakeError> {
    let failed = |source: Cause| LakeError::Read { table: table.spec.name.to_owned(), source };
    let text = |c: &&marquee_lake::Column| matches!(c.kind, ColumnKind::Text | ColumnKind::DateText);
    let Some(column) = table.spec.columns.iter().filter(text).find(|c| c.name == column) else {
        return Err(failed(format!("it has no text column `{column}`").into()));
    };
    let values = values.iter().cloned().collect();
    let wanted = Arc::new(Wanted { spec: table.spec, column: column.name, values });
    // A loop, for the compiler: it cannot prove a closure over these lifetimes to be `Send`.
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        files.push(read_file(table, path, Arc::clone(&wanted)));
    }
    let batches: Vec<Vec<RecordBatch>> =
        futures::stream::iter(files).buffered(FILES_AT_ONCE).try_collect().await.map_err(failed)?;
    Ok(batches.into_iter().flatten().collect())
}

async fn read_file(table: &OpenTable, path: &str, wanted: Arc<Wanted>) -> Result<Vec<RecordBatch>, Cause> {
    let partition = partition_value(wanted.spec, path)?.map(str::to_owned);
    if wanted.spec.partition_by == Some(wanted.column)
        && !partition.as_ref().is_some_and(|value| wanted.values.contains(value))
    {
        return Ok(Vec::new());
    }
    let found = table.store.get(&Path::parse(path)?).await?;
    // A local file is read where the pages are; anything else is fetched whole, it is smaller than its round trips.
    if let GetResultPayload::File(mut file, _) = found.payload {
        file.seek(SeekFrom::Start(0))?;
        return tokio::task::spawn_blocking(move || read::<File>(&wanted, file, partition.as_deref())).await?;
    }
    let bytes = found.bytes().await?;
    tokio::task::spawn_blocking(move || read::<Bytes>(&wanted, bytes, partition.as_deref())).await?
}

/// The value in a path like `date=2026-01-31/name.parquet`.
fn partition_value<'a>(spec: &TableSpec, path: &'a str) -> Result<Option<&'a str>, Cause> {
    let Some(column) = spec.partition_by else { return Ok(None) };
    let value = path.split_once('/').and_then(|(folder, _)| folder.strip_prefix(column)?.strip_prefix('='));
    value.map(Some).ok_or_else(|| format!("path `{path}` does not start with `{column}=`").into())
}

fn read<F: ChunkReader + 'static>(
    wanted: &Arc<Wanted>,
    file: F,
    partition: Option<&str>,
) -> Result<Vec<RecordBatch>, Cause> {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
    let mut builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)?;
    if wanted.spec.partition_by != Some(wanted.column) {
        let column = builder.schema().index_of(wanted.column)?;
        let schema = builder.parquet_schema();
        // Lists have several leaves: positions in the two schemas differ.
        let leaf = (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == column);
        let leaf = leaf.ok_or("a column without values")?;
        let mask = ProjectionMask::roots(schema, [column]);
        let groups = row_groups(&builder, leaf, &wanted.values)?;
        if let Some(selection) = pages(builder.metadata(), &groups, leaf, &wanted.values) {
            builder = builder.with_row_selection(selection);
        }
        let keep = Arc::clone(wanted);
        let predicate = ArrowPredicateFn::new(mask, move |batch| one_of(batch.column(0), &keep.values));
        builder = builder.with_row_groups(groups).with_row_filter(RowFilter::new(vec![Box::new(predicate)]));
    }
    let batches = builder.build()?.map(|batch| whole(wanted.spec, &batch?, partition));
    batches.filter(|batch| batch.as_ref().map_or(true, |batch| batch.num_rows() > 0)).collect()
}

/// The row groups whose Bloom filter may hold a value.
fn row_groups<F: ChunkReader + 'static>(
    builder: &ParquetRecordBatchReaderBuilder<F>,
    leaf: usize,
    values: &HashSet<String>,
) -> Result<Vec<usize>, Cause> {
    let mut groups = Vec::new();
    for group in 0..builder.metadata().num_row_groups() {
        let filter = builder.get_row_group_column_bloom_filter(group, leaf)?;
        if filter.is_none_or(|filter| values.iter().any(|value| filter.check(value.as_str()))) {
            groups.push(group);
        }
    }
    Ok(groups)
}

/// The rows of the pages whose bounds enclose a value; `None` when a file has no page index.
fn pages(file: &ParquetMetaData, groups: &[usize], leaf: usize, values: &HashSet<String>) -> Option<RowSelection> {
    let mut selectors = Vec::new();
    for &group in groups {
        let ColumnIndexMetaData::BYTE_ARRAY(bounds) = file.column_index()?.get(group)?.get(leaf)? else { return None };
        let starts = file.offset_index()?.get(group)?.get(leaf)?.page_locations();
        let rows = file.row_group(group).num_rows();
        for (page, location) in starts.iter().enumerate() {
            let end = starts.get(page + 1).map_or(rows, |next| next.first_row_index);
            let (min, max) = (bounds.min_value(page), bounds.max_value(page));
            let encloses = |value: &String| {
                min.is_some_and(|min| min <= value.as_bytes()) && max.is_some_and(|max| value.as_bytes() <= max)
            };
            let count = usize::try_from(end - location.first_row_index).ok()?;
            let select = values.iter().any(encloses);
            selectors.push(if select { RowSelector::select(count) } else { RowSelector::skip(count) });
        }
    }
    Some(RowSelection::from(selectors))
}

fn one_of(column: &ArrayRef, values: &HashSet<String>) -> Result<BooleanArray, ArrowError> {
    let text = cast(column, &DataType::Utf8View)?;
    Ok(text.as_string_view().iter().map(|value| Some(value.is_some_and(|value| values.contains(value)))).collect())
}

/// The batch with the table's schema: partition column added, other writers' types turned into the table's.
fn whole(spec: &TableSpec, rows: &RecordBatch, partition: Option<&str>) -> Result<RecordBatch, Cause> {
    let schema: Arc<Schema> = spec.schema();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(spec.columns.len());
    for column in spec.columns {
        if spec.partition_by == Some(column.name) {
            let value = partition.ok_or("a partition has a value")?;
            columns.push(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, rows.num_rows()))));
            continue;
        }
        let found = rows.column_by_name(column.name).ok_or_else(|| format!("a file lacks column `{}`", column.name))?;
        columns.push(cast(found, &column.data_type())?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}
