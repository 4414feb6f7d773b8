//! Importing access logs through a collector: what becomes of the lines, in which order, and what is refused.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use indicatif::ProgressBar;
use marquee_events::ErrorKind;
use marquee_events::proto::view_event::Payload;
use marquee_events::proto::{ViewEventBatch, ViewEventBatches};
use tempfile::TempDir;

use super::{CdnLogImportReport, Requests, check_cdn_log, import_cdn_log, send_requests};
use crate::collector::Collector;
use crate::fake_collector;

/// Two sessions of version 1, their lines mixed and out of order.
const ACCESS_LOG: &str = r#"#Version: 1.0
203.0.113.7 - - [10/Oct/2025:13:55:36 +0000] "GET /t/master.m3u8?CMCD=cid%3D%22title-1%22%2Cot%3Dm%2Csf%3Dh%2Csid%3D%22one%22%2Csu HTTP/2" 200 900
203.0.113.7 - - [10/Oct/2025:13:55:38 +0000] "GET /t/v/2.ts?CMCD=bl%3D4000%2Cbr%3D2400%2Ccid%3D%22title-1%22%2Cd%3D4000%2Cmtp%3D9100%2Cot%3Dv%2Csf%3Dh%2Csid%3D%22one%22%2Cst%3Dv HTTP/2" 200 90000
203.0.113.7 - - [10/Oct/2025:13:55:37 +0000] "GET /t/v/1.ts?CMCD=br%3D800%2Ccid%3D%22title-1%22%2Cot%3Dv%2Csf%3Dh%2Csid%3D%22one%22%2Cst%3Dv%2Csu HTTP/2" 200 90000
198.51.100.9 - - [10/Oct/2025:15:55:37 +0200] "GET /u/1.m4s?token=x&CMCD=br%3D1600%2Cot%3Dv%2Csf%3Dd%2Csid%3D%22two%22&z=1 HTTP/1.1" 206 70000

203.0.113.7 - - [10/Oct/2025:13:55:39 +0000] "GET /favicon.ico HTTP/2" 404 10
203.0.113.7 - - [10/Oct/2025:13:56:10 +0000] "GET /t/v/3.ts?CMCD=bl%3D0%2Cbr%3D800%2Cbs%2Cot%3Dv%2Csid%3D%22one%22%2Csu HTTP/2" 200 90000
203.0.113.7 - - [10/Oct/2025:13:56:10 +0000] "GET /t/v/3.ts?CMCD=br%3D800%2Cot%3Dv%2Csid%3D%22on HTTP/2" 200 90000
203.0.113.7 - - "GET /t/v/3.ts?CMCD=br%3D800%2Cot%3Dv%2Csid%3D%22one%22 HTTP/2" 200 90000
203.0.113.7 - - [10/Oct/2025:13:56:10 +0000] "GET /e?CMCD=e%3Dt%2Csid%3D%22one%22%2Csn%3D1%2Cts%3D5%2Cv%3D2 HTTP/2" 200 0
"#;

fn files(contents: &[(&str, &[u8])]) -> (TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let paths = contents.iter().map(|(name, contents)| {
        let path = dir.path().join(name);
        fs::write(&path, contents).unwrap();
        path
    });
    let paths = paths.collect();
    (dir, paths)
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// `session sequence second what` of each event.
fn told(batches: &[ViewEventBatch]) -> Vec<String> {
    let mut told = Vec::new();
    for batch in batches {
        let session_id = &batch.context.as_ref().unwrap().session_id;
        for event in &batch.events {
            let what = match event.payload.as_ref().unwrap() {
                Payload::PlayerState(state) => format!("{} {} {}", state.state, state.bitrate_bps, state.buffer_ms),
                Payload::Heartbeat(heartbeat) => format!("heartbeat {}", heartbeat.bitrate_bps),
                other => panic!("{other:?}"),
            };
            let second = event.event_time_ms as f64 / 1000.0 - 1_760_104_536.0;
            told.push(format!("{session_id} {} {second} {what}", event.sequence));
        }
    }
    told
}

fn all(requests: &Requests) -> Vec<String> {
    told(&requests.chunks(2).flatten().collect::<Vec<_>>())
}

const EXPECTED: [&str; 5] = [
    "one 0 0 starting 0 0",
    "one 1 1 starting 800000 0",
    "one 2 2 playing 2400000 4000",
    "one 3 34 stalled 800000 0",
    "two 0 1 playing 1600000 0",
];

#[test]
fn requests_are_events_in_order_of_time() {
    let (_dir, paths) = files(&[("access.log", ACCESS_LOG.as_bytes())]);
    let requests = Requests::read(&paths).unwrap();
    assert_eq!(all(&requests), EXPECTED);
    let contexts: Vec<_> = requests.chunks(100).flatten().filter_map(|batch| batch.context).collect();
    let told = |context: &marquee_events::proto::Context| {
        format!("{} {} {} {}", context.title_id, context.protocol, context.stream_type, context.player_instance)
    };
    assert_eq!(contexts.iter().map(told).collect::<Vec<_>>(), ["title-1 hls vod cmcd", " dash  cmcd"]);
    assert_eq!((requests.lines, requests.lines_without_cmcd, requests.refused_lines), (9, 1, 3));
    let refused: Vec<_> = requests.refused.iter().map(|r| format!("{}:{} {}", r.file, r.line, r.reason)).collect();
    assert_eq!(refused[0], "access.log:9 cmcd_syntax: the line is no dictionary: unterminated string at index 19");
    assert_eq!(refused[1], "access.log:10 has no time in a form that is known");
    assert_eq!(refused[2], "access.log:11 is about an event; players post those");
}

#[test]
fn logs_of_cloudfront_are_tables_and_encoded_twice() {
    let log = "#Version: 1.0\n#Fields: date time x-edge-location cs-uri-stem cs-uri-query\n\
               2025-10-10\t13:55:37\tLHR3\t/a.m4s\tCMCD=br%253D1600%252Cot%253Dv%252Csid%253D%2522two%2522\n";
    let (_dir, paths) = files(&[("E2.2025-10-10-13.gz", &gzip(log))]);
    assert_eq!(all(&Requests::read(&paths).unwrap()), EXPECTED[4..]);
}

#[test]
fn a_session_may_lie_in_several_files() {
    let (first, second) = ACCESS_LOG.split_at(ACCESS_LOG.find("198.51").unwrap());
    let (_dir, paths) = files(&[("1.log", first.as_bytes()), ("2.log.gz", &gzip(second))]);
    let requests = Requests::read(&paths).unwrap();
    assert_eq!(all(&requests), EXPECTED);
    let id = |paths: &[PathBuf]| Requests::read(paths).unwrap().import_id;
    assert_eq!(id(&paths).len(), "cdn-log-".len() + 32);
    assert_ne!(id(&paths), id(&paths[..1]));
    // The names are no part of it, where one file ends and the next begins is.
    let (_dir, renamed) = files(&[("x", first.as_bytes()), ("y", &gzip(second))]);
    assert_eq!(id(&paths), id(&renamed));
    let (_dir, whole) = files(&[("x", ACCESS_LOG.as_bytes())]);
    let (_dir, parts) = files(&[("1.log", first.as_bytes()), ("2.log", second.as_bytes())]);
    assert_ne!(id(&whole), id(&parts));
}

#[test]
fn lines_without_end_are_refused_and_the_next_is_read() {
    let line = ACCESS_LOG.lines().nth(4).unwrap();
    for junk in [65_535, 65_536, 200_000] {
        let (_dir, paths) = files(&[("a", format!("{}\n{line}\n", "x".repeat(junk)).as_bytes())]);
        let requests = Requests::read(&paths).unwrap();
        assert_eq!(all(&requests), EXPECTED[4..]);
        assert_eq!((requests.lines, requests.refused_lines), (2, u64::from(junk >= 65_536)), "{junk}");
    }
}

#[tokio::test]
async fn a_second_import_sends_the_same_chunks() {
    let (_dir, paths) = files(&[("access.log", ACCESS_LOG.as_bytes())]);
    let (address, received) = fake_collector::start().await;
    let collector = Collector::new(&address).unwrap();
    let progress = ProgressBar::hidden();
    let import = || send_requests(Requests::read(&paths).unwrap(), &collector, 4, &progress);
    let first = import().await.unwrap();
    assert_eq!((first.sessions, first.events, first.chunks, first.duplicate_chunks), (2, 5, 2, 0));
    assert_eq!((first.topic.as_str(), first.duplicate, progress.position()), ("playback-import", false, 5));
    let sent = received.lock().unwrap().chunks.clone();
    let batches: Vec<ViewEventBatch> = sent.values().flat_map(|ViewEventBatches { batches }| batches.clone()).collect();
    assert_eq!(told(&batches), EXPECTED);
    let second = import().await.unwrap();
    assert_eq!((second.chunks, second.duplicate_chunks, second.duplicate), (2, 2, true));
    assert_eq!(received.lock().unwrap().chunks, sent);
}

#[tokio::test]
async fn nothing_is_sent_when_nothing_is_usable() {
    let (address, received) = fake_collector::start().await;
    let (dir, paths) = files(&[("access.log", b"1.2.3.4 - - [10/Oct/2025:13:55:36 +0000] \"GET / HTTP/1.1\" 200 1\n")]);
    let report = import_cdn_log(&paths, &address, &ProgressBar::hidden()).await.unwrap();
    let expected = CdnLogImportReport {
        import_id: report.import_id.clone(),
        lines: 1,
        lines_without_cmcd: 1,
        ..CdnLogImportReport::default()
    };
    assert_eq!(report, expected);
    assert!(received.lock().unwrap().chunks.is_empty());

    check_cdn_log(&paths).unwrap();
    for missing in [dir.path().join("none"), dir.path().to_owned()] {
        let error = check_cdn_log(std::slice::from_ref(&missing)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(import_cdn_log(&[missing], &address, &ProgressBar::hidden()).await.is_err());
    }
    let (_dir, broken) = files(&[("a.gz", &gzip(ACCESS_LOG)[..60])]);
    assert!(import_cdn_log(&broken, &address, &ProgressBar::hidden()).await.is_err());
}
