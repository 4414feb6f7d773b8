//! `notebooks/lake.py` run as a script: it asserts that it reproduces what Marquee says, so it must pass on a home, and
//! fail on a copy in which one number is another.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::{child, oracle};

/// Runs the notebook on a home.
fn run(home: &Path) -> Output {
    let python = oracle::root().join(".venv/bin/python");
    assert!(python.exists(), "no Python environment: `make test` sets it up");
    let mut command = Command::new(python);
    command.arg("-B").arg(oracle::root().join("notebooks/lake.py")).arg("--home").arg(home);
    command.output().expect("Python starts")
}

/// The notebook passes.
pub fn passes(home: &Path) {
    let output = run(home);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The notebook fails, and says this.
fn fails(home: &Path, words: &str) {
    let output = run(home);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it passes on a home in which {words} must fail");
    assert!(stderr.contains("AssertionError") && stderr.contains(words), "no {words:?} in: {stderr}");
}

/// Profiles of MovieLens that are imported: the model of all 610 takes a minute to measure, and this is not about models.
const PROFILES: u32 = 150;

/// The first profiles of MovieLens small, and its movies.
fn some_of_movielens(from: &Path, to: &Path) {
    let ratings = fs::read_to_string(from.join("ratings.csv")).expect("ratings");
    let (header, lines) = ratings.split_once('\n').expect("a header");
    let of_first = |line: &&str| {
        let user = line.split(',').next().and_then(|user| user.parse::<u32>().ok());
        user.is_some_and(|user| user <= PROFILES)
    };
    let kept: Vec<&str> = [header].into_iter().chain(lines.lines().filter(of_first)).collect();
    fs::create_dir(to).expect("a folder");
    fs::write(to.join("ratings.csv"), kept.join("\n") + "\n").expect("a file");
    fs::copy(from.join("movies.csv"), to.join("movies.csv")).expect("a file");
}

/// Copies what the notebook reads of a home.
fn copy(home: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder");
    for part in ["lake", "models"] {
        let copied = Command::new("cp").arg("-r").arg(home.join(part)).arg(to).status().expect("cp starts");
        assert!(copied.success(), "{part} cannot be copied");
    }
}

/// Writes a table's files anew with `column` changed to `value` (SQL) in every row.
fn change(home: &Path, table: &str, column: &str, value: &str) {
    const REWRITE: &str = "
import sys, duckdb
from pathlib import Path
folder, column, value = sys.argv[1:]
for file in Path(folder).rglob('*.parquet'):
    if '_delta_log' not in file.parts:
        duckdb.sql(f'CREATE OR REPLACE TABLE t AS SELECT * REPLACE ({value} AS {column}) FROM read_parquet({str(file)!r}, hive_partitioning = false)')
        duckdb.sql(f'COPY t TO {str(file)!r} (FORMAT parquet)')
";
    let folder = home.join("lake").join(table);
    let mut command = Command::new(oracle::root().join(".venv/bin/python"));
    let output = command.args(["-c", REWRITE]).arg(folder).args([column, value]).output().expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_notebook_passes_on_real_data_and_fails_on_any_other_number() {
    let Some(data) = oracle::data() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    let text = |path: &Path| path.to_str().expect("the path is text").to_owned();
    let movielens = folder.path().join("movielens");
    some_of_movielens(&data.join("ml-latest-small"), &movielens);
    child::stdout(&home, &["import", "waterloo", &text(&data.join("waterloo-sqoe4"))]);
    fails(&home, "no model is in service");
    child::stdout(&home, &["import", "movielens", &text(&movielens)]);
    child::stdout(&home, &["train", "linear-transition", "--publish"]);
    passes(&home);

    let in_copy = |name: &str, tamper: &dyn Fn(&Path), words: &str| {
        let copied = folder.path().join(name);
        copy(&home, &copied);
        tamper(&copied);
        fails(&copied, words);
    };
    in_copy("rebuffering", &|home| change(home, "session_revisions", "rebuffer_ms", "rebuffer_ms + 1"), "minutes say");
    let later = "CASE type WHEN 'first_frame' THEN event_time + INTERVAL 1 MILLISECOND ELSE event_time END";
    in_copy("startup", &|home| change(home, "events", "event_time", later), "another startup");
    in_copy("figure", &tamper_with_figure, "the registry says");
    // Everybody's first title instead of the last.
    let earlier = "make_timestamp(4000000000000000 - epoch_us(event_time))";
    in_copy("history", &|home| change(home, "interactions", "event_time", earlier), "the registry says");
}

/// Adds a millionth to the published figure of all-time popularity.
fn tamper_with_figure(home: &Path) {
    let version = fs::read_to_string(home.join("models/CURRENT")).expect("a model is in service");
    let path = home.join("models").join(version.trim()).join("model.json");
    let mut entry: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("model.json")).expect("JSON");
    let result = &mut entry["reports"][0]["results"][0];
    assert_eq!(result["model"], "popular-all-time");
    let found = result["ndcg@10"].as_f64().expect("a number");
    result["ndcg@10"] = (found + 1e-6).into();
    fs::write(&path, entry.to_string()).expect("model.json");
}
