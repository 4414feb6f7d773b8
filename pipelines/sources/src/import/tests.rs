//! Importing through a collector: once, again, with a chunk missing, and waiting for the jobs.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use axum::http::StatusCode;
use indicatif::ProgressBar;
use marquee_events::ErrorKind;
use tempfile::TempDir;

use super::{ImportOptions, import_waterloo, wait_until_committed};
use crate::SourceError;
use crate::collector::{Body, Collector};
use crate::fake_collector;

fn database(sessions: u32) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("streaming_logs")).unwrap();
    let mut listing = "streaming_log,abr,content,encoding_profile,device,trace\n".to_owned();
    for number in 1..=sessions {
        writeln!(listing, "{number:04}.csv,Bola,movie,H264,phone,{number}").unwrap();
        let log = "representation_index,rebuffering_duration,video_bitrate,chunk_duration,width,height\n\
                   1,0.5,100.0,4,320.0,180.0\n2,0.25,200.0,4,640.0,360.0\n";
        fs::write(dir.path().join(format!("streaming_logs/{number:04}.csv")), log).unwrap();
    }
    fs::write(dir.path().join("sessions.csv"), listing).unwrap();
    dir
}

#[tokio::test]
async fn a_second_import_sends_the_same_chunks() {
    let dir = database(5);
    let (address, received) = fake_collector::start().await;
    let options = ImportOptions { sessions_per_chunk: 2 };
    let progress = ProgressBar::hidden();

    let first = import_waterloo(dir.path(), &address, &options, &progress).await.unwrap();
    assert_eq!((first.sessions, first.events, first.chunks, first.duplicate_chunks), (5, 35, 3, 0));
    assert_eq!((first.topic.as_str(), first.end_offsets.as_slice()), ("playback-import", [3, 4].as_slice()));
    assert_eq!(first.import_id.len(), "waterloo-".len() + 32);
    assert!(!first.duplicate);
    assert_eq!(progress.position(), 5);
    let sent = received.lock().unwrap().chunks.clone();

    let second = import_waterloo(dir.path(), &address, &options, &progress).await.unwrap();
    assert_eq!((second.chunks, second.duplicate_chunks, second.duplicate), (3, 3, true));
    assert_eq!(received.lock().unwrap().chunks, sent);

    // Another line in the data is another import.
    let log = dir.path().join("streaming_logs/0003.csv");
    fs::write(&log, fs::read_to_string(&log).unwrap() + "1,0.0,100.0,4,320.0,180.0\n").unwrap();
    let other = import_waterloo(dir.path(), &address, &options, &progress).await.unwrap();
    assert_ne!(other.import_id, first.import_id);
}

#[tokio::test]
async fn nothing_is_sent_when_a_column_is_missing_or_every_session_is_refused() {
    let (address, received) = fake_collector::start().await;
    let dir = database(2);
    let log = dir.path().join("streaming_logs/0002.csv");
    fs::write(&log, "representation_index,rebuffering_duration\n1,0\n").unwrap();
    let error = import_waterloo(dir.path(), &address, &ImportOptions::default(), &ProgressBar::hidden()).await;
    assert!(matches!(error, Err(SourceError::MissingColumn { column: "video_bitrate", .. })), "{error:?}");

    for number in 1..=2 {
        fs::remove_file(dir.path().join(format!("streaming_logs/000{number}.csv"))).unwrap();
    }
    let report = import_waterloo(dir.path(), &address, &ImportOptions::default(), &ProgressBar::hidden()).await;
    let report = report.unwrap();
    assert_eq!((report.sessions, report.chunks, report.refused.len()), (0, 0, 2));
    let received = received.lock().unwrap();
    assert!(received.chunks.is_empty() && received.finished.is_empty());
}

#[tokio::test]
async fn waiting_ends_when_everything_is_committed_or_at_the_deadline() {
    let (address, received) = fake_collector::start().await;
    let progress = ProgressBar::hidden();
    let wait = |ends: &'static [u64], deadline| {
        wait_until_committed(&address, "playback-import", ends, Duration::from_millis(deadline), &progress)
    };
    wait(&[3, 4], 20_000).await.unwrap();
    assert_eq!(received.lock().unwrap().progress_asked, 4);
    assert_eq!((progress.position(), progress.length()), (7, Some(7)));

    let error = wait(&[3, 9], 250).await.unwrap_err();
    assert!(matches!(error, SourceError::NotCommitted { behind: 5, .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);

    let error = wait(&[3], 250).await.unwrap_err();
    assert!(matches!(error, SourceError::Answer { .. }), "{error:?}");
}

#[tokio::test]
async fn full_is_tried_again_and_a_refusal_is_not() {
    let (address, received) = fake_collector::start().await;
    let collector = Collector::new(&address).unwrap();
    let url = collector.url("v1/events").unwrap();
    let mut made = 0;
    let mut post = async |bytes: &[u8]| {
        let answer = collector.post::<serde_json::Value>(&url, || {
            made += 1;
            Body { content_type: "application/json", gzip: false, bytes: bytes.to_vec() }
        });
        (answer.await.map(|accepted| accepted.unsure_attempts), std::mem::take(&mut made))
    };

    received.lock().unwrap().refuse = vec![StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
    let batch = br#"{"context":{"session_id":"s"},"sent_at_ms":1,"events":[{"sequence":0,"pause":{}}]}"#;
    let (unsure, attempts) = post(batch).await;
    assert_eq!((unsure.unwrap(), attempts), (1, 3));

    let (error, attempts) = post(br#"{"context":{},"events":[]}"#).await;
    let error = error.unwrap_err();
    assert_eq!((attempts, error.kind()), (1, ErrorKind::Invalid));
    assert!(error.to_string().contains("400: field `context.session_id`: is missing"), "{error}");

    received.lock().unwrap().refuse = vec![StatusCode::CONFLICT];
    assert_eq!(post(batch).await.0.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn an_absent_collector_is_unavailable_and_an_odd_address_is_invalid() {
    // Bound and dropped: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut collector = Collector::new(&format!("http://{free}/base")).unwrap();
    collector.max_attempts = 2;
    let url = collector.url("v1/progress").unwrap();
    let error = collector.get::<serde_json::Value>(&url).await.unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { attempts: 2, .. }), "{error:?}");
    assert!(error.to_string().contains("/base/v1/progress after 2 attempts"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    for address in ["127.0.0.1:80", "https://127.0.0.1", ""] {
        assert!(matches!(Collector::new(address), Err(SourceError::CollectorAddress { .. })), "{address}");
    }
}
