//! What must not grow with the number of events or of sessions that ever were, and what a restart must find.

use std::sync::Arc;

use marquee_events::{CONTEXT_FIELDS, ContextView, ManualClock, PayloadView};
use marquee_qoe::Measure;
use marquee_stream::{RecordHeader, ShardStore};
use object_store::memory::InMemory;

use super::*;
use crate::features::tests::memory_lake;
use crate::live::{LiveCell, LiveRecord, LiveView};
use crate::playback::closed_index::PackedClosed;
use crate::playback::contexts::session_key;
use crate::playback::session::CloseReason;
use crate::playback::sessions::MAX_UNPACKED;
use crate::playback::{Cube, OTHER};

const START_MS: i64 = 1_700_000_000_000;

fn shard_id() -> ShardId {
    ShardId { job: "playback", topic: "playback".into(), partition: 0 }
}

fn shard() -> PlaybackShard {
    shard_that_packs_above(MAX_UNPACKED)
}

fn shard_that_packs_above(max_unpacked: usize) -> PlaybackShard {
    PlaybackShard::start(PlaybackMode::Live, max_unpacked, &shard_id(), None).unwrap()
}

fn session<'a>(shard: &'a PlaybackShard, session_id: &str) -> &'a Session {
    shard.sessions.unpacked(session_key(session_id, "")).expect("it is there")
}

fn io_of(store: &ShardStore, clock: Arc<ManualClock>, runtime: &tokio::runtime::Runtime) -> ShardIo {
    let (lake, handle) = (memory_lake::shared(), runtime.handle().clone());
    ShardIo::new(shard_id(), store.clone(), lake, handle, clock, &tables::EVENTS)
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
    take_events(shard, &record, &context, &events.collect::<Vec<_>>());
    shard.fire_timers();
}

fn take_events(shard: &mut PlaybackShard, record: &Record, context: &ContextView<'_>, events: &[EventView<'_>]) {
    let context = shard.contexts.of_view(context);
    let content_type = ContentType::Protobuf;
    shard.view_events(&Batch { record, content_type, context, sent_at_ms: 0, events, places: None });
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
    let a = session(&shard, "a");
    assert_eq!((a.fold.event_count, a.closed, a.holes.len()), (10_001, None, 0));
    // The early entry fires long before the session is over, and the session still closes in the end.
    take(&mut shard, "b", vec![(0, 60_000, PayloadView::PlayRequested { autoplay: false })]);
    assert_eq!((shard.timers.len(), shard.sessions.len()), (2, 2));
    take(&mut shard, "b", vec![(1, 600_000, PayloadView::FirstFrame)]);
    assert_eq!(session(&shard, "a").closed, Some(CloseReason::Gap));
    assert_eq!(session(&shard, "b").closed, None);
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
        view.apply(LiveRecord::from_bytes(&shard.live_record(&shard.cubes.deltas(), epoch, true)).unwrap());
        shard.move_closed_to_index();
        shard.start_next_epoch();
        assert_eq!(shard.sessions.len(), 1);
        assert!(shard.cubes.cell_count() <= 10_000, "{} in epoch {epoch}", shard.cubes.cell_count());
    }
    let sum = |keep: &dyn Fn(&LiveCell) -> bool, measure: Measure| {
        view.total(keep).values.get(measure as usize).copied().unwrap_or_default()
    };
    let of_long = |cell: &LiveCell| cell.dimensions.value("title_id") == Some("long");
    assert_eq!(sum(&of_long, Measure::PlayingMs), (EPOCHS as i64 - 1) * 60_000);
    let attempts = |cube: Cube, dimension: &str, value: Option<&str>| {
        let is_cell = |cell: &LiveCell| {
            let found = cell.dimensions.value(dimension);
            cell.dimensions.cube == cube && found.is_some() && (value.is_none() || found == value)
        };
        sum(&is_cell, Measure::Attempts)
    };
    let all = (EPOCHS * SESSIONS) as i64;
    assert_eq!(attempts(Cube::Title, "title_id", None), all);
    assert_eq!(attempts(Cube::Title, "title_id", Some("77-5")), 1);
    // A day has room for a thousand app versions: "long" has one of the places, and what came first the others.
    for cube in [Cube::Audience, Cube::Player] {
        assert_eq!(attempts(cube, "app_version", None), all);
        assert_eq!(attempts(cube, "app_version", Some("1-998")), 1);
        assert_eq!(attempts(cube, "app_version", Some("1-999")), 0);
        assert_eq!(attempts(cube, "app_version", Some(OTHER)), all - 999);
    }
}

#[test]
fn contexts_are_bounded_and_stay_those_of_their_sessions() {
    let mut shard = shard();
    let request = || PayloadView::PlayRequested { autoplay: false };
    take(&mut shard, "long", vec![(0, 0, request())]);
    // Behind a hole: its context waits in the buffer.
    take(&mut shard, "waiting", vec![(1, 0, PayloadView::FirstFrame)]);
    let before = shard.pending_bytes();
    for epoch in 0..10 {
        for number in 0..2_000 {
            let end = PayloadView::SessionEnd { reason: "".into() };
            take(&mut shard, &format!("{epoch}-{number}"), vec![(0, 1, request()), (1, 2, end)]);
        }
        assert!(shard.pending_bytes() > before + 2_000 * 96, "what came is counted before it is swept");
        shard.move_closed_to_index();
        shard.start_next_epoch();
        assert_eq!(shard.pending_bytes(), 0);
        assert!(shard.contexts.len() <= 10_000, "{} after epoch {epoch}", shard.contexts.len());
    }
    for session_id in ["long", "waiting"] {
        assert!(session(&shard, session_id).contexts().all(|number| shard.contexts.ids(number) == (session_id, "")));
    }
}

/// What a restart has to find again of a shard: sessions with the texts of their contexts, closed ones, the first epoch.
type Found = (BTreeMap<u128, (Vec<u8>, Vec<Vec<String>>)>, BTreeMap<u128, ClosedSession>, Vec<u64>);

fn found(shard: &PlaybackShard) -> Found {
    let texts = |number| CONTEXT_FIELDS.iter().map(|field| shard.contexts.get(number, field).to_owned()).collect();
    let sessions = shard.sessions.iter().map(|(key, slot)| {
        let mut session = match slot {
            Slot::Unpacked(session) => session.as_ref().clone(),
            Slot::Packed(packed) => packed.unpack().unwrap(),
        };
        assert_eq!(shard.contexts.session(session.context), key);
        assert!(session.deadline_ms().is_none_or(|deadline_ms| session.timer_ms.is_some_and(|ms| ms <= deadline_ms)));
        let contexts = session.contexts().map(texts).collect();
        session.contexts_mut().for_each(|number| *number = 0);
        (key, (postcard::to_stdvec(&session).unwrap(), contexts))
    });
    let recent = shard.closed.recent.iter().map(|(key, session)| (*key, session.unpack()));
    let filters = (0..64).filter(|key| shard.closed.may_contain(u128::from(*key) << 64)).collect();
    (sessions.collect(), recent.collect(), filters)
}

/// The rows of an epoch by table, as text: the order of minutes is that of the cells' numbers.
fn sorted_rows(frozen: &Frozen) -> Vec<(&'static str, Vec<String>)> {
    let text = |rows: &RecordBatch, row| {
        let value = |column| arrow::util::display::array_value_to_string(column, row).unwrap();
        rows.columns().iter().map(|column| value(column)).collect::<Vec<_>>().join("|")
    };
    let tables = frozen.tables.iter().map(|(table, rows)| {
        let mut texts: Vec<String> = (0..rows.num_rows()).map(|row| text(rows, row)).collect();
        texts.sort_unstable();
        (table.name, texts)
    });
    tables.collect()
}

#[test]
fn a_restart_finds_every_session_as_it_was() {
    for max_unpacked in [0, 100, MAX_UNPACKED] {
        restarts(max_unpacked);
    }
}

fn restarts(max_unpacked: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let id = shard_id();
    let store = ShardStore::new(Arc::new(InMemory::new()), &"state".into(), &id);
    let clock = Arc::new(ManualClock::new(START_MS));
    let io = io_of(&store, clock.clone(), &runtime);
    let mut random = 1_u64;
    let mut below = move |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    let (mut shard, mut plain) = (shard_that_packs_above(max_unpacked), shard());
    // (id, next sequence) of those that are watching; the others wait for their gap to end.
    let mut watching: Vec<(String, u64)> = Vec::new();
    let (mut most_segments, mut aged, mut most_packed) = (0, 0, 0);
    for epoch in 1..=150_u64 {
        let after_ms = epoch as i64 * 120_000;
        for number in 0..below(40) {
            watching.push((format!("{epoch}-{number}"), 0));
        }
        for _ in 0..below(30).min(watching.len() as u64) {
            let at = below(watching.len() as u64) as usize;
            let (session_id, sequence) = &mut watching[at];
            let payload = match (*sequence, below(20)) {
                (0, _) => PayloadView::PlayRequested { autoplay: false },
                (_, 0) => PayloadView::SessionEnd { reason: "ended".into() },
                (_, 1..=5) => PayloadView::Pause,
                _ => PayloadView::FirstFrame,
            };
            let is_end = matches!(payload, PayloadView::SessionEnd { .. });
            let hole = u64::from(below(5) == 0);
            let event = (*sequence + hole, after_ms + below(60_000) as i64, payload);
            take(&mut shard, session_id, vec![event.clone()]);
            take(&mut plain, session_id, vec![event]);
            *sequence += hole + 1;
            if is_end || below(8) == 0 {
                watching.swap_remove(at);
            }
        }
        // Those that the watermark has closed meanwhile: an event for them would ask for rows, which nobody keeps here.
        watching.retain(|(session_id, sequence)| {
            let open = plain.sessions.unpacked(session_key(session_id, "")).is_some_and(|s| s.closed.is_none());
            *sequence == 0 || open
        });
        clock.set(START_MS + epoch as i64 * 25_000); // rows of open sessions are due in turn
        let frozen = shard.freeze(epoch, false, &io).unwrap();
        let same = plain.freeze(epoch, false, &io).unwrap();
        assert_eq!(sorted_rows(&frozen), sorted_rows(&same), "epoch {epoch}");
        assert_eq!(found(&shard), found(&plain), "packed after epoch {epoch}");
        most_packed = most_packed.max(shard.sessions.iter().filter(|(_, slot)| slot.unpacked().is_none()).count());
        for (name, bytes) in &frozen.new_segments {
            runtime.block_on(store.write_segment(name, bytes.clone())).unwrap();
        }
        aged = aged.max(shard.closed.segment_names().count());
        most_segments = most_segments.max(shard.state_log.segment_names().count());
        let kept = Kept { snapshot: &frozen.snapshot, io: &io, fork: None };
        let restored = PlaybackShard::start(PlaybackMode::Live, max_unpacked, &id, Some(kept)).unwrap();
        assert_eq!(found(&restored), found(&shard), "after epoch {epoch}");
        let open = restored.sessions.iter().filter_map(|(_, slot)| match slot {
            Slot::Unpacked(session) => session.bronze_epochs.first(),
            Slot::Packed(packed) => packed.first_epoch(),
        });
        let recent = restored.closed.recent.values().filter_map(PackedClosed::first_epoch);
        let first = open.chain(recent).min();
        assert_eq!(restored.state_log.oldest_epoch(), first);
        assert!(shard.state_log.oldest_epoch() <= first, "a bound");
        if epoch % 17 == 0 {
            (shard, plain.open_turns) = (restored, OpenTurns::default());
        }
    }
    assert!(aged > 2 && (4..=33).contains(&most_segments), "{aged} {most_segments}");
    assert!(most_packed > 20, "{most_packed}"); // a restart packs them all
}

/// Each heir of a shard has the open sessions whose keys are its own, as they were, and writes all it has in its first
/// epoch; what was closed it can find, too.
#[test]
fn heirs_have_exactly_their_own_sessions() {
    for max_unpacked in [0, MAX_UNPACKED] {
        heirs(max_unpacked);
    }
}

fn heirs(max_unpacked: usize) {
    const HEIRS: u32 = 3;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let objects = Arc::new(InMemory::new());
    let store_of = |partition| {
        let id = ShardId { partition, ..shard_id() };
        (id.clone(), ShardStore::new(objects.clone(), &"state".into(), &id))
    };
    let clock = Arc::new(ManualClock::new(START_MS));
    let (_, store) = store_of(0);
    let io = io_of(&store, clock.clone(), &runtime);
    let write = |store: &ShardStore, frozen: &Frozen| {
        for (name, bytes) in &frozen.new_segments {
            runtime.block_on(store.write_segment(name, bytes.clone())).unwrap();
        }
    };
    let mut shard = shard_that_packs_above(max_unpacked);
    let request = || PayloadView::PlayRequested { autoplay: false };
    let mut frozen = Frozen::default();
    for epoch in 1..=40_u64 {
        // Three hours and more, so that closed ones are in segments, too.
        let after_ms = epoch as i64 * 300_000;
        for number in 0..20 {
            let (id, end) = (format!("{epoch}-{number}"), PayloadView::SessionEnd { reason: "".into() });
            take(&mut shard, &id, vec![(0, after_ms, request())]);
            if number % 2 == 0 {
                take(&mut shard, &id, vec![(1, after_ms + 1, end)]);
            }
        }
        take(&mut shard, "all the time", vec![(epoch - 1, after_ms, PayloadView::FirstFrame)]);
        frozen = shard.freeze(epoch, false, &io).unwrap();
        write(&store, &frozen);
    }
    let (all, closed, _) = found(&shard);
    assert!(all.len() > 10 && closed.len() > 10 && shard.closed.segment_names().count() > 0);
    let mut open = BTreeMap::new();
    for number in 0..HEIRS {
        let parent = marquee_stream::Parent { partition: 0, epoch: 41, next_offset: 7, number, count: HEIRS };
        let (id, own) = store_of(1 + number);
        let io = io_of(&own, clock.clone(), &runtime).after(vec![store.clone()]);
        let kept = Kept { snapshot: &frozen.snapshot, io: &io, fork: Some(parent) };
        let mut heir = PlaybackShard::start(PlaybackMode::Live, max_unpacked, &id, Some(kept)).unwrap();
        let (mine, mine_closed, _) = found(&heir);
        for (key, session) in &mine {
            assert!(parent.leaves(session.1[0][0].as_bytes()), "{:?} is another's", session.1[0][0]);
            assert!(open.insert(*key, session.clone()).is_none(), "it is one's alone");
        }
        assert_eq!((mine_closed, heir.timers.len()), (closed.clone(), mine.len()));
        assert_eq!(heir.watermark_ms(), shard.watermark_ms());
        assert!(heir.cubes.deltas().is_empty(), "nothing counts again");
        let first = heir.freeze(42, false, &io).unwrap();
        write(&own, &first);
        // Of its own segments and of the parent's old ones, which stay.
        let kept = Kept { snapshot: &first.snapshot, io: &io, fork: None };
        let restored = PlaybackShard::start(PlaybackMode::Live, max_unpacked, &id, Some(kept)).unwrap();
        assert_eq!(found(&restored), found(&heir));
        assert!(heir.state_log.segment_names().all(|name| name.starts_with("000000000042")), "written anew");
        for (key, session) in all.keys().filter_map(|key| Some((key, mine.get(key)?))) {
            assert_eq!(session, &all[key]);
        }
    }
    assert_eq!(open, all, "together they have them all");
}

/// Rule 21: what never came is counted, and the state before the gap lasts through it.
#[test]
fn sequence_gaps() {
    let mut shard = shard();
    let request = PayloadView::PlayRequested { autoplay: false };
    take(&mut shard, "a", vec![(0, 0, request), (1, 1_000, PayloadView::FirstFrame)]);
    // 2 and 3 are lost: had they been a rebuffer start and its end, nobody would know.
    take(&mut shard, "a", vec![(4, 11_000, PayloadView::RebufferStart), (5, 12_000, PayloadView::RebufferEnd)]);
    take(&mut shard, "a", vec![(7, 20_000, PayloadView::SessionEnd { reason: "ended".into() })]);
    let event_count = |shard: &PlaybackShard| session(shard, "a").fold.event_count;
    assert_eq!(event_count(&shard), 2, "a hole waits until the watermark has passed what is behind it");
    take(&mut shard, "b", vec![(0, 60_000, PayloadView::FirstFrame)]);
    let session = session(&shard, "a");
    assert_eq!((session.fold.event_count, session.lost_events()), (5, 3));
    assert_eq!(session.holes, [(2, 3), (6, 6)]);
    let of = |state| session.fold.duration_ms(state);
    assert_eq!((of(marquee_qoe::State::Playing), of(marquee_qoe::State::Rebuffering)), (10_000 + 8_000, 1_000));
    assert_eq!(session.closed, Some(CloseReason::Ended));
}

/// Of the ids of one sequence the least wins: whoever has it again is a duplicate, all others are conflicts.
#[test]
fn ids_are_counted_whatever_their_order() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = ShardStore::new(Arc::new(InMemory::new()), &"state".into(), &shard_id());
    let io = io_of(&store, Arc::new(ManualClock::new(START_MS)), &runtime);
    let events = [(0, "x"), (1, "a"), (1, "b"), (1, "b"), (1, "c"), (1, "a")];
    let count = events.len();
    for order in 0..count.pow(count as u32) {
        let order: Vec<usize> = (0..count).map(|digit| order / count.pow(digit as u32) % count).collect();
        if (0..count).any(|event| !order.contains(&event)) {
            continue;
        }
        let mut shard = shard();
        for at in &order {
            let (sequence, event_id) = events[*at];
            let payload = Some(PayloadView::FirstFrame);
            let event_time_ms = START_MS + sequence as i64;
            let event = EventView { event_id: event_id.into(), sequence, event_time_ms, payload, ..Default::default() };
            let header = RecordHeader {
                record_type: RecordType::ViewEvents(ContentType::Protobuf),
                received_at_ms: START_MS + 1_000,
                event_count: 1,
            };
            let context = ContextView { session_id: "a".into(), ..Default::default() };
            take_events(&mut shard, &Record { offset: 0, header, payload: Vec::new().into() }, &context, &[event]);
        }
        shard.freeze(1, false, &io).unwrap();
        let session = session(&shard, "a");
        assert_eq!((session.duplicates, session.conflicts, session.fold.event_count), (1, 3, 2), "{order:?}");
    }
}

/// Rule 25: their sequences are apart, and so is everything that is measured of them.
#[test]
fn two_players_with_one_session_id() {
    let mut shard = shard();
    let header = RecordHeader {
        record_type: RecordType::ViewEvents(ContentType::Protobuf),
        received_at_ms: START_MS + 1_000_000,
        event_count: 2,
    };
    for (player_instance, first_frame_ms) in [("tv", 1_000), ("phone", 3_000)] {
        let context =
            ContextView { session_id: "shared".into(), player_instance: player_instance.into(), ..Default::default() };
        let event = |(sequence, after_ms, payload)| EventView {
            sequence,
            event_time_ms: START_MS + after_ms,
            payload: Some(payload),
            ..Default::default()
        };
        let events =
            [(0, 0, PayloadView::PlayRequested { autoplay: false }), (1, first_frame_ms, PayloadView::FirstFrame)];
        let record = Record { offset: 0, header, payload: Vec::new().into() };
        take_events(&mut shard, &record, &context, &events.map(event));
    }
    let of = |instance| shard.sessions.unpacked(session_key("shared", instance)).unwrap();
    let startup_ms = |instance| of(instance).fold.startup_ms;
    assert_eq!((startup_ms("tv"), startup_ms("phone")), (Some(1_000), Some(3_000)));
    assert_eq!(["tv", "phone"].map(|instance| of(instance).duplicates + of(instance).conflicts), [0, 0]);
}

/// Takes in the body of a CMCD request as the collector stores it.
fn take_cmcd(shard: &mut PlaybackShard, offset: u64, received_at_ms: i64, body: &str) {
    let context = marquee_cmcd::RecordContext::from_query("player=hls.js").unwrap();
    let records = marquee_cmcd::split_body(body.as_bytes(), &context).unwrap().sessions.into_iter().map(|session| {
        let record_type = RecordType::ViewEvents(ContentType::Cmcd);
        let header = RecordHeader { record_type, received_at_ms, event_count: session.lines };
        Record { offset, header, payload: session.payload.into() }
    });
    shard.process(&records.collect::<Vec<_>>()).unwrap();
}

fn cmcd_line(sequence: u64, after_ms: i64, keys: &str) -> String {
    format!("{keys},sid=\"s\",sn={sequence},ts={},v=2", START_MS + after_ms)
}

#[test]
fn cmcd_gaps_repetitions_and_reordering_are_seen() {
    let mut shard = shard();
    let lines = [
        cmcd_line(0, 0, "e=ps,sta=s"),
        cmcd_line(2, 500, "e=ps,sta=p"),
        "e=zz,sid=\"s\",sn=9,ts=1,v=2".to_owned(),
        cmcd_line(1, 100, "br=(2400;v),e=bc"),
        cmcd_line(2, 500, "e=ps,sta=p"),
    ];
    take_cmcd(&mut shard, 0, START_MS + 1000, &lines.join("\n"));
    take_cmcd(&mut shard, 1, START_MS + 20_000, &cmcd_line(5, 10_500, "e=t"));
    take_cmcd(&mut shard, 2, START_MS + 120_000, &cmcd_line(6, 70_500, "e=ps,sta=q"));
    shard.end_of_input();
    let session = shard.sessions.unpacked(session_key("s", "cmcd")).unwrap();
    assert_eq!(session.fold.startup_ms, Some(500));
    assert_eq!((session.fold.event_count, session.duplicates, session.lost_events()), (5, 1, 2));
    assert_eq!(shard.contexts.get(session.context, "player"), "hls.js");
    assert_eq!((session.closed, shard.dead_letters.events()), (Some(CloseReason::Ended), 1));
    assert_eq!(shard.bronze.len(), 6);
}

/// Lines of version 1 have no numbers: what comes is folded, and nothing is missing before it.
#[test]
fn cmcd_version_1_leaves_no_holes() {
    let mut shard = shard();
    let body = "br=800,ot=v,sid=\"s\",su\nbr=800,ot=v,sid=\"s\"";
    take_cmcd(&mut shard, 0, START_MS, body);
    take_cmcd(&mut shard, 1, START_MS + 4_000, "br=800,bs,ot=v,sid=\"s\"");
    take_cmcd(&mut shard, 2, START_MS + 9_000, "br=2400,ot=v,sid=\"s\"");
    let session = shard.sessions.unpacked(session_key("s", "cmcd")).unwrap();
    assert_eq!((session.fold.event_count, session.lost_events(), session.holes.len()), (4, 0, 0));
    assert_eq!((session.fold.rebuffer_count, session.fold.duration_ms(marquee_qoe::State::Playing)), (1, 9_000));
    assert_eq!((session.refold_from_row, shard.dead_letters.events()), (None, 0));
}

#[test]
fn uncounted_events_wait_for_counted_ones_only() {
    let mut shard = shard();
    take_cmcd(&mut shard, 0, START_MS, &cmcd_line(1, 100, "e=ps,sta=p"));
    take_cmcd(&mut shard, 1, START_MS + 200, "ot=m,sid=\"s\"");
    let events = |shard: &PlaybackShard| shard.sessions.unpacked(session_key("s", "cmcd")).unwrap().fold.event_count;
    assert_eq!(events(&shard), 0);
    take_cmcd(&mut shard, 2, START_MS + 300, &cmcd_line(0, 0, "e=ps,sta=s"));
    assert_eq!(events(&shard), 3);
    let session = shard.sessions.unpacked(session_key("s", "cmcd")).unwrap();
    assert_eq!((session.lost_events(), session.refold_from_row), (0, None));
}

/// Sequences that no player counts are not for others to send.
#[test]
fn uncounted_sequences_of_others_are_dead_letters() {
    let mut shard = shard();
    take(&mut shard, "a", vec![(1 << 32, 0, PayloadView::FirstFrame)]);
    assert_eq!((shard.dead_letters.events(), shard.sessions.len()), (1, 0));
}
