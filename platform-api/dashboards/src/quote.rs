//! Values in SQL. The lake takes queries as text, so everything that comes from a browser passes through here or is a
//! number. DataFusion's generic dialect knows no escape in a string but the doubled quote.

use chrono::{DateTime, SecondsFormat};

/// A text as a SQL literal.
pub(crate) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// An instant (ms since the epoch) as a SQL literal that compares with columns of kind timestamp.
pub(crate) fn instant(ms: i64) -> String {
    let instant = DateTime::from_timestamp_millis(ms).unwrap_or_default();
    format!("TIMESTAMP '{}'", instant.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// The UTC date of an instant (ms since the epoch), as partition columns hold it, as a SQL literal.
pub(crate) fn date(ms: i64) -> String {
    format!("'{}'", DateTime::from_timestamp_millis(ms).unwrap_or_default().format("%Y-%m-%d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable() {
        assert_eq!(instant(1_700_000_000_000), "TIMESTAMP '2023-11-14T22:13:20.000Z'");
        assert_eq!(date(1_700_000_000_000), "'2023-11-14'");
        assert_eq!(text("it's"), "'it''s'");
    }
}
