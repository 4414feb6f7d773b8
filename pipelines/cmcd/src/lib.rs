//! CMCD, the measurements that media players send by themselves (CTA-5004, CTA-5004-A and -B): one RFC 8941 dictionary
//! becomes one view event. Bytes in, events out; no I/O, no clock.
//!
//! A line goes through three steps, each in a file of its own: [`Report::parse`] reads and checks it against the table
//! of keys (`keys.rs`), [`Report::event`] says what it means to the fold (`meaning.rs`), and [`decode_record`] does both
//! for a record of the log. What players do differently from the specification is a row of docs/cmcd.md with a test.

mod body;
mod keys;
mod meaning;
mod problem;
mod record;
mod report;
#[cfg(test)]
mod tests;
mod value;

pub use body::{BodyError, SplitBody, SplitSession, split_body};
pub use meaning::{Arrival, PLAYER_INSTANCE};
pub use problem::Problem;
pub use record::{DeadLine, DecodedRecord, Part, QueryError, RecordContext, decode_record};
pub use report::{EventKind, Report};

/// The longest line that is read (bytes). The specification bounds its texts by 128 characters; the largest reports,
/// those of responses, carry a URL and two base64 copies of response headers, and 16 KiB holds each of them.
pub const MAX_LINE_BYTES: usize = 16 << 10;

/// The most lines in one body. Players batch tens; the position of a line must fit into the low bits of the sequence
/// that version 1 gets, see [`Arrival::sequence`].
pub const MAX_LINES_PER_BODY: usize = 1 << SEQUENCE_INDEX_BITS;

/// The most sessions in one body: each becomes a record of its own. A player has one, a gateway that forwards a few.
pub const MAX_SESSIONS_PER_BODY: usize = 64;

/// So many low bits of an uncounted sequence are the line's position.
const SEQUENCE_INDEX_BITS: u32 = 12;

/// Sequences from here on are not counted by the player (decision 7).
const UNCOUNTED_FROM: u64 = 1 << 32;
