//! The engine behind a wall: qdrant-edge panics on damaged files and when its last flush fails, so each call is caught
//! here and comes back as an error. A caught call leaves nothing half done that matters: built folders are written
//! once, and an opened engine is only read.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

use qdrant_edge::{EdgeShard, OperationError};

/// An open shard.
pub(crate) struct Engine {
    /// `None` only while it is dropped.
    shard: Option<EdgeShard>,
}

/// Why the engine did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// It said so.
    #[error("{0}")]
    Refused(String),
    /// It panicked.
    #[error("the engine panicked: {0}")]
    Panicked(String),
}

impl Engine {
    /// Opens or makes a shard.
    pub(crate) fn start(open: impl FnOnce() -> Result<EdgeShard, OperationError>) -> Result<Self, EngineError> {
        Ok(Self { shard: Some(caught(open)?) })
    }

    /// Does something with the shard.
    pub(crate) fn call<T>(
        &self,
        action: impl FnOnce(&EdgeShard) -> Result<T, OperationError>,
    ) -> Result<T, EngineError> {
        let shard = self.shard.as_ref().expect("a shard is taken only by drop");
        caught(|| action(shard))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The engine flushes when it is dropped and panics when it cannot.
        let shard = self.shard.take();
        if let Err(error) = caught(|| {
            drop(shard);
            Ok(())
        }) {
            tracing::warn!(%error, "an index could not be closed");
        }
    }
}

fn caught<T>(action: impl FnOnce() -> Result<T, OperationError>) -> Result<T, EngineError> {
    match catch_unwind(AssertUnwindSafe(action)) {
        Ok(Ok(value)) => Ok(value),
        // Its Display is long-winded: service errors carry a backtrace in Debug only.
        Ok(Err(error)) => Err(EngineError::Refused(error.to_string())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(EngineError::Panicked(text.unwrap_or_else(|| "without a message".to_owned())))
        }
    }
}

impl EngineError {
    /// For errors that keep their source.
    pub(crate) fn boxed(self) -> Box<dyn Error + Send + Sync> {
        Box::new(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_engine_is_an_error_with_its_words() {
        let error = Engine::start(|| panic!("mmap of {} bytes", 7)).err().unwrap();
        assert_eq!(error.to_string(), "the engine panicked: mmap of 7 bytes");
    }
}
