//! What must not grow with the number of events or of sessions that ever were.

use marquee_events::{ContentType, EventView, PayloadView};
use marquee_qoe::Measure;
use marquee_stream::RecordHeader;

use super::*;
use crate::live::LiveView;

const START_MS: i64 = 1_700_000_000_000;

fn shard() -> PlaybackShard {
    let id = ShardId { job: "playback", topic: "playback".into(), partition: 0 };
    PlaybackShard::start(PlaybackMode::Live, &id, None).unwrap()
}

/// Takes in a record with one session's events: (sequence, time after the start, payload).
fn take(shard: &mut PlaybackShard, session_id: &str, events: Vec<(u64, i64, PayloadView<'_>)>) {
    let header = RecordHeader {
        record_type: RecordType::ViewEvents(ContentType::Protobuf),
        received_at_ms: START_MS + 1_000_000_000,
        event_count: events.len() as u32,
    };
    let record = Record { offset: 0, header, payload: Vec::new().into() };
    let context = ContextView {
        session_id: session_id.into(),
        title_id: session_id.into(),
        app_version: session_id.into(),
        ..Default::default()
    };
    let events = events.into_iter().map(|(sequence, after_ms, payload)| EventView {
        sequence,
        event_time_ms: START_MS + after_ms,
        payload: Some(payload),
        ..Default::default()
    });
    let batch = BatchView { context, sent_at_ms: 0, events: events.collect(), ..Default::default() };
    shard.view_events(&record, &batch, ContentType::Protobuf.mime());
    shard.fire_timers();
}

#[test]
fn a_session_whose_deadline_moves_to_and_fro_has_one_timer() {
    let mut shard = shard();
    take(&mut shard, "a", vec![(0, 0, PayloadView::PlayRequested { autoplay: false })]);
    for cycle in 0..5_000_u64 {
        // Behind a hole: the deadline is the event's own time, a little earlier each cycle.
        let after_ms = 10_000 - cycle as i64;
        take(&mut shard, "a", vec![(2 * cycle + 2, after_ms, PayloadView::FirstFrame)]);
        assert_eq!(shard.timers.len(), 1);
        // The hole is filled: the deadline is the gap's end.
        take(&mut shard, "a", vec![(2 * cycle + 1, after_ms, PayloadView::FirstFrame)]);
        assert_eq!(shard.timers.len(), 1);
    }
    let session = shard.sessions.values().next().unwrap();
    assert_eq!((session.fold.event_count, session.closed, session.holes.len()), (10_001, None, 0));
    // The early entry fires long before the session is over, and the session still closes in the end.
    take(&mut shard, "b", vec![(0, 60_000, PayloadView::PlayRequested { autoplay: false })]);
    assert_eq!((shard.timers.len(), shard.sessions.len()), (2, 2));
    take(&mut shard, "b", vec![(1, 600_000, PayloadView::FirstFrame)]);
    assert_eq!(shard.sessions[&session_key("a", "")].closed, Some(CloseReason::Gap));
    assert_eq!(shard.sessions[&session_key("b", "")].closed, None);
    shard.move_closed_to_index();
    assert_eq!((shard.timers.len(), shard.sessions.len()), (1, 1));
}

#[test]
fn a_session_that_goes_takes_its_timer_along() {
    let mut shard = shard();
    for number in 0..100 {
        let events = vec![
            (0, 0, PayloadView::PlayRequested { autoplay: false }),
            (1, 1, PayloadView::SessionEnd { reason: "".into() }),
        ];
        take(&mut shard, &number.to_string(), vec![(0, 0, PayloadView::PlayRequested { autoplay: false })]);
        take(&mut shard, &number.to_string(), events);
    }
    shard.move_closed_to_index();
    assert_eq!((shard.timers.len(), shard.sessions.len()), (0, 0));
}

#[test]
fn cells_are_bounded_and_stay_those_of_their_sessions() {
    const EPOCHS: u64 = 100;
    const SESSIONS: u64 = 1_000;
    let mut shard = shard();
    let mut view = LiveView::default();
    for epoch in 1..=EPOCHS {
        take(&mut shard, "long", vec![(epoch - 1, epoch as i64 * 60_000, PayloadView::FirstFrame)]);
        for number in 0..SESSIONS {
            let after_ms = epoch as i64 * 60_000;
            let events = vec![
                (0, after_ms, PayloadView::PlayRequested { autoplay: false }),
                (1, after_ms, PayloadView::FirstFrame),
                (2, after_ms + 10, PayloadView::SessionEnd { reason: "".into() }),
            ];
            take(&mut shard, &format!("{epoch}-{number}"), events);
        }
        view.apply(LiveRecord::from_bytes(&shard.live_record(epoch, true)).unwrap());
        shard.move_closed_to_index();
        shard.start_next_epoch();
        assert_eq!(shard.sessions.len(), 1);
        assert!(shard.cubes.cell_count() <= 10_000, "{} in epoch {epoch}", shard.cubes.cell_count());
    }
    let sum = |keep: &dyn Fn(&LiveCell) -> bool, measure: Measure| view.total(keep).values[measure as usize];
    let of_long = |cell: &LiveCell| cell.dimensions.value("title_id") == Some("long");
    assert_eq!(sum(&of_long, Measure::PlayingMs), (EPOCHS as i64 - 1) * 60_000);
    for dimension in ["title_id", "app_version"] {
        let of_cube = |cell: &LiveCell| cell.dimensions.value(dimension).is_some();
        assert_eq!(sum(&of_cube, Measure::Attempts), (EPOCHS * SESSIONS) as i64);
        let in_own_cell = |cell: &LiveCell| cell.dimensions.value(dimension) == Some("77-5");
        assert_eq!(sum(&in_own_cell, Measure::PlayingMs), 10);
    }
}
