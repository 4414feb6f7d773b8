//! Lines in, events out: what each kind of report means, what is refused and why, and that no bytes panic. Lines that
//! real players sent are in `tests/players.rs`.

mod bodies;
mod players;
mod properties;
mod refused;

use expect_test::{Expect, expect};
use marquee_events::{EventView, PayloadView};

use crate::{Arrival, RecordContext, Report};

const RECEIVED_MS: i64 = 1_700_000_000_000;

fn told(event: &EventView<'_>) -> String {
    let media = event.media_time_ms.map(|ms| format!(" at {ms}")).unwrap_or_default();
    let payload = event.payload.as_ref().map(|payload| match payload {
        PayloadView::PlayerState { state, code, bitrate_bps, buffer_ms } => {
            let state = state.map_or("?", |state| state.name());
            format!("{state} {code:?} {bitrate_bps} bit/s, buffer {buffer_ms} ms")
        }
        PayloadView::Heartbeat { buffer_ms, throughput_bps, dropped_frames, bitrate_bps } => {
            format!(
                "heartbeat {bitrate_bps} of {throughput_bps} bit/s, buffer {buffer_ms} ms, {dropped_frames} dropped"
            )
        }
        other => format!("{other:?}"),
    });
    format!("{} @{}{media}: {}", event.sequence, event.event_time_ms, payload.unwrap_or_default())
}

/// What a line means when it is the third of those received at [`RECEIVED_MS`].
fn check(line: &str, expected: &Expect) {
    let report = Report::parse(line.as_bytes()).unwrap_or_else(|problem| panic!("{line}: {problem}"));
    expected.assert_eq(&told(&report.event(Arrival { received_at_ms: RECEIVED_MS, index: 2 })));
}

fn check_state(token: &str, state: &str) {
    let line = format!("e=ps,sta={token},sid=\"s\",sn=1,ts=5,v=2");
    let report = Report::parse(line.as_bytes()).expect(&line);
    let Some(PayloadView::PlayerState { state: Some(found), .. }) =
        report.event(Arrival { received_at_ms: 0, index: 0 }).payload
    else {
        panic!("{line} is no state")
    };
    assert_eq!(found.name(), state, "{token}");
}

#[test]
fn states_of_the_player() {
    for (token, state) in [
        ("d", "preloading"),
        ("s", "starting"),
        ("p", "playing"),
        ("k", "seeking"),
        ("r", "rebuffering"),
        ("w", "rebuffering"),
        ("a", "paused"),
        ("e", "ended"),
        ("f", "failed"),
        ("q", "quit"),
    ] {
        check_state(token, state);
    }
    check(
        r#"bl=(12000;v 9500;a),br=(5000;v 128;a),e=ps,pt=61000,sid="s",sn=3,sta=p,ts=1700000000123,v=2"#,
        &expect![[r#"3 @1700000000123 at 61000: playing "" 5000000 bit/s, buffer 9500 ms"#]],
    );
    check(
        r#"e=ps,ec=("bufferAppendError" "other"),sid="s",sn=3,sta=f,ts=1700000000123,v=2"#,
        &expect![[r#"3 @1700000000123: failed "bufferAppendError" 0 bit/s, buffer 0 ms"#]],
    );
    // A code that is still in the player's memory is none of this state's.
    check(r#"e=ps,ec=("old"),sid="s",sn=3,sta=p,ts=1,v=2"#, &expect![[r#"3 @1: playing "" 0 bit/s, buffer 0 ms"#]]);
}

#[test]
fn errors() {
    check(
        r#"e=e,ec=("manifestParsingError"),sid="s",sn=4,sta=p,ts=5,v=2"#,
        &expect![[r#"4 @5: Error { code: "manifestParsingError", fatal: false, business: false }"#]],
    );
    check(
        r#"e=e,ec=("fragLoadError"),sid="s",sn=4,sta=f,ts=5,v=2"#,
        &expect![[r#"4 @5: failed "fragLoadError" 0 bit/s, buffer 0 ms"#]],
    );
    check(r#"e=e,sid="s",sn=4,ts=5,v=2"#, &expect![[r#"4 @5: Error { code: "", fatal: false, business: false }"#]]);
}

#[test]
fn heartbeats_are_what_changes_no_state() {
    for event in ["t", "c", "m", "um", "pe", "pc", "sk", "rr", "ce", "h"] {
        let line = format!("bl=(700),br=(800),e={event},mtp=(12300;v 900;a),sid=\"s\",sn=4,ts=5,v=2");
        let report = Report::parse(line.as_bytes()).expect(&line);
        let event = report.event(Arrival { received_at_ms: 0, index: 0 });
        assert_eq!(told(&event), "4 @5: heartbeat 800000 of 12300000 bit/s, buffer 700 ms, 0 dropped");
    }
    // What is on the screen goes before what is selected.
    check(
        r#"br=(5000;av),dfa=12,e=t,pb=(3000;av),sid="s",sn=4,ts=5,v=2"#,
        &expect!["4 @5: heartbeat 3000000 of 0 bit/s, buffer 0 ms, 0 dropped"],
    );
}

#[test]
fn responses_are_reported_when_they_have_come() {
    let line = |keys: &str| format!("e=rr,rc=200,sid=\"s\",sn=4,ts=1000{keys},url=\"https://a/b\",v=2");
    let heartbeat = |at_ms: i64| format!("4 @{at_ms}: heartbeat 0 of 0 bit/s, buffer 0 ms, 0 dropped");
    for (keys, at_ms) in [(",ttfb=120,ttlb=138", 1138), (",ttlb=138.4", 1138), (",ttfb=120", 1000), ("", 1000)] {
        let report = Report::parse(line(keys).as_bytes()).expect(keys);
        assert_eq!(told(&report.event(Arrival { received_at_ms: 0, index: 0 })), heartbeat(at_ms));
    }
    check(&line(",ttlb=600001"), &expect!["4 @1000: heartbeat 0 of 0 bit/s, buffer 0 ms, 0 dropped"]);
}

#[test]
fn bitrates() {
    check(
        r#"br=(2400;v 128;a),cdn="cdn-a",e=bc,pb=(800;v),sid="s",sn=4,ts=5,v=2"#,
        &expect![[
            r#"4 @5: Rendition { representation_id: "cmcd:2400000", bitrate_bps: 2400000, width: 0, height: 0, codec: "", cdn: "cdn-a" }"#
        ]],
    );
    for (list, bitrate) in [
        ("(2400;v)", 2_400_000),
        ("(128;a 2400;v)", 2_400_000),
        ("(128;a 2528;av 2400;v)", 2_528_000),
        ("(128;a 2600)", 2_600_000),
        ("(128;a)", 128_000),
        ("(2400;ot=v 128;ot=a)", 2_400_000),
        ("(1234.5)", 1_235_000),
        ("2400", 2_400_000),
        ("2400;v", 2_400_000),
        ("()", 0),
    ] {
        let line = format!("br={list},e=t,sid=\"s\",sn=4,ts=5,v=2");
        let report = Report::parse(line.as_bytes()).expect(&line);
        let Some(PayloadView::Heartbeat { bitrate_bps, .. }) =
            report.event(Arrival { received_at_ms: 0, index: 0 }).payload
        else {
            panic!("{line} is no heartbeat")
        };
        assert_eq!(bitrate_bps, bitrate, "{list}");
    }
}

#[test]
fn rates_backgrounds_and_ads() {
    let line = |keys: &str| format!("{keys},sid=\"s\",sn=4,ts=5,v=2");
    check(&line("e=pr,pr=1.5"), &expect!["4 @5: PlaybackRate { rate_per_mille: 1500 }"]);
    check(&line("e=pr,pr=2"), &expect!["4 @5: PlaybackRate { rate_per_mille: 2000 }"]);
    check(&line("e=pr,pr=-1.25"), &expect!["4 @5: PlaybackRate { rate_per_mille: 1250 }"]);
    check(&line("e=pr,pr=0"), &expect!["4 @5: PlaybackRate { rate_per_mille: 0 }"]);
    check(&line("e=pr"), &expect!["4 @5: PlaybackRate { rate_per_mille: 1000 }"]);
    check(&line("bg,e=b"), &expect!["4 @5: Background"]);
    check(&line("bg=?1,e=b"), &expect!["4 @5: Background"]);
    check(&line("bg=?0,e=b"), &expect!["4 @5: Foreground"]);
    check(&line("e=b"), &expect!["4 @5: Foreground"]);
    check(&line("e=abs"), &expect!["4 @5: AdBreakStart"]);
    check(&line("e=as"), &expect![[r#"4 @5: AdStart { ad_id: "" }"#]]);
    check(&line("e=ae"), &expect!["4 @5: AdEnd"]);
    check(&line("e=abe"), &expect!["4 @5: AdBreakEnd"]);
}

#[test]
fn version_1_has_neither_times_nor_numbers() {
    check(
        r#"bl=21300,br=3200,bs,d=4004,dl=18500,mtp=48100,ot=v,rtp=15000,sid="s",su,tb=6000"#,
        &expect![[r#"6963200000000002 @1700000000000: stalled "" 3200000 bit/s, buffer 21300 ms"#]],
    );
    check(
        r#"br=3200,ot=v,sid="s",su"#,
        &expect![[r#"6963200000000002 @1700000000000: starting "" 3200000 bit/s, buffer 0 ms"#]],
    );
    check(
        r#"br=3200,nor="..%2F300kbps%2Ftrack.m4v",nrr="12323-48763",ot=v,sid="s",v=1"#,
        &expect![[r#"6963200000000002 @1700000000000: playing "" 3200000 bit/s, buffer 0 ms"#]],
    );
    check(
        r#"bl=700,br=128,ot=a,sid="s""#,
        &expect![[r#"6963200000000002 @1700000000000: playing "" 0 bit/s, buffer 700 ms"#]],
    );
    check(
        r#"mtp=500,ot=m,sid="s""#,
        &expect!["6963200000000002 @1700000000000: heartbeat 0 of 500000 bit/s, buffer 0 ms, 0 dropped"],
    );
    check(r#"sid="s""#, &expect!["6963200000000002 @1700000000000: heartbeat 0 of 0 bit/s, buffer 0 ms, 0 dropped"]);
}

#[test]
fn version_1_sequences_grow_and_are_uncounted() {
    let sequence = |received_at_ms, index| Arrival { received_at_ms, index }.sequence();
    assert!(sequence(RECEIVED_MS, 0) >= 1 << 32);
    assert!(sequence(0, 7) >= 1 << 32);
    assert!(sequence(RECEIVED_MS, 4095) < sequence(RECEIVED_MS + 1, 0));
    assert!(sequence(RECEIVED_MS, 3) < sequence(RECEIVED_MS, 4));
    assert!(i64::try_from(sequence(RECEIVED_MS, 4095)).is_ok());
}

#[test]
fn the_context_is_the_lines_and_the_integrators() {
    let context = |line: &str, query: &str| {
        let given = RecordContext::from_query(query).expect("a context");
        let context = Report::parse(line.as_bytes()).expect(line).context(&given);
        let fields = marquee_events::CONTEXT_FIELDS.iter().zip(context.fields());
        fields.filter(|(_, v)| !v.is_empty()).map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(" ")
    };
    let line = r#"cdn="a",cid="title-1",e=t,sf=h,sid="s",sn=1,st=ll,ts=5,v=2"#;
    assert_eq!(
        context(line, ""),
        "session_id=s player_instance=cmcd title_id=title-1 cdn=a protocol=hls asset_id=title-1 \
         stream_type=low_latency_live"
    );
    assert_eq!(
        context(line, "title_id=t7&player=hls.js&player_version=1.7.4&device_type=tv&cdn=b"),
        "session_id=s player_instance=cmcd title_id=t7 device_type=tv player=hls.js player_version=1.7.4 cdn=b \
         protocol=hls asset_id=title-1 stream_type=low_latency_live"
    );
    let formats = [("d", "dash"), ("h", "hls"), ("s", "smooth"), ("e", "other"), ("o", "other")];
    for (token, protocol) in formats {
        let line = format!("sf={token},sid=\"s\"");
        assert_eq!(context(&line, ""), format!("session_id=s player_instance=cmcd protocol={protocol}"));
    }
    for (token, stream_type) in [("v", "vod"), ("l", "live"), ("ll", "low_latency_live")] {
        let line = format!("sid=\"s\",st={token}");
        assert_eq!(context(&line, ""), format!("session_id=s player_instance=cmcd stream_type={stream_type}"));
    }
}

#[test]
fn texts_beyond_ascii_are_read_as_they_were_meant() {
    let line = r#"cid="Amélie 100% \"fr\" 映画",e=t,sid="s",sn=1,ts=5,v=2"#;
    let report = Report::parse(line.as_bytes()).expect("is read");
    assert_eq!(report.content_id, "Amélie 100% \"fr\" 映画");
    // Without such letters a percent sign is a percent sign.
    let report = Report::parse(br#"cid="100%25",e=t,sid="s",sn=1,ts=5,v=2"#).expect("is read");
    assert_eq!(report.content_id, "100%25");
    // 128 characters, not bytes.
    let line = format!("cid=\"{}\",e=t,sid=\"s\",sn=1,ts=5,v=2", "é".repeat(128));
    assert_eq!(Report::parse(line.as_bytes()).expect("is read").content_id.chars().count(), 128);
}

#[test]
fn the_last_of_a_repeated_key_counts() {
    check(r#"e=t,sn=1,sn=2,sid="s",e=b,ts=5,v=2"#, &expect!["2 @5: Foreground"]);
}
