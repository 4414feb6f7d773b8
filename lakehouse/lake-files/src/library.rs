//! The parquet crate's own writer: every column of [`encode`] as it would make it. Slow where a column's values are
//! known to repeat, since it hashes each of them; right for every type.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use marquee_lake::{Column, ColumnKind, TableSpec};
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves};
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use crate::FileError;

/// The fastest level: the next ones cost a third more CPU for a few per cent of size.
pub(crate) const ZSTD_LEVEL: i32 = 1;

/// One in a hundred look-ups opens a file in vain, at about ten bits a distinct value.
pub(crate) const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// A Parquet file of the rows, by the library's writer alone: what [`crate::encode`] is compared with.
///
/// # Errors
/// When the rows cannot be encoded.
pub fn encode(spec: &TableSpec, rows: &RecordBatch) -> Result<(Vec<u8>, ParquetMetaData), FileError> {
    let properties = properties(spec.columns, spec.bloom, rows)?;
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new_with_options(&mut bytes, rows.schema(), options)?;
    writer.write(rows)?;
    let metadata = writer.close()?;
    Ok((bytes, metadata))
}

/// One column of a row group.
pub(crate) fn column(column: &Column, array: &ArrayRef, bloom: bool) -> Result<ArrowColumnChunk, FileError> {
    let field = Field::new(column.name, array.data_type().clone(), column.nullable);
    let schema = Arc::new(Schema::new(vec![field.clone()]));
    let rows = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::clone(array)])?;
    let bloom = if bloom { [column.name].to_vec() } else { Vec::new() };
    let properties = properties(&[*column], &bloom, &rows)?;
    let descriptor = ArrowSchemaConverter::new().convert(&schema)?;
    // Nothing is written to it: it lends its properties.
    let file = SerializedFileWriter::new(Vec::new(), descriptor.root_schema_ptr(), Arc::new(properties))?;
    let writers = ArrowRowGroupWriterFactory::new(&file, schema).create_column_writers(0)?;
    let mut writer = writers.into_iter().next().expect("a column has a writer");
    for leaf in compute_leaves(&field, array)? {
        writer.write(&leaf)?;
    }
    Ok(writer.close()?)
}

fn properties(columns: &[Column], bloom: &[&str], rows: &RecordBatch) -> Result<WriterProperties, FileError> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_dictionary_enabled(false);
    for column in columns {
        let path = ColumnPath::from(column.name);
        properties = match column.kind {
            ColumnKind::Text | ColumnKind::DateText => properties.set_column_dictionary_enabled(path, true),
            ColumnKind::Int | ColumnKind::Int32 | ColumnKind::Timestamp => {
                properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED)
            }
            _ => properties,
        };
    }
    for column in bloom {
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
fn runs(column: &ArrayRef) -> Result<u64, FileError> {
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
