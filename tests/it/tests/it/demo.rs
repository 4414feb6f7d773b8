//! `demo --once`: the whole loop against what the simulated viewers did, and against DuckDB.

use crate::{child, oracle};

#[test]
fn demo_once_equals_what_the_viewers_did() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    let output = child::marquee(&home)
        .args(["demo", "--once", "--json", "--seed", "11", "--sessions", "60"])
        .output()
        .expect("the binary starts");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let summary: serde_json::Value = serde_json::from_str(&stdout).expect("one JSON document");
    let number = |name: &str| summary[name].as_u64().unwrap_or_else(|| panic!("{name} is a number: {summary}"));
    assert_eq!(number("log_events"), number("bronze") + number("dead_letters"));
    assert_eq!(number("events"), number("log_events"));
    assert!(number("duplicates") > 0 && number("dead_letters") > 0 && number("sessions") > 0 && number("epochs") > 0);
    for name in ["collector_ack", "freshness"] {
        assert!(summary["p99_ms"][name].as_f64().is_some_and(|ms| ms > 0.0), "{name}: {summary}");
    }
    let checks = summary["checks"].as_array().expect("checks");
    assert!(checks.len() > 15 && checks.iter().all(|check| check["equal"] == true), "{summary}");
    assert!(summary["p99_ms"]["home_page"].as_f64().is_some_and(|ms| ms > 0.0), "{summary}");
    let version = summary["model"]["version"].as_str().expect("a version");
    assert_eq!(summary["page"]["served"]["model_version"], version);
    assert_eq!(summary["page"]["served"]["degraded"], serde_json::json!([]), "{summary}");
    let kinds: Vec<&str> =
        summary["page"]["rows"].as_array().expect("rows").iter().filter_map(|row| row["kind"].as_str()).collect();
    for kind in ["top_picks", "because_you_watched", "trending_now"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    let found = oracle::recompute(&home.join("lake"), "playback", number("log_events"));
    assert_eq!(found["sessions"].as_u64(), Some(number("sessions")));
}
