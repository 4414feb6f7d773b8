//! `grpc-timeout` of a request (gRPC over HTTP/2: at most eight digits and a unit). tonic cuts requests off when it is
//! over; pages are made with it in mind, so that they are ready before.

use std::time::Duration;

use tonic::metadata::MetadataMap;

/// What the request says; `None` when it says nothing, or nothing that can be read, which tonic ignores as well.
pub(crate) fn of(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_the_specification() {
        let check = |text: &str, expect: Option<Duration>| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            assert_eq!(of(&metadata), expect, "{text}");
        };
        check("1H", Some(Duration::from_secs(3600)));
        check("99999999M", Some(Duration::from_secs(99_999_999 * 60)));
        check("10S", Some(Duration::from_secs(10)));
        check("1m", Some(Duration::from_millis(1)));
        check("7u", Some(Duration::from_micros(7)));
        check("0n", Some(Duration::ZERO));
        for refused in ["", "m", "1", "1x", "+1m", "999999999m", "-1S", "1 m"] {
            check(refused, None);
        }
        assert_eq!(of(&MetadataMap::new()), None);
    }
}
