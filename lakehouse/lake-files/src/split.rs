//! Rows by partition: a file holds the rows of one partition value, without the partition column.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::record_batch::RecordBatch;
use marquee_lake::{Column, ColumnKind, TableSpec};

use crate::{FileError, check_path_part};

/// The data columns in the table's order, by partition value (`None` for a table without partitions).
pub(crate) fn split(spec: &TableSpec, rows: &RecordBatch) -> Result<Vec<(Option<String>, RecordBatch)>, FileError> {
    if rows.num_columns() != spec.columns.len() {
        let (came, has) = (rows.num_columns(), spec.columns.len());
        return Err(FileError::Rows(format!("{came} columns came, the table has {has}")));
    }
    let mut fields = Vec::with_capacity(spec.columns.len());
    let mut arrays = Vec::with_capacity(spec.columns.len());
    for column in spec.columns {
        let array = rows
            .column_by_name(column.name)
            .ok_or_else(|| FileError::Rows(format!("column `{}` did not come", column.name)))?;
        if !fits(column, array.data_type()) {
            return Err(FileError::Rows(format!("column `{}` came as {}", column.name, array.data_type())));
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

fn split_by(partition: &ArrayRef, data: &RecordBatch) -> Result<Vec<(Option<String>, RecordBatch)>, FileError> {
    if let Some(value) = only_value(partition) {
        check_path_part("partition value", value)?;
        return Ok(vec![(Some(value.to_owned()), data.clone())]);
    }
    let partition = cast(partition, &DataType::Utf8)?;
    let partition = partition.as_string::<i32>();
    if partition.null_count() > 0 {
        return Err(FileError::Rows("the partition column is NULL in some rows".to_owned()));
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

/// The value that all rows have, when it is plain to see: most epochs lie within a day.
fn only_value(partition: &ArrayRef) -> Option<&str> {
    let dictionary = partition.as_dictionary_opt::<Int32Type>()?;
    let keys = dictionary.keys();
    let first = *keys.values().first().filter(|_| dictionary.logical_null_count() == 0)?;
    let differs = keys.values().iter().fold(0, |differs, key| differs | (key ^ first));
    (differs == 0).then(|| dictionary.values().as_string::<i32>().value(first as usize))
}

/// Whether an array makes the Parquet column that the table has.
fn fits(column: &Column, found: &DataType) -> bool {
    match (column.kind, found) {
        (ColumnKind::Text | ColumnKind::DateText, DataType::Utf8View) => true,
        (ColumnKind::Text | ColumnKind::DateText, DataType::Dictionary(key, value)) => {
            **key == DataType::Int32 && **value == DataType::Utf8
        }
        (_, DataType::Null) => column.nullable,
        _ => *found == column.data_type(),
    }
}
