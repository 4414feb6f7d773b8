//! Bodies into records, records into events: nothing is lost on the way, whatever is wrong with a line.

use super::{RECEIVED_MS, told};
use crate::{
    BodyError, DecodedRecord, MAX_LINE_BYTES, MAX_LINES_PER_BODY, MAX_SESSIONS_PER_BODY, RecordContext, SplitBody,
    decode_record, split_body,
};

fn line(session: &str, sequence: u64) -> String {
    format!("e=t,sid=\"{session}\",sn={sequence},ts={},v=2", 1_700_000_000_000 + sequence)
}

fn split(body: &str, query: &str) -> Result<SplitBody, BodyError> {
    split_body(body.as_bytes(), &RecordContext::from_query(query).expect("a context"))
}

fn events(decoded: &DecodedRecord) -> Vec<(u32, String)> {
    let of_part = |part: &crate::Part| {
        assert_eq!(part.indexes.len(), part.batch.events.len());
        part.indexes.iter().copied().zip(part.batch.events.iter().map(told)).collect::<Vec<_>>()
    };
    decoded.parts.iter().flat_map(of_part).collect()
}

#[test]
fn a_body_becomes_a_record_a_session() {
    let body = format!("{}\r\n\n{}\n{}\n \n{}\n", line("b", 0), line("a", 0), line("b", 1), line("a", 1));
    let split = split(&body, "player=hls.js&title_id=a%20%26%20b").expect("is good");
    assert_eq!((split.good, split.dead), (4, 0));
    let found: Vec<_> = split.sessions.iter().map(|s| (s.session_id.as_str(), s.lines)).collect();
    assert_eq!(found, [("b", 2), ("a", 2)]);
    let first = String::from_utf8(split.sessions[0].payload.clone()).expect("is text");
    assert_eq!(first, format!("title_id=a+%26+b&player=hls.js\n{}\n{}", line("b", 0), line("b", 1)));
    let decoded = decode_record(&split.sessions[0].payload, RECEIVED_MS).expect("is a record");
    assert_eq!((decoded.parts.len(), decoded.dead.len()), (1, 0));
    let context = &decoded.parts[0].batch.context;
    assert_eq!(
        (context.session_id.as_ref(), context.title_id.as_ref(), context.player.as_ref()),
        ("b", "a & b", "hls.js")
    );
    assert_eq!(events(&decoded).iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_record_without_context_begins_with_an_empty_line() {
    let split = split(&line("a", 0), "").expect("is good");
    assert_eq!(split.sessions[0].payload[0], b'\n');
    assert_eq!(events(&decode_record(&split.sessions[0].payload, RECEIVED_MS).expect("is a record")).len(), 1);
}

#[test]
fn bad_lines_keep_their_place_and_cost_no_good_one() {
    let long = "x".repeat(1 << 20);
    let body = [
        line("a", 0),
        "e=zz,sid=\"a\",sn=1,ts=5,v=2".to_owned(),
        "cut=\"off".to_owned(),
        line("a", 2),
        long,
        "e=t,sid=\"b\",ts=5,v=2".to_owned(),
    ];
    let split = split(&body.join("\n"), "").expect("has good lines");
    assert_eq!((split.good, split.dead), (2, 4));
    let found: Vec<_> = split.sessions.iter().map(|s| (s.session_id.as_str(), s.lines)).collect();
    assert_eq!(found, [("a", 3), ("", 2), ("b", 1)]);
    let decode = |index: usize| decode_record(&split.sessions[index].payload, RECEIVED_MS).expect("is a record");
    let (of_a, of_nobody, of_b) = (decode(0), decode(1), decode(2));
    assert_eq!(events(&of_a).iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 2]);
    let dead = |decoded: &DecodedRecord| {
        decoded.dead.iter().map(|dead| (dead.index, dead.problem.reason())).collect::<Vec<_>>()
    };
    assert_eq!(dead(&of_a), [(1, "cmcd_key")]);
    assert_eq!(dead(&of_nobody), [(0, "cmcd_syntax"), (1, "cmcd_line_too_long")]);
    assert_eq!(dead(&of_b), [(0, "cmcd_missing_key")]);
    assert!(split.sessions[1].payload.len() <= "\ncut=\"off\n".len() + MAX_LINE_BYTES + 1, "the long line is cut");
}

#[test]
fn contexts_that_differ_are_not_mixed() {
    let lines = [
        r#"e=t,sid="s",sn=0,ts=1,v=2"#,
        r#"cid="one",e=t,sid="s",sn=1,st=v,ts=2,v=2"#,
        r#"cdn="a",e=t,sid="s",sn=2,ts=3,v=2"#,
        r#"cdn="b",cid="one",e=t,sid="s",sn=3,ts=4,v=2"#,
    ];
    let split = split(&lines.join("\n"), "").expect("is good");
    let decoded = decode_record(&split.sessions[0].payload, RECEIVED_MS).expect("is a record");
    let parts: Vec<_> = decoded
        .parts
        .iter()
        .map(|part| {
            let context = &part.batch.context;
            (context.cdn.as_ref(), context.title_id.as_ref(), context.stream_type.as_ref(), part.indexes.as_slice())
        })
        .collect();
    assert_eq!(parts, [("a", "one", "vod", [0, 1, 2].as_slice()), ("b", "one", "", [3].as_slice())]);
}

#[test]
fn lines_of_version_1_follow_each_other() {
    let split = split("br=1000,ot=v,sid=\"s\"\nbr=2000,ot=v,sid=\"s\"", "").expect("is good");
    let decoded = decode_record(&split.sessions[0].payload, RECEIVED_MS).expect("is a record");
    let sequences: Vec<_> = decoded.parts[0].batch.events.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, [(1_700_000_000_000_u64 << 12), (1_700_000_000_000_u64 << 12) + 1]);
}

#[test]
fn bodies_that_are_refused_as_a_whole() {
    let refused = |body: &str| split(body, "").expect_err("is refused");
    assert_eq!(refused(""), BodyError::Empty);
    assert_eq!(refused("\r\n \n"), BodyError::Empty);
    let BodyError::NoCmcd(problem) = refused("cut=\"off\n{}\n") else { panic!("names the first line") };
    assert!(problem.to_string().contains("unterminated string"), "{problem}");
    let many = |count: usize| (0..count as u64).map(|sequence| line("a", sequence)).collect::<Vec<_>>().join("\n");
    assert_eq!(refused(&many(MAX_LINES_PER_BODY + 1)), BodyError::TooManyLines);
    assert_eq!(split(&many(MAX_LINES_PER_BODY), "").expect("just fits").good as usize, MAX_LINES_PER_BODY);
    let sessions = |count: usize| (0..count).map(|n| line(&format!("s{n}"), 0)).collect::<Vec<_>>().join("\n");
    assert_eq!(refused(&sessions(MAX_SESSIONS_PER_BODY + 1)), BodyError::TooManySessions);
    let just = format!("{}\nno session\n", sessions(MAX_SESSIONS_PER_BODY));
    assert_eq!(split(&just, "").expect("just fits").sessions.len(), MAX_SESSIONS_PER_BODY + 1);
    assert_eq!(refused(&format!("{just}{}", line("more", 0))), BodyError::TooManySessions);
}

/// A player that is set up without `sid`, as dash.js is when its target has no `enabledKeys`, is a player nevertheless.
#[test]
fn reports_without_session_are_dead_letters() {
    let split = split("e=ps,ts=5,v=2\nfoo bar\n", "").expect("comes from a player");
    assert_eq!((split.good, split.dead), (0, 2));
    let (index, problem) = split.first_dead.expect("a dead line");
    assert_eq!((index, problem.reason(), problem.key()), (0, "cmcd_missing_key", Some("sid")));
    assert_eq!(split.sessions.len(), 1);
    assert_eq!((split.sessions[0].session_id.as_str(), split.sessions[0].lines), ("", 2));
}

#[test]
fn queries_that_are_no_context() {
    let refused = |query: &str, name: &str, words: &str| {
        let error = RecordContext::from_query(query).expect_err(query);
        assert_eq!(error.name, name);
        assert!(error.to_string().contains(words), "{error}");
    };
    refused("plyer=x", "plyer", "no field");
    refused("session_id=x", "session_id", "no field");
    refused("player_instance=x", "player_instance", "no field");
    refused("player=a&player=b", "player", "twice");
    refused("player=a%00b", "player", "NUL");
    refused(&format!("player={}", "x".repeat(257)), "player", "at most 256");
    let mut context = RecordContext::from_query("country=DE&player=").expect("is good");
    context.set("country", "FR");
    context.set("city", "");
    assert_eq!(context, RecordContext::from_query("country=FR").expect("is good"));
}

#[test]
fn a_record_that_is_none() {
    assert_eq!(decode_record(b"nonsense=1\ne=t", 0).expect_err("is none").field, "context");
    assert_eq!(decode_record(b"\xff\ne=t", 0).expect_err("is none").field, "context");
    assert_eq!(decode_record(b"", 0).expect("is empty"), DecodedRecord::default());
}
