//! Columns of integers: differences packed in blocks (DELTA_BINARY_PACKED), or a dictionary of one value when all are
//! equal. <https://parquet.apache.org/docs/file-format/data-pages/encodings/#DELTAENC>

use std::ops::Range;

use arrow::array::{Array as _, ArrowPrimitiveType, PrimitiveArray};
use parquet::basic::Encoding;

use crate::bounds::{Bound, widen};
use crate::chunk::{Chunk, DataPage, Dictionary};
use crate::hybrid::{Hybrid, varint};
use crate::validity::{Validity, Words};

const BLOCK: usize = 128;
const MINIBLOCKS: usize = 4;
const MINIBLOCK: usize = BLOCK / MINIBLOCKS;

/// An integer of a column; differences wrap within its own width, as the format wants it.
pub(crate) trait Int: Bound + Ord + Default + Into<i64> {
    fn minus(self, other: Self) -> Self;
    /// How far above `least`.
    fn above(self, least: Self) -> u64;
}

impl Int for i32 {
    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }

    fn above(self, least: Self) -> u64 {
        u64::from(self.wrapping_sub(least) as u32)
    }
}

impl Int for i64 {
    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }

    fn above(self, least: Self) -> u64 {
        self.wrapping_sub(least) as u64
    }
}

/// The column's pages, their bytes in `bytes`.
pub(crate) fn chunk<'b, T>(
    array: &PrimitiveArray<T>,
    nullable: bool,
    pages: impl Iterator<Item = Range<usize>>,
    words: &mut Words,
    bytes: &'b mut Vec<u8>,
) -> Chunk<'b, T::Native>
where
    T: ArrowPrimitiveType<Native: Int>,
{
    bytes.clear();
    let validity = Validity::new(nullable, array.nulls());
    let constant = constant(array);
    let mut data_pages = Vec::new();
    let mut with_values = Vec::new();
    for rows in pages {
        let with_value = validity.start_page(rows.clone(), words, bytes);
        let mut values = &array.values()[rows.clone()];
        if with_value < values.len() {
            with_values.clear();
            words.select(values, &mut with_values);
            values = &with_values;
        }
        let mut bounds = None;
        if constant.is_some() {
            bytes.push(0);
            let mut numbers = Hybrid::new(bytes, 0);
            numbers.put(0, with_value);
            numbers.finish();
            if with_value > 0 {
                bounds = constant.map(|value| (value, value));
            }
        } else {
            if let Some(first) = values.first() {
                let (min, max) = values.iter().fold((*first, *first), |(min, max), v| (min.min(*v), max.max(*v)));
                widen(&mut bounds, min, max);
            }
            delta(values, bytes);
        }
        let nulls = rows.len() - with_value;
        data_pages.push(DataPage { end: bytes.len(), rows: rows.len(), nulls, bounds, text_bytes: None });
    }
    let dictionary = constant.map(|value| Dictionary { plain: value.lower(), values: 1 });
    let encoding = if constant.is_some() { Encoding::RLE_DICTIONARY } else { Encoding::DELTA_BINARY_PACKED };
    Chunk { bytes, pages: data_pages, encoding, dictionary, bloom_filter: None }
}

/// The value that all rows have.
fn constant<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>) -> Option<T::Native>
where
    T::Native: Int,
{
    let first = array.iter().flatten().next()?;
    let differs = match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => array.values().chunks(BLOCK).any(|values| values.iter().any(|value| *value != first)),
        Some(_) => array.iter().flatten().any(|value| value != first),
    };
    (!differs).then_some(first)
}

/// The values of a page.
fn delta<T: Int>(values: &[T], out: &mut Vec<u8>) {
    varint(out, BLOCK as u64);
    varint(out, MINIBLOCKS as u64);
    varint(out, values.len() as u64);
    let Some((first, rest)) = values.split_first() else {
        varint(out, 0);
        return;
    };
    zigzag(out, (*first).into());
    let mut deltas = [T::default(); BLOCK];
    for (block, before) in rest.chunks(BLOCK).zip(values.chunks(BLOCK)) {
        let deltas = &mut deltas[..block.len()];
        for ((delta, value), last) in deltas.iter_mut().zip(block).zip(before) {
            *delta = value.minus(*last);
        }
        let least = deltas.iter().copied().fold(deltas[0], T::min);
        zigzag(out, least.into());
        let widths = out.len();
        out.extend_from_slice(&[0; MINIBLOCKS]);
        for (place, deltas) in deltas.chunks(MINIBLOCK).enumerate() {
            let any = deltas.iter().fold(0, |any, delta| any | delta.above(least));
            let width = u64::BITS - any.leading_zeros();
            out[widths + place] = width as u8;
            pack(deltas.iter().map(|delta| delta.above(least)), width, out);
        }
    }
}

/// A miniblock: `width` bits a value, filled up with zeros.
fn pack(values: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let end = out.len() + MINIBLOCK * width as usize / 8;
    let (mut bits, mut filled) = (0_u64, 0);
    for value in values {
        bits |= value << filled;
        filled += width;
        if filled >= u64::BITS {
            out.extend_from_slice(&bits.to_le_bytes());
            filled -= u64::BITS;
            // What did not fit; nothing when the value ended with the word.
            bits = if filled == 0 { 0 } else { value >> (width - filled) };
        }
    }
    out.extend_from_slice(&bits.to_le_bytes()[..filled.div_ceil(8) as usize]);
    out.resize(end, 0);
}

fn zigzag(out: &mut Vec<u8>, value: i64) {
    varint(out, ((value << 1) ^ (value >> 63)) as u64);
}
