//! Item vectors in Qdrant's engine, in this process: [`build`] writes an index into a folder once, [`QdrantIndex`]
//! answers from a private copy of it.
//!
//! The one thing to know: the engine locks the folder that it opens and writes into it, so a built folder is never
//! opened itself. It stays byte for byte what was built, its checksums hold, and any number of processes may serve it.
//! The engine also panics where others return errors; everything that calls it goes through `engine.rs`.

mod build;
mod description;
mod engine;
mod error;
mod file_marks;
mod index;
mod point;
mod working_copy;

#[cfg(test)]
mod contract;

pub use build::build;
pub use error::BuildError;
pub use index::QdrantIndex;
pub use point::IndexPoint;

const _: () = {
    const fn shared_between_threads<T: Send + Sync>() {}
    shared_between_threads::<QdrantIndex>();
};
