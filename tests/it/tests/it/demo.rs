//! `demo --once`: the whole loop against what the simulated viewers did, and against DuckDB.

use crate::{child, notebook, oracle};

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
    model_against_true_tastes(&summary["model"]);
    let kinds: Vec<&str> =
        summary["page"]["rows"].as_array().expect("rows").iter().filter_map(|row| row["kind"].as_str()).collect();
    for kind in ["top_picks", "because_you_watched", "trending_now"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    let found = oracle::recompute(&home.join("lake"), "playback", number("log_events"));
    assert_eq!(found["sessions"].as_u64(), Some(number("sessions")));
    notebook::passes(&home);
}

/// The model lies between popularity and the true tastes, and was asked the very
/// questions of its report.
fn model_against_true_tastes(model: &serde_json::Value) {
    let found = &model["true_taste"];
    assert_eq!(found["protocol"], "leave-one-out");
    let report = &model["reports"][0];
    assert_eq!((&report["protocol"], &report["cases"]), (&found["protocol"], &found["cases"]));
    assert!(found["cases"].as_u64().is_some_and(|cases| cases >= 250), "{found}");
    let number = |value: &serde_json::Value| value.as_f64().unwrap_or_else(|| panic!("{value} is no number: {found}"));
    let ndcg = |name: &str| number(&found["ndcg@10"][name]);
    for result in report["results"].as_array().expect("results") {
        let name = result["model"].as_str().expect("a name");
        if !found["ndcg@10"][name].is_null() {
            assert!((number(&result["ndcg@10"]) - ndcg(name)).abs() < 1e-9, "{result} against {found}");
        }
    }
    let (popular, tower, truth) = (ndcg("popular-all-time"), ndcg("two-tower"), ndcg("true-taste"));
    assert!(popular < tower && tower <= truth, "{found}");
    assert!((number(&found["lead"]) - (tower - popular)).abs() < 1e-12, "{found}");
    assert!((number(&found["gap"]) - (truth - tower)).abs() < 1e-12, "{found}");
    for name in ["lead_standard_error", "gap_standard_error"] {
        let error = number(&found[name]);
        assert!(error > 0.0 && error < 0.025, "{name}: {found}");
    }
}
