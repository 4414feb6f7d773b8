//! Rows for people and for programs.

use std::io::Write;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};

use crate::cli::Format;
use crate::failure::Failure;

/// Prints rows on stdout. A closed pipe (`| head`) is no failure.
pub(crate) fn print_rows(schema: &SchemaRef, rows: &[RecordBatch], format: Format) -> Result<(), Failure> {
    let mut out = Vec::new();
    let printed = match format {
        Format::Table => arrow::util::pretty::pretty_format_batches_with_schema(schema.clone(), rows)
            .map(|table| out.extend_from_slice(format!("{table}\n").as_bytes())),
        Format::Csv => {
            let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(&mut out);
            if rows.is_empty() {
                writer.write(&RecordBatch::new_empty(schema.clone()))
            } else {
                rows.iter().try_for_each(|batch| writer.write(batch))
            }
        }
        Format::Json => {
            let mut writer = arrow::json::WriterBuilder::new()
                .with_explicit_nulls(true)
                .build::<_, arrow::json::writer::JsonArray>(&mut out);
            rows.iter().try_for_each(|batch| writer.write(batch)).and_then(|()| writer.finish())
        }
    };
    printed.map_err(|e| Failure::internal(format!("the rows cannot be printed: {e}")))?;
    if format == Format::Json {
        if out.is_empty() {
            out.extend_from_slice(b"[]");
        }
        out.push(b'\n');
    }
    write_out(&out)
}

/// Prints one JSON document.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Failure::internal(e.to_string()))?;
    write_out(format!("{text}\n").as_bytes())
}

/// Prints text for people.
pub(crate) fn print_text(text: &str) -> Result<(), Failure> {
    write_out(text.as_bytes())
}

fn write_out(bytes: &[u8]) -> Result<(), Failure> {
    match std::io::stdout().write_all(bytes).and_then(|()| std::io::stdout().flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::unavailable(format!("cannot write to stdout: {e}")))
        }
        _ => Ok(()),
    }
}

/// The first value of the first column, an integer; `None` for NULL and for no rows.
pub(crate) fn one_int(rows: &[RecordBatch]) -> Option<i64> {
    let batch = rows.iter().find(|batch| batch.num_rows() > 0)?;
    let column = batch.column(0).as_primitive_opt::<Int64Type>()?;
    column.iter().next().flatten()
}
