//! Quality of experience, pure: events in, durations, counts and signed minute deltas out. No I/O, no clock, no arrow,
//! no chrono, so that the same fold runs in the job, in a re-fold of bronze and inside other engines.
//!
//! The rules are the table in [`fold`]'s module documentation; published definitions are views over what it keeps.

pub mod fold;
mod minutes;
mod outcome;
mod startup_buckets;

pub use fold::{SessionFold, State};
pub use minutes::{Measure, Measures, MinuteSink, NoMinutes, Retract, SLOTS_PER_MINUTE, add_bucket};
pub use outcome::{Outcome, SessionError};
pub use startup_buckets::{startup_bucket, startup_bucket_upper_ms};
