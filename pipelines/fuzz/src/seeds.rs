//! The inputs that fuzzing begins with: one batch of each contract with every payload, in every format, and lines that
//! real players sent. Written by the targets themselves, so that they are always in step with the contracts.

use std::path::Path;

use marquee_events::interactions::proto as interactions;
use marquee_events::interactions::proto::interaction;
use marquee_events::proto::view_event::Payload;
use marquee_events::proto::{self, Context, Location, ViewEvent, ViewEventBatch};
use marquee_events::{ContentType, interactions_to_json, to_json};
use marquee_stream::RecordType;
use prost::Message as _;

use crate::records::{DAY_AND_MORE_MS, FEATURES, Kind, PLAYBACK, START_MS, piece};

/// Reports of hls.js and dash.js, see docs/cmcd.md.
const PLAYERS: [&str; 2] = [
    include_str!("../../cmcd/src/tests/players/hls.js-seek_held.txt"),
    include_str!("../../cmcd/src/tests/players/dash.js-responses.txt"),
];

/// What a line of version 1 looks like, and some that no player should send.
const LINES: [&str; 4] = [
    "bl=21300,br=3200,bs,d=4004,dl=18500,mtp=48100,ot=v,rtp=15000,sid=\"s\",su,tb=6000",
    "e=ps,sta=p,sid=\"s\",sn=1,ts=1700000000000,v=2\r\n\ne=zz,sid=\"s\",sn=2,ts=1,v=2\nsid=1\n",
    "cid=\"Am\u{e9}lie 100%25\",e=rr,rc=200,sid=\"\",sn=4294967295,ts=999999999999999,ttlb=1.5,v=2,com.example-x=?0",
    "title_id=t7&player=hls.js\nbr=(2400;v 128;a),e=bc,sid=\"s\",sn=3,ts=1700000000500,v=2\nbg,e=b,sid=\"t\",sn=0,ts=1,v=2",
];

/// Writes the inputs of `target` into the folder that the environment names in `FUZZ_SEEDS`, if it does.
pub fn write_seeds(target: &str) {
    let Some(folder) = std::env::var_os("FUZZ_SEEDS") else { return };
    let seeds: Vec<Vec<u8>> = match target {
        "json" => vec![to_json(&events()).into_bytes()],
        "protobuf" => vec![events().encode_to_vec()],
        "interactions" => {
            let json = interactions_to_json(&around()).into_bytes();
            vec![[vec![0], json].concat(), [vec![1], around().encode_to_vec()].concat()]
        }
        "cmcd" => PLAYERS.iter().chain(&LINES).map(|text| text.as_bytes().to_vec()).collect(),
        "playback" => vec![playback_topic(0), playback_topic(1)],
        "features" => (0..4).map(features_topic).collect(),
        other => panic!("there is no target {other}"),
    };
    for (number, seed) in seeds.iter().enumerate() {
        let path = Path::new(&folder).join(format!("seed-{number}"));
        std::fs::write(&path, seed).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// A batch with every payload.
fn events() -> ViewEventBatch {
    let payloads = [
        Payload::PlayRequested(proto::PlayRequested { autoplay: true }),
        Payload::AdBreakStart(proto::AdBreakStart {}),
        Payload::AdStart(proto::AdStart { ad_id: "ad-1".to_owned() }),
        Payload::AdEnd(proto::AdEnd {}),
        Payload::AdBreakEnd(proto::AdBreakEnd {}),
        Payload::Rendition(proto::Rendition {
            representation_id: "1080p".to_owned(),
            bitrate_bps: 4_500_000,
            width: 1920,
            height: 1080,
            codec: "avc1.640028".to_owned(),
            cdn: "cdn \"a\"".to_owned(),
        }),
        Payload::FirstFrame(proto::FirstFrame {}),
        Payload::Viewport(proto::Viewport { width: 2560, height: 1440 }),
        Payload::PlaybackRate(proto::PlaybackRate { rate_per_mille: 1500 }),
        Payload::Heartbeat(proto::Heartbeat {
            buffer_ms: 9_500,
            throughput_bps: 20_000_000,
            dropped_frames: 3,
            bitrate_bps: 4_500_000,
        }),
        Payload::RebufferStart(proto::RebufferStart {}),
        Payload::RebufferEnd(proto::RebufferEnd {}),
        Payload::Pause(proto::Pause {}),
        Payload::Background(proto::Background {}),
        Payload::Foreground(proto::Foreground {}),
        Payload::Resume(proto::Resume {}),
        Payload::SeekStart(proto::SeekStart {}),
        Payload::SeekEnd(proto::SeekEnd {}),
        Payload::PlayerState(proto::PlayerState {
            state: "rebuffering".to_owned(),
            code: "stalled".to_owned(),
            bitrate_bps: 800_000,
            buffer_ms: 0,
        }),
        Payload::Error(proto::Error { code: "é\n-404".to_owned(), fatal: false, business: true }),
        Payload::SessionEnd(proto::SessionEnd { reason: "ended".to_owned() }),
    ];
    let events = payloads.into_iter().enumerate().map(|(number, payload)| ViewEvent {
        event_id: format!("e{number}"),
        sequence: number as u64,
        event_time_ms: START_MS + 1_000 * number as i64 - 30_000,
        media_time_ms: (number > 6).then_some(1_000 * number as i64),
        payload: Some(payload),
    });
    let text = str::to_owned;
    let context = Context {
        session_id: text("s"),
        player_instance: text("tv"),
        title_id: text("title-1"),
        country: text("DE"),
        player: text("shaka"),
        ..Context::default()
    };
    let location = Some(Location { country: text("FR"), asn: text("3320"), ..Location::default() });
    ViewEventBatch { context: Some(context), sent_at_ms: START_MS - 100, events: events.collect(), location }
}

/// A batch with every interaction.
fn around() -> interactions::InteractionBatch {
    let text = str::to_owned;
    let (title_id, session_id, tracking_token) = (text("t1"), text("s"), text("token"));
    let payloads = [
        interaction::Payload::Impression(interactions::Impression {
            tracking_token: tracking_token.clone(),
            title_id: title_id.clone(),
            row_id: text("popular"),
            position: 3,
        }),
        interaction::Payload::Click(interactions::Click {
            tracking_token: tracking_token.clone(),
            title_id: title_id.clone(),
        }),
        interaction::Payload::ViewStarted(interactions::ViewStarted {
            title_id: title_id.clone(),
            session_id: session_id.clone(),
            tracking_token,
        }),
        interaction::Payload::ViewProgress(interactions::ViewProgress {
            title_id: title_id.clone(),
            session_id: session_id.clone(),
            watched_fraction: 0.25,
        }),
        interaction::Payload::ViewFinished(interactions::ViewFinished {
            title_id: title_id.clone(),
            session_id,
            watched_fraction: 0.97,
        }),
        interaction::Payload::ListAdd(interactions::ListAdd { title_id: title_id.clone() }),
        interaction::Payload::ListRemove(interactions::ListRemove { title_id: title_id.clone() }),
        interaction::Payload::Rating(interactions::Rating { title_id: title_id.clone(), value: 4.5 }),
        interaction::Payload::Search(interactions::Search { query: text("amélie") }),
        interaction::Payload::NotInterested(interactions::NotInterested { title_id }),
    ];
    let interactions = payloads.into_iter().enumerate().map(|(number, payload)| interactions::Interaction {
        interaction_id: format!("i{number}"),
        event_time_ms: START_MS + number as i64,
        payload: Some(payload),
    });
    let context = interactions::Context { profile_id: text("p"), device_type: text("tv"), app_version: text("1.0") };
    interactions::InteractionBatch {
        context: Some(context),
        sent_at_ms: START_MS,
        interactions: interactions.collect(),
    }
}

/// Records of every kind, for a shard that reads players (`mode` 0) or an import (1).
fn playback_topic(mode: u8) -> Vec<u8> {
    let batch = events();
    let protobuf = batch.encode_to_vec();
    let of = |content_type| Kind::Record(RecordType::ViewEvents(content_type));
    let piece = |kind, wait_ms, payload: &[u8]| piece(PLAYBACK, kind, wait_ms, payload);
    [
        vec![mode],
        piece(of(ContentType::Protobuf), 100, &protobuf),
        piece(of(ContentType::Json), 500, to_json(&batch).as_bytes()),
        piece(of(ContentType::Protobuf), 20, &protobuf[..protobuf.len() / 2]),
        piece(of(ContentType::Cmcd), 30, LINES[3].as_bytes()),
        piece(Kind::CmcdBody, 1_000, LINES[1].as_bytes()),
        piece(Kind::CmcdBody, 60_000, LINES[0].as_bytes()),
        piece(Kind::Record(RecordType::Interactions(ContentType::Json)), 5, b"{}"),
        piece(Kind::Record(RecordType::LiveDeltas), 5, b"\x01"),
        piece(Kind::ReceivedAt, 5, &i64::MAX.to_le_bytes()),
        piece(of(ContentType::Json), 5, to_json(&batch).as_bytes()),
        piece(Kind::Record(RecordType::EndOfInput), 5, b""),
        piece(of(ContentType::Protobuf), 100, &protobuf),
    ]
    .concat()
}

/// The same for a shard of features: players (`mode` 0 and 2) or an import, with the online store (below 2) or without.
fn features_topic(mode: u8) -> Vec<u8> {
    let batch = around();
    let protobuf = batch.encode_to_vec();
    let of = |content_type| Kind::Record(RecordType::Interactions(content_type));
    // Another viewer, without ids, one of whose interactions is of the future and one of no known kind.
    let mut others = around();
    others.context = Some(interactions::Context { profile_id: "q".to_owned(), ..interactions::Context::default() });
    others.interactions.iter_mut().for_each(|interaction| interaction.interaction_id.clear());
    others.interactions[1].event_time_ms += 3_600_000;
    others.interactions[3].payload = None;
    let piece = |kind, wait_ms, payload: &[u8]| piece(FEATURES, kind, wait_ms, payload);
    [
        vec![mode],
        piece(of(ContentType::Protobuf), 100, &protobuf),
        piece(of(ContentType::Json), 500, interactions_to_json(&batch).as_bytes()),
        piece(of(ContentType::Protobuf), 60_000, &others.encode_to_vec()),
        piece(of(ContentType::Json), 20, b"{\"context\":{\"profile_id\":\"p\"},\"interactions\":[{}]}"),
        piece(Kind::Again, 5, b"\x02"),
        piece(of(ContentType::Protobuf), 20, &protobuf[..protobuf.len() / 2]),
        piece(Kind::Later(DAY_AND_MORE_MS), 5, b""),
        piece(Kind::Again, 5, b"\x00"),
        piece(Kind::Later(-DAY_AND_MORE_MS), 5, b""),
        piece(Kind::ReceivedAt, 5, &i64::MAX.to_le_bytes()),
        piece(of(ContentType::Protobuf), 100, &protobuf),
        piece(Kind::Record(RecordType::ViewEvents(ContentType::Json)), 5, b"{}"),
        piece(Kind::Record(RecordType::LiveDeltas), 5, b"\x01"),
        piece(Kind::Record(RecordType::Job), 5, b""),
        piece(Kind::Record(RecordType::EndOfInput), 5, b""),
        piece(of(ContentType::Protobuf), 100, &protobuf),
    ]
    .concat()
}
