//! The wire contract of personalised rows, package `marquee.rows.v1`: messages, client and server of
//! `proto/marquee/rows/v1/rows.proto`. All of it is generated and committed; after a change of the contract run
//! `UPDATE_GENERATED=1 cargo test -p marquee-rows-proto`. A change needs a decision record.

/// Package `marquee.rows.v1`.
pub mod v1 {
    #![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated code")]

    include!("generated/marquee.rows.v1.rs");
}

/// Describes the contract to clients that ask for it (gRPC server reflection): an encoded `FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/marquee.rows.v1.bin");
