//! Generated from `proto/marquee/events/v1/events.proto`; `UPDATE_GENERATED=1 make test` writes it anew.
#![allow(missing_docs, clippy::pedantic, reason = "generated code")]

include!("generated/marquee.events.v1.rs");
