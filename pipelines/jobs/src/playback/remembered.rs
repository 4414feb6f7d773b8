//! The ids of the events that a session folded last, to know a retry when it comes.

use std::hint::black_box;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

/// Ids of so many folded events are remembered: retries repeat the last batch or two, of about twenty events each.
const CAPACITY: usize = 40;

/// Hashes of the ids of the last events whose sequences follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// A ring; the event with sequence `next - 1 - i` is `i` places before the end.
    hashes: [u32; CAPACITY],
    end: u8,
    length: u8,
    /// The sequence after the last event.
    next: u64,
}

impl Default for Remembered {
    fn default() -> Self {
        Self { hashes: [0; CAPACITY], end: 0, length: 0, next: 0 }
    }
}

impl Remembered {
    /// Asks memory for what the next id needs.
    #[inline]
    pub(crate) fn touch(&self) {
        black_box((self.next, self.hashes[usize::from(self.end)]));
    }

    /// Asks memory for all of it.
    #[inline]
    pub(crate) fn touch_all(&self) {
        black_box((self.hashes[0], self.hashes[CAPACITY / 2], self.hashes[CAPACITY - 1]));
    }

    /// Remembers the id of the event that was folded now. One that does not follow the last one makes the others forgotten.
    #[inline]
    pub(crate) fn push(&mut self, sequence: u64, event_id: &str) {
        if sequence != self.next {
            self.length = 0;
        }
        self.hashes[usize::from(self.end)] = xxh3_64(event_id.as_bytes()) as u32;
        self.end = (self.end + 1) % CAPACITY as u8;
        self.length = (self.length + 1).min(CAPACITY as u8);
        self.next = sequence + 1;
    }

    /// Whether the event with this sequence was folded under this id; `false` when that is not remembered.
    pub(crate) fn contains(&self, sequence: u64, event_id: &str) -> bool {
        let Some(back) = self.next.checked_sub(sequence).filter(|back| (1..=u64::from(self.length)).contains(back))
        else {
            return false;
        };
        let place = (usize::from(self.end) + CAPACITY - back as usize) % CAPACITY;
        self.hashes[place] == xxh3_64(event_id.as_bytes()) as u32
    }

    fn in_order(&self) -> impl Iterator<Item = u32> {
        let first = usize::from(self.end) + CAPACITY - usize::from(self.length);
        (0..usize::from(self.length)).map(move |at| self.hashes[(first + at) % CAPACITY])
    }
}

/// As bytes: the next sequence, then the hashes in order.
impl Serialize for Remembered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = [0; 8 + 4 * CAPACITY];
        bytes[..8].copy_from_slice(&self.next.to_le_bytes());
        for (place, hash) in bytes[8..].chunks_exact_mut(4).zip(self.in_order()) {
            place.copy_from_slice(&hash.to_le_bytes());
        }
        serializer.serialize_bytes(&bytes[..8 + 4 * usize::from(self.length)])
    }
}

impl<'de> Deserialize<'de> for Remembered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Remembered;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a sequence and hashes")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Remembered, E> {
                let (next, hashes) = bytes.split_first_chunk::<8>().ok_or_else(|| E::custom("is cut short"))?;
                let length = hashes.len() / 4;
                if !hashes.len().is_multiple_of(4) || length > CAPACITY {
                    return Err(E::custom("has an impossible length"));
                }
                let mut remembered = Remembered { next: u64::from_le_bytes(*next), ..Remembered::default() };
                for (place, hash) in remembered.hashes.iter_mut().zip(hashes.chunks_exact(4)) {
                    *place = u32::from_le_bytes(hash.try_into().map_err(E::custom)?);
                }
                remembered.length = length as u8;
                remembered.end = (length % CAPACITY) as u8;
                Ok(remembered)
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ids_in_a_row_are_known() {
        let mut remembered = Remembered::default();
        for sequence in 0..100_u64 {
            remembered.push(sequence, &sequence.to_string());
            let known = |remembered: &Remembered| {
                (0..=sequence + 1).filter(|s| remembered.contains(*s, &s.to_string())).collect::<Vec<_>>()
            };
            let expected: Vec<u64> = ((sequence + 1).saturating_sub(CAPACITY as u64)..=sequence).collect();
            assert_eq!(known(&remembered), expected);
            let stored = postcard::to_stdvec(&remembered).unwrap();
            let restored: Remembered = postcard::from_bytes(&stored).unwrap();
            assert_eq!(known(&restored), expected);
        }
        assert!(!remembered.contains(99, "another id"));
        remembered.push(200, "a");
        assert!(remembered.contains(200, "a") && !remembered.contains(99, "99"), "a hole in between");
        assert!(postcard::from_bytes::<Remembered>(&postcard::to_stdvec(&[0_u8; 3][..]).unwrap()).is_err());
    }
}
