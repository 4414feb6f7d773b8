//! Lake and state in a bucket: what works there, what is refused, and what is never shown.

use std::process::Output;

use marquee_sources::{BenchPlan, generate_bench};

use crate::bad_input::check;
use crate::child;
use crate::site::{Place, Site};

/// A site with lake and state in a bucket, or nothing to do.
fn site(test: &str) -> Option<Site> {
    Site::new(Place::Bucket, test)
}

fn output(site: &Site, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = site.marquee(arguments);
    command.envs(environment.iter().copied()).output().expect("the binary starts")
}

#[test]
fn nothing_but_log_and_pages_is_in_the_home() {
    let Some(site) = site("nothing_but_log_and_pages_is_in_the_home") else { return };
    let mut up = site.up(&[]).expect("up starts");
    for batch in generate_bench(BenchPlan { events_per_batch: 5, ..BenchPlan::new(100, 1_700_000_000_000, 1) }) {
        assert!(up.post(&batch));
    }
    assert!(up.drained("playback"));
    up.stop();
    assert_eq!(site.number("SELECT count(*) FROM events"), 100);
    let tables = output(&site, &["lake", "tables"], &[]);
    assert!(tables.status.success());
    assert!(String::from_utf8_lossy(&tables.stdout).contains("session_revisions"));
    // It reads manifests, snapshots and tables; nothing of that day came late.
    let arguments = ["lake", "recompute", "--from", "2023-11-01", "--to", "2023-11-01", "--json"];
    let report = output(&site, &arguments, &[]);
    assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
    assert!(String::from_utf8_lossy(&report.stdout).contains("\"sessions\": 0"), "{report:?}");
    for folder in ["lake", "state"] {
        assert!(!site.home().join(folder).exists(), "{folder} is in the home");
    }
}

#[test]
fn what_needs_local_files_is_refused() {
    let Some(site) = site("what_needs_local_files_is_refused") else { return };
    for arguments in [&["train"][..], &["models"], &["demo", "--once"]] {
        check(&output(&site, arguments, &[]), 2, &["s3://bucket-", "lake.url", "local disk"]);
    }
    for arguments in [&["lake", "tables"][..], &["lake", "sql", "SELECT 1"]] {
        check(&output(&site, arguments, &[]), 2, &["there is no lake in s3://bucket-"]);
    }
}

/// Offsets of one log mean nothing in another: the bucket of a home is not another home's.
#[test]
fn a_bucket_belongs_to_the_log_that_it_was_written_from() {
    let Some(site) = site("a_bucket_belongs_to_the_log_that_it_was_written_from") else { return };
    drop(site.up(&[]).expect("up starts"));
    let refused = site.marquee_in("other", ["up"]).output().expect("the binary starts");
    check(&refused, 2, &["belongs to the log in the home with id", "choose another lake.url"]);
    drop(site.up(&[]).expect("its own home may"));
}

#[test]
fn a_wrong_setting_is_one_sentence() {
    let Some(site) = site("a_wrong_setting_is_one_sentence") else { return };
    let refused =
        |setting: (&str, &str), words: &[&str]| check(&output(&site, &["lake", "tables"], &[setting]), 2, words);
    refused(("MARQUEE_LAKE__URL", "/folder"), &["lake.url", "s3://bucket/prefix"]);
    refused(("MARQUEE_LAKE__URL", "gs://bucket"), &["lake.url", "s3://"]);
    refused(("MARQUEE_LAKE__S3__ENDPOINT", "http://store.example.com"), &["lake.s3.allow_http"]);
    refused(("AWS_SECRET_ACCESS_KEY", ""), &["AWS_SECRET_ACCESS_KEY is not set"]);
    let nobody = ("MARQUEE_LAKE__URL", "s3://no-such-bucket/marquee");
    check(&output(&site, &["up"], &[nobody]), 4, &["no-such-bucket"]);
}

#[test]
fn an_endpoint_without_a_bucket() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = child::marquee(&folder.path().join("home"));
    let output = command.arg("config").env("MARQUEE_LAKE__S3__ENDPOINT", "https://store").output();
    check(&output.expect("the binary starts"), 2, &["lake.s3", "lake.url"]);
}

/// Also where a person asks for everything.
#[test]
fn secrets_are_never_shown() {
    let Some(site) = site("secrets_are_never_shown") else { return };
    drop(site.up(&[]).expect("up starts"));
    let secrets = [("AWS_SECRET_ACCESS_KEY", "s3cret-key"), ("AWS_SESSION_TOKEN", "s3cret-token")];
    for arguments in [&["-vv", "lake", "tables"][..], &["config"], &["config", "--json"]] {
        let output = output(&site, arguments, &[secrets[0], secrets[1], ("RUST_LOG", "trace")]);
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{text}");
        assert!(text.contains("bucket-"), "it tells where the lake is: {text}");
        assert!(!text.contains("s3cret"), "{}", text.lines().find(|line| line.contains("s3cret")).unwrap_or_default());
    }
}
