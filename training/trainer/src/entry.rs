//! One entry of the registry: `model.json`. It names everything that a model was made of and every file that it
//! consists of, so that it can be made again and damage is found by name.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::gate::Against;
use crate::{TrainerError, durable};

/// Of `model.json` and of the files that it names. A change needs a decision record and a reader of the old one.
const FORMAT: u32 = 1;

/// The entry's own file in its folder.
pub(crate) const FILE: &str = "model.json";

/// A trained model and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// See [`FORMAT`].
    pub(crate) format: u32,
    /// Names it: the family and a number that grows.
    pub version: String,
    /// The family, such as `two-tower`.
    pub model: String,
    /// When it was written (ms since the epoch).
    pub created_at_ms: i64,
    /// What trained it.
    pub recipe: Recipe,
    /// What it was trained on.
    pub lineage: Lineage,
    /// How it did on its data, beside all baselines, one report a protocol, as `marquee evaluate --json` prints them.
    pub reports: Vec<serde_json::Value>,
    /// How it did against what was in service when it was trained.
    pub against: Option<Against>,
    /// Its files by their path in the entry's folder.
    pub files: BTreeMap<String, FileMark>,
}

/// What trained a model: the same recipe and the same data give the same model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The family's parameters, as it writes them.
    pub parameters: serde_json::Value,
    /// Of every random choice.
    pub seed: u64,
    /// Version of the program.
    pub code_version: String,
}

/// What a model was trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lineage {
    /// The lake's tables and the version of each that was read.
    pub tables: BTreeMap<String, i64>,
    /// The catalogue's version.
    pub catalogue_version: u64,
    /// Interactions that became training examples.
    pub events: usize,
    /// Profiles that they are of.
    pub profiles: usize,
    /// Titles that they are about.
    pub titles: usize,
    /// Event time of the newest of them (ms since the epoch).
    pub trained_through_ms: i64,
}

/// What a file must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileMark {
    /// Its length.
    pub size_bytes: u64,
    /// Its digest as hex.
    pub sha256: String,
}

impl Entry {
    /// An entry whose folder holds its files already.
    pub(crate) fn describe(folder: &Path, version: String, created_at_ms: i64, parts: EntryParts) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        for path in durable::files_below(folder)? {
            let (sha256, size_bytes) = durable::checksum(&folder.join(&path))?;
            files.insert(path, FileMark { size_bytes, sha256 });
        }
        let EntryParts { model, recipe, lineage, reports, against } = parts;
        Ok(Self { format: FORMAT, version, model, created_at_ms, recipe, lineage, reports, against, files })
    }

    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        fs::write(folder.join(FILE), serde_json::to_vec_pretty(self)?)
    }

    /// Reads the entry in a folder that bears its version as name.
    pub(crate) fn read(folder: &Path) -> Result<Self, TrainerError> {
        let path = folder.join(FILE);
        let damaged = |problem| TrainerError::Damaged { path: path.clone(), problem };
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged("it is missing".to_owned())),
            other => other.map_err(|source| TrainerError::Read { path: path.clone(), source })?,
        };
        let entry: Self = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if entry.format != FORMAT {
            return Err(damaged(format!("it has format {}, this program reads {FORMAT}", entry.format)));
        }
        if folder.file_name().is_none_or(|name| name != entry.version.as_str()) {
            return Err(damaged(format!("it describes `{}`", entry.version)));
        }
        Ok(entry)
    }

    /// Compares every file with what was written.
    ///
    /// # Errors
    /// [`TrainerError::Damaged`] naming the first file that is missing or differs.
    pub(crate) fn verify(&self, folder: &Path) -> Result<(), TrainerError> {
        self.verify_those(folder, |_| true)
    }

    /// As [`verify`](Self::verify), for the files whose path in the folder is wanted.
    pub(crate) fn verify_those(&self, folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<(), TrainerError> {
        for (name, mark) in self.files.iter().filter(|(name, _)| wanted(name)) {
            let path = folder.join(name);
            let damaged = |problem: &str| TrainerError::Damaged { path: path.clone(), problem: problem.to_owned() };
            let (sha256, size_bytes) = match durable::checksum(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged("it is missing")),
                other => other.map_err(|source| TrainerError::Read { path: path.clone(), source })?,
            };
            if (FileMark { size_bytes, sha256 }) != *mark {
                return Err(damaged("its checksum is not that of what was written"));
            }
        }
        Ok(())
    }
}

/// What the trainer says of a new entry; the registry adds version, time and files.
#[derive(Debug, Clone, PartialEq)]
pub struct EntryParts {
    /// The family.
    pub model: String,
    /// What trained it.
    pub recipe: Recipe,
    /// What it was trained on.
    pub lineage: Lineage,
    /// How it did.
    pub reports: Vec<serde_json::Value>,
    /// How it did against what is in service.
    pub against: Option<Against>,
}
