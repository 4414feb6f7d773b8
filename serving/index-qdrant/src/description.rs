//! `index.json`: what a built folder must hold. Its digest covers every point: what the engine reads out of good files
//! (see `file_marks.rs`) must be what was put in.

use std::fs;
use std::io;
use std::path::Path;

use marquee_catalogue::Regions;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::IndexPoint;

/// The description's file in the folder.
pub(crate) const FILE: &str = "index.json";

/// The engine's folder in the folder.
pub(crate) const ENGINE: &str = "engine";

/// Of what this program writes and reads: fields of the payload, numbering, digest, files beside this one.
const FORMAT: u32 = 2;

/// What a built folder must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    /// See [`FORMAT`].
    format: u32,
    /// Length of the vectors.
    pub(crate) dimensions: usize,
    /// Number of titles.
    pub(crate) titles: usize,
    /// See [`digest`], as hex.
    sha256: String,
}

impl Description {
    /// Of points in the order of their titles' ids.
    pub(crate) fn of(dimensions: usize, points: &[IndexPoint]) -> Self {
        Self { format: FORMAT, dimensions, titles: points.len(), sha256: digest(points) }
    }

    /// Whether these are the points that were written, in the order of their titles' ids.
    pub(crate) fn holds(&self, points: &[IndexPoint]) -> bool {
        points.len() == self.titles
            && points.iter().all(|point| point.vector.len() == self.dimensions)
            && digest(points) == self.sha256
    }

    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        fs::write(folder.join(FILE), serde_json::to_vec_pretty(self)?)
    }

    /// Reads it; otherwise what is wrong with it.
    pub(crate) fn read(folder: &Path) -> Result<Self, ReadError> {
        let description: Self = read_json(folder, FILE)?;
        if description.format != FORMAT {
            let problem = format!("{FILE} has format {}, this program reads {FORMAT}", description.format);
            return Err(ReadError::Damaged(problem));
        }
        Ok(description)
    }
}

/// Reads a JSON file of a built folder; otherwise what is wrong with it.
pub(crate) fn read_json<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<T, ReadError> {
    let bytes = fs::read(folder.join(name)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ReadError::Damaged(format!("{name} is missing")),
        _ => ReadError::Io(error),
    })?;
    serde_json::from_slice(&bytes).map_err(|error| ReadError::Damaged(format!("{name} cannot be read: {error}")))
}

/// Why a file that describes the folder could not be read.
pub(crate) enum ReadError {
    /// It is not what was written.
    Damaged(String),
    /// The disk did not answer.
    Io(io::Error),
}

/// SHA-256 over all points in order; each part is preceded by its length, so no two lists share their bytes.
fn digest(points: &[IndexPoint]) -> String {
    let mut hash = Sha256::new();
    for point in points {
        hash_text(&mut hash, &point.title_id);
        hash.update([point.maturity.age()]);
        match &point.regions {
            Regions::Everywhere => hash.update(u64::MAX.to_le_bytes()),
            Regions::Only(countries) => {
                hash.update((countries.len() as u64).to_le_bytes());
                for country in countries {
                    hash_text(&mut hash, country);
                }
            }
        }
        hash.update((point.vector.len() as u64).to_le_bytes());
        point.vector.iter().for_each(|number| hash.update(number.to_le_bytes()));
    }
    hex::encode(hash.finalize())
}

fn hash_text(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text.as_bytes());
}
