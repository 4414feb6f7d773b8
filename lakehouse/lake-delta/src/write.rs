//! Rows to Parquet files. Files carry plain Parquet types and no embedded arrow schema, so that rows built from
//! dictionary or view arrays make the same file and every reader sees plain text.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use marquee_lake::{Column, ColumnKind, DataFile, LakeError, TableSpec};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::{Cause, OpenTable, stats};

/// The fastest level: the next ones cost a third more CPU for a few per cent of size.
const ZSTD_LEVEL: i32 = 1;

/// One in a hundred look-ups opens a file in vain, at about ten bits a distinct value.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// Encodes rows and writes them durably, one file for each partition value.
pub(crate) async fn write(
    table: &OpenTable,
    name: &str,
    rows: &RecordBatch,
    written_at_ms: i64,
) -> Result<Vec<DataFile>, LakeError> {
    let failed = |source: Cause| LakeError::Write { table: table.spec.name.to_owned(), source };
    check_path_part("file name", name).map_err(failed)?;
    let mut files = Vec::new();
    for (partition, rows) in split(table.spec, rows).map_err(failed)? {
        let (bytes, stats) = encode(table.spec, &rows).map_err(failed)?;
        let partition = table.spec.partition_by.zip(partition);
        let folder = partition.as_ref().map_or_else(String::new, |(column, value)| format!("{column}={value}/"));
        let partition_values = partition.into_iter().map(|(column, value)| (column.to_owned(), value)).collect();
        let file = DataFile {
            path: format!("{folder}{name}.zstd.parquet"),
            size_bytes: bytes.len() as i64,
            rows: rows.num_rows() as u64,
            partition_values,
            stats,
            written_at_ms,
        };
        let path = Path::parse(&file.path).map_err(|error| failed(error.into()))?;
        table.store.put(&path, bytes.into()).await.map_err(|error| failed(error.into()))?;
        files.push(file);
    }
    Ok(files)
}

/// Names and partition values become folders, URLs and log entries: only what means itself in all three.
fn check_path_part(what: &str, part: &str) -> Result<(), Cause> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if part.is_empty() || part.starts_with('.') || !part.chars().all(plain) {
        return Err(format!("{what} `{part}` needs to consist of letters, digits, `-`, `_` and `.`").into());
    }
    Ok(())
}

/// The data columns in the table's order, by partition value (`None` for a table without partitions).
fn split(spec: &TableSpec, rows: &RecordBatch) -> Result<Vec<(Option<String>, RecordBatch)>, Cause> {
    if rows.num_columns() != spec.columns.len() {
        return Err(format!("{} columns came, the table has {}", rows.num_columns(), spec.columns.len()).into());
    }
    let mut fields = Vec::with_capacity(spec.columns.len());
    let mut arrays = Vec::with_capacity(spec.columns.len());
    for column in spec.columns {
        let array = rows.column_by_name(column.name).ok_or_else(|| format!("column `{}` did not come", column.name))?;
        if !fits(column, array.data_type()) {
            return Err(format!("column `{}` came as {}", column.name, array.data_type()).into());
        }
        if spec.partition_by != Some(column.name) {
            fields.push(Field::new(column.name, array.data_type().clone(), column.nullable));
            arrays.push(Arc::clone(array));
        }
    }
    let data = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
    if data.num_rows() == 0 {
        return Ok(Vec::new());
    }
    match spec.partition_by {
        None => Ok(vec![(None, data)]),
        Some(column) => split_by(&rows[column], &data),
    }
}

fn split_by(partition: &ArrayRef, data: &RecordBatch) -> Result<Vec<(Option<String>, RecordBatch)>, Cause> {
    let partition = cast(partition, &DataType::Utf8)?;
    let partition = partition.as_string::<i32>();
    if partition.null_count() > 0 {
        return Err("the partition column is NULL in some rows".into());
    }
    let mut rows_of: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for (row, value) in (0_u32..).zip(partition.iter().flatten()) {
        rows_of.entry(value).or_default().push(row);
    }
    for value in rows_of.keys() {
        check_path_part("partition value", value)?;
    }
    if rows_of.len() == 1 {
        return Ok(rows_of.into_keys().map(|value| (Some(value.to_owned()), data.clone())).collect());
    }
    let parts = rows_of.into_iter().map(|(value, rows)| {
        let rows = take_record_batch(data, &UInt32Array::from(rows))?;
        Ok((Some(value.to_owned()), rows))
    });
    parts.collect()
}

/// Whether an array makes the Parquet column that the table has.
fn fits(column: &Column, found: &DataType) -> bool {
    match (column.kind, found) {
        (ColumnKind::Text | ColumnKind::DateText, DataType::Utf8View) => true,
        (ColumnKind::Text | ColumnKind::DateText, DataType::Dictionary(key, value)) => {
            **key == DataType::Int32 && **value == DataType::Utf8
        }
        _ => *found == column.data_type(),
    }
}

/// A Parquet file and its Delta statistics.
fn encode(spec: &TableSpec, rows: &RecordBatch) -> Result<(Vec<u8>, String), Cause> {
    let options = ArrowWriterOptions::new().with_properties(properties(spec, rows)?).with_skip_arrow_metadata(true);
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new_with_options(&mut bytes, rows.schema(), options)?;
    writer.write(rows)?;
    let metadata = writer.close()?;
    Ok((bytes, stats::from_parquet(spec, &metadata)))
}

fn properties(spec: &TableSpec, rows: &RecordBatch) -> Result<WriterProperties, Cause> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_dictionary_enabled(false);
    for column in spec.columns {
        let path = ColumnPath::from(column.name);
        properties = match column.kind {
            ColumnKind::Text | ColumnKind::DateText => properties.set_column_dictionary_enabled(path, true),
            ColumnKind::Int | ColumnKind::Int32 | ColumnKind::Timestamp => {
                properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED)
            }
            _ => properties,
        };
    }
    for column in spec.bloom {
        let path = ColumnPath::from(*column);
        // Sized by what comes: the default is for a million values, larger than most files.
        properties = properties
            .set_column_bloom_filter_enabled(path.clone(), true)
            .set_column_bloom_filter_fpp(path.clone(), BLOOM_FALSE_POSITIVES)
            .set_column_bloom_filter_max_ndv(path, runs(&rows[*column])?);
    }
    Ok(properties.build())
}

/// How often the value changes: exact for sorted rows, never less than the number of distinct values.
fn runs(column: &ArrayRef) -> Result<u64, Cause> {
    let text = cast(column, &DataType::Utf8View)?;
    let text = text.as_string_view();
    let mut last = None;
    let mut runs = 0;
    for value in text {
        runs += u64::from(runs == 0 || value != last);
        last = value;
    }
    Ok(runs.max(1))
}
