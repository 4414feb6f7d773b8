//! Sessions that can be worked out by hand, and the truth of all others against the fold that the jobs use.

use marquee_events::proto::view_event::Payload;
use marquee_events::proto::{Context, ViewEvent, ViewEventBatch};
use marquee_events::{ContentType, decode};
use marquee_qoe::{NoMinutes, SessionFold, State};
use proptest::prelude::*;
use prost::Message as _;

use super::{Action, Intent, LADDER, MAX_BUFFER_MS, SEGMENT_MS, play};
use crate::audience::bandwidth::BandwidthTrace;
use crate::simulator::random::generator;
use crate::simulator::recorder::Played;
use crate::simulator::{Outcome, SessionCounts};

const EVER: i64 = i64::MAX / 4;

/// A viewer with all the time in the world and a player without whims.
fn patient(play_ms: i64) -> Intent {
    Intent {
        duration_ms: 3_600_000,
        from_ms: 0,
        play_ms,
        actions: Vec::new(),
        segment_spread: 0.0,
        setup_ms: 100,
        startup_patience_ms: EVER,
        stall_patience_ms: EVER,
        start_fails: false,
        says_goodbye: true,
        heartbeat_interval_ms: 10_000,
    }
}

fn played(intent: &Intent, per_second_bps: &[u64]) -> Played {
    play(intent, &mut BandwidthTrace::known(per_second_bps), "edge-a", generator(1, 0, "player"))
}

/// "ms what", one line an event, heartbeats left out.
fn told(played: &Played) -> Vec<String> {
    let name = |payload: &Payload| match payload {
        Payload::PlayRequested(_) => "play".to_owned(),
        Payload::FirstFrame(_) => "first frame".to_owned(),
        Payload::Rendition(rendition) => rendition.representation_id.clone(),
        Payload::RebufferStart(_) => "stall".to_owned(),
        Payload::RebufferEnd(_) => "stall over".to_owned(),
        Payload::SeekStart(_) => "seek".to_owned(),
        Payload::SeekEnd(_) => "seek over".to_owned(),
        Payload::Pause(_) => "pause".to_owned(),
        Payload::Resume(_) => "resume".to_owned(),
        Payload::Error(error) => error.code.clone(),
        Payload::SessionEnd(end) => end.reason.clone(),
        other => format!("{other:?}"),
    };
    played
        .events
        .iter()
        .filter_map(|event| Some((event.at_ms, event.payload.as_ref()?)))
        .filter(|(_, payload)| !matches!(payload, Payload::Heartbeat(_)))
        .map(|(at_ms, payload)| format!("{at_ms} {}", name(payload)))
        .collect()
}

/// 3.2 Mbit/s: a segment of v1 takes 40 + 1,000 ms, one of v2 40 + 2,000 ms; v3 would need 1.5 × 3.2 Mbit/s. The first
/// two segments are v1 (5 s are not buffered before the second has come), so v2 is seen after 8 s of playing.
#[test]
fn a_steady_network_starts_climbs_and_never_stalls() {
    let played = played(&patient(20_000), &[3_200_000]);
    assert_eq!(told(&played), ["0 play", "1140 v1", "1140 first frame", "9140 v2", "21140 user_exit"]);
    let counts = played.counts();
    assert_eq!(counts.startup_ms, Some(1_140));
    assert_eq!((counts.playing_ms, counts.rendition_switch_count, counts.rebuffer_count), (20_000, 1, 0));
}

/// 400 kbit/s: a segment of v1 takes 40 + 8,000 ms. It stalls for 4,040 ms after the first, goes down to v0, which takes
/// 40 + 4,000 ms, and stalls for 40 ms after each.
#[test]
fn a_network_that_is_too_slow_stalls_and_goes_down() {
    let played = played(&patient(14_000), &[400_000]);
    let expected = [
        "0 play",
        "8140 v1",
        "8140 first frame",
        "12140 stall",
        "16180 stall over",
        "20180 stall",
        "20220 stall over",
        "20220 v0",
        "24220 stall",
        "24260 stall over",
        "26260 user_exit",
    ];
    assert_eq!(told(&played), expected);
    let counts = played.counts();
    assert_eq!((counts.rebuffer_ms, counts.rebuffer_count, counts.playing_ms), (4_040 + 40 + 40, 3, 14_000));
}

/// The network falls from 8 to 1 Mbit/s, on which a segment of v3 takes 13 s: the player goes on with v3 as long as the
/// buffer lasts, gives the one under way up when 5 s are left, and takes what 1 Mbit/s carries. So it never stalls.
#[test]
fn the_player_goes_down_at_once_when_the_buffer_is_low() {
    let mut per_second_bps = vec![8_000_000; 20];
    per_second_bps.push(1_000_000);
    let played = played(&patient(80_000), &per_second_bps);
    assert_eq!(played.counts().rebuffer_count, 0, "{:?}", told(&played));
    let shown: Vec<&Payload> = played.events.iter().filter_map(|event| event.payload.as_ref()).collect();
    let rungs: Vec<usize> = shown
        .iter()
        .filter_map(|payload| match payload {
            Payload::Rendition(r) => LADDER.iter().position(|(.., bps)| *bps == r.bitrate_bps),
            _ => None,
        })
        .collect();
    let top = *rungs.iter().max().unwrap();
    let fall = rungs.iter().position(|rung| *rung == top).unwrap();
    assert_eq!(top, 3, "8 Mbit/s carry 1.5 × 3.2 but not 1.5 × 6 Mbit/s: {rungs:?}");
    assert_eq!(rungs[fall + 1], 1, "1 Mbit/s carries 0.8: {rungs:?}");
}

#[test]
fn a_seek_empties_the_buffer_and_a_pause_fills_it() {
    let mut intent = patient(10_000);
    intent.actions = vec![(3_000, Action::Pause(30_000)), (5_000, Action::Seek(600_000))];
    let played = played(&intent, &[3_200_000]);
    // After the pause v2 is buffered; a segment of it takes 2,040 ms after the seek.
    let expected = [
        "0 play",
        "1140 v1",
        "1140 first frame",
        "4140 pause",
        "34140 resume",
        "36140 seek",
        "38180 seek over",
        "38180 v2",
        "43180 user_exit",
    ];
    assert_eq!(told(&played), expected);
    assert_eq!(played.events.last().unwrap().media_time_ms, 5_000 + 600_000 + 5_000);
    let counts = played.counts();
    assert_eq!((counts.paused_ms, counts.seek_waiting_ms, counts.rebuffer_count), (30_000, 2_040, 0));
}

#[test]
fn patience_ends_and_the_network_fails() {
    let mut intent = patient(60_000);
    intent.startup_patience_ms = 5_000;
    let left = played(&intent, &[400_000]);
    assert_eq!(told(&left), ["0 play", "5000 exit_before_start"]);

    intent.startup_patience_ms = EVER;
    intent.stall_patience_ms = 1_500;
    let left = played(&intent, &[400_000]);
    assert_eq!(told(&left), ["0 play", "8140 v1", "8140 first frame", "12140 stall", "13640 user_exit"]);

    let failed = played(&patient(60_000), &[30_000]);
    assert_eq!(told(&failed)[1..4], ["20100 segment_timeout", "40100 segment_timeout", "60100 start_network"]);
    assert_eq!(failed.counts().outcome, Outcome::StartFailure);
    assert_eq!(failed.counts().startup_ms, None);
}

#[test]
fn a_title_ends() {
    let mut intent = patient(EVER);
    (intent.duration_ms, intent.from_ms) = (100_000, 93_000);
    let ended = played(&intent, &[3_200_000]);
    assert_eq!(told(&ended).last().unwrap(), "8140 ended");
    assert_eq!(ended.counts().playing_ms, 7_000);
}

/// What the jobs make of the events on the wire.
fn folded(played: &Played) -> SessionFold {
    let batch = ViewEventBatch {
        context: Some(Context { session_id: "s".to_owned(), ..Context::default() }),
        sent_at_ms: 1,
        location: None,
        events: played
            .events
            .iter()
            .map(|event| ViewEvent {
                event_id: String::new(),
                sequence: event.sequence,
                event_time_ms: 1_700_000_000_000 + event.at_ms,
                media_time_ms: Some(event.media_time_ms),
                payload: event.payload.clone(),
            })
            .collect(),
    };
    let bytes = batch.encode_to_vec();
    let decoded = decode(ContentType::Protobuf, &bytes).unwrap();
    let mut fold = SessionFold::default();
    for event in &decoded.events {
        let payload = event.payload.as_ref().unwrap();
        fold.apply(event.event_time_ms, event.media_time_ms, payload, &mut NoMinutes);
    }
    fold.close(&mut NoMinutes);
    fold
}

fn counts_of(fold: &SessionFold) -> SessionCounts {
    SessionCounts {
        outcome: match fold.outcome(true) {
            marquee_qoe::Outcome::Played => Outcome::Played,
            marquee_qoe::Outcome::StartFailure => Outcome::StartFailure,
            marquee_qoe::Outcome::ExitBeforeStart => Outcome::ExitBeforeStart,
            marquee_qoe::Outcome::PlaybackFailure => Outcome::PlaybackFailure,
            other => panic!("{other:?}"),
        },
        startup_ms: fold.startup_ms,
        startup_state_ms: fold.duration_ms(State::Startup),
        playing_ms: fold.duration_ms(State::Playing),
        rebuffer_ms: fold.duration_ms(State::Rebuffering),
        rebuffer_count: u64::from(fold.rebuffer_count),
        seek_waiting_ms: fold.duration_ms(State::SeekWaiting),
        paused_ms: fold.duration_ms(State::Paused),
        ad_ms: fold.duration_ms(State::Ad),
        background_ms: fold.background_total_ms(),
        rendition_switch_count: u64::from(fold.rendition_switch_count),
    }
}

fn any_intent() -> impl Strategy<Value = Intent> {
    let action = prop_oneof![
        8 => (1..60_000_i64).prop_map(Action::Pause),
        8 => (-60_000..300_000_i64).prop_map(Action::Seek),
        1 => Just(Action::Fail),
    ];
    let actions = prop::collection::vec((0..300_000_i64, action), 0..6);
    let patience = prop_oneof![1..3_000_i64, 3_000..100_000_i64];
    let title = (4_001..600_000_i64, 0.0..1.0_f64, 1..300_000_i64);
    (title, actions, patience.clone(), patience, 0..5_000_i64, 0..20_u8, any::<bool>(), 500..10_001_i64).prop_map(
        |((duration_ms, from, play_ms), mut actions, startup, stall, setup_ms, fails, says_goodbye, heartbeat)| {
            actions.sort_by_key(|(after_ms, _)| *after_ms);
            Intent {
                duration_ms,
                from_ms: (from * (duration_ms - 1) as f64) as i64,
                play_ms,
                actions,
                segment_spread: 0.15,
                setup_ms,
                startup_patience_ms: startup,
                stall_patience_ms: stall,
                start_fails: fails == 0,
                says_goodbye,
                heartbeat_interval_ms: heartbeat,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_truth_is_what_the_jobs_fold(intent in any_intent(), seed: u64, median_kbps in 50_u32..40_000) {
        let mut trace = BandwidthTrace::walk(generator(seed, 0, "network"), f64::from(median_kbps) * 1_000.0);
        let played = play(&intent, &mut trace, "edge-a", generator(seed, 0, "player"));
        let fold = folded(&played);
        prop_assert_eq!(counts_of(&fold), played.counts());
        prop_assert_eq!(fold.media_ms, played.counts().playing_ms, "the playhead moves with playing");
        prop_assert!(played.counts().playing_ms <= intent.play_ms);
        prop_assert!(played.counts().rebuffer_ms + played.counts().seek_waiting_ms <= intent.stall_patience_ms);
        for (index, pair) in played.events.windows(2).enumerate() {
            prop_assert!(pair[0].at_ms <= pair[1].at_ms);
            prop_assert_eq!(pair[1].sequence, index as u64 + 1);
        }
        for event in &played.events {
            prop_assert!((0..=intent.duration_ms).contains(&event.media_time_ms));
            if let Some(Payload::Heartbeat(heartbeat)) = &event.payload {
                prop_assert!(i64::from(heartbeat.buffer_ms) <= MAX_BUFFER_MS + SEGMENT_MS);
            }
        }
        let again = play(
            &intent,
            &mut BandwidthTrace::walk(generator(seed, 0, "network"), f64::from(median_kbps) * 1_000.0),
            "edge-a",
            generator(seed, 0, "player"),
        );
        prop_assert_eq!(again, played);
    }

    /// What arrives by an instant is what a download of so much takes until then.
    #[test]
    fn downloads_take_as_long_as_their_bits(seed: u64, from_ms in 0..100_000_i64, bits in 1..100_000_000_u64) {
        let mut trace = BandwidthTrace::walk(generator(seed, 0, "network"), 3_000_000.0);
        let Some(arrival_ms) = trace.arrival_ms(from_ms, bits, from_ms + 600_000) else { return Ok(()) };
        prop_assert!(trace.bits_between(from_ms, arrival_ms) >= bits);
        prop_assert!(arrival_ms == from_ms || trace.bits_between(from_ms, arrival_ms - 1) < bits);
    }
}
