//! Rows to files of a table, written durably.

use arrow::record_batch::RecordBatch;
use marquee_lake::{DataFile, LakeError};
use marquee_lake_files::{check_path_part, encode};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;

use crate::{Cause, OpenTable};

/// Encodes rows and writes them durably, one file for each partition value.
pub(crate) async fn write(
    table: &OpenTable,
    name: &str,
    rows: &RecordBatch,
    written_at_ms: i64,
) -> Result<Vec<DataFile>, LakeError> {
    let failed = |source: Cause| LakeError::Write { table: table.spec.name.to_owned(), source };
    check_path_part("file name", name).map_err(|error| failed(error.into()))?;
    let mut files = Vec::new();
    for encoded in encode(table.spec, rows).map_err(|error| failed(error.into()))? {
        let partition = table.spec.partition_by.zip(encoded.partition);
        let folder = partition.as_ref().map_or_else(String::new, |(column, value)| format!("{column}={value}/"));
        let partition_values = partition.into_iter().map(|(column, value)| (column.to_owned(), value)).collect();
        let file = DataFile {
            path: format!("{folder}{name}.zstd.parquet"),
            size_bytes: encoded.bytes.len() as i64,
            rows: encoded.rows,
            partition_values,
            stats: encoded.stats,
            written_at_ms,
        };
        let path = Path::parse(&file.path).map_err(|error| failed(error.into()))?;
        table.store.put(&path, encoded.bytes.into()).await.map_err(|error| failed(error.into()))?;
        files.push(file);
    }
    Ok(files)
}
