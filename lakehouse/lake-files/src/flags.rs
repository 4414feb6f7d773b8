//! Columns of booleans: a bit a value.

use std::ops::Range;

use arrow::array::{Array as _, BooleanArray};
use parquet::basic::Encoding;

use crate::chunk::{Chunk, DataPage};
use crate::validity::{Validity, Words};

/// The column's pages, their bytes in `bytes`.
pub(crate) fn chunk<'b>(
    array: &BooleanArray,
    nullable: bool,
    pages: impl Iterator<Item = Range<usize>>,
    words: &mut Words,
    bytes: &'b mut Vec<u8>,
) -> Chunk<'b, bool> {
    bytes.clear();
    let validity = Validity::new(nullable, array.nulls());
    let mut values = Words::default();
    let mut data_pages = Vec::new();
    for rows in pages {
        let with_value = validity.start_page(rows.clone(), words, bytes);
        values.load(array.values(), rows.clone());
        let mut bits = Bits { out: bytes, bits: 0, filled: 0 };
        let mut ones = 0;
        if with_value == rows.len() {
            ones = values.ones();
            let mut left = rows.len();
            for word in values.words() {
                bits.put(*word, left.min(64) as u32);
                left = left.saturating_sub(64);
            }
        } else {
            for (value, valid) in values.words().iter().zip(words.words()) {
                ones += (value & valid).count_ones() as usize;
                bits.put(select(*value, *valid), valid.count_ones());
            }
        }
        bits.finish();
        let bounds = (with_value > 0).then_some((ones == with_value, ones > 0));
        let nulls = rows.len() - with_value;
        data_pages.push(DataPage { end: bytes.len(), rows: rows.len(), nulls, bounds, text_bytes: None });
    }
    Chunk { bytes, pages: data_pages, encoding: Encoding::PLAIN, dictionary: None, bloom_filter: None }
}

/// The bits of `value` where `mask` has one, moved together.
fn select(value: u64, mut mask: u64) -> u64 {
    if value & mask == 0 {
        return 0;
    }
    let (mut selected, mut place) = (0, 0);
    while mask != 0 {
        selected |= (value >> mask.trailing_zeros() & 1) << place;
        place += 1;
        mask &= mask - 1;
    }
    selected
}

/// Bits one after the other, the lowest of a byte first.
struct Bits<'a> {
    out: &'a mut Vec<u8>,
    bits: u64,
    filled: u32,
}

impl Bits<'_> {
    /// Adds the lowest `count` bits; those above are 0.
    fn put(&mut self, bits: u64, count: u32) {
        self.bits |= bits << self.filled;
        if self.filled + count < u64::BITS {
            self.filled += count;
            return;
        }
        self.out.extend_from_slice(&self.bits.to_le_bytes());
        self.bits = if self.filled == 0 { 0 } else { bits >> (u64::BITS - self.filled) };
        self.filled = self.filled + count - u64::BITS;
    }

    fn finish(self) {
        self.out.extend_from_slice(&self.bits.to_le_bytes()[..self.filled.div_ceil(8) as usize]);
    }
}
