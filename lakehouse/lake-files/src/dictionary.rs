//! Text columns with few distinct values: a dictionary page and data pages of numbers, both made from the runs of equal
//! keys, so that what costs is how often a value changes, not how many rows there are.

use std::ops::Range;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use parquet::basic::Encoding;
use parquet::bloom_filter::Sbbf;
use parquet::errors::Result;

use crate::bounds::widen;
use crate::chunk::{Chunk, DataPage, Dictionary};
use crate::hybrid::{Hybrid, bits_below};
use crate::library::BLOOM_FALSE_POSITIVES;
use crate::validity::{Validity, Words};

/// Largest dictionary (bytes): each reader of any page of the column reads all of it.
const LARGEST_DICTIONARY: usize = 4 << 20;

/// A smaller dictionary (bytes) is made whether or not it is a gain.
const SMALL_DICTIONARY: usize = 1 << 16;

/// So many equal keys are compared at once.
const KEYS_A_STEP: usize = 16;

/// What is known of a value of the array's dictionary.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// The page in which it was seen last; pages of all columns count on.
    page: u32,
    /// Its number in the column's dictionary, if a page of the column has it.
    number: u32,
}

/// Memory that columns share.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    slots: Vec<Slot>,
    page: u32,
    keys: Vec<i32>,
    words: Words,
}

/// Keys of rows into values; a key without a value is not looked at.
pub(crate) struct Keys<'a, V> {
    pub(crate) keys: &'a [i32],
    pub(crate) validity: Validity<'a>,
    /// How many values there are.
    pub(crate) values: usize,
    pub(crate) value: V,
}

impl<'a, V: Fn(usize) -> &'a str> Keys<'a, V> {
    /// The column's pages, their bytes in `bytes`; `None` when a dictionary is no gain.
    pub(crate) fn chunk<'b>(
        &self,
        pages: impl Iterator<Item = Range<usize>>,
        with_bloom_filter: bool,
        scratch: &mut Scratch,
        bytes: &'b mut Vec<u8>,
    ) -> Result<Option<Chunk<'b, &'a str>>> {
        bytes.clear();
        if scratch.slots.len() < self.values {
            scratch.slots.resize(self.values, Slot::default());
        }
        let first_page = scratch.page + 1;
        let mut used = Used { numbers: HashMap::new(), texts: Vec::new(), plain: Vec::new() };
        let mut data_pages = Vec::new();
        let (mut column_texts, mut column_values) = (0, 0);
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for rows in pages {
            scratch.page += 1;
            let page = scratch.page;
            let with_value = self.validity.start_page(rows.clone(), &mut scratch.words, bytes);
            let mut keys = &self.keys[rows.clone()];
            if with_value < keys.len() {
                scratch.keys.clear();
                scratch.words.select(keys, &mut scratch.keys);
                keys = &scratch.keys;
            }
            let (mut bounds, mut text_bytes) = (None, 0);
            runs.clear();
            for_each_run(keys, |key, count| {
                let slot = &mut scratch.slots[key as usize];
                if slot.page != page {
                    let text = (self.value)(key as usize);
                    if slot.page < first_page {
                        slot.number = used.number(text);
                    }
                    slot.page = page;
                    widen(&mut bounds, text, text);
                }
                text_bytes += used.texts[slot.number as usize].len() * count;
                runs.push((slot.number, count as u32));
            });
            let width = bits_below(used.texts.len());
            bytes.push(width as u8);
            let mut numbers = Hybrid::new(bytes, width);
            for (number, count) in &runs {
                numbers.put(*number, *count as usize);
            }
            numbers.finish();
            column_texts += text_bytes;
            column_values += with_value;
            let nulls = rows.len() - with_value;
            let text_bytes = Some(text_bytes as i64);
            data_pages.push(DataPage { end: bytes.len(), rows: rows.len(), nulls, bounds, text_bytes });
            let size = used.plain.len();
            if size > LARGEST_DICTIONARY || (size > SMALL_DICTIONARY && size * 2 > column_texts + 4 * column_values) {
                return Ok(None);
            }
        }
        let bloom_filter = if with_bloom_filter { Some(used.bloom_filter()?) } else { None };
        let dictionary = Dictionary { plain: used.plain, values: used.texts.len() };
        Ok(Some(Chunk {
            bytes,
            pages: data_pages,
            encoding: Encoding::RLE_DICTIONARY,
            dictionary: Some(dictionary),
            bloom_filter,
        }))
    }
}

/// The values of a column, numbered as they come.
struct Used<'a> {
    /// The array's dictionary may have a text twice; the column's may not.
    numbers: HashMap<&'a str, u32>,
    texts: Vec<&'a str>,
    plain: Vec<u8>,
}

impl<'a> Used<'a> {
    fn number(&mut self, text: &'a str) -> u32 {
        let next = self.texts.len() as u32;
        match self.numbers.entry(text) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                new.insert(next);
                self.texts.push(text);
                // Beyond, the dictionary is given up at the end of the page.
                if self.plain.len() <= LARGEST_DICTIONARY {
                    self.plain.extend_from_slice(&(text.len() as u32).to_le_bytes());
                    self.plain.extend_from_slice(text.as_bytes());
                }
                next
            }
        }
    }

    fn bloom_filter(&self) -> Result<Sbbf> {
        let mut filter = Sbbf::new_with_ndv_fpp(self.texts.len().max(1) as u64, BLOOM_FALSE_POSITIVES)?;
        for text in &self.texts {
            filter.insert(*text);
        }
        filter.fold_to_target_fpp(BLOOM_FALSE_POSITIVES);
        Ok(filter)
    }
}

/// Runs of equal keys, in order.
#[inline]
fn for_each_run(keys: &[i32], mut run: impl FnMut(i32, usize)) {
    let mut start = 0;
    while let Some(key) = keys.get(start) {
        let mut end = start + 1;
        // Short runs end in the first step; long ones are compared without a branch a key.
        while let Some(step) = keys.get(end..end + KEYS_A_STEP) {
            if step.iter().fold(0, |differs, other| differs | (other ^ key)) != 0 {
                break;
            }
            end += KEYS_A_STEP;
        }
        while keys.get(end) == Some(key) {
            end += 1;
        }
        run(*key, end - start);
        start = end;
    }
}
