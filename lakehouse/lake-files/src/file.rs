//! A Parquet file: each column by the encoder that knows its type, what none knows by the library's.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray as _, PrimitiveArray, new_null_array};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use marquee_lake::{Column, TableSpec};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::ArrowColumnChunk;
use parquet::basic::{Encoding, Type};
use parquet::bloom_filter::Sbbf;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnDescPtr;

use crate::bounds::Bound;
use crate::chunk::{Chunk, DataPage, EncodedChunk, Zstd};
use crate::dictionary::{Keys, Scratch};
use crate::ints::Int;
use crate::library::{self, BLOOM_FALSE_POSITIVES};
use crate::texts::Texts;
use crate::validity::{Validity, Words, uniform_levels};
use crate::{FileError, flags, ints};

/// Where pages and row groups end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Pages end at the same rows in all columns, so that a reader skips the same ones.
    pub(crate) page_rows: usize,
    pub(crate) row_group_rows: usize,
}

impl Default for Sizes {
    /// Those of the library's writer.
    fn default() -> Self {
        Self { page_rows: 20_000, row_group_rows: 1 << 20 }
    }
}

/// A Parquet file of the rows, which are the table's without its partition column.
pub(crate) fn encode(
    spec: &TableSpec,
    rows: &RecordBatch,
    sizes: Sizes,
) -> Result<(Vec<u8>, ParquetMetaData), FileError> {
    let columns: Vec<&Column> = spec.columns.iter().filter(|column| spec.partition_by != Some(column.name)).collect();
    let fields = columns.iter().map(|column| Field::new(column.name, column.data_type(), column.nullable));
    let schema = Schema::new(fields.collect::<Vec<_>>());
    let descriptor = ArrowSchemaConverter::new().convert(&schema)?;
    let mut bytes = Vec::new();
    let mut file = SerializedFileWriter::new(&mut bytes, descriptor.root_schema_ptr(), Arc::default())?;
    let mut encoder = Encoder {
        page_rows: sizes.page_rows,
        zstd: Zstd::new()?,
        scratch: Scratch::default(),
        words: Words::default(),
        bytes: Vec::new(),
    };
    for start in (0..rows.num_rows()).step_by(sizes.row_group_rows) {
        let rows = rows.slice(start, sizes.row_group_rows.min(rows.num_rows() - start));
        let mut group = file.next_row_group()?;
        // A column has one leaf, a list's too.
        for ((column, array), leaf) in columns.iter().zip(rows.columns()).zip(descriptor.columns()) {
            let bloom = spec.bloom.contains(&column.name);
            match encoder.column(leaf, column, array, bloom)? {
                Encoded::Ours(chunk) => group.append_column(&chunk.bytes, chunk.close)?,
                Encoded::Library(chunk) => chunk.append_to_row_group(&mut group)?,
            }
        }
        group.close()?;
    }
    let metadata = file.close()?;
    Ok((bytes, metadata))
}

enum Encoded {
    Ours(EncodedChunk),
    Library(ArrowColumnChunk),
}

struct Encoder {
    page_rows: usize,
    zstd: Zstd,
    scratch: Scratch,
    words: Words,
    bytes: Vec<u8>,
}

impl Encoder {
    fn column(
        &mut self,
        leaf: &ColumnDescPtr,
        column: &Column,
        array: &ArrayRef,
        bloom: bool,
    ) -> Result<Encoded, FileError> {
        let (rows, nullable) = (array.len(), column.nullable);
        let nulls = array.logical_null_count();
        if nulls > 0 && !nullable {
            return Err(FileError::Rows(format!("column `{}` is NULL in {nulls} rows", column.name)));
        }
        if nulls == rows
            && let Some(chunk) = self.absent(leaf, rows, bloom)?
        {
            return Ok(Encoded::Ours(chunk));
        }
        let pages = || pages(rows, self.page_rows);
        let chunk = match array.data_type() {
            DataType::Int32 => self.ints(leaf, array.as_primitive::<Int32Type>(), nullable)?,
            DataType::Int64 => self.ints(leaf, array.as_primitive::<Int64Type>(), nullable)?,
            DataType::Timestamp(..) => self.ints(leaf, array.as_primitive::<TimestampMicrosecondType>(), nullable)?,
            DataType::Boolean => {
                let chunk = flags::chunk(array.as_boolean(), nullable, pages(), &mut self.words, &mut self.bytes);
                chunk.compress(leaf, &mut self.zstd)?
            }
            DataType::Utf8 => {
                let texts = array.as_string::<i32>();
                let texts = Texts { rows, nulls: texts.nulls(), text: |row| texts.value(row) };
                self.texts(leaf, nullable, bloom, &texts)?
            }
            DataType::Utf8View => {
                let texts = array.as_string_view();
                let texts = Texts { rows, nulls: texts.nulls(), text: |row| texts.value(row) };
                self.texts(leaf, nullable, bloom, &texts)?
            }
            DataType::Dictionary(..) => {
                let dictionary = array.as_dictionary::<Int32Type>();
                let (keys, values) = (dictionary.keys(), dictionary.values().as_string::<i32>());
                if values.null_count() > 0 {
                    return Ok(Encoded::Library(library::column(column, array, bloom)?));
                }
                let validity = Validity::new(nullable, keys.nulls());
                let value = |key| values.value(key);
                let numbered = Keys { keys: keys.values(), validity, values: values.len(), value };
                if let Some(chunk) = numbered.chunk(pages(), bloom, &mut self.scratch, &mut self.bytes)? {
                    chunk.compress(leaf, &mut self.zstd)?
                } else {
                    let text = |row| values.value(keys.values()[row] as usize);
                    self.plain_texts(leaf, nullable, bloom, &Texts { rows, nulls: keys.nulls(), text })?
                }
            }
            DataType::Null => {
                let absent = new_null_array(&column.data_type(), rows);
                return Ok(Encoded::Library(library::column(column, &absent, bloom)?));
            }
            _ => return Ok(Encoded::Library(library::column(column, array, bloom)?)),
        };
        Ok(Encoded::Ours(chunk))
    }

    fn ints<T>(
        &mut self,
        leaf: &ColumnDescPtr,
        array: &PrimitiveArray<T>,
        nullable: bool,
    ) -> Result<EncodedChunk, FileError>
    where
        T: ArrowPrimitiveType<Native: Int>,
    {
        let pages = pages(array.len(), self.page_rows);
        let chunk = ints::chunk(array, nullable, pages, &mut self.words, &mut self.bytes);
        Ok(chunk.compress(leaf, &mut self.zstd)?)
    }

    /// Texts that came without a dictionary: they get one when they repeat.
    fn texts<'a>(
        &mut self,
        leaf: &ColumnDescPtr,
        nullable: bool,
        bloom: bool,
        texts: &Texts<'a, impl Fn(usize) -> &'a str>,
    ) -> Result<EncodedChunk, FileError> {
        if texts.repeat() {
            let (keys, values) = texts.numbered();
            let validity = Validity::new(nullable, texts.nulls);
            let numbered = Keys { keys: &keys, validity, values: values.len(), value: |key| values[key] };
            let pages = pages(texts.rows, self.page_rows);
            if let Some(chunk) = numbered.chunk(pages, bloom, &mut self.scratch, &mut self.bytes)? {
                return Ok(chunk.compress(leaf, &mut self.zstd)?);
            }
        }
        self.plain_texts(leaf, nullable, bloom, texts)
    }

    fn plain_texts<'a>(
        &mut self,
        leaf: &ColumnDescPtr,
        nullable: bool,
        bloom: bool,
        texts: &Texts<'a, impl Fn(usize) -> &'a str>,
    ) -> Result<EncodedChunk, FileError> {
        let pages = pages(texts.rows, self.page_rows);
        let chunk = texts.chunk(nullable, pages, bloom, &mut self.words, &mut self.bytes)?;
        Ok(chunk.compress(leaf, &mut self.zstd)?)
    }

    /// A column without a value: one page, however many rows. `None` for types that the library encodes.
    fn absent(&mut self, leaf: &ColumnDescPtr, rows: usize, bloom: bool) -> Result<Option<EncodedChunk>, FileError> {
        if leaf.max_rep_level() > 0 {
            return Ok(None);
        }
        self.bytes.clear();
        uniform_levels(&mut self.bytes, 0, rows);
        let filter = if bloom { Some(Sbbf::new_with_ndv_fpp(1, BLOOM_FALSE_POSITIVES)?) } else { None };
        let chunk = match leaf.physical_type() {
            Type::BOOLEAN => self.empty_page::<bool>(leaf, rows, None, filter)?,
            Type::INT32 => self.empty_page::<i32>(leaf, rows, None, filter)?,
            Type::INT64 => self.empty_page::<i64>(leaf, rows, None, filter)?,
            Type::BYTE_ARRAY => self.empty_page::<&str>(leaf, rows, Some(0), filter)?,
            _ => return Ok(None),
        };
        Ok(Some(chunk))
    }

    fn empty_page<B: Bound>(
        &mut self,
        leaf: &ColumnDescPtr,
        rows: usize,
        text_bytes: Option<i64>,
        bloom_filter: Option<Sbbf>,
    ) -> Result<EncodedChunk, FileError> {
        let page = DataPage::<B> { end: self.bytes.len(), rows, nulls: rows, bounds: None, text_bytes };
        let chunk =
            Chunk { bytes: &self.bytes, pages: vec![page], encoding: Encoding::PLAIN, dictionary: None, bloom_filter };
        Ok(chunk.compress(leaf, &mut self.zstd)?)
    }
}

/// The rows of each page.
fn pages(rows: usize, page_rows: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows).step_by(page_rows).map(move |start| start..rows.min(start + page_rows))
}
