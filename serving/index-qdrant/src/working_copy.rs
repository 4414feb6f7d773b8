//! A private copy of an engine folder, removed when it is dropped. It holds the files that were written and nothing
//! else, and each was compared with its checksum **as it was copied**: what happens to the original between a check and
//! the engine's reading cannot matter.
//!
//! Each copy has a locked file beside it, so that copies whose process was killed are told from copies in use: a lock
//! goes with its process.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::file_marks::{FileMark, FileMarks, Hashed};

/// Ends the name of the file beside a copy.
const LOCK: &str = "lock";

/// How many names are tried: another process can only be in the way while it removes what a dead one has left.
const ATTEMPTS: usize = 16;

/// Names copies apart within this process; the process id does so between processes.
static NEXT_COPY: AtomicU64 = AtomicU64::new(0);

/// Why there is no copy.
#[derive(Debug)]
pub(crate) enum CopyError {
    /// The original is not what was written.
    Damaged(String),
    /// The disk did not answer.
    Io(io::Error),
}

impl From<io::Error> for CopyError {
    fn from(error: io::Error) -> Self {
        CopyError::Io(error)
    }
}

/// A copy that this process owns.
pub(crate) struct WorkingCopy {
    path: PathBuf,
    lock_path: PathBuf,
    /// Locked for as long as it is open.
    _lock: File,
}

impl WorkingCopy {
    /// Copies these files of a folder to a new place below `working`.
    pub(crate) fn of(folder: &Path, marks: &FileMarks, working: &Path) -> Result<Self, CopyError> {
        fs::create_dir_all(working)?;
        remove_abandoned(working)?;
        // All lengths first: most damage is seen without reading a byte.
        marks.0.iter().try_for_each(|(name, mark)| check_length(folder, name, mark))?;
        let copy = Self::claim(working)?;
        fs::create_dir(&copy.path)?;
        marks.0.iter().try_for_each(|(name, mark)| copy_file(folder, &copy.path, name, mark))?;
        Ok(copy)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn claim(working: &Path) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let name = format!("{}-{}", std::process::id(), NEXT_COPY.fetch_add(1, Ordering::Relaxed));
            let path = working.join(&name);
            let lock_path = working.join(format!("{name}.{LOCK}"));
            let lock = match File::create_new(&lock_path) {
                Ok(lock) => lock,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            };
            match lock.try_lock() {
                // Somebody who cleans up took it for abandoned before it was locked, and may have removed it.
                Ok(()) if !lock_path.exists() => {}
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
                Ok(()) => return Ok(Self { path, lock_path, _lock: lock }),
            }
        }
        Err(io::Error::other(format!("no free name for a working copy in {}", working.display())))
    }
}

impl Drop for WorkingCopy {
    fn drop(&mut self) {
        for removed in [fs::remove_dir_all(&self.path), fs::remove_file(&self.lock_path)] {
            if let Err(error) = unless_absent(removed) {
                tracing::warn!(%error, path = %self.path.display(), "a working copy could not be removed");
            }
        }
    }
}

/// Removes copies whose owner is gone.
fn remove_abandoned(working: &Path) -> io::Result<()> {
    for entry in fs::read_dir(working)? {
        let lock_path = entry?.path();
        if lock_path.extension().is_none_or(|extension| extension != LOCK) {
            continue;
        }
        let Ok(lock) = File::open(&lock_path) else { continue };
        if lock.try_lock().is_ok() {
            unless_absent(fs::remove_dir_all(lock_path.with_extension("")))?;
            unless_absent(fs::remove_file(&lock_path))?;
        }
    }
    Ok(())
}

/// Somebody else may remove the same leftovers at the same time.
fn unless_absent(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Whether a file is there and as long as its mark says.
fn check_length(folder: &Path, name: &str, mark: &FileMark) -> Result<(), CopyError> {
    // The list is a file like the others: a damaged name must not lead out of the folder.
    if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(damaged(name, "has no name that was ever written"));
    }
    match fs::metadata(folder.join(name)) {
        // Anything else, such as a pipe, would not end when it is read.
        Ok(metadata) if !metadata.is_file() => Err(damaged(name, "is no file")),
        Ok(metadata) if metadata.len() != mark.size_bytes => Err(damaged(name, "is not as long as it was")),
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(damaged(name, "is missing"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Copies a file that must be what its mark says.
fn copy_file(from: &Path, to: &Path, name: &str, mark: &FileMark) -> Result<(), CopyError> {
    let target = to.join(name);
    fs::create_dir_all(target.parent().unwrap_or(to))?;
    // Should it grow meanwhile: one byte more than there may be is enough to know.
    let mut bytes = File::open(from.join(name))?.take(mark.size_bytes.saturating_add(1));
    let mut copied = Hashed::new(SparseFile { file: File::create(&target)?, length: 0 });
    io::copy(&mut bytes, &mut copied)?;
    let (sparse, found) = copied.finish();
    sparse.file.set_len(sparse.length)?;
    if found == *mark { Ok(()) } else { Err(damaged(name, "is not what was written")) }
}

fn damaged(name: &str, problem: &str) -> CopyError {
    CopyError::Damaged(format!("its file {name} {problem}"))
}

/// What a hole reads as.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A file that leaves holes where zeros would be written: the engine's files are tens of megabytes of hardly anything.
struct SparseFile {
    file: File,
    /// With holes that the file does not know of yet.
    length: u64,
}

impl io::Write for SparseFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(ZEROS.len())];
        if *bytes != ZEROS[..bytes.len()] {
            self.file.write_all_at(bytes, self.length)?;
        }
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Every file below a folder: its path there with `/` between the parts.
pub(crate) fn files_below(folder: &Path) -> io::Result<Vec<String>> {
    let (mut files, mut folders) = (Vec::new(), vec![String::new()]);
    while let Some(prefix) = folders.pop() {
        for entry in fs::read_dir(folder.join(&prefix))? {
            let entry = entry?;
            let name = entry.file_name().into_string().map_err(|name| {
                io::Error::new(io::ErrorKind::InvalidData, format!("the name {} is not UTF-8", name.display()))
            })?;
            if entry.file_type()?.is_dir() {
                folders.push(format!("{prefix}{name}/"));
            } else {
                files.push(format!("{prefix}{name}"));
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn mark(bytes: &[u8]) -> FileMark {
        let mut hashed = Hashed::new(io::sink());
        io::copy(&mut &bytes[..], &mut hashed).unwrap();
        hashed.finish().1
    }

    #[test]
    fn copies_in_use_stay_and_abandoned_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let original = folder.path().join("original");
        fs::create_dir_all(original.join("deep")).unwrap();
        fs::write(original.join("deep/file"), "bytes").unwrap();
        fs::write(original.join("stranger"), "of no concern").unwrap();
        let working = folder.path().join("working");
        let files = FileMarks(BTreeMap::from([("deep/file".to_owned(), mark(b"bytes"))]));

        let in_use = WorkingCopy::of(&original, &files, &working).unwrap();
        // What a killed process leaves: its folder and a lock file that nobody holds.
        fs::create_dir(working.join("1-0")).unwrap();
        fs::write(working.join("1-0.lock"), "").unwrap();
        let second = WorkingCopy::of(&original, &files, &working).unwrap();
        assert!(!working.join("1-0").exists());
        assert!(!working.join("1-0.lock").exists());
        assert_eq!(files_below(in_use.path()).unwrap(), ["deep/file"]);
        assert_eq!(fs::read(second.path().join("deep/file")).unwrap(), b"bytes");

        drop((in_use, second));
        assert_eq!(fs::read_dir(&working).unwrap().count(), 0);
    }

    #[test]
    fn a_copy_has_every_byte_and_every_hole() {
        let folder = tempfile::tempdir().unwrap();
        let working = folder.path().join("working");
        let mut bytes = vec![0; 1_000_000];
        (bytes[0], bytes[400_000], bytes[400_001]) = (1, 2, 3);
        for content in [bytes.clone(), vec![0; 70_000], Vec::new(), [bytes, vec![9]].concat()] {
            fs::write(folder.path().join("file"), &content).unwrap();
            let files = FileMarks(BTreeMap::from([("file".to_owned(), mark(&content))]));
            let copy = WorkingCopy::of(folder.path(), &files, &working).unwrap();
            assert!(fs::read(copy.path().join("file")).unwrap() == content);
        }
    }

    #[test]
    fn only_what_was_written_is_copied() {
        let folder = tempfile::tempdir().unwrap();
        let original = folder.path().join("original");
        fs::create_dir(&original).unwrap();
        fs::write(folder.path().join("outside"), "bytes").unwrap();
        fs::create_dir(original.join("folder")).unwrap();
        for (name, content) in [("longer", "bytes!"), ("shorter", "byte"), ("other", "bites"), ("file", "bytes")] {
            fs::write(original.join(name), content).unwrap();
        }
        let working = folder.path().join("working");
        let check = |name: &str, expect: &str| {
            let files = FileMarks(BTreeMap::from([(name.to_owned(), mark(b"bytes"))]));
            match WorkingCopy::of(&original, &files, &working) {
                Err(CopyError::Damaged(problem)) => assert_eq!(problem, format!("its file {name} {expect}")),
                Err(CopyError::Io(error)) => panic!("{name}: {error}"),
                Ok(_) => panic!("{name} was copied"),
            }
            assert_eq!(fs::read_dir(&working).unwrap().count(), 0, "{name}: nothing stays behind");
        };
        check("absent", "is missing");
        check("file/below", "is missing");
        check("folder", "is no file");
        check("longer", "is not as long as it was");
        check("shorter", "is not as long as it was");
        check("other", "is not what was written");
        check("../outside", "has no name that was ever written");
        check(folder.path().join("outside").to_str().unwrap(), "has no name that was ever written");
    }
}
