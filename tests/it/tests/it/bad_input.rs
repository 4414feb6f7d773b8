//! What a new user gets wrong: each mistake gives one clear sentence and the right exit code, and nothing is lost.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use crate::child::{self, Up, marquee, run};

/// One sentence on stderr that names `words`, and this exit code.
pub(crate) fn check(output: &Output, exit_code: i32, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit_code), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "no {word:?} in: {stderr}");
    }
    assert!(!stderr.contains("panicked") && !stderr.contains("RUST_BACKTRACE"), "{stderr}");
    if exit_code != 2 {
        let sentences = stderr.lines().filter(|line| line.starts_with("marquee: ")).count();
        assert_eq!(sentences, 1, "{stderr}");
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn waterloo(folder: &Path, sessions: &str, logs: &[(&str, &str)]) -> String {
    let dir = folder.join("data");
    fs::create_dir_all(dir.join("streaming_logs")).expect("a folder");
    fs::write(dir.join("sessions.csv"), sessions).expect("a file");
    for (name, text) in logs {
        fs::write(dir.join("streaming_logs").join(name), text).expect("a file");
    }
    dir.to_str().expect("text").to_owned()
}

const SESSIONS: &str = "streaming_log,mos,individual_scores,abr,content,encoding_profile,device,trace\n";
const CHUNKS: &str = "representation_index,rebuffering_duration,video_bitrate,chunk_duration,chunk_size,qp,framerate,width,height,is_best,psnr,ssim,vmaf\n";
const CHUNK: &str = "6,0.5,2048.776,4,1024388,11.84,30.0,1280.0,720.0,0,38.691,0.991,86\n";

#[test]
fn a_csv_with_a_missing_column() {
    let folder = folder();
    let dir = waterloo(folder.path(), "streaming_log,mos\n0001.csv,1\n", &[("0001.csv", CHUNKS)]);
    let output = run(&folder.path().join("home"), &["import", "waterloo", &dir]);
    check(&output, 3, &["sessions.csv", "column"]);
}

#[test]
fn a_folder_without_the_data() {
    let folder = folder();
    let output = run(&folder.path().join("home"), &["import", "waterloo", "nowhere"]);
    check(&output, 3, &["nowhere"]);
}

#[test]
fn a_broken_line_refuses_its_session_and_no_other() {
    let folder = folder();
    let sessions = format!("{SESSIONS}0001.csv,1,[1],a,b,H264,tv,1\n0002.csv,1,[1],a,b,H264,tv,1\n");
    let good = format!("{CHUNKS}{CHUNK}{CHUNK}");
    let bad = format!("{CHUNKS}{CHUNK}6,half,1,4,1,1,1,1,1,1,1,1,1\n");
    let dir = waterloo(folder.path(), &sessions, &[("0001.csv", &good), ("0002.csv", &bad)]);
    let home = folder.path().join("home");
    let text = child::stdout(&home, &["import", "waterloo", &dir, "--json"]);
    let report: serde_json::Value = serde_json::from_str(&text).expect("one JSON document");
    assert_eq!(report["sessions"].as_u64(), Some(1));
    assert_eq!(report["refused"][0]["line"].as_u64(), Some(3), "{report}");
    assert_eq!(child::number(&home, "SELECT count(*) FROM sessions"), 1);
    let all_bad = format!("{SESSIONS}0002.csv,1,[1],a,b,H264,tv,1\n");
    let dir = waterloo(folder.path(), &all_bad, &[]);
    check(&run(&folder.path().join("other"), &["import", "waterloo", &dir]), 3, &["no session"]);
}

#[test]
fn an_unknown_flag() {
    check(&run(&folder().path().join("home"), &["demo", "--onze"]), 2, &["--onze"]);
}

#[test]
fn an_unknown_key_in_the_settings() {
    let folder = folder();
    fs::write(folder.path().join("marquee.toml"), "[collector]\nlisen = \"127.0.0.1:1\"\n").expect("a file");
    check(&run(&folder.path().join("home"), &["config"]), 2, &["lisen", "marquee.toml"]);
    fs::write(folder.path().join("marquee.toml"), "[jobs]\nepoch_interval_ms = \"soon\"\n").expect("a file");
    check(&run(&folder.path().join("home"), &["config"]), 2, &["jobs.epoch_interval_ms", "marquee.toml"]);
    fs::remove_file(folder.path().join("marquee.toml")).expect("a file");
    let output = marquee(&folder.path().join("home")).arg("config").env("MARQUEE_LOG__PARTITION", "3").output();
    check(&output.expect("the binary starts"), 2, &["partition"]);
}

#[test]
fn settings_name_their_origin() {
    let folder = folder();
    let home = folder.path().join("home");
    fs::write(folder.path().join("marquee.toml"), "[log]\npartitions = 3\n").expect("a file");
    let output = marquee(&home).args(["config", "--json"]).env("MARQUEE_LOG__RETENTION_HOURS", "5").output();
    let document: serde_json::Value =
        serde_json::from_slice(&output.expect("the binary starts").stdout).expect("one JSON document");
    assert_eq!(document["settings"]["log"]["partitions"], 3);
    assert_eq!(document["settings"]["log"]["retention_hours"], 5);
    let origin = |key: &str| document["origins"][key].as_str().unwrap_or_default().to_owned();
    assert!(origin("log.partitions").ends_with("marquee.toml"), "{document}");
    assert_eq!(origin("log.retention_hours"), "environment");
    assert_eq!(origin("lake.query_memory_bytes"), "default");
    assert_eq!(origin("home"), "flag");
}

#[test]
fn a_port_in_use() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = marquee(&folder.path().join("home")).arg("up").env("MARQUEE_COLLECTOR__LISTEN", &address).output();
    check(&output.expect("the binary starts"), 4, &[&address, "MARQUEE_COLLECTOR__LISTEN"]);
}

#[test]
fn a_home_that_cannot_be_written() {
    let folder = folder();
    // A file where the folder should be: nobody can write there, not even root.
    fs::write(folder.path().join("home"), "").expect("a file");
    check(&run(&folder.path().join("home"), &["up"]), 4, &["home", "--home"]);
}

#[test]
fn no_lake_yet() {
    check(&run(&folder().path().join("home"), &["lake", "tables"]), 2, &["marquee demo", "--home"]);
}

#[test]
fn a_second_process_on_the_same_home() {
    let folder = folder();
    let home = folder.path().join("home");
    let up = Up::start(&home, &[]).expect("up starts");
    check(&run(&home, &["up"]), 4, &["in use by process", "--home"]);
    // Queries and imports work beside it.
    assert_eq!(child::number(&home, "SELECT count(*) FROM sessions"), 0);
    let sessions = format!("{SESSIONS}0001.csv,1,[1],a,b,H264,tv,1\n");
    let dir = waterloo(folder.path(), &sessions, &[("0001.csv", &format!("{CHUNKS}{CHUNK}"))]);
    child::stdout(&home, &["import", "waterloo", &dir]);
    assert_eq!(child::number(&home, "SELECT count(*) FROM sessions"), 1);
    up.stop();
}

#[test]
fn a_wrong_query() {
    let folder = folder();
    let home = folder.path().join("home");
    Up::start(&home, &[]).expect("up starts").stop();
    check(&run(&home, &["lake", "sql", "SELECT nothing FROM sessions"]), 3, &["nothing"]);
    check(&run(&home, &["lake", "sql", "DROP TABLE events"]), 3, &["query"]);
    check(&run(&home, &["lake", "sql", "SELEC"]), 3, &["query"]);
}

/// A home with some sessions in it.
fn filled_home(folder: &Path) -> std::path::PathBuf {
    let home = folder.join("home");
    let sessions = format!("{SESSIONS}0001.csv,1,[1],a,b,H264,tv,1\n");
    let dir = waterloo(folder, &sessions, &[("0001.csv", &format!("{CHUNKS}{CHUNK}"))]);
    child::stdout(&home, &["import", "waterloo", &dir]);
    home
}

fn first_file(folder: &Path, part: &str) -> std::path::PathBuf {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().is_some_and(|path| path.contains(part)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found.into_iter().next_back().unwrap_or_else(|| panic!("no file has {part} in its path"))
}

#[test]
fn a_damaged_manifest() {
    let folder = folder();
    let home = filled_home(folder.path());
    let manifest = first_file(&home.join("state"), ".json");
    let before = fs::read(&manifest).expect("the manifest");
    let mut damaged = before.clone();
    damaged[40] ^= 1;
    fs::write(&manifest, &damaged).expect("the manifest");
    let output = marquee(&home).arg("up").output();
    let name = manifest.file_name().and_then(|name| name.to_str()).expect("text");
    check(&output.expect("the binary starts"), 5, &[name, "damaged"]);
    assert_eq!(fs::read(&manifest).expect("the manifest"), damaged, "nothing is changed");
    fs::write(&manifest, &before).expect("the manifest");
    Up::start(&home, &[]).expect("restored, it starts").stop();
    assert_eq!(child::number(&home, "SELECT count(*) FROM sessions"), 1);
}

#[test]
fn a_damaged_segment_of_a_shard() {
    let folder = folder();
    let home = filled_home(folder.path());
    let segment = first_file(&home.join("state"), "/segment/");
    let before = fs::read(&segment).expect("the segment");
    let mut damaged = before.clone();
    damaged[before.len() / 2] ^= 1;
    fs::write(&segment, &damaged).expect("the segment");
    let output = marquee(&home).arg("up").output();
    let name = segment.file_name().and_then(|name| name.to_str()).expect("text");
    check(&output.expect("the binary starts"), 5, &[name, "damaged"]);
    fs::remove_file(&segment).expect("the segment");
    let output = marquee(&home).arg("up").output();
    check(&output.expect("the binary starts"), 5, &[name, "missing"]);
    fs::write(&segment, &before).expect("the segment");
    Up::start(&home, &[]).expect("restored, it starts").stop();
    assert_eq!(child::number(&home, "SELECT count(*) FROM sessions"), 1);
}

#[test]
fn a_damaged_delta_log() {
    let folder = folder();
    let home = filled_home(folder.path());
    let log = home.join("lake/session_revisions/_delta_log");
    let commit = first_file(&log, ".json");
    let before = fs::read(&commit).expect("the commit");
    fs::write(&commit, &before[..before.len() / 2]).expect("the commit");
    check(&run(&home, &["lake", "tables"]), 5, &["session_revisions", "damaged"]);
    let output = marquee(&home).arg("up").output();
    check(&output.expect("the binary starts"), 5, &["session_revisions", "damaged"]);
    fs::write(&commit, &before).expect("the commit");
    assert_eq!(child::number(&home, "SELECT count(*) FROM sessions"), 1);
}
