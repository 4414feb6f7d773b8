//! The generations of a topic that has grown. A topic never gets partitions: a new generation of it begins, whose
//! partitions are numbered on, and the old one ends.
//!
//! The one thing to know before changing it: a generation has a multiple of the partitions of the one before, so each of
//! its partitions has one parent, `hash % old == (hash % new) % old`. That is what lets a shard go on from one state.

use std::ops::Range;

/// The partitions of each generation, the oldest first. Each begins where the one before ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generations(Vec<Range<u32>>);

impl Generations {
    /// A topic that has never grown.
    pub fn one(partitions: u32) -> Self {
        Self(std::iter::once(0..partitions).collect())
    }

    /// From the number of partitions of each generation, the oldest first.
    pub fn of(counts: impl IntoIterator<Item = u32>) -> Self {
        let mut first = 0;
        let range = |count| {
            first += count;
            first - count..first
        };
        Self(counts.into_iter().map(range).collect())
    }

    /// The partitions that take records.
    pub fn newest(&self) -> Range<u32> {
        self.0.last().cloned().unwrap_or_default()
    }

    /// All partitions, those that take no more records, too.
    pub fn partitions(&self) -> u32 {
        self.newest().end
    }

    /// The place of a partition: its generation, and its number in it.
    fn place(&self, partition: u32) -> Option<(usize, u32)> {
        let generation = self.0.iter().position(|range| range.contains(&partition))?;
        Some((generation, partition - self.0[generation].start))
    }

    /// The partition whose keys this one has a share of, if it is not of the first generation.
    pub fn parent(&self, partition: u32) -> Option<u32> {
        let (generation, number) = self.place(partition)?;
        let before = &self.0[generation.checked_sub(1)?];
        Some(before.start + number % before.len() as u32)
    }

    /// The partitions that share the keys of this one; none when it is of the newest generation.
    pub fn heirs(&self, partition: u32) -> Vec<u32> {
        let Some((generation, _)) = self.place(partition) else { return Vec::new() };
        let next = self.0.get(generation + 1).cloned().unwrap_or_default();
        next.filter(|heir| self.parent(*heir) == Some(partition)).collect()
    }

    /// Which keys a partition has, as [`partition_of`](crate::partition_of) counts them: (number, of so many).
    pub fn keys(&self, partition: u32) -> Option<(u32, u32)> {
        let (generation, number) = self.place(partition)?;
        Some((number, self.0[generation].len() as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition_of;

    #[test]
    fn the_keys_of_a_partition_are_those_of_its_heirs() {
        let generations = Generations::of([2, 4, 12]);
        assert_eq!((generations.newest(), generations.partitions()), (6..18, 18));
        assert_eq!((generations.heirs(0), generations.heirs(1)), (vec![2, 4], vec![3, 5]));
        assert_eq!((generations.heirs(4), generations.heirs(6)), (vec![8, 12, 16], vec![]));
        assert_eq!((generations.parent(1), generations.parent(5), generations.parent(17)), (None, Some(1), Some(5)));
        assert_eq!((generations.keys(5), generations.keys(18)), (Some((3, 4)), None));
        for key in (0_u32..1_000).map(u32::to_be_bytes) {
            let of = |partition| {
                let (number, count) = generations.keys(partition).expect("it is there");
                partition_of(&key, count) == number
            };
            let owners: Vec<u32> = (0..18).filter(|partition| of(*partition)).collect();
            let [first, second, third] = owners[..] else { panic!("one of each generation: {owners:?}") };
            assert_eq!((generations.parent(third), generations.parent(second)), (Some(second), Some(first)));
        }
    }
}
