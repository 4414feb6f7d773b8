//! From measured lines to events, and the lines that are refused.

use std::fmt::Write as _;
use std::fs;

use marquee_events::proto::ViewEventBatch;
use marquee_events::proto::view_event::Payload;
use proptest::prelude::*;
use tempfile::TempDir;

use super::{Chunk, Listed, WATERLOO_BASE_MS, read_waterloo, session_batches};
use crate::SourceError;

const LISTING: &str = "streaming_log,mos,abr,content,encoding_profile,device,trace\n";
const LOG: &str = "representation_index,rebuffering_duration,video_bitrate,chunk_duration,chunk_size,width,height\n";

fn database(listing: &str, logs: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("streaming_logs")).unwrap();
    fs::write(dir.path().join("sessions.csv"), listing).unwrap();
    for (name, contents) in logs {
        fs::write(dir.path().join("streaming_logs").join(name), contents).unwrap();
    }
    dir
}

/// `time media kind` of each event, times from the session's beginning.
fn timeline(batch: &ViewEventBatch) -> Vec<String> {
    let began_ms = batch.events[0].event_time_ms;
    batch
        .events
        .iter()
        .map(|event| {
            let what = match event.payload.as_ref().unwrap() {
                Payload::Rendition(r) => {
                    format!("rendition {} {} {}x{} {}", r.representation_id, r.bitrate_bps, r.width, r.height, r.codec)
                }
                Payload::SessionEnd(end) => format!("session_end {}", end.reason),
                Payload::PlayRequested(_) => "play_requested".to_owned(),
                Payload::FirstFrame(_) => "first_frame".to_owned(),
                Payload::RebufferStart(_) => "rebuffer_start".to_owned(),
                Payload::RebufferEnd(_) => "rebuffer_end".to_owned(),
                other => format!("{other:?}"),
            };
            format!("{} {} {what}", event.event_time_ms - began_ms, event.media_time_ms.unwrap())
        })
        .collect()
}

#[test]
fn a_log_becomes_the_events_of_its_player() {
    let log = format!(
        "{LOG}6,5.1979999999999995,2048.776,4,1,1280.0,720.0\n\
         6,0.0,1500.0,4,1,1280.0,720.0\n\
         7,0.0004,4309.506,2.5,1,1920.0,1080.0\n\
         7,1.0155,4309.5064,4,1,1920.0,1080.0\n"
    );
    let dir = database(&format!("{LISTING}0007.csv,80,Rdos,game,HEVC,uhdtv,3\n"), &[("0007.csv", &log)]);
    let data = read_waterloo(dir.path()).unwrap();
    assert!(data.refused.is_empty());
    let [batch] = data.sessions[0].as_slice() else { panic!("one batch") };
    assert_eq!(
        timeline(batch),
        [
            "0 0 play_requested",
            "5198 0 rendition 6 2048776 1280x720 HEVC",
            "5198 0 first_frame",
            "9198 4000 rendition 6 1500000 1280x720 HEVC",
            "13198 8000 rebuffer_start",
            "13198 8000 rebuffer_end",
            "13198 8000 rendition 7 4309506 1920x1080 HEVC",
            "15698 10500 rebuffer_start",
            "16714 10500 rebuffer_end",
            "16714 10500 rendition 7 4309506 1920x1080 HEVC",
            "20714 14500 session_end ended",
        ]
    );
    let context = batch.context.as_ref().unwrap();
    assert_eq!(context.session_id, "waterloo-0007");
    assert_eq!(context.title_id, "waterloo-game");
    assert_eq!((context.device_type.as_str(), context.player.as_str()), ("uhdtv", "Rdos"));
    assert_eq!(batch.events[0].event_time_ms, WATERLOO_BASE_MS + 7 * 600_000);
    assert_eq!(batch.sent_at_ms, batch.events[10].event_time_ms);
    assert_eq!(batch.events[3].event_id, "waterloo-0007-3");
}

#[test]
fn without_waits_everything_starts_at_once_and_never_stalls() {
    let log = format!("{LOG}0,0,100,4,1,320,180\n0,0.0,100,4,1,320,180\n");
    let dir = database(&format!("{LISTING}1.csv,80,Rdos,game,HEVC,tv,3\n"), &[("1.csv", &log)]);
    let data = read_waterloo(dir.path()).unwrap();
    assert_eq!(
        timeline(&data.sessions[0][0]),
        [
            "0 0 play_requested",
            "0 0 rendition 0 100000 320x180 HEVC",
            "0 0 first_frame",
            "4000 4000 rendition 0 100000 320x180 HEVC",
            "8000 8000 session_end ended",
        ]
    );
}

#[test]
fn a_broken_line_refuses_its_session_alone() {
    let good = format!("{LOG}0,0,100,4,1,320,180\n");
    let logs = [
        ("0001.csv", good.clone()),
        ("0002.csv", format!("{good}1,x,100,4,1,320,180\n")),
        ("0003.csv", format!("{good}1,0,100\n")),
        ("0004.csv", String::new()),
        ("0005.csv", LOG.to_owned()),
        ("0006.csv", format!("{LOG}0,-1,100,4,1,320,180\n")),
        ("0007.csv", format!("{good}\n0,0,NaN,4,1,320,180\n")),
        ("0008.csv", good.clone()),
        ("0009.csv", format!("{LOG}0,0,100,0,1,320,180\n")),
        ("stray.csv", good),
    ];
    let mut listing = LISTING.to_owned();
    for number in [8, 1, 2, 3, 4, 5, 6, 7, 9, 10] {
        writeln!(listing, "{number:04}.csv,80,Rdos,game,HEVC,tv,3").unwrap();
    }
    listing.push_str("0001.csv,80,Rdos,game,HEVC,tv,3\n../0001.csv,80,Rdos,game,HEVC,tv,3\n0011.csv,80\n");
    let logs: Vec<(&str, &str)> = logs.iter().map(|(name, contents)| (*name, contents.as_str())).collect();
    let dir = database(&listing, &logs);

    let data = read_waterloo(dir.path()).unwrap();
    let ids: Vec<&str> =
        data.sessions.iter().map(|batches| batches[0].context.as_ref().unwrap().session_id.as_str()).collect();
    assert_eq!(ids, ["waterloo-0001", "waterloo-0008"]);
    assert_eq!(data.ignored_files, 1);
    let refused: Vec<String> = data.refused.iter().map(|r| format!("{}:{} {}", r.file, r.line, r.reason)).collect();
    let expected = [
        "sessions.csv:12 names 0001.csv a second time",
        "sessions.csv:13 streaming_log `../0001.csv` is not a number and .csv",
        "sessions.csv:14 has 2 fields, the header has 7",
        "streaming_logs/0002.csv:3 rebuffering_duration `x` is not a number",
        "streaming_logs/0003.csv:3 has 3 fields, the header has 7",
        "streaming_logs/0004.csv:1 is empty",
        "streaming_logs/0005.csv:1 has no chunks",
        "streaming_logs/0006.csv:2 rebuffering_duration `-1` is not between 0 and 86400",
        "streaming_logs/0007.csv:4 video_bitrate `NaN` is not between 0 and 1000000000",
        "streaming_logs/0009.csv:2 chunk_duration is 0",
        "sessions.csv:11 names streaming_logs/0010.csv, which cannot be read: No such file or directory (os error 2)",
    ];
    assert_eq!(refused, expected);
}

#[test]
fn a_missing_file_or_column_refuses_everything() {
    let dir = database("streaming_log,abr,content,device,trace\n", &[]);
    let error = read_waterloo(dir.path()).unwrap_err();
    assert!(error.to_string().ends_with("sessions.csv has no column `encoding_profile`"), "{error}");

    let log = "representation_index,video_bitrate,chunk_duration,width,height\n";
    let dir = database(&format!("{LISTING}0001.csv,80,Rdos,game,HEVC,tv,3\n"), &[("0001.csv", log)]);
    let error = read_waterloo(dir.path()).unwrap_err();
    assert!(error.to_string().ends_with("0001.csv has no column `rebuffering_duration`"), "{error}");

    fs::remove_file(dir.path().join("sessions.csv")).unwrap();
    let error = read_waterloo(dir.path()).unwrap_err();
    assert!(matches!(&error, SourceError::ReadFile { path, .. } if path.ends_with("sessions.csv")), "{error}");
}

fn chunks() -> impl Strategy<Value = Vec<Chunk>> {
    let chunk = (0..4_u32, prop_oneof![Just(0.0), 0.0..10.0], 0..20_000_000_u64, 1..10_000_i64).prop_map(
        |(representation_index, wait_s, bitrate_bps, duration_ms)| Chunk {
            representation_index,
            wait_s,
            bitrate_bps,
            duration_ms,
            width: 1,
            height: 1,
        },
    );
    prop::collection::vec(chunk, 1..20)
}

proptest! {
    /// What a fold reads back from the events is what was measured.
    #[test]
    fn the_measured_values_are_in_the_events(chunks in chunks()) {
        let session = Listed {
            line: 2,
            file: "1.csv".to_owned(),
            stem: "1".to_owned(),
            number: 1,
            abr: String::new(),
            content: String::new(),
            encoding_profile: String::new(),
            device: String::new(),
        };
        let batches = session_batches(&session, &chunks);
        let events = &batches[0].events;
        let (mut startup_ms, mut stalls, mut rebuffer_ms, mut playing_ms, mut bit_ms) = (0, 0, 0, 0, 0_i128);
        let (mut started, mut stalled, mut bitrate) = (false, false, 0);
        for (index, event) in events.iter().enumerate() {
            prop_assert_eq!(event.sequence, index as u64);
            match event.payload.as_ref().unwrap() {
                Payload::FirstFrame(_) => started = true,
                Payload::RebufferStart(_) => { stalled = true; stalls += 1; }
                Payload::RebufferEnd(_) => stalled = false,
                Payload::Rendition(rendition) => bitrate = rendition.bitrate_bps,
                _ => {}
            }
            if let Some(next) = events.get(index + 1) {
                let elapsed_ms = next.event_time_ms - event.event_time_ms;
                prop_assert!(elapsed_ms >= 0);
                match (started, stalled) {
                    (false, _) => startup_ms += elapsed_ms,
                    (true, true) => rebuffer_ms += elapsed_ms,
                    (true, false) => { playing_ms += elapsed_ms; bit_ms += i128::from(elapsed_ms) * i128::from(bitrate); }
                }
                prop_assert_eq!(next.media_time_ms, Some(playing_ms));
            }
        }
        let rounded = |chunk: &Chunk| (chunk.wait_s * 1000.0).round() as i64;
        prop_assert_eq!(startup_ms, rounded(&chunks[0]));
        prop_assert_eq!(stalls, chunks[1..].iter().filter(|c| c.wait_s > 0.0).count());
        prop_assert_eq!(rebuffer_ms, chunks[1..].iter().map(rounded).sum::<i64>());
        prop_assert_eq!(playing_ms, chunks.iter().map(|c| c.duration_ms).sum::<i64>());
        let bits = chunks.iter().map(|c| i128::from(c.duration_ms) * i128::from(c.bitrate_bps)).sum::<i128>();
        prop_assert_eq!(bit_ms, bits);
    }
}
