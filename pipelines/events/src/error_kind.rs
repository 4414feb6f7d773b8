//! What to do about an error. Retry policy, HTTP status, gRPC code and exit code all derive from this one enum.

/// The kind of an error, common to every crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The caller's input or settings are wrong; the same call will fail again.
    Invalid,
    /// Something that this needs is not there or not answering; the same call may succeed later.
    Unavailable,
    /// Somebody else got there first; reload and decide again.
    Conflict,
    /// Stored data contradicts itself; a person has to look.
    Damaged,
    /// A defect in Marquee.
    Internal,
}

impl ErrorKind {
    /// The process exit code: 2 usage or settings, 3 bad input, 4 a dependency is unavailable, 5 damaged data.
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorKind::Invalid => 3,
            ErrorKind::Unavailable | ErrorKind::Conflict => 4,
            ErrorKind::Damaged => 5,
            ErrorKind::Internal => 1,
        }
    }
}
