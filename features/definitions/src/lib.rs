//! Every feature in one place: its schema, state, update, value and availability, one file each below `profile` and
//! `title`. The same code runs in the stream (update), in serving (read) and in training (replay), so a number has one
//! definition; [`FeatureFold`] is the one path from signals to states.
//!
//! **Availability**: a value is known from `available_ms` of the last signal that it took in; training may use it for
//! what happened strictly later, never for the signal itself. Signals of one profile come in the order of the log.

mod decayed;
mod feature;
mod fold;
mod known;
mod online;
mod profile;
mod signal;
mod title;
mod viewed;

pub use feature::{Entity, Feature, all};
pub use fold::{Changed, FeatureFold};
pub use known::{KNOWN_RECENT_TITLES, KnownFeatures, Touched};
pub use online::{OnlineBatch, OnlineError, OnlineStore};
pub use profile::{ProfileFeatures, ProfileState, Watched};
pub use signal::{Signal, SignalKind, signal_kinds};
pub use title::{TitleFeatures, TitleState};

/// An hour (ms).
const HOUR_MS: i64 = 60 * 60 * 1000;

/// A day (ms).
const DAY_MS: i64 = 24 * HOUR_MS;
