//! The registry of models: a folder with one folder a version, `CURRENT` naming the one in service, and
//! `published.log` with what was in service before.
//!
//! The one thing to know: an entry's folder appears whole by one rename and is never written again. Writers take the
//! lock file for a moment; readers need no lock.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::entry::{Entry, EntryParts};
use crate::{TrainerError, durable};

/// The file that names the version in service.
const CURRENT: &str = "CURRENT";
/// The file that writers lock.
const LOCK: &str = "lock";
/// The folder of an entry that is being written.
const UNFINISHED: &str = "unfinished";
/// Working copies of indexes that are open: see `marquee-index-qdrant`.
pub(crate) const WORKING: &str = "working";

/// A registry on the local disk.
#[derive(Debug, Clone)]
pub struct Registry {
    folder: PathBuf,
}

/// Held while the registry is written.
pub(crate) struct WriteLock {
    _file: File,
}

impl Registry {
    /// The registry in a folder, which is made if need be.
    ///
    /// # Errors
    /// [`TrainerError::Write`].
    pub fn open(folder: &Path) -> Result<Self, TrainerError> {
        fs::create_dir_all(folder).map_err(|source| TrainerError::Write { path: folder.to_owned(), source })?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Every entry, the oldest first.
    ///
    /// # Errors
    /// [`TrainerError::Damaged`] naming the first `model.json` that cannot be read; [`TrainerError::Read`].
    pub fn list(&self) -> Result<Vec<Entry>, TrainerError> {
        let mut numbered = Vec::new();
        for name in self.names()? {
            if let Some(number) = number_of(&name) {
                numbered.push((number, Entry::read(&self.folder.join(&name))?));
            }
        }
        numbered.sort_by_key(|(number, _)| *number);
        Ok(numbered.into_iter().map(|(_, entry)| entry).collect())
    }

    /// An entry.
    ///
    /// # Errors
    /// [`TrainerError::UnknownVersion`]; otherwise as [`list`](Self::list).
    pub fn entry(&self, version: &str) -> Result<Entry, TrainerError> {
        // Only names that the registry gives: a version comes from the command line and must not lead elsewhere.
        if number_of(version).is_none() || !self.folder.join(version).is_dir() {
            let mut known: Vec<String> = self.names()?.into_iter().filter(|name| number_of(name).is_some()).collect();
            known.sort_by_key(|name| number_of(name));
            return Err(TrainerError::UnknownVersion { version: version.to_owned(), known });
        }
        Entry::read(&self.folder.join(version))
    }

    /// The version in service: one small read, for a server that asks every second. `None` before the first is
    /// published.
    ///
    /// # Errors
    /// [`TrainerError::Read`].
    pub fn current_version(&self) -> Result<Option<String>, TrainerError> {
        let path = self.folder.join(CURRENT);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim_end().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(TrainerError::Read { path, source }),
        }
    }

    /// Adds an entry: `write` fills its folder, the registry describes and names it. It is there whole and durably, or
    /// not at all.
    ///
    /// # Errors
    /// [`TrainerError::Busy`] while somebody else writes; what `write` says; [`TrainerError::Write`].
    pub fn add(
        &self,
        parts: EntryParts,
        created_at_ms: i64,
        write: impl FnOnce(&Path) -> Result<(), TrainerError>,
    ) -> Result<Entry, TrainerError> {
        let _lock = self.lock()?;
        let unfinished = self.folder.join(UNFINISHED);
        let in_folder = |source| TrainerError::Write { path: unfinished.clone(), source };
        // Nobody else writes, so whatever is there is of a process that was killed.
        match fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(in_folder(error)),
            _ => fs::create_dir(&unfinished).map_err(in_folder)?,
        }
        write(&unfinished)?;
        let last = self.names()?.iter().filter_map(|name| number_of(name)).max().unwrap_or(0);
        let version = format!("{}-{:04}", parts.model, last + 1);
        let entry = Entry::describe(&unfinished, version, created_at_ms, parts).map_err(in_folder)?;
        entry.write(&unfinished).and_then(|()| durable::sync_all_below(&unfinished)).map_err(in_folder)?;
        fs::rename(&unfinished, self.folder.join(&entry.version))
            .and_then(|()| durable::sync_folder(&self.folder))
            .map_err(in_folder)?;
        Ok(entry)
    }

    pub(crate) fn set_current(&self, version: &str) -> Result<(), TrainerError> {
        self.replace(CURRENT, &format!("{version}\n"))
    }

    pub(crate) fn replace(&self, name: &str, text: &str) -> Result<(), TrainerError> {
        let path = self.folder.join(name);
        durable::replace(&path, text.as_bytes()).map_err(|source| TrainerError::Write { path, source })
    }

    /// Keeps other writers out until it is dropped, or its process ends.
    pub(crate) fn lock(&self) -> Result<WriteLock, TrainerError> {
        let path = self.folder.join(LOCK);
        let locked = File::create(&path).map_err(TryLockError::Error).and_then(|file| {
            file.try_lock()?;
            Ok(file)
        });
        match locked {
            Ok(file) => Ok(WriteLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(TrainerError::Busy { folder: self.folder.clone() }),
            Err(TryLockError::Error(source)) => Err(TrainerError::Write { path, source }),
        }
    }

    fn names(&self) -> Result<Vec<String>, TrainerError> {
        let in_folder = |source| TrainerError::Read { path: self.folder.clone(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(in_folder)? {
            // The registry's own names are plain text; others are not its entries.
            if let Ok(name) = entry.map_err(in_folder)?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }
}

/// The number at the end of a version, `FAMILY-NUMBER`; `None` for anything else, so also for names with separators.
fn number_of(version: &str) -> Option<u64> {
    let (family, number) = version.rsplit_once('-')?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if family.is_empty() || !family.chars().all(plain) || !number.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    number.parse().ok()
}

#[cfg(test)]
mod tests;
