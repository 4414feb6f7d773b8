//! Parquet's hybrid of run lengths and bit packing, fed by runs: a run of any length costs the same.
//! <https://parquet.apache.org/docs/file-format/data-pages/encodings/#RLE>

/// Values are packed in groups of so many; shorter runs are packed, too.
const GROUP: usize = 8;

/// So many groups fit a header of one byte.
const MOST_GROUPS: u8 = 63;

/// The bits that numbers below `count` need.
pub(crate) fn bits_below(count: usize) -> u32 {
    usize::BITS - count.saturating_sub(1).leading_zeros()
}

/// Appends to a buffer; nothing is complete before [`Hybrid::finish`].
pub(crate) struct Hybrid<'a> {
    out: &'a mut Vec<u8>,
    /// Bits of a value, at most 32.
    width: u32,
    run: (u32, usize),
    group: [u32; GROUP],
    grouped: usize,
    /// Where the header of the current packed run is, and how many groups follow it.
    packed: Option<(usize, u8)>,
}

impl<'a> Hybrid<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>, width: u32) -> Self {
        Self { out, width, run: (0, 0), group: [0; GROUP], grouped: 0, packed: None }
    }

    /// Adds `count` times `value`.
    #[inline]
    pub(crate) fn put(&mut self, value: u32, count: usize) {
        if value == self.run.0 {
            self.run.1 += count;
        } else {
            self.end_run();
            self.run = (value, count);
        }
    }

    pub(crate) fn finish(mut self) {
        self.end_run();
        if self.grouped > 0 {
            self.group[self.grouped..].fill(0);
            self.pack();
        }
        self.end_packed();
    }

    fn end_run(&mut self) {
        let (value, mut count) = self.run;
        if self.grouped > 0 {
            let taken = count.min(GROUP - self.grouped);
            self.group[self.grouped..self.grouped + taken].fill(value);
            self.grouped += taken;
            count -= taken;
            if self.grouped < GROUP {
                return;
            }
            self.pack();
        }
        if count >= GROUP {
            self.end_packed();
            varint(self.out, (count as u64) << 1);
            self.out.extend_from_slice(&value.to_le_bytes()[..self.width.div_ceil(8) as usize]);
        } else {
            self.group[..count].fill(value);
            self.grouped = count;
        }
    }

    fn pack(&mut self) {
        let (header, groups) = self.packed.unwrap_or_else(|| {
            self.out.push(0);
            (self.out.len() - 1, 0)
        });
        pack_group(self.out, &self.group, self.width);
        self.grouped = 0;
        self.packed = Some((header, groups + 1));
        if groups + 1 == MOST_GROUPS {
            self.end_packed();
        }
    }

    fn end_packed(&mut self) {
        if let Some((header, groups)) = self.packed.take() {
            self.out[header] = groups << 1 | 1;
        }
    }
}

fn pack_group(out: &mut Vec<u8>, group: &[u32; GROUP], width: u32) {
    let end = out.len() + width as usize;
    // Half a group at a time: four values of at most 32 bits.
    let half = |values: &[u32]| values.iter().rev().fold(0_u128, |bits, value| bits << width | u128::from(*value));
    let (low, high) = (half(&group[..4]), half(&group[4..]));
    let low_bits = 4 * width;
    if width <= 16 {
        // A whole word and a cut are faster than a copy of so many bytes.
        out.extend_from_slice(&(low | high << low_bits).to_le_bytes());
    } else {
        let whole_bytes = low_bits / 8;
        out.extend_from_slice(&low.to_le_bytes()[..whole_bytes as usize]);
        // The halves meet inside a byte when the width is odd; 4 × 31 bits and four more still fit.
        let rest = if low_bits == u128::BITS { 0 } else { low >> (8 * whole_bytes) };
        out.extend_from_slice(&(rest | high << (low_bits % 8)).to_le_bytes());
    }
    out.truncate(end);
}

/// An unsigned LEB128 number.
pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By the letter of the format, one bit at a time.
    fn decode(bytes: &[u8], width: u32, count: usize) -> Vec<u32> {
        let mut values = Vec::new();
        let mut at = 0;
        while values.len() < count {
            let (mut header, mut shift) = (0_u64, 0);
            loop {
                header |= u64::from(bytes[at] & 0x7f) << shift;
                shift += 7;
                at += 1;
                if bytes[at - 1] < 0x80 {
                    break;
                }
            }
            if header & 1 == 0 {
                let size = width.div_ceil(8) as usize;
                let value = (0..size).fold(0, |value, byte| value | u32::from(bytes[at + byte]) << (8 * byte));
                at += size;
                values.extend(std::iter::repeat_n(value, (header >> 1) as usize));
            } else {
                let packed = (header >> 1) as usize * GROUP;
                let bit = |n: usize| u32::from(bytes[at + n / 8] >> (n % 8) & 1);
                for value in 0..packed {
                    values.push((0..width as usize).fold(0, |v, b| v | bit(value * width as usize + b) << b));
                }
                at += packed * width as usize / 8;
            }
        }
        assert_eq!(at, bytes.len());
        values.truncate(count);
        values
    }

    proptest! {
        #[test]
        fn any_runs_come_back(
            width in 0..=32_u32,
            runs in proptest::collection::vec((any::<u32>(), prop_oneof![1..20_usize, Just(600)]), 0..200),
        ) {
            let mask = (1_u64 << width) - 1;
            let runs: Vec<(u32, usize)> = runs.iter().map(|(v, n)| ((u64::from(*v) & mask) as u32, *n)).collect();
            let mut bytes = Vec::new();
            let mut hybrid = Hybrid::new(&mut bytes, width);
            for (value, count) in &runs {
                hybrid.put(*value, *count);
            }
            hybrid.finish();
            let values: Vec<u32> = runs.iter().flat_map(|(v, n)| std::iter::repeat_n(*v, *n)).collect();
            prop_assert_eq!(decode(&bytes, width, values.len()), values);
        }
    }

    #[test]
    fn a_run_is_small() {
        let mut bytes = Vec::new();
        let mut hybrid = Hybrid::new(&mut bytes, 3);
        hybrid.put(5, 1_000_000);
        hybrid.finish();
        assert_eq!(bytes.len(), 4);
        assert_eq!([1, 2, 3, 256, 257].map(bits_below), [0, 1, 2, 8, 9]);
    }
}
