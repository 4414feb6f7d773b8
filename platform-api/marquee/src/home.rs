//! The home: one folder for log, state and lake, used by one process at a time, or by several that share a log in Kafka.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::failure::Failure;

/// The folders of a home.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    root: PathBuf,
}

impl Home {
    /// The home at `root`, which need not exist yet.
    pub(crate) fn new(root: &Path) -> Result<Self, Failure> {
        let root = std::path::absolute(root)
            .map_err(|e| Failure::settings(format!("home {} has no absolute path: {e}", root.display())))?;
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    pub(crate) fn lake(&self) -> PathBuf {
        self.root.join("lake")
    }

    pub(crate) fn catalogue(&self) -> PathBuf {
        self.root.join("catalogue.sqlite")
    }

    pub(crate) fn online(&self) -> PathBuf {
        self.root.join("online")
    }

    pub(crate) fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    pub(crate) fn media(&self) -> PathBuf {
        self.root.join("media")
    }

    /// What tells this home from all others, made when it is first asked for. The home is this process's.
    pub(crate) fn id(&self) -> Result<String, Failure> {
        let path = self.root.join("id");
        let denied = |e: std::io::Error| self.denied(&e);
        match fs::read_to_string(&path) {
            Ok(id) if !id.trim().is_empty() => return Ok(id.trim().to_owned()),
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(denied(error)),
            _ => {}
        }
        let id = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        let mut file = File::create(&path).map_err(denied)?;
        let written = file.write_all(format!("{id}\n").as_bytes()).and_then(|()| file.sync_all());
        written.and_then(|()| File::open(&self.root)?.sync_all()).map_err(denied)?;
        Ok(id)
    }

    /// The secret that signs profile tokens.
    pub(crate) fn profile_token_key(&self) -> PathBuf {
        self.root.join("profile-token.key")
    }

    /// The secret that seals tracking and page tokens.
    pub(crate) fn tracking_key(&self) -> PathBuf {
        self.root.join("tracking.key")
    }

    /// Makes the home if need be.
    pub(crate) fn make(&self) -> Result<(), Failure> {
        fs::create_dir_all(&self.root).map_err(|e| self.denied(&e))
    }

    fn denied(&self, error: &std::io::Error) -> Failure {
        Failure::unavailable(format!(
            "cannot write to home {}: {error}; choose another with --home DIR",
            self.root.display()
        ))
    }

    /// Makes the home if need be and takes it for this process.
    pub(crate) fn lock(&self) -> Result<HomeLock, Failure> {
        let lock = self.lock_as(FlockOperation::NonBlockingLockExclusive)?;
        // What the last owner announced is no longer true.
        lock.file.set_len(0).map_err(|e| self.denied(&e))?;
        Ok(lock)
    }

    /// Makes the home if need be and takes it for this process and others that share it.
    pub(crate) fn share(&self) -> Result<HomeLock, Failure> {
        self.lock_as(FlockOperation::NonBlockingLockShared)
    }

    fn lock_as(&self, operation: FlockOperation) -> Result<HomeLock, Failure> {
        let path = self.root.join("lock");
        let denied = |e: std::io::Error| self.denied(&e);
        self.make()?;
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(denied)?;
        if flock(&file, operation).is_err() {
            let mut owner = String::new();
            let _ = file.read_to_string(&mut owner);
            let owner = if owner.trim().is_empty() { "another process".to_owned() } else { owner.trim().to_owned() };
            return Err(Failure::unavailable(format!(
                "home {} is in use by {owner}: stop it, or choose another with --home DIR",
                self.root.display()
            )));
        }
        Ok(HomeLock { file })
    }

    /// The address of the collector that runs on this home, if one does.
    pub(crate) fn running_collector(&self) -> Option<SocketAddr> {
        let mut file = File::open(self.root.join("lock")).ok()?;
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return None; // nobody holds it
        }
        let mut owner = String::new();
        file.read_to_string(&mut owner).ok()?;
        owner.trim().rsplit_once(' ')?.1.parse().ok()
    }
}

/// The home is this process's until this is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct HomeLock {
    file: File,
}

impl HomeLock {
    /// Notes who has the home and where its collector listens.
    pub(crate) fn announce(&mut self, collector: SocketAddr) -> Result<(), Failure> {
        use std::io::Seek as _;
        let line = format!("process {} with the collector on {collector}\n", std::process::id());
        let written = (|| {
            self.file.set_len(0)?;
            self.file.rewind()?;
            self.file.write_all(line.as_bytes())
        })();
        written.map_err(|e| Failure::unavailable(format!("cannot write to the home's lock: {e}")))
    }
}
