//! Runs the Python oracles of `tests/oracle`, which share no code with what they check.

use std::path::{Path, PathBuf};
use std::process::Command;

use arrow::json::writer::{JsonArray, WriterBuilder};
use marquee_lake_delta::DeltaLake;

/// The repository's root.
pub fn root() -> PathBuf {
    // Asked when the tests run: clones that share a target folder share this binary, too.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    Path::new(&here).join("../..").canonicalize().expect("the repository is there")
}

/// Real data, when the tests are given some.
pub fn data() -> Option<PathBuf> {
    let given = std::env::var_os("MARQUEE_DATA").map(PathBuf::from);
    assert!(given.is_some() || std::env::var_os("CI").is_none(), "CI must set MARQUEE_DATA");
    if given.is_none() {
        println!("left out: MARQUEE_DATA is not set, there is no real data to test with");
    }
    given
}

/// Runs an oracle; its last line of JSON.
///
/// # Panics
/// When it finds a difference or cannot run: the Python environment is part of the set-up (`make test`).
pub fn check(script: &str, arguments: &[&str]) -> serde_json::Value {
    let python = root().join(".venv/bin/python");
    assert!(python.exists(), "no Python environment: `make test` sets it up");
    let output = Command::new(python)
        .arg(root().join("tests/oracle").join(script))
        .args(arguments)
        .output()
        .expect("Python starts");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} {arguments:?} says:\n{stdout}\n{stderr}");
    let line = stdout.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|e| panic!("{script} prints JSON: {e}: {stdout}"))
}

/// Recomputes a lake from bronze in DuckDB and checks the invariants.
pub fn recompute(lake: &Path, topic: &str, log_events: u64) -> serde_json::Value {
    recompute_grown(lake, topic, log_events, &[])
}

/// The same of a topic that has grown to these partitions, generation by generation; none of one that never has.
pub fn recompute_grown(lake: &Path, topic: &str, log_events: u64, generations: &[u32]) -> serde_json::Value {
    let lake = lake.to_str().expect("a temporary folder's name is text");
    let (log_events, counts) = (log_events.to_string(), generations.iter().map(u32::to_string));
    let counts = counts.collect::<Vec<_>>().join(",");
    let mut arguments = vec![lake, "--topic", topic, "--log-events", &log_events];
    if !generations.is_empty() {
        arguments.extend(["--generations", &counts]);
    }
    check("recompute.py", &arguments)
}

/// Works the definitions out from the session rows and compares them with the views, by session and by minute.
pub fn definitions(runtime: &tokio::runtime::Runtime, lake: &DeltaLake, lake_folder: &Path, topic: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let views = ["qoe_cta_2066", "qoe_mux", "qoe_conviva", "qoe_marquee"];
    for view in views.into_iter().flat_map(|view| [view.to_owned(), format!("{view}_minutes")]) {
        let query = format!("SELECT * FROM {view}");
        let (_, rows) = runtime.block_on(lake.sql(&query)).unwrap_or_else(|e| panic!("{query}: {e}"));
        let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
        writer.write_batches(&rows.iter().collect::<Vec<_>>()).expect("rows are JSON");
        writer.finish().expect("rows are JSON");
        std::fs::write(folder.path().join(format!("{view}.json")), writer.into_inner()).expect("a file");
    }
    let path = |path: &Path| path.to_str().expect("a temporary folder's name is text").to_owned();
    let found = check("definitions.py", &[&path(lake_folder), &path(folder.path()), "--topic", topic]);
    let rows = found["rows"].as_object().expect("the rows of each view");
    assert!(rows.len() == 8 && rows.values().all(|rows| rows.as_u64() >= Some(10)), "{found}");
}
