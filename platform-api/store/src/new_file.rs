//! Files that appear whole: made beside their place, durable before they are moved there, and never over another.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// An empty file beside `place`, for its owner only; it is removed when dropped. Makes the folder if need be.
pub(crate) fn begin(place: &Path) -> Result<NamedTempFile> {
    let folder = folder_of(place)?;
    std::fs::create_dir_all(&folder)?;
    let name = place.file_name().ok_or_else(|| Error::new(ErrorKind::InvalidInput, "it names no file"))?;
    // tempfile creates with mode 0600 and O_EXCL.
    tempfile::Builder::new().prefix(name).suffix(".new").tempfile_in(folder)
}

/// Makes the file durable and moves it to `place`, unless another process was quicker: then that one's file stays.
pub(crate) fn finish(file: NamedTempFile, place: &Path) -> Result<()> {
    file.as_file().sync_all()?;
    match file.persist_noclobber(place) {
        Ok(_) => File::open(folder_of(place)?)?.sync_all(),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}

fn folder_of(place: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(place)?;
    absolute.parent().map(Path::to_owned).ok_or_else(|| Error::new(ErrorKind::InvalidInput, "it has no folder"))
}
