//! One line of an access log: where its CMCD is and what time it tells. The formats of CDNs differ in everything else,
//! so nothing else is looked at.

use std::borrow::Cow;

use marquee_cmcd::{Problem, Report};

/// A line whose CMCD could be read.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    /// Milliseconds since the epoch.
    pub(super) at_ms: i64,
    pub(super) report: Report,
}

/// Reads a line; `None` when it has no CMCD. The error says what is wrong with it.
pub(super) fn read(line: &[u8]) -> Option<Result<Line, String>> {
    let value = cmcd_value(line)?;
    let read = || {
        let report = report(value).map_err(|problem| format!("{}: {problem}", problem.reason()))?;
        if report.event_kind().is_some() {
            return Err("is about an event; players post those".to_owned());
        }
        let at_ms = time_ms(line).ok_or("has no time in a form that is known")?;
        Ok(Line { at_ms, report })
    };
    Some(read())
}

/// The value of the first query parameter `CMCD`.
fn cmcd_value(line: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"CMCD=";
    let begins = |at: &usize| match at.checked_sub(1).map(|before| line[before]) {
        // CloudFront has a column of its own for the query string, without the question mark.
        None | Some(b'?' | b'&' | b'\t' | b' ' | b'"') => true,
        Some(_) => false,
    };
    let at =
        line.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME).map(|(at, _)| at).find(begins)?;
    let value = &line[at + NAME.len()..];
    let end = value.iter().position(|byte| matches!(byte, b'&' | b'#' | b' ' | b'\t' | b'"'));
    Some(&value[..end.unwrap_or(value.len())])
}

/// CloudFront encodes a percent sign in its logs once more. Decoded once, such a value is no dictionary.
fn report(value: &[u8]) -> Result<Report, Problem> {
    let once = decoded(value);
    match Report::parse_request(&once) {
        Err(Problem::Syntax(problem)) if once.contains(&b'%') => {
            Report::parse_request(&decoded(&once)).map_err(|_| Problem::Syntax(problem))
        }
        parsed => parsed,
    }
}

/// Percent-decoded; a plus is a blank, as browsers encode query strings.
fn decoded(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(value);
    }
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16).map(|digit| digit as u8);
    let mut decoded = Vec::with_capacity(value.len());
    let mut at = 0;
    while let Some(byte) = value.get(at) {
        let escaped = || Some(digit(value.get(at + 1))? << 4 | digit(value.get(at + 2))?);
        match (byte, escaped()) {
            (b'%', Some(escaped)) => {
                decoded.push(escaped);
                at += 2;
            }
            (b'+', _) => decoded.push(b' '),
            _ => decoded.push(*byte),
        }
        at += 1;
    }
    Cow::Owned(decoded)
}

/// The first time in the line.
fn time_ms(line: &[u8]) -> Option<i64> {
    let mut at = 0;
    while at < line.len() {
        let rest = &line[at..];
        if let Some(found) = if rest[0] == b'[' { common_log_time(&rest[1..]) } else { iso_time(rest) } {
            return Some(found);
        }
        // A time begins a word or stands in brackets or quotes.
        let next = rest[1..].iter().position(|byte| matches!(byte, b'[')).map(|found| at + 1 + found);
        let word = rest.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'"')).map(|found| at + found + 1);
        at = match (next, word) {
            (Some(next), Some(word)) => next.min(word),
            (next, word) => next.or(word)?,
        };
    }
    None
}

/// `10/Oct/2000:13:55:36 -0700` (Common Log Format).
fn common_log_time(text: &[u8]) -> Option<i64> {
    const MONTHS: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let mut text = Digits(text);
    let day = text.number(2)?;
    text.skip(b"/")?;
    let name = text.0.get(..3)?;
    let month = MONTHS.iter().position(|month| *month == name)? as i64 + 1;
    text.0 = &text.0[3..];
    text.skip(b"/")?;
    let year = text.number(4)?;
    text.skip(b":")?;
    let clock_ms = text.clock_ms()?;
    text.skip(b" ")?;
    let offset_ms = text.offset_ms()?;
    Some(day_ms(year, month, day)? + clock_ms - offset_ms)
}

/// `2000-10-10T20:55:36.123+02:00`; date and time may also have a tab or a blank between them, and without an offset it
/// is UTC.
fn iso_time(text: &[u8]) -> Option<i64> {
    let mut text = Digits(text);
    let year = text.number(4)?;
    text.skip(b"-")?;
    let month = text.number(2)?;
    text.skip(b"-")?;
    let day = text.number(2)?;
    text.skip(b"T\t ")?;
    let clock_ms = text.clock_ms()?;
    let fraction_ms = text.fraction_ms();
    let offset_ms = text.offset_ms().unwrap_or_default();
    Some(day_ms(year, month, day)? + clock_ms + fraction_ms - offset_ms)
}

struct Digits<'a>(&'a [u8]);

impl Digits<'_> {
    fn number(&mut self, digits: usize) -> Option<i64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        number.iter().try_fold(0, |number, byte| Some(number * 10 + i64::from(char::from(*byte).to_digit(10)?)))
    }

    fn skip(&mut self, one_of: &[u8]) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        one_of.contains(first).then_some(())
    }

    /// `13:55:36`; a leap second counts as the one before.
    fn clock_ms(&mut self) -> Option<i64> {
        let hour = self.number(2)?;
        self.skip(b":")?;
        let minute = self.number(2)?;
        self.skip(b":")?;
        let second = self.number(2)?;
        let is_time = hour < 24 && minute < 60 && second <= 60;
        is_time.then(|| ((hour * 60 + minute) * 60 + second.min(59)) * 1000)
    }

    /// `.123456`, or nothing.
    fn fraction_ms(&mut self) -> i64 {
        let Some((b'.' | b',', fraction)) = self.0.split_first() else { return 0 };
        let length = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.0 = &fraction[length..];
        [100, 10, 1].iter().zip(&fraction[..length]).map(|(ms, digit)| ms * i64::from(digit - b'0')).sum()
    }

    /// `Z`, `-0700` or `+02:00`.
    fn offset_ms(&mut self) -> Option<i64> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        let sign = match first {
            b'Z' => return Some(0),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hours = self.number(2)?;
        if self.0.first() == Some(&b':') {
            self.0 = &self.0[1..];
        }
        let minutes = self.number(2)?;
        (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000)
    }
}

/// The beginning of a day of the Gregorian calendar (ms since the epoch), after Howard Hinnant's `days_from_civil`;
/// `None` when there is no such day.
fn day_ms(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(is_leap),
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days_in_month).contains(&day) {
        return None;
    }
    // Years begin in March, so that the leap day is their last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some((era * 146_097 + day_of_era - 719_468) * 86_400_000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check_time(line: &str, expected: Option<i64>) {
        assert_eq!(time_ms(line.as_bytes()), expected, "{line}");
    }

    #[test]
    fn times() {
        const AT_MS: i64 = 971_211_336_000; // date -d 2000-10-10T20:55:36Z +%s
        check_time(r#"1.2.3.4 - frank [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.1" 200 1"#, Some(AT_MS));
        check_time("2000-10-10\t20:55:36\tLHR3\t1024", Some(AT_MS));
        check_time("x 2000-10-10 20:55:36 y", Some(AT_MS));
        check_time(r#"<134>2000-10-10T20:55:36Z cache-lhr "GET /a""#, None);
        check_time(r#"<134> 2000-10-10T20:55:36Z cache-lhr "GET /a""#, Some(AT_MS));
        check_time(r#""2000-10-10T22:55:36.1239+02:00" "/a""#, Some(AT_MS + 123));
        check_time("2000-10-10T20:55:36,5+0000", Some(AT_MS + 500));
        check_time("[2000] 1.2.3.4 [10/Oct/2000:20:55:36 +0000]", Some(AT_MS));
        check_time("1970-01-01T00:00:00Z", Some(0));
        check_time("2024-02-29T23:59:60Z", Some(1_709_251_199_000));
        for none in ["", "[", "[10/Oct/2000", "2000-13-01T00:00:00Z", "2023-02-29T00:00:00Z", "2000-10-10", "x[]\"\" "]
        {
            check_time(none, None);
        }
    }

    #[test]
    fn cmcd_is_found_wherever_the_address_is() {
        let check = |line: &str, expected: Option<&str>| {
            assert_eq!(
                cmcd_value(line.as_bytes()).map(|v| std::str::from_utf8(v).expect("is text")),
                expected,
                "{line}"
            );
        };
        check("GET /a?CMCD=br%3D5 HTTP/1.1", Some("br%3D5"));
        check("GET /a?x=1&CMCD=br%3D5&y=2 HTTP/1.1", Some("br%3D5"));
        check("LHR\t/a.m4s\tCMCD=br%253D5\t-", Some("br%253D5"));
        check(r#""/a?CMCD=br%3D5""#, Some("br%3D5"));
        check("GET /a?XCMCD=1&CMCD=2", Some("2"));
        check("GET /a?xCMCD=1", None);
        check("GET /a?cmcd=1", None);
        check("GET /a?CMCD=", Some(""));
    }

    #[test]
    fn values_are_decoded_once_or_twice() {
        let bitrate = |value: &str| report(value.as_bytes()).map(|report| format!("{:?}", report.payload()));
        let once = bitrate("br%3D3200%2Cot%3Dv%2Csid%3D%22s%22").expect("is read");
        assert!(once.contains("bitrate_bps: 3200000"), "{once}");
        assert_eq!(bitrate("br%253D3200%252Cot%253Dv%252Csid%253D%2522s%2522").as_ref(), Ok(&once));
        assert_eq!(bitrate("br=3200,ot=v,sid=%22s%22").as_ref(), Ok(&once));
        assert_eq!(bitrate("br%3D%283200%3Bv+128%3Ba%29%2Cot=v,sid=%22s%22%2Csn%3D4%2Cv=2").as_ref(), Ok(&once));
        assert_eq!(bitrate("br%3D3200%2Csid%3D%22s").expect_err("is cut").reason(), "cmcd_syntax");
        assert_eq!(bitrate("br%3D3200%2").expect_err("is cut").reason(), "cmcd_syntax");
        assert_eq!(bitrate("").expect_err("is empty").key(), Some("sid"));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(line in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = read(&line);
            let _ = time_ms(&line);
        }

        #[test]
        fn almost_lines_never_panic(line in "(\\[?[0-9]{2}/Oct/2000:[0-9:]{8} [-+]?[0-9]{0,4}|[-0-9TZ:., \t\\[]{0,30})[?&]CMCD=[a-z%0-9=]{0,20}") {
            let _ = read(line.as_bytes());
        }

        /// Days follow each other without a gap.
        #[test]
        fn days_follow_each_other(year in 1970_i64..2400, month in 1_i64..=12) {
            let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            let last = (28..=31).rev().find_map(|day| day_ms(year, month, day)).expect("a last day");
            prop_assert_eq!(last + 86_400_000, day_ms(next_year, next_month, 1).expect("a first day"));
        }
    }
}
