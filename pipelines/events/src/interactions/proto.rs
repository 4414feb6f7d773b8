//! Generated from `proto/marquee/interactions/v1/interactions.proto`; `UPDATE_GENERATED=1 make test` writes it anew.
#![allow(missing_docs, clippy::pedantic, reason = "generated code")]

include!("../generated/marquee.interactions.v1.rs");
