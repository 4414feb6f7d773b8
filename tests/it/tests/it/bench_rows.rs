//! `bench rows` on a small home: every page is whole, and every event changes one. No time is asserted.

use crate::child;

#[test]
fn every_page_is_whole_and_every_event_changes_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    let size = ["--rate", "50", "--seconds", "2", "--titles", "1000", "--profiles", "500", "--events", "20"];
    let text = child::stdout(&home, &[&["bench", "rows", "--json"], &size[..]].concat());
    let report: serde_json::Value = serde_json::from_str(&text).expect("one JSON document");
    let number = |name: &str| report[name].as_f64().unwrap_or_else(|| panic!("{name} is a number: {report}"));
    assert!((number("pages") - 100.0).abs() < 0.5, "rate × seconds: {report}");
    assert!((number("events") - 20.0).abs() < 0.5, "{report}");
    assert_eq!((number("degraded"), number("cache_hits")), (0.0, 0.0), "{report}");
    // Top picks, trending, new and exploration are on all of them.
    assert!(number("rows_per_page") >= 4.0, "{report}");
    for name in ["page_p50_ms", "page_p99_ms", "event_to_page_p50_ms", "event_to_page_p99_ms", "peak_rss_bytes"] {
        assert!(number(name) > 0.0, "{name}: {report}");
    }
    for stage in ["read.profile", "read.features", "source.vectors", "filter.eligible", "selector.diverse", "page"] {
        assert!(report["stages"][stage]["p99_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{stage}: {report}");
    }
    assert!(!home.exists(), "the bench has a folder of its own");
}

#[test]
fn more_events_than_profiles_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = ["bench", "rows", "--profiles", "100", "--events", "51"];
    let output = child::run(&folder.path().join("home"), &arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("--events"), "{stderr}");
}
