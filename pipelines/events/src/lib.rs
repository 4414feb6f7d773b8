//! The vocabulary of Marquee: ids, times, view events, error kinds, the clock. Everything else imports this crate and
//! this crate imports nothing of Marquee's.
//!
//! A record of the log is read through [`BatchView`], which borrows from the record's bytes; the generated
//! [`proto`] types exist to *write* records. A property test holds the two together.

mod clock;
mod decode;
mod error_kind;
mod flat_payload;
pub mod interactions;
mod json;
mod object;
pub mod proto;
mod protobuf;
mod split;
mod view;

pub use clock::{Clock, ManualClock, SystemClock};
pub use decode::{ContentType, DecodeError, context_text_problem, decode};
pub use error_kind::ErrorKind;
pub use flat_payload::FlatPayload;
pub use interactions::{InteractionBatch, decode_interactions, interactions_to_json};
pub use json::{location_to_json, to_json};
pub use split::{Split, split};
pub use view::{BatchView, CONTEXT_FIELDS, ContextView, EventView, PayloadKind, PayloadView, PlayerState, Text};

/// The longest identifier or code that is accepted, in bytes. Longer ones are refused by name, never cut.
pub const MAX_ID_BYTES: usize = 256;

/// The most events one batch may carry. A player that was offline for an hour sends several batches.
pub const MAX_EVENTS_PER_BATCH: usize = 10_000;

/// Player clocks further ahead than this of the collector's clock, after correction, are not believed (ms).
pub const FUTURE_LIMIT_MS: i64 = 5 * 60 * 1000;

/// A batch whose clock error is at most this is taken as it is (ms): below it network delay and error look alike.
pub const CLOCK_TOLERANCE_MS: i64 = 2_000;
