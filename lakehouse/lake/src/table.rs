//! What a table is: its schema with units, its partitioning, keys and retention, and who writes it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// The type of a column; only what every reader of Delta tables understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// UTF-8 text.
    Text,
    /// 64-bit integer.
    Int,
    /// 32-bit integer.
    Int32,
    /// Double.
    Float,
    /// Boolean.
    Bool,
    /// Instant, UTC, microseconds.
    Timestamp,
    /// Bytes.
    Bytes,
    /// Date as text `YYYY-MM-DD`: the partition columns.
    DateText,
    /// List of 64-bit integers.
    IntList,
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name, the unit last.
    pub name: &'static str,
    /// Its type.
    pub kind: ColumnKind,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// What it is.
    pub doc: &'static str,
}

/// A table of the lake.
#[derive(Debug)]
pub struct TableSpec {
    /// Its name and the folder's name.
    pub name: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// bronze, silver, gold, features or control.
    pub layer: &'static str,
    /// The columns in order; the partition column is one of them.
    pub columns: &'static [Column],
    /// The column it is partitioned by.
    pub partition_by: Option<&'static str>,
    /// The columns that identify a row.
    pub keys: &'static [&'static str],
    /// The columns that readers filter by: they get a Bloom filter.
    pub bloom: &'static [&'static str],
    /// How long rows are kept (days); `None` for ever.
    pub retention_days: Option<u32>,
    /// The job that writes it.
    pub written_by: &'static str,
}

impl Column {
    /// The arrow type.
    pub fn data_type(&self) -> DataType {
        match self.kind {
            ColumnKind::Text | ColumnKind::DateText => DataType::Utf8,
            ColumnKind::Int => DataType::Int64,
            ColumnKind::Int32 => DataType::Int32,
            ColumnKind::Float => DataType::Float64,
            ColumnKind::Bool => DataType::Boolean,
            ColumnKind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ColumnKind::Bytes => DataType::Binary,
            ColumnKind::IntList => DataType::List(Arc::new(Field::new("element", DataType::Int64, false))),
        }
    }
}

impl TableSpec {
    /// The arrow schema, partition column included.
    pub fn schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|c| Field::new(c.name, c.data_type(), c.nullable));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The position of a column.
    ///
    /// # Panics
    /// When there is no such column: a defect, the names are literals.
    pub fn index_of(&self, column: &str) -> usize {
        let index = self.columns.iter().position(|c| c.name == column);
        index.unwrap_or_else(|| panic!("table {} has a column {column}", self.name))
    }
}
