//! Runs the Python oracles of `tests/oracle`, which share no code with what they check.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow::csv::Writer;
use arrow::record_batch::RecordBatch;
use marquee_events::SystemClock;
use marquee_lake::views;
use marquee_lake_delta::{DeltaLake, LakeOptions};

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
    let (agrees, found) = run(script, arguments);
    assert!(agrees, "{script} {arguments:?} says: {found:#}");
    found
}

/// The same; whether everything agrees.
fn run(script: &str, arguments: &[&str]) -> (bool, serde_json::Value) {
    let python = root().join(".venv/bin/python");
    assert!(python.exists(), "no Python environment: `make test` sets it up");
    let output = Command::new(python)
        .arg(root().join("tests/oracle").join(script))
        .args(arguments)
        .output()
        .expect("Python starts");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let line = stdout.lines().last().unwrap_or_default();
    let found = serde_json::from_str(line);
    (
        output.status.success(),
        found.unwrap_or_else(|e| panic!("{script} {arguments:?} prints JSON: {e}: {stdout}{stderr}")),
    )
}

/// Recomputes a lake from bronze in DuckDB: sessions, minutes and what each definition makes of them, which the views of
/// the engine must say, too; and checks the invariants.
///
/// # Panics
/// As [`check`].
pub fn recompute(lake: &Path, topic: &str, log_events: u64) -> serde_json::Value {
    recompute_grown(lake, topic, log_events, &[])
}

/// The same of a topic that has grown to these partitions, generation by generation; none of one that never has.
///
/// # Panics
/// As [`check`].
pub fn recompute_grown(lake: &Path, topic: &str, log_events: u64, generations: &[u32]) -> serde_json::Value {
    let (agrees, found) = compare(lake, topic, log_events, generations);
    assert!(agrees, "the lake is not what recompute.py makes of bronze: {found:#}");
    found
}

/// The same; whether everything agrees.
pub fn compare(lake: &Path, topic: &str, log_events: u64, generations: &[u32]) -> (bool, serde_json::Value) {
    let views = tempfile::tempdir().expect("a folder");
    write_views(lake, views.path());
    let [lake, views] = [lake, views.path()].map(|path| path.to_str().expect("a temporary folder's name is text"));
    let counts = generations.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let log_events = log_events.to_string();
    let mut arguments = vec![lake, "--topic", topic, "--log-events", &log_events, "--views", views];
    if !generations.is_empty() {
        arguments.extend(["--generations", &counts]);
    }
    run("recompute.py", &arguments)
}

/// What the views of the definitions say of a lake that nobody writes to, a file each.
fn write_views(lake: &Path, folder: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let lake = DeltaLake::open(lake, Arc::new(SystemClock::default()), LakeOptions::default()).await;
        // One session for all views: to make one reads the log of every table.
        let session = lake.expect("a lake").session().await.expect("the views are those of the tables");
        for view in views::all().map(|view| view.name).into_iter().filter(|view| view.starts_with("qoe_")) {
            let rows = session.table(view).await.unwrap_or_else(|e| panic!("{view}: {e}"));
            let schema = rows.schema().inner().clone();
            let rows = rows.collect().await.unwrap_or_else(|e| panic!("{view}: {e}"));
            let mut file = Writer::new(File::create(folder.join(format!("{view}.csv"))).expect("a file"));
            // The first batch brings the header.
            for batch in [RecordBatch::new_empty(schema)].iter().chain(&rows) {
                file.write(batch).expect("rows are CSV");
            }
        }
    });
}
