//! Columns of integers: a dictionary and runs when values stay for some rows, else differences packed in blocks
//! (`DELTA_BINARY_PACKED`). <https://parquet.apache.org/docs/file-format/data-pages/encodings/#DELTAENC>

use std::hash::Hash;
use std::ops::Range;

use arrow::array::{Array as _, ArrowPrimitiveType, PrimitiveArray};
use hashbrown::HashMap;
use parquet::basic::Encoding;

use crate::bounds::{Bound, widen};
use crate::chunk::{Chunk, DataPage, Dictionary};
use crate::hybrid::{Hybrid, bits_below, varint};
use crate::validity::{Validity, Words};

const MINIBLOCKS: usize = 4;

/// A dictionary is made when a value stays for so many rows on average: below, differences are smaller and as fast.
const ROWS_A_RUN: usize = 64;

/// Largest dictionary: each reader of any page of the column reads all of it.
const MOST_VALUES: usize = 1 << 17;

/// An integer of a column; differences wrap within its own width, as the format wants it.
pub(crate) trait Int: Bound + Ord + Hash + Default + Into<i64> {
    /// Differences of equal width: 32 or 64, which readers decode at once.
    const MINIBLOCK: usize;

    fn minus(self, other: Self) -> Self;
    /// How far above `least`.
    fn above(self, least: Self) -> u64;
}

impl Int for i32 {
    const MINIBLOCK: usize = 32;

    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }

    fn above(self, least: Self) -> u64 {
        u64::from(self.wrapping_sub(least) as u32)
    }
}

impl Int for i64 {
    const MINIBLOCK: usize = 64;

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
    let mut numbers = repeats(array).then(Numbers::default);
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
        if let Some(numbers) = &mut numbers {
            bounds = numbers.page(values, bytes);
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
    let dictionary = numbers.map(|numbers| {
        let plain = numbers.values.iter().flat_map(|value| value.lower()).collect();
        Dictionary { plain, values: numbers.values.len() }
    });
    let encoding = if dictionary.is_some() { Encoding::RLE_DICTIONARY } else { Encoding::DELTA_BINARY_PACKED };
    Chunk { bytes, pages: data_pages, encoding, dictionary, bloom_filter: None }
}

/// Whether a dictionary is a gain. Of a column with NULLs only the rows are looked at whose neighbour has a value, too.
fn repeats<T: ArrowPrimitiveType<Native: Int>>(array: &PrimitiveArray<T>) -> bool {
    let values = array.values();
    let changed = match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => changes(values),
        Some(nulls) => nulls.valid_slices().map(|(start, end)| 1 + changes(&values[start..end])).sum(),
    };
    changed * ROWS_A_RUN <= array.len() - array.null_count() && changed <= MOST_VALUES
}

/// How many values differ from the one before.
fn changes<T: PartialEq>(values: &[T]) -> usize {
    values.windows(2).map(|pair| usize::from(pair[0] != pair[1])).sum()
}

/// The distinct values of a column, numbered as they come.
struct Numbers<T> {
    numbers: HashMap<T, u32>,
    values: Vec<T>,
}

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), values: Vec::new() }
    }
}

impl<T: Int> Numbers<T> {
    /// Writes the numbers of the values of a page; their bounds.
    fn page(&mut self, values: &[T], bytes: &mut Vec<u8>) -> Option<(T, T)> {
        let mut bounds = None;
        let mut runs = Vec::new();
        for run in values.chunk_by(T::eq) {
            let value = run[0];
            let next = self.values.len() as u32;
            let number = *self.numbers.entry(value).or_insert(next);
            if number == next {
                self.values.push(value);
            }
            widen(&mut bounds, value, value);
            runs.push((number, run.len()));
        }
        let width = bits_below(self.values.len());
        bytes.push(width as u8);
        let mut numbers = Hybrid::new(bytes, width);
        for (number, count) in runs {
            numbers.put(number, count);
        }
        numbers.finish();
        bounds
    }
}

/// The values of a page.
fn delta<T: Int>(values: &[T], out: &mut Vec<u8>) {
    let block_size = MINIBLOCKS * T::MINIBLOCK;
    varint(out, block_size as u64);
    varint(out, MINIBLOCKS as u64);
    varint(out, values.len() as u64);
    let Some((first, rest)) = values.split_first() else {
        varint(out, 0);
        return;
    };
    zigzag(out, (*first).into());
    let mut deltas = [T::default(); 4 * 64];
    for (block, before) in rest.chunks(block_size).zip(values.chunks(block_size)) {
        let deltas = &mut deltas[..block.len()];
        for ((delta, value), last) in deltas.iter_mut().zip(block).zip(before) {
            *delta = value.minus(*last);
        }
        let least = deltas.iter().copied().fold(deltas[0], T::min);
        zigzag(out, least.into());
        let widths = out.len();
        out.extend_from_slice(&[0; MINIBLOCKS]);
        for (place, deltas) in deltas.chunks(T::MINIBLOCK).enumerate() {
            let any = deltas.iter().fold(0, |any, delta| any | delta.above(least));
            let width = u64::BITS - any.leading_zeros();
            out[widths + place] = width as u8;
            let end = out.len() + T::MINIBLOCK * width as usize / 8;
            pack(deltas.iter().map(|delta| delta.above(least)), width, out);
            out.resize(end, 0);
        }
    }
}

/// `width` bits a value, the lowest of a byte first.
fn pack(values: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
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
}

fn zigzag(out: &mut Vec<u8>, value: i64) {
    varint(out, ((value << 1) ^ (value >> 63)) as u64);
}
