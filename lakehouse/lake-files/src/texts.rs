//! Text columns that came as plain texts: numbered like a dictionary when they repeat, else one after the other.

use std::ops::Range;

use arrow::buffer::NullBuffer;
use hashbrown::{HashMap, HashSet};
use parquet::basic::Encoding;
use parquet::bloom_filter::Sbbf;
use parquet::errors::Result;

use crate::bounds::widen;
use crate::chunk::{Chunk, DataPage};
use crate::library::BLOOM_FALSE_POSITIVES;
use crate::validity::{Validity, Words};

/// So many texts tell whether they repeat.
const SAMPLE: usize = 2_048;

/// Rows of the sample that lie together: texts repeat in the next row, or all over the column.
const STRETCH: usize = 32;

/// A page of plain texts ends with the row that makes it so long (bytes).
const PAGE_BYTES: usize = 1 << 20;

/// The texts of rows.
pub(crate) struct Texts<'a, V> {
    pub(crate) rows: usize,
    pub(crate) nulls: Option<&'a NullBuffer>,
    pub(crate) text: V,
}

impl<'a, V: Fn(usize) -> &'a str> Texts<'a, V> {
    fn has_value(&self, row: usize) -> bool {
        self.nulls.is_none_or(|nulls| nulls.is_valid(row))
    }

    /// Whether a dictionary could be a gain: most texts are there twice. From a sample of stretches all over the column;
    /// as many distinct texts as there are birthdays when so many of the sample meet.
    pub(crate) fn repeat(&self) -> bool {
        let step = self.rows.div_ceil(SAMPLE).max(1);
        let stretches = (0..self.rows).step_by(STRETCH * step);
        let sample = stretches.flat_map(|start| start..self.rows.min(start + STRETCH));
        let mut seen = HashSet::with_capacity(SAMPLE);
        let mut looked_at = 0_usize;
        for row in sample.filter(|row| self.has_value(*row)) {
            looked_at += 1;
            seen.insert((self.text)(row));
        }
        let met = looked_at - seen.len();
        let distinct = if step == 1 { seen.len() } else { looked_at * looked_at / (2 * met).max(1) };
        distinct * 2 <= self.rows - self.nulls.map_or(0, NullBuffer::null_count)
    }

    /// A key for each row, of the distinct texts.
    pub(crate) fn numbered(&self) -> (Vec<i32>, Vec<&'a str>) {
        let mut numbers = HashMap::new();
        let mut values = Vec::new();
        let keys = (0..self.rows).map(|row| {
            if !self.has_value(row) {
                return 0;
            }
            let text = (self.text)(row);
            *numbers.entry(text).or_insert_with(|| {
                values.push(text);
                values.len() as i32 - 1
            })
        });
        (keys.collect(), values)
    }

    /// The column's pages, their bytes in `bytes`: lengths and texts.
    pub(crate) fn chunk<'b>(
        &self,
        nullable: bool,
        pages: impl Iterator<Item = Range<usize>>,
        with_bloom_filter: bool,
        words: &mut Words,
        bytes: &'b mut Vec<u8>,
    ) -> Result<Chunk<'b, &'a str>> {
        bytes.clear();
        let validity = Validity::new(nullable, self.nulls);
        let new_filter = || Sbbf::new_with_ndv_fpp(self.rows.max(1) as u64, BLOOM_FALSE_POSITIVES);
        let mut bloom_filter = if with_bloom_filter { Some(new_filter()?) } else { None };
        let mut data_pages = Vec::new();
        for range in pages {
            let mut left = range;
            while !left.is_empty() {
                let rows = left.start..left.start + self.rows_of_page(left.clone());
                left.start = rows.end;
                let with_value = validity.start_page(rows.clone(), words, bytes);
                let (mut bounds, mut text_bytes) = (None, 0);
                for row in rows.clone().filter(|row| self.has_value(*row)) {
                    let text = (self.text)(row);
                    bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
                    bytes.extend_from_slice(text.as_bytes());
                    text_bytes += text.len() as i64;
                    widen(&mut bounds, text, text);
                    if let Some(filter) = &mut bloom_filter {
                        filter.insert(text);
                    }
                }
                let nulls = rows.len() - with_value;
                let text_bytes = Some(text_bytes);
                data_pages.push(DataPage { end: bytes.len(), rows: rows.len(), nulls, bounds, text_bytes });
            }
        }
        if let Some(filter) = &mut bloom_filter {
            filter.fold_to_target_fpp(BLOOM_FALSE_POSITIVES);
        }
        Ok(Chunk { bytes, pages: data_pages, encoding: Encoding::PLAIN, dictionary: None, bloom_filter })
    }

    /// How many of these rows a page takes, at least one.
    fn rows_of_page(&self, rows: Range<usize>) -> usize {
        let mut size = 0;
        let full = rows.clone().position(|row| {
            size += if self.has_value(row) { (self.text)(row).len() + 4 } else { 0 };
            size >= PAGE_BYTES
        });
        full.map_or(rows.len(), |last| last + 1)
    }
}
