//! One file a sub-command.

pub(crate) mod bench;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod evaluate;
pub(crate) mod import;
pub(crate) mod lake;
pub(crate) mod log;
pub(crate) mod recompute;
pub(crate) mod roles;
pub(crate) mod train;
pub(crate) mod up;
