//! Whose work a record belongs to, as W3C Trace Context says it: the header `traceparent` of the request that brought it.

use std::fmt;

/// `00-`, trace id, `-`, parent id, `-`, flags: hexadecimal.
const LEN: usize = 55;

/// The bits of the flags that version 00 knows: sampled. Of others a later version says more than we understand.
const KNOWN_FLAGS: u8 = 0b0000_0001;

/// A valid `traceparent`, in version 00 of <https://www.w3.org/TR/trace-context/>. Nothing is decided by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent([u8; LEN]);

impl TraceParent {
    /// Reads a header's value; `None` when it is not valid. Of a later version the parts that version 00 has are kept, as
    /// the standard wants it.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (head, rest) = value.split_first_chunk::<LEN>()?;
        let is_hex = |bytes: &[u8]| bytes.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let is_known = |bytes: &[u8]| is_hex(bytes) && bytes.iter().any(|b| *b != b'0');
        let (version, trace, parent, flags) = (&head[..2], &head[3..35], &head[36..52], &head[53..]);
        let dashes = [head[2], head[35], head[52]] == [b'-'; 3];
        if !(dashes && is_hex(version) && is_known(trace) && is_known(parent) && is_hex(flags)) {
            return None;
        }
        match version {
            b"00" => rest.is_empty().then_some(Self(*head)),
            b"ff" => None,
            _ if rest.is_empty() || rest[0] == b'-' => {
                let mut known = *head;
                known[..2].copy_from_slice(b"00");
                let flags = u8::from_str_radix(std::str::from_utf8(flags).ok()?, 16).ok()?;
                known[53..].copy_from_slice(if flags & KNOWN_FLAGS == 0 { b"00" } else { b"01" });
                Some(Self(known))
            }
            _ => None,
        }
    }

    /// As a header's value.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal and dashes")
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn check(value: &str, expected: Option<&str>) {
        assert_eq!(TraceParent::parse(value.as_bytes()).as_ref().map(TraceParent::as_str), expected, "{value}");
    }

    #[test]
    fn what_is_valid_is_kept_and_nothing_else() {
        check(GOOD, Some(GOOD));
        let unsampled = GOOD.replace("-01", "-00");
        check(&unsampled, Some(&unsampled));
        // The second version of the standard has more flags in version 00.
        let random = GOOD.replace("-01", "-03");
        check(&random, Some(&random));
        for bad in [
            "",
            &GOOD[..54],
            &format!("{GOOD} "),
            &format!("{GOOD}-00"),
            &GOOD.to_uppercase(),
            &GOOD.replace("00-4", "ff-4"),
            &GOOD.replace("00-4", "0g-4"),
            &GOOD.replace("-01", "-0x"),
            &GOOD.replace("-01", "_01"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        check(&GOOD.replace("00-4", "01-4"), Some(GOOD));
        check(&format!("{}-what-comes", GOOD.replace("00-4", "cc-4")), Some(GOOD));
        check(&GOOD.replace("00-4", "01-4").replace("-01", "-fe"), Some(&GOOD.replace("-01", "-00")));
        check(&format!("{}.what-comes", GOOD.replace("00-4", "cc-4")), None);
    }

    #[test]
    fn whatever_a_byte_becomes_it_is_read_again_or_not_at_all() {
        let mut valid = 0;
        for (at, byte) in (0..GOOD.len()).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte))) {
            let mut value = GOOD.as_bytes().to_vec();
            value[at] = byte;
            if let Some(parsed) = TraceParent::parse(&value) {
                assert_eq!(TraceParent::parse(parsed.as_str().as_bytes()), Some(parsed));
                valid += 1;
            }
        }
        // Sixteen digits at each of 52 places, and each dash as it is.
        assert_eq!(valid, 52 * 16 + 3);
    }
}
