//! `marquee bench`: what this build does on this machine. Output is checked before any time of it is told.

mod file_log;
pub(crate) mod rows;
pub(crate) mod stream;

use std::path::Path;

use tempfile::TempDir;

use crate::failure::Failure;

/// A folder for the data of one run, in `dir` or in the system's temporary folder; it goes with the value.
fn folder(dir: Option<&Path>) -> Result<TempDir, Failure> {
    let made = dir.map_or_else(tempfile::tempdir, tempfile::tempdir_in);
    made.map_err(|e| Failure::unavailable(format!("no folder for the bench: {e}; choose one with --dir")))
}

/// Lets the kernel forget the peak so far (`proc(5)`, `clear_refs`); without that right the peak covers generation, too.
fn reset_peak_memory() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Peak resident memory (bytes); 0 where the kernel does not tell.
fn peak_memory() -> u64 {
    memory("VmHWM:")
}

/// Resident memory (bytes); 0 where the kernel does not tell.
fn resident_memory() -> u64 {
    memory("VmRSS:")
}

fn memory(which: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(which)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or_default() * 1024
}
