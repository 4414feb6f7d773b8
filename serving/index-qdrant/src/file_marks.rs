//! `files.json`: every file of the engine's folder, to the byte. The engine trusts its files: one flipped bit in a length
//! makes it ask for gigabytes, and an allocation that fails ends the process, which nothing can catch. So it is only
//! ever given bytes whose checksums are those of what was built; see `working_copy.rs`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::description::{ReadError, read_json};
use crate::working_copy::files_below;

/// The marks' file, beside the description.
const FILE: &str = "files.json";

/// By path in the engine's folder, with `/` between the parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct FileMarks(pub(crate) BTreeMap<String, FileMark>);

/// What a file must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileMark {
    /// Its length.
    pub(crate) size_bytes: u64,
    /// Its digest as hex.
    sha256: String,
}

impl FileMarks {
    /// Of the files as they are.
    pub(crate) fn of(engine_folder: &Path) -> io::Result<Self> {
        let mut marks = BTreeMap::new();
        for name in files_below(engine_folder)? {
            let mut hashed = Hashed::new(io::sink());
            io::copy(&mut File::open(engine_folder.join(&name))?, &mut hashed)?;
            marks.insert(name, hashed.finish().1);
        }
        Ok(Self(marks))
    }

    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        fs::write(folder.join(FILE), serde_json::to_vec_pretty(self)?)
    }

    /// Reads them; otherwise what is wrong with them.
    pub(crate) fn read(folder: &Path) -> Result<Self, ReadError> {
        read_json(folder, FILE)
    }
}

/// Passes bytes on and remembers what they were.
pub(crate) struct Hashed<W> {
    into: W,
    hash: Sha256,
    size_bytes: u64,
}

impl<W> Hashed<W> {
    pub(crate) fn new(into: W) -> Self {
        Self { into, hash: Sha256::new(), size_bytes: 0 }
    }

    /// Where the bytes went, and what they were.
    pub(crate) fn finish(self) -> (W, FileMark) {
        (self.into, FileMark { size_bytes: self.size_bytes, sha256: hex::encode(self.hash.finalize()) })
    }
}

impl<W: io::Write> io::Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.into.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size_bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}
