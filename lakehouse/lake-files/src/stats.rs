//! Delta's statistics of a file, from the Parquet file's own. A bound that is too narrow makes queries lose rows in
//! silence: where a bound cannot be stated exactly it is widened, and where it cannot be widened it is left out.

use marquee_lake::{Column, ColumnKind, TableSpec};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use serde_json::{Map, Value, json};

/// Delta reads the statistics of so many columns (`delta.dataSkippingNumIndexedCols`, default).
const INDEXED_COLUMNS: usize = 32;

/// Longer text is cut, as Spark does: the log is read whole by every reader.
const LONGEST_TEXT_CHARS: usize = 32;

/// Years that every reader of ISO 8601 understands (µs since the epoch): 0001 to 9999.
const EARLIEST_US: i64 = -62_135_596_800_000_000;
const LATEST_US: i64 = 253_402_300_799_999_000;

/// The `stats` of an `add` action.
pub(crate) fn from_parquet(spec: &TableSpec, file: &ParquetMetaData) -> String {
    let (mut min_values, mut max_values, mut null_count) = (Map::new(), Map::new(), Map::new());
    let indexed = spec.columns.iter().filter(|column| spec.partition_by != Some(column.name)).take(INDEXED_COLUMNS);
    for column in indexed {
        // Nested columns have no leaf of their own name.
        let leaves = file.file_metadata().schema_descr().columns();
        let Some(leaf) = leaves.iter().position(|leaf| leaf.path().parts() == [column.name]) else { continue };
        let Some(nulls) = sum_of_nulls(file.row_groups(), leaf) else { continue };
        null_count.insert(column.name.to_owned(), nulls.into());
        if let Some((min, max)) = bounds(column, file.row_groups(), leaf) {
            min.map(|min| min_values.insert(column.name.to_owned(), min));
            max.map(|max| max_values.insert(column.name.to_owned(), max));
        }
    }
    let rows = file.file_metadata().num_rows();
    json!({ "numRecords": rows, "minValues": min_values, "maxValues": max_values, "nullCount": null_count }).to_string()
}

fn sum_of_nulls(groups: &[RowGroupMetaData], leaf: usize) -> Option<u64> {
    groups.iter().map(|group| group.column(leaf).statistics()?.null_count_opt()).sum()
}

/// Bounds over all row groups; `None` when one of them does not say. Row groups without values have none to bound.
fn bounds(column: &Column, groups: &[RowGroupMetaData], leaf: usize) -> Option<(Option<Value>, Option<Value>)> {
    let mut all: Option<(Bound, Bound)> = None;
    for group in groups {
        let stats = group.column(leaf).statistics()?;
        if stats.null_count_opt() == u64::try_from(group.num_rows()).ok() {
            continue;
        }
        let min = Bound::parse(column.kind, stats.min_bytes_opt()?)?;
        let max = Bound::parse(column.kind, stats.max_bytes_opt()?)?;
        all = Some(match all {
            None => (min, max),
            Some((least, greatest)) => (least.min(min), greatest.max(max)),
        });
    }
    let (min, max) = all?;
    Some((min.lower(), max.upper()))
}

/// A value of the Parquet statistics. Doubles, booleans and bytes get no bounds: NaN has no place in an order, and the
/// others prune nothing.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bound {
    Int(i64),
    Timestamp(i64),
    Text(String),
}

impl Bound {
    fn parse(kind: ColumnKind, bytes: &[u8]) -> Option<Self> {
        match kind {
            ColumnKind::Int => Some(Bound::Int(i64::from_le_bytes(bytes.try_into().ok()?))),
            ColumnKind::Int32 => Some(Bound::Int(i32::from_le_bytes(bytes.try_into().ok()?).into())),
            ColumnKind::Timestamp => Some(Bound::Timestamp(i64::from_le_bytes(bytes.try_into().ok()?))),
            ColumnKind::Text | ColumnKind::DateText => Some(Bound::Text(String::from_utf8(bytes.to_vec()).ok()?)),
            ColumnKind::Float | ColumnKind::Bool | ColumnKind::Bytes | ColumnKind::IntList => None,
        }
    }

    /// Not above the value.
    fn lower(self) -> Option<Value> {
        match self {
            Bound::Int(value) => Some(value.into()),
            Bound::Timestamp(value_us) => iso_8601(value_us.div_euclid(1_000)),
            Bound::Text(text) => Some(text.chars().take(LONGEST_TEXT_CHARS).collect::<String>().into()),
        }
    }

    /// Not below the value.
    fn upper(self) -> Option<Value> {
        match self {
            Bound::Int(value) => Some(value.into()),
            Bound::Timestamp(value_us) => iso_8601(value_us.checked_add(999)?.div_euclid(1_000)),
            Bound::Text(text) => text_above(&text).map(Value::from),
        }
    }
}

/// Delta's timestamps have milliseconds.
fn iso_8601(value_ms: i64) -> Option<Value> {
    let representable = (EARLIEST_US / 1_000..=LATEST_US / 1_000).contains(&value_ms);
    let instant = chrono::DateTime::from_timestamp_millis(value_ms).filter(|_| representable)?;
    Some(instant.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string().into())
}

/// The text itself when it is short, else a short text above everything that starts like it.
fn text_above(text: &str) -> Option<String> {
    let Some((cut, _)) = text.char_indices().nth(LONGEST_TEXT_CHARS) else { return Some(text.to_owned()) };
    let mut prefix: Vec<char> = text[..cut].chars().collect();
    while let Some(last) = prefix.pop() {
        // The order of UTF-8 bytes is the order of code points; surrogates are none.
        let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(u32::from(last) + 1) };
        if let Some(next) = next {
            prefix.push(next);
            return Some(prefix.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_bounds_enclose() {
        let long_z = "z".repeat(40);
        let last = char::MAX.to_string().repeat(40);
        let before_surrogates = format!("{}\u{d7ff}x", "a".repeat(31));
        for text in
            ["", "short", &long_z, &"ü€😀".repeat(20), &before_surrogates, &format!("{}{}", "b".repeat(20), last)]
        {
            let lower = Bound::Text((*text).to_owned()).lower().unwrap();
            let upper = Bound::Text((*text).to_owned()).upper().unwrap();
            assert!(lower.as_str().unwrap() <= text && text <= upper.as_str().unwrap(), "{lower} {text} {upper}");
            assert!(upper.as_str().unwrap().chars().count() <= LONGEST_TEXT_CHARS);
        }
        assert_eq!(Bound::Text(last).upper(), None);
    }

    #[test]
    fn timestamps_round_outwards() {
        let check = |value_us: i64, lower: &str, upper: &str| {
            assert_eq!(Bound::Timestamp(value_us).lower().unwrap(), lower);
            assert_eq!(Bound::Timestamp(value_us).upper().unwrap(), upper);
        };
        check(0, "1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00.000Z");
        check(1, "1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00.001Z");
        check(-1, "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00.000Z");
        check(-1_000, "1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z");
        check(LATEST_US, "9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z");
        for unspeakable in [i64::MIN, EARLIEST_US - 1_000, LATEST_US + 1_000, i64::MAX] {
            let bound = || Bound::Timestamp(unspeakable);
            assert_eq!((bound().lower(), bound().upper()), (None, None), "{unspeakable}");
        }
    }
}
