//! Lines that are no events, each with its reason and the key that is to blame.

use crate::{MAX_LINE_BYTES, Report};

fn check(line: &str, reason: &str, key: Option<&str>, words: &str) {
    let problem = Report::parse(line.as_bytes()).expect_err(line);
    assert_eq!((problem.reason(), problem.key()), (reason, key), "{line}: {problem}");
    assert!(problem.to_string().contains(words), "{line}: {problem}");
}

/// A good report with one key's value replaced or added.
fn check_key(key: &str, value: &str, words: &str) {
    let keys = [("e", "t"), ("sid", "\"s\""), ("sn", "1"), ("ts", "5"), ("v", "2")];
    let mut line: Vec<String> =
        keys.iter().filter(|(name, _)| *name != key).map(|(name, value)| format!("{name}={value}")).collect();
    line.push(format!("{key}={value}"));
    check(&line.join(","), "cmcd_key", Some(key), words);
}

#[test]
fn what_is_no_dictionary() {
    let cut = r#"bl=(100),br=(5000),cid="title-1",e=ps,sid="abc"#;
    for length in [1, 4, 8, 24, 40, cut.len()] {
        let line = &cut[..length];
        assert!(Report::parse(line.as_bytes()).is_err(), "{line}");
    }
    check(cut, "cmcd_syntax", None, "unterminated string");
    check("e=ps,", "cmcd_syntax", None, "trailing comma");
    check("{\"events\":[]}", "cmcd_syntax", None, "dictionary");
    check("CMCD=sid%3D%22s%22", "cmcd_syntax", None, "key");
    check("bl=(100", "cmcd_syntax", None, "unterminated");
    check("ts=@5", "cmcd_syntax", None, "RFC 8941");
    check("sn=1234567890123456", "cmcd_syntax", None, "digits");
    assert_eq!(Report::parse(b"cid=\"\xff\"").expect_err("no UTF-8").reason(), "cmcd_syntax");
    assert_eq!(Report::parse(b"cid=\"a\0b\"").expect_err("a control character").reason(), "cmcd_syntax");
}

#[test]
fn long_lines() {
    let line = format!("cs=\"{}\",sid=\"s\"", "x".repeat(MAX_LINE_BYTES - 13));
    assert_eq!(line.len(), MAX_LINE_BYTES);
    Report::parse(line.as_bytes()).expect("just fits");
    check(&format!("{line} "), "cmcd_line_too_long", None, "16384 bytes");
    let megabyte = "a".repeat(1 << 20);
    check(&megabyte, "cmcd_line_too_long", None, "16384 bytes");
}

#[test]
fn what_is_missing() {
    let missing = |line: &str, key: &str| check(line, "cmcd_missing_key", Some(key), "is missing");
    missing("e=t,sn=1,ts=5,v=2", "sid");
    missing("e=t,sid=\"\",sn=1,ts=5,v=2", "sid");
    missing("br=3200", "sid");
    missing("e=t,sid=\"s\",sn=1,v=2", "ts");
    missing("e=t,sid=\"s\",ts=5,v=2", "sn");
    missing("sid=\"s\",sn=1,ts=5,v=2", "e");
    missing("e=ps,sid=\"s\",sn=1,ts=5,v=2", "sta");
    missing("e=bc,sid=\"s\",sn=1,ts=5,v=2", "br");
    missing("br=(),e=bc,sid=\"s\",sn=1,ts=5,v=2", "br");
    // A request's report of version 2 is good where requests are looked at.
    Report::parse_request(b"br=(5000;v),sid=\"s\",sn=1,v=2").expect("goes with a request");
}

#[test]
fn unknown_keys() {
    let unknown = |line: &str, key: &str| check(line, "cmcd_unknown_key", Some(key), "hyphen");
    unknown("e=t,sid=\"s\",sn=1,ts=5,v=2,zz=1", "zz");
    unknown("buffer=1,sid=\"s\"", "buffer");
    let long = "x".repeat(300);
    unknown(&format!("{long},sid=\"s\""), &format!("{}…", "x".repeat(40)));
    for custom in ["com.example-rating=5", "com.example-id=\"a\"", "x-y", "com.example-list=(1 2)"] {
        Report::parse(format!("{custom},e=t,sid=\"s\",sn=1,ts=5,v=2").as_bytes()).expect(custom);
    }
}

#[test]
fn wrong_types() {
    for key in ["sid", "cid", "cdn", "h", "cen", "cs", "url", "cmsdd", "cmsds", "smrt", "nrr"] {
        check_key(key, "5", "must be a string");
        check_key(key, "abc", "must be a string");
        check_key(key, "(\"a\")", "must not be a list");
    }
    for key in ["sn", "ts", "v", "rc", "dfa"] {
        check_key(key, "\"5\"", "must be an integer");
        check_key(key, "5.5", "must be an integer");
        check_key(key, "(5)", "must not be a list");
    }
    for key in ["d", "dl", "ltc", "msd", "pt", "rtp", "ttfb", "ttfbb", "ttlb"] {
        check_key(key, "\"5\"", "must be a number");
        check_key(key, "?1", "must be a number");
        check_key(key, "(5)", "must not be a list");
    }
    for key in ["ab", "lab", "tab", "br", "lb", "tb", "pb", "tpb", "mtp", "bl", "tbl", "bsa", "bsd", "bsda"] {
        check_key(key, "\"5\"", "must be a number");
        check_key(key, "(5;v \"5\";a)", "must be a number");
        check_key(key, "(5;x)", "unknown object type `x`");
        check_key(key, "(5;ot=x)", "unknown object type `x`");
        check_key(key, "-5", "is -5, which is not between 0");
    }
    for key in ["bg", "bs", "nr", "su"] {
        check_key(key, "1", "must be a boolean");
        check_key(key, "true", "must be a boolean");
    }
    for key in ["e", "sta", "sf", "st", "ot"] {
        check_key(key, "\"p\"", "must be a token");
        check_key(key, "zz", "has the unknown value `zz`");
        check_key(key, "5", "must be a token");
    }
    check_key("pr", "fast", "must be a number");
    check_key("ec", "(fatal)", "must be a list of strings");
    check_key("nor", "(a)", "must be a list of strings");
}

#[test]
fn ranges_and_lengths() {
    check_key("v", "3", "is 3, which is not between 1 and 2");
    check_key("v", "0", "is 0");
    check_key("sn", "-1", "is -1");
    check_key("sn", "4294967296", "is 4294967296, which is not between 0 and 4294967295");
    check_key("ts", "-1", "is -1");
    check_key("rc", "1000", "is 1000");
    check_key("br", "10000001", "is 10000001");
    check_key("bl", "(4294967296)", "is 4294967296");
    check_key("pr", "100.001", "is 100001");
    for (key, max_chars) in [("sid", 64), ("cid", 128), ("cdn", 128), ("h", 128), ("cen", 64)] {
        let text = |length| format!("\"{}\"", "x".repeat(length));
        check_key(key, &text(max_chars + 1), &format!("at most {max_chars}"));
        let line = format!("e=t,sid=\"s\",{key}={},sn=1,ts=5,v=2", text(max_chars));
        Report::parse(line.as_bytes()).expect("just fits");
    }
    check_key("cid", &format!("\"{}\"", "映".repeat(86)), "has 258 bytes, at most 256");
    check_key("ec", &format!("(\"{}\")", "x".repeat(257)), "at most 256");
}
