//! CMCD, as the body of a request and as a record of the log.
#![no_main]

use libfuzzer_sys::fuzz_target;
use marquee_cmcd::{DecodedRecord, RecordContext, decode_record, split_body};

const RECEIVED_MS: i64 = 1_700_000_000_000;

fuzz_target!(
    init: marquee_fuzz::write_seeds("cmcd"),
    |data: &[u8]| {
        if let Ok(text) = std::str::from_utf8(data)
            && let Err(error) = RecordContext::from_query(text)
        {
            assert!(!error.problem.is_empty());
        }
        match decode_record(data, RECEIVED_MS) {
            Ok(decoded) => drop(check(&decoded)),
            Err(error) => marquee_fuzz::check_error(&error),
        }
        let Ok(body) = split_body(data, &RecordContext::default()) else { return };
        let (mut good, mut dead) = (0, 0);
        for session in &body.sessions {
            let decoded = decode_record(&session.payload, RECEIVED_MS).expect("what the collector stores is a record");
            let indexes = check(&decoded);
            assert_eq!(indexes.len(), session.lines as usize);
            for part in &decoded.parts {
                assert_eq!(part.batch.context.session_id, session.session_id, "a line is in another session's record");
            }
            dead += decoded.dead.len();
            good += indexes.len() - decoded.dead.len();
        }
        assert_eq!((good, dead), (body.good as usize, body.dead as usize), "the job sees what the collector saw");
    }
);

/// Every line is an event or has a reason; events are as good as any that came in a batch.
fn check(decoded: &DecodedRecord) -> Vec<u32> {
    let mut indexes: Vec<u32> = decoded.parts.iter().flat_map(|part| part.indexes.iter().copied()).collect();
    indexes.extend(decoded.dead.iter().map(|line| line.index));
    indexes.sort_unstable();
    assert!(indexes.iter().enumerate().all(|(place, index)| place == *index as usize), "{indexes:?}");
    for part in &decoded.parts {
        assert_eq!(part.batch.events.len(), part.indexes.len());
        assert!(part.batch.events.iter().all(|event| event.payload.is_some()));
        marquee_fuzz::check_batch(&part.batch);
    }
    for line in &decoded.dead {
        assert!(!line.problem.reason().is_empty() && !line.problem.to_string().is_empty());
    }
    indexes
}
