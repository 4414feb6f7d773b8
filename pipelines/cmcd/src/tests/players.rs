//! What hls.js 1.7.4, dash.js 5.2.1 and Shaka 5.2.12 really sent (`players/`, recorded in Chromium, in the order of
//! arrival), and what the fold makes of it. Each test is a row of the table of quirks in docs/cmcd.md; what the page itself
//! saw (media element events, which the players' own state follows) is next to it.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use marquee_events::EventView;
use marquee_qoe::{NoMinutes, SessionFold, State};

use super::{RECEIVED_MS, told};
use crate::{RecordContext, Report, decode_record, split_body};

/// The events of a body by sequence, each once; every line must be good.
fn events(body: &str) -> Vec<EventView<'static>> {
    let split = split_body(body.as_bytes(), &RecordContext::default()).expect("a body");
    assert_eq!((split.dead, split.sessions.len()), (0, 1));
    let decoded = decode_record(&split.sessions[0].payload, RECEIVED_MS).expect("a record");
    let events = decoded.parts.into_iter().flat_map(|part| part.batch.events);
    events.map(|event| (event.sequence, event)).collect::<BTreeMap<_, _>>().into_values().collect()
}

fn fold(body: &str) -> SessionFold {
    let mut fold = SessionFold::default();
    for event in events(body) {
        let payload = event.payload.as_ref().expect("a payload");
        fold.apply(event.event_time_ms, event.media_time_ms, payload, &mut NoMinutes);
    }
    fold
}

/// The session that a recording makes once it is closed.
fn check(body: &str, expected: &Expect) {
    let fold = fold(body);
    let startup = fold.startup_ms.map_or("unknown".to_owned(), |ms| format!("{ms} ms"));
    let error = fold.error.as_ref().map_or("none".to_owned(), |e| format!("{:?} fatal {}", e.code, e.fatal));
    let ms = |state| fold.duration_ms(state);
    expected.assert_eq(&format!(
        "{:?}, startup {startup}, playing {} ms, {} stalls of {} ms, {} seeks of {} ms, paused {} ms, background {} ms, \
         error {error}, ended {}",
        fold.outcome(true),
        ms(State::Playing),
        fold.rebuffer_count,
        ms(State::Rebuffering),
        fold.seek_count,
        ms(State::SeekWaiting),
        ms(State::Paused),
        fold.background_total_ms(),
        fold.has_ended(),
    ));
}

/// The page saw a seek of 2102 ms and no stall; the startup took 896 ms.
#[test]
fn hls_js_reports_rebuffering_while_it_seeks() {
    check(
        include_str!("players/hls.js-seek_held.txt"),
        &expect![
            "Played, startup 760 ms, playing 3049 ms, 0 stalls of 0 ms, 1 seeks of 2094 ms, paused 0 ms, background 0 ms, error none, ended false"
        ],
    );
}

/// The page saw stalls of 1523 and 2704 ms.
#[test]
fn hls_js_stalls() {
    check(
        include_str!("players/hls.js-two_stalls.txt"),
        &expect![
            "Played, startup 819 ms, playing 7903 ms, 2 stalls of 4222 ms, 0 seeks of 0 ms, paused 0 ms, background 0 ms, error none, ended false"
        ],
    );
}

#[test]
fn hls_js_to_the_end() {
    check(
        include_str!("players/hls.js-to_the_end.txt"),
        &expect![
            "Played, startup 460 ms, playing 6016 ms, 0 stalls of 0 ms, 0 seeks of 0 ms, paused 0 ms, background 0 ms, error none, ended true"
        ],
    );
}

/// Responses are numbered when they have come and carry the time of their request.
#[test]
fn response_reports_do_not_turn_the_clock_back() {
    for body in [
        include_str!("players/hls.js-responses.txt"),
        include_str!("players/dash.js-responses.txt"),
        include_str!("players/shaka_release-repeated.txt"),
    ] {
        let events = events(body);
        let steps = events.windows(2).map(|pair| pair[1].event_time_ms - pair[0].event_time_ms);
        assert!(steps.min() >= Some(-20), "{:#?}", events.iter().map(told).collect::<Vec<_>>());
        let raw = body.lines().map(|line| Report::parse(line.as_bytes()).expect(line).time_ms);
        assert!(!raw.is_sorted(), "as sent, they step back");
    }
}

/// The page saw a seek of 2063 ms and no stall.
#[test]
fn dash_js_waits_before_it_plays_and_after_a_seek() {
    check(
        include_str!("players/dash.js-seek_held.txt"),
        &expect![
            "Played, startup 1231 ms, playing 3058 ms, 0 stalls of 0 ms, 1 seeks of 2046 ms, paused 0 ms, background 0 ms, error none, ended false"
        ],
    );
}

/// The page saw stalls of 1530 and 2635 ms.
#[test]
fn dash_js_stalls() {
    check(
        include_str!("players/dash.js-two_stalls.txt"),
        &expect![
            "Played, startup 918 ms, playing 10911 ms, 2 stalls of 4173 ms, 0 seeks of 0 ms, paused 0 ms, background 0 ms, error none, ended false"
        ],
    );
}

/// Its codes are numbers, and stay in every later report.
#[test]
fn dash_js_error_codes_are_numbers() {
    let body = include_str!("players/dash.js-missing_segment.txt");
    check(
        body,
        &expect![[
            r#"Played, startup 564 ms, playing 6036 ms, 1 stalls of 3402 ms, 0 seeks of 0 ms, paused 0 ms, background 0 ms, error "27" fatal false, ended false"#
        ]],
    );
    let told: Vec<_> = events(body).iter().map(told).collect();
    expect![[r#"
        4 @1795281675618: Error { code: "27", fatal: false, business: false }
        5 @1795281678535: rebuffering "" 60000 bit/s, buffer 0 ms
        6 @1795281681937: heartbeat 0 of 0 bit/s, buffer 0 ms, 0 dropped"#]]
    .assert_eq(&told[4..].join("\n"));
}

/// It sends no `bc`: the bitrates of its states and intervals have to do.
#[test]
fn dash_js_bitrates_ride_along() {
    let fold = fold(include_str!("players/dash.js-to_the_end.txt"));
    assert_eq!(fold.avg_bitrate_kbps(), Some(60.0));
}

/// Just before the end it pauses.
#[test]
fn dash_js_to_the_end() {
    check(
        include_str!("players/dash.js-to_the_end.txt"),
        &expect![
            "Played, startup 658 ms, playing 6016 ms, 0 stalls of 0 ms, 0 seeks of 0 ms, paused 4 ms, background 0 ms, error none, ended true"
        ],
    );
}

/// It begins with `r`, never with `s`. The page saw a seek of 2238 ms and no stall.
#[test]
fn shaka_never_says_that_it_starts() {
    check(
        include_str!("players/shaka-seek_held.txt"),
        &expect![
            "Played, startup unknown, playing 3015 ms, 0 stalls of 0 ms, 1 seeks of 2230 ms, paused 0 ms, background 0 ms, error none, ended false"
        ],
    );
}

/// The page saw stalls of 2166 and 3114 ms.
#[test]
fn shaka_stalls() {
    check(
        include_str!("players/shaka-two_stalls.txt"),
        &expect![
            "Played, startup unknown, playing 9911 ms, 2 stalls of 5297 ms, 0 seeks of 0 ms, paused 0 ms, background 0 ms, error none, ended false"
        ],
    );
}

/// The page was hidden for 3029 ms. Shaka is the only one of the three that says so.
#[test]
fn shaka_says_when_it_is_in_the_background() {
    check(
        include_str!("players/shaka-hidden.txt"),
        &expect![
            "Played, startup unknown, playing 3028 ms, 0 stalls of 0 ms, 0 seeks of 0 ms, paused 0 ms, background 3029 ms, error none, ended false"
        ],
    );
}

/// It ends twice, with a pause between.
#[test]
fn shaka_to_the_end() {
    check(
        include_str!("players/shaka-to_the_end.txt"),
        &expect![
            "Played, startup unknown, playing 6048 ms, 0 stalls of 0 ms, 1 seeks of 0 ms, paused 0 ms, background 0 ms, error none, ended true"
        ],
    );
}

/// An error has no code.
#[test]
fn shaka_errors_have_no_code() {
    check(
        include_str!("players/shaka-missing_segment.txt"),
        &expect![[
            r#"PlaybackFailure, startup unknown, playing 2145 ms, 0 stalls of 0 ms, 0 seeks of 0 ms, paused 0 ms, background 0 ms, error "" fatal true, ended true"#
        ]],
    );
}

/// In the minified build the compiler has renamed `sta`, so that no state is ever sent: nothing is made up for it.
#[test]
fn shaka_release_builds_send_no_states() {
    check(
        include_str!("players/shaka_release-missing_segment.txt"),
        &expect![[
            r#"Unknown, startup unknown, playing 0 ms, 0 stalls of 0 ms, 0 seeks of 0 ms, paused 0 ms, background 0 ms, error "" fatal false, ended false"#
        ]],
    );
}

/// What was answered with 202 comes again, in any order.
#[test]
fn shaka_repeats_what_is_answered_with_202() {
    let body = include_str!("players/shaka_release-repeated.txt");
    assert_eq!(body.lines().count(), 10);
    let told: Vec<_> = events(body).iter().map(told).collect();
    expect![[r#"
        0 @1795281031135: heartbeat 0 of 0 bit/s, buffer 0 ms, 0 dropped
        1 @1795281031635: Rendition { representation_id: "cmcd:332000", bitrate_bps: 332000, width: 0, height: 0, codec: "", cdn: "" }
        2 @1795281031749: heartbeat 332000 of 0 bit/s, buffer 0 ms, 0 dropped
        3 @1795281031753: heartbeat 332000 of 0 bit/s, buffer 0 ms, 0 dropped
        4 @1795281031757: heartbeat 332000 of 0 bit/s, buffer 0 ms, 0 dropped
        6 @1795281031919: heartbeat 332000 of 0 bit/s, buffer 0 ms, 0 dropped"#]].assert_eq(&told.join("\n"));
}
