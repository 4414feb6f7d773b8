//! The worked example of the fold, and the ways in which rows can come: permuted, twice, with another id, with holes,
//! with nonsense.

use std::sync::Arc;

use arroyo_udf_plugin::arrow::array::{Array as _, ArrayRef, Int64Array};
use marquee_events::{PayloadKind, PayloadView as P, PlayerState};
use serde_json::{Value, json};

use crate::call::{Sent, answer, arguments, position, session_row, words};
use crate::fold;

const START_MS: i64 = 1_709_164_799_000; // 2024-02-28T23:59:59Z, the day before a leap day

/// Events at seconds after the start, in sequence.
fn events(events: Vec<(i64, P<'static>)>) -> Vec<Sent> {
    let sent = |(sequence, (at_s, payload)): (usize, (i64, P<'static>))| Sent {
        sequence: sequence as u64,
        event_id: format!("event-{sequence}"),
        time_ms: START_MS + at_s * 1000,
        media_time_ms: None,
        payload,
    };
    events.into_iter().enumerate().map(sent).collect()
}

fn rendition(id: &'static str, bitrate_bps: u64, height: u32) -> P<'static> {
    let (width, codec, cdn) = (height * 16 / 9, "".into(), "".into());
    P::Rendition { representation_id: id.into(), bitrate_bps, width, height, codec, cdn }
}

/// Startup 2 s, play 60 s, stall 5 s, seek wait 3 s, pause 10 s; the last minute of play is in three parts.
fn example() -> Vec<Sent> {
    events(vec![
        (0, P::PlayRequested { autoplay: false }),
        (1, rendition("low", 1_000_000, 360)),
        (2, P::FirstFrame),
        (22, P::RebufferStart),
        (27, P::RebufferEnd),
        (47, P::SeekStart),
        (50, P::SeekEnd),
        (55, P::Pause),
        (65, P::Resume),
        (65, rendition("high", 3_000_000, 720)),
        (80, P::SessionEnd { reason: "ended".into() }),
    ])
}

/// The row of the worked example.
pub fn row() -> Value {
    session_row(&example())
}

#[track_caller]
fn check(row: &Value, expect: &Value) {
    for (name, value) in expect.as_object().expect("columns") {
        assert_eq!(&row[name], value, "{name} of {row}");
    }
}

#[test]
fn the_worked_example() {
    let expect = json!({
        "start_date": "2024-02-28", "started_at": "2024-02-28T23:59:59.000Z", "ended_at": "2024-02-29T00:01:19.000Z",
        "startup_ms": 2_000, "playing_ms": 60_000, "rebuffer_ms": 5_000, "seek_waiting_ms": 3_000, "paused_ms": 10_000,
        "rebuffer_count": 1, "seek_count": 1, "pause_count": 1, "rendition_switch_count": 1, "media_ms": 60_000,
        "avg_bitrate_kbps": 1_500.0, "outcome": "played", "close_reason": "ended", "end_reason": "ended",
        "event_count": 11, "lost_events": 0, "duplicates": 0, "conflicts": 0, "refused_events": 0,
    });
    check(&row(), &expect);
    assert_eq!(fold::without_calendar(row()), fold::row(&example()));
}

/// Any order and any repetition gives the same row, but for the count of repetitions.
#[test]
fn permuted_and_duplicated() {
    let once = example();
    let count = once.len();
    for step in 1..count {
        // 11 is prime, so every step visits all.
        let mut rows: Vec<Sent> = (0..count).map(|n| once[n * step % count].clone()).collect();
        rows.extend(rows.clone().into_iter().step_by(2));
        rows.rotate_left(step);
        let mut expect = row();
        expect["duplicates"] = json!(6);
        assert_eq!(session_row(&rows), expect, "step {step}");
    }
}

/// Of two ids for one sequence the least counts, whichever comes first; ids that differ in their last byte only, too.
#[test]
fn the_least_event_id_wins() {
    let id = |last: char| format!("00000000-0000-4000-8000-0000000000000{last}");
    let mut rows = example();
    let end = rows.last_mut().expect("an end");
    end.event_id = id('1');
    let other = Sent { event_id: id('2'), time_ms: end.time_ms + 9_000, payload: P::Pause, ..end.clone() };
    rows.push(other);
    for _ in 0..2 {
        check(&session_row(&rows), &json!({ "conflicts": 1, "duplicates": 0, "end_reason": "ended" }));
        assert_eq!(fold::without_calendar(session_row(&rows)), fold::row(&rows));
        rows.reverse();
    }
}

#[test]
fn holes_are_lost_events_and_what_the_player_does_not_count_leaves_none() {
    let mut rows = example();
    rows.remove(3);
    rows.remove(6);
    let mut late = rows[0].clone();
    (late.sequence, late.payload) = (1 << 32, P::Foreground);
    rows.push(late);
    check(&session_row(&rows), &json!({ "lost_events": 2, "event_count": 10 }));
}

/// Every kind of event gets through with all that the fold reads of it.
#[test]
fn every_kind_of_event_folds_as_without_arroyo() {
    let player_state = |state, code: &'static str| P::PlayerState {
        state: Some(state),
        code: code.into(),
        bitrate_bps: 2_500_000,
        buffer_ms: 7,
    };
    let heartbeat = P::Heartbeat { buffer_ms: 1, throughput_bps: 2, dropped_frames: 3, bitrate_bps: 1_200_000 };
    let error = |code: &'static str, fatal| P::Error { code: code.into(), fatal, business: true };
    let mut rows = events(vec![
        (0, P::Viewport { width: 1920, height: 1080 }),
        (0, P::PlayRequested { autoplay: true }),
        (1, P::AdBreakStart),
        (2, P::AdStart { ad_id: "spot".into() }),
        (3, P::RebufferStart),
        (4, P::RebufferEnd),
        (10, P::AdEnd),
        (11, P::AdBreakEnd),
        (12, rendition("a", 800_000, 540)),
        (13, P::FirstFrame),
        (20, P::PlaybackRate { rate_per_mille: 2000 }),
        (30, heartbeat.clone()),
        (40, heartbeat),
        (41, player_state(PlayerState::Rebuffering, "")),
        (44, player_state(PlayerState::Playing, "")),
        (50, P::Background),
        (51, P::RebufferStart),
        (53, P::RebufferEnd),
        (60, P::Foreground),
        (61, P::Pause),
        (66, P::Resume),
        (70, error("soft", false)),
        (71, P::SeekStart),
        (73, P::SeekEnd),
        (80, error("decoder gave up: 40 bytes of a long code", true)),
        (90, P::SessionEnd { reason: "after the end".into() }),
    ]);
    let kinds = rows.iter().map(|event| event.payload.kind()).collect::<std::collections::HashSet<_>>();
    assert_eq!(kinds.len(), PayloadKind::ALL.len(), "a kind is missing here");
    for (event, media_time_ms) in rows.iter_mut().zip((0..).step_by(2_500)) {
        event.media_time_ms = (event.sequence % 3 != 0).then_some(media_time_ms);
    }
    let row = session_row(&rows);
    let expect = json!({
        "autoplay": true, "ad_count": 1, "dropped_frames": 6, "error_count": 1, "background_rebuffer_count": 1,
        "error_code": "decoder gave up: 40 bytes of a long code", "error_fatal": true, "error_business": true,
        "outcome": "playback_failure",
    });
    check(&row, &expect);
    assert!(row["max_upscale_per_mille"].as_i64() > Some(0), "{row}");
    assert_eq!(fold::without_calendar(row), fold::row(&rows));
    for state in PlayerState::ALL {
        let mut rows = example();
        rows[4].payload = player_state(state, "E7");
        assert_eq!(fold::without_calendar(session_row(&rows)), fold::row(&rows), "{state:?}");
    }
}

/// A column of the example with one value put in.
fn with(name: &str, row: usize, value: Option<i64>) -> Value {
    let mut columns = arguments(&example());
    let column = columns[position(name)].clone();
    let column = column.as_any().downcast_ref::<Int64Array>().expect("numbers");
    let values = column.iter().enumerate().map(|(at, before)| if at == row { value } else { before });
    columns[position(name)] = Arc::new(values.collect::<Int64Array>());
    answer(&columns)
}

/// What `text_word` makes of a text of more than 40 bytes: 32 of them, and a hash in the last word.
#[test]
fn a_long_text_shows_its_beginning_and_its_hash() {
    let mut rows = example();
    let end = rows.len() - 1;
    rows[end].payload = P::SessionEnd { reason: "closed by the operator, who says".into() };
    let mut columns = arguments(&rows);
    let last_words = (0..rows.len()).map(|row| (row == end).then_some(0xff00_1234_5678_9abc_u64.cast_signed()));
    columns[position("detail_4")] = Arc::new(last_words.collect::<Int64Array>());
    check(&answer(&columns), &json!({ "end_reason": "closed by the operator, who says…00123456789abc" }));
}

/// As in the playback job, where such events are dead letters.
#[test]
fn an_event_that_breaks_a_rule_is_left_out_and_counted() {
    for (name, row, value, reason) in [
        ("type_0", 5, None, "unknown_payload"),
        ("type_0", 5, Some(words("no_such_")[0]), "unknown_payload"),
        ("sequence", 5, None, "sequence_out_of_range"),
        ("sequence", 5, Some(-1), "sequence_out_of_range"),
        ("event_time_ms", 5, None, "bad_time"),
        ("event_time_ms", 5, Some(0), "bad_time"),
        ("event_time_ms", 5, Some(i64::MAX), "bad_time"),
        ("media_time_ms", 5, Some(i64::MIN), "media_time_out_of_range"),
        ("bitrate_bps", 1, Some(-1), "bitrate_out_of_range"),
        ("height_px", 1, Some(1 << 16), "picture_out_of_range"),
    ] {
        let found = with(name, row, value);
        check(&found, &json!({ "refused_events": 1, "refused_reason": reason, "event_count": 10 }));
    }
}

#[test]
fn what_cannot_be_a_row_is_an_error_and_never_a_panic() {
    let mut columns = arguments(&example());
    columns[position("detail_2")] = columns[position("detail_2")].slice(0, 9);
    assert_eq!(answer(&columns), json!({ "error": "a column has 9 rows and `sequence` has 11" }));

    let none: Vec<ArrayRef> = columns.iter().map(|column| column.slice(0, 0)).collect();
    assert_eq!(answer(&none), json!({ "error": "none of 0 events can be folded: there are none" }));

    let nulls: Vec<ArrayRef> = columns.iter().map(|_| Arc::new(Int64Array::new_null(3)) as ArrayRef).collect();
    assert_eq!(answer(&nulls), json!({ "error": "none of 3 events can be folded: unknown_payload" }));

    // Numbers at their ends: whatever the row says, there is one.
    for edge in [i64::MIN, -1, 0, 1, i64::MAX] {
        for name in ["bitrate_bps", "width_px", "media_time_ms", "dropped_frames", "event_time_ms", "detail_4", "fatal"]
        {
            for row in 0..example().len() {
                assert!(with(name, row, Some(edge)).is_object(), "{name}[{row}] = {edge}");
            }
        }
    }
}
