//! The parts of a model that are plain lists, as JSON in its entry. Titles are written once and meant by number after
//! that: a catalogue of 10,000 titles with 100 neighbours each stays a few megabytes.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use marquee_retrieval::NeighbourLists;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::TrainerError;

/// The file of the neighbour lists.
pub(crate) const NEIGHBOURS: &str = "neighbours.json";
/// The file of the popular titles.
pub(crate) const POPULAR: &str = "popular.json";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NeighboursFile {
    decay: f32,
    window: usize,
    titles: Vec<String>,
    /// Per title with neighbours: its number, then (number of the next title, weight), best first.
    lists: Vec<(u32, Vec<(u32, f32)>)>,
}

pub(crate) fn write_neighbours(folder: &Path, neighbours: &NeighbourLists) -> Result<(), TrainerError> {
    let mut titles: Vec<&str> = neighbours
        .lists
        .iter()
        .flat_map(|(title, next)| [title.as_str()].into_iter().chain(next.iter().map(|(next, _)| next.as_str())))
        .collect();
    titles.sort_unstable();
    titles.dedup();
    let number = |title: &str| titles.binary_search(&title).expect("every title was collected") as u32;
    let list = |(title, next): (&String, &Vec<(String, f32)>)| {
        (number(title), next.iter().map(|(next, weight)| (number(next), *weight)).collect())
    };
    let mut lists: Vec<(u32, Vec<(u32, f32)>)> = neighbours.lists.iter().map(list).collect();
    lists.sort_by_key(|(title, _)| *title);
    let titles = titles.iter().map(|title| (*title).to_owned()).collect();
    let file = NeighboursFile { decay: neighbours.decay, window: neighbours.window, titles, lists };
    write_json(&folder.join(NEIGHBOURS), &file)
}

pub(crate) fn read_neighbours(folder: &Path) -> Result<NeighbourLists, TrainerError> {
    let path = folder.join(NEIGHBOURS);
    let NeighboursFile { decay, window, titles, lists } = read_json(&path)?;
    let title = |number: u32| titles.get(number as usize).cloned();
    let list = |(of, next): (u32, Vec<(u32, f32)>)| {
        let next: Option<Vec<(String, f32)>> =
            next.into_iter().map(|(next, weight)| Some((title(next)?, weight))).collect();
        Some((title(of)?, next?))
    };
    let lists: Option<HashMap<_, _>> = lists.into_iter().map(list).collect();
    let problem = || TrainerError::Damaged { path, problem: "it means a title that it does not name".to_owned() };
    Ok(NeighbourLists { lists: lists.ok_or_else(problem)?, decay, window })
}

pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), TrainerError> {
    let bytes = serde_json::to_vec(value).expect("parts are plain JSON");
    fs::write(path, bytes).map_err(|source| TrainerError::Write { path: path.to_owned(), source })
}

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, TrainerError> {
    let bytes = fs::read(path).map_err(|source| TrainerError::Read { path: path.to_owned(), source })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| TrainerError::Damaged { path: path.to_owned(), problem: error.to_string() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn neighbours_come_back_bit_for_bit(
            lists in proptest::collection::hash_map("[a-e]{1,2}", proptest::collection::vec(("[a-e]{1,2}", -1e9_f32..1e9), 0..5), 0..8),
            decay in 0.0_f32..1.0,
            window in 0..100_usize,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let neighbours = NeighbourLists { lists, decay, window };
            write_neighbours(folder.path(), &neighbours).unwrap();
            prop_assert_eq!(read_neighbours(folder.path()).unwrap(), neighbours);
        }
    }

    #[test]
    fn a_number_without_a_title_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(NEIGHBOURS), r#"{"decay":1,"window":1,"titles":["a"],"lists":[[0,[[1,0.5]]]]}"#)
            .unwrap();
        assert!(matches!(read_neighbours(folder.path()), Err(TrainerError::Damaged { .. })));
    }
}
