//! Any bytes at all, and any report that was written by the rules.

use std::fmt::Write as _;

use marquee_events::PayloadView;
use proptest::prelude::*;

use super::RECEIVED_MS;
use crate::{Arrival, RecordContext, Report, decode_record, split_body};

/// Bytes that look like CMCD often enough to get behind the parser.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("sid=\"s\"".to_owned()),
        Just("e=ps".to_owned()),
        Just("v=2".to_owned()),
        "(sn|ts|pt|d|rc|v)=-?[0-9]{1,16}",
        "(br|bl|mtp|bsd)=\\([0-9]{1,6}(;(v|a|av|x))?( [0-9.]{1,6};a)?\\)?",
        "(sta|sf|st|ot|e)=[a-z]{1,3}",
        "(cid|cdn|ec|url|sid)=\"?[a-zé\"\\\\%0-9]{0,9}\"?",
        "(bs|su|bg)(=\\?[01])?",
        "pr=-?[0-9]{1,3}(\\.[0-9]{1,4})?",
        "[a-z-]{1,5}(=.)?",
    ];
    let pieces = prop::collection::vec(piece, 0..9).prop_map(|pieces| pieces.join(",").into_bytes());
    prop_oneof![pieces, prop::collection::vec(any::<u8>(), 0..80)]
}

proptest! {
    /// A line is an event or has a reason; a body keeps the count of its lines, and the job sees what the collector saw.
    #[test]
    fn any_body_is_accounted_for(lines in prop::collection::vec(line(), 0..12), query in "(player=[a-z]{0,3})?") {
        let body = lines.join(&b'\n');
        let context = RecordContext::from_query(&query).expect("a context");
        let Ok(split) = split_body(&body, &context) else { return Ok(()) };
        let (mut good, mut dead, mut stored) = (0, 0, 0);
        for session in &split.sessions {
            let decoded = decode_record(&session.payload, RECEIVED_MS).expect("a record");
            let events: usize = decoded.parts.iter().map(|part| part.batch.events.len()).sum();
            good += events as u32;
            dead += decoded.dead.len() as u32;
            stored += session.lines;
            let mut indexes: Vec<u32> = decoded.parts.iter().flat_map(|part| part.indexes.clone()).collect();
            indexes.extend(decoded.dead.iter().map(|dead| dead.index));
            indexes.sort_unstable();
            prop_assert_eq!(indexes, (0..session.lines).collect::<Vec<_>>());
            for part in &decoded.parts {
                prop_assert_eq!(part.batch.context.session_id.as_ref(), session.session_id.as_str());
            }
        }
        prop_assert_eq!((good, dead, stored), (split.good, split.dead, split.good + split.dead));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Report::parse(&bytes).map_err(|problem| assert!(!problem.to_string().is_empty()));
        let _ = Report::session_id_of(&bytes);
        let _ = decode_record(&bytes, RECEIVED_MS);
        let _ = split_body(&bytes, &RecordContext::default());
        let _ = RecordContext::from_query(&String::from_utf8_lossy(&bytes));
    }

    /// What was written by the rules is read as it was meant.
    #[test]
    fn reports_survive_the_wire(
        session in "[ -~é映]{1,30}", sequence in 0_u64..1 << 32, ts in 0_i64..2_000_000_000_000,
        pt in any::<Option<i32>>(), kbps in 0_u64..10_000_000, buffer in any::<u32>(),
    ) {
        let quoted = session.replace('\\', "\\\\").replace('"', "\\\"");
        let mut line = format!("bl=({buffer}),br=({kbps};v 96;a),e=t,sid=\"{quoted}\",sn={sequence},ts={ts},v=2");
        if let Some(pt) = pt {
            write!(line, ",pt={pt}").expect("a string takes it");
        }
        let report = Report::parse(line.as_bytes()).expect("keeps the rules");
        prop_assert_eq!(report.session_id(), &session);
        let event = report.event(Arrival { received_at_ms: 0, index: 0 });
        prop_assert_eq!((event.sequence, event.event_time_ms, event.media_time_ms), (sequence, ts, pt.map(i64::from)));
        let expected = PayloadView::Heartbeat {
            buffer_ms: buffer, throughput_bps: 0, dropped_frames: 0, bitrate_bps: kbps * 1000,
        };
        prop_assert_eq!(event.payload, Some(expected));
    }

    /// The query string survives being the first line of a record.
    #[test]
    fn contexts_survive_the_record(title in "\\PC{0,40}", cdn in "[a-z&=+% ]{0,9}") {
        let mut context = RecordContext::default();
        context.set("title_id", &title);
        context.set("cdn", &cdn);
        prop_assert_eq!(RecordContext::from_query(&context.to_line()).expect("our own"), context);
    }
}
