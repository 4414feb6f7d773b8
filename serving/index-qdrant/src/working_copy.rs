//! A private copy of an engine folder, removed when it is dropped. Each copy has a locked file beside it, so that
//! copies whose process was killed are told from copies in use: a lock goes with its process.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Ends the name of the file beside a copy.
const LOCK: &str = "lock";

/// How many names are tried: another process can only be in the way while it removes what a dead one has left.
const ATTEMPTS: usize = 16;

/// Names copies apart within this process; the process id does so between processes.
static NEXT_COPY: AtomicU64 = AtomicU64::new(0);

/// A copy that this process owns.
pub(crate) struct WorkingCopy {
    path: PathBuf,
    lock_path: PathBuf,
    /// Locked for as long as it is open.
    _lock: File,
}

impl WorkingCopy {
    /// Copies a folder to a new place below `working`.
    pub(crate) fn of(folder: &Path, working: &Path) -> io::Result<Self> {
        fs::create_dir_all(working)?;
        remove_abandoned(working)?;
        let copy = Self::claim(working)?;
        copy_folder(folder, &copy.path)?;
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

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_in_use_stay_and_abandoned_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let original = folder.path().join("original");
        fs::create_dir_all(original.join("deep")).unwrap();
        fs::write(original.join("deep/file"), "bytes").unwrap();
        let working = folder.path().join("working");

        let in_use = WorkingCopy::of(&original, &working).unwrap();
        // What a killed process leaves: its folder and a lock file that nobody holds.
        fs::create_dir(working.join("1-0")).unwrap();
        fs::write(working.join("1-0.lock"), "").unwrap();
        let second = WorkingCopy::of(&original, &working).unwrap();
        assert!(!working.join("1-0").exists());
        assert!(!working.join("1-0.lock").exists());
        assert_eq!(fs::read(in_use.path().join("deep/file")).unwrap(), b"bytes");
        assert_eq!(fs::read(second.path().join("deep/file")).unwrap(), b"bytes");

        drop((in_use, second));
        assert_eq!(fs::read_dir(&working).unwrap().count(), 0);
    }
}
