//! Other engines read our files: DuckDB and polars, from the Python environment of the tests.

use std::path::Path;
use std::process::Command;

use marquee_lake::tables::EVENTS;

use super::events;
use crate::{encode, library};

#[test]
fn duckdb_and_polars_read_what_the_library_wrote() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = here.join("../../.venv/bin/python");
    if !python.exists() {
        println!("left out: no Python environment, `make setup-test` makes it");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, rows, ids) in [
        ("one", 1, events::Ids::Counted),
        ("pages", 45_000, events::Ids::Counted),
        ("random", 21_000, events::Ids::Random),
    ] {
        let batch = events::batch(rows, ids);
        let data = batch.project(&(1..batch.num_columns()).collect::<Vec<_>>()).unwrap();
        let library = library::encode(&EVENTS, &data).unwrap().0;
        std::fs::write(folder.path().join(format!("{name}.library.parquet")), library).unwrap();
        let ours = &encode(&EVENTS, &batch).unwrap()[0].bytes;
        std::fs::write(folder.path().join(format!("{name}.ours.parquet")), ours).unwrap();
    }
    let script = here.join("src/tests/readers.py");
    let output = Command::new(python).arg("-B").arg(script).arg(folder.path()).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the readers say:\n{stdout}\n{stderr}");
    assert_eq!(stdout.trim(), "3 files are equal");
}
