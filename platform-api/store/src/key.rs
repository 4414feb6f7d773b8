//! Secrets, such as the one that signs profile tokens: 32 bytes in a file of its owner's. Whoever reads that one can be
//! any profile, so a secret is never logged, never part of an error, and refused when others may read it.

use std::fs::File;
use std::io::{Error as IoError, ErrorKind as IoKind, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use marquee_catalogue::token::{MIN_KEY_BYTES, TokenKey};
use marquee_events::ErrorKind;

use crate::new_file;

/// What the file holds, to the byte.
pub const KEY_BYTES: usize = MIN_KEY_BYTES;

/// Permissions of group and others.
const OTHERS: u32 = 0o077;

/// The operating system's generator of secrets, through the standard library; a secret is no place for a seeded one.
const SYSTEM_RANDOM: &str = "/dev/urandom";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Others than its owner may read or write the file.
    #[error("the key file {path} is open to others (mode {mode:04o}): run `chmod 600 {path}`")]
    Exposed {
        /// The file.
        path: String,
        /// Its permissions.
        mode: u32,
    },
    /// The file is not a key: cut short, or something else.
    #[error("the key file {path} is not a file of {KEY_BYTES} bytes: restore it, or remove it and what it has signed")]
    WrongLength {
        /// The file.
        path: String,
    },
    /// The file cannot be read or made.
    #[error("failed while {operation} the key file {path}")]
    Storage {
        /// What was being done.
        operation: &'static str,
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: IoError,
    },
}

impl KeyError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            KeyError::Exposed { .. } => ErrorKind::Invalid,
            KeyError::WrongLength { .. } => ErrorKind::Damaged,
            KeyError::Storage { .. } => ErrorKind::Unavailable,
        }
    }
}

/// The key of profile tokens in the file `path`: [`load_or_create_secret`], ready to sign.
///
/// # Errors
/// [`KeyError`].
pub fn load_or_create_key(path: &Path) -> Result<TokenKey, KeyError> {
    Ok(TokenKey::new(&load_or_create_secret(path)?).expect("a secret is as long as a key has to be"))
}

/// The secret in the file `path`; makes it (and its folder) when it is not there. A new one is on disk before it is
/// returned. Of several processes that make it at once all get the same. Never print it.
///
/// # Errors
/// [`KeyError`].
pub fn load_or_create_secret(path: &Path) -> Result<[u8; KEY_BYTES], KeyError> {
    let failed = |operation| move |source| KeyError::Storage { operation, path: path.display().to_string(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == IoKind::NotFound => {
            create(path).map_err(failed("making"))?;
            File::open(path)
        }
        opened => opened,
    };
    let file = file.map_err(failed("opening"))?;
    // Of the open file, so that it cannot be exchanged in between.
    let metadata = file.metadata().map_err(failed("inspecting"))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(KeyError::Exposed { path: path.display().to_string(), mode });
    }
    let wrong_length = || KeyError::WrongLength { path: path.display().to_string() };
    if !metadata.is_file() {
        return Err(wrong_length());
    }
    let mut secret = Vec::with_capacity(KEY_BYTES + 1);
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut secret).map_err(failed("reading"))?;
    secret.try_into().map_err(|_| wrong_length())
}

fn create(path: &Path) -> Result<(), IoError> {
    let mut secret = [0; KEY_BYTES];
    File::open(SYSTEM_RANDOM)?.read_exact(&mut secret)?;
    let mut file = new_file::begin(path)?;
    file.write_all(&secret)?;
    new_file::finish(file, path)
}
