//! Every key of CMCD 1 and 2 with the type and the range of its value: the one place that knows them. A key that is not
//! here is unknown, unless its name has a hyphen.

use std::ops::RangeInclusive;

/// What a key's value must be.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// `?0`, `?1` or nothing at all.
    Flag,
    /// A whole number.
    Integer(RangeInclusive<i64>),
    /// A whole number too; players that did not round send decimals, which are rounded here.
    Measure(RangeInclusive<i64>),
    /// An inner list of measures, each with the object type that it is for (`(5000;v 128;a)`), or without. Version 1
    /// sends a single number.
    Measures(RangeInclusive<i64>),
    /// A number with up to three decimals.
    Rate(RangeInclusive<i64>),
    /// A string of at most so many characters.
    Text(usize),
    /// An inner list of strings of at most so many characters, or one string.
    Texts(usize),
    /// One of these.
    Token(&'static [&'static str]),
}

/// A key of the specification.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

/// What a list's numbers and a request are for: manifest, audio, video, both muxed, init segment, caption, timed text,
/// key, other.
pub(crate) const OBJECT_TYPES: &[&str] = &["m", "a", "v", "av", "i", "c", "tt", "k", "o"];

/// Durations and playheads (ms): the playhead of a live stream may be the wall clock.
const TIME_MS: RangeInclusive<i64> = -MAX_INTEGER..=MAX_INTEGER;
/// Buffers (ms) are kept in 32 bits, 49 days.
const BUFFER_MS: RangeInclusive<i64> = 0..=u32::MAX as i64;
/// Bitrates and throughputs (kbit/s): as much as the job accepts, 10 Gbit/s.
const KBPS: RangeInclusive<i64> = 0..=10_000_000;
const COUNT: RangeInclusive<i64> = 0..=MAX_INTEGER;
/// Thousandths; reverse play is negative. Players reach 16.
const RATE_PER_MILLE: RangeInclusive<i64> = -100_000..=100_000;
/// Larger ones are not counted by the player, see `UNCOUNTED_FROM`.
const SEQUENCE: RangeInclusive<i64> = 0..=(crate::UNCOUNTED_FROM - 1) as i64;
/// RFC 8941 §3.3.1: fifteen digits.
const MAX_INTEGER: i64 = 999_999_999_999_999;
/// Where the specification names no bound, the line's is the one.
const ANY_LENGTH: usize = crate::MAX_LINE_BYTES;

const fn key(name: &'static str, kind: Kind) -> Key {
    Key { name, kind }
}

/// By name.
const KEYS: [Key; 51] = [
    key("ab", Kind::Measures(KBPS)),
    key("bg", Kind::Flag),
    key("bl", Kind::Measures(BUFFER_MS)),
    key("br", Kind::Measures(KBPS)),
    key("bs", Kind::Flag),
    key("bsa", Kind::Measures(COUNT)),
    key("bsd", Kind::Measures(COUNT)),
    key("bsda", Kind::Measures(COUNT)),
    key("cdn", Kind::Text(128)),
    key("cen", Kind::Text(64)),
    key("cid", Kind::Text(128)),
    key("cmsdd", Kind::Text(ANY_LENGTH)),
    key("cmsds", Kind::Text(ANY_LENGTH)),
    key("cs", Kind::Text(ANY_LENGTH)),
    key("d", Kind::Measure(COUNT)),
    key("dfa", Kind::Integer(COUNT)),
    key("dl", Kind::Measure(TIME_MS)),
    key("e", Kind::Token(crate::report::EVENT_TOKENS)),
    key("ec", Kind::Texts(marquee_events::MAX_ID_BYTES)),
    key("h", Kind::Text(128)),
    key("lab", Kind::Measures(KBPS)),
    key("lb", Kind::Measures(KBPS)),
    key("ltc", Kind::Measure(TIME_MS)),
    key("msd", Kind::Measure(COUNT)),
    key("mtp", Kind::Measures(KBPS)),
    key("nor", Kind::Texts(ANY_LENGTH)),
    key("nr", Kind::Flag),
    key("nrr", Kind::Text(ANY_LENGTH)),
    key("ot", Kind::Token(OBJECT_TYPES)),
    key("pb", Kind::Measures(KBPS)),
    key("pr", Kind::Rate(RATE_PER_MILLE)),
    key("pt", Kind::Measure(TIME_MS)),
    key("rc", Kind::Integer(0..=999)),
    key("rtp", Kind::Measure(COUNT)),
    key("sf", Kind::Token(&["d", "h", "s", "e", "o"])),
    key("sid", Kind::Text(64)),
    key("smrt", Kind::Text(ANY_LENGTH)),
    key("sn", Kind::Integer(SEQUENCE)),
    key("st", Kind::Token(&["v", "l", "ll"])),
    key("sta", Kind::Token(crate::report::STATE_TOKENS)),
    key("su", Kind::Flag),
    key("tab", Kind::Measures(KBPS)),
    key("tb", Kind::Measures(KBPS)),
    key("tbl", Kind::Measures(BUFFER_MS)),
    key("tpb", Kind::Measures(KBPS)),
    key("ts", Kind::Integer(COUNT)),
    key("ttfb", Kind::Measure(COUNT)),
    key("ttfbb", Kind::Measure(COUNT)),
    key("ttlb", Kind::Measure(COUNT)),
    key("url", Kind::Text(ANY_LENGTH)),
    key("v", Kind::Integer(1..=2)),
];

/// The key with this name.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.binary_search_by(|key| key.name.cmp(name)).ok().map(|at| &KEYS[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_found() {
        assert!(KEYS.is_sorted_by(|a, b| a.name < b.name));
        for key in &KEYS {
            assert_eq!(find(key.name).map(|found| found.name), Some(key.name));
        }
        assert!(find("zz").is_none());
    }

    /// The list of CTA-5004-B and of version 1, written down once more.
    #[test]
    fn no_key_is_forgotten() {
        let known = "ab bg bl br bs bsa bsd bsda cdn cen cid cmsdd cmsds cs d dfa dl e ec h lab lb ltc msd mtp nor nr nrr \
                     ot pb pr pt rc rtp sf sid smrt sn st sta su tab tb tbl tpb ts ttfb ttfbb ttlb url v";
        assert_eq!(KEYS.iter().map(|key| key.name).collect::<Vec<_>>().join(" "), known);
    }
}
