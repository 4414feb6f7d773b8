//! Which rows of a page have a value: as definition levels, and to leave out the places of the others.

use std::ops::Range;

use arrow::buffer::{BooleanBuffer, NullBuffer};

use crate::hybrid::varint;

/// Packed words behind one header of one byte: 7 × 8 groups of 8 levels.
const WORDS_A_RUN: usize = 7;

/// Bits of a page, 64 a word, the first row lowest; bits behind the last row are 0.
#[derive(Debug, Default)]
pub(crate) struct Words {
    words: Vec<u64>,
    rows: usize,
    ones: usize,
}

impl Words {
    /// Takes the bits of `rows`.
    pub(crate) fn load(&mut self, bits: &BooleanBuffer, rows: Range<usize>) {
        let page = bits.slice(rows.start, rows.len());
        let chunks = page.bit_chunks();
        self.words.clear();
        self.words.extend(chunks.iter());
        if chunks.remainder_len() > 0 {
            self.words.push(chunks.remainder_bits());
        }
        self.rows = rows.len();
        self.ones = self.words.iter().map(|word| word.count_ones() as usize).sum();
    }

    pub(crate) fn ones(&self) -> usize {
        self.ones
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    /// Bits of the word at `index`.
    fn length(&self, index: usize) -> usize {
        (self.rows - 64 * index).min(64)
    }

    fn full(length: usize) -> u64 {
        if length == 64 { u64::MAX } else { (1 << length) - 1 }
    }

    /// The values whose bit is 1.
    pub(crate) fn select<T: Copy>(&self, values: &[T], out: &mut Vec<T>) {
        out.reserve(self.ones);
        for (index, (word, values)) in self.words.iter().zip(values.chunks(64)).enumerate() {
            if *word == Self::full(self.length(index)) {
                out.extend_from_slice(values);
                continue;
            }
            let mut rest = *word;
            while rest != 0 {
                out.push(values[rest.trailing_zeros() as usize]);
                rest &= rest - 1;
            }
        }
    }

    /// Definition levels of a page of format 1: their length, then runs of whole words and packed words.
    pub(crate) fn levels(&self, out: &mut Vec<u8>) {
        with_length(out, |out| {
            let mut at = 0;
            while at < self.words.len() {
                let start = at;
                let (mut run, mut level) = (0, 0);
                while let Some(same) = self.uniform(at).filter(|same| run == 0 || *same == level) {
                    level = same;
                    run += self.length(at);
                    at += 1;
                }
                if run > 0 {
                    varint(out, (run as u64) << 1);
                    out.push(level);
                    continue;
                }
                while at < self.words.len() && at - start < WORDS_A_RUN && self.uniform(at).is_none() {
                    at += 1;
                }
                let groups = (start..at).map(|index| self.length(index).div_ceil(8)).sum::<usize>();
                out.push((groups << 1 | 1) as u8);
                let bytes = self.words[start..at].iter().flat_map(|word| word.to_le_bytes());
                out.extend(bytes.take(groups));
            }
        });
    }

    /// The level that all rows of a word have.
    fn uniform(&self, index: usize) -> Option<u8> {
        match *self.words.get(index)? {
            0 => Some(0),
            word => (word == Self::full(self.length(index))).then_some(1),
        }
    }
}

/// Definition levels of a page in which all rows have a value, or none has.
pub(crate) fn uniform_levels(out: &mut Vec<u8>, level: u8, rows: usize) {
    with_length(out, |out| {
        varint(out, (rows as u64) << 1);
        out.push(level);
    });
}

fn with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// The rows of a column that have a value, page by page.
pub(crate) struct Validity<'a> {
    /// Whether the column has definition levels.
    nullable: bool,
    nulls: Option<&'a NullBuffer>,
}

impl<'a> Validity<'a> {
    pub(crate) fn new(nullable: bool, nulls: Option<&'a NullBuffer>) -> Self {
        Self { nullable, nulls: nulls.filter(|nulls| nulls.null_count() > 0) }
    }

    /// Writes the levels of a page and loads `words`, unless all its rows have a value; how many have.
    pub(crate) fn start_page(&self, rows: Range<usize>, words: &mut Words, out: &mut Vec<u8>) -> usize {
        let Some(nulls) = self.nulls else {
            if self.nullable {
                uniform_levels(out, 1, rows.len());
            }
            return rows.len();
        };
        let count = rows.len();
        words.load(nulls.inner(), rows);
        if words.ones() == count {
            uniform_levels(out, 1, count);
        } else {
            words.levels(out);
        }
        words.ones()
    }
}
