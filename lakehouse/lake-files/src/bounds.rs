//! Least and greatest values as Parquet's statistics have them.

use parquet::data_type::ByteArray;
use parquet::file::statistics::{Statistics, ValueStatistics};

/// Longer texts are cut in statistics and in the page index, as the library does.
const LONGEST_BOUND: usize = 64;

/// A value that pages and columns have bounds of.
pub(crate) trait Bound: Copy + PartialOrd {
    /// Plain bytes, not above the value.
    fn lower(self) -> Vec<u8>;
    /// Plain bytes, not below the value.
    fn upper(self) -> Vec<u8>;
    /// The statistics of a column chunk.
    fn statistics(bounds: Option<(Self, Self)>, nulls: u64) -> Statistics;
}

macro_rules! exact_bound {
    ($type:ty, $variant:ident, $bytes:expr, $signed:expr) => {
        impl Bound for $type {
            fn lower(self) -> Vec<u8> {
                $bytes(self)
            }

            fn upper(self) -> Vec<u8> {
                $bytes(self)
            }

            fn statistics(bounds: Option<(Self, Self)>, nulls: u64) -> Statistics {
                let statistics =
                    ValueStatistics::new(bounds.map(|b| b.0), bounds.map(|b| b.1), None, Some(nulls), false);
                Statistics::$variant(statistics.with_backwards_compatible_min_max($signed))
            }
        }
    };
}

exact_bound!(i32, Int32, |value: i32| value.to_le_bytes().to_vec(), true);
exact_bound!(i64, Int64, |value: i64| value.to_le_bytes().to_vec(), true);
exact_bound!(bool, Boolean, |value: bool| vec![u8::from(value)], false);

impl Bound for &str {
    fn lower(self) -> Vec<u8> {
        self.as_bytes()[..self.floor_char_boundary(LONGEST_BOUND)].to_vec()
    }

    fn upper(self) -> Vec<u8> {
        if self.len() <= LONGEST_BOUND {
            return self.as_bytes().to_vec();
        }
        let cut = &self[..self.floor_char_boundary(LONGEST_BOUND)];
        next_text(cut).unwrap_or_else(|| self.as_bytes().to_vec())
    }

    fn statistics(bounds: Option<(Self, Self)>, nulls: u64) -> Statistics {
        let Some((min, max)) = bounds else {
            return Statistics::ByteArray(ValueStatistics::new(None, None, None, Some(nulls), false));
        };
        let (lower, upper) = (min.lower(), max.upper());
        let exact = (lower == min.as_bytes(), upper == max.as_bytes());
        let (lower, upper) = (ByteArray::from(lower), ByteArray::from(upper));
        let statistics = ValueStatistics::new(Some(lower), Some(upper), None, Some(nulls), false);
        Statistics::ByteArray(statistics.with_min_is_exact(exact.0).with_max_is_exact(exact.1))
    }
}

/// The least text above all that start with this one, of the same length or shorter.
fn next_text(text: &str) -> Option<Vec<u8>> {
    text.char_indices().rev().find_map(|(at, last)| {
        let next = char::from_u32(u32::from(last) + 1).filter(|next| next.len_utf8() == last.len_utf8())?;
        let mut bytes = text.as_bytes()[..at].to_vec();
        bytes.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes());
        Some(bytes)
    })
}

/// Widens bounds by others.
pub(crate) fn widen<B: Bound>(bounds: &mut Option<(B, B)>, min: B, max: B) {
    *bounds = Some(match *bounds {
        None => (min, max),
        Some((least, greatest)) => (if min < least { min } else { least }, if max > greatest { max } else { greatest }),
    });
}
