//! The house rules as tests: the ladder, the heavy dependencies, module docs, generated code, the README's commands.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::oracle::root;

/// A crate as its manifest tells it.
struct Member {
    folder: String,
    name: String,
    dependencies: BTreeSet<String>,
}

fn manifest(folder: &str) -> toml::Table {
    let path = root().join(folder).join("Cargo.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn members() -> Vec<Member> {
    let workspace = manifest("");
    let folders = workspace["workspace"]["members"].as_array().expect("members");
    folders
        .iter()
        .map(|folder| {
            let folder = folder.as_str().expect("text").to_owned();
            let manifest = manifest(&folder);
            let dependencies = manifest["dependencies"].as_table().expect("a table").keys().cloned().collect();
            Member { name: manifest["package"]["name"].as_str().expect("text").to_owned(), folder, dependencies }
        })
        .collect()
}

/// Folder → rung, from the table in ARCHITECTURE.md.
fn ladder() -> BTreeMap<String, u32> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let mut rungs = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let Ok(rung) = cells[1].parse() else { continue };
        for part in cells[2].split('`').skip(1).step_by(2) {
            rungs.insert(part.to_owned(), rung);
        }
    }
    rungs
}

#[test]
fn imports_point_to_lower_rungs_only() {
    let (rungs, members) = (ladder(), members());
    let rung = |member: &Member| {
        *rungs.get(&member.folder).unwrap_or_else(|| panic!("{} is not in ARCHITECTURE.md's ladder", member.folder))
    };
    assert_eq!(rungs.len(), members.len(), "the ladder lists a crate that is not there");
    for member in &members {
        for other in members.iter().filter(|other| member.dependencies.contains(&other.name)) {
            assert!(rung(other) < rung(member), "{} must not import {}", member.folder, other.folder);
        }
    }
}

#[test]
fn crates_are_named_after_their_folders() {
    for member in members() {
        let last = member.folder.rsplit('/').next().unwrap_or_default();
        let expected = if last == "marquee" { last.to_owned() } else { format!("marquee-{last}") };
        assert_eq!(member.name, expected);
    }
}

#[test]
fn heavy_dependencies_have_one_home() {
    let homes: [(&str, &[&str]); 11] = [
        ("deltalake", &["lakehouse/lake-delta"]),
        ("datafusion", &["lakehouse/lake-delta"]),
        ("zstd", &["lakehouse/lake-files"]),
        ("fjall", &["features/online", "pipelines/log-embedded"]),
        ("rdkafka", &["pipelines/log-kafka"]),
        ("axum", &["pipelines/collector", "platform-api/dashboards"]),
        ("qdrant-edge", &["serving/index-qdrant"]),
        ("candle-core", &["training/models"]),
        ("polars", &["training/trainer"]),
        ("sqlx", &["platform-api/store"]),
        ("faer", &["training/models"]),
    ];
    for (dependency, folders) in homes {
        let mut found: Vec<String> = members()
            .into_iter()
            .filter(|member| member.dependencies.contains(dependency))
            .map(|member| member.folder)
            .collect();
        found.sort();
        assert_eq!(found, folders, "{dependency}");
    }
    let qoe = members().into_iter().find(|member| member.folder == "pipelines/qoe").expect("the fold");
    assert_eq!(
        qoe.dependencies,
        BTreeSet::from(["marquee-events", "serde", "smol_str"].map(str::to_owned)),
        "qoe is pure"
    );
}

/// Where code lives.
const TOP_FOLDERS: [&str; 7] = ["pipelines", "features", "training", "serving", "lakehouse", "platform-api", "tests"];

/// Every Rust file of the repository, generated ones left out.
pub fn rust_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = TOP_FOLDERS.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default();
            if path.is_dir() && name != "generated" && name != "node_modules" && name != "target" {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

#[test]
fn every_file_says_what_it_is() {
    for file in rust_files() {
        let text = fs::read_to_string(&file).expect("a source file");
        assert!(text.starts_with("//! "), "{} does not open with //!", file.display());
    }
}

#[test]
fn there_are_no_drawers_for_odds_and_ends() {
    for file in rust_files() {
        let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        assert!(!["utils", "util", "common", "helpers", "manager", "misc"].contains(&name), "{}", file.display());
    }
}

/// The committed protobuf code is what the contract generates; `UPDATE_GENERATED=1` writes it anew.
#[test]
fn generated_code_is_up_to_date() {
    let events = root().join("pipelines/events");
    for name in ["events", "interactions"] {
        let (package, contract) = (format!("marquee.{name}.v1"), format!("marquee/{name}/v1/{name}.proto"));
        let descriptors = protox::compile([contract], [events.join("proto")]).expect("the contract");
        let out = tempfile::tempdir().expect("a folder");
        prost_build::Config::new().out_dir(out.path()).compile_fds(descriptors).expect("generated code");
        let fresh = fs::read_to_string(out.path().join(format!("{package}.rs"))).expect("a file");
        let committed = events.join(format!("src/generated/{package}.rs"));
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            fs::write(&committed, &fresh).expect("a file");
        }
        assert!(fs::read_to_string(&committed).expect("a file") == fresh, "run: UPDATE_GENERATED=1 make test");
    }
}

/// Each edge rule of the metric contract names its tests, and CMCD each quirk: there are such tests.
#[test]
fn every_rule_and_every_quirk_has_its_test() {
    let folders = ["pipelines/qoe", "pipelines/jobs", "pipelines/cmcd", "pipelines/collector"].map(|f| root().join(f));
    let tests: String = rust_files()
        .iter()
        .filter(|file| folders.iter().any(|folder| file.starts_with(folder)))
        .map(|file| fs::read_to_string(file).expect("a file"))
        .collect();
    for (document, rows_at_least) in [("docs/qoe.md", 34), ("docs/cmcd.md", 20)] {
        let text = fs::read_to_string(root().join(document)).expect("a document");
        // The tables whose last column is of tests.
        let mut rows = 0;
        let mut in_table = false;
        for line in text.lines() {
            in_table = line.starts_with('|') && (in_table || line.contains("| test"));
            let is_row = in_table && !line.contains("| test") && !line.starts_with("|---");
            let last = line.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
            if !is_row {
                continue;
            }
            rows += 1;
            let names: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
            assert!(!names.is_empty() || last.contains("rule"), "{document}: no test in: {line}");
            for name in names {
                assert!(
                    tests.contains(&format!("fn {name}()")),
                    "{document} names the test {name}, which is not there"
                );
            }
        }
        assert!(rows >= rows_at_least, "{document}: {rows} rows");
    }
}

/// Every `marquee …` and `make …` in the README's code blocks is a command that exists.
#[test]
fn the_readme_names_real_commands() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let makefile = fs::read_to_string(root().join("Makefile")).expect("Makefile");
    let mut checked = 0;
    for block in readme.split("```").skip(1).step_by(2) {
        for line in block.lines().skip(1).map(str::trim) {
            let line = line.trim_start_matches("$ ");
            if let Some(target) = line.strip_prefix("make ") {
                let target = target.split_whitespace().next().unwrap_or_default();
                assert!(makefile.lines().any(|l| l.starts_with(&format!("{target}:"))), "no target {target}");
                checked += 1;
            } else if let Some(arguments) = line.strip_prefix("marquee ") {
                check_command(arguments);
                checked += 1;
            }
        }
    }
    assert!(checked >= 5, "the README shows commands");
}

/// `marquee a b …` is known when `marquee a b --help` shows a usage with its words.
fn check_command(arguments: &str) {
    let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-');
    let words: Vec<&str> = arguments.split_whitespace().take_while(is_word).collect();
    let home = Path::new("/nonexistent/home");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_marquee-under-test"));
    let output = command.args(["--home", &home.display().to_string()]).args(&words).arg("--help").output();
    let output = output.expect("the binary starts");
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && help.contains("Usage:"), "marquee {arguments}: {help}");
    for flag in arguments.split_whitespace().filter(|word| word.starts_with("--")) {
        assert!(help.contains(flag), "marquee {arguments}: no {flag} in its help");
    }
}

/// No path or address of one machine.
#[test]
fn no_file_names_a_machine() {
    for name in ["README.md", "ARCHITECTURE.md", "Makefile", "docs"] {
        let mut paths = vec![root().join(name)];
        while let Some(path) = paths.pop() {
            if path.is_dir() {
                paths.extend(fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
                continue;
            }
            let bytes = fs::read(&path).expect("a file"); // pictures, too
            for folder in ["root", "work", "home"] {
                let word = format!("/{folder}/");
                let names_it = bytes.windows(word.len()).any(|window| window == word.as_bytes());
                assert!(!names_it, "{} names {word}", path.display());
            }
        }
    }
}
