//! CMCD from the player's request to SQL: good lines are a session, bad ones are dead letters with their reason, and a
//! CDN's log gives the same sessions however often it is imported.

use std::fs;

use marquee_events::{Clock as _, SystemClock};

use crate::bad_input::check;
use crate::child::{self, Up, run};

/// A whole session as hls.js reports it, in two requests that come in the wrong order, one of them twice, with one line
/// lost; and between the good lines everything that is wrong.
#[test]
fn good_lines_are_a_session_and_bad_ones_dead_letters() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    let mut up = Up::start(&home, &[]).expect("up starts");
    let start_ms = SystemClock::default().now_ms() - 600_000;
    let line = |sn: u64, after_ms: i64, keys: &str| {
        format!("br=(2400;v 128;a),{keys},sf=h,sid=\"cmcd-1\",sn={sn},st=v,ts={},v=2", start_ms + after_ms)
    };
    let first = [
        line(0, 0, "e=ps,sta=s"),
        line(1, 800, "e=ps,sta=p"),
        "sid=\"cmcd-1\",e=ps,sta=p,ts=12".to_owned() + "34,sn=(", // cut off
        line(2, 10_800, "e=t,pt=10000"),
        line(9, 10_900, "e=ps,sta=17"),
        line(9, 10_900, "e=t,zz=1"),
        format!("sid=\"cmcd-1\",e=t,sn=9,v=2,cid=\"{}\"", "x".repeat(1 << 20)),
        "e=ps,sta=p,sn=9,ts=1790000000000,v=2".to_owned(), // of no session
    ];
    let second = [
        line(3, 20_800, "e=ps,sta=r"),
        line(4, 23_800, "e=ps,sta=p"),
        line(6, 40_800, "e=ps,sta=k"), // sn 5 is lost
        line(7, 40_900, "e=ps,sta=r"), // as hls.js has it: no stall
        line(8, 42_800, "e=ps,sta=p"),
        line(9, 52_800, "e=ps,sta=e"),
    ];
    let path = "/v1/cmcd?player=hls.js&title_id=t-1&country=DE";
    let post = |lines: &[String]| {
        let (status, answer) = up.post_text(path, "application/cmcd", lines.join("\r\n"));
        assert_eq!(status, 200, "{answer}");
        (answer["accepted"].as_u64(), answer["dead_letters"].as_u64())
    };
    assert_eq!(post(&second), (Some(6), Some(0)));
    assert_eq!(post(&first), (Some(3), Some(5)));
    assert_eq!(post(&second), (Some(6), Some(0)));
    // Time goes on in every partition: what is lost is given up.
    let later: Vec<String> =
        (0..60).map(|n| format!("e=t,sid=\"later-{n}\",sn=0,ts={},v=2", start_ms + 590_000)).collect();
    assert_eq!(post(&later), (Some(60), Some(0)));
    for body in ["", "\n\n", "nothing of this is CMCD \u{1}", "{\"json\": true}"] {
        let (status, answer) = up.post_text(path, "application/cmcd", body.to_owned());
        assert_eq!(status, 400, "{answer}");
        assert!(answer["error"]["problem"].as_str().is_some_and(|problem| problem.len() > 10), "{answer}");
    }
    let (status, answer) = up.post_text("/v1/cmcd?colour=red", "application/cmcd", line(0, 0, "e=t"));
    assert_eq!((status, answer["error"]["field"].as_str()), (400, Some("query.colour")), "{answer}");
    assert!(up.drained("playback"));
    up.stop();

    let sessions = child::sql(&home, "SELECT * FROM sessions WHERE session_id NOT LIKE 'later%'");
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    let session = &sessions[0];
    let expected = serde_json::json!({
        "session_id": "cmcd-1", "player_instance": "cmcd", "player": "hls.js", "title_id": "t-1", "country": "DE",
        "protocol": "hls", "stream_type": "vod", "outcome": "played", "end_reason": "ended", "startup_ms": 800,
        "rebuffer_count": 1, "rebuffer_ms": 3000, "seek_count": 1, "seek_waiting_ms": 2000, "playing_ms": 47_000,
        "lost_events": 1, "duplicates": 6, "event_count": 9, "avg_bitrate_kbps": 2400.0,
    });
    for (column, value) in expected.as_object().expect("an object") {
        assert_eq!(&session[column], value, "{column}");
    }
    let reasons = child::sql(&home, "SELECT reason, count(*) AS n FROM dead_letters GROUP BY 1 ORDER BY 1");
    let reasons: Vec<(&str, u64)> = reasons
        .iter()
        .map(|row| (row["reason"].as_str().expect("text"), row["n"].as_u64().expect("a count")))
        .collect();
    let expected = [
        ("cmcd_key", 1),
        ("cmcd_line_too_long", 1),
        ("cmcd_missing_key", 1),
        ("cmcd_syntax", 1),
        ("cmcd_unknown_key", 1),
    ];
    assert_eq!(reasons, expected);
    assert_eq!(child::number(&home, "SELECT count(*) FROM dead_letters WHERE detail LIKE '%zz%'"), 1);
}

#[test]
fn a_cdn_log_is_imported_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    let log = folder.path().join("access.log");
    let request = |second: u32, cmcd: &str| {
        let cmcd = cmcd.replace('"', "%22").replace(',', "%2C").replace('=', "%3D");
        format!(
            "192.0.2.1 - - [21/Nov/2026:10:00:{second:02} +0000] \"GET /seg.m4s?a=1&CMCD={cmcd} HTTP/1.1\" 200 1 \"-\" \"-\""
        )
    };
    let lines = [
        request(0, r#"br=800,ot=v,sf=d,sid="cdn-1",su"#),
        request(2, r#"br=800,ot=v,sf=d,sid="cdn-1""#),
        request(6, r#"bs,br=800,ot=v,sf=d,sid="cdn-1""#),
        request(12, r#"br=2400,ot=v,sf=d,sid="cdn-1""#),
        request(4, r#"br=800,ot=v,sid="cdn-2""#),
        "192.0.2.1 - - [21/Nov/2026:10:00:00 +0000] \"GET /index.html HTTP/1.1\" 200 1".to_owned(),
        request(5, "br=fast"),
    ];
    fs::write(&log, lines.join("\n")).expect("a file");
    let log = log.to_str().expect("text");
    let import = || -> serde_json::Value {
        serde_json::from_str(&child::stdout(&home, &["import", "cdn-log", log, "--json"])).expect("one JSON document")
    };
    let report = import();
    let counts =
        ["lines", "lines_without_cmcd", "sessions", "events", "refused_lines"].map(|name| report[name].as_u64());
    assert_eq!(counts, [7, 1, 2, 5, 1].map(Some), "{report}");
    let sql = "SELECT * FROM sessions WHERE session_id = 'cdn-1'";
    let before = child::sql(&home, sql);
    let session = &before[0];
    assert_eq!((session["rebuffer_count"].as_u64(), session["rebuffer_ms"].as_u64()), (Some(1), Some(0)), "{session}");
    assert_eq!((session["startup_ms"].as_u64(), session["playing_ms"].as_u64()), (Some(2000), Some(10_000)));
    assert_eq!((session["protocol"].as_str(), session["bitrate_media_ms"].as_u64()), (Some("dash"), Some(10_000)));
    assert_eq!(import()["duplicate"], true);
    assert_eq!(child::sql(&home, sql), before);
    assert_eq!(child::number(&home, "SELECT count(*) FROM sessions"), 2);

    let nothing = folder.path().join("nothing.log");
    fs::write(&nothing, "GET /index.html\n").expect("a file");
    check(&run(&home, &["import", "cdn-log", nothing.to_str().expect("text")]), 3, &["nothing.log"]);
    check(&run(&home, &["import", "cdn-log", "missing.log"]), 3, &["missing.log"]);
}
