//! The recommendation half through the command line: evaluation against numpy, and the way from an import to a page.

use crate::{child, oracle};

/// What the independent reference may differ by: floating-point sums in another order move a title by a rank.
const TOLERANCE: f64 = 0.005;

#[test]
fn evaluation_equals_an_independent_reference() {
    let Some(data) = oracle::data() else { return };
    let ratings = data.join("ml-latest-small/ratings.csv");
    let ratings = ratings.to_str().expect("the path is text");
    let folder = tempfile::tempdir().expect("a folder");
    let text = child::stdout(
        &folder.path().join("home"),
        &["evaluate", "--interactions", ratings, "--models", "popular-all-time,linear-transition", "--json"],
    );
    let report: serde_json::Value = serde_json::from_str(&text).expect("one JSON document");
    // The model's default λ for so many events: 100 · (89,054 ÷ 10⁵)^0.7.
    let expected = oracle::check("recommendation.py", &[ratings, "--lambda", "92.2"]);
    for name in ["users", "items", "events", "cases"] {
        assert_eq!(report[name], expected[name], "{name}");
    }
    for (found, expected) in
        report["results"].as_array().expect("results").iter().zip(expected["results"].as_array().expect("results"))
    {
        assert_eq!(found["model"], expected["model"]);
        for metric in ["hr@10", "ndcg@10", "coverage@10"] {
            let figure = |result: &serde_json::Value| result[metric].as_f64().expect("a number");
            let difference = (figure(found) - figure(expected)).abs();
            assert!(difference <= TOLERANCE, "{metric} of {}: {found} against {expected}", found["model"]);
        }
    }
    assert!(!folder.path().join("home").exists(), "an evaluation needs no home");
}

#[test]
fn a_file_that_is_no_history_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("history.csv");
    std::fs::write(&file, "profile_id,title_id\na,b\n").expect("a file");
    let home = folder.path().join("home");
    let output = child::run(&home, &["evaluate", "--interactions", file.to_str().expect("text")]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("timestamp_ms"), "{stderr}");
}
